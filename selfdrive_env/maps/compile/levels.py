"""Bridges: which lane segments see which of several surfaces (layers) of a map.

Where lanes cross above one another each level gets its own layer: within 8 m of the crossing a
surface has only the lanes of its level, and agents on the road up to 25 m further see that surface.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.maps.compile.grid import Pairs
from selfdrive_env.maps.compile.segments import Strips
from selfdrive_env.state.arrays import F64, I32, I64, U8
from selfdrive_env.state.road import LEVEL_HEIGHT

__all__ = ["Layers", "find_layers"]

ZONE_REACH = 8.0
"""Lanes of another level are left out this far around a crossing [m]."""

NEAR_CELLS = 4
"""Cells around those of a crossing that hold its zone and what touches the zone."""

ZONE_GROWTH = 25.0
"""Agents see the surface of their level this far before and after the zone [m]."""


@dataclass(frozen=True, slots=True)
class Layers:
    """Which surface an agent sees and which surfaces lack a segment."""

    count: int

    layer: U8
    """Surface seen from each segment, [Q]."""

    removal: I32
    """The only layer whose surface has the segment, -1 for all of them, [Q]."""

    border: I64
    """Segments that touch on one level although some layer has the second only, [N, 2]."""


def find_layers(strips: Strips, pairs: Pairs) -> Layers:
    """Returns the layers of a map; one layer if no lanes cross above one another.

    Args:
        strips: The resampled lanes.
        pairs: (segment, column, row) wherever a segment overlaps a cell of the grid.
    """
    num = len(strips.segment_lane)
    crossings = _crossings(strips, pairs)
    if not len(crossings):
        none = np.zeros((0, 2), np.int64)
        return Layers(1, np.zeros(num, np.uint8), np.full(num, -1, np.int32), none)

    zone, touching = _zone(strips, np.unique(crossings), pairs)
    inner = touching[np.isin(touching[:, 1], zone)]
    group = _components(num, inner)
    conflicts = np.unique(np.sort(group[crossings], axis=1), axis=0)
    conflicts = conflicts[conflicts[:, 0] != conflicts[:, 1]]
    owner, meetings = _grow(strips, zone)
    merged = _merge(group, [(group[a], group[b]) for a, b in meetings], conflicts)
    colour = _colours(merged, conflicts, zone, strips.z)

    layer = np.zeros(num, np.uint8)
    grown = owner >= 0
    layer[grown] = colour[owner[grown]]
    removal = np.full(num, -1, np.int32)
    removal[zone] = colour[zone]
    border = touching[removal[touching[:, 0]] != removal[touching[:, 1]]]
    return Layers(int(colour[zone].max()) + 1, layer, removal, border)


def _crossings(strips: Strips, pairs: Pairs) -> I64:
    """Returns the pairs of segments that overlap in plan on different levels, [N, 2]."""
    import shapely

    z = strips.z
    if z.max() - z.min() < LEVEL_HEIGHT:
        return np.zeros((0, 2), np.int64)
    segment, column, row = pairs
    cell = np.unique(row * (column.max() + 1) + column, return_inverse=True)[1]
    order = np.lexsort((z[segment], cell))
    segment, cell = segment[order], cell[order]
    first = np.flatnonzero(np.diff(cell, prepend=-1))
    last = np.append(first[1:], len(cell)) - 1
    found = []
    tall = z[segment[last]] - z[segment[first]] > LEVEL_HEIGHT
    for a, b in zip(first[tall], last[tall] + 1, strict=True):
        here = segment[a:b]
        low, high = np.nonzero(z[here][None, :] - z[here][:, None] > LEVEL_HEIGHT)
        found.append(np.stack([here[low], here[high]], axis=1))
    if not found:
        return np.zeros((0, 2), np.int64)
    candidates = np.unique(np.concatenate(found), axis=0)
    linked = {(int(a), int(b)) for a, b in strips.link}
    lanes = strips.segment_lane[candidates]
    apart = [a != b and (a, b) not in linked and (b, a) not in linked for a, b in lanes.tolist()]
    candidates = candidates[np.array(apart, bool)]
    used, index = np.unique(candidates, return_inverse=True)
    hulls = shapely.convex_hull(shapely.multipoints(strips.quads[used]))
    index = index.reshape(-1, 2)
    out: I64 = candidates[shapely.intersects(hulls[index[:, 0]], hulls[index[:, 1]])]
    return out


def _zone(strips: Strips, crossing: I64, pairs: Pairs) -> tuple[I64, I64]:
    """Returns the segments near a crossing on its level, and what each touches on that level.

    Args:
        strips: The resampled lanes.
        crossing: Segments that cross another, ascending, [N].
        pairs: (segment, column, row) wherever a segment overlaps a cell of the grid.
    """
    import shapely

    segment, column, row = pairs
    close = np.zeros((row.max() + 2 * NEAR_CELLS, column.max() + 2 * NEAR_CELLS), bool)
    mine = np.isin(segment, crossing)
    for dy in range(-NEAR_CELLS, NEAR_CELLS + 1):
        for dx in range(-NEAR_CELLS, NEAR_CELLS + 1):
            close[row[mine] + dy, column[mine] + dx] = True
    local = np.unique(segment[close[row, column]])
    z = strips.z[local]
    hulls = shapely.convex_hull(shapely.multipoints(strips.quads[local]))
    tree = shapely.STRtree(hulls)

    def around(places: I64, distance: float) -> tuple[I64, I64]:
        source, near = tree.query(hulls[places], predicate="dwithin", distance=distance)
        source = places[source]
        level = np.abs(z[source] - z[near]) < 0.5 * LEVEL_HEIGHT
        return source[level], near[level]

    places = np.searchsorted(local, crossing)
    zone = np.unique(np.concatenate([places, around(places, ZONE_REACH)[1]]))
    return local[zone], local[np.stack(around(zone, 0.1), axis=1)]


def _components(num: int, pairs: I64) -> I64:
    """Returns for each of `num` things the lowest number that pairs connect it with."""
    label = np.arange(num)
    while True:
        low = np.minimum(label[pairs[:, 0]], label[pairs[:, 1]])
        new = label.copy()
        np.minimum.at(new, pairs[:, 0], low)
        np.minimum.at(new, pairs[:, 1], low)
        new = new[new]
        if np.array_equal(new, label):
            return label
        label = new


def _grow(strips: Strips, zone: I64) -> tuple[I64, list[tuple[int, int]]]:
    """Walks along the lanes from the zone, both ways, up to the growth.

    Returns:
        The zone segment nearest to each segment along the road, -1 beyond the growth, [Q]; pairs
        of zone segments whose walks meet, those with the least road between them first.
    """
    first, lane = strips.segment_first, strips.segment_lane
    ahead: dict[int, list[int]] = {}
    behind: dict[int, list[int]] = {}
    for a, b in strips.link.tolist():
        ahead.setdefault(int(first[a + 1]) - 1, []).append(int(first[b]))
        behind.setdefault(int(first[b]), []).append(int(first[a + 1]) - 1)

    def neighbours(q: int) -> list[int]:
        out = ahead.get(q, []) + behind.get(q, [])
        if q + 1 < len(lane) and lane[q + 1] == lane[q]:
            out.append(q + 1)
        if q > 0 and lane[q - 1] == lane[q]:
            out.append(q - 1)
        return out

    owner = np.full(len(lane), -1, np.int64)
    owner[zone] = zone
    steps = np.zeros(len(lane), np.int64)
    front, meetings = zone.tolist(), []
    # Segments are at most a metre long; in steps, the growth is therefore never too short by much.
    for step in range(1, int(ZONE_GROWTH) + 1):
        following = []
        for q in front:
            for n in neighbours(q):
                if owner[n] < 0:
                    owner[n], steps[n] = owner[q], step
                    following.append(n)
                elif owner[n] != owner[q]:
                    meetings.append((int(steps[n] + steps[q]), int(owner[n]), int(owner[q])))
        front = following
    meetings.sort()
    return owner, [(a, b) for _, a, b in meetings]


def _merge(group: I64, meetings: list[tuple[int, int]], conflicts: I64) -> I64:
    """Returns the components joined where their roads meet, unless that joins two levels."""
    parent = {int(g): int(g) for g in np.unique(group)}
    enemies: dict[int, set[int]] = {g: set() for g in parent}
    for a, b in conflicts.tolist():
        enemies[a].add(b)
        enemies[b].add(a)

    def root(g: int) -> int:
        while parent[g] != g:
            g = parent[g]
        return g

    for a, b in meetings:
        a, b = root(int(a)), root(int(b))
        if a == b or any(root(e) == b for e in enemies[a]):
            continue
        parent[b] = a
        enemies[a] |= enemies.pop(b)
    return np.array([root(int(g)) for g in group.tolist()])


def _colours(group: I64, conflicts: I64, zone: I64, z: F64) -> NDArray[np.uint8]:
    """Returns the layer of each segment's component: the lowest one free, lower roads first."""
    enemies: dict[int, set[int]] = {}
    for a, b in group[conflicts].tolist():
        enemies.setdefault(a, set()).add(b)
        enemies.setdefault(b, set()).add(a)
    members = np.unique(group[zone])
    height = {int(g): float(z[zone[group[zone] == g]].mean()) for g in members}
    colour: dict[int, int] = {}
    for g in sorted(height, key=lambda g: (height[g], g)):
        taken = {colour[e] for e in enemies.get(g, ()) if e in colour}
        colour[g] = next(c for c in range(len(taken) + 1) if c not in taken)
    out = np.zeros(len(group), np.uint8)
    out[zone] = [colour[int(g)] for g in group[zone]]
    return out
