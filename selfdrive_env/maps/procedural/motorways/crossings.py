"""Interchanges of motorways with each other: trumpets, forks and cloverleaves.

Frames look along the main motorway: u ahead, v to the left; the branch of a trumpet or a fork lies
on its right side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from selfdrive_env.maps.procedural.motorways.alignment import (
    LIMITS,
    bend_reach,
    hump,
    station_of_origin,
    turned_line,
)
from selfdrive_env.maps.procedural.motorways.carriageways import Carriageway
from selfdrive_env.maps.procedural.motorways.mainline import (
    Motorway,
    Style,
    axis_along,
    begin_lanes,
    close_ends,
    draw_style,
    end_lanes,
    half_width,
    lay_out,
    sign_limits,
)
from selfdrive_env.maps.procedural.motorways.ramps import Bend, meeting, road_around
from selfdrive_env.maps.procedural.motorways.site import Bridge, Deck, Foot, Frame, Site
from selfdrive_env.maps.towns.centre_lines import Pose

__all__ = ["cloverleaf", "fork", "trumpet"]

QUARTER, LOOP = 0.5 * math.pi, 1.5 * math.pi
LOOP_SPIRAL = 0.6
"""Length of clothoids of a loop over its radius."""

MARGIN = 4.0
"""Between the end of a bend and a gore [m]."""

VERGE = 8.0
"""From the edge of a motorway to the end of the level top of a bridge over it [m]."""

BRANCH_LIMIT = LIMITS[6]
BRANCH_RISE = 190.0
"""Length of the rise of a branch to its bridge [m]."""

BRANCH_BESIDE, BRANCH_TAPER = 150.0, 55.0
"""Length of lanes beside those of the branch, and over which they open and end [m]."""

BRANCH_END = 110.0
BRANCH_MEDIAN = 3.0
LEAD_BEND = (140.0, 50.0)
"""In which the ramp around a loop leaves the motorway."""

CLEAR = 22.0
"""From the middle of a loop's lane to that of the ramp around it [m]."""


@dataclass(frozen=True, slots=True)
class _Trumpet:
    """Sizes of a trumpet [m]."""

    two: bool
    """The branch has two lanes a direction."""

    beside: float
    """From the middle of the branch to that of its inner lanes."""

    edge: float
    """From the middle of the motorway to that of the lanes beside ramps."""

    loop: Bend
    right: Bend
    """Of the ramps that turn right."""

    outer: Bend
    """Of the ramp around the loop."""

    slant: float
    """By how much that ramp first turns away [rad]."""

    gore: float
    """From the branch to where right turns leave and join."""

    leave: float
    """From the branch to where the ramp around the loop leaves."""

    top: float
    """From the motorway's middle to the far corner of the ramp around the loop."""

    south: float
    """Length of the branch."""


def _measure_trumpet(site: Site, style: Style) -> _Trumpet:
    """Draws the sizes of a trumpet."""
    draws = site.draws
    two = draws.chance(site.family.two_lane_branch)
    radius = draws.within(site.family.loop_radius)
    beside = 0.5 * (BRANCH_MEDIAN + site.width)
    edge = 0.5 * style.median + (style.inside + 0.5) * site.width
    slant = math.radians(draws.within((26.0, 32.0)))
    # The ramp around the loop passes its middle at the loop's radius and some more.
    u, v = beside + radius + 1.0, edge + radius + 1.0
    top = v + (u + beside) * math.tan(slant) + (radius + CLEAR) / math.cos(slant)
    leave = (top - edge) / math.tan(slant) - beside + bend_reach(*LEAD_BEND, slant) + MARGIN
    right = (draws.within((75.0, 100.0)), 36.0)
    cut = bend_reach(*right, QUARTER) + MARGIN
    merging = BRANCH_TAPER + BRANCH_BESIDE if not two else 0.0
    return _Trumpet(
        two,
        beside,
        edge,
        (radius, LOOP_SPIRAL * radius),
        right,
        (draws.within((52.0, 60.0)), 24.0),
        slant,
        beside + site.width + cut,
        leave,
        top,
        edge + cut + merging + BRANCH_END + (90.0 if two else 0.0),
    )


