"""Erratic drivers, whoever drives: some at times do not see others, some brake hard at random."""

from __future__ import annotations

import numpy as np

from selfdrive_env.compiler.njit import njit
from selfdrive_env.kernels.math.geometry import HALF
from selfdrive_env.kernels.math.random import DRAW_ERRATIC, uniforms
from selfdrive_env.state.world import BLIND, BRAKING

__all__ = ["brakes_at_random", "is_blind", "sees_nobody"]

BLIND_SPELL = np.int64(4_800_000_000)  # [ns]
BLIND_TIME = np.float32(0.5)  # share of spells
BRAKE_TIME = np.float32(3.0)  # [s]
BRAKE_RATE = np.float32(0.02)  # [1/s]


@njit
def is_blind(erratic, key0, key1, stream, agent, tick, dt_ns):
    """Whether an erratic driver does not see others at the moment (half of the time, in spells)."""
    if not erratic & BLIND:
        return False
    spell = np.int64(tick) * np.int64(dt_ns) // BLIND_SPELL
    number, _, _, _ = uniforms(key0, key1, stream, agent, spell, DRAW_ERRATIC, 1)
    return number < BLIND_TIME


@njit
def sees_nobody(data, world, agent):
    """Whether a driver is blind at the moment."""
    worlds, erratic = data.worlds, data.bodies.erratic[world, agent]
    key0, key1, stream = worlds.key[world, 0], worlds.key[world, 1], worlds.stream[world]
    return is_blind(erratic, key0, key1, stream, agent, worlds.tick[world], worlds.dt_ns[world])


@njit
def brakes_at_random(model, data, world, agent):
    """Whether an erratic driver brakes hard now, for about three seconds at a time."""
    worlds, agents, bodies = data.worlds, data.agents, data.bodies
    if not bodies.erratic[world, agent] & BRAKING:
        return False
    tick = np.int64(worlds.tick[world])
    if tick < agents.brake_until[world, agent]:
        return True
    start, length, _, _ = uniforms(
        worlds.key[world, 0],
        worlds.key[world, 1],
        worlds.stream[world],
        agent,
        tick,
        DRAW_ERRATIC,
        0,
    )
    dt = worlds.dt[world]
    if start >= BRAKE_RATE * dt:
        return False
    steps = BRAKE_TIME * (HALF + length) / dt
    agents.brake_until[world, agent] = tick + np.int64(steps) + 1
    return True
