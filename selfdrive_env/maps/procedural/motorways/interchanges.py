"""Interchanges of a motorway with a road that crosses it: diamonds, half cloverleaves, weaving."""

from __future__ import annotations

import math

from selfdrive_env.maps.procedural.motorways.alignment import LIMITS, Corner
from selfdrive_env.maps.procedural.motorways.mainline import (
    Motorway,
    axis_along,
    lay_out,
    narrow_down,
    sign_limits,
    widen,
)
from selfdrive_env.maps.procedural.motorways.ramps import (
    ROAD_BEND,
    Style,
    close_ends,
    dead_end,
    draw_style,
    hump_over,
    road_limit,
    road_to_end,
    two_bends,
)
from selfdrive_env.maps.procedural.motorways.site import Deck, Frame, Site

__all__ = ["deck_of", "diamond", "end_deck", "parclo", "sign", "station_of_origin", "weave"]

GORE_BEND = (260.0, 60.0)
"""Radius and length of clothoids of the bend in which a ramp leaves the motorway [m]."""

NODE_BEND = (110.0, 40.0)
"""The same of the bend before the other road [m]."""

FLAT = 16.0
"""Half the length of the level top of a bridge over a road [m]."""

RISE = 270.0
START = 40.0
"""From the end of a motorway to where its lanes open [m]."""

STUB = 50.0
"""Length of the straight end of a ramp at the other road [m]."""

FLARED_STUB = 85.0
"""The same where a lane opens before the other road [m]."""

TWO_WAY_STUB = 50.0
APART = 1.0
"""Half the way between lanes of ramps that run beside each other [m]."""


def _control(site: Site, x: float, y: float) -> int:
    """Adds the node between ramps and the other road."""
    draws = site.draws
    control = draws.by_share(site.family.terminals)
    if control == "roundabout":
        return site.node(x, y, control=control, radius=draws.within((17.0, 21.0)))
    kerb = draws.within((8.0, 12.0))
    walks = control == "signals" and draws.chance(0.5)
    return site.node(x, y, control=control, kerb=kerb, crosswalks=walks)


def _reach(site: Site, style: Style, gores: tuple[float, float]) -> tuple[float, float]:
    """Returns how far the motorway goes to either side [m]."""
    aside = style.aside + style.taper
    return (gores[0] + aside + style.closing(0), gores[1] + aside + style.closing(1))


def deck_of(site: Site, motorway: Motorway, style: Style, *, back: bool) -> Deck:
    """Begins the lanes of a direction."""
    deck = Deck(motorway.side(back=back), style.left[1 if back else 0])
    widen(site, deck, style.lanes, START)
    return deck


def end_deck(site: Site, deck: Deck, style: Style, *, back: bool) -> None:
    """Ends the lanes of a direction."""
    left = style.left[0 if back else 1]
    narrow_down(site, deck, left, deck.way.length - 40.0)
    deck.close()


def sign(motorway: Motorway, style: Style) -> None:
    for back in (False, True):
        kinds = style.endings[::-1] if back else style.endings
        sign_limits(motorway.side(back=back), kinds[0], kinds[1])


def _crossroad(
    site: Site, motorway: Motorway, style: Style, nodes: list[int], angle: float, keys: list[int]
) -> None:
    """Adds the road between the nodes on either side, and what it leads to.

    Args:
        site: Extended by the roads.
        motorway: That it crosses.
        style: Of the motorway.
        nodes: South and north of the motorway.
        angle: Direction of the road from south to north [rad].
        keys: Of the roundabouts at the ends of the motorway, -1 for loops.
    """
    site.road(nodes[0], nodes[1], [], LIMITS[2], 2)
    swapped = site.draws.chance(0.5)
    for side, node in enumerate(nodes):
        end = 1 - side if swapped else side
        heading = angle if side else angle + math.pi
        if keys[end] >= 0:
            road_to_end(site, node, heading, keys[end], motorway, at_start=end == 0)
        else:
            dead_end(site, node, heading, site.draws.within((90.0, 140.0)))


