"""Motorways of two carriageways: their line, their ends, and lanes that open and end on them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from selfdrive_env.maps.procedural.motorways.alignment import (
    LIMITS,
    Corner,
    Profile,
    fitting_limit,
    line_along,
    reversed_line,
)
from selfdrive_env.maps.procedural.motorways.carriageways import Carriageway
from selfdrive_env.maps.procedural.motorways.site import Deck, Foot, Frame, Site, bend_caps, zones
from selfdrive_env.maps.towns.centre_lines import CentreLine, pose_at

__all__ = ["Ending", "Motorway", "axis_along", "bulb", "sign_limits"]

BULB_LEAD = math.radians(32.0)
"""By how much a turning loop first turns away."""

BULB_LEAD_RADIUS = 75.0
"""Of the bends before and behind a turning loop [m]."""

BULB_SPIRAL = 24.0
BEFORE_END = ((90.0, LIMITS[3]), (210.0, LIMITS[5]), (330.0, LIMITS[7]))
"""Within this of its end a carriageway has at most this limit [m], [m/s]."""

AFTER_END = ((60.0, LIMITS[4]),)
"""The same after its start."""

RINGS = ((18.0, 22.0), (23.0, 28.0))
"""Radius of roundabouts of one and of two lanes [m]."""

APPROACH = 60.0
"""Between the end of a motorway and the node that closes it [m]."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a motorway ends on one side."""

    kind: str
    """ "loop", "roundabout" or "open"."""

    lanes: int
    """A direction at the end."""

    length: float
    """From the last ramp's lane to the end [m]."""


@dataclass(slots=True)
class Motorway:
    """Two carriageways along one line."""

    axis: CentreLine
    ahead: Carriageway
    back: Carriageway
    median: float

    def frame(self, x: float, y: float, *, back: bool = False) -> Frame:
        """Returns the frame of a direction of travel about a point on a straight part."""
        s = self.ahead.station_of(x, y)
        pose = pose_at(self.axis, s)
        return Frame(pose.reversed() if back else pose)

    def side(self, *, back: bool) -> Carriageway:
        """Returns the carriageway of a direction."""
        return self.back if back else self.ahead


def lay_out(
    site: Site, axis: CentreLine, heights: Profile, limit: float, median: float, shoulder: float
) -> Motorway:
    """Returns a motorway without lanes."""
    sides = []
    ends = np.array([0.0, axis.length])
    for line, profile in ((axis, heights), (reversed_line(axis), heights.reversed(axis.length))):
        width, inner, outer = (
            Profile(ends, np.full(2, value)) for value in (site.width, -0.5 * median, shoulder)
        )
        sides.append(Carriageway(line, profile, width, inner, outer, limit))
    site.ways += sides
    return Motorway(axis, sides[0], sides[1], median)


def axis_along(
    site: Site, straight: tuple[float, float], reach: tuple[float, float], bends: bool = True
) -> CentreLine:
    """Returns a line along +x through the origin that bends beyond its straight part.

    Args:
        site: For its draws.
        straight: How far from the origin it is straight, backwards and ahead [m].
        reach: How far it goes [m].
        bends: It bends at all.
    """
    corners = [[Corner(-straight[0], 0.0)], [Corner(straight[1], 0.0)]]
    for end, sense in ((0, -1.0), (1, 1.0)):
        radius = site.draws.within(site.family.curve)
        turn = math.radians(site.draws.within(site.family.turn))
        side = 1.0 if site.draws.chance(0.5) else -1.0
        rest = reach[end] - straight[end]
        spiral = 0.2 * radius
        # The bend takes about half of the rest of the way on either side of its corner.
        turn = min(turn, 2.0 * math.atan(max(0.42 * rest - 0.5 * spiral, 0.0) / radius))
        tangent = radius * math.tan(0.5 * turn) + 0.5 * spiral
        if not bends or turn < math.radians(2.0):
            corners[end].append(Corner(sense * reach[end], 0.0))
            continue
        at = straight[end] + tangent + 4.0
        beyond = max(reach[end] - at, tangent + 4.0)
        x = at + beyond * math.cos(turn)
        corners[end] += [
            Corner(sense * at, 0.0, radius, spiral),
            Corner(sense * x, side * beyond * math.sin(turn)),
        ]
    return line_along([*corners[0][:0:-1], *corners[1][1:]])


def sign_limits(way: Carriageway, start: str, end: str) -> None:
    """Gives a carriageway its speed limits.

    Args:
        way: Its limits are set.
        start: Kind of the end of the motorway at which it begins.
        end: Kind of that at which it ends.
    """
    caps = bend_caps(way.line, way.limit)
    length = way.length
    if end != "open":
        caps += [(length - far, length, limit) for far, limit in BEFORE_END]
    if start != "open":
        caps += [(0.0, near, limit) for near, limit in AFTER_END]
    way.limits = zones(length, caps, way.limit)


