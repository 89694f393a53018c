"""A motorway map under construction: carriageways, ramps, streets and what joins them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from selfdrive_env.maps.procedural.draws import Draws
from selfdrive_env.maps.procedural.motorways.alignment import (
    LIMITS,
    Corner,
    Profile,
    bend_caps,
    end_caps,
    hump,
    line_along,
    spans,
    zones,
)
from selfdrive_env.maps.procedural.motorways.carriageways import Carriageway, Slot
from selfdrive_env.maps.procedural.motorways.distribution import MotorwayFamily
from selfdrive_env.maps.procedural.roads.plan import Node, Plan
from selfdrive_env.maps.procedural.roads.streets import Part, Section, Street
from selfdrive_env.maps.towns.centre_lines import CentreLine, Pose, chain

__all__ = ["Bridge", "Deck", "Foot", "Frame", "Site", "Stub"]

RAMP_SHOULDER = 1.5
BRANCH_SHOULDER = 2.0
NARROW = 60.0
"""Ramps do not widen to their left over this length at either end [m]."""

CHANGE = 40.0
"""Widths of ramps change over this length at either end [m]."""

MIDDLE = 0.6
"""From the line to the lanes, where a motorway meets a node [m]."""

FLARED = 0.45
"""Share of a stub along which it has a further lane."""

SLOWER, MOST_SLOWER = 30.0 / 3.6, 50.0 / 3.6
"""Lanes that a ramp continues have a limit higher by so much than its first one; lanes of the
motorway among them one at most so much lower than that of the others [m/s]."""

SLOW_LENGTH = 180.0
"""Length of a lane of the motorway that has such a limit [m]."""

STUB_LIMIT = LIMITS[2]


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

    def place(self, pose: Pose) -> tuple[float, float]:
        """Returns (u, v) of a pose."""
        dx, dy = pose.x - self.origin.x, pose.y - self.origin.y
        cosine, sine = math.cos(self.origin.heading), math.sin(self.origin.heading)
        return dx * cosine + dy * sine, dy * cosine - dx * sine


@dataclass(frozen=True, slots=True)
class Stub:
    """The open end of a street."""

    street: int
    lanes: int
    leaving: bool
    """Its lanes lead away from the node."""


@dataclass(slots=True)
class Foot:
    """Where a ramp begins or ends: lanes that it continues; without any, an open end."""

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
class Bridge:
    """Where a carriageway rises over another motorway."""

    place: Pose
    height: float
    flat: float
    """Half the length of its level top [m]."""

    rise: float
    """Length of the rise on either side [m]."""


class Deck:
    """Lanes of a carriageway, in the order in which they open and end along it."""

    def __init__(self, way: Carriageway, lanes: int) -> None:
        self.way = way
        self.open = [Slot(place, 0.0) for place in range(lanes)]
        way.slots += self.open

    def _begin(self, start: float, opens: float, kind: str) -> Slot:
        slot = Slot(self.open[-1].place + 1, start, opens=opens, kind=kind)
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
        """Returns slots that continue a ramp: for that length, or for good with a length of 0."""
        kind = "entry" if length > 0.0 else "driving"
        out = [self._begin(at, 0.0, kind) for _ in range(lanes)]
        if length > 0.0:
            for slot in out:
                slot.end, slot.closes = at + length + closes, closes
                self.open.remove(slot)
        return out

    def close(self) -> None:
        """Lets all lanes run to the end of the carriageway."""
        for slot in self.open:
            slot.end = self.way.length


Edit = Callable[[Carriageway, Deck], None]


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
        backwards: bool = False,
    ) -> Carriageway:
        """Adds a ramp, whose line is the middle of its lanes.

        Args:
            start: What it follows.
            end: What follows it.
            corners: Of its line between.
            lanes: How many.
            most: Highest speed limit [m/s].
            backwards: The first corner lies behind the start.
        """
        first = start.ahead(0.0)
        if backwards:
            first = replace(first, heading=start.pose.heading)
        line = line_along([first, *corners, end.ahead(0.0)])
        length = line.length
        change = min(CHANGE, 0.4 * length)
        wide = self.family.ramp_width

        def profile(first: float, between: float, last: float) -> Profile:
            return spans(
                [(0.0, first), (change, between), (length - change, between), (length, last)]
            )

        way = Carriageway(
            line,
            _between(length, start, end),
            profile(start.width, wide, end.width),
            _inner(length, lanes, (start.width, wide, end.width)),
            profile(start.shoulder, RAMP_SHOULDER, end.shoulder),
            most,
        )
        return self._put(way, start, end, lanes, None)

    def branch(
        self,
        start: Foot,
        end: Foot,
        corners: Sequence[Corner],
        lanes: int,
        *,
        most: float,
        bridge: Bridge | None = None,
        edit: Edit | None = None,
    ) -> Carriageway:
        """Adds a carriageway of a branch, of the motorway's lanes.

        Args:
            start: What it follows.
            end: What follows it.
            corners: Of its line between.
            lanes: How many at its start.
            most: Highest speed limit [m/s].
            bridge: Where it crosses the other motorway.
            edit: Opens and ends further lanes; then the line is the middle of the innermost one,
                else the middle of all.
        """
        line = line_along([start.ahead(0.0), *corners, end.ahead(0.0)])
        ends = np.array([0.0, line.length])
        level, width, inner = (
            Profile(ends, np.full(2, value))
            for value in (0.0, self.width, self.width * (0.5 if edit else 0.5 * lanes))
        )
        shoulder = spans(
            [
                (0.0, start.shoulder or BRANCH_SHOULDER),
                (CHANGE, BRANCH_SHOULDER),
                (line.length - CHANGE, BRANCH_SHOULDER),
                (line.length, end.shoulder or BRANCH_SHOULDER),
            ]
        )
        way = Carriageway(line, level, width, inner, shoulder, most)
        if bridge is not None:
            top = way.station_of(bridge.place.x, bridge.place.y)
            way.heights = hump(line.length, [top], bridge.height, bridge.flat, bridge.rise)
        return self._put(way, start, end, lanes, edit)

    def _put(
        self, way: Carriageway, start: Foot, end: Foot, lanes: int, edit: Edit | None
    ) -> Carriageway:
        """Adds a carriageway between two feet."""
        closed = end_caps(way.length, start=not start.is_joined, end=not end.is_joined)
        way.limits = zones(way.length, [*bend_caps(way.line, way.limit), *closed], way.limit)
        self.ways.append(way)
        deck = Deck(way, lanes)
        if edit is not None:
            edit(way, deck)
        deck.close()
        if start.is_joined:
            self.joints.append((start, self.foot(way, 0.0, way.now(0.0))))
        if end.is_joined:
            self.joints.append((self.foot(way, way.length, way.before(way.length)), end))
        for foot, leaves in ((start, True), (end, False)):
            if foot.way is not None:
                foot.way.gores.append((foot.station, way, leaves))
        self._slow_down(start, way.limits[0][1] + SLOWER)
        return way

    def _slow_down(self, foot: Foot, limit: float) -> None:
        """Gives lanes that a ramp continues a limit of their own [m/s]."""
        for slot in foot.slots:
            if slot.kind == "exit":
                slot.slow = (slot.start, limit)
            elif foot.way is not None:
                begins = max(slot.start, slot.end - SLOW_LENGTH)
                slot.slow = (begins, max(limit, foot.way.limit - MOST_SLOWER))

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

    def node(self, place: Pose | Corner, control: str, **about: float | bool) -> int:
        """Adds a node and returns its key."""
        self.plan.nodes.append(Node(place.x, place.y, control, **about))  # type: ignore[arg-type]
        return len(self.plan.nodes) - 1

    def street(
        self, ends: tuple[int, int], line: CentreLine, sections: Sequence[Section], limit: float,
        rank: int,
    ) -> int:  # fmt: skip
        """Adds a street and returns its number."""
        self.plan.streets.append(Street(*ends, line, tuple(sections), limit, rank))
        return len(self.plan.streets) - 1

    def road(self, start: int, end: int, corners: Sequence[Corner], limit: float, rank: int) -> int:
        """Adds a road of one lane a direction between two nodes and returns its number."""
        ends = [Corner(self.plan.nodes[key].x, self.plan.nodes[key].y) for key in (start, end)]
        line = line_along([ends[0], *corners, ends[1]])
        lane = (Part((self.family.road_width,) * 2, key="0"),)
        return self.street((start, end), line, [Section(lane, lane)], limit, rank)

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
            flare: Before the node a lane opens on the right; there are none away from it.
            rank: Of the street.

        Returns:
            Feet of the lanes to the node and of those away from it.
        """
        start = Pose(self.plan.nodes[node].x, self.plan.nodes[node].y, heading)
        end = start.moved(length)
        narrow, wide = self.family.road_width, width or self.family.road_width
        rows: list[tuple[Part, ...]] = []
        for count, gap in zip(lanes, far, strict=True):
            lane = tuple(Part((narrow, wide), key=f"{k}") for k in range(count))
            rows.append((Part((MIDDLE, gap), "gap", "gap"), *lane) if gap > 0.0 else lane)
        sections = [Section(rows[1], rows[0])]
        if flare:
            even, opening = (narrow, narrow), (narrow, 0.0)
            near = (Part(even, key="0"), Part(even, key="1"))
            then = (Part(even, key="0"), Part(opening, key="1"))
            sections = [Section((), near, FLARED * length), Section((), then)]
        other = self.node(end, "none")
        self.open_nodes.add(other)
        line = chain(start, [(length, 0.0)])
        street = self.street((node, other), line, sections, STUB_LIMIT, rank)
        feet = []
        for leaving, count, gap in ((False, lanes[0], far[0]), (True, lanes[1], far[1])):
            aside = gap + 0.5 * count * wide
            pose = end.moved(0.0, -aside) if leaving else end.moved(0.0, aside).reversed()
            feet.append(Foot(pose, wide, stub=Stub(street, count, leaving)))
        return feet[0], feet[1]


def _inner(length: float, lanes: int, widths: tuple[float, float, float]) -> Profile:
    """Returns the left edge of a ramp, which widens to its left once it has left the motorway."""
    near, far = min(NARROW, 0.2 * length), min(2.0 * NARROW, 0.4 * length)
    first, wide, last = (0.5 * lanes * width for width in widths)
    values = [(0.0, first), (near, first), (far, wide)]
    return spans([*values, (length - far, wide), (length - near, last), (length, last)])


def _between(length: float, start: Foot, end: Foot) -> Profile:
    """Returns heights that lead from one foot to another with their slopes."""
    t = np.linspace(0.0, 1.0, max(3, math.ceil(length / 2.0)))
    z = (2 * t**3 - 3 * t**2 + 1) * start.z + (t**3 - 2 * t**2 + t) * length * start.slope
    z = z + (3 * t**2 - 2 * t**3) * end.z + (t**3 - t**2) * length * end.slope
    return Profile(t * length, z)