def diamond(site: Site) -> None:
    """A motorway with a diamond: ramps on either side of a road that crosses it."""
    draws = site.draws
    style = draw_style(site, returns=True)
    gore, away = draws.within((370.0, 400.0)), draws.within((72.0, 84.0))
    axis = axis_along(site, (gore + 60.0, gore + 60.0), _reach(site, style, (gore, gore)))
    middle = station_of_origin(axis)
    heights = hump_over(axis.length, [middle], style.clearance, FLAT, RISE)
    motorway = lay_out(site, axis, heights, style.limit, style.median, style.shoulder)
    angle = math.radians(draws.within(site.family.crossing))
    nodes = []
    for back in (False, True):
        frame = motorway.frame(0.0, 0.0, back=back)
        place = frame.at(-away / math.tan(angle), -away)
        nodes.append(_control(site, place.x, place.y))
    for back in (False, True):
        frame, deck = motorway.frame(0.0, 0.0, back=back), deck_of(site, motorway, style, back=back)
        middle = deck.way.station_of(0.0, 0.0)
        node = nodes[1 if back else 0]
        aside = 0.0 if style.exit_only[back] else style.aside
        _off_ramp(site, deck, frame, middle - gore, node, aside, style.taper)
        _on_ramp(site, deck, frame, middle + gore, node, aside, style.taper)
        end_deck(site, deck, style, back=back)
    sign(motorway, style)
    keys = close_ends(site, motorway, style.endings)
    _crossroad(site, motorway, style, nodes, angle, keys)


def station_of_origin(axis: object) -> float:
    """Returns the station of the origin on a line along +x that is straight there [m]."""
    import numpy as np

    from selfdrive_env.maps.towns.centre_lines import CentreLine, evaluate

    assert isinstance(axis, CentreLine)  # noqa: S101
    s = np.arange(0.0, axis.length, 1.0)
    x, y, _ = evaluate(axis, s)
    near = int(np.argmin(np.hypot(x, y)))
    return float(s[near] - x[near])


def _off_ramp(
    site: Site, deck: Deck, frame: Frame, at: float, node: int, aside: float, taper: float
) -> None:
    """Adds a ramp from the motorway to a node, which it reaches in the direction of travel."""
    start = site.foot(deck.way, at, deck.leave(at, 1, aside, taper))
    heading = frame.origin.heading + math.pi
    flare = site.draws.chance(0.6) and site.plan.nodes[node].control != "roundabout"
    into, _ = site.stub(node, heading, _stub_length(site, node, flare), (1, 0), flare=flare)
    site.ramp(start, into, two_bends(start, into, GORE_BEND, NODE_BEND))


def _stub_length(site: Site, node: int, flare: bool) -> float:
    """Returns how far from a node the straight end of a ramp begins [m]."""
    about = site.plan.nodes[node]
    if about.control == "roundabout":
        return STUB + about.radius
    return FLARED_STUB if flare else STUB


def _on_ramp(
    site: Site, deck: Deck, frame: Frame, at: float, node: int, aside: float, taper: float
) -> None:
    """Adds a ramp from a node to the motorway."""
    end = site.foot(deck.way, at, deck.enter(at, 1, aside, taper))
    _, out = site.stub(node, frame.origin.heading, _stub_length(site, node, False), (0, 1))
    site.ramp(out, end, two_bends(out, end, NODE_BEND, GORE_BEND))


