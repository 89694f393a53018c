"""Makes roads of strips of lanes, of those that follow each other one road, and names them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.maps.opendrive.geometry import ReferenceLine
from selfdrive_env.maps.opendrive.write.curves import DIGITS, Piece, reference_line
from selfdrive_env.maps.opendrive.write.shapes import Shape, centre_shape, find_shape
from selfdrive_env.maps.opendrive.write.strips import Strip, find_strips, single_strips
from selfdrive_env.maps.road_network import Lane, RoadNetwork

__all__ = ["Plan", "Road", "Section", "driving_lane_km", "find_roads", "unique_ids"]

Floats = NDArray[np.float64]

GAP = 1e-3
"""Lines that end and start this near each other are one [m]."""

KINK = 1e-3
"""The same for their headings [rad]."""

STRAIGHT = 1e-6
"""Lines that turn less where they meet are one [rad]."""

MISSED = 0.005
"""Lanes whose centres would lie further off are written as roads of their own [m]."""

MISSED_IN_ROAD = 0.0085
"""The same where they are one section of a road in the network: its chords miss its curves [m]."""

PLAIN = re.compile(r"0|[1-9][0-9]{0,8}")
"""Names that every program takes for an id."""


@dataclass(slots=True)
class Section:
    """A lane section."""

    strip: Strip
    shape: Shape
    start: float = 0.0
    """Along the road [m]."""

    def lane_id(self, place: int) -> int:
        """Returns the id of a lane by its place among the lanes of the strip."""
        left = self.strip.left
        return left - place if place < left else left - place - 1


@dataclass(slots=True)
class Road:
    """A road, with sections that follow each other."""

    id: str
    junction: int
    """Index of the junction that it runs through, or -1."""

    sections: list[Section]
    pieces: list[Piece] = field(default_factory=list)
    line: ReferenceLine | None = None

    @property
    def length(self) -> float:
        """Of the reference line [m]."""
        assert self.line is not None
        return self.line.length


@dataclass(slots=True)
class Place:
    """Where a lane of the network is in the file."""

    road: int
    section: int
    id: int
    forward: bool
    """Whether it runs along the road."""

    name: str
    """What a reader calls it."""


@dataclass(slots=True)
class Plan:
    """Roads, and where the lanes are in them."""

    roads: list[Road]
    places: dict[int, Place]
    """Index of a lane in the network -> where it is; those without a length are missing."""

    def end(self, lane: int, *, last: bool) -> tuple[int, int, bool]:
        """Returns road, section and whether it is its end, of the end or start of a lane."""
        place = self.places[lane]
        return place.road, place.section, place.forward == last


def find_roads(network: RoadNetwork, apart: Collection[int] = ()) -> Plan:
    """Returns the roads that hold the lanes of a network, in the coordinates of its source.

    Args:
        network: Any.
        apart: Lanes that are each a road of its own along its centre.
    """
    lanes, origin = network.lanes, np.array(network.origin)
    strips = find_strips(network)
    sections = [s for strip in strips for s in _sections(network, strip, origin, apart)]
    sections = _connecting(network, sections, origin, apart)
    chains = _chains(lanes, sections)
    names = unique_ids([lanes[chain[0].strip.lanes[0]].road for chain in chains])
    plan = Plan([], {})
    for number, (name, chain) in enumerate(zip(names, chains, strict=True)):
        road = Road(name, lanes[chain[0].strip.lanes[0]].junction, chain)
        for section in chain:
            section.start = round(sum(piece.length for piece in road.pieces), DIGITS)
            _append(road.pieces, section.shape.pieces)
        road.line = reference_line(road.pieces)
        for place, section in enumerate(chain):
            for lane, k, forward in section.strip.members():
                lane_id = section.lane_id(k)
                back = (
                    "/back" if k in section.strip.turned and section.strip.lanes[k] != lane else ""
                )
                text = f"{name}/{place}/{lane_id}{back}"
                plan.places[lane] = Place(number, place, lane_id, forward, text)
        plan.roads.append(road)
    return plan


def _sections(
    network: RoadNetwork, strip: Strip, origin: Floats, apart: Collection[int]
) -> list[Section]:
    """Returns a strip as a section; where its lanes would lie elsewhere, as one for each."""
    shape = find_shape(network.lanes, strip, origin)
    if shape is None:
        return []
    wanted = any(lane in apart for lane, *_ in strip.members())
    if not wanted and shape.missed <= (MISSED_IN_ROAD if strip.road else MISSED):
        return [Section(strip, shape)]
    if len(strip.lanes) > 1:
        parts = single_strips(network, strip)
        return [section for part in parts for section in _sections(network, part, origin, apart)]
    other = centre_shape(network.lanes, strip, origin)
    return [Section(strip, other if other and (wanted or other.missed < shape.missed) else shape)]


def _connecting(
    network: RoadNetwork, sections: list[Section], origin: Floats, apart: Collection[int]
) -> list[Section]:
    """Returns sections of which each within a junction comes from one other and leads to one.

    Where the lanes of one come from several, each is one of its own.
    """
    lanes = network.lanes
    while True:
        owner = {lane: k for k, s in enumerate(sections) for lane, *_ in s.strip.members()}
        parts: list[Section] = []
        for section in sections:
            strip = section.strip
            split = False
            if len(strip.lanes) > 1 and not strip.road and lanes[strip.lanes[0]].junction >= 0:
                beyond: dict[bool, set[int]] = {False: set(), True: set()}
                for lane, _, forward in strip.members():
                    for ahead in (False, True):
                        others = lanes[lane].successors if ahead else lanes[lane].predecessors
                        beyond[ahead == forward].update(owner.get(i, -1) for i in others)
                split = max(len(found) for found in beyond.values()) > 1
            for part in single_strips(network, strip) if split else ():
                parts += _sections(network, part, origin, apart)
            parts += [] if split else [section]
        if len(parts) == len(sections):
            return parts
        sections = parts


def driving_lane_km(network: RoadNetwork, plan: Plan) -> float:
    """Returns the length of the driving lanes along the reference lines of the file [km].

    Args:
        network: Holds the lanes.
        plan: Where they are in the file.
    """
    total = 0.0
    for road in plan.roads:
        ends = [*(section.start for section in road.sections[1:]), road.length]
        for section, end in zip(road.sections, ends, strict=True):
            driven = sum(network.lanes[lane].drivable for lane in section.strip.lanes)
            total += driven * (end - section.start)
    return total / 1000.0


def _append(pieces: list[Piece], others: list[Piece]) -> None:
    """Appends pieces; a line that goes on as a line becomes one."""
    for piece in others:
        before = pieces[-1] if pieces else piece
        straight = not (before.u or piece.u or before.curvature or piece.curvature)
        if pieces and straight and abs(before.heading - piece.heading) < STRAIGHT:
            before.length += piece.length
        else:
            pieces.append(replace(piece))


def _chains(lanes: list[Lane], sections: list[Section]) -> list[list[Section]]:
    """Returns runs of sections that follow each other within roads of the network."""
    owner = {lane: s for s in sections for lane, *_ in s.strip.members()}
    chains: list[list[Section]] = []
    named: dict[str, list[Section]] = {}
    for section in sections:
        if section.strip.road:
            named.setdefault(section.strip.road, []).append(section)
        else:
            chains.append([section])
    for members in named.values():
        members.sort(key=lambda s: [int(part) for part in s.strip.number.split(".")])
        chain = members[:1]
        for one, two in pairwise(members):
            if _follows(lanes, one, two, owner):
                chain.append(two)
            else:
                chains.append(chain)
                chain = [two]
        chains.append(chain)
    return sorted(chains, key=lambda chain: min(chain[0].strip.lanes))


def _follows(lanes: list[Lane], one: Section, two: Section, owner: dict[int, Section]) -> bool:
    """Returns whether the second section and nothing else goes on where the first one ends."""
    if lanes[one.strip.lanes[0]].junction != lanes[two.strip.lanes[0]].junction:
        return False
    if not (one.shape.centred and two.shape.centred):
        return False
    line, start = reference_line(one.shape.pieces), two.shape.pieces[0]
    x, y, heading, _ = (float(v[0]) for v in line.evaluate(np.array([line.length - 1e-9])))
    turn = (heading - start.heading + np.pi) % (2.0 * np.pi) - np.pi
    if np.hypot(x - start.x, y - start.y) > GAP or abs(turn) > KINK:
        return False
    for section, other, at_end in ((one, two, True), (two, one, False)):
        for lane, _, forward in section.strip.members():
            ahead = lanes[lane].successors if forward == at_end else lanes[lane].predecessors
            if any(owner.get(i) is not other for i in ahead):
                return False
    return True


def unique_ids(names: list[str], taken: Iterable[str] = ()) -> list[str]:
    """Returns an id for each name: itself where it can be one, else a number.

    Args:
        names: Any texts.
        taken: Ids that are used already.
    """
    used, wanted = set(taken), {name for name in names if PLAIN.fullmatch(name)}
    ids, number = [], 0
    for name in names:
        if name in used or name not in wanted:
            while str(number) in used or str(number) in wanted:
                number += 1
            name = str(number)
        used.add(name)
        ids.append(name)
    return ids
