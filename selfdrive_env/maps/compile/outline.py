"""The lines that a map is drawn with: pieces of road, their edges, lane markings, stop lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

from selfdrive_env.maps.compile.paint import GIVE_WAY_DASH, GUIDE_DASH, dashes, pieces_of, stripes
from selfdrive_env.state.arrays import F32, F64, I64
from selfdrive_env.state.road import (
    CROSSWALK,
    GAP,
    GIVE_WAY,
    GUIDE_LINE,
    LINE_COS,
    LINE_SIN,
    LINE_X,
    LINE_X0,
    LINE_X1,
    LINE_Y,
    LINE_Y0,
    LINE_Y1,
    SEG_COS,
    SEG_LEFT,
    SEG_LENGTH,
    SEG_RIGHT,
    SEG_SIN,
    SEG_X,
    SEG_Y,
    Grid,
    Lanes,
    Paint,
)

__all__ = ["Outline", "beside", "outline", "quads", "simplified", "stop_line_ends"]

TOLERANCE = 0.05
"""How far a drawn line may be from the true one [m]."""

BEYOND = 0.5
"""How far beside a lane another one is looked for [m]."""

CENTRE_OFFSET = 0.12
"""From the boundary to a line that parts opposite directions, of which there are two [m]."""

ALIGNED_COS = 0.7
EDGE_OFFSET = 0.3

Lines = list[F64]
"""Polylines, each [N, 2] [m]."""


class Outline(NamedTuple):
    """The lines of one map."""

    asphalt: Lines
    """Closed pieces of road: the lanes, and what lies between those of a junction."""

    edge: Lines
    """Where the drivable surface ends."""

    lane_line: Lines
    """Between lanes of the same direction."""

    centre_line: Lines
    """Between opposite directions, two beside each other."""

    crosswalk: Lines
    """Closed stripes."""

    give_way: Lines
    """The dashes of lines where one gives way."""


def outline(lanes: Lanes, grid: Grid, place: int, paint: Paint) -> Outline:
    """Returns the lines of one map of a pool.

    Args:
        lanes: Lanes of the pool.
        grid: Its grid.
        place: Which map.
        paint: Of this map.
    """
    first_lane, last_lane = lanes.map_lane_first[place : place + 2].tolist()
    first, last = lanes.segment_first[[first_lane, last_lane]].tolist()
    corners = quads(lanes.segment[first:last].astype(np.float64))
    polygons = shapely.polygons(corners)
    lane = lanes.segment_lane[first:last]
    ends = np.flatnonzero(np.diff(lane, append=-1)) + 1
    asphalt, lane_lines, centre_lines = [], [], []
    opposite, along = beside(lanes, first, last, corners)
    unmarked = set((first_lane + paint.unmarked).tolist())
    start = 0
    for end in ends.tolist():
        number = int(lane[start])
        left, right = (_vertices(corners[start:end], side) for side in (0, 1))
        asphalt.append(np.concatenate([left, right[::-1]]))
        if lanes.junction[number] < 0:
            for side, line in enumerate((left, right)):
                neighbour = (lanes.left, lanes.right)[side][number]
                if neighbour >= 0:
                    lane_lines += [line] if side == 0 else []
                    continue
                inward = (left + right) / 2.0 - line
                inward /= np.maximum(np.hypot(*inward.T), 1e-6)[:, None]
                lane_lines += _runs(line, along[side, start:end])
                if number not in unmarked:
                    inner = line + CENTRE_OFFSET * inward
                    centre_lines += _runs(inner, opposite[side, start:end])
        start = end
    asphalt += pieces_of(paint, GAP)
    edges = _edges(grid, place, polygons)
    lane_lines += [
        one for line in pieces_of(paint, GUIDE_LINE) for one in dashes(line, *GUIDE_DASH)
    ]
    crosswalks = [one for area in pieces_of(paint, CROSSWALK) for one in stripes(area)]
    give_way = [one for line in pieces_of(paint, GIVE_WAY) for one in dashes(line, *GIVE_WAY_DASH)]
    kinds = (asphalt, edges, lane_lines, centre_lines, crosswalks, give_way)
    return Outline(*(simplified(lines) for lines in kinds))


def quads(segment: F64) -> F64:
    """Returns start left, start right, end right and end left of each segment, [Q, 4, 2] [m]."""
    x, y, cos, sin = (segment[:, column] for column in (SEG_X, SEG_Y, SEG_COS, SEG_SIN))
    length, left, right = (segment[:, column] for column in (SEG_LENGTH, SEG_LEFT, SEG_RIGHT))
    corners = ((0.0, left), (0.0, -right), (length, -right), (length, left))
    return np.stack(
        [np.stack([x + s * cos - d * sin, y + s * sin + d * cos], -1) for s, d in corners], 1
    )


def _vertices(corners: F64, side: int) -> F64:
    """Returns the left (0) or right (1) boundary of a lane from its segments, [Q + 1, 2] [m]."""
    return np.concatenate([corners[:, side], corners[-1:, 3 - side]])


def beside(
    lanes: Lanes, first: int, last: int, corners: F64
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Returns whether a lane of opposite, and of the same direction runs beside segments.

    Both are [2, Q], on the left and on the right; junctions do not count.

    Args:
        lanes: Lanes of a pool.
        first: Its first segment that is looked at.
        last: The one after the last.
        corners: Of these segments, as `quads` gives them.
    """
    segment = lanes.segment[first:last].astype(np.float64)
    lane = lanes.segment_lane[first:last]
    outside = np.flatnonzero(lanes.junction[lane] < 0)
    tree = shapely.STRtree(shapely.polygons(corners[outside]))
    found = np.zeros((2, 2, len(segment)), np.bool_)
    middle = segment[:, [SEG_X, SEG_Y]] + 0.5 * segment[:, [SEG_LENGTH]] * segment[:, [SEG_COS,
        SEG_SIN]]  # fmt: skip
    for side, column in enumerate((SEG_LEFT, SEG_RIGHT)):
        offset = (1.0 - 2.0 * side) * (segment[:, column] + BEYOND)
        x = middle[:, 0] - offset * segment[:, SEG_SIN]
        y = middle[:, 1] + offset * segment[:, SEG_COS]
        pairs: I64 = tree.query(shapely.points(x, y), predicate="intersects")
        own, other = pairs[0], outside[pairs[1]]
        cosine = (segment[own][:, [SEG_COS, SEG_SIN]] * segment[other][:, [SEG_COS, SEG_SIN]]).sum(
            1
        )
        apart = lane[own] != lane[other]
        found[0, side, own[apart & (cosine < -ALIGNED_COS)]] = True
        found[1, side, own[apart & (cosine > ALIGNED_COS)]] = True
    return found[0], found[1]


