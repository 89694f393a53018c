"""Lays the lanes of a SUMO network: edges with rounded corners, and smooth lanes through junctions.

Roads are cut back at their ends where the way through a junction would else be too tight: SUMO lets
lanes shift sideways and turn within a metre.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.maps.network.finish import Problems
from selfdrive_env.maps.road_network import Lane, MapError, RoadNetwork
from selfdrive_env.maps.sumo.curves import (
    are_joined,
    boundary,
    bridge,
    cut,
    distance_to,
    least_radius,
    length_of,
    merged,
    rounded,
    sampled,
    swing,
    thinned,
)
from selfdrive_env.maps.sumo.records import Contents, EdgeRecord, LaneRecord
from selfdrive_env.maps.sumo.ways import Way, joints

__all__ = ["lay_edges", "lay_ways"]

Floats = NDArray[np.float64]

LEVELS = (0.0, 1.0, 2.5, 5.0, 8.0, 12.0, 16.0)
"""Lengths by which an edge is cut back at an end, the first that is enough [m]."""

MOST_AT_JUNCTION = 5.0
"""Largest such length where roads meet [m]."""

TOLERANCES = (0.03, 0.3, 0.8, 1.6)
"""How far points of an edge that are left out may lie from its line, the first that is enough [m]
..."""

EDGE_RADIUS = 6.0
"""... to have a radius of this [m]."""

LARGEST_PART = 0.4
"""Largest part of an edge that is cut off at either end."""

TURN = np.radians(35.0)
"""From this change of heading on a way counts as a turn."""

TURN_RADIUS = 8.0
"""Radius wanted of turns [m]."""

BEND_ACCELERATION = 2.5
"""Other ways are wanted so wide that a car at the limit feels at most so much [m/s^2] ..."""

BEND_RADIUS = 60.0
"""... or the radius is this [m]."""

WORTH = 1.1
"""Cutting back further must make a radius larger by this factor."""

TAIL = 3.0
"""Length of the roads before and after a way over which its radius is looked at, too [m]."""

LOOP_RADIUS = 5.5
"""Ways back of a smaller radius are left out [m]."""

SWING_LENGTH = 8.0
"""Length behind a bend over which cars straighten out [m]."""

MOST_GAP = 0.3
"""Gaps between the lanes of an edge, and overlaps, up to this are divided [m]."""

LEAST_GAP = 0.1
"""Roads that follow each other with less between them are cut back to make room for a bend [m]."""

MAX_POINTS = 4_000_000
"""Most points on the lines of all lanes."""

Lines = dict[str, Floats]
"""Centre line of each lane, by its name, [P, 3] [m]."""


def lay_edges(
    contents: Contents, ways: list[Way], network: RoadNetwork, problems: Problems
) -> tuple[dict[str, int], list[Way]]:
    """Appends the lanes of edges that cars use, those not for cars beside them too.

    Args:
        contents: The records of the file.
        ways: From lane to lane.
        network: Receives the lanes and their lengths.
        problems: Receives what is left out.

    Returns:
        Index of each lane by its name, and the ways without those too tight to drive.
    """
    lines: Lines = {}
    points = 0
    for edge in contents.edges.values():
        if not edge.internal and contents.of_cars(edge.id):
            lines.update(own := _centre_lines(edge, contents))
            points += sum(len(line) for line in own.values())
            if points > MAX_POINTS:
                raise MapError(f"the lanes up to edge {edge.id} need more than {MAX_POINTS} points")
    kept = []
    for way in ways:
        ends = (lines[way.source.id], lines[way.target.id])
        if way.turns_round and least_radius(bridge(*ends, way.between)) < LOOP_RADIUS:
            name = f"{way.source.id} -> {way.target.id}"
            problems.drop("{} ways back are too tight for a car and left out", name)
        else:
            kept.append(way)
    cuts = _cuts(kept, lines, contents)
    indices: dict[str, int] = {}
    for edge in contents.edges.values():
        if not edge.internal and contents.of_cars(edge.id):
            _lay_edge(edge, lines, cuts[edge.id], contents, network, indices)
    for edge in contents.contracted:
        network.driving_lane_km += _kilometres(edge)
    _set_neighbours(contents, indices, network, problems)
    return indices, kept


def _centre_lines(edge: EdgeRecord, contents: Contents) -> Lines:
    """Returns the lines of the lanes of an edge, their corners about one centre."""
    total = sum(lane.width for lane in edge.lanes)
    opposite = _opposite(edge, contents)
    oncoming = sum(lane.width for lane in opposite.lanes) if opposite else 0.0
    found: list[tuple[float, Lines]] = []
    for tolerance in TOLERANCES:
        lines = _rounded_lines(edge, tolerance, oncoming, total, contents.left_hand)
        found.append((min(least_radius(line) for line in lines.values()), lines))
        if found[-1][0] >= EDGE_RADIUS:
            break
    widest = max(radius for radius, _ in found)
    return next(lines for radius, lines in found if WORTH * radius >= widest)


def _rounded_lines(
    edge: EdgeRecord, tolerance: float, oncoming: float, total: float, left_hand: bool
) -> Lines:
    """Returns the lines of the lanes of an edge, with points less than `tolerance` off left out."""
    out, inner = {}, total
    for lane in edge.lanes:
        inner -= lane.width
        to_middle = inner + 0.5 * lane.width
        sides = (oncoming + to_middle, total - to_middle)
        left, right = sides[::-1] if left_hand else sides
        line = thinned(lane.shape, tolerance)
        out[lane.id] = rounded(line, left, right) if len(line) > 2 else line
    return out


def _opposite(edge: EdgeRecord, contents: Contents) -> EdgeRecord | None:
    """Returns the edge that leads back, None without one."""
    for other in _edges_from(contents).get(edge.target, ()):
        if other.target == edge.source and other is not edge:
            return other
    return None


def _edges_from(contents: Contents) -> dict[str, list[EdgeRecord]]:
    """Returns the edges that cars use by the junction at which they start."""
    if not contents.starts:
        for edge in contents.edges.values():
            if not edge.internal and contents.of_cars(edge.id):
                contents.starts.setdefault(edge.source, []).append(edge)
    return contents.starts


def _cuts(ways: list[Way], lines: Lines, contents: Contents) -> dict[str, list[float]]:
    """Returns by how much each edge is cut back at its start and at its end [m]."""
    out: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    shortest = {
        edge.id: min(float(length_of(lines[lane.id])[-1]) for lane in edge.lanes)
        for edge in contents.edges.values()
        if edge.lanes[0].id in lines
    }
    open_roads = joints(ways, contents)
    for way in ways:
        most = LEVELS[-1] if way.junction in open_roads else MOST_AT_JUNCTION
        if way.turns_round:
            continue
        best = _level(way, lines, shortest, most)
        for edge, end in ((way.source_edge, 1), (way.target_edge, 0)):
            out[edge][end] = max(out[edge][end], min(best, LARGEST_PART * shortest[edge]))
    return out


def _level(way: Way, lines: Lines, shortest: dict[str, float], most: float) -> float:
    """Returns by how much the edges of a way are to be cut back [m]."""
    found: list[tuple[float, float]] = []
    for level in LEVELS:
        if level > most:
            break
        before, after = (
            min(level, LARGEST_PART * shortest[edge]) for edge in (way.source_edge, way.target_edge)
        )
        start = cut(lines[way.source.id], 0.0, before)
        end = cut(lines[way.target.id], after, 0.0)
        if most == LEVELS[-1] and are_joined(start, end):
            return level
        ahead = (start[-1] - start[-2])[:2]
        if (end[0] - start[-1])[:2] @ ahead < LEAST_GAP * np.hypot(*ahead):
            found.append((0.0, level))
            continue
        line = bridge(start, end, way.between)
        radius = least_radius(np.concatenate([_tail(start), line[1:], _tail(end[::-1])[-2::-1]]))
        found.append((radius, level))
        if radius >= _wanted(start, end, way):
            return level
    widest = max(radius for radius, _ in found)
    return next(level for radius, level in found if WORTH * radius >= widest)


def _tail(line: Floats) -> Floats:
    """Returns the last metres of a line."""
    return cut(line, max(float(length_of(line)[-1]) - TAIL, 0.0), 0.0)


def _wanted(start: Floats, end: Floats, way: Way) -> float:
    """Returns the radius that a way should have [m]."""
    a, b = (start[-1] - start[-2])[:2], (end[1] - end[0])[:2]
    turn = abs(float(np.arctan2(a[0] * b[1] - a[1] * b[0], a @ b)))
    if turn > TURN:
        return TURN_RADIUS
    speed = min(way.source.speed, way.target.speed)
    return min(speed * speed / BEND_ACCELERATION, BEND_RADIUS)


def _lay_edge(
    edge: EdgeRecord,
    lines: Lines,
    ends: list[float],
    contents: Contents,
    network: RoadNetwork,
    indices: dict[str, int],
) -> None:
    """Appends the lanes of one edge."""
    reach = _reach(edge, contents)
    for place, lane in enumerate(edge.lanes):
        arc = float(length_of(lines[lane.id])[-1])
        most = LARGEST_PART * arc
        line = cut(lines[lane.id], min(ends[0], most), min(ends[1], most))
        indices[lane.id] = len(network.lanes)
        outer, inner = (np.full(len(line), one) for one in reach[place])
        if place == 0:
            outer += swing(line, outer, 1.0 if contents.left_hand else -1.0)
        if place == len(edge.lanes) - 1:
            inner += swing(line, inner, -1.0 if contents.left_hand else 1.0)
        left, right = (outer, inner) if contents.left_hand else (inner, outer)
        _append(network, lane.id, line, (left, right), lane, edge.id, -1)
    network.driving_lane_km += _kilometres(edge)


def _kilometres(edge: EdgeRecord) -> float:
    """Returns the length of the lanes of an edge that cars may use, in the file [km]."""
    lengths = [length_of(lane.shape)[-1] for lane in edge.lanes if lane.type == "driving"]
    return float(sum(lengths)) / 1000.0


def _reach(edge: EdgeRecord, contents: Contents) -> list[list[float]]:
    """Returns how far each lane reaches from its centre line outwards and inwards [m].

    Old versions leave gaps of 0.1 m between lanes: they meet halfway.
    """
    out = [[0.5 * lane.width, 0.5 * lane.width] for lane in edge.lanes]
    for place, (outer, inner) in enumerate(zip(edge.lanes[:-1], edge.lanes[1:], strict=True)):
        middle = inner.shape[len(inner.shape) // 2]
        before = inner.shape[len(inner.shape) // 2 - 1]
        apart = distance_to(outer.shape, 0.5 * (middle + before))
        gap = apart - 0.5 * (outer.width + inner.width)
        if abs(gap) <= MOST_GAP:
            out[place][1] += 0.5 * gap
            out[place + 1][0] += 0.5 * gap
    opposite = _opposite(edge, contents)
    if opposite is not None:
        inner, other = edge.lanes[-1], opposite.lanes[-1]
        middle = inner.shape[len(inner.shape) // 2]
        gap = distance_to(other.shape, middle) - 0.5 * (inner.width + other.width)
        out[-1][1] += 0.5 * gap if 0.0 < gap <= MOST_GAP else 0.0
    return out


def _append(
    network: RoadNetwork,
    name: str,
    line: Floats,
    reach: tuple[Floats | float, Floats | float],
    lane: LaneRecord,
    road: str,
    junction: int,
) -> None:
    """Appends a lane about its centre line, from which it reaches to the left and to the right."""
    left, right = reach
    network.lanes.append(
        Lane(
            name,
            lane.type,
            line,
            boundary(line, left),
            boundary(line, -np.asarray(right)),
            speed_limit=lane.speed,
            road=road,
            junction=junction,
        )
    )


def _set_neighbours(
    contents: Contents, indices: dict[str, int], network: RoadNetwork, problems: Problems
) -> None:
    """Makes lanes of an edge that lie side by side neighbours, where the file lets cars change."""
    for edge in contents.edges.values():
        for outer, inner in zip(edge.lanes[:-1], edge.lanes[1:], strict=True):
            if outer.id not in indices or {outer.type, inner.type} != {"driving"}:
                continue
            if outer.inward != inner.outward:
                problems.infer("{} lanes may be changed to one way only; here both ways", outer.id)
            if outer.inward or inner.outward:
                _pair(network, indices[outer.id], indices[inner.id], contents.left_hand)


def _pair(network: RoadNetwork, outer: int, inner: int, left_hand: bool) -> None:
    """Makes two lanes neighbours."""
    left, right = (outer, inner) if left_hand else (inner, outer)
    network.lanes[left].right_neighbour = right
    network.lanes[right].left_neighbour = left


def lay_ways(
    ways: list[Way],
    contents: Contents,
    indices: dict[str, int],
    junctions: dict[str, int],
    network: RoadNetwork,
) -> dict[int, int]:
    """Appends a lane for each way and links it; where there is no gap the lanes are linked.

    Args:
        ways: From lane to lane.
        contents: The records of the file.
        indices: Index of each lane by its name.
        junctions: Index of each junction by its name; roads that only go on have none.
        network: Receives the lanes.

    Returns:
        Place of a way in `ways` -> index of its lane.
    """
    out: dict[int, int] = {}
    beyond: dict[int, list[tuple[Floats, Floats]]] = defaultdict(list)
    for place, way in enumerate(ways):
        source, target = indices[way.source.id], indices[way.target.id]
        before, after = network.lanes[source], network.lanes[target]
        junction = junctions.get(way.junction, -1)
        if junction < 0 and are_joined(before.centre, after.centre):
            _link(network, source, target)
            continue
        out[place] = len(network.lanes)
        beyond[target].append(_lay_way(way, before, after, junction, contents, network))
        _link(network, source, out[place])
        _link(network, out[place], target)
    _pair_ways(ways, out, contents, network)
    for edge in contents.edges.values():
        for record in edge.lanes:
            index = indices.get(record.id, -1)
            free = [record is edge.lanes[0], record is edge.lanes[-1]]
            if index in beyond and not edge.internal:
                order = 1 if contents.left_hand else -1
                _widen(network.lanes[index], beyond[index], free[::order])
    for place, lane in out.items():
        first, last = (indices[one.id] for one in (ways[place].source, ways[place].target))
        _meet(network.lanes[first], network.lanes[lane], network.lanes[last])
    return out


def _lay_way(
    way: Way, before: Lane, after: Lane, junction: int, contents: Contents, network: RoadNetwork
) -> tuple[Floats, Floats]:
    """Appends the lane of a way; returns by how much the next one is to be wider, as `_widen`."""
    line = bridge(before.centre, after.centre, way.between)
    part = length_of(line) / max(float(length_of(line)[-1]), 1e-9)
    half = 0.5 * (way.source.width + (way.target.width - way.source.width) * part)
    # A bend may begin before the way, and cars straighten out behind it.
    head = sampled(before.centre[::-1], SWING_LENGTH)[:0:-1]
    whole = np.concatenate([head, line, sampled(after.centre, SWING_LENGTH)[1:]])
    rest = len(whole) - len(line) - len(head)
    halves = np.concatenate([np.full(len(head), half[0]), half, np.full(rest, half[-1])])
    left, right = (swing(whole, halves, side)[len(head) :] for side in (1.0, -1.0))
    reach = (half + left[: len(line)], half + right[: len(line)])
    name = f"{way.source.id} -> {way.target.id}"
    speed = min([lane.speed for lane in way.via] or [way.source.speed, way.target.speed])
    record = LaneRecord(name, 0, "driving", line, 0.0, speed)
    road = contents.lanes[way.via[0].id][0] if way.via else name
    _append(network, name, line, reach, record, road, junction)
    return left[len(line) - 1 :], right[len(line) - 1 :]


def _meet(before: Lane, lane: Lane, after: Lane) -> None:
    """Lets the edges of a lane begin and end where those of its neighbours end and begin."""
    lane.left[0], lane.right[0] = before.left[-1], before.right[-1]
    lane.left[-1], lane.right[-1] = after.left[0], after.right[0]


def _widen(lane: Lane, wanted: list[tuple[Floats, Floats]], sides: list[bool]) -> None:
    """Lets the start of a lane be wider for cars that come out of a bend.

    Args:
        lane: It is changed.
        wanted: How much wider, left and right, at the points of `sampled`, each [P] [m].
        sides: Whether the lane has its edge free on the left and on the right.
    """
    extra = [np.max([one[side] for one in wanted], axis=0) * sides[side] for side in (0, 1)]
    if max(one.max() for one in extra) < 0.01:
        return
    arc = lane.arc_length
    start = length_of(sampled(lane.centre, SWING_LENGTH))
    at = merged(arc, start)
    lines = [
        np.stack([np.interp(at, arc, line[:, axis]) for axis in range(3)], axis=1)
        for line in (lane.centre, lane.left, lane.right)
    ]
    lane.centre, left, right = lines
    aside = left - right
    aside[:, 2] = 0.0
    aside /= np.maximum(np.hypot(aside[:, 0], aside[:, 1]), 1e-6)[:, None]
    more = [np.interp(at, start, one, right=0.0)[:, None] for one in extra]
    lane.left, lane.right = left + more[0] * aside, right - more[1] * aside


def _link(network: RoadNetwork, lane: int, successor: int) -> None:
    """Lets a lane follow another one."""
    network.lanes[lane].successors.append(successor)
    network.lanes[successor].predecessors.append(lane)


def _pair_ways(
    ways: list[Way], own: dict[int, int], contents: Contents, network: RoadNetwork
) -> None:
    """Makes ways neighbours that run side by side from neighbours to neighbours."""
    by_ends = {
        (way.source.id, way.target.id): own[place] for place, way in enumerate(ways) if place in own
    }
    following = {
        outer.id: inner.id
        for edge in contents.edges.values()
        for outer, inner in zip(edge.lanes[:-1], edge.lanes[1:], strict=True)
    }
    for way in ways:
        ends = (following.get(way.source.id, ""), following.get(way.target.id, ""))
        here = by_ends.get((way.source.id, way.target.id), -1)
        if here >= 0 and ends in by_ends:
            _pair(network, here, by_ends[ends], contents.left_hand)
