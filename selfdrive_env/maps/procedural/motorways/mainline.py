"""Motorways of two carriageways: their line, their lanes, and how their ends are closed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from selfdrive_env.maps.procedural.motorways.alignment import (
    LIMITS,
    Corner,
    Profile,
    bend_caps,
    bend_reach,
    end_caps,
    fitting_limit,
    line_along,
    reversed_line,
    zones,
)
from selfdrive_env.maps.procedural.motorways.carriageways import Carriageway
from selfdrive_env.maps.procedural.motorways.site import Deck, Frame, Site
from selfdrive_env.maps.towns.builder import smooth
from selfdrive_env.maps.towns.centre_lines import CentreLine, pose_at

__all__ = ["Motorway", "Style", "axis_along", "begin_lanes", "close_ends", "draw_style",
    "end_lanes", "half_width", "lay_out", "sign_limits"]  # fmt: skip

BULB_LEAD = math.radians(32.0)
"""By how much a turning loop first turns away."""

BULB_LEAD_RADIUS = 75.0
"""Of the bends before and behind a turning loop [m]."""

BULB_SPIRAL = 24.0
APPROACH = 60.0
"""Between the end of a motorway and the ring that closes it, at least [m]."""

APPROACH_ROOM, SHIFT_LENGTH = 20.0, 26.0
"""[m], and the length in which lanes come together there, over the root of the shift [m^0.5]."""

RINGS = ((18.0, 22.0), (23.0, 28.0))
"""Radius of roundabouts of one and of two lanes [m]."""

START = 40.0
"""From the start of a carriageway to where its first lane opens [m]."""

END = 40.0
"""From where its last lane ends to the end of a carriageway [m]."""

DROP_GAP = 100.0
"""Between lanes that end [m]."""

OPEN_GAP = 30.0
"""Between lanes that open [m]."""

LONGEST_DROP = 130.0
PLAIN_END = 110.0
"""Length of the end of a motorway on which no lane ends [m]."""

BEND_SPIRAL = 0.2
"""Length of clothoids of bends over their radius."""

BEND_SHARE = 0.42
BEND_MARGIN = 4.0
"""Straight pieces beside a bend, at least [m]."""

LEAST_TURN = math.radians(2.0)


@dataclass(slots=True)
class Motorway:
    """Two carriageways along one line."""

    axis: CentreLine
    ahead: Carriageway
    back: Carriageway

    def frame(self, x: float, y: float, *, back: bool = False) -> Frame:
        """Returns the frame of a direction of travel about a point on a straight part."""
        pose = pose_at(self.axis, self.ahead.station_of(x, y))
        return Frame(pose.reversed() if back else pose)

    def side(self, *, back: bool) -> Carriageway:
        """Returns the carriageway of a direction."""
        return self.back if back else self.ahead


@dataclass(slots=True)
class Style:
    """What one motorway looks like."""

    lanes: tuple[int, int]
    """A direction, on either side of its interchange."""

    inside: int
    """A direction, within its interchange; those that it has fewer leave and are added there."""

    limit: float
    median: float
    shoulder: float
    clearance: float
    """Height of bridges; below 0 the motorway lies in a cutting [m]."""

    aside: float
    taper: float
    endings: tuple[str, str]
    """ "loop" or "roundabout", at the start and the end of the line."""

    left: tuple[int, int]
    """Lanes a direction at the ends."""

    def closing(self, end: int) -> float:
        """Returns how long the piece between the last ramp's lane and an end is [m]."""
        dropped = self.lanes[end] - self.left[end]
        return dropped * (DROP_GAP + LONGEST_DROP) + PLAIN_END - (END if dropped else 0.0)

    def beside(self, *, back: bool, leaving: bool) -> float:
        """Returns the length of the lane beside a ramp, 0 where lanes leave or are added [m]."""
        end = 0 if leaving != back else 1
        return self.aside if self.lanes[end] == self.inside else 0.0