def _runs(line: F64, chosen: NDArray[np.bool_]) -> Lines:
    """Returns the parts of a line whose pieces are chosen, [Q] for [Q + 1, 2] points."""
    change = np.flatnonzero(np.diff(chosen.astype(np.int8), prepend=0, append=0))
    return [line[begin : end + 1] for begin, end in change.reshape(-1, 2).tolist()]


def _edges(grid: Grid, place: int, polygons: NDArray[Any]) -> Lines:
    """Returns the edges of the drivable surface, without those where a layer was cut."""
    blocks_x, blocks_y, offset, layers = grid.shape[place].tolist()
    block = grid.block[offset : offset + blocks_x * blocks_y * layers]
    cell = (block[block >= 0][:, None] * 256 + np.arange(256)).ravel()
    count = grid.edge_first[cell + 1] - grid.edge_first[cell]
    start = np.repeat(grid.edge_first[cell] - np.cumsum(count) + count, count)
    edge = np.unique(grid.edge[start + np.arange(count.sum())], axis=0).astype(np.float64)
    ends = edge.reshape(-1, 2, 2)
    ends = ends[np.hypot(*(ends[:, 1] - ends[:, 0]).T) > 0.0]
    if layers > 1 and len(ends):
        step = ends[:, 1] - ends[:, 0]
        outward = step[:, ::-1] * (EDGE_OFFSET, -EDGE_OFFSET) / np.hypot(*step.T)[:, None]
        beyond = shapely.points(ends.mean(1) + outward)
        cut = shapely.STRtree(polygons).query(beyond, predicate="intersects")[0]
        ends = np.delete(ends, np.unique(cut), axis=0)
    if not len(ends):
        return []
    merged = shapely.line_merge(shapely.multilinestrings(shapely.linestrings(ends)))
    return [shapely.get_coordinates(part) for part in shapely.get_parts(merged)]


def simplified(lines: Sequence[F32 | F64], tolerance: float = TOLERANCE) -> Lines:
    """Returns polylines with fewer points; one of a single point stays as it is.

    Args:
        lines: Each [N, 2] [m].
        tolerance: How far a new line may be from the old one [m].
    """
    shapes = [shapely.linestrings(line) if len(line) > 1 else None for line in lines]
    simple = shapely.simplify(shapes, tolerance, preserve_topology=False)
    return [
        np.asarray(old, np.float64) if new is None else shapely.get_coordinates(new)
        for old, new in zip(lines, simple, strict=True)
    ]


def stop_line_ends(line: F32 | F64) -> F64:
    """Returns the inner and the kerb end of stop lines over the lanes they control, [T, 2, 2] [m].

    A row of `Signs.line` gives both ends over the whole carriageway and the middle of the
    controlled lanes, which reach its nearer end: the kerb.

    Args:
        line: Rows of `Signs.line`, [T, columns].
    """
    line = np.asarray(line, np.float64)
    middle = line[:, [LINE_X, LINE_Y]]
    left = np.hypot(*(line[:, [LINE_X0, LINE_Y0]] - middle).T)
    right = np.hypot(*(line[:, [LINE_X1, LINE_Y1]] - middle).T)
    side = np.where(left < right - 0.1, 1.0, -1.0)
    reach = (side * np.minimum(left, right))[:, None]
    to_kerb = reach * np.stack([-line[:, LINE_SIN], line[:, LINE_COS]], 1)
    return np.stack([middle - to_kerb, middle + to_kerb], 1)