def bulb(site: Site, arriving: Carriageway, leaving: Carriageway, radius: float) -> None:
    """Closes the end of a motorway by a large turning loop.

    Args:
        site: Extended by the loop.
        arriving: Carriageway that ends.
        leaving: The one that begins there.
        radius: Of the loop [m].
    """
    slots = arriving.before(arriving.length)
    start = site.foot(arriving, arriving.length, slots)
    end = site.foot(leaving, 0.0, leaving.now(0.0))
    frame = Frame(start.pose)
    across = (end.pose.x - start.pose.x, end.pose.y - start.pose.y)
    apart = -across[0] * math.sin(start.pose.heading) + across[1] * math.cos(start.pose.heading)
    lead = BULB_LEAD_RADIUS * math.tan(0.5 * BULB_LEAD) + 0.5 * BULB_SPIRAL + 4.0
    # The bends at its neck must not overlap: that takes a larger loop for lanes further apart.
    neck = 0.5 * apart / math.sin(BULB_LEAD) + lead + 0.5 * BULB_SPIRAL + 1.0
    radius = max(radius, neck * math.tan(BULB_LEAD))
    apex = lead - 0.5 * apart / math.tan(BULB_LEAD)
    corners = [
        frame.at(lead, 0.0, BULB_LEAD_RADIUS, BULB_SPIRAL, heading=-BULB_LEAD),
        frame.at(apex, 0.5 * apart, radius, BULB_SPIRAL, around=True, heading=math.pi + BULB_LEAD),
        frame.at(lead, apart, BULB_LEAD_RADIUS, BULB_SPIRAL),
    ]
    most = fitting_limit(1.0 / BULB_LEAD_RADIUS, LIMITS[-1])
    site.ramp(start, end, corners, len(slots), most=most)


def end_node(site: Site, motorway: Motorway, *, at_start: bool) -> int:
    """Closes an end of a motorway by a roundabout and returns the key of its node.

    Args:
        site: Extended by the node and the approach.
        motorway: What ends.
        at_start: At the start of its line, else at the end.
    """
    arriving = motorway.side(back=at_start)
    leaving = motorway.side(back=not at_start)
    edges = arriving.centre(arriving.length, 0, 0), leaving.centre(0.0, 0, 0)
    gap = 0.5 * math.hypot(edges[0].x - edges[1].x, edges[0].y - edges[1].y)
    groups = (arriving.before(arriving.length), leaving.now(0.0))
    lanes = len(groups[0])
    radius = site.draws.within(RINGS[lanes - 1])
    pose = edges[0].moved(APPROACH + radius, gap)
    node = site.node(pose.x, pose.y, control="roundabout", radius=radius, ring_lanes=lanes)
    far = tuple(gap + site.width * min(slot.place for slot in group) for group in groups)
    into, out = site.stub(
        node,
        pose.heading + math.pi,
        APPROACH + radius,
        (len(groups[0]), len(groups[1])),
        far=(far[0], far[1]),
        width=site.width,
        limit=LIMITS[2],
        rank=2,
    )
    site.joints.append((site.foot(arriving, arriving.length, groups[0]), into))
    site.joints.append((out, site.foot(leaving, 0.0, groups[1])))
    return node


def narrow_down(site: Site, deck: Deck, lanes: int, end: float) -> None:
    """Ends lanes one after the other until so many are left, the last of them at `end` [m]."""
    draws, family = site.draws, site.family
    count = len(deck.open) - lanes
    closes = [draws.within(family.dropped) for _ in range(count)]
    left = [draws.chance(family.drop_left) for _ in range(count)]
    at = end - sum(closes[1:]) - DROP_GAP * max(count - 1, 0)
    for length, inner in zip(closes, left, strict=True):
        deck.drop(at, length, left=inner)
        at += DROP_GAP + length


def widen(site: Site, deck: Deck, lanes: int, start: float) -> float:
    """Opens lanes one after the other from `start` on until there are so many [m].

    Returns:
        Where the last of them is open [m].
    """
    while len(deck.open) < lanes:
        opens = site.draws.within(site.family.taper)
        deck.add(start, opens)
        start += opens + OPEN_GAP
    return start - OPEN_GAP


DROP_GAP = 100.0
"""Between lanes that end [m]."""

OPEN_GAP = 30.0
"""Between lanes that open [m]."""


def closing_length(lanes: int, left: int) -> float:
    """Returns how long the end of a motorway is on which lanes are dropped down to `left` [m]."""
    return 120.0 + max(lanes - left, 0) * (DROP_GAP + 115.0) if lanes > left else 110.0


def turned_line(line: CentreLine, angle: float) -> CentreLine:
    """Returns a line turned about the origin [rad]."""
    cosine, sine = math.cos(angle), math.sin(angle)
    x, y = line.x * cosine - line.y * sine, line.x * sine + line.y * cosine
    return line._replace(x=x, y=y, heading=line.heading + angle)


__all__ += ["DROP_GAP", "closing_length", "end_node", "lay_out", "narrow_down", "turned_line", "widen"]
_ = Foot
