"""A motorway map under construction: carriageways, ramps, streets and what joins them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.maps.procedural.draws import Draws
from selfdrive_env.maps.procedural.motorways.alignment import (
    LIMITS,
    Corner,
    Profile,
    fitting_limit,
    line_along,
)
from selfdrive_env.maps.procedural.motorways.carriageways import Carriageway, Slot, spans
from selfdrive_env.maps.procedural.motorways.distribution import MotorwayFamily
from selfdrive_env.maps.procedural.roads.plan import Node, Plan
from selfdrive_env.maps.procedural.roads.streets import Part, Section, Street
from selfdrive_env.maps.towns.centre_lines import CentreLine, Pose, chain

__all__ = ["Deck", "Foot", "Frame", "Site", "Stub", "bend_caps", "zones"]

Floats = NDArray[np.float64]

SIGN_LEAD = 30.0
"""A limit begins this far before the bend that it is for [m]."""

SHORTEST_ZONE = 60.0
"""Of a speed limit [m]."""

RAMP_SHOULDER = 1.5
NARROW = 60.0
"""Ramps do not widen to their left over this length at either end [m]."""

CHANGE = 40.0
"""Widths of ramps change over this length at either end [m]."""


MIDDLE = 0.6
"""From the line to the lanes, where a motorway meets a node [m]."""


@dataclass(frozen=True, slots=True)
class Frame:
    """Coordinates along a direction of travel: u ahead, v to the left."""

    origin: Pose

    def at(
        self,
        u: float,
        v: float,
        radius: float = 0.0,
        spiral: float = 0.0,
        *,
        around: bool = False,
        heading: float | None = None,
    ) -> Corner:
        """Returns a corner at a place of the frame; its heading is that of the frame turned."""
        pose = self.origin.moved(u, v)
        turned = None if heading is None else self.origin.heading + heading
        return Corner(pose.x, pose.y, radius, spiral, around, turned)

    def pose(self, u: float, v: float, heading: float = 0.0) -> Pose:
        """Returns a pose at a place of the frame [m], [rad]."""
        pose = self.origin.moved(u, v)
        return Pose(pose.x, pose.y, self.origin.heading + heading)

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Returns (u, v) of a point."""
        dx, dy = x - self.origin.x, y - self.origin.y
        cosine, sine = math.cos(self.origin.heading), math.sin(self.origin.heading)
        return dx * cosine + dy * sine, dy * cosine - dx * sine


@dataclass(slots=True)
class Foot:
    """Where a ramp begins or ends: lanes that it continues."""

    pose: Pose
    """In the direction of travel, in the middle of the lanes."""

    width: float
    """Of a lane [m]."""

    z: float = 0.0
    slope: float = 0.0
    shoulder: float = 0.0
    slots: list[Slot] = field(default_factory=list)
    way: Carriageway | None = None
    station: float = 0.0
    stub: Stub | None = None

    @property
    def is_joined(self) -> bool:
        """Whether there are lanes at all."""
        return bool(self.slots) or self.stub is not None

    def ahead(self, way: float, radius: float = 0.0, spiral: float = 0.0) -> Corner:
        """Returns a corner straight ahead, or behind with a negative way [m]."""
        pose = self.pose.moved(way)
        return Corner(pose.x, pose.y, radius, spiral)


@dataclass(frozen=True, slots=True)
class Stub:
    """The open end of a street."""

    street: int
    lanes: int
    leaving: bool
    """Its lanes lead away from the node."""


