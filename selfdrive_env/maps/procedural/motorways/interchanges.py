"""Interchanges of a motorway with a road that crosses it: diamonds, half cloverleaves, weaving."""

from __future__ import annotations

import math

from selfdrive_env.maps.procedural.motorways.alignment import (
    LIMITS,
    Corner,
    bend_reach,
    hump,
    station_of_origin,
)
from selfdrive_env.maps.procedural.motorways.mainline import (
    Style,
    axis_along,
    begin_lanes,
    close_ends,
    draw_style,
    end_lanes,
    lay_out,
    sign_limits,
)
from selfdrive_env.maps.procedural.motorways.ramps import (
    ROAD_BEND,
    add_terminal,
    dead_end,
    off_ramp,
    on_ramp,
    road_limit,
    road_to_end,
)
from selfdrive_env.maps.procedural.motorways.site import Deck, Frame, Site

__all__ = ["diamond", "parclo", "weave"]

FLAT = 16.0
"""Half the length of the level top of a bridge over a road [m]."""

RISE = 270.0
"""Length of the rise to it on either side [m]."""

CROSSROAD_LIMIT = LIMITS[2]
DIAMOND_GORE = (345.0, 370.0)
"""From the crossing to where ramps leave and join [m]."""

DIAMOND_NODE = (72.0, 84.0)
"""From the crossing to the nodes, across the motorway [m]."""

WEAVE_GORE = (345.0, 360.0)
WEAVE_NODE = (68.0, 76.0)
LOOP_SPIRAL = 0.6
"""Length of clothoids of a loop over its radius."""

SLANT = math.radians(50.0)
"""By how much the ramp around a loop turns towards the motorway."""

OUTER_BENDS = ((60.0, 24.0), (100.0, 40.0))
"""Bends of that ramp."""

CLEAR = 16.0
"""Between the corners of a loop and those of the ramp around it [m]."""

TWO_WAY_STUB = 50.0
APART = 1.0
"""Half the way between ramps that run beside each other [m]."""


def _reach(style: Style, gore: float) -> tuple[float, float]:
    """Returns how far the motorway goes to either side [m]."""
    far = gore + style.aside + style.taper
    return far + style.closing(0), far + style.closing(1)


def _crossroad(site: Site, nodes: list[int], angle: float, keys: list[int]) -> None:
    """Adds the road between the nodes on either side, and what it leads to.

    Args:
        site: Extended by the roads.
        nodes: South and north of the motorway.
        angle: Direction of the road from south to north [rad].
        keys: Of the roundabouts at the ends of the motorway, -1 for loops.
    """
    site.road(nodes[0], nodes[1], [], CROSSROAD_LIMIT, 2)
    swapped = site.draws.chance(0.5)
    for side, node in enumerate(nodes):
        end = keys[1 - side if swapped else side]
        heading = angle if side else angle + math.pi
        if end >= 0:
            road_to_end(site, node, heading, end)
        else:
            dead_end(site, node, heading)


def diamond(site: Site) -> None:
    """Lays out a motorway with ramps on all sides of a road that crosses it."""
    draws = site.draws
    style = draw_style(site, returns=True)
    gore, away = draws.within(DIAMOND_GORE), draws.within(DIAMOND_NODE)
    axis = axis_along(site, (gore + 60.0, gore + 60.0), _reach(style, gore))
    heights = hump(axis.length, [station_of_origin(axis)], style.clearance, FLAT, RISE)
    motorway = lay_out(site, axis, heights, style)
    angle = math.radians(draws.within(site.family.crossing))
    nodes = []
    for back in (False, True):
        frame = motorway.frame(0.0, 0.0, back=back)
        deck = begin_lanes(motorway, style, back=back, site=site)
        middle = deck.way.station_of(0.0, 0.0)
        node = add_terminal(site, frame.at(-away / math.tan(angle), -away))
        nodes.append(node)
        off_ramp(site, deck, frame, middle - gore, node, style, back=back)
        on_ramp(site, deck, frame, middle + gore, node, style, back=back)
        end_lanes(deck, style.left[0 if back else 1], site=site)
    sign_limits(motorway, style)
    _crossroad(site, nodes, angle, close_ends(site, motorway, style.endings))


def parclo(site: Site) -> None:
    """Lays out a motorway with loops in two quadrants and ramps around them."""
    draws = site.draws
    style = draw_style(site, returns=True)
    radius = draws.within(site.family.loop_radius)
    tangent = bend_reach(radius, LOOP_SPIRAL * radius, 0.5 * math.pi)
    edge = 0.5 * style.median + (style.inside + 0.5) * site.width
    away = edge + 2.0 * tangent + draws.within((10.0, 24.0))
    angle = math.radians(draws.within(site.family.crossing_loops))
    leave = draws.within((45.0, 60.0))
    turning = leave + tangent + draws.within((40.0, 60.0))
    last = bend_reach(*OUTER_BENDS[1], SLANT)
    enter = turning + CLEAR + away / math.tan(SLANT) + last + 4.0
    axis = axis_along(site, (enter + 60.0, enter + 60.0), _reach(style, enter))
    heights = hump(axis.length, [station_of_origin(axis)], style.clearance, FLAT, RISE)
    motorway = lay_out(site, axis, heights, style)
    nodes = []
    for back in (False, True):
        frame = motorway.frame(0.0, 0.0, back=back)
        deck = begin_lanes(motorway, style, back=back, site=site)
        node = add_terminal(site, frame.at(-away / math.tan(angle), -away))
        nodes.append(node)
        loop = (turning, radius, LOOP_SPIRAL * radius)
        _folded(site, deck, frame, node, (leave, enter), loop, style, back=back)
        end_lanes(deck, style.left[0 if back else 1], site=site)
    sign_limits(motorway, style)
    _crossroad(site, nodes, angle, close_ends(site, motorway, style.endings))