def parclo(site: Site) -> None:
    """A motorway with a half cloverleaf: loops in two quadrants, ramps around them."""
    draws = site.draws
    style = draw_style(site, returns=True)
    radius = draws.within(site.family.loop_radius)
    spiral = 0.6 * radius
    tangent = radius + 0.5 * spiral + spiral**2 / (24.0 * radius)
    edge = 0.5 * style.median + (style.lanes + 0.5) * site.width
    away = edge + 2.0 * tangent + draws.within((6.0, 20.0))
    angle = math.radians(draws.within((86.0, 94.0)))
    leave = draws.within((45.0, 60.0))
    turning = leave + tangent + draws.within((40.0, 60.0))
    slant = math.radians(50.0)
    enter = turning + 16.0 + away / math.tan(slant) + 100.0 * math.tan(0.5 * slant) + 32.0
    axis = axis_along(site, (enter + 60.0,) * 2, _reach(site, style, (enter, enter)))
    heights = hump_over(axis.length, [station_of_origin(axis)], style.clearance, FLAT, RISE)
    motorway = lay_out(site, axis, heights, style.limit, style.median, style.shoulder)
    nodes = []
    for back in (False, True):
        frame, deck = motorway.frame(0.0, 0.0, back=back), deck_of(site, motorway, style, back=back)
        middle = deck.way.station_of(0.0, 0.0)
        place = frame.at(-away / math.tan(angle), -away)
        node = _control(site, place.x, place.y)
        nodes.append(node)
        aside = 0.0 if style.exit_only[back] else style.aside
        start = site.foot(
            deck.way, middle + leave, deck.leave(middle + leave, 1, aside, style.taper)
        )
        end = site.foot(
            deck.way, middle + enter, deck.enter(middle + enter, 1, aside, style.taper)
        )
        into, out = site.stub(
            node, frame.origin.heading, TWO_WAY_STUB, (1, 1), far=(APART, APART)
        )
        v = [frame.place(foot.pose.x, foot.pose.y)[1] for foot in (start, into, out, end)]
        corners = [frame.at(turning, value, radius, spiral) for value in v[:2]]
        site.ramp(start, into, corners, most=LIMITS[4])
        first = frame.at(turning + 16.0, v[2], 60.0, 24.0)
        last = frame.at(turning + 16.0 + (v[3] - v[2]) / math.tan(slant), v[3], 100.0, 40.0)
        site.ramp(out, end, [first, last])
        end_deck(site, deck, style, back=back)
    sign(motorway, style)
    keys = close_ends(site, motorway, style.endings)
    _crossroad(site, motorway, style, nodes, angle, keys)


def weave(site: Site) -> None:
    """A motorway between two roads, each with ramps on one side only: lanes weave in between."""
    draws = site.draws
    style = draw_style(site, returns=False)
    gore, away = draws.within((370.0, 385.0)), draws.within((68.0, 76.0))
    half = gore + draws.within((115.0, 165.0))
    reach = tuple(half + FLAT + max(RISE, style.closing(end) + 60.0) for end in (0, 1))
    axis = axis_along(site, (half + 40.0,) * 2, (reach[0], reach[1]))
    middle = station_of_origin(axis)
    tops = [middle - half, middle + half]
    heights = hump_over(axis.length, tops, style.clearance, FLAT, RISE)
    motorway = lay_out(site, axis, heights, style.limit, style.median, style.shoulder)
    nodes: dict[tuple[bool, int], int] = {}
    for back in (False, True):
        for end in (-1, 1):
            frame = motorway.frame(end * half, 0.0, back=back)
            place = frame.at(0.0, -away)
            nodes[back, end] = _control(site, place.x, place.y)
    for back in (False, True):
        deck = deck_of(site, motorway, style, back=back)
        middle = deck.way.station_of(0.0, 0.0)
        frame = motorway.frame(0.0, 0.0, back=back)
        first, last = (nodes[back, -1], nodes[back, 1])[:: -1 if back else 1]
        _on_ramp(site, deck, frame, middle - half + gore, first, 0.0, 0.0)
        _off_ramp(site, deck, frame, middle + half - gore, last, 0.0, 0.0)
        end_deck(site, deck, style, back=back)
    sign(motorway, style)
    close_ends(site, motorway, style.endings)
    radius, spiral = draws.within(ROAD_BEND), 30.0
    returning = draws.chance(0.5)
    for back in (False, True):
        if back != returning:
            for end in (-1, 1):
                heading = math.copysign(0.5 * math.pi, 1.0 if back else -1.0)
                dead_end(site, nodes[back, end], heading, draws.within((90.0, 130.0)))
            continue
        side = 1.0 if back else -1.0
        out = side * (away + radius + 0.5 * spiral + draws.within((30.0, 60.0)))
        corners = [Corner(end * half, out, radius, spiral) for end in (-1, 1)]
        site.road(nodes[back, -1], nodes[back, 1], corners, road_limit(radius), 1)
    for end in (-1, 1):
        site.road(nodes[False, end], nodes[True, end], [], LIMITS[2], 2)