def draw_style(site: Site, *, returns: bool, lanes: int = 0) -> Style:
    """Draws what a motorway looks like.

    Args:
        site: For its draws.
        returns: Roads can lead back from its ends.
        lanes: A direction, everywhere; 0: drawn.
    """
    draws, family = site.draws, site.family
    most = lanes or draws.by_share(family.lanes)
    both, only = draws.chance(family.both_sides), draws.chance(family.exit_only)
    first = draws.chance(0.5)
    sides, inside = (most, most), most
    if not lanes and most > 2:
        both = both and most == 3
        sides = (most, most) if both else (most, most - 1) if first else (most - 1, most)
        inside = most - 1 if only or not both else most
    height = draws.within(family.clearance) * (1.0 if draws.chance(family.over) else -1.0)
    kinds = [draws.by_share(family.closing) if returns else "loop" for _ in range(2)]
    single = [draws.chance(family.single_ring) for _ in range(2)]
    left = [
        1 if kind == "roundabout" and count == 2 and one else 2
        for kind, count, one in zip(kinds, sides, single, strict=True)
    ]
    return Style(
        sides,
        inside,
        draws.by_share(family.limits) / 3.6,
        draws.within(family.median),
        draws.within(family.shoulder),
        height,
        draws.within(family.aside),
        draws.within(family.taper),
        (kinds[0], kinds[1]),
        (left[0], left[1]),
    )


def half_width(site: Site, style: Style) -> float:
    """Returns half the width of a motorway with a lane more than within its interchange [m]."""
    return 0.5 * style.median + (style.inside + 1) * site.width + style.shoulder


def lay_out(site: Site, axis: CentreLine, heights: Profile, style: Style) -> Motorway:
    """Returns a motorway without lanes."""
    sides = []
    ends = np.array([0.0, axis.length])
    for line, profile in ((axis, heights), (reversed_line(axis), heights.reversed(axis.length))):
        width, inner, shoulder = (
            Profile(ends, np.full(2, value))
            for value in (site.width, -0.5 * style.median, style.shoulder)
        )
        sides.append(Carriageway(line, profile, width, inner, shoulder, style.limit))
    site.ways += sides
    return Motorway(axis, sides[0], sides[1])


def axis_along(site: Site, straight: tuple[float, float], reach: tuple[float, float]) -> CentreLine:
    """Returns a line along +x through the origin that bends beyond its straight part.

    Args:
        site: For its draws.
        straight: How far from the origin it is straight, backwards and ahead [m].
        reach: How far it goes [m].
    """
    rows = []
    for end, sense in ((0, -1.0), (1, 1.0)):
        radius = site.draws.within(site.family.curve)
        turn = math.radians(site.draws.within(site.family.turn))
        side = 1.0 if site.draws.chance(0.5) else -1.0
        spiral = BEND_SPIRAL * radius
        # The bend takes at most so much of the rest of the way on either side of its corner.
        rest = BEND_SHARE * (reach[end] - straight[end]) - 0.5 * spiral
        turn = min(turn, 2.0 * math.atan(max(rest, 0.0) / radius))
        if turn < LEAST_TURN:
            rows.append([Corner(sense * reach[end], 0.0)])
            continue
        tangent = bend_reach(radius, spiral, turn)
        at = straight[end] + tangent + BEND_MARGIN
        beyond = max(reach[end] - at, tangent + BEND_MARGIN)
        x = at + beyond * math.cos(turn)
        last = Corner(sense * x, side * beyond * math.sin(turn))
        rows.append([Corner(sense * at, 0.0, radius, spiral), last])
    return line_along([*rows[0][::-1], *rows[1]])


def sign_limits(motorway: Motorway, style: Style) -> None:
    """Gives both carriageways their speed limits, which step down before bends and ends."""
    for back in (False, True):
        way = motorway.side(back=back)
        caps = [*bend_caps(way.line, style.limit), *end_caps(way.length)]
        way.limits = zones(way.length, caps, style.limit)


def begin_lanes(motorway: Motorway, style: Style, *, back: bool, site: Site) -> Deck:
    """Begins the lanes of a direction; they open one after the other."""
    side = 1 if back else 0
    deck = Deck(motorway.side(back=back), style.left[side])
    at = START
    while len(deck.open) < style.lanes[side]:
        opens = site.draws.within(site.family.taper)
        deck.add(at, opens)
        at += opens + OPEN_GAP
    return deck


