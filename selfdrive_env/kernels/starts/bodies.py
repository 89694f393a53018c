"""Drawing bodies, coefficients and weights of agents, and clearing what an episode left."""

from __future__ import annotations

import numpy as np

from selfdrive_env.compiler.njit import njit
from selfdrive_env.kernels.math.geometry import HALF, ONE, ZERO
from selfdrive_env.kernels.math.random import DRAW_BODY, DRAW_WEIGHTS, uniform, uniforms
from selfdrive_env.state.rewards import NUM_TERMS, NUM_WEIGHTS
from selfdrive_env.state.world import (
    ABSENT,
    BLIND,
    BODY_ACCELERATION,
    BODY_LENGTH_HIGH,
    BODY_LENGTH_LOW,
    BODY_SHARE,
    BODY_SPEED,
    BODY_STEER,
    BODY_THROTTLE,
    BODY_WIDTH_HIGH,
    BODY_WIDTH_LOW,
    BRAKING,
    HOLD_NOTHING,
    NUM_COUNTS,
)

__all__ = ["WHEELBASE_SHARE", "begin_episode", "draw_coefficient", "draw_type"]

SPREAD_SMALL = np.float32(1.25)  # largest factor
SPREAD_LARGE = np.float32(1.5)  # largest factor
WHEELBASE_SHARE = np.float32(0.6)  # of the length


@njit
def draw_coefficient(spread, side, unit):
    """Returns a number of X(a) = U(1/a, 1) / 2 + U(1, a) / 2 (half of them below 1)."""
    if side < HALF:
        return uniform(ONE / spread, ONE, unit)
    return uniform(ONE, spread, unit)


@njit
def draw_type(unit, body):
    """Returns the row of `body` that a number in [0, 1) picks by share."""
    total = ZERO
    for kind in range(body.shape[0]):
        total += body[kind, BODY_SHARE]
    rest = unit * total
    for kind in range(body.shape[0]):
        rest -= body[kind, BODY_SHARE]
        if rest < ZERO:
            return kind
    return body.shape[0] - 1


@njit
def draw_body(model, data, world, agent):
    """Draws body, coefficients, weights and temper of an agent."""
    params, draws = model.params, model.draws
    worlds, bodies = data.worlds, data.bodies
    key0 = worlds.key[world, 0]
    key1 = worlds.key[world, 1]
    stream = worlds.stream[world]
    tick = worlds.tick[world]
    kind_unit, a, b, c = uniforms(key0, key1, stream, agent, tick, DRAW_BODY, 0)
    kind = draw_type(kind_unit, draws.body)
    body = draws.body[kind]
    length = uniform(body[BODY_LENGTH_LOW], body[BODY_LENGTH_HIGH], a)
    width = uniform(body[BODY_WIDTH_LOW], min(body[BODY_WIDTH_HIGH], length), b)
    bodies.type[world, agent] = kind
    bodies.length[world, agent] = length
    bodies.width[world, agent] = min(width, length)
    bodies.wheelbase[world, agent] = WHEELBASE_SHARE * length

    s0, s1, s2, s3 = uniforms(key0, key1, stream, agent, tick, DRAW_BODY, 1)
    u0, u1, u2, u3 = uniforms(key0, key1, stream, agent, tick, DRAW_BODY, 2)
    bodies.jerk_scale[world, agent] = body[BODY_THROTTLE] * draw_coefficient(SPREAD_SMALL, s0, u0)
    bodies.lateral_jerk_scale[world, agent] = body[BODY_STEER] * draw_coefficient(
        SPREAD_SMALL, s1, u1
    )
    bodies.acceleration_scale[world, agent] = body[BODY_ACCELERATION] * draw_coefficient(
        SPREAD_LARGE, s2, u2
    )
    bodies.speed_scale[world, agent] = body[BODY_SPEED] * draw_coefficient(SPREAD_LARGE, s3, u3)

    for quarter in range((NUM_WEIGHTS + 3) // 4):
        units = uniforms(key0, key1, stream, agent, tick, DRAW_WEIGHTS, quarter)
        for place in range(min(4, NUM_WEIGHTS - 4 * quarter)):
            weight = 4 * quarter + place
            low = draws.weight[weight, 0]
            bodies.weight[world, agent, weight] = uniform(
                low, draws.weight[weight, 1], units[place]
            )

    blind, braking, _, _ = uniforms(key0, key1, stream, agent, tick, DRAW_BODY, 3)
    temper = BLIND if blind < np.float32(params.blind_share) else 0
    temper |= BRAKING if braking < np.float32(params.braking_share) else 0
    bodies.erratic[world, agent] = temper
    return c


@njit
def begin_episode(model, data, world, agent):
    """Takes an agent out and gives it a new body; returns a number in [0, 1) for its speed."""
    agents, tallies = data.agents, data.tallies
    agents.status[world, agent] = ABSENT
    speed_unit = draw_body(model, data, world, agent)
    agents.speed[world, agent] = ZERO
    agents.acceleration[world, agent] = ZERO
    agents.lateral_acceleration[world, agent] = ZERO
    agents.steering[world, agent] = ZERO
    agents.goal[world, agent] = 0
    agents.age[world, agent] = 0
    agents.contact[world, agent] = 0
    agents.stopped_at[world, agent] = -1
    agents.stop_tick[world, agent] = 0
    agents.front_junction[world, agent] = -1
    agents.brake_until[world, agent] = 0
    agents.standing_time[world, agent] = ZERO
    agents.hold[world, agent] = HOLD_NOTHING
    agents.blocker[world, agent] = -1
    agents.let_in_until[world, agent] = ZERO
    agents.let_in_tick[world, agent] = 0
    agents.path_s[world, agent] = ZERO
    tallies.distance[world, agent] = ZERO
    for term in range(NUM_TERMS):
        tallies.term[world, agent, term] = ZERO
    for count in range(NUM_COUNTS):
        tallies.count[world, agent, count] = 0
    return speed_unit