def trumpet(site: Site) -> None:
    """Lays out a motorway and a branch that ends at it, with one loop and a bridge."""
    style = draw_style(site, returns=True)
    if style.endings == ("roundabout", "roundabout"):
        style.endings = ("roundabout", "loop")
    size = _measure_trumpet(site, style)
    far = max(size.leave, size.gore) + style.aside + style.taper
    straight = size.leave + 50.0
    lengths = (far + style.closing(0), far + style.closing(1))
    axis = axis_along(site, (straight, straight), lengths)
    motorway = lay_out(site, axis, hump(axis.length, [], 0.0, 0.0, 1.0), style)
    # Where the loop ends beside the motorway, seen against the motorway's line.
    joins = -size.beside + bend_reach(*size.loop, LOOP) + 0.5
    gores = ((-size.gore, size.gore), (-size.leave, joins))
    feet: list[Foot] = []
    for back in (False, True):
        deck = begin_lanes(motorway, style, back=back, site=site)
        off, on = (deck.way.station_of(0.0, 0.0) + gore for gore in gores[back])
        lengths = style.beside(back=back, leaving=True), style.beside(back=back, leaving=False)
        leaving = deck.leave(off, 1, lengths[0], style.taper)
        entering = deck.enter(on, 1, lengths[1], style.taper)
        feet += [site.foot(deck.way, off, leaving), site.foot(deck.way, on, entering)]
        end_lanes(deck, style.left[0 if back else 1], site=site)
    frame = motorway.frame(0.0, 0.0)
    flat = half_width(site, style) + VERGE
    top = Bridge(frame.pose(0.0, 0.0), abs(style.clearance), flat, BRANCH_RISE)
    north = _northbound(site, size, frame, (feet[1], feet[3]), top)
    south = _southbound(site, size, frame, (feet[0], feet[2]), top)
    sign_limits(motorway, style)
    ends = close_ends(site, motorway, style.endings)
    kind = "roundabout" if max(ends) >= 0 else "loop"
    (branch, _) = close_ends(site, Motorway(axis, north, south), (kind, kind), (0,))
    for end in ends:
        if end >= 0:
            road_around(site, branch, end)


def _northbound(
    site: Site, size: _Trumpet, frame: Frame, feet: tuple[Foot, Foot], top: Bridge
) -> Carriageway:
    """Adds the carriageway of the branch towards the motorway, its loop and its right turn.

    Args:
        site: Extended by them.
        size: Of the trumpet.
        frame: Of the motorway.
        feet: Where the right turn and the loop join the motorway.
        top: The bridge.
    """

    def edit(way: Carriageway, deck: Deck) -> None:
        reach = size.edge + bend_reach(*size.right, QUARTER) + MARGIN
        at = way.station_of(*frame.pose(size.beside, -reach)[:2])
        length = 0.0 if size.two else BRANCH_BESIDE
        start = site.foot(way, at, deck.leave(at, 1, length, BRANCH_TAPER))
        site.ramp(start, feet[0], [meeting(start, feet[0], size.right)], most=BRANCH_LIMIT)

    start = Foot(frame.pose(size.beside, -size.south, QUARTER), site.width)
    v = frame.place(feet[1].pose)[1]
    corner = frame.at(size.beside, v, *size.loop, around=True, heading=math.pi)
    lanes = 2 if size.two else 1
    return site.branch(start, feet[1], [corner], lanes, most=BRANCH_LIMIT, bridge=top, edit=edit)


def _southbound(
    site: Site, size: _Trumpet, frame: Frame, feet: tuple[Foot, Foot], top: Bridge
) -> Carriageway:
    """Adds the carriageway of the branch away from the motorway, and the right turn onto it.

    Args:
        site: Extended by them.
        size: Of the trumpet.
        frame: Of the motorway.
        feet: Where the right turn and the ramp around the loop leave the motorway.
        top: The bridge.
    """

    def edit(way: Carriageway, deck: Deck) -> None:
        reach = size.edge + bend_reach(*size.right, QUARTER) + MARGIN
        at = way.station_of(*frame.pose(-size.beside, -reach)[:2])
        length = 0.0 if size.two else BRANCH_BESIDE
        end = site.foot(way, at, deck.enter(at, 1, length, BRANCH_TAPER))
        site.ramp(feet[0], end, [meeting(feet[0], end, size.right)], most=BRANCH_LIMIT)

    end = Foot(frame.pose(-size.beside, -size.south, -QUARTER), site.width)
    ahead = bend_reach(*LEAD_BEND, size.slant) + 2.0
    lead = feet[1].ahead(ahead, *LEAD_BEND)
    u, v = frame.place(feet[1].pose.moved(ahead))
    corner = frame.at(-size.beside, v + (u + size.beside) * math.tan(size.slant), *size.outer)
    return site.branch(feet[1], end, [lead, corner], 1, most=BRANCH_LIMIT, bridge=top, edit=edit)


FORK_LEAD = (220.0, 60.0)
"""In which the branch of a fork leaves the motorway."""