@dataclass(slots=True)
class Site:
    """What is to be built."""

    draws: Draws
    family: MotorwayFamily
    width: float
    """Of a lane of the motorway [m]."""

    ways: list[Carriageway] = field(default_factory=list)
    joints: list[tuple[Foot, Foot]] = field(default_factory=list)
    plan: Plan = field(default_factory=Plan)
    open_nodes: set[int] = field(default_factory=set)
    """Nodes that only mark the end of a street that a ramp continues."""

    def ramp(
        self,
        start: Foot,
        end: Foot,
        corners: Sequence[Corner],
        lanes: int = 1,
        *,
        most: float = LIMITS[5],
        caps: Sequence[tuple[float, float, float]] = (),
        heights: Profile | None = None,
        edit: Callable[[Carriageway, Deck], None] | None = None,
        backwards: bool = False,
    ) -> Carriageway:
        """Adds a ramp.

        Args:
            start: What it follows.
            end: What follows it.
            corners: Of its line between.
            lanes: How many.
            most: Highest speed limit [m/s].
            caps: (from, to, speed limit) of places with a lower one [m], [m/s].
            heights: In place of the smooth rise between its ends.
            edit: Opens and ends further lanes.
            backwards: The first corner lies behind the start.
        """
        first = start.ahead(0.0)
        if backwards:
            first = replace(first, heading=start.pose.heading)
        line = line_along([first, *corners, end.ahead(0.0)])
        length = line.length
        change = min(CHANGE, 0.4 * length)
        wide = self.family.ramp_width
        width = spans(
            [(0.0, start.width), (change, wide), (length - change, wide), (length, end.width)]
        )
        shoulder = spans(
            [
                (0.0, start.shoulder),
                (change, RAMP_SHOULDER),
                (length - change, RAMP_SHOULDER),
                (length, end.shoulder),
            ]
        )
        way = Carriageway(
            line,
            heights or _between(length, start, end),
            width,
            _inner(length, lanes, start.width, self.family.ramp_width, end.width),
            shoulder,
            most,
        )
        way.limits = zones(length, [*bend_caps(line, most), *caps], most)
        deck = Deck(way, lanes)
        self.ways.append(way)
        if edit is not None:
            edit(way, deck)
        deck.close()
        if start.is_joined:
            self.joints.append((start, self.foot(way, 0.0, way.now(0.0))))
        if end.is_joined:
            self.joints.append((self.foot(way, length, way.before(length)), end))
        for foot, leaves in ((start, True), (end, False)):
            if foot.way is not None:
                foot.way.gores.append((foot.station, way, leaves))
        return way

    def branch(
        self,
        start: Foot,
        end: Foot,
        corners: Sequence[Corner],
        lanes: int,
        *,
        most: float,
        bridge: tuple[Pose, float, float, float] | None = None,
        edit: Callable[[Carriageway, Deck], None] | None = None,
        widened: bool = False,
    ) -> Carriageway:
        """Adds a carriageway that begins or ends with ramps; its line is the middle of place 0.

        Args:
            start: What it follows.
            end: What follows it.
            corners: Of its line between.
            lanes: How many at its start, from its inside.
            most: Highest speed limit [m/s].
            bridge: Where it crosses the other motorway, its height, half the length of its level
                top and the length of the rise [m].
            edit: Opens and ends further lanes.
            widened: Its last part is a loop with a wider lane.
        """
        inner = 0.5 * (lanes - 1) * self.width if lanes > 1 and not edit else 0.0
        line = line_along([start.ahead(0.0), *corners, end.ahead(0.0)])
        length = line.length
        del inner, widened
        ends = np.array([0.0, length])
        shift = self.width * (0.5 if edit else 0.5 * lanes)
        way = Carriageway(
            line,
            Profile(ends, np.zeros(2)),
            Profile(ends, np.full(2, self.width)),
            Profile(ends, np.full(2, shift)),
            spans([(0.0, start.shoulder or 2.0), (40.0, 2.0), (length - 40.0, 2.0),
                (length, end.shoulder or 2.0)]),  # fmt: skip
            most,
        )
        if bridge is not None:
            place, height, flat, rise = bridge
            way.heights = _hump(way, place, height, flat, rise)
        way.limits = zones(length, bend_caps(way.line, most), most)
        self.ways.append(way)
        deck = Deck(way, lanes)
        if edit is not None:
            edit(way, deck)
        deck.close()
        if start.is_joined:
            self.joints.append((start, self.foot(way, 0.0, way.now(0.0))))
        if end.is_joined:
            self.joints.append((self.foot(way, length, way.before(length)), end))
        for foot, leaves in ((start, True), (end, False)):
            if foot.way is not None:
                foot.way.gores.append((foot.station, way, leaves))
        return way

    def foot(self, way: Carriageway, station: float, slots: Sequence[Slot]) -> Foot:
        """Returns the foot at some neighbouring slots of a carriageway."""
        first = min(slot.place for slot in slots)
        return Foot(
            way.centre(station, first, len(slots)),
            float(way.width.at(station)),
            float(way.heights.at(station)),
            way.heights.slope(min(max(station, 0.5), way.length - 0.5)),
            float(way.shoulder.at(station)),
            sorted(slots, key=lambda slot: slot.place),
            way,
            station,
        )

    def node(self, x: float, y: float, **about: float | str | bool) -> int:
        """Adds a node and returns its key."""
        self.plan.nodes.append(Node(x, y, **about))  # type: ignore[arg-type]
        return len(self.plan.nodes) - 1

    def street(
        self,
        start: int,
        end: int,
        line: CentreLine,
        sections: Sequence[Section],
        limit: float,
        rank: int = 0,
    ) -> int:
        """Adds a street and returns its number."""
        self.plan.streets.append(Street(start, end, line, tuple(sections), limit, rank))
        return len(self.plan.streets) - 1

    def stub(
        self,
        node: int,
        heading: float,
        length: float,
        lanes: tuple[int, int],
        *,
        far: tuple[float, float] = (0.0, 0.0),
        width: float = 0.0,
        flare: bool = False,
        limit: float = LIMITS[2],
        rank: int = 0,
    ) -> tuple[Foot, Foot]:
        """Adds the arm of a node that ramps or a motorway continue.

        Args:
            node: Key of the node.
            heading: In which it leaves the node [rad].
            length: [m]
            lanes: That lead to the node and away from it.
            far: From the line to the lanes at the far end, for each direction [m].
            width: Of a lane at the far end; 0: as on roads [m].
            flare: Before the node a lane opens on the right.
            limit: [m/s]
            rank: Of the street.

        Returns:
            Feet of the lanes to the node and of those away from it.
        """
        place = self.plan.nodes[node]
        start = Pose(place.x, place.y, heading)
        line = chain(start, [(length, 0.0)])
        end = start.moved(length)
        narrow, wide = self.family.road_width, width or self.family.road_width
        rows: list[tuple[Part, ...]] = []
        for count, gap in zip(lanes, far, strict=True):
            lane = tuple(Part((narrow, wide), key=f"{k}") for k in range(count))
            rows.append((Part((MIDDLE, gap), "gap", "gap"), *lane) if gap > 0.0 else lane)
        sections = [Section(rows[1], rows[0])]
        if flare:
            own = Part((narrow, wide), key="0")
            near = Part((narrow, narrow), key="0")
            sections = [
                Section(rows[1], (near, Part((narrow, narrow), key="1")), length=0.45 * length),
                Section(rows[1], (own, Part((narrow, 0.0), key="1"))),
            ]
        other = self.node(end.x, end.y, control="none")
        self.open_nodes.add(other)
        street = self.street(node, other, line, sections, limit, rank)
        feet = []
        for leaving, count, gap in ((False, lanes[0], far[0]), (True, lanes[1], far[1])):
            aside = gap + 0.5 * count * wide
            pose = end.moved(0.0, -aside) if leaving else end.moved(0.0, aside).reversed()
            feet.append(Foot(pose, wide, z=place.z, stub=Stub(street, count, leaving)))
        return feet[0], feet[1]

    def road(self, start: int, end: int, corners: Sequence[Corner], limit: float, rank: int) -> int:
        """Adds a road of one lane a direction between two nodes and returns its number."""
        nodes = self.plan.nodes
        ends = [Corner(nodes[key].x, nodes[key].y) for key in (start, end)]
        line = line_along([ends[0], *corners, ends[1]])
        lane = (Part((self.family.road_width,) * 2, key="0"),)
        return self.street(start, end, line, [Section(lane, lane)], limit, rank)


