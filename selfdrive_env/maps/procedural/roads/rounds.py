"""Roundabouts of one and two lanes, mini roundabouts, and loops where dead ends turn.

A way onto a ring, round a part of it and off again is an arc to the right, one to the left about
the middle, and one to the right: tangent to the lanes and to the ring. Counter-clockwise.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.maps.procedural.roads.control import add_sign
from selfdrive_env.maps.procedural.roads.junctions import (
    Way,
    angle_between,
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

__all__ = ["build_loop", "build_mini_roundabout", "build_roundabout", "round_reach"]

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

LEAST_ARC = 0.1
"""Ways that follow a mini roundabout for less turn off directly [rad]."""

STRAIGHT_LEAD = 0.5
"""From the mouth to the first bend [m]."""


def ring_limit(radius: float) -> float:
    """Returns the speed limit of a ring [m/s]."""
    return next(limit for most, limit in RING_LIMITS if radius <= most)


def round_reach(control: str, radius: float, headings: list[float], number: int) -> float:
    """Returns how far from the middle an arm of a roundabout or loop ends [m].

    Args:
        control: "roundabout", "mini_roundabout" or "loop".
        radius: Of the ring's outermost lane [m].
        headings: Of all arms, counter-clockwise [rad].
        number: Of the arm.
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
    sine = math.sin(min(SPREAD, SPREAD_SHARE * min(gap if gap > 0.0 else full for gap in gaps)))
    side = (radius * sine - LANE_OFFSET) / (1.0 - sine)
    side = max(side, 6.0)
    return math.sqrt((radius + side) ** 2 - (LANE_OFFSET + side) ** 2) + STRAIGHT_LEAD


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


def build_loop(work: Work, key: int, middle: tuple[float, float], radius: float, *, paved: bool) -> None:
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


def build_mini_roundabout(
    work: Work, key: int, middle: tuple[float, float], radius: float
) -> None:
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
    gaps = [
        (angles[(k + 1) % len(arms)] - angle) % full or full for k, angle in enumerate(angles)
    ]
    spread = [min(SPREAD, SPREAD_SHARE * min(gaps[k], gaps[k - 1])) for k in range(len(arms))]
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
        _join_ring(work, arm, between[k - 1], between[k], junction, radius)


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


def _join_ring(
    work: Work, arm: Arm, before: list[int], after: list[int], junction: int, radius: float
) -> None:
    """Adds the ways of an arm onto the ring and off it."""
    limit = ring_limit(radius)
    network = work.network
    if arm.incoming:
        outer = len(after) - 1
        pairs = [(arm.incoming[-1], after[outer])]
        if outer:
            pairs.append((arm.incoming[-2 if len(arm.incoming) > 1 else -1], after[0]))
        for lane, target in pairs:
            way = connect(work, lane, target, 40.0, limit, junction)
            network.lanes[way].precedence = -1
        add_sign(work, junction, arm, "yield_sign")
    if arm.outgoing:
        pairs = [(before[-1], arm.outgoing[-1])]
        if len(before) > 1 and len(arm.outgoing) > 1:
            pairs.append((before[0], arm.outgoing[-2]))
        for lane, target in pairs:
            connect(work, lane, target, 40.0, limit, junction)
