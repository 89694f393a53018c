"""Says in OpenDRIVE's words which lane follows which: links of roads and lanes, and junctions.

Where lanes part or meet outside a junction of the network, a direct junction is added.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.maps.opendrive.write.roads import Plan, unique_ids
from selfdrive_env.maps.road_network import RoadNetwork

Floats = NDArray[np.float64]

NEAR = 0.02
"""Ends of lanes this near to each other are the same [m]."""

EXCHANGED = 200
"""At most so many roads are looked at to find one that is no connecting road yet."""

__all__ = ["Connection", "End", "Links", "find_links"]


class End(NamedTuple):
    """The start or end of a road."""

    road: int
    last: bool
    """Whether it is the end."""


class Step(NamedTuple):
    """From a lane at the end of a road to one at the end of another, in the way of the traffic."""

    lane: int
    """Id of the lane that is left."""

    at: End
    other_lane: int
    """Id of the lane that is entered."""

    other: End


Pair = frozenset[End]
"""Two ends of roads that meet."""


@dataclass(slots=True)
class Connection:
    """A way through a junction."""

    incoming: int
    connecting: int
    last: bool
    """Whether it touches the end of the connecting road."""

    lanes: list[tuple[int, int]] = field(default_factory=list)


@dataclass(slots=True)
class Links:
    """All links of a network."""

    lanes: dict[tuple[int, int, int, bool], list[int]] = field(
        default_factory=lambda: defaultdict(list)
    )
    """(road, section, lane id, whether at its end) -> ids of the lanes beyond."""

    roads: dict[End, End | int] = field(default_factory=dict)
    """The road beyond, or the index of a junction."""

    connections: dict[int, dict[tuple[End, End], Connection]] = field(
        default_factory=lambda: defaultdict(dict)
    )
    """Of each junction; those from the number of the network's junctions on are added ones."""

    junction_ids: list[str] = field(default_factory=list)
    """Of all junctions, the added ones included."""

    def connect(self, junction: int, incoming: End, lane: int, other: End, beyond: int) -> None:
        """Adds a lane link to a connection of a junction."""
        found = self.connections[junction].setdefault(
            (incoming, other), Connection(incoming.road, other.road, other.last)
        )
        if (lane, beyond) not in found.lanes:
            found.lanes.append((lane, beyond))

    def link(self, plan: Plan, end: End, lane: int, beyond: int) -> None:
        """Adds a link to a lane at the end of a road."""
        section = len(plan.roads[end.road].sections) - 1 if end.last else 0
        ids = self.lanes[end.road, section, lane, end.last]
        if beyond not in ids:
            ids.append(beyond)


def find_links(network: RoadNetwork, plan: Plan) -> Links:
    """Returns the links between the lanes of a network.

    Args:
        network: Its lanes are linked.
        plan: Where they are in the file.
    """
    links = Links()
    steps = _steps(network, plan, links)
    inside = [road.junction >= 0 for road in plan.roads]
    between = [step for step in steps if not inside[step.at.road] and not inside[step.other.road]]
    for step in steps:
        if inside[step.at.road] != inside[step.other.road]:
            outer, inner = (step.other, step.at) if inside[step.at.road] else (step.at, step.other)
            links.roads.setdefault(outer, plan.roads[inner.road].junction)
    empty = [
        index
        for index, junction in enumerate(network.junctions)
        if junction.kind == "direct" and not any(i in plan.places for i in junction.lanes)
    ]
    _link_roads(
        plan, links, between, itertools.chain(empty, itertools.count(len(network.junctions)))
    )
    _link_connecting(plan, links, steps, inside)
    _link_others(network, plan, links, inside)
    names = [junction.name for junction in network.junctions]
    added = max([-1, *links.connections]) + 1 - len(names)
    links.junction_ids = unique_ids([*names, *[""] * added])
    return links


def _steps(network: RoadNetwork, plan: Plan, links: Links) -> list[Step]:
    """Returns the steps from road to road; those within a road are written to the links."""
    steps = []
    for index, lane in enumerate(network.lanes):
        for other in lane.successors if index in plan.places else ():
            if other not in plan.places:
                continue
            road, section, last = plan.end(index, last=True)
            road_beyond, section_beyond, last_beyond = plan.end(other, last=False)
            ids = plan.places[index].id, plan.places[other].id
            inner = 0 <= section + (1 if last else -1) < len(plan.roads[road].sections)
            if road == road_beyond and inner and last != last_beyond:
                links.lanes[road, section, ids[0], last].append(ids[1])
                links.lanes[road, section_beyond, ids[1], last_beyond].append(ids[0])
            else:
                at, beyond = End(road, last), End(road_beyond, last_beyond)
                steps.append(Step(ids[0], at, ids[1], beyond))
    return steps


def _link_roads(plan: Plan, links: Links, steps: list[Step], unused: Iterator[int]) -> None:
    """Links roads outside junctions: one to one where it can be, else by direct junctions.

    Args:
        plan: Where the lanes are.
        links: Receives the links.
        steps: From one road outside junctions to another.
        unused: Indices for direct junctions.
    """
    owner: dict[End, End] = {}

    def first(end: End) -> End:
        while owner.setdefault(end, end) != end:
            end = owner[end]
        return end

    for step in steps:
        owner[first(step.other)] = first(step.at)
    groups: dict[End, list[Step]] = defaultdict(list)
    for step in steps:
        groups[first(step.at)].append(step)
    connected: list[tuple[int, list[Step]]] = []
    for members in groups.values():
        ends = {end for step in members for end in (step.at, step.other)}
        pairs = {frozenset((step.at, step.other)) for step in members}
        through = sorted({j for end in ends if isinstance(j := links.roads.get(end), int)})
        if len(pairs) == 1 and not through:
            for step in members:
                links.roads[step.at], links.roads[step.other] = step.other, step.at
                links.link(plan, step.at, step.lane, step.other_lane)
                links.link(plan, step.other, step.other_lane, step.lane)
            continue
        junction = through[0] if through else next(unused)
        for end in sorted(ends):
            links.roads.setdefault(end, junction)
        connected.append((junction, members))
    ways = _ways([members for _, members in connected])
    for junction, members in connected:
        _connect(links, junction, members, ways)


