"""Interchanges of motorways with each other: trumpets, forks and cloverleaves."""

from __future__ import annotations

import math

import numpy as np

from selfdrive_env.maps.procedural.motorways.alignment import LIMITS, Corner, Profile
from selfdrive_env.maps.procedural.motorways.carriageways import Carriageway
from selfdrive_env.maps.procedural.motorways.interchanges import deck_of, end_deck, sign
from selfdrive_env.maps.procedural.motorways.mainline import (
    Motorway,
    axis_along,
    lay_out,
    turned_line,
)
from selfdrive_env.maps.procedural.motorways.ramps import (
    Style,
    clover_tangent,
    close_ends,
    draw_style,
    hump_over,
)
from selfdrive_env.maps.procedural.motorways.site import Deck, Foot, Frame, Site
from selfdrive_env.maps.towns.centre_lines import CentreLine, Pose, chain

__all__ = ["cloverleaf", "fork", "trumpet"]

HALF_LOOP = 1.5 * math.pi
BRANCH_LIMIT = LIMITS[6]
BRANCH_RISE = 190.0
"""Length of the rise of a branch to its bridge [m]."""

MERGE = (120.0, 55.0)
"""Length of lanes on the branch beside its own, and over which they open and end [m]."""


def _hump_along(line: CentreLine, at: float, height: float, flat: float, rise: float) -> Profile:
    return hump_over(line.length, [at], height, flat, rise)


def _width_across(site: Site, style: Style) -> float:
    """Half of the width of a motorway with one more lane on either side [m]."""
    return 0.5 * style.median + (style.lanes + 1) * site.width + style.shoulder


def trumpet(site: Site) -> None:
    """A motorway and a branch that ends at it: one loop, the ramps around it, a bridge."""
    draws = site.draws
    style = draw_style(site, returns=False)
    two = draws.chance(0.6)
    loop = draws.within(site.family.loop_radius)
    spiral = 0.6 * loop
    tangent = -clover_tangent(loop, spiral, -HALF_LOOP)
    beside = 0.5 * 3.0 + 0.5 * site.width
    c = 0.5 * style.median + (style.lanes + 0.5) * site.width
    # The ramp around the loop keeps clear of its centre by the radius and some more.
    slant = math.radians(draws.within((26.0, 32.0)))
    centre = (beside + loop + 1.0, c + loop + 1.0)
    clear = (loop + 22.0) / math.cos(slant)
    top = centre[1] + (centre[0] + beside) * math.tan(slant) + clear
    outer = (draws.within((52.0, 60.0)), 24.0)
    lead = (140.0, 50.0)
    bend = clover_tangent(lead[0], lead[1], slant)
    turn_off = (top - c) / math.tan(slant) - beside
    leave = turn_off + bend + 4.0
    right = (draws.within((75.0, 100.0)), 36.0)
    cut = clover_tangent(*right, -0.5 * math.pi)
    gore = beside + site.width + cut + 4.0
    flat = _width_across(site, style) + 8.0
    reach = max(leave, gore) + style.aside + style.taper
    lengths = (reach + style.closing(0), reach + style.closing(1))
    axis = axis_along(site, (leave + 50.0, leave + 50.0), lengths)
    level = Profile(np.array([0.0, axis.length]), np.zeros(2))
    motorway = lay_out(site, axis, level, style.limit, style.median, style.shoulder)
    height = abs(style.clearance)
    frame = motorway.frame(0.0, 0.0)
    south = gore + c + MERGE[0] + MERGE[1] + (80.0 if two else 200.0) + 100.0
    decks = [deck_of(site, motorway, style, back=back) for back in (False, True)]
    middle = [deck.way.station_of(0.0, 0.0) for deck in decks]
    asides = [0.0 if only else style.aside for only in style.exit_only]

    off = decks[0].leave(middle[0] - gore, 1, asides[0], style.taper)
    on = decks[0].enter(middle[0] + gore, 1, asides[0], style.taper)
    exits = site.foot(decks[0].way, middle[0] - gore, off)
    entry = site.foot(decks[0].way, middle[0] + gore, on)
    west_off = decks[1].leave(middle[1] - leave, 1, asides[1], style.taper)
    join = middle[1] - (beside + tangent - 0.5)
    west_on = decks[1].enter(join, 1, asides[1], style.taper)
    for back in (False, True):
        end_deck(site, decks[back], style, back=back)

    def northbound(way: Carriageway, deck: Deck) -> None:
        at = way.station_of(*frame.pose(beside, -c - cut - 4.0)[:2])
        new = 0.0 if two else MERGE[0]
        start = site.foot(way, at, deck.leave(at, 1, new, MERGE[1]))
        site.ramp(start, entry, [_meet(start, entry, *right)], most=BRANCH_LIMIT)

    def southbound(way: Carriageway, deck: Deck) -> None:
        at = way.station_of(*frame.pose(-beside, -c - cut - 4.0)[:2])
        end = site.foot(way, at, deck.enter(at, 1, 0.0 if two else MERGE[0], MERGE[1]))
        site.ramp(exits, end, [_meet(exits, end, *right)], most=BRANCH_LIMIT)

    west = motorway.frame(0.0, 0.0, back=True)
    edge = frame.place(*site.foot(decks[1].way, join, west_on).pose[:2])[1]
    first = Foot(frame.pose(beside, -south, 0.5 * math.pi), site.width)
    last = site.foot(decks[1].way, join, west_on)
    north = site.branch(
        first,
        last,
        [frame.at(beside, edge, loop, spiral, around=True, heading=math.pi)],
        2 if two else 1,
        most=BRANCH_LIMIT,
        bridge=(frame.pose(beside, 0.0), height, flat, BRANCH_RISE),
        edit=northbound,
        widened=True,
    )
    first = site.foot(decks[1].way, middle[1] - leave, west_off)
    last = Foot(frame.pose(-beside, -south, -0.5 * math.pi), site.width)
    u = west.place(*first.pose[:2])
    corners = [
        west.at(u[0] + bend + 2.0, u[1], *lead),
        frame.at(-beside, u[1] * -1.0 + (leave - bend - 2.0 + beside) * math.tan(slant), *outer),
    ]
    down = site.branch(
        first,
        last,
        corners,
        1,
        most=BRANCH_LIMIT,
        bridge=(frame.pose(-beside, 0.0), height, flat, BRANCH_RISE),
        edit=southbound,
    )
    sign(motorway, style)
    close_ends(site, motorway, style.endings)
    branch = Motorway(axis, north, down, 3.0)
    close_ends(site, branch, ["loop", "loop"], (True, False))


