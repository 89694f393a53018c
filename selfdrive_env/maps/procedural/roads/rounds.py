"""Roundabouts of one and two lanes, mini roundabouts, and loops where dead ends turn.

A way onto a ring, round a part of it and off again is an arc to the right, one to the left about
the middle, and one to the right: tangent to the lanes and to the ring. Counter-clockwise.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.maps.procedural.roads.control import add_sign
from selfdrive_env.maps.procedural.roads.junctions import (
    connect,
    lay_way,
    sorted_arms,
)
from selfdrive_env.maps.procedural.roads.lines import stations
from selfdrive_env.maps.procedural.roads.streets import (
    Arm,
    Work,
    add_lane,
    link,
    new_junction,
    new_road,
    pair,
)
from selfdrive_env.maps.road_network import Lane
from selfdrive_env.maps.towns.centre_lines import CentreLine, Pose, arc, chain

__all__ = [
    "build_loop",
    "build_mini_roundabout",
    "build_roundabout",
    "least_ring",
    "round_reach",
]

Floats = NDArray[np.float64]

RING_WIDTH = (4.8, 4.2)
"""Of the lanes of rings of one and of two lanes [m]."""

SPREAD = math.radians(34.0)
"""Angle at the middle between an arm and where its lanes meet the ring, at most."""

SPREAD_SHARE = 0.4
"""The same as a share of the angle to the next arm."""

LANE_OFFSET = 1.7
"""From the middle of an arm to that of a lane, about [m]."""

RING_LIMITS = ((9.0, 5.0), (14.0, 7.0), (100.0, 8.3))
"""Up to which radius [m] which limit [m/s]."""

MINI_WIDTH = 4.2
LOOP_WIDTH = 4.4
LOOP_LIMIT = 4.2
"""[m], [m/s]"""

LEAST_SIDE = 8.5
"""Radius of the bends onto a ring and off it, at least [m]."""

LEAST_ARC = 0.1
"""Ways that follow a mini roundabout for less turn off directly [rad]."""

STRAIGHT_LEAD = 0.5
"""From the mouth to the first bend [m]."""


def ring_limit(radius: float) -> float:
    """Returns the speed limit of a ring [m/s]."""
    return next(limit for most, limit in RING_LIMITS if radius <= most)


def round_reach(
    control: str, radius: float, headings: list[float], number: int, offset: float = LANE_OFFSET
) -> float:
    """Returns how far from the middle an arm of a roundabout or loop ends [m].

    Args:
        control: "roundabout", "mini_roundabout" or "loop".
        radius: Of the ring's outermost lane [m].
        headings: Of all arms, counter-clockwise [rad].
        number: Of the arm.
        offset: From the middle of the arm to that of its outermost lane [m].
    """
    if control == "loop":
        side = radius
        return math.sqrt((radius + side) ** 2 - (LANE_OFFSET + side) ** 2) + STRAIGHT_LEAD
    if control == "mini_roundabout":
        side = 1.1 * radius
        return math.sqrt((radius + side) ** 2 - (LANE_OFFSET + side) ** 2) + STRAIGHT_LEAD
    full = 2.0 * math.pi
    gaps = [
        (headings[(number + 1) % len(headings)] - headings[number]) % full,
        (headings[number] - headings[number - 1]) % full,
    ]
    sine = math.sin(_spread(min(gap if gap > 0.0 else full for gap in gaps)))
    side = max((radius * sine - offset) / (1.0 - sine), LEAST_SIDE)
    return math.sqrt((radius + side) ** 2 - (offset + side) ** 2)


def _spread(gap: float) -> float:
    """Returns the angle between an arm and where its lanes meet the ring [rad]."""
    return min(SPREAD, SPREAD_SHARE * gap)


def least_ring(gap: float, offset: float) -> float:
    """Returns the radius of a ring whose entries and exits are not too tight [m].

    Args:
        gap: Smallest angle between two arms [rad].
        offset: From the middle of an arm to that of its outermost lane, at most [m].
    """
    sine = math.sin(_spread(gap))
    return (LEAST_SIDE * (1.0 - sine) + offset) / sine


def _round_line(
    start: Pose, end: Pose, middle: tuple[float, float], radius: float
) -> CentreLine | None:
    """Returns a way round the middle, which both poses pass on its right; None without a ring."""
    pieces: list[tuple[float, float]] = []
    turned = 0.0
    sides = []
    for pose in (start, end.reversed()):
        dx, dy = middle[0] - pose.x, middle[1] - pose.y
        ahead = dx * math.cos(pose.heading) + dy * math.sin(pose.heading)
        aside = dy * math.cos(pose.heading) - dx * math.sin(pose.heading)
        # Seen backwards from its end, a way keeps to the left of the middle.
        aside = aside if pose is start else -aside
        side = (ahead**2 + aside**2 - radius**2) / (2.0 * (radius - aside))
        turn = math.atan2(ahead, aside + side)
        sides.append((side * turn, -1.0 / side))
        turned += turn
    change = math.remainder(end.heading - start.heading, 2.0 * math.pi)
    if change > math.pi - 1e-3 or change < -math.pi + 1e-3:
        change = math.pi
    if turned + change < LEAST_ARC:
        return None
    pieces = [sides[0], (radius * (turned + change), 1.0 / radius), sides[1]]
    return chain(start, pieces)


def build_loop(
    work: Work, key: int, middle: tuple[float, float], radius: float, *, paved: bool
) -> None:
    """Lets a dead end turn round a loop.

    Args:
        work: Extended by the lane.
        key: Of the node.
        middle: Of the loop [m].
        radius: To the middle of its lane [m].
        paved: All of it is road, without an island.
    """
    (arm,) = work.arms[key]
    junction = new_junction(work, f"node {key}") if paved else -1
    source, target = arm.incoming[0], arm.outgoing[0]
    line = _round_line(work.poses[source][1], work.poses[target][0], middle, radius)
    assert line is not None
    lay_way(work, line, (source, target), LOOP_WIDTH, LOOP_LIMIT, junction)


def build_mini_roundabout(work: Work, key: int, middle: tuple[float, float], radius: float) -> None:
    """Joins arms by ways round a small paved island; all are one junction.

    Args:
        work: Extended by the lanes and signs.
        key: Of the node.
        middle: Of the island [m].
        radius: To the middle of the ring's lane [m].
    """
    arms = sorted_arms(work.arms[key])
    junction = new_junction(work, f"node {key}")
    for arrival in arms:
        for departure in arms:
            if departure is arrival or not arrival.incoming or not departure.outgoing:
                continue
            lanes = arrival.incoming[-1], departure.outgoing[-1]
            ends = work.poses[lanes[0]][1], work.poses[lanes[1]][0]
            line = _round_line(*ends, middle, radius)
            if line is None:
                limit = min(arrival.limit, ring_limit(radius))
                connect(work, *lanes, 1.2 * radius, limit, junction)
            else:
                lay_way(work, line, lanes, MINI_WIDTH, ring_limit(radius), junction)
        if arrival.incoming:
            add_sign(work, junction, arrival, "yield_sign")


def build_roundabout(
    work: Work, key: int, middle: tuple[float, float], radius: float, lanes: int
) -> None:
    """Adds a ring; each arm's entries and exits form a junction with it.

    Args:
        work: Extended by the lanes and signs.
        key: Of the node.
        middle: Of the ring [m].
        radius: To the middle of its outermost lane [m].
        lanes: Of the ring, 1 or 2.
    """
    full = 2.0 * math.pi
    arms = sorted_arms(work.arms[key])
    angles = [arm.mouth.heading % full for arm in arms]
    gaps = [(angles[(k + 1) % len(arms)] - angle) % full or full for k, angle in enumerate(angles)]
    spread = [_spread(min(gaps[k], gaps[k - 1])) for k in range(len(arms))]
    passing, between = [], []
    for k, angle in enumerate(angles):
        junction = new_junction(work, f"node {key} {k}")
        span = (angle - spread[k], 2.0 * spread[k])
        passing.append(_ring_lanes(work, middle, radius, lanes, span, junction, arms[k].z))
        rest = gaps[k] - spread[k] - spread[(k + 1) % len(arms)]
        span = (angle + spread[k], rest)
        between.append(_ring_lanes(work, middle, radius, lanes, span, -1, arms[k].z))
    for k, arm in enumerate(arms):
        junction = work.network.lanes[passing[k][0]].junction
        for before, through, after in zip(between[k - 1], passing[k], between[k], strict=True):
            link(work, before, through)
            link(work, through, after)
            work.network.lanes[through].precedence = 1
        ring = _Ring(middle, radius, angles[k], spread[k])
        _join_ring(work, arm, between[k - 1], between[k], junction, ring)


def _ring_lanes(
    work: Work,
    middle: tuple[float, float],
    radius: float,
    lanes: int,
    span: tuple[float, float],
    junction: int,
    z: float,
) -> list[int]:
    """Adds a piece of the ring; returns its lanes, the innermost first."""
    first, angle = span
    width = RING_WIDTH[lanes - 1]
    x, y = middle[0] + radius * math.cos(first), middle[1] + radius * math.sin(first)
    line = arc(Pose(x, y, first + 0.5 * math.pi), 1.0 / radius, radius * angle)
    s = stations(line, 0.0, line.length, 2.0)
    road, out = new_road(work), []
    none = np.zeros((0, 3))
    for k in range(lanes):
        inner = width * (lanes - 1 - k)
        blank = Lane(f"{road}/0/{-k - 1}", "driving", none, none, none,
            ring_limit(radius), road, junction)  # fmt: skip
        edges = (inner + 0.5 * width, inner - 0.5 * width)
        out.append(add_lane(work, blank, line, s, np.full(s.shape, z), edges))
    if lanes > 1:
        pair(work, *out)
    return out


class _Ring(NamedTuple):
    """A ring at one of its arms."""

    middle: tuple[float, float]
    radius: float
    """To the middle of its outermost lane [m]."""

    heading: float
    """In which the arm leaves it [rad]."""

    spread: float
    """Angle between the arm and where its lanes meet the ring [rad]."""


def _join_ring(
    work: Work, arm: Arm, before: list[int], after: list[int], junction: int, ring: _Ring
) -> None:
    """Adds the ways of an arm onto the ring and off it."""
    network, width = work.network, RING_WIDTH[len(after) - 1]
    outer = len(after) - 1
    if arm.incoming:
        pairs = [(arm.incoming[-1], outer)]
        if outer:
            pairs.append((arm.incoming[-2 if len(arm.incoming) > 1 else -1], 0))
        for lane, k in pairs:
            radius = ring.radius - width * (outer - k)
            line = _ring_way(work.poses[lane][1], ring, radius, 1.0)
            way = _lay(work, line, (lane, after[k]), ring, junction)
            network.lanes[way].precedence = -1
        add_sign(work, junction, arm, "yield_sign")
    if arm.outgoing:
        pairs = [(outer, arm.outgoing[-1])]
        if outer:
            # Pieces between arms are too short to change lanes: one leaves from either.
            pairs.append((0, arm.outgoing[-2 if len(arm.outgoing) > 1 else -1]))
        for k, lane in pairs:
            radius = ring.radius - width * (outer - k)
            line = _ring_way(work.poses[lane][0].reversed(), ring, radius, -1.0)
            _lay(work, line, (before[k], lane), ring, junction)


def _lay(
    work: Work, line: CentreLine | None, lanes: tuple[int, int], ring: _Ring, junction: int
) -> int:
    """Adds a way between an arm and a ring, along a line if there is one."""
    limit = ring_limit(ring.radius)
    if line is None:
        return connect(work, *lanes, 40.0, limit, junction)
    ends = (work.network.lanes[lanes[0]].width[-1], work.network.lanes[lanes[1]].width[0])
    return lay_way(work, line, lanes, 0.5 * float(sum(ends)), limit, junction)


def _ring_way(pose: Pose, ring: _Ring, radius: float, sense: float) -> CentreLine | None:
    """Returns an arc from an arm to a ring and one along it, None where they do not fit.

    Args:
        pose: Where the lane of the arm ends, towards the ring.
        ring: Which.
        radius: Of its lane [m].
        sense: 1 for a way onto the ring, -1 for one off it, which is laid from its end.
    """
    dx, dy = ring.middle[0] - pose.x, ring.middle[1] - pose.y
    ahead = dx * math.cos(pose.heading) + dy * math.sin(pose.heading)
    aside = sense * (dy * math.cos(pose.heading) - dx * math.sin(pose.heading))
    side = (ahead**2 + aside**2 - radius**2) / (2.0 * (radius - aside))
    turn = math.atan2(ahead, aside + side)
    # Where the arc meets the ring, seen from the middle.
    met = pose.heading + math.pi + sense * (0.5 * math.pi - turn)
    rest = sense * math.remainder(ring.heading + sense * ring.spread - met, 2.0 * math.pi)
    if side < 0.6 * LEAST_SIDE or rest < -1e-6:
        return None
    pieces = [(side * turn, -1.0 / side), (radius * max(rest, 0.0), 1.0 / radius)]
    if sense > 0.0:
        return chain(pose, pieces)
    place = ring.heading - ring.spread
    x, y = (c + radius * f(place) for c, f in zip(ring.middle, (math.cos, math.sin), strict=True))
    return chain(Pose(x, y, place + 0.5 * math.pi), pieces[::-1])
