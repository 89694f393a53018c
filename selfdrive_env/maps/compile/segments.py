"""Drivable lanes resampled to segments of at most one metre: the arrays of `Lanes`.

All lanes are handled at once: their points lie in flat arrays one lane after the other, and one
global abscissa (arc length plus an offset a lane) makes resampling a single interpolation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from selfdrive_env.maps.road_network import TWO_WAY, Lane, MapError, RoadNetwork
from selfdrive_env.state.arrays import F64, I32, I64, U8
from selfdrive_env.state.road import (
    SEG_COLUMNS,
    SEG_COS,
    SEG_CURVATURE,
    SEG_LEFT,
    SEG_LENGTH,
    SEG_RIGHT,
    SEG_S,
    SEG_SIN,
    SEG_X,
    SEG_Y,
    SEG_Z,
    Lanes,
)

__all__ = ["Strips", "compile_lanes", "resample_lanes"]

SHORTEST_LANE = 1e-3
"""Lanes shorter or narrower than this are left out [m]."""

MAX_LENGTH = 1e6
"""Of all drivable lanes of a map [m]."""

MAX_AREA = 1e9
"""Of the rectangle around them, with `BORDER` along each axis [m^2]."""

BORDER = 128.0
"""Free space in the grid, both sides together [m]."""

SPAWN_WIDTH = 1.6
"""Narrowest lane on which an agent is placed [m]."""

SPAWN_ROAD_AHEAD = 25.0
"""Road that must follow where an agent is placed [m]."""


@dataclass(frozen=True, slots=True)
class Strips:
    """The drivable lanes as strips: points on both sides of each, every metre or closer."""

    network_lane: I32
    """Index in `RoadNetwork.lanes` of each compiled lane, [L]."""

    compiled_lane: I32
    """Compiled lane of each lane of the network, -1 where it is not drivable."""

    segment_first: I32
    """Segments of lane l: segment_first[l] up to segment_first[l + 1], [L + 1]."""

    segment_lane: I32
    """[Q]"""

    centre: F64
    """Centre line, [Q + L, 3]; segment q of lane l runs from point q + l to q + l + 1 [m]."""

    left: F64
    """Left boundary at the same stations, [Q + L, 2] [m]."""

    right: F64
    """Right boundary at the same stations, [Q + L, 2] [m]."""

    station: F64
    """Arc length along the lane's own centre line, [Q + L] [m]."""

    link: I32
    """(lane, successor) pairs sorted by lane, [K, 2]."""

    @property
    def start(self) -> I64:
        """Point where each segment starts, [Q]."""
        return np.arange(len(self.segment_lane)) + self.segment_lane

    @property
    def z(self) -> F64:
        """Elevation of the middle of each segment, [Q] [m]."""
        p = self.start
        z: F64 = 0.5 * (self.centre[p, 2] + self.centre[p + 1, 2])
        return z

    @property
    def quads(self) -> F64:
        """Corners of each segment: left, right where it ends, then right, left, [Q, 4, 2] [m]."""
        p = self.start
        corners = (self.left[p], self.left[p + 1], self.right[p + 1], self.right[p])
        return np.stack(corners, axis=1)


def _check_size(name: str, points: F64, length: float) -> None:
    """Raises a MapError for a map whose arrays would not fit into memory."""
    corners = points[:, 3:].reshape(-1, 2)
    wide, high = (corners.max(axis=0) - corners.min(axis=0) + BORDER).tolist()
    if length > MAX_LENGTH or wide * high > MAX_AREA:
        raise MapError(
            f"map {name!r}: its drivable lanes are {length / 1e3:.0f} km long and lie on "
            f"{wide / 1e3:.0f} km x {high / 1e3:.0f} km; they may be at most {MAX_LENGTH / 1e3:g} "
            f"km long and lie on {MAX_AREA / 1e6:g} km2"
        )


