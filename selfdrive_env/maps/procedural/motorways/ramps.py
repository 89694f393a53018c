"""Ramps between a motorway and the nodes of another road, and roads beside a motorway."""

from __future__ import annotations

import math

from selfdrive_env.maps.procedural.motorways.alignment import (
    LIMITS,
    Corner,
    bend_reach,
    fitting_limit,
)
from selfdrive_env.maps.procedural.motorways.mainline import Style
from selfdrive_env.maps.procedural.motorways.site import Deck, Foot, Frame, Site
from selfdrive_env.maps.towns.centre_lines import Pose

__all__ = ["ROAD_BEND", "add_terminal", "dead_end", "meeting", "off_ramp", "on_ramp",
    "road_around",
    "road_limit", "road_to_end", "two_bends"]  # fmt: skip

Bend = tuple[float, float]
"""Radius and length of the clothoids [m]."""

GORE_BEND = (210.0, 50.0)
"""In which a ramp leaves the motorway."""

NODE_BEND = (90.0, 30.0)
"""Before the other road."""

ROAD_BEND = (110.0, 150.0)
"""Radius of bends of roads beside a motorway [m]."""

ROAD_SPIRAL = 0.3
"""Length of their clothoids over the radius."""

ROAD_MOST = LIMITS[5]
DEAD_END = 12.0
"""Radius of the loop in which a dead end turns [m]."""

STUB = 50.0
"""Length of the straight end of a ramp at the other road [m]."""

FLARED_STUB = 85.0
"""The same where a lane opens before the other road [m]."""

TERMINAL_RING = (17.0, 21.0)
TERMINAL_KERB = (8.0, 12.0)


def add_terminal(site: Site, place: Corner | Pose) -> int:
    """Adds the node at which ramps meet the other road, and returns its key."""
    draws = site.draws
    control = draws.by_share(site.family.terminals)
    if control == "roundabout":
        return site.node(place, control, radius=draws.within(TERMINAL_RING))
    kerb = draws.within(TERMINAL_KERB)
    walks = draws.chance(site.family.crosswalks)
    return site.node(place, control, kerb=kerb, crosswalks=walks and control == "signals")


def two_bends(start: Foot, end: Foot, first: Bend, last: Bend) -> list[Corner]:
    """Returns the corners of a ramp that shifts to another line by two bends.

    Args:
        start: Where it begins.
        end: Where it ends.
        first: Bend at the start.
        last: Bend at the end.
    """
    turns = [0.4, 0.4]
    corners: list[Corner] = []
    for _ in range(12):
        corners = []
        for foot, bend, turn, sense in ((start, first, turns[0], 1.0), (end, last, turns[1], -1.0)):
            reach = bend[0] * math.tan(0.5 * turn) + 0.5 * bend[1] + 2.0
            corners.append(foot.ahead(sense * reach, *bend))
        heading = math.atan2(corners[1].y - corners[0].y, corners[1].x - corners[0].x)
        turns = [
            abs(math.remainder(heading - foot.pose.heading, 2.0 * math.pi)) for foot in (start, end)
        ]
    return corners


def meeting(start: Foot, end: Foot, bend: Bend) -> Corner:
    """Returns the corner where the directions of two feet meet."""
    a, b = start.pose, end.pose
    dx, dy = b.x - a.x, b.y - a.y
    way = dx * math.sin(b.heading) - dy * math.cos(b.heading)
    return start.ahead(way / math.sin(b.heading - a.heading), *bend)


def off_ramp(
    site: Site, deck: Deck, frame: Frame, at: float, node: int, style: Style | None, *, back: bool
) -> None:
    """Adds a ramp from the motorway to a node, which it reaches in the direction of travel.

    Args:
        site: Extended by the ramp.
        deck: Lanes of the motorway.
        frame: Its direction of travel.
        at: Station at which the ramp leaves [m].
        node: Key of the node.
        style: Of the motorway; without, the outermost lane leaves.
        back: The lanes are those against the motorway's line.
    """
    aside = style.beside(back=back, leaving=True) if style else 0.0
    start = site.foot(deck.way, at, deck.leave(at, 1, aside, style.taper if style else 0.0))
    ring = site.plan.nodes[node].control == "roundabout"
    flare = site.draws.chance(site.family.flares) and not ring
    length = FLARED_STUB if flare else STUB + site.plan.nodes[node].radius
    heading = frame.origin.heading + math.pi
    into, _ = site.stub(node, heading, length, (1, 0), flare=flare)
    site.ramp(start, into, two_bends(start, into, GORE_BEND, NODE_BEND))


def on_ramp(
    site: Site, deck: Deck, frame: Frame, at: float, node: int, style: Style | None, *, back: bool
) -> None:
    """Adds a ramp from a node to the motorway; its arguments are those of `off_ramp`."""
    aside = style.beside(back=back, leaving=False) if style else 0.0
    end = site.foot(deck.way, at, deck.enter(at, 1, aside, style.taper if style else 0.0))
    length = STUB + site.plan.nodes[node].radius
    _, out = site.stub(node, frame.origin.heading, length, (0, 1))
    site.ramp(out, end, two_bends(out, end, NODE_BEND, GORE_BEND))


def dead_end(site: Site, node: int, heading: float) -> None:
    """Adds a road from a node to a loop in which it turns."""
    place = site.plan.nodes[node]
    length = site.draws.within(site.family.dead_end)
    far = Pose(place.x, place.y, heading).moved(length)
    end = site.node(far, "loop", radius=DEAD_END)
    site.road(node, end, [], LIMITS[2], 1)


def road_limit(radius: float) -> float:
    """Returns the speed limit of a road with such bends [m/s]."""
    return fitting_limit(1.0 / radius, ROAD_MOST)


def road_to_end(site: Site, node: int, heading: float, end: int) -> None:
    """Adds a road from a node beside a motorway along +x to the roundabout at its end.

    Args:
        site: Extended by the road.
        node: Key of the node.
        heading: In which the road leaves it [rad].
        end: Key of the roundabout.
    """
    a, b = site.plan.nodes[node], site.plan.nodes[end]
    radius = site.draws.within(ROAD_BEND)
    spiral = ROAD_SPIRAL * radius
    reach = bend_reach(radius, spiral, 0.5 * math.pi) + 0.1 * radius
    side = math.copysign(1.0, math.sin(heading))
    least = max(reach + 25.0, side * (b.y - a.y) + reach + 45.0)
    first = Pose(a.x, a.y, heading).moved(least / abs(math.sin(heading)))
    corners = [Corner(first.x, first.y, radius, spiral), Corner(b.x, first.y, radius, spiral)]
    site.road(node, end, corners, road_limit(radius), 1)


def road_around(site: Site, start: int, end: int) -> None:
    """Adds a road between the roundabouts at the ends of a branch and of its motorway along +x."""
    a, b = site.plan.nodes[start], site.plan.nodes[end]
    room = abs(b.y - a.y) - a.radius - b.radius - 60.0
    radius = min(site.draws.within(ROAD_BEND), 0.8 * room)
    corner = Corner(b.x, a.y, radius, ROAD_SPIRAL * radius)
    site.road(start, end, [corner], road_limit(radius), 1)
