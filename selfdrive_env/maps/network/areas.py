"""Where lanes cross, fork and merge: junctions for formats that name none.

Lanes of one level that lie over each other, other than where one follows the other, belong to one
junction, and so do all that hang together so.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.maps.road_network import Junction, Lane, MapError, RoadNetwork

__all__ = ["infer_junctions", "overlapping_lanes"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

STEP = 1.0
"""Spacing of the probes along a lane [m]."""

MARGIN = 0.5
"""Lanes overlap from this depth on [m]."""

ACROSS = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
"""Places of the probes across a lane, in shares of its half width without the margin."""

LEAST = 2
"""Fewest probes of a lane in another one."""

LEVEL = 2.0
"""Lanes this much higher or lower are on another level [m]."""

OPPOSITE = -np.cos(np.radians(20.0))
"""Cosine of the angle from which traffic that comes towards one passes in a narrow street."""

CELL = 4.0
"""Size of the cells in which pieces of lanes are looked up [m]."""

MAX_LENGTH = 3e6
"""Longest sum of lanes [m]."""

MAX_CELLS = 20_000_000
"""Most cells that pieces touch, each counted for itself."""

MAX_PAIRS = 200_000_000
"""Most probes that are compared with pieces, of a map of any size."""

SOME_PAIRS, PAIRS_OF_A_PIECE = 10_000_000, 500
"""What a map may have of them, and for each of its pieces beside: real ones have up to 90 a piece,
a few lanes of monstrous width 20,000."""

CHUNK = 2_000_000
"""Of them at once."""


def infer_junctions(network: RoadNetwork) -> list[str]:
    """Appends a junction for each set of drivable lanes that lie over each other.

    Args:
        network: Its lanes are linked; those without a junction may get one. Changed in place.

    Returns:
        The names of the new junctions.

    Raises:
        MapError: There is too much to compare.
    """
    group = list(range(len(network.lanes)))

    def root(lane: int) -> int:
        while group[lane] != lane:
            group[lane] = group[group[lane]]
            lane = group[lane]
        return lane

    for one, other in overlapping_lanes(network):
        low, high = sorted((root(one), root(other)))
        group[high] = low
    members: dict[int, list[int]] = defaultdict(list)
    for lane in range(len(network.lanes)):
        members[root(lane)].append(lane)
    known = len(network.junctions)
    for lanes in members.values():
        if len(lanes) > 1:
            for lane in lanes:
                network.lanes[lane].junction = len(network.junctions)
            name = network.lanes[lanes[0]].name
            network.junctions.append(Junction(f"at {name}", lanes=lanes))
    return [junction.name for junction in network.junctions[known:]]


def overlapping_lanes(network: RoadNetwork) -> list[tuple[int, int]]:
    """Returns pairs of drivable lanes without a junction that lie over each other on one level.

    Where a lane follows another one, they do not count, nor do the two directions of one surface,
    nor lanes of opposite directions that share the middle of a street.

    Args:
        network: The map.
    """
    chosen = [i for i, lane in enumerate(network.lanes) if lane.drivable and lane.junction < 0]
    lanes = [network.lanes[i] for i in chosen]
    if len(lanes) < 2:
        return []
    total = sum(lane.length for lane in lanes)
    if not total <= MAX_LENGTH:
        raise MapError(
            f"{total / 1000.0:.0f} km of lanes are too many; {MAX_LENGTH / 1000.0:g} km are allowed"
        )
    pieces = [_Pieces.of(lane) for lane in lanes]
    hits = _count_hits(pieces, len(lanes))
    pairs = []
    for (one, other), count in hits.items():
        a, b = chosen[one], chosen[other]
        linked = b in network.lanes[a].successors or a in network.lanes[b].successors
        if count >= LEAST and not linked:
            pairs.append((a, b))
    return sorted(pairs)


class _Pieces:
    """The strips between stations of a lane, and probes in the middle of each."""

    def __init__(self, corners: Floats, probes: Floats, ahead: Floats) -> None:
        self.corners = corners
        """Start left, start right, end right, end left, [Q, 4, 2] [m]."""

        self.probes = probes
        """[Q, A, 3] [m]"""

        self.ahead = ahead
        """Unit direction of travel, [Q, 2]."""

    @classmethod
    def of(cls, lane: Lane) -> _Pieces:
        """Returns the pieces of a lane."""
        arc = lane.arc_length
        count = max(int(np.ceil(arc[-1] / STEP)), 1)
        at = np.linspace(0.0, arc[-1], count + 1)
        left, right = (
            np.stack([np.interp(at, arc, side[:, axis]) for axis in range(3)], axis=1)
            for side in (lane.left, lane.right)
        )
        corners = np.stack([left[:-1], right[:-1], right[1:], left[1:]], axis=1)
        middle_left, middle_right = 0.5 * (left[:-1] + left[1:]), 0.5 * (right[:-1] + right[1:])
        middle, half = 0.5 * (middle_left + middle_right), 0.5 * (middle_left - middle_right)
        width = np.hypot(half[:, 0], half[:, 1])
        share = np.maximum(width - MARGIN, 0.0) / np.maximum(width, 1e-9)
        probes = middle[:, None] + (share[:, None] * ACROSS)[:, :, None] * half[:, None]
        step = np.diff(0.5 * (left + right)[:, :2], axis=0)
        ahead = step / np.maximum(np.hypot(*step.T), 1e-9)[:, None]
        return cls(corners, probes, ahead)


def _count_hits(pieces: list[_Pieces], lanes: int) -> dict[tuple[int, int], int]:
    """Returns for each pair of lanes how many probes of either lie in the other one."""
    corners = np.concatenate([p.corners for p in pieces])
    ahead = np.concatenate([p.ahead for p in pieces])
    owner = np.repeat(np.arange(lanes), [len(p.corners) for p in pieces])
    probes = np.concatenate([p.probes for p in pieces])
    height = corners[..., 2].mean(axis=1)
    piece_cells, piece = _cells_of(corners[..., :2])
    order = np.argsort(piece_cells, kind="stable")
    piece_cells, piece = piece_cells[order], piece[order]

    points = probes.reshape(-1, 3)
    source = np.repeat(np.arange(len(probes)), probes.shape[1])
    keys = _keys(np.floor(points[:, :2] / CELL).astype(np.int64))
    first = np.searchsorted(piece_cells, keys, "left")
    count = np.searchsorted(piece_cells, keys, "right") - first
    most = min(MAX_PAIRS, SOME_PAIRS + PAIRS_OF_A_PIECE * len(corners))
    if count.sum() > most:
        raise MapError(
            f"lanes lie over each other in too many places: {count.sum()} to compare, "
            f"{most} are allowed for {len(corners)} m of lanes"
        )
    hits: dict[tuple[int, int], int] = defaultdict(int)
    ends = np.cumsum(count)
    start = 0
    while start < len(points):
        done = ends[start - 1] if start else 0
        stop = max(int(np.searchsorted(ends, done + CHUNK, "right")), start + 1)
        number = count[start:stop]
        probe = np.repeat(np.arange(start, stop), number)
        within = np.arange(number.sum()) - np.repeat(np.cumsum(number) - number, number)
        other = piece[first[probe] + within]
        own = source[probe]
        kept = owner[own] != owner[other]
        kept &= np.abs(points[probe, 2] - height[other]) < LEVEL
        kept &= (ahead[own] * ahead[other]).sum(axis=1) > OPPOSITE
        probe, other, own = probe[kept], other[kept], own[kept]
        inside = _inside(points[probe, :2], corners[other][..., :2])
        one, two = owner[own[inside]], owner[other[inside]]
        pair = np.minimum(one, two) * lanes + np.maximum(one, two)
        for key, found in zip(*np.unique(pair, return_counts=True), strict=True):
            hits[int(key) // lanes, int(key) % lanes] += int(found)
        start = stop
    return hits


def _cells_of(corners: Floats) -> tuple[Integers, Integers]:
    """Returns the key of each cell that a piece touches, and the piece."""
    low = np.floor(corners.min(axis=1) / CELL).astype(np.int64)
    size = np.floor(corners.max(axis=1) / CELL).astype(np.int64) - low + 1
    count = size.prod(axis=1)
    if not size.astype(np.float64).prod(axis=1).sum() <= MAX_CELLS:
        raise MapError(f"lanes are too wide: they cover more than {MAX_CELLS} cells of {CELL:g} m")
    piece = np.repeat(np.arange(len(corners)), count)
    number = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    place = np.stack([number % size[piece, 0], number // size[piece, 0]], axis=1)
    return _keys(low[piece] + place), piece


def _keys(cells: Integers) -> Integers:
    """Returns one number for each cell; coordinates stay below 2^31 cells."""
    keys: Integers = cells[:, 0] * (1 << 31) + cells[:, 1]
    return keys


def _inside(points: Floats, corners: Floats) -> NDArray[np.bool_]:
    """Returns whether points lie in quadrilaterals, by the number of sides to their right."""
    inside = np.zeros(len(points), bool)
    for k in range(4):
        a, b = corners[:, k], corners[:, (k + 1) % 4]
        crosses = (a[:, 1] > points[:, 1]) != (b[:, 1] > points[:, 1])
        rise = np.where(crosses, b[:, 1] - a[:, 1], 1.0)
        x = a[:, 0] + (points[:, 1] - a[:, 1]) / rise * (b[:, 0] - a[:, 0])
        inside ^= crosses & (points[:, 0] < x)
    return inside