def _folded(
    site: Site,
    deck: Deck,
    frame: Frame,
    node: int,
    gores: tuple[float, float],
    loop: tuple[float, float, float],
    style: Style,
    *,
    back: bool,
) -> None:
    """Adds the two ramps of a quadrant: off by a loop, on by a ramp around it.

    Args:
        site: Extended by the ramps.
        deck: Lanes of the motorway.
        frame: Its direction of travel.
        node: Key of the node at which both meet the other road.
        gores: How far behind the crossing they leave and join [m].
        loop: Where it turns, its radius and the length of its clothoids [m].
        style: Of the motorway.
        back: The lanes are those against the motorway's line.
    """
    off, on = (deck.way.station_of(0.0, 0.0) + gore for gore in gores)
    lengths = [style.beside(back=back, leaving=leaving) for leaving in (True, False)]
    start = site.foot(deck.way, off, deck.leave(off, 1, lengths[0], style.taper))
    end = site.foot(deck.way, on, deck.enter(on, 1, lengths[1], style.taper))
    into, out = site.stub(node, frame.origin.heading, TWO_WAY_STUB, (1, 1), far=(APART, APART))
    v = [frame.place(foot.pose)[1] for foot in (start, into, out, end)]
    turning, radius, spiral = loop
    corners = [frame.at(turning, side, radius, spiral) for side in v[:2]]
    site.ramp(start, into, corners, most=LIMITS[4])
    first = turning + CLEAR
    second = first + (v[3] - v[2]) / math.tan(SLANT)
    corners = [frame.at(first, v[2], *OUTER_BENDS[0]), frame.at(second, v[3], *OUTER_BENDS[1])]
    site.ramp(out, end, corners)


def weave(site: Site) -> None:
    """Lays out a motorway between two roads, with ramps in between only: lanes weave there."""
    draws = site.draws
    most = 3 if draws.chance(site.family.weave_of_three) else 2
    style = draw_style(site, returns=False, lanes=most)
    gore, away = draws.within(WEAVE_GORE), draws.within(WEAVE_NODE)
    half = gore + 0.5 * draws.within(site.family.weaving)
    reach = [half + FLAT + max(RISE, style.closing(end) + 40.0) for end in (0, 1)]
    axis = axis_along(site, (half + 40.0, half + 40.0), (reach[0], reach[1]))
    middle = station_of_origin(axis)
    tops = [middle - half, middle + half]
    motorway = lay_out(site, axis, hump(axis.length, tops, style.clearance, FLAT, RISE), style)
    nodes = {
        (back, end): add_terminal(site, motorway.frame(end * half, 0.0, back=back).at(0.0, -away))
        for back in (False, True)
        for end in (-1, 1)
    }
    for back in (False, True):
        frame = motorway.frame(0.0, 0.0, back=back)
        deck = begin_lanes(motorway, style, back=back, site=site)
        middle = deck.way.station_of(0.0, 0.0)
        first, last = (nodes[back, -1], nodes[back, 1])[:: -1 if back else 1]
        on_ramp(site, deck, frame, middle - half + gore, first, None, back=back)
        off_ramp(site, deck, frame, middle + half - gore, last, None, back=back)
        end_lanes(deck, style.left[0 if back else 1], site=site)
    sign_limits(motorway, style)
    close_ends(site, motorway, style.endings)
    _weave_roads(site, nodes, half, away)


def _weave_roads(site: Site, nodes: dict[tuple[bool, int], int], half: float, away: float) -> None:
    """Adds the two roads across the motorway, and one that joins them.

    Args:
        site: Extended by the roads.
        nodes: By side of the motorway and place along it.
        half: From the middle to either road [m].
        away: From the motorway to its nodes [m].
    """
    draws = site.draws
    radius = draws.within(ROAD_BEND)
    spiral = 0.3 * radius
    joined = draws.chance(0.5)
    for back in (False, True):
        side = 1.0 if back else -1.0
        if back == joined:
            out = bend_reach(radius, spiral, 0.5 * math.pi) + draws.within((40.0, 70.0))
            corners = [Corner(end * half, side * (away + out), radius, spiral) for end in (-1, 1)]
            site.road(nodes[back, -1], nodes[back, 1], corners, road_limit(radius), 1)
            continue
        for end in (-1, 1):
            dead_end(site, nodes[back, end], side * 0.5 * math.pi)
    for end in (-1, 1):
        site.road(nodes[False, end], nodes[True, end], [], CROSSROAD_LIMIT, 2)