FORK_RISE = 200.0
FORK_ARM = 200.0
"""Length of the motorway that goes straight on, before its bend [m]."""

FORK_BRANCH = 300.0
"""Length of the branch beyond its bend [m]."""

FORK_GAP = 6.0
"""Between the carriageways of the branch [m]."""

DROP = 120.0
"""Length over which the fourth lane behind a merge ends [m]."""


@dataclass(frozen=True, slots=True)
class _Fork:
    """Sizes of a fork [m]."""

    angle: float
    """Between the motorways [rad]."""

    edge: float
    """From the middle of the motorway to that of the two lanes that merge."""

    merge: Bend
    over: Bend
    """Before the bridge."""

    flat: float
    """Half the length of the level top of the bridge."""

    join: float
    """Where the branch joins; the corner of its bend lies at 0."""

    shift: float
    """Where the other carriageway of the branch would meet the merging lanes."""

    corner: tuple[float, float]
    """Of the other carriageway, behind the bridge."""

    slant: float
    """By how much that carriageway first turns away [rad]."""

    leave: float
    """Where it leaves."""


def _measure_fork(site: Site, style: Style) -> _Fork:
    """Draws the sizes of a fork."""
    draws, width = site.draws, site.width
    angle = math.radians(draws.within(site.family.fork))
    slant = math.radians(draws.within((17.0, 21.0)))
    # Two of four lanes leave and join, however many there are beyond.
    edge = 0.5 * style.median + 3.0 * width
    merge = (draws.within((170.0, 240.0)), 60.0)
    over = (draws.within((150.0, 190.0)), 60.0)
    across = 0.5 * style.median + 4.0 * width + style.shoulder
    flat = across / math.sin(angle) + VERGE
    shift = -(FORK_GAP + 2.0 * width) / math.sin(angle)
    up = (bend_reach(*over, angle + slant) + flat + MARGIN) * math.sin(angle)
    corner = shift + (up + edge) / math.tan(angle)
    away = (up - edge) / math.tan(slant)
    leave = corner + away + bend_reach(*FORK_LEAD, slant) + MARGIN
    join = bend_reach(*merge, angle) + MARGIN
    return _Fork(angle, edge, merge, over, flat, join, shift, (corner, up), slant, leave)


def fork(site: Site) -> None:
    """Lays out two motorways that become one: carriageways merge and part, one on a bridge."""
    draws = site.draws
    trunk = 4 if draws.chance(site.family.fork_of_four) else 3
    style = draw_style(site, returns=False, lanes=2)
    style.lanes = (2, trunk)
    size = _measure_fork(site, style)
    west = size.edge / math.tan(size.angle) + FORK_ARM
    changes = style.aside + (DROP if trunk == 3 else 0.0)
    east = max(size.leave, size.join) + changes + style.taper + style.closing(1)
    axis = axis_along(site, (west, size.leave + 60.0), (west + 190.0, east))
    motorway = lay_out(site, axis, hump(axis.length, [], 0.0, 0.0, 1.0), style)
    frame = motorway.frame(0.0, 0.0)
    ahead = Deck(motorway.ahead, 2)
    at = motorway.ahead.station_of(0.0, 0.0) + size.join
    merged = site.foot(motorway.ahead, at, ahead.enter(at, 2, 0.0, 0.0))
    if trunk == 3:
        ahead.drop(at + style.aside + DROP, DROP)
    end_lanes(ahead, style.left[1], site=site)
    back = begin_lanes(motorway, style, back=True, site=site)
    at = motorway.back.station_of(0.0, 0.0) - size.leave
    new = 4 - trunk
    parted = site.foot(motorway.back, at, back.leave(at, 2, style.aside, style.taper, new=new))
    back.close()
    branch = _fork_branch(site, size, style, frame, (merged, parted))
    sign_limits(motorway, style)
    kind = draws.by_share(site.family.closing)
    ends = close_ends(site, motorway, (kind, "loop"))
    (other, _) = close_ends(site, branch, (kind, kind), (0,))
    if other >= 0:
        site.road(other, ends[0], [], LIMITS[4], 1)


