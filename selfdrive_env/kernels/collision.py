"""Contacts between bodies: full oriented boxes, swept along the arcs of one step.

Conservative advancement: a bound on their relative motion says how soon two boxes that are apart
can touch, so the step is followed in parts in which they cannot. No part is shorter than `FINE`: a
corner cut off by less than 2 cm may be missed, nothing deeper. Bodies whose elevations differ by
`LEVEL_HEIGHT` or more never touch.
"""

from __future__ import annotations

import math

import numpy as np

from selfdrive_env.compiler.njit import inline, njit
from selfdrive_env.compiler.threads import barrier, block_size, thread_index
from selfdrive_env.kernels.dynamics.jerk_bicycle import pose_at, sweep_of, way_of_sweep
from selfdrive_env.kernels.math.geometry import HALF, ONE, ZERO, boxes_gap
from selfdrive_env.state import road
from selfdrive_env.state.world import ABSENT, CONTACT_BODY, EVENT_COLLISION, STANDING

__all__ = ["LEVEL_HEIGHT", "NO_TOUCH", "collide", "first_touch"]

LEVEL_HEIGHT = np.float32(road.LEVEL_HEIGHT)  # [m]
FINE = np.float32(0.05)  # [m]
SHORT = np.float32(1.0e-3)  # of a touch, which rounding must not bring about [m]
NO_TOUCH = np.float32(2.0)
"""Share of a step that stands for "do not touch in it"."""

NOWHERE = np.float32(1.0e9)  # [m]
SLACK = np.float32(1.001)  # factor: rounding must not part circles that touch


@njit
def first_touch(a, b):
    """Returns when two boxes overlap for the first time at a common pose of their sweeps.

    Args:
        a: `Sweep` of the one.
        b: `Sweep` of the other.

    Returns:
        Share of the step at the last pose before, in [0, 1), or `NO_TOUCH`.
    """
    turn_a, turn_b = abs(a.travel * a.curvature), abs(b.travel * b.curvature)
    reach = abs(a.travel) + abs(b.travel)
    dx = (b.x + b.ahead * b.cos) - (a.x + a.ahead * a.cos)
    dy = (b.y + b.ahead * b.sin) - (a.y + a.ahead * a.sin)
    turn = turn_a * a.ahead + turn_b * b.ahead
    bound = reach + turn + a.half_length + a.half_width + b.half_length + b.half_width
    if dx * dx + dy * dy > bound * bound:
        return NO_TOUCH
    # By how much any two points of theirs can come nearer in the whole step.
    a_way_cos, a_way_sin = way_of_sweep(a)
    b_way_cos, b_way_sin = way_of_sweep(b)
    east = a.travel * a_way_cos - b.travel * b_way_cos
    north = a.travel * a_way_sin - b.travel * b_way_sin
    approach = math.sqrt(east * east + north * north)
    approach += turn_a * (abs(a.travel) + a.ahead + a.half_length + a.half_width)
    approach += turn_b * (abs(b.travel) + b.ahead + b.half_length + b.half_width)
    approach = max(approach, FINE)
    fraction, apart = ZERO, ZERO
    while True:
        ax, ay, a_cos, a_sin = pose_at(a, fraction)
        bx, by, b_cos, b_sin = pose_at(b, fraction)
        gap = boxes_gap(
            bx - ax,
            by - ay,
            a_cos,
            a_sin,
            a.half_length,
            a.half_width,
            b_cos,
            b_sin,
            b.half_length,
            b.half_width,
        )
        if gap <= ZERO:
            return apart
        if fraction >= ONE or gap > (ONE - fraction) * approach + SHORT:
            return NO_TOUCH
        apart = fraction
        fraction = min(fraction + max(gap - SHORT, FINE) / approach, ONE)