def resample_lanes(network: RoadNetwork) -> Strips:
    """Returns the drivable lanes of `network` cut at equal steps of at most one metre.

    Lanes without width are left out; lanes shorter than a millimetre are bridged.
    """
    drivable = np.array([i for i, lane in enumerate(network.lanes) if lane.drivable], np.int64)
    if not len(drivable):
        raise MapError(f"map {network.name!r} has no drivable lane")
    lanes = [network.lanes[i] for i in drivable]
    count = np.array([len(lane.centre) for lane in lanes])
    points = np.concatenate(
        [
            np.concatenate([lane.centre for lane in lanes]),
            np.concatenate([lane.left for lane in lanes])[:, :2],
            np.concatenate([lane.right for lane in lanes])[:, :2],
        ],
        axis=1,
    )
    if not np.isfinite(points).all():
        bad = lanes[
            int(np.searchsorted(np.cumsum(count), np.argmin(np.isfinite(points).all(1)), "right"))
        ]
        raise MapError(
            f"map {network.name!r}: lane {bad.name!r} has a coordinate that is not finite"
        )

    first = np.concatenate([[0], np.cumsum(count)])
    s = _arc_length(points, first)
    length = s[first[1:] - 1]
    width = np.maximum.reduceat(np.hypot(*(points[:, 3:5] - points[:, 5:7]).T), first[:-1])
    kept = (length >= SHORTEST_LANE) & (width >= SHORTEST_LANE)
    if not kept.any():
        raise MapError(f"map {network.name!r} has no drivable lane with length and width")
    compiled_lane = np.full(len(network.lanes), -1, np.int32)
    compiled_lane[drivable[kept]] = np.arange(kept.sum())
    link = _links(network, compiled_lane, set(drivable[(width >= SHORTEST_LANE) & ~kept].tolist()))

    of_kept = np.repeat(kept, count)
    points, s, count, length = points[of_kept], s[of_kept], count[kept], length[kept]
    _check_size(network.name, points, float(length.sum()))
    first = np.concatenate([[0], np.cumsum(count)])
    num = np.maximum(1, np.ceil(length - 1e-9)).astype(np.int64)
    point_first = np.concatenate([[0], np.cumsum(num + 1)])
    lane = np.repeat(np.arange(len(num)), num + 1)
    station = length[lane] * ((np.arange(point_first[-1]) - point_first[lane]) / num[lane])
    base = np.concatenate([[0.0], np.cumsum(length + 1.0)])
    known = s + np.repeat(base[:-1], count)
    wanted = station + base[lane]
    out = np.stack([np.interp(wanted, known, column) for column in points.T], axis=1)
    out[point_first[:-1]], out[point_first[1:] - 1] = points[first[:-1]], points[first[1:] - 1]
    return Strips(
        network_lane=drivable[kept].astype(np.int32),
        compiled_lane=compiled_lane,
        segment_first=np.concatenate([[0], np.cumsum(num)]).astype(np.int32),
        segment_lane=np.repeat(np.arange(len(num)), num).astype(np.int32),
        centre=out[:, :3],
        left=out[:, 3:5],
        right=out[:, 5:7],
        station=station,
        link=link,
    )


def compile_lanes(network: RoadNetwork, strips: Strips, layer: U8) -> Lanes:
    """Returns the arrays of the lanes of one map.

    Args:
        network: The map.
        strips: Its resampled lanes.
        layer: Surface that an agent on each segment sees, [Q].
    """
    lanes = [network.lanes[i] for i in strips.network_lane]
    segment = _segments(strips)
    first = strips.segment_first
    length = np.add.reduceat(segment[:, SEG_LENGTH], first[:-1])
    curvature = segment[:, SEG_CURVATURE]
    width = segment[:, SEG_LEFT] + segment[:, SEG_RIGHT]
    spawn = _spawn_segments(lanes, strips, segment, length)
    neighbours = [
        np.array([strips.compiled_lane[i] if i >= 0 else -1 for i in side], np.int32)
        for side in ([n.left_neighbour for n in lanes], [n.right_neighbour for n in lanes])
    ]
    link_count = np.bincount(strips.link[:, 0], minlength=len(lanes))
    return Lanes(
        segment=segment.astype(np.float32),
        segment_lane=strips.segment_lane,
        segment_layer=layer,
        segment_first=first,
        length=length.astype(np.float32),
        speed_limit=np.array([lane.speed_limit for lane in lanes], np.float32),
        junction=np.array([lane.junction for lane in lanes], np.int32),
        max_curvature=np.maximum.reduceat(np.abs(curvature), first[:-1]).astype(np.float32),
        precedence=np.array([lane.precedence for lane in lanes], np.int32),
        narrowest=np.minimum.reduceat(width, first[:-1]).astype(np.float32),
        turn=_turn(segment, first).astype(np.float32),
        successor_first=np.concatenate([[0], np.cumsum(link_count)]).astype(np.int32),
        successor=np.ascontiguousarray(strips.link[:, 1]),
        left=neighbours[0],
        right=neighbours[1],
        map_lane_first=np.array([0, len(lanes)], np.int32),
        spawn_segment=spawn,
        map_spawn_first=np.array([0, len(spawn)], np.int32),
    )


def _arc_length(points: F64, first: I64) -> F64:
    """Returns the arc length in the plane of each point from the first of its lane."""
    steps = np.zeros(len(points))
    steps[1:] = np.hypot(*np.diff(points[:, :2], axis=0).T)
    steps[first[:-1]] = 0.0
    s = np.cumsum(steps)
    return s - np.repeat(s[first[:-1]], np.diff(first))