def _meet(start: Foot, end: Foot, radius: float, spiral: float) -> Corner:
    """Returns the corner where the directions of two feet meet."""
    a, b = start.pose, end.pose
    sine = math.sin(b.heading - a.heading)
    dx, dy = b.x - a.x, b.y - a.y
    way = (dx * math.sin(b.heading) - dy * math.cos(b.heading)) / sine
    return start.ahead(way, radius, spiral)


def fork(site: Site) -> None:
    """Two motorways that become one: carriageways merge and part, one crosses on a bridge."""
    draws = site.draws
    trunk = draws.one_of((3, 4))
    style = draw_style(site, returns=False, lanes=2)
    angle = math.radians(draws.within((34.0, 52.0)))
    median, width = style.median, site.width
    slant = math.radians(draws.within((17.0, 21.0)))
    c_in = 0.5 * median + 3.0 * width
    c_out = 0.5 * median + (trunk - 1 + (1 if trunk == 3 else 0)) * width
    inner = (draws.within((170.0, 240.0)), 60.0)
    over = (draws.within((150.0, 190.0)), 60.0)
    lead = (220.0, 60.0)
    flat = 0.5 * (median + 8.0 * width + 2.0 * style.shoulder) / math.sin(angle) + 10.0
    # B arrives along its line, which meets the lanes that it becomes at the origin.
    cut = clover_tangent(*inner, -angle)
    apart = 6.0 + 2.0 * width
    over_cut = clover_tangent(*over, angle + slant)
    lead_cut = clover_tangent(*lead, -slant)
    crossing = -(c_in / math.tan(angle)) + 0.0
    shift = -apart / math.sin(angle)
    # Along the other carriageway of B, from where it crosses y = 0 to its corner.
    up = (over_cut + flat + 6.0) * math.sin(angle)
    corner_x = shift + (up + c_in) / math.tan(angle)
    leave = corner_x + (up - c_out) / math.tan(slant) + lead_cut + 4.0
    join = cut + 6.0
    west = max(-crossing, 0.0) + 200.0 + 190.0
    rest = (style.aside + style.taper if trunk == 3 else 40.0) + style.aside + 140.0
    reach = (west, max(leave, join) + rest + (120.0 if trunk == 4 else 0.0))
    axis = axis_along(site, (west - 190.0, leave + 60.0), reach)
    level = Profile(np.array([0.0, axis.length]), np.zeros(2))
    motorway = lay_out(site, axis, level, style.limit, median, style.shoulder)
    frame = motorway.frame(0.0, 0.0)
    ahead, back = Deck(motorway.ahead, 2), Deck(motorway.back, 2)
    middle = (motorway.ahead.station_of(0.0, 0.0), motorway.back.station_of(0.0, 0.0))
    joined = ahead.enter(middle[0] + join, 2, 0.0, 0.0)
    last = site.foot(motorway.ahead, middle[0] + join, joined)
    if trunk == 3:
        at = middle[0] + join + style.aside + 120.0
        ahead.drop(at, 120.0)
    style.lanes = trunk
    end_deck(site, ahead, style, back=False)
    from selfdrive_env.maps.procedural.motorways.mainline import widen

    widen(site, back, trunk, 40.0)
    off = back.leave(middle[1] - leave, 2, style.aside, style.taper, new=4 - trunk)
    back.close()
    first = site.foot(motorway.back, middle[1] - leave, off)
    far = -(cut + 300.0)
    away = Pose(*frame.pose(0.0, -c_in, angle)).moved(far)
    limit = min(style.limit, LIMITS[7])
    arriving = Foot(away, width)
    corner = frame.at(0.0, -c_in, *inner)
    merging = site.branch(arriving, last, [corner], 2, most=limit)
    leaving = Foot(away.moved(0.0, apart).reversed(), width)
    corners = [
        first.ahead(lead_cut + 2.0, *lead),
        frame.at(corner_x, up, *over),
    ]
    parting = site.branch(
        first,
        leaving,
        corners,
        2,
        most=limit,
        bridge=(frame.pose(shift + c_in / math.tan(angle), 0.0), abs(style.clearance), flat, 200.0),
    )
    sign(motorway, style)
    close_ends(site, motorway, style.endings)
    close_ends(site, Motorway(axis, merging, parting, apart), ["loop", "loop"], (True, False))


