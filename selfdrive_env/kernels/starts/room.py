"""The room that a body needs where it starts."""

from __future__ import annotations

import numpy as np

from selfdrive_env.compiler.njit import njit
from selfdrive_env.kernels.collision import LEVEL_HEIGHT
from selfdrive_env.kernels.math.geometry import HALF, ONE, ZERO, boxes_overlap
from selfdrive_env.state.world import ABSENT, STANDING

__all__ = ["is_free"]

HEADWAY = np.float32(0.3)  # [s]
STOPPING = np.float32(1.0 / 8.0)  # [s^2/m]
CLEARANCE = np.float32(3.0)  # [m]
CORRIDOR = np.float32(1.5)  # [m]
GAP = np.float32(0.3)  # [m]
STANDING_ROOM = np.float32(10.0)  # to turn out before a body that stands for good [m]


@njit
def needed_room(speed, pace):
    """Returns the gap that two bodies with these speeds need beyond their own lengths [m]."""
    return HEADWAY * (speed + abs(pace)) + (speed * speed + pace * pace) * STOPPING


@njit
def count_around(agents, bodies, world, agent, x, y, speed):
    """Returns how many others are so near (x, y) that they may be in the way (conservative)."""
    status, all_speed = agents.status[world], agents.speed[world]
    all_x, all_y, all_cos, all_sin = (
        agents.x[world],
        agents.y[world],
        agents.cos[world],
        agents.sin[world],
    )
    length, width, wheelbase = bodies.length[world], bodies.width[world], bodies.wheelbase[world]
    size = HALF * (length[agent] + width[agent]) + CLEARANCE + GAP + CORRIDOR
    count = np.int64(0)
    for other in range(all_x.shape[0]):
        ahead = HALF * wheelbase[other]
        dx = all_x[other] + ahead * all_cos[other] - x
        dy = all_y[other] + ahead * all_sin[other] - y
        reach = needed_room(speed, all_speed[other]) + HALF * (length[other] + width[other]) + size
        reach += STANDING_ROOM if status[other] == STANDING else ZERO
        count += (status[other] != ABSENT) & (dx * dx + dy * dy <= reach * reach)
    return count


@njit
def is_free(agents, bodies, world, agent, x, y, z, cos, sin, speed, relaxed):
    """Whether a body placed with its box centre at (x, y) keeps clear of all others.

    Args:
        agents: Who is there already.
        bodies: Their bodies, and that of the one to place.
        world: In which.
        agent: Who is to be placed.
        x: Of its box centre, east [m].
        y: Of its box centre, north [m].
        z: Elevation of the road [m].
        cos: Cosine of its heading.
        sin: Sine of its heading.
        speed: It starts with [m/s].
        relaxed: Whether only those who drive towards it must be far away.
    """
    if count_around(agents, bodies, world, agent, x, y, speed) == 0:
        return True
    half_length = HALF * bodies.length[world, agent]
    half_width = HALF * bodies.width[world, agent]
    for other in range(agents.x.shape[1]):
        if other == agent or agents.status[world, other] == ABSENT:
            continue
        if abs(agents.z[world, other] - z) >= LEVEL_HEIGHT:
            continue
        ahead = HALF * bodies.wheelbase[world, other]
        dx = agents.x[world, other] + ahead * agents.cos[world, other] - x
        dy = agents.y[world, other] + ahead * agents.sin[world, other] - y
        long_other = HALF * bodies.length[world, other]
        pace = agents.speed[world, other]
        room = needed_room(speed, pace) + half_length + long_other + CLEARANCE
        stands = agents.status[world, other] == STANDING
        if stands:
            room += STANDING_ROOM
        if relaxed and not stands:  # a standing body is in the way of those who drive towards it
            before = -dx * agents.cos[world, other] - dy * agents.sin[world, other]
            beside = dx * agents.sin[world, other] - dy * agents.cos[world, other]
            towards = (before > ZERO) == (pace > ZERO) and abs(beside) < CORRIDOR + half_length
            if abs(pace) > ONE and towards and abs(before) < room:
                return False
        elif dx * dx + dy * dy < room * room:
            return False
        if boxes_overlap(
            dx,
            dy,
            cos,
            sin,
            half_length + GAP,
            half_width + GAP,
            agents.cos[world, other],
            agents.sin[world, other],
            long_other,
            HALF * bodies.width[world, other],
        ):
            return False
    return True