def _links(network: RoadNetwork, compiled_lane: I32, bridged: set[int]) -> I32:
    """Returns (lane, successor) pairs in compiled numbers, passing over the lanes in `bridged`."""
    pairs = set()
    for i in np.flatnonzero(compiled_lane >= 0).tolist():
        stack, seen = list(network.lanes[i].successors), set()
        while stack:
            j = stack.pop()
            if compiled_lane[j] >= 0:
                pairs.add((int(compiled_lane[i]), int(compiled_lane[j])))
            elif j in bridged and j not in seen:
                seen.add(j)
                stack.extend(network.lanes[j].successors)
    return np.array(sorted(pairs), np.int32).reshape(-1, 2)


def _segments(strips: Strips) -> F64:
    """Returns the rows of `Lanes.segment` in double precision."""
    p = strips.start
    q = p + 1
    chord = strips.centre[q, :2] - strips.centre[p, :2]
    length = np.hypot(*chord.T)
    # Where the centre line turns back on itself, the direction comes from the boundaries.
    width = (strips.left - strips.right)[p] + (strips.left - strips.right)[q]
    ahead = np.stack([width[:, 1], -width[:, 0]], axis=1)
    direction = np.where(length[:, None] > 1e-6, chord, ahead)
    norm = np.hypot(*direction.T)
    direction = np.where(norm[:, None] > 0.0, direction, [1.0, 0.0])
    cos, sin = (direction / np.where(norm > 0.0, norm, 1.0)[:, None]).T
    middle = 0.5 * (strips.centre[p, :2] + strips.centre[q, :2])

    def across_distance(side: F64) -> F64:
        offset = 0.5 * (side[p] + side[q]) - middle
        across: F64 = offset[:, 1] * cos - offset[:, 0] * sin
        return across

    first = strips.segment_first
    s = np.cumsum(length) - length
    out = np.empty((len(p), SEG_COLUMNS))
    out[:, SEG_X], out[:, SEG_Y] = strips.centre[p, :2].T
    out[:, SEG_COS], out[:, SEG_SIN], out[:, SEG_LENGTH] = cos, sin, length
    out[:, SEG_LEFT] = np.maximum(across_distance(strips.left), 0.0)
    out[:, SEG_RIGHT] = np.maximum(-across_distance(strips.right), 0.0)
    out[:, SEG_CURVATURE] = _curvature(np.arctan2(sin, cos), length, strips.segment_lane)
    out[:, SEG_Z] = strips.centre[p, 2]
    out[:, SEG_S] = s - np.repeat(s[first[:-1]], np.diff(first))
    return out


def _curvature(heading: F64, length: F64, lane: I32) -> F64:
    """Returns heading change over distance from the middle of the segment before to that after."""
    index = np.arange(len(heading))
    before = np.where((index > 0) & (lane == np.roll(lane, 1)), index - 1, index)
    after = np.where((index + 1 < len(lane)) & (lane == np.roll(lane, -1)), index + 1, index)
    change = _wrap(heading[after] - heading[index]) + _wrap(heading[index] - heading[before])
    ahead = np.where(after > index, 0.5 * (length[index] + length[after]), 0.0)
    behind = np.where(before < index, 0.5 * (length[index] + length[before]), 0.0)
    # A floor of half a metre: shorter lanes would turn a rounded heading into a sharp bend.
    curvature: F64 = change / np.maximum(ahead + behind, 0.5)
    return curvature


def _turn(segment: F64, first: I32) -> F64:
    """Returns the heading change along each lane, half a segment beyond the middles at its ends."""
    heading = np.arctan2(segment[:, SEG_SIN], segment[:, SEG_COS])
    step = np.zeros(len(heading))
    step[1:] = _wrap(np.diff(heading))
    step[first[:-1]] = 0.0
    half = 0.5 * segment[:, SEG_LENGTH] * segment[:, SEG_CURVATURE]
    return np.add.reduceat(step, first[:-1]) + half[first[:-1]] + half[first[1:] - 1]


def _wrap(angle: F64) -> F64:
    """Returns the angle in [-pi, pi)."""
    return (angle + np.pi) % (2.0 * np.pi) - np.pi


def _spawn_segments(lanes: list[Lane], strips: Strips, segment: F64, length: F64) -> I32:
    """Returns the segments with enough width and enough road ahead to place an agent on."""
    ahead = np.zeros(len(lanes))
    source, target = strips.link.T
    while True:
        longer = ahead.copy()
        np.maximum.at(longer, source, np.minimum(length + ahead, SPAWN_ROAD_AHEAD)[target])
        if np.array_equal(longer, ahead):
            break
        ahead = longer
    lane = strips.segment_lane
    remaining = length[lane] - segment[:, SEG_S] + ahead[lane]
    two_way = np.array([lane.type == TWO_WAY for lane in lanes])
    fit = (segment[:, SEG_LEFT] + segment[:, SEG_RIGHT] >= SPAWN_WIDTH) & ~two_way[lane]
    return np.flatnonzero(fit & (remaining >= SPAWN_ROAD_AHEAD)).astype(np.int32)