def cloverleaf(site: Site) -> None:
    """Two motorways that cross on a bridge, with loops in all quadrants and ramps around them."""
    draws = site.draws
    style = draw_style(site, returns=False, lanes=2)
    style.limit = min(style.limit, LIMITS[7])
    style.aside = min(style.aside, 180.0)
    other = draws.by_share(site.family.limits) / 3.6
    loop = draws.within((50.0, 60.0))
    spiral = 0.5 * loop
    tangent = -clover_tangent(loop, spiral, -HALF_LOOP)
    c = 0.5 * style.median + (style.lanes + 0.5) * site.width
    inside = c + tangent - 0.5
    outer = (draws.within((85.0, 105.0)), 40.0)
    corner = math.sqrt(2.0) * (math.sqrt(2.0) * (c + loop + 2.0) + loop + 20.0) - c
    cut = clover_tangent(*outer, -0.25 * math.pi)
    gore = corner + cut + 4.0
    reach = gore + style.aside + style.taper + style.closing(0)
    ways = []
    for angle, limit in ((0.0, style.limit), (0.5 * math.pi, min(other, LIMITS[7]))):
        axis = axis_along(site, (gore + 50.0,) * 2, (reach, reach))
        middle = _station(axis)
        height = abs(style.clearance) if angle else 0.0
        flat = _width_across(site, style) + 8.0
        heights = _hump_along(axis, middle, height, flat, 230.0)
        line = turned_line(axis, angle)
        ways.append(lay_out(site, line, heights, limit, style.median, style.shoulder))
    frames = [Frame(Pose(0.0, 0.0, 0.5 * math.pi * k)) for k in range(4)]
    sides = [(ways[k % 2], k >= 2) for k in range(4)]
    feet: list[dict[str, Foot]] = []
    for motorway, back in sides:
        deck = deck_of(site, motorway, style, back=back)
        way, middle = deck.way, deck.way.station_of(0.0, 0.0)
        at = {"off": middle - gore, "in": middle - inside}
        at |= {"out": middle + inside, "on": middle + gore}
        slots = {"off": deck.leave(at["off"], 1, style.aside, style.taper)}
        slots["in"] = deck.enter(at["in"], 1, 0.0, 0.0)
        slots["out"] = deck.leave(at["out"], 1, 0.0, 0.0)
        slots["on"] = deck.enter(at["on"], 1, style.aside, style.taper)
        feet.append({key: site.foot(way, at[key], own) for key, own in slots.items()})
        end_deck(site, deck, style, back=back)
    for k, frame in enumerate(frames):
        start, end = feet[k]["out"], feet[(k + 1) % 4]["in"]
        bend = frame.at(c, -c, loop, spiral, around=True, heading=0.5 * math.pi)
        site.ramp(start, end, [bend], most=LIMITS[3], backwards=True)
        start, end = feet[k]["off"], feet[k - 1]["on"]
        corners = [frame.at(-corner, -c, *outer), frame.at(-c, -corner, *outer)]
        site.ramp(start, end, corners)
    for motorway in ways:
        sign(motorway, style)
        close_ends(site, motorway, style.endings)


def _station(axis: CentreLine) -> float:
    from selfdrive_env.maps.procedural.motorways.interchanges import station_of_origin

    return station_of_origin(axis)


_ = chain