class Deck:
    """Lanes of a carriageway, in the order in which they open and end along it."""

    def __init__(self, way: Carriageway, lanes: int, kind: str = "driving") -> None:
        self.way = way
        self.open = [Slot(place, 0.0, kind=kind) for place in range(lanes)]
        way.slots += self.open

    def _begin(self, start: float, opens: float, kind: str) -> Slot:
        place = self.open[-1].place + 1
        slot = Slot(place, start, opens=opens, kind=kind)
        self.open.append(slot)
        self.way.slots.append(slot)
        return slot

    def add(self, start: float, opens: float) -> None:
        """Opens a lane on the right."""
        self._begin(start, opens, "driving")

    def drop(self, end: float, closes: float, *, left: bool = False) -> None:
        """Ends the outermost lane, or the innermost one."""
        slot = self.open.pop(0 if left else -1)
        slot.end, slot.closes, slot.left = end, closes, left and slot.opens <= 0.0

    def leave(
        self, at: float, lanes: int, length: float, opens: float, new: int = -1
    ) -> list[Slot]:
        """Returns the outermost slots, which a ramp continues.

        Args:
            at: Where they leave [m].
            lanes: How many.
            length: Of the new ones among them at full width [m].
            opens: Length over which these open [m].
            new: How many are new; all of them if there is a length, else none.
        """
        count = (lanes if length > 0.0 else 0) if new < 0 else new
        for _ in range(count):
            self._begin(at - length - opens, opens, "exit")
        out = self.open[-lanes:]
        del self.open[-lanes:]
        for slot in out:
            slot.end = at
        return out

    def enter(self, at: float, lanes: int, length: float, closes: float) -> list[Slot]:
        """Returns slots that continue a ramp: for that length, or from now on with a length of 0."""
        out = [self._begin(at, 0.0, "entry" if length > 0.0 else "driving") for _ in range(lanes)]
        if length > 0.0:
            for slot in out:
                slot.end, slot.closes = at + length + closes, closes
                self.open.remove(slot)
        return out

    def close(self) -> list[Slot]:
        """Lets all lanes run to the end of the carriageway and returns them."""
        for slot in self.open:
            slot.end = self.way.length
        return self.open


