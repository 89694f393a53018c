"""What is painted on the road, as polygons: lines beside lanes, stop lines, crosswalks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from selfdrive_env.maps.compile.compiled_map import CompiledMap
from selfdrive_env.maps.compile.outline import beside, quads, stop_line_ends
from selfdrive_env.maps.compile.paint import GIVE_WAY_DASH, GUIDE_DASH, dashes, pieces_of, stripes
from selfdrive_env.state.arrays import F64, I64, U8
from selfdrive_env.state.camera.scenery import Material
from selfdrive_env.state.road import CROSSWALK, GIVE_WAY, GUIDE_LINE, SEG_LEFT, SEG_RIGHT, SEG_S

__all__ = ["Polygons", "deck_polygons", "markings"]

Bools = npt.NDArray[np.bool_]

LINE = 0.15
"""Width of a line along a lane [m]."""

EDGE_INSET = 0.2
"""From the edge of the road to the middle of the line along it [m]."""

CENTRE_INSET = 0.14
"""From the middle of a road to each of its two lines [m]."""

DASH, GAP = 3.0, 6.0
"""Of lines between lanes [m]."""

STOP_LINE, GIVE_WAY_LINE = 0.45, 0.4
"""Widths [m]."""

STRETCH = 0.02
"""By how much pieces of lines overlap [m]."""


class Polygons(NamedTuple):
    """Polygons that are painted one over the other."""

    point: F64
    """x, y [P, 2] [m]."""

    first: I64
    """Points of polygon n: point[first[n]:first[n + 1]], [N + 1]."""

    material: U8
    """[N]"""

    sheet: U8
    """[N]"""


def markings(one: CompiledMap, deck: Bools) -> Polygons:
    """Returns all that is painted on a map.

    Args:
        one: The map.
        deck: Which of its segments lie on bridges, [Q].
    """
    found: list[tuple[F64, int, U8]] = []
    segment = one.lanes.segment.astype(np.float64)
    lane, sheet = one.lanes.segment_lane, deck.astype(np.uint8)
    corners = quads(segment)
    opposite, along = beside(one.lanes, 0, len(segment), corners)
    outside = one.lanes.junction[lane] < 0
    dashed = np.mod(segment[:, SEG_S], DASH + GAP) < DASH
    unmarked = np.isin(lane, one.paint.unmarked)
    width = segment[:, SEG_LEFT] + segment[:, SEG_RIGHT]
    wide = outside & (width > 4.0 * EDGE_INSET)
    for side, neighbours in enumerate((one.lanes.left, one.lanes.right)):
        has_neighbour = neighbours[lane] >= 0
        between = has_neighbour if side == 0 else np.zeros_like(has_neighbour)
        centre = wide & ~has_neighbour & opposite[side] & ~unmarked
        merging = ~has_neighbour & ~opposite[side] & along[side]
        edge = wide & ~has_neighbour & ~opposite[side] & ~along[side]
        lines = (
            (outside & (between | merging) & dashed, 0.0, Material.WHITE),
            (centre, CENTRE_INSET, Material.YELLOW),
            (edge, EDGE_INSET, Material.WHITE),
        )
        for chosen, inset, material in lines:
            rows = np.flatnonzero(chosen)
            found.append((_side_lines(corners[rows], side, inset), int(material), sheet[rows]))
    found += _across(one)
    return _joined(found)


def _side_lines(corners: F64, side: int, inset: float) -> F64:
    """Returns a strip along the left (0) or right (1) side of segments, [N, 4, 2] [m]."""
    start, end = corners[:, side], corners[:, 3 - side]
    inward = corners[:, 1 - side] - start
    inward /= np.maximum(np.hypot(*inward.T), 1e-6)[:, None]
    ahead = end - start
    ahead /= np.maximum(np.hypot(*ahead.T), 1e-6)[:, None]
    low, high = (inset - 0.5 * LINE) * inward, (inset + 0.5 * LINE) * inward
    start, end = start - STRETCH * ahead, end + STRETCH * ahead
    return np.stack([start + low, end + low, end + high, start + high], axis=1)


def _across(one: CompiledMap) -> list[tuple[F64, int, U8]]:
    """Returns what does not run along lanes; all of it lies on the ground."""
    white = int(Material.WHITE)
    areas = [stripe for area in pieces_of(one.paint, CROSSWALK) for stripe in stripes(area)]
    lines = [(ends, STOP_LINE) for ends in stop_line_ends(one.signs.line.astype(np.float64))]
    for kind, width, dash in (
        (GIVE_WAY, GIVE_WAY_LINE, GIVE_WAY_DASH),
        (GUIDE_LINE, LINE, GUIDE_DASH),
    ):
        pieces = [dashes(line, *dash) for line in pieces_of(one.paint, kind)]
        lines += [(line, width) for some in pieces for line in some]
    areas += [strip for line, width in lines for strip in _strips(np.asarray(line), width)]
    return [(area[None], white, np.zeros(1, np.uint8)) for area in areas]


def _strips(line: F64, width: float) -> list[F64]:
    """Returns the pieces of a polyline as rectangles, each [4, 2] [m]."""
    out = []
    for start, end in pairwise(line):
        step = end - start
        length = float(np.hypot(*step))
        if length < 1e-6:
            continue
        aside = 0.5 * width / length * np.array([-step[1], step[0]])
        out.append(np.stack([start + aside, end + aside, end - aside, start - aside]))
    return out


def deck_polygons(corners: F64) -> Polygons:
    """Returns the segments that lie on bridges as asphalt on their sheet, [N, 4, 2] [m]."""
    material = int(Material.ASPHALT)
    return _joined([(corners, material, np.ones(len(corners), np.uint8))])


def _joined(found: Sequence[tuple[F64, int, U8]]) -> Polygons:
    """Returns groups of polygons, each [N, P, 2], in one table."""
    lengths = [np.full(len(group), group.shape[1]) for group, _, _ in found]
    return Polygons(
        point=np.concatenate([np.zeros((0, 2)), *(group.reshape(-1, 2) for group, _, _ in found)]),
        first=np.cumsum([0, *np.concatenate([np.zeros(0, int), *lengths])]).astype(np.int64),
        material=np.concatenate(
            [np.zeros(0, np.uint8), *(np.full(len(g), m, np.uint8) for g, m, _ in found)]
        ),
        sheet=np.concatenate([np.zeros(0, np.uint8), *(sheet for _, _, sheet in found)]),
    )