def end_lanes(deck: Deck, left: int, *, site: Site) -> None:
    """Ends lanes one after the other before the end of a carriageway until `left` are left."""
    draws, family = site.draws, site.family
    count = len(deck.open) - left
    lengths = [draws.within(family.dropped) for _ in range(count)]
    inner = [draws.chance(family.drop_left) for _ in range(count)]
    at = deck.way.length - END - sum(lengths[1:]) - DROP_GAP * max(count - 1, 0)
    for length, is_inner in zip(lengths, inner, strict=True):
        deck.drop(at, length, left=is_inner)
        at += DROP_GAP + length
    deck.close()


def close_ends(
    site: Site, motorway: Motorway, endings: Sequence[str], ends: Sequence[int] = (0, 1)
) -> list[int]:
    """Closes the ends of a motorway; returns the keys of its roundabouts, -1 for loops.

    Args:
        site: Extended by loops and roundabouts.
        motorway: With all its lanes.
        endings: Kind of either end.
        ends: Which of them are to be closed.
    """
    keys = [-1, -1]
    for end in ends:
        arriving, leaving = motorway.side(back=end == 0), motorway.side(back=end == 1)
        if endings[end] == "loop":
            _turning_loop(site, arriving, leaving, site.draws.within(site.family.bulb))
        else:
            keys[end] = _end_node(site, arriving, leaving)
    return keys


def _turning_loop(site: Site, arriving: Carriageway, leaving: Carriageway, radius: float) -> None:
    """Closes the end of a motorway by a large loop [m]."""
    slots = arriving.before(arriving.length)
    start = site.foot(arriving, arriving.length, slots)
    end = site.foot(leaving, 0.0, leaving.now(0.0))
    frame = Frame(start.pose)
    apart = frame.place(end.pose)[1]
    bend = (BULB_LEAD_RADIUS, BULB_SPIRAL)
    reach = bend_reach(*bend, BULB_LEAD)
    lead = reach + 2.0
    # The bends at its neck must not overlap: that takes a larger loop for lanes further apart.
    neck = 0.5 * apart / math.sin(BULB_LEAD) + reach + 0.5 * BULB_SPIRAL + 2.0
    radius = max(radius, neck * math.tan(BULB_LEAD))
    behind = lead - 0.5 * apart / math.tan(BULB_LEAD)
    back = math.pi + BULB_LEAD
    corners = [
        frame.at(lead, 0.0, *bend, heading=-BULB_LEAD),
        frame.at(behind, 0.5 * apart, radius, BULB_SPIRAL, around=True, heading=back),
        frame.at(lead, apart, *bend),
    ]
    most = fitting_limit(1.0 / BULB_LEAD_RADIUS, LIMITS[-1])
    site.ramp(start, end, corners, len(slots), most=most)


def _end_node(site: Site, arriving: Carriageway, leaving: Carriageway) -> int:
    """Closes the end of a motorway by a roundabout and returns the key of its node."""
    edges = arriving.centre(arriving.length, 0, 0), leaving.centre(0.0, 0, 0)
    gap = 0.5 * math.hypot(edges[0].x - edges[1].x, edges[0].y - edges[1].y)
    groups = (arriving.before(arriving.length), leaving.now(0.0))
    lanes = len(groups[0])
    radius = site.draws.within(RINGS[lanes - 1])
    far = [gap + site.width * group[0].place for group in groups]
    approach = radius + max(APPROACH, APPROACH_ROOM + SHIFT_LENGTH * math.sqrt(max(far)))
    pose = edges[0].moved(approach, gap)
    node = site.node(pose, "roundabout", radius=radius, ring_lanes=lanes)
    into, out = site.stub(
        node,
        pose.heading + math.pi,
        approach,
        (lanes, len(groups[1])),
        far=(far[0], far[1]),
        width=site.width,
        rank=2,
    )
    site.joints.append((site.foot(arriving, arriving.length, groups[0]), into))
    site.joints.append((out, site.foot(leaving, 0.0, groups[1])))
    _fade_shoulder(arriving, at_end=True)
    _fade_shoulder(leaving, at_end=False)
    return node


def _fade_shoulder(way: Carriageway, *, at_end: bool) -> None:
    """Lets the hard shoulder end before the node that closes a motorway."""
    s = np.arange(0.0, math.ceil(way.length) + 1.0)
    far = (way.length - s if at_end else s) - 0.5 * END
    way.shoulder = Profile(s, way.shoulder.at(s) * smooth(far / END))