def _inner(length: float, lanes: int, first: float, wide: float, last: float) -> Profile:
    """Returns the left edge of a ramp, which widens to its left once it has left the motorway."""
    near, far = min(NARROW, 0.2 * length), min(2.0 * NARROW, 0.4 * length)
    values = ((0.0, first), (near, first), (far, wide))
    values = (*values, (length - far, wide), (length - near, last), (length, last))
    return spans([(s, 0.5 * lanes * value) for s, value in values])


def _hump(way: Carriageway, place: Pose, height: float, flat: float, rise: float) -> Profile:
    """Returns heights with one hump at a place on the line."""
    top = way.station_of(place.x, place.y)
    s = np.linspace(0.0, way.length, max(2, math.ceil(way.length)))
    before, after = min(rise, top - flat - 1.0), min(rise, way.length - top - flat - 1.0)
    far = np.abs(s - top) - flat
    t = np.clip(far / np.where(s < top, before, after), 0.0, 1.0)
    return Profile(s, height * (1.0 - t * t * (3.0 - 2.0 * t)))


def _between(length: float, start: Foot, end: Foot) -> Profile:
    """Returns heights that lead from one foot to another with their slopes."""
    t = np.linspace(0.0, 1.0, max(3, math.ceil(length / 2.0)))
    z = (2 * t**3 - 3 * t**2 + 1) * start.z + (t**3 - 2 * t**2 + t) * length * start.slope
    z = z + (3 * t**2 - 2 * t**3) * end.z + (t**3 - t**2) * length * end.slope
    return Profile(t * length, z)


def bend_caps(line: CentreLine, most: float) -> list[tuple[float, float, float]]:
    """Returns (from, to, speed limit) for each bend that asks for a limit below `most`."""
    bounds = np.append(line.station, line.length)
    out = []
    for k, curvature in enumerate(np.abs(line.curvature).tolist()):
        limit = fitting_limit(curvature, most)
        if limit < most:
            out.append((float(bounds[k]) - SIGN_LEAD, float(bounds[k + 1]), limit))
    return out


def zones(
    length: float, caps: Sequence[tuple[float, float, float]], most: float
) -> list[tuple[float, float]]:
    """Returns (station, limit from there on) such that every cap holds and no zone is short."""
    bounds = sorted({0.0, length, *(min(max(s, 0.0), length) for a, b, _ in caps for s in (a, b))})
    rows: list[list[float]] = []
    for low, high in zip(bounds[:-1], bounds[1:], strict=True):
        middle = 0.5 * (low + high)
        limit = min((v for a, b, v in caps if a <= middle <= b), default=most)
        rows.append([low, high, min(limit, most)])
    while True:
        merged: list[list[float]] = []
        for row in rows:
            if merged and abs(merged[-1][2] - row[2]) < 1e-6:
                merged[-1][1] = row[1]
            else:
                merged.append(list(row))
        rows = merged
        for k, (low, high, limit) in enumerate(rows):
            beside = [rows[j][2] for j in (k - 1, k + 1) if 0 <= j < len(rows)]
            if high - low < SHORTEST_ZONE and beside and limit > min(beside):
                rows[k][2] = min(beside)
                break
        else:
            return [(low, limit) for low, _, limit in rows]