@njit
def pair_touch(data, world, a, b):
    """Returns when agents a < b of a world touched in this step, as `first_touch` does."""
    agents, bodies, motion = data.agents, data.bodies, data.motion
    if abs(agents.z[world, a] - agents.z[world, b]) >= LEVEL_HEIGHT:
        return NO_TOUCH
    dx = motion.x[world, a] - motion.x[world, b]
    dy = motion.y[world, a] - motion.y[world, b]
    reach = (
        abs(motion.travel[world, a])
        + abs(motion.travel[world, b])
        + (bodies.length[world, a] + bodies.length[world, b])
        + (bodies.width[world, a] + bodies.width[world, b])
    )
    if dx * dx + dy * dy > reach * reach:
        return NO_TOUCH
    return first_touch(sweep_of(data, world, a), sweep_of(data, world, b))


@njit
def bound_sweeps(data, worker, world):
    """Writes a circle round what each body covers in the step, far away for absent ones."""
    agents, bodies, motion, scratch = data.agents, data.bodies, data.motion, data.scratch
    centre_x, centre_y = scratch.centre_x[worker], scratch.centre_y[worker]
    radius = scratch.radius[worker]
    for agent in range(thread_index(), agents.x.shape[1], block_size()):
        ahead = HALF * bodies.wheelbase[world, agent]
        travel = abs(motion.travel[world, agent])
        turn = travel * abs(motion.curvature[world, agent])
        present = agents.status[world, agent] != ABSENT
        x = motion.x[world, agent] + ahead * motion.cos[world, agent]
        centre_x[agent] = x if present else NOWHERE * np.float32(agent + 1)
        centre_y[agent] = motion.y[world, agent] + ahead * motion.sin[world, agent]
        size = HALF * (bodies.length[world, agent] + bodies.width[world, agent])
        radius[agent] = (size + travel + turn * ahead) * SLACK


@inline
def count_near(agent, centre_x, centre_y, radius):
    """Returns how many circles touch that of an agent, its own included."""
    x = centre_x[agent]
    y = centre_y[agent]
    reach = radius[agent]
    count = np.int64(0)
    for other in range(centre_x.shape[0]):
        dx = centre_x[other] - x
        dy = centre_y[other] - y
        near = reach + radius[other]
        count += dx * dx + dy * dy <= near * near
    return count


@njit
def collide(model, data, worker, world):
    """Stage: tells which agents of a world touched another one in this step, and whom first."""
    agents, motion, output, scratch = data.agents, data.motion, data.output, data.scratch
    bound_sweeps(data, worker, world)
    barrier()
    centre_x, centre_y = scratch.centre_x[worker], scratch.centre_y[worker]
    radius = scratch.radius[worker]
    for agent in range(thread_index(), agents.x.shape[1], block_size()):
        motion.impact_speed[world, agent] = ZERO
        motion.hit_agent[world, agent] = -1
        motion.hit_time[world, agent] = ZERO
        if agents.status[world, agent] in (ABSENT, STANDING):
            continue
        hit_time = NO_TOUCH
        others = agents.x.shape[1]
        if count_near(agent, centre_x, centre_y, radius) <= 1:
            others = 0
        for other in range(others):
            dx = centre_x[other] - centre_x[agent]
            dy = centre_y[other] - centre_y[agent]
            near = radius[other] + radius[agent]
            if other == agent or dx * dx + dy * dy > near * near:
                continue
            if agents.status[world, other] == ABSENT:
                continue
            time = pair_touch(data, world, min(agent, other), max(agent, other))
            if time < hit_time:
                hit_time = time
                motion.hit_agent[world, agent] = other
                motion.hit_time[world, agent] = time

        touches = hit_time < NO_TOUCH
        contact = agents.contact[world, agent]
        if touches and not contact & CONTACT_BODY:
            output.event[world, agent] |= EVENT_COLLISION
            motion.impact_speed[world, agent] = abs(motion.speed[world, agent])
        rest = contact & np.uint8(255 - CONTACT_BODY)
        agents.contact[world, agent] = rest | np.uint8(CONTACT_BODY if touches else 0)
