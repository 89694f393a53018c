"""The reward: named terms, each with a weight of the agent.

Cusumano-Towner et al. 2025, table of reward terms. theta is the angle to the lane, d the lateral
offset of the box centre.
"""

from __future__ import annotations

import math

import numpy as np

from selfdrive_env.compiler.njit import njit
from selfdrive_env.compiler.threads import block_size, thread_index
from selfdrive_env.kernels.events import uncomfortable
from selfdrive_env.kernels.math.elementary import angle_of, exponential
from selfdrive_env.kernels.math.geometry import HALF, ONE, ZERO
from selfdrive_env.state.world import (
    ABSENT,
    EVENT_COLLISION,
    EVENT_GOAL,
    EVENT_OFFROAD,
    EVENT_RED_LIGHT,
    EVENT_STOP_SIGN,
    HALTED,
    NUM_TERMS,
    TERM_COLLISION,
    TERM_COMFORT,
    TERM_GOAL,
    TERM_LANE_ALIGN,
    TERM_LANE_CENTRE,
    TERM_OFFROAD,
    TERM_OVERSPEED,
    TERM_PROGRESS,
    TERM_REVERSE,
    TERM_STOP_LINE,
    TERM_TIMESTEP,
    TERM_VELOCITY,
    WEIGHT_CENTRE_BIAS,
    WEIGHT_COLLISION,
    WEIGHT_COMFORT,
    WEIGHT_GOAL,
    WEIGHT_LANE_ALIGN,
    WEIGHT_LANE_CENTRE,
    WEIGHT_OFFROAD,
    WEIGHT_OVERSPEED,
    WEIGHT_PROGRESS,
    WEIGHT_REVERSE,
    WEIGHT_STOP_LINE,
    WEIGHT_TIMESTEP,
    WEIGHT_VELOCITY,
    WEIGHT_VELOCITY_ALIGN,
)

__all__ = ["REWARDS", "give_rewards", "lane_align", "lane_centre"]

REWARDS = (
    ("goal", "w per target reached"),
    ("collision", "-(w + 0.1 |v|) when a contact begins, v at the start of the step"),
    ("offroad", "-w when the body leaves the drivable surface"),
    ("comfort", "-w (1[|a_long| > 3] + 1[|a_lat| > 3] + 1[any |jerk| > 5])"),
    (
        "lane_align",
        "w dt (min(cos theta, 0) + w_va min(v cos theta, 0) + 0.0025 (1 - |theta| / (pi/2)))",
    ),
    (
        "lane_centre",
        "-w dt (1[cos theta > 0.5] |d - b| - 0.05 exp(-(|d - b| - 0.5))), |d - b| <= 4",
    ),
    ("velocity", "w dt max(cos theta, 0) 1[|v| > 2.5]"),
    ("reverse", "-w dt 1[v < 0]"),
    ("stop_line", "-w per red light or stop sign passed"),
    ("timestep", "-w dt 1[|v| > 0 or |a| > 0]"),
    ("overspeed", "-w dt max(v - limit, 0)"),
    ("progress", "w times the metres by which the lane-graph distance to the next target shrank"),
)
"""Term and formula, w its weight, in the order of `state.REWARD_TERMS`."""

