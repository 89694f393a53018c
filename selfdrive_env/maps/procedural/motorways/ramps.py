"""Pieces that several interchanges share: lanes and ends of a motorway, ramps, roads beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from selfdrive_env.maps.procedural.motorways.alignment import LIMITS, Corner, Profile, fitting_limit
from selfdrive_env.maps.procedural.motorways.mainline import (
    Motorway,
    bulb,
    closing_length,
    end_node,
)
from selfdrive_env.maps.procedural.motorways.site import Foot, Frame, Site
from selfdrive_env.maps.towns.centre_lines import Pose

__all__ = ["Style", "close_ends", "clover_tangent", "diagonal", "dead_end", "draw_style",
    "road_to_end", "two_bends"]  # fmt: skip

ROAD_BEND = (110.0, 150.0)
"""Radius of bends of roads beside a motorway [m]."""

DEAD_END = 12.0
"""Radius of the loop in which a dead end turns [m]."""


@dataclass(slots=True)
class Style:
    """What one motorway looks like."""

    lanes: int
    limit: float
    median: float
    shoulder: float
    clearance: float
    """Height of bridges; below 0 the motorway lies in a cutting [m]."""

    aside: float
    taper: float
    exit_only: tuple[bool, bool]
    """Whether lanes leave at exits and are added at entries, for each direction."""

    endings: list[str]
    """ "loop" or "roundabout", at the start and the end of the line."""

    left: list[int] = field(default_factory=list)
    """Lanes a direction at the ends."""

    def closing(self, end: int) -> float:
        """Returns how long the piece of motorway between the last ramp and an end is [m]."""
        return closing_length(self.lanes, self.left[end])


def draw_style(site: Site, *, returns: bool, lanes: int = 0) -> Style:
    """Draws what a motorway looks like.

    Args:
        site: For its draws.
        returns: Roads can lead back from its ends.
        lanes: A direction, 0: drawn.
    """
    draws, family = site.draws, site.family
    number = lanes or draws.by_share(family.lanes)
    limit = draws.by_share(family.limits) / 3.6
    height = draws.within(family.clearance) * (1.0 if draws.chance(family.over) else -1.0)
    exit_only = (draws.chance(family.exit_only), draws.chance(family.exit_only))
    enough = number > 2
    kinds = [draws.by_share(family.closing) if returns else "loop" for _ in range(2)]
    return Style(
        number,
        limit,
        draws.within(family.median),
        draws.within(family.shoulder),
        height,
        draws.within(family.aside),
        draws.within(family.taper),
        (exit_only[0] and enough, exit_only[1] and enough),
        kinds,
        [1 if kind == "roundabout" and number == 2 and draws.chance(0.6) else 2 for kind in kinds],
    )


def close_ends(
    site: Site, motorway: Motorway, endings: Sequence[str], ends: Sequence[bool] = (True, True)
) -> list[int]:
    """Closes the ends of a motorway; returns the keys of its roundabouts, -1 for loops.

    Args:
        site: Extended by loops and roundabouts.
        motorway: With all its lanes.
        endings: Kind of either end.
        ends: Which of them are to be closed.
    """
    keys = [-1, -1]
    for end, wanted in enumerate(ends):
        if not wanted:
            continue
        arriving = motorway.side(back=end == 0)
        leaving = motorway.side(back=end == 1)
        if endings[end] == "loop":
            bulb(site, arriving, leaving, site.draws.within(site.family.bulb))
        else:
            keys[end] = end_node(site, motorway, at_start=end == 0)
    return keys


def two_bends(
    start: Foot, end: Foot, first: tuple[float, float], last: tuple[float, float]
) -> list[Corner]:
    """Returns the corners of a ramp that shifts to another line by two bends.

    Args:
        start: Where it begins.
        end: Where it ends.
        first: Radius and length of the clothoids of the bend at the start [m].
        last: The same of the bend at the end [m].
    """
    turns = [0.4, 0.4]
    corners = []
    for _ in range(12):
        corners = []
        for foot, (radius, spiral), turn, sense in (
            (start, first, turns[0], 1.0),
            (end, last, turns[1], -1.0),
        ):
            reach = radius * math.tan(0.5 * turn) + 0.5 * spiral + 2.0
            corners.append(foot.ahead(sense * reach, radius, spiral))
        heading = math.atan2(corners[1].y - corners[0].y, corners[1].x - corners[0].x)
        turns = [
            abs(math.remainder(heading - foot.pose.heading, 2.0 * math.pi)) for foot in (start, end)
        ]
    return corners


def diagonal(frame: Frame, start: float, v: float, angle: float, across: float) -> float:
    """Returns where a line that leaves v at `start` under an angle reaches v + across [m]."""
    del frame, v
    return start + across / math.tan(angle)


def clover_tangent(radius: float, spiral: float, turn: float) -> float:
    """Returns the way from the corner of a bend to its start, below 0 beyond the corner [m]."""
    from selfdrive_env.maps.procedural.roads.lines import bend_pieces, tangent_length

    return tangent_length(turn, bend_pieces(turn, radius, spiral))


def dead_end(site: Site, node: int, heading: float, length: float) -> None:
    """Adds a road from a node to a loop in which it turns."""
    place = site.plan.nodes[node]
    far = Pose(place.x, place.y, heading).moved(length)
    end = site.node(far.x, far.y, control="loop", radius=DEAD_END)
    site.road(node, end, [], LIMITS[2], 1)


def road_to_end(
    site: Site, node: int, heading: float, end: int, motorway: Motorway, *, at_start: bool
) -> None:
    """Adds a road from a node beside a motorway to the roundabout at its end.

    Args:
        site: Extended by the road.
        node: Key of the node.
        heading: In which the road leaves it [rad].
        end: Key of the roundabout.
        motorway: What it leads back to.
        at_start: The roundabout lies at the start of its line, else at its end.
    """
    del motorway, at_start
    nodes = site.plan.nodes
    a, b = nodes[node], nodes[end]
    radius = site.draws.within(ROAD_BEND)
    spiral = 0.3 * radius
    reach = radius + 0.5 * spiral + 6.0
    side = math.copysign(1.0, math.sin(heading))
    out = Pose(a.x, a.y, heading)
    least = max(reach + 25.0, side * (b.y - a.y) + reach + 45.0)
    along = least / abs(math.sin(heading))
    first = out.moved(along)
    corners = [
        Corner(first.x, first.y, radius, spiral),
        Corner(b.x, first.y, radius, spiral),
    ]
    site.road(node, end, corners, road_limit(radius), 1)


def road_limit(radius: float) -> float:
    """Returns the speed limit of a road with such bends [m/s]."""
    return fitting_limit(1.0 / radius, LIMITS[5])


def hump_over(line_length: float, tops: Sequence[float], height: float, flat: float,
    rise: float) -> Profile:  # fmt: skip
    """Returns heights that are level but for humps, or hollows, at some stations.

    Args:
        line_length: [m]
        tops: Their middles [m].
        height: Below 0 for hollows [m].
        flat: Half the length of a level top [m].
        rise: Length of the smooth rise on either side [m].
    """
    import numpy as np

    s = np.linspace(0.0, line_length, max(2, math.ceil(line_length)))
    z = np.zeros(s.shape)
    for top in tops:
        t = np.clip((np.abs(s - top) - flat) / rise, 0.0, 1.0)
        z = np.maximum(z, 1.0 - t * t * (3.0 - 2.0 * t))
    return Profile(s, height * z)


__all__ += ["ROAD_BEND", "hump_over", "road_limit"]
