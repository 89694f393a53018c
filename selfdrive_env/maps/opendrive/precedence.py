"""Who gives way at a junction: by signs, else by the priorities that the junction states.

It ends up in `Lane.precedence` of the lanes through the junction. Approaches with a light are left
to it; stop signs have lines of their own.
"""

from __future__ import annotations

from collections import defaultdict

from selfdrive_env.maps.network.finish import Problems
from selfdrive_env.maps.opendrive.parse.records import Contents, JunctionRecord
from selfdrive_env.maps.opendrive.stop_lines import Approach, LanePlaces
from selfdrive_env.maps.road_network import Lane, RoadNetwork

__all__ = ["set_precedence"]

MAX_DEPTH = 3
"""Most roads of a junction of which each goes before the next."""


def set_precedence(
    signs: list[tuple[int, list[int], list[Approach]]],
    contents: Contents,
    network: RoadNetwork,
    places: LanePlaces,
    lit: set[int],
    problems: Problems,
) -> None:
    """Writes the precedence of the lanes through junctions.

    Where some approaches have the priority road, the traffic of the others gives way.

    Args:
        signs: (precedence, lanes it is valid for, where traffic heeds it) of each yield and
            priority sign.
        contents: The records of the file.
        network: Its lanes are linked; their precedence is written.
        places: Where the lanes lie.
        lit: Lanes with a traffic light at their end.
        problems: Receives priorities that contradict one another.
    """
    lanes = network.lanes
    _set_stated(contents, network, lit, problems)
    ranked: dict[int, int] = {}
    for rank, valid, approaches in signs:
        entries = {i for lane in valid for i in _entries(lane, lanes)}
        for entry in entries:
            if not lit & set(lanes[entry].predecessors):
                lanes[entry].precedence = rank
        for approach in approaches if not entries else []:
            if approach.junction >= 0:
                ranked.setdefault(approach.lane, rank)
    with_priority = {places.junction_ahead(lane) for lane, rank in ranked.items() if rank > 0}
    for index, lane in enumerate(lanes):
        junction = places.junction_ahead(index)
        if not lane.drivable or lane.junction >= 0 or junction < 0 or index in lit:
            continue
        rank = ranked.get(index, -1 if junction in with_priority else 0)
        if rank:
            _set_beyond(lane, rank, lanes)


def _entries(lane: int, lanes: list[Lane]) -> set[int]:
    """Returns by which lanes of its junction a lane is reached, none for one outside."""
    junction = lanes[lane].junction
    seen, border = {lane}, [lane] if junction >= 0 else []
    found = set()
    while border:
        here = border.pop()
        inside = [i for i in lanes[here].predecessors if lanes[i].junction == junction]
        if len(inside) < len(lanes[here].predecessors) or not inside:
            found.add(here)
        border += [i for i in inside if i not in seen]
        seen.update(inside)
    return found


def _set_beyond(lane: Lane, rank: int, lanes: list[Lane]) -> None:
    """Writes the precedence of the lanes through a junction that follow a lane."""
    for ahead in lane.successors:
        if lanes[ahead].junction >= 0:
            lanes[ahead].precedence = rank


def _set_stated(
    contents: Contents, network: RoadNetwork, lit: set[int], problems: Problems
) -> None:
    """Writes what the priorities of the junctions say of connecting and of incoming roads."""
    lanes = network.lanes
    depth = {
        (junction.id, road): below
        for junction in contents.junctions.values()
        for road, below in _depths(_in_order(junction, problems)).items()
    }
    for lane in lanes:
        if depth and lane.drivable and lane.junction >= 0 and not lit & set(lane.predecessors):
            junction = network.junctions[lane.junction].name
            roads = [lane.road, *(lanes[i].road for i in lane.predecessors)]
            lane.precedence = -max(depth.get((junction, road), 0) for road in roads)


def _in_order(junction: JunctionRecord, problems: Problems) -> list[tuple[str, str]]:
    """Returns the priorities of a junction without those in a circle, or between two of them."""
    pairs = list(dict.fromkeys(junction.priorities))
    circling = {road for pair in pairs for road in pair}
    for near, far in ((0, 1), (1, 0)):
        # Roads that none of the others leads to are in no circle, nor are they in the way then.
        after: dict[str, list[str]] = defaultdict(list)
        before = dict.fromkeys(circling, 0)
        for pair in pairs:
            if pair[0] in circling and pair[1] in circling:
                after[pair[near]].append(pair[far])
                before[pair[far]] += 1
        free = [road for road, count in before.items() if count == 0]
        while free:
            road = free.pop()
            circling.discard(road)
            for other in after[road]:
                before[other] -= 1
                if before[other] == 0:
                    free.append(other)
    for high, low in pairs:
        if high in circling and low in circling:
            place = f"junction {junction.id}: {high} over {low}"
            problems.drop("{} priorities contradict one another and are left out", place)
    return [pair for pair in pairs if not circling.issuperset(pair)]


def _depths(priorities: list[tuple[str, str]]) -> dict[str, int]:
    """Returns how many roads, one before the other, go before each road of a junction."""
    depth = {road: 0 for pair in priorities for road in pair}
    for _ in range(MAX_DEPTH):
        for high, low in priorities:
            depth[low] = min(max(depth[low], depth[high] + 1), MAX_DEPTH)
    return depth