IMPACT = np.float32(0.1)
ALIGN_BONUS = np.float32(0.0025)
TWO_OVER_PI = np.float32(2.0 / math.pi)
CENTRE_COS = np.float32(0.5)
CENTRE_BONUS = np.float32(0.05)
MAX_OFFSET = np.float32(4.0)
MOVING = np.float32(2.5)


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
def agent_terms(
    event,
    cos,
    sin,
    d,
    speed,
    hit_speed,
    acceleration,
    lateral,
    jerk_long,
    jerk_lat,
    limit,
    progress,
    weight,
    dt,
    raw,
    weighted,
):
    """Writes the raw and the weighted terms of one agent; returns their weighted sum."""
    moves = abs(speed) > ZERO or abs(acceleration) > ZERO
    hit = np.float32((event & EVENT_COLLISION) != 0)
    raw[TERM_GOAL] = np.float32((event & EVENT_GOAL) != 0)
    raw[TERM_COLLISION] = -hit
    raw[TERM_OFFROAD] = -np.float32((event & EVENT_OFFROAD) != 0)
    raw[TERM_COMFORT] = -np.float32(uncomfortable(acceleration, lateral, jerk_long, jerk_lat))
    raw[TERM_LANE_ALIGN] = lane_align(cos, sin, speed, weight[WEIGHT_VELOCITY_ALIGN], dt)
    raw[TERM_LANE_CENTRE] = lane_centre(cos, d, weight[WEIGHT_CENTRE_BIAS], dt)
    raw[TERM_VELOCITY] = dt * max(cos, ZERO) if abs(speed) > MOVING else ZERO
    raw[TERM_REVERSE] = -dt if speed < ZERO else ZERO
    raw[TERM_STOP_LINE] = -np.float32((event & (EVENT_RED_LIGHT | EVENT_STOP_SIGN)) != 0)
    raw[TERM_TIMESTEP] = -dt if moves else ZERO
    raw[TERM_OVERSPEED] = -dt * max(speed - limit, ZERO)
    raw[TERM_PROGRESS] = progress

    weighted[TERM_GOAL] = raw[TERM_GOAL] * weight[WEIGHT_GOAL]
    weighted[TERM_COLLISION] = -hit * (weight[WEIGHT_COLLISION] + IMPACT * hit_speed)
    weighted[TERM_OFFROAD] = raw[TERM_OFFROAD] * weight[WEIGHT_OFFROAD]
    weighted[TERM_COMFORT] = raw[TERM_COMFORT] * weight[WEIGHT_COMFORT]
    weighted[TERM_LANE_ALIGN] = raw[TERM_LANE_ALIGN] * weight[WEIGHT_LANE_ALIGN]
    weighted[TERM_LANE_CENTRE] = raw[TERM_LANE_CENTRE] * weight[WEIGHT_LANE_CENTRE]
    weighted[TERM_VELOCITY] = raw[TERM_VELOCITY] * weight[WEIGHT_VELOCITY]
    weighted[TERM_REVERSE] = raw[TERM_REVERSE] * weight[WEIGHT_REVERSE]
    weighted[TERM_STOP_LINE] = raw[TERM_STOP_LINE] * weight[WEIGHT_STOP_LINE]
    weighted[TERM_TIMESTEP] = raw[TERM_TIMESTEP] * weight[WEIGHT_TIMESTEP]
    weighted[TERM_OVERSPEED] = raw[TERM_OVERSPEED] * weight[WEIGHT_OVERSPEED]
    weighted[TERM_PROGRESS] = raw[TERM_PROGRESS] * weight[WEIGHT_PROGRESS]
    total = ZERO
    for term in range(NUM_TERMS):
        total += weighted[term]
    return total


@njit
def give_rewards(model, data, worker, world):
    """Stage: the reward of every agent of a world, by term; absent and halted ones get none."""
    params, lanes = model.params, model.lanes
    agents, bodies, motion, tallies = data.agents, data.bodies, data.motion, data.tallies
    output = data.output
    halted_before = data.scratch.halted[worker]
    dt = np.float32(params.dt)
    for agent in range(thread_index(), agents.x.shape[1], block_size()):
        status = agents.status[world, agent]
        idle = status == HALTED and halted_before[agent] != 0
        if status == ABSENT or idle:
            output.reward[world, agent] = ZERO
            for term in range(NUM_TERMS):
                output.term[world, agent, term] = ZERO
                output.weighted[world, agent, term] = ZERO
            continue
        lane = lanes.segment_lane[agents.segment[world, agent]]
        output.reward[world, agent] = agent_terms(
            output.event[world, agent],
            agents.angle_cos[world, agent],
            agents.angle_sin[world, agent],
            agents.d[world, agent],
            agents.speed[world, agent],
            motion.hit_speed[world, agent],
            agents.acceleration[world, agent],
            agents.lateral_acceleration[world, agent],
            motion.jerk[world, agent, 0],
            motion.jerk[world, agent, 1],
            lanes.speed_limit[lane],
            motion.progress[world, agent],
            bodies.weight[world, agent],
            dt,
            output.term[world, agent],
            output.weighted[world, agent],
        )
        for term in range(NUM_TERMS):
            tallies.term[world, agent, term] += output.weighted[world, agent, term]
