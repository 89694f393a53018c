"""The reward: the terms of `state.rewards.REWARDS`, each times a weight of the agent."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from selfdrive_env.compiler.njit import njit
from selfdrive_env.compiler.threads import block_size, thread_index
from selfdrive_env.kernels.drivers.lane_changes import next_standing
from selfdrive_env.kernels.events import uncomfortable
from selfdrive_env.kernels.math.elementary import angle_of, exponential
from selfdrive_env.kernels.math.geometry import HALF, ONE, ZERO
from selfdrive_env.state.rewards import NUM_TERMS, TERM, TERM_WEIGHT, WEIGHT
from selfdrive_env.state.world import (
    ABSENT,
    EVENT_COLLISION,
    EVENT_GOAL,
    EVENT_OFFROAD,
    EVENT_RED_LIGHT,
    EVENT_STOP_SIGN,
    EVENT_YIELD,
    HALTED,
    STANDING,
)

__all__ = ["Outcome", "give_rewards", "lane_align", "lane_centre"]

IMPACT = np.float32(0.1)
"""Cost of a contact for each m/s [s/m]."""

ALIGN_BONUS = np.float32(0.0025)  # [1/s]
TWO_OVER_PI = np.float32(2.0 / math.pi)
CENTRE_COS = np.float32(0.5)
CENTRE_BONUS = np.float32(0.05)  # [1/s]
MAX_OFFSET = np.float32(4.0)  # [m]
MOVING = np.float32(2.5)  # [m/s]
BLOCKED_SIGHT = np.float32(40.0)  # [m]
PASSING_GAP = np.float32(0.3)  # between the sides of two bodies [m]


class Outcome(NamedTuple):
    """What a step made of an agent, as far as terms of the reward ask."""

    event: int
    """`Event` bits."""

    cos: np.float32
    """Of the angle to the lane."""

    sin: np.float32
    d: np.float32
    """Lateral offset from the lane centre [m]."""

    speed: np.float32
    """At the end of the step [m/s]."""

    impact_speed: np.float32
    """At the start of the step, where a contact began in it [m/s]."""

    acceleration: np.float32
    """Along the heading [m/s^2]."""

    lateral: np.float32
    """Acceleration to the left [m/s^2]."""

    jerk_long: np.float32
    """Realised [m/s^3]."""

    jerk_lat: np.float32
    limit: np.float32
    """Speed limit of the lane [m/s]."""

    progress: np.float32
    """By how much the way to the next goal shrank [m]."""

    blocked: np.float32
    """Share of the width in which a body that is broken down close ahead is still in the way."""


COMFORT_STEP = np.float32(0.3)  # the paper's, for which its weight of discomfort is meant [s]


@njit
def lane_align(cos, sin, speed, velocity_weight, dt):
    """Returns dt (min(cos theta, 0) + w_va min(v cos theta, 0) + 0.0025 (1 - |theta| / (pi/2)))."""
    theta = abs(angle_of(cos, sin))
    return dt * (
        min(cos, ZERO)
        + velocity_weight * min(speed * cos, ZERO)
        + ALIGN_BONUS * (ONE - theta * TWO_OVER_PI)
    )


@njit
def lane_centre(cos, d, bias, dt):
    """Returns -dt (1[cos theta > 0.5] |d - b| - 0.05 exp(-(|d - b| - 0.5)))."""
    offset = min(abs(d - bias), MAX_OFFSET)
    penalty = offset if cos > CENTRE_COS else ZERO
    return -dt * (penalty - CENTRE_BONUS * exponential(HALF - offset))


@njit
def agent_terms(step, weight, dt, raw, weighted):
    """Writes the raw and the weighted terms of one agent; returns their weighted sum.

    Args:
        step: The agent's `Outcome`.
        weight: Its weights, [NUM_WEIGHTS].
        dt: Length of the step [s].
        raw: Receives the terms, [NUM_TERMS].
        weighted: Receives the terms times their weights, [NUM_TERMS].
    """
    cos, speed = step.cos, step.speed
    moves = abs(speed) > ZERO or abs(step.acceleration) > ZERO
    discomfort = uncomfortable(step.acceleration, step.lateral, step.jerk_long, step.jerk_lat)
    raw[TERM.goal] = np.float32((step.event & EVENT_GOAL) != 0)
    raw[TERM.collision] = -np.float32((step.event & EVENT_COLLISION) != 0)
    raw[TERM.offroad] = -np.float32((step.event & EVENT_OFFROAD) != 0)
    raw[TERM.comfort] = -np.float32(discomfort) * (dt / COMFORT_STEP)
    raw[TERM.lane_align] = lane_align(cos, step.sin, speed, weight[WEIGHT.velocity_align], dt)
    raw[TERM.lane_centre] = lane_centre(cos, step.d, weight[WEIGHT.centre_bias], dt)
    raw[TERM.velocity] = dt * max(cos, ZERO) if abs(speed) > MOVING else ZERO
    raw[TERM.reverse] = -dt if speed < ZERO else ZERO
    raw[TERM.stop_line] = -np.float32((step.event & (EVENT_RED_LIGHT | EVENT_STOP_SIGN)) != 0)
    raw[TERM.timestep] = -dt if moves else ZERO
    raw[TERM.overspeed] = -dt * max(speed - step.limit, ZERO)
    raw[TERM.progress] = step.progress
    raw[TERM.yield_violation] = -np.float32((step.event & EVENT_YIELD) != 0)
    raw[TERM.blocked] = -dt * step.blocked

    for term in range(NUM_TERMS):
        weighted[term] = raw[term] * weight[TERM_WEIGHT[term]]
    # What a contact costs rises with the speed, whatever the weight.
    cost = weight[WEIGHT.collision] + IMPACT * step.impact_speed
    weighted[TERM.collision] = raw[TERM.collision] * cost
    total = ZERO
    for term in range(NUM_TERMS):
        total += weighted[term]
    return total


@njit
def blocked_share(model, data, world, agent):
    """Returns how far a body that is broken down close ahead is in the way of an agent.

    1 behind it, 0 where the agent has moved so far aside in its lane that it gets past, or no such
    body ends the lane: between them in proportion, so that each step aside counts.
    """
    agents, bodies = data.agents, data.bodies
    lane = np.int64(model.lanes.segment_lane[agents.segment[world, agent]])
    s = agents.s[world, agent]
    way, other = next_standing(model, data, world, agent, lane, s)
    if way >= BLOCKED_SIGHT:
        return ZERO
    aside = abs(agents.d[world, agent] - agents.d[world, other])
    width = HALF * (bodies.width[world, agent] + bodies.width[world, other]) + PASSING_GAP
    return max(ONE - aside / width, ZERO)


@njit
def give_rewards(model, data, worker, world):
    """Stage: the reward of every agent of a world, by term; who is absent or halted gets none."""
    lanes = model.lanes
    agents, bodies, motion, tallies = data.agents, data.bodies, data.motion, data.tallies
    output = data.output
    halted_before = data.scratch.halted[worker]
    dt = data.worlds.dt[world]
    for agent in range(thread_index(), agents.x.shape[1], block_size()):
        status = agents.status[world, agent]
        idle = status == HALTED and halted_before[agent] != 0
        if status in (ABSENT, STANDING) or idle:
            output.reward[world, agent] = ZERO
            for term in range(NUM_TERMS):
                output.term[world, agent, term] = ZERO
                output.weighted[world, agent, term] = ZERO
            continue
        lane = lanes.segment_lane[agents.segment[world, agent]]
        weight = bodies.weight[world, agent]
        blocked = ZERO
        if weight[WEIGHT.blocked] != ZERO:
            blocked = blocked_share(model, data, world, agent)
        step = Outcome(
            output.event[world, agent],
            agents.angle_cos[world, agent],
            agents.angle_sin[world, agent],
            agents.d[world, agent],
            agents.speed[world, agent],
            motion.impact_speed[world, agent],
            agents.acceleration[world, agent],
            agents.lateral_acceleration[world, agent],
            motion.realised_jerk[world, agent, 0],
            motion.realised_jerk[world, agent, 1],
            lanes.speed_limit[lane],
            motion.progress[world, agent],
            blocked,
        )
        raw, weighted = output.term[world, agent], output.weighted[world, agent]
        output.reward[world, agent] = agent_terms(step, weight, dt, raw, weighted)
        for term in range(NUM_TERMS):
            tallies.term[world, agent, term] += output.weighted[world, agent, term]
