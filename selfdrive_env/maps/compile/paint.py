"""What is painted on the road, and the road between the lanes: drawn, and read by no kernel."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from selfdrive_env.maps.compile.segments import Strips
from selfdrive_env.maps.compile.surface import lane_polygons
from selfdrive_env.maps.road_network import Lane, RoadNetwork
from selfdrive_env.state.arrays import F64
from selfdrive_env.state.road import CROSSWALK, GAP, GIVE_WAY, GUIDE_LINE, Paint

__all__ = ["GIVE_WAY_DASH", "GUIDE_DASH", "compile_paint", "dashes", "pieces_of", "stripes"]

SHRED = 0.1
"""A gap between lanes that is nowhere twice as wide is left out [m]."""

INSIDE = 0.3
"""A line across a lane is looked for so far inside its boundaries [m]."""

SHORTEST_LINE = 1.0
"""[m]"""

GIVE_WAY_DASH = (0.9, 0.45)
"""Length of the dashes of a line where one gives way, and of the gaps between them [m]."""

GUIDE_DASH = (1.0, 1.0)
"""The same of a guide line [m]."""

STRIPE = 0.5
"""Width of the stripes of a crosswalk, about, and of the gaps between them [m]."""


def compile_paint(network: RoadNetwork, strips: Strips, surfaces: Sequence[Any]) -> Paint:
    """Returns what is drawn on a map beside its lanes and edges.

    Args:
        network: The map.
        strips: Its resampled lanes.
        surfaces: Drivable surface of each layer, shapely geometries.
    """
    give_way, guides = _roundabout_lines(network)
    lanes = [network.lanes[i] for i in strips.network_lane]
    kinds = {
        GAP: _gaps(network, strips, surfaces),
        CROSSWALK: [c.outline[:, :2] for c in network.crosswalks if len(c.outline) > 2],
        GIVE_WAY: give_way,
        GUIDE_LINE: guides,
    }
    lines = [line for kind in kinds.values() for line in kind]
    return Paint(
        kind=np.repeat(list(kinds), [len(kind) for kind in kinds.values()]).astype(np.uint8),
        first=np.cumsum([0, *(len(line) for line in lines)]).astype(np.int32),
        point=np.concatenate([np.zeros((0, 2)), *lines]).astype(np.float32),
        unmarked=np.flatnonzero(
            ["none" in (lane.left_mark, lane.right_mark) for lane in lanes]
        ).astype(np.int32),
    )


def pieces_of(paint: Paint, kind: int) -> list[F64]:
    """Returns the polylines of one kind, each [N, 2] [m]."""
    return [
        paint.point[paint.first[p] : paint.first[p + 1]].astype(np.float64)
        for p in np.flatnonzero(paint.kind == kind)
    ]


def stripes(outline: F64) -> list[F64]:
    """Returns the stripes of a crosswalk along the shorter side, each a closed [4, 2] [m].

    Args:
        outline: Of the crosswalk, [P, 2] [m]; unless it has four corners, it is the only stripe.
    """
    if len(outline) != 4:
        return [outline]
    lengths = np.hypot(*(np.roll(outline, -1, axis=0) - outline).T)
    first = int(np.argmax(lengths))
    a, b, c, d = (outline[(first + k) % 4] for k in range(4))
    num = max(2, round(float(lengths[first]) / (2.0 * STRIPE)))
    out = []
    for k in range(num):
        t = np.array([(k + 0.25) / num, (k + 0.75) / num])[:, None]
        out.append(np.concatenate([a + t * (b - a), (d + t * (c - d))[::-1]]))
    return out


def dashes(line: F64, dash: float, gap: float) -> list[F64]:
    """Returns the dashes of a polyline, the first and the last at its ends.

    Args:
        line: [N, 2] [m].
        dash: Length of each, about [m].
        gap: Between two, about [m].
    """
    s = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(line, axis=0).T))])
    num = max(1, round((s[-1] + gap) / (dash + gap)))
    shrink = s[-1] / (num * (dash + gap) - gap)
    out = []
    for begin in shrink * (dash + gap) * np.arange(num):
        end = begin + shrink * dash
        at = np.concatenate([[begin], s[(s > begin) & (s < end)], [end]])
        out.append(np.stack([np.interp(at, s, line[:, c]) for c in (0, 1)], axis=1))
    return out


def _gaps(network: RoadNetwork, strips: Strips, surfaces: Sequence[Any]) -> list[F64]:
    """Returns the drivable surface that no lane covers, as polygons without holes."""
    import shapely

    lanes = lane_polygons([network.lanes[i] for i in strips.network_lane])
    covered = shapely.union_all(lanes)
    rest = shapely.difference(shapely.union_all(list(surfaces)), covered)
    wide = [p for p in _polygons(rest) if not shapely.is_empty(shapely.buffer(p, -SHRED))]
    whole = [part for polygon in wide for part in _without_holes(polygon)]
    return [shapely.get_coordinates(polygon)[:-1] for polygon in whole]


def _polygons(geometry: Any) -> Iterable[Any]:
    import shapely

    parts = shapely.get_parts(geometry)
    parts = parts[shapely.get_type_id(parts) != 0]
    if (shapely.get_type_id(parts) > 3).any():
        return [one for part in parts for one in _polygons(part)]
    out: Iterable[Any] = parts[shapely.get_type_id(parts) == 3]
    return out


def _without_holes(polygon: Any) -> list[Any]:
    """Returns a polygon cut through its holes."""
    import shapely

    if not len(polygon.interiors):
        return [polygon]
    x0, y0, x1, y1 = polygon.bounds
    x = float(np.mean(polygon.interiors[0].coords, axis=0)[0])
    halves = (shapely.box(x0, y0, x, y1), shapely.box(x, y0, x1, y1))
    cut = [one for half in halves for one in _polygons(shapely.intersection(polygon, half))]
    return [part for piece in cut for part in _without_holes(piece)]


def _roundabout_lines(network: RoadNetwork) -> tuple[list[F64], list[F64]]:
    """Returns where traffic gives way, and the edges of the rings where it may leave them."""
    give_way, guides = [], []
    for signal in network.signals:
        if signal.kind != "yield_sign":
            continue
        joins = _joins_one_road(network, signal.lanes)
        for lane in (network.lanes[i] for i in signal.lanes):
            ways = [i for i in lane.successors if network.lanes[i].junction >= 0]
            if lane.junction >= 0 or not ways:
                continue
            rings = _merging(network, ways[0]) if len(ways) == 1 and joins else []
            lines = [_across(network.lanes[i], network.lanes[ways[0]]) for i in rings]
            found = [line for line in lines if line is not None]
            give_way += found or [np.stack([lane.left[-1, :2], lane.right[-1, :2]])]
            for ring in rings:
                leaving = [_across(network.lanes[ring], one) for one in _parting(network, ring)]
                guides += [line for line in leaving if line is not None]
    return give_way, guides


def _joins_one_road(network: RoadNetwork, approach: Sequence[int]) -> bool:
    """Returns whether all ways of an approach lead to one road, as those to a ring do."""
    ways = [network.lanes[way] for lane in approach for way in network.lanes[lane].successors]
    return len({network.lanes[after].road for way in ways for after in way.successors}) < 2


def _merging(network: RoadNetwork, way: int) -> list[int]:
    """Returns the lanes of a junction that end where a way through it does."""
    own = network.lanes[way]
    into = {i for lane in own.successors for i in network.lanes[lane].predecessors} - {way}
    return [i for i in sorted(into) if network.lanes[i].junction == own.junction]


def _parting(network: RoadNetwork, ring: int) -> list[Lane]:
    """Returns the other ways through a junction that begin where a lane in it does."""
    own = network.lanes[ring]
    out = {i for lane in own.predecessors for i in network.lanes[lane].successors} - {ring}
    ways = [network.lanes[i] for i in sorted(out)]
    return [way for way in ways if way.junction == own.junction]


def _across(ring: Lane, way: Lane) -> F64 | None:
    """Returns the part of a ring's boundary that lies across a way onto it or off it, [N, 2]."""
    import shapely

    area = shapely.buffer(lane_polygons([way])[0], -INSIDE)
    best, longest = None, SHORTEST_LINE
    for side in (ring.left, ring.right):
        cut = shapely.intersection(shapely.linestrings(side[:, :2]), area)
        merged = shapely.line_merge(cut) if shapely.get_type_id(cut) == 5 else cut
        for part in shapely.get_parts(merged):
            if shapely.length(part) > longest:
                best, longest = shapely.get_coordinates(part), float(shapely.length(part))
    return best