def _ways(groups: list[list[Step]]) -> dict[Pair, tuple[End, End]]:
    """Returns which of two ends is that of the incoming road of a connection, and which the other.

    A connection serves both directions of traffic; where it can, it leads the way of the traffic.
    Each road is the connecting one only once, in all junctions, as far as that can be.
    """
    ways: dict[Pair, tuple[End, End]] = {}
    taken: dict[int, Pair] = {}

    def give(pair: Pair, way: tuple[End, End], seen: set[int]) -> bool:
        """Gives a pair one of its two roads; who has it already may get its other one."""
        for first, second in (way, way[::-1]):
            if second.road in seen or len(seen) >= EXCHANGED:
                continue
            seen.add(second.road)
            other = taken.get(second.road)
            if other is None or give(other, ways[other][::-1], seen):
                ways[pair], taken[second.road] = (first, second), pair
                return True
        return False

    for step in (step for members in groups for step in members):
        pair = frozenset((step.at, step.other))
        if pair not in ways and not give(pair, (step.at, step.other), set()):
            ways[pair] = (step.at, step.other)
    return ways


def _connect(
    links: Links, junction: int, steps: list[Step], ways: dict[Pair, tuple[End, End]]
) -> None:
    """Adds the connections of a direct junction."""
    for step in steps:
        first, second = ways[frozenset((step.at, step.other))]
        lanes = (step.lane, step.other_lane)
        if step.at != first:
            lanes = lanes[::-1]
        links.connect(junction, first, lanes[0], second, lanes[1])


def _link_connecting(plan: Plan, links: Links, steps: list[Step], inside: list[bool]) -> None:
    """Links the roads through junctions: into them by connections, out of them by lane links."""
    for step in steps:
        if not inside[step.at.road] and not inside[step.other.road]:
            continue
        ends = ((step.at, step.other), (step.other, step.at))
        joined = True
        for end, beyond in ends:
            if inside[end.road]:
                joined &= links.roads.setdefault(end, beyond) == beyond
        if joined:
            if inside[step.at.road]:
                links.link(plan, step.at, step.lane, step.other_lane)
            if inside[step.other.road]:
                links.link(plan, step.other, step.other_lane, step.lane)
        if not inside[step.at.road]:
            junction = plan.roads[step.other.road].junction
            links.connect(junction, step.at, step.lane, step.other, step.other_lane)
        elif not joined:
            junction = plan.roads[step.at.road].junction
            links.connect(junction, step.other, step.other_lane, step.at, step.lane)


def _link_others(network: RoadNetwork, plan: Plan, links: Links, inside: list[bool]) -> None:
    """Links lanes that are not driven on where one goes on as the other, as other programs ask.

    The network does not say what follows them; roads are linked for them where nothing is known.
    """
    ends: dict[tuple[int, int], list[tuple[int, End, int, Floats]]] = defaultdict(list)
    for index, place in plan.places.items():
        lane = network.lanes[index]
        sections = plan.roads[place.road].sections
        for last in () if lane.drivable else (False, True):
            point = -1 if last == place.forward else 0
            edge = np.stack([lane.left[point, :2], lane.right[point, :2]])
            edge = edge if place.forward == last else edge[::-1]
            end = End(place.road, last)
            if place.section == (len(sections) - 1 if last else 0):
                cell = np.floor(edge.mean(axis=0) / NEAR).astype(int).tolist()
                for c in (0, 1):
                    for r in (0, 1):
                        ends[cell[0] + c, cell[1] + r].append((index, end, place.id, edge))
    done: set[frozenset[tuple[int, End]]] = set()
    for members in ends.values():
        for one, two in itertools.combinations(members, 2):
            pair = frozenset((one[:2], two[:2]))
            # Seen along their roads, both end or both start here, or their sides are the same.
            turned = one[3] if one[1].last != two[1].last else one[3][::-1]
            if pair in done or one[1] == two[1] or np.abs(turned - two[3]).max() > NEAR:
                continue
            done.add(pair)
            _link_other(plan, links, one[1:3], two[1:3], inside)


def _link_other(
    plan: Plan, links: Links, one: tuple[End, int], two: tuple[End, int], inside: list[bool]
) -> None:
    """Links two lanes that are not driven on, where the links of their roads allow it."""
    (end, lane), (beyond, other) = one, two
    if inside[end.road] and not inside[beyond.road]:
        (end, lane), (beyond, other) = two, one
    if inside[end.road] == inside[beyond.road]:
        known = links.roads.get(end, beyond), links.roads.get(beyond, end)
        if known == (beyond, end):
            links.roads[end], links.roads[beyond] = beyond, end
            links.link(plan, end, lane, other)
            links.link(plan, beyond, other, lane)
        return
    junction = plan.roads[beyond.road].junction
    if links.roads.setdefault(end, junction) == junction:
        if links.roads.setdefault(beyond, end) == end:
            links.link(plan, beyond, other, lane)
        if not any(c.connecting == beyond.road for c in links.connections[junction].values()):
            links.connect(junction, end, lane, beyond, other)