def _fork_branch(
    site: Site, size: _Fork, style: Style, frame: Frame, feet: tuple[Foot, Foot]
) -> Motorway:
    """Adds the carriageways of the branch of a fork and returns them.

    Args:
        site: Extended by them.
        size: Of the fork.
        style: Of the motorway.
        frame: Of the motorway.
        feet: Where the branch joins and where it leaves.
    """
    merged, parted = feet
    length = bend_reach(*size.merge, size.angle) + FORK_BRANCH
    v = frame.place(merged.pose)[1]
    away = frame.pose(0.0, v, size.angle).moved(-length)
    limit = min(style.limit, LIMITS[7])
    corner = frame.at(0.0, v, *size.merge)
    merging = site.branch(Foot(away, site.width), merged, [corner], 2, most=limit)
    apart = FORK_GAP + 2.0 * site.width
    end = Foot(away.moved(0.0, apart).reversed(), site.width)
    across = frame.pose(size.shift - v / math.tan(size.angle), 0.0)
    bridge = Bridge(across, abs(style.clearance), size.flat, FORK_RISE)
    u, up = size.corner
    lead = parted.ahead(bend_reach(*FORK_LEAD, size.slant) + 2.0, *FORK_LEAD)
    parting = site.branch(
        parted, end, [lead, frame.at(u, up, *size.over)], 2, most=limit, bridge=bridge
    )
    return Motorway(merging.line, merging, parting)


CLOVER_SPIRAL = 0.5
"""Length of clothoids of the loops over their radius."""

CLOVER_RISE = 230.0
CLOVER_CLEAR = 20.0
"""From the middle of a loop's lane to that of the ramp around it [m]."""

CLOVER_LIMIT = LIMITS[7]
CLOVER_ASIDE = 180.0
"""Length of lanes beside ramps at most [m]."""


def cloverleaf(site: Site) -> None:
    """Lays out two motorways that cross, with loops in all quadrants and ramps around them."""
    draws = site.draws
    style = draw_style(site, returns=False, lanes=2)
    style.aside = min(style.aside, CLOVER_ASIDE)
    radius = draws.within(site.family.clover_radius)
    loop = (radius, CLOVER_SPIRAL * radius)
    outer = (draws.within((85.0, 105.0)), 40.0)
    edge = 0.5 * style.median + (style.inside + 0.5) * site.width
    inside = edge - bend_reach(*loop, LOOP) - 0.5
    corner = 2.0 * (edge + radius + 2.0) + math.sqrt(2.0) * (radius + CLOVER_CLEAR) - edge
    gore = corner + bend_reach(*outer, 0.25 * math.pi) + MARGIN
    reach = gore + style.aside + style.taper + style.closing(0)
    ways = []
    for angle, height in ((0.0, 0.0), (QUARTER, abs(style.clearance))):
        style.limit = min(draws.by_share(site.family.limits) / 3.6, CLOVER_LIMIT)
        axis = axis_along(site, (gore + 50.0, gore + 50.0), (reach, reach))
        flat = half_width(site, style) + VERGE
        heights = hump(axis.length, [station_of_origin(axis)], height, flat, CLOVER_RISE)
        ways.append(lay_out(site, turned_line(axis, angle), heights, style))
        sign_limits(ways[-1], style)
    feet = []
    for k in range(4):
        deck = begin_lanes(ways[k % 2], style, back=k >= 2, site=site)
        feet.append(_clover_lanes(site, deck, style, (gore, inside)))
        end_lanes(deck, 2, site=site)
    for k in range(4):
        frame = Frame(Pose(0.0, 0.0, k * QUARTER))
        turn = frame.at(edge, -edge, *loop, around=True, heading=QUARTER)
        site.ramp(feet[k][2], feet[(k + 1) % 4][1], [turn], most=LIMITS[3], backwards=True)
        corners = [frame.at(-corner, -edge, *outer), frame.at(-edge, -corner, *outer)]
        site.ramp(feet[k][0], feet[k - 1][3], corners)
    for motorway in ways:
        close_ends(site, motorway, style.endings)


def _clover_lanes(site: Site, deck: Deck, style: Style, gores: tuple[float, float]) -> list[Foot]:
    """Adds the lanes beside the ramps of one direction of a cloverleaf.

    Args:
        site: For the feet.
        deck: Lanes of the direction.
        style: Of the motorway.
        gores: From the crossing to where outer ramps and loops leave and join [m].

    Returns:
        Feet of the outer ramp that leaves, of the loop that joins, of the loop that leaves and of
        the outer ramp that joins; a lane runs from loop to loop.
    """
    middle = deck.way.station_of(0.0, 0.0)
    outer, inner = gores
    at = (middle - outer, middle - inner, middle + inner, middle + outer)
    slots = [deck.leave(at[0], 1, style.aside, style.taper)]
    slots.append(deck.enter(at[1], 1, 0.0, 0.0))
    slots.append(deck.leave(at[2], 1, 0.0, 0.0))
    slots.append(deck.enter(at[3], 1, style.aside, style.taper))
    return [site.foot(deck.way, s, own) for s, own in zip(at, slots, strict=True)]
