"""The ways of cars from lane to lane, over the internal lanes of junctions."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.maps.network.finish import Problems
from selfdrive_env.maps.sumo.curves import length_of
from selfdrive_env.maps.sumo.records import ConnectionRecord, Contents, LaneRecord

__all__ = ["Way", "clusters", "contract", "find_ways", "has_bit", "joints", "stubs"]

Floats = NDArray[np.float64]

SHORT = 3.0
"""Edges that are shorter have no direction of their own; the ways lead through them [m]."""

MAX_JOINED = 100
"""Most ways through such an edge."""

MAX_CHAIN = 16
"""Most internal lanes between two lanes; netconvert writes at most 3."""


STUB = 8.0
"""Edges between junctions that are shorter have no room to wait on; they join the two [m]."""


@dataclass(slots=True)
class Way:
    """How cars get from a lane to the next one."""

    source: LaneRecord
    target: LaneRecord
    source_edge: str
    target_edge: str
    junction: str
    """At the end of the first edge."""

    record: ConnectionRecord
    via: list[LaneRecord]
    """Internal lanes on the way, in order."""

    link: int = -1
    """Its number among the links of the junction, -1 for unknown."""

    turns_round: bool = False
    """Whether it leads back to where it comes from."""

    @property
    def between(self) -> Floats:
        """Shape of the internal lanes, [P, 3], P may be 0 [m]."""
        shapes = [lane.shape for lane in self.via]
        return np.concatenate(shapes) if shapes else np.zeros((0, 3))


def find_ways(contents: Contents, problems: Problems) -> list[Way]:
    """Returns the ways that cars may take, in the order of the file.

    Args:
        contents: The records of the file.
        problems: Receives connections that lead nowhere.
    """
    onward: dict[tuple[str, int], list[ConnectionRecord]] = defaultdict(list)
    for record in contents.connections:
        if record.source in contents.edges and contents.edges[record.source].internal:
            onward[record.source, record.source_lane].append(record)
    ways: list[Way] = []
    known: set[tuple[str, str]] = set()
    for record in contents.connections:
        source = _lane(contents, record.source, record.source_lane)
        target = _lane(contents, record.target, record.target_lane)
        if source is None or target is None:
            if not _is_foot(contents, record):
                name = f"{record.source}_{record.source_lane} -> {record.target}"
                problems.drop("{} connections name a lane that does not exist", name)
            continue
        if contents.edges[record.source].internal or contents.edges[record.target].internal:
            continue
        if source.type != "driving" or target.type != "driving":
            continue
        via = _chain(record, contents, onward, problems)
        if any(lane.type != "driving" for lane in via):
            continue
        if (source.id, target.id) in known:
            problems.drop("{} connections are given twice", f"{source.id} -> {target.id}")
            continue
        known.add((source.id, target.id))
        junction = contents.edges[record.source].target
        way = Way(source, target, record.source, record.target, junction, record, via)
        way.turns_round = record.direction == "t"
        ways.append(way)
    _number_links(ways, contents)
    return ways


def _lane(contents: Contents, edge: str, index: int) -> LaneRecord | None:
    """Returns the lane of an edge with that index, None where there is none."""
    if edge not in contents.edges:
        return None
    return next((lane for lane in contents.edges[edge].lanes if lane.index == index), None)


def _is_foot(contents: Contents, record: ConnectionRecord) -> bool:
    """Returns whether a connection is one of pedestrians: their edges are not kept."""
    return any(
        edge.startswith(":") and edge not in contents.edges
        for edge in (record.source, record.target)
    )


def _chain(
    record: ConnectionRecord,
    contents: Contents,
    onward: dict[tuple[str, int], list[ConnectionRecord]],
    problems: Problems,
) -> list[LaneRecord]:
    """Returns the internal lanes from the start of a connection to its end."""
    found: list[LaneRecord] = []
    via = record.via
    while via and len(found) < MAX_CHAIN:
        place = contents.lanes.get(via)
        if place is None:
            problems.drop("{} connections run over a lane that does not exist", f"via {via}")
            break
        lane = contents.edges[place[0]].lanes[place[1]]
        found.append(lane)
        after = [
            one
            for one in onward[place[0], lane.index]
            if (one.target, one.target_lane) == (record.target, record.target_lane)
        ]
        via = after[0].via if after else ""
    return found


def _number_links(ways: list[Way], contents: Contents) -> None:
    """Finds the number of each way among the links of its junction.

    With internal lanes the junction lists them; without, links count along the incoming lanes.
    """
    numbers = {
        (junction.id, lane): number
        for junction in contents.junctions.values()
        for number, lane in enumerate(junction.internal)
    }
    for way in ways:
        found = [numbers.get((way.junction, lane.id), -1) for lane in reversed(way.via)]
        way.link = next((number for number in found if number >= 0), -1)
    counted: dict[str, list[ConnectionRecord]] = defaultdict(list)
    for record in contents.connections:
        counted[f"{record.source}_{record.source_lane}"].append(record)
    own = {id(way.record): way for way in ways}
    for junction in contents.junctions.values():
        if junction.internal:
            continue
        links = [record for lane in junction.incoming for record in counted[lane]]
        for number, record in enumerate(links):
            if id(record) in own:
                own[id(record)].link = number


def joints(ways: list[Way], contents: Contents) -> set[str]:
    """Returns the junctions at which roads only go on, without meeting others.

    Args:
        ways: Without those that are left out.
        contents: The records of the file.
    """
    found: dict[str, list[Way]] = defaultdict(list)
    for way in ways:
        found[way.junction].append(way)
    return {name for name, own in found.items() if _is_joint(own, contents.junctions.get(name))}


def contract(ways: list[Way], contents: Contents) -> list[Way]:
    """Returns the ways with those that meet at an edge hardly there joined, and takes it out.

    Args:
        ways: From lane to lane.
        contents: The records of the file; loses the edges.
    """
    into: dict[str, list[Way]] = defaultdict(list)
    out_of: dict[str, list[Way]] = defaultdict(list)
    for way in ways:
        into[way.target_edge].append(way)
        out_of[way.source_edge].append(way)
    passed: set[int] = set()
    added: list[Way] = []
    open_roads = joints(ways, contents)
    for name, edge in list(contents.edges.items()):
        short = max(float(length_of(lane.shape)[-1]) for lane in edge.lanes[:1]) < SHORT
        if edge.internal or not short or not into[name] or not out_of[name]:
            continue
        pairs = [(a, b) for a in into[name] for b in out_of[name] if a.target is b.source]
        if {(a.source_edge, name) for a, _ in pairs} & {(name, b.target_edge) for _, b in pairs}:
            continue
        if len(pairs) > MAX_JOINED or any(a.source_edge == b.target_edge for a, b in pairs):
            continue
        for way in (*into[name], *out_of[name]):
            passed.add(id(way))
        for way in into.pop(name):
            out_of[way.source_edge].remove(way)
        for way in out_of.pop(name):
            into[way.target_edge].remove(way)
        for a, b in pairs:
            # What is said of the junction counts, where only one of the two ends is one.
            told = b if a.junction in open_roads else a
            via = [*a.via, a.target, *b.via]
            ends = (contents.edges[a.source_edge].source, contents.edges[b.target_edge].target)
            back = a.turns_round or b.turns_round or ends[0] == ends[1]
            way = Way(
                a.source, b.target, a.source_edge, b.target_edge, told.junction, told.record, via,
                told.link, back,
            )  # fmt: skip
            into[b.target_edge].append(way)
            out_of[a.source_edge].append(way)
            added.append(way)
        if pairs and not {edge.source, edge.target} & open_roads:
            contents.joined.append((edge.source, edge.target))
        contents.contracted.append(contents.edges.pop(name))
    return [way for way in (*ways, *added) if id(way) not in passed]


def stubs(ways: list[Way], contents: Contents) -> set[str]:
    """Returns the edges so short that the junctions at their two ends are one.

    Args:
        ways: Without those that are left out.
        contents: The records of the file.
    """
    meeting = {way.junction for way in ways} - joints(ways, contents)
    into, out_of = ({getattr(way, end) for way in ways} for end in ("target_edge", "source_edge"))
    found = set()
    for name in into & out_of:
        edge = contents.edges[name]
        if edge.source != edge.target and {edge.source, edge.target} <= meeting:
            longest = max(float(length_of(lane.shape)[-1]) for lane in edge.lanes)
            if longest < STUB:
                found.add(name)
    return found


def clusters(ways: list[Way], contents: Contents) -> dict[str, list[str]]:
    """Returns the junctions that are one with each junction, itself among them, in order.

    Args:
        ways: Without those that are left out.
        contents: The records of the file.
    """
    out: dict[str, list[str]] = {}
    for way in ways:
        out.setdefault(way.junction, [way.junction])
    ends = [(contents.edges[name].source, contents.edges[name].target)
            for name in sorted(stubs(ways, contents))]  # fmt: skip
    for one, other in (*ends, *contents.joined):
        first, second = out.setdefault(one, [one]), out.setdefault(other, [other])
        if first is not second:
            first += second
            out.update(dict.fromkeys(second, first))
    return {name: sorted(members) for name, members in out.items()}


def _is_joint(ways: list[Way], junction: object) -> bool:
    """Returns whether the ways of a junction keep apart from each other."""
    pairs = {(way.source_edge, way.target_edge) for way in ways}
    apart = all(len({pair[end] for pair in pairs}) == len(pairs) for end in (0, 1))
    alone = len({way.target.id for way in ways}) == len(ways)
    if not apart or not alone or len(pairs) > 2 or any(way.record.controller for way in ways):
        return False
    if any(way.record.state in ("s", "w") for way in ways):
        return False
    foes = getattr(junction, "foes", {})
    links = {way.link: way for way in ways if way.link >= 0}
    for number, way in links.items():
        for other, crossed in links.items():
            if crossed.source_edge != way.source_edge and has_bit(foes.get(number, ""), other):
                return False
    return True


def has_bit(bits: str, link: int) -> bool:
    """Returns whether the bit of a link is set; the last one is that of link 0."""
    return link < len(bits) and bits[len(bits) - 1 - link] == "1"
