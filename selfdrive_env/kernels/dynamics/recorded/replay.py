"""Bodies that repeat a record: nobody drives them."""

from __future__ import annotations

import numpy as np

from selfdrive_env.compiler.njit import njit
from selfdrive_env.kernels.math.elementary import arctangent
from selfdrive_env.kernels.math.geometry import HALF, ZERO, clamp
from selfdrive_env.state import world as world_state
from selfdrive_env.state.world import ABSENT, PRESENT

__all__ = ["replay_body"]

MAX_CURVATURE = np.float32(0.5)  # [1/m]
MIN_TRAVEL = np.float32(0.05)  # [m]
MAX_STEERING = np.float32(world_state.MAX_STEERING)  # [rad]


@njit
def replay_body(model, data, world, agent):
    """Puts an agent where its record has it at the end of the step, or takes it out.

    The step is told as the arc that leads there: its length is the way along the heading before,
    its curvature the turn over that length. Who appears has not moved.
    """
    scenes, worlds = model.scenes, data.worlds
    agents, bodies, motion = data.agents, data.bodies, data.motion
    scene = np.int64(worlds.scene[world])
    moment = min(np.int64(worlds.clock[world]) + 1, scenes.there.shape[2] - 1)
    was_there = agents.status[world, agent] != ABSENT
    if scenes.there[scene, agent, moment] == 0:
        agents.status[world, agent] = ABSENT
        return
    ahead = HALF * bodies.wheelbase[world, agent]
    cos, sin = scenes.cos[scene, agent, moment], scenes.sin[scene, agent, moment]
    x = scenes.x[scene, agent, moment] - ahead * cos
    y = scenes.y[scene, agent, moment] - ahead * sin
    speed = scenes.speed[scene, agent, moment]
    travel, curvature, acceleration = ZERO, ZERO, ZERO
    if was_there:
        dt = worlds.dt[world]
        before_cos, before_sin = motion.cos[world, agent], motion.sin[world, agent]
        travel = (x - motion.x[world, agent]) * before_cos
        travel += (y - motion.y[world, agent]) * before_sin
        if abs(travel) > MIN_TRAVEL:
            turn = arctangent(
                (sin * before_cos - cos * before_sin)
                / max(cos * before_cos + sin * before_sin, HALF)
            )
            curvature = clamp(turn / travel, -MAX_CURVATURE, MAX_CURVATURE)
        acceleration = (speed - motion.speed[world, agent]) / dt
        agents.age[world, agent] += 1
    else:
        motion.x[world, agent] = x
        motion.y[world, agent] = y
        motion.cos[world, agent] = cos
        motion.sin[world, agent] = sin
        motion.speed[world, agent] = speed
        agents.contact[world, agent] = 0
    agents.x[world, agent] = x
    agents.y[world, agent] = y
    agents.cos[world, agent] = cos
    agents.sin[world, agent] = sin
    agents.speed[world, agent] = speed
    agents.acceleration[world, agent] = acceleration
    agents.lateral_acceleration[world, agent] = speed * speed * curvature
    steering = arctangent(curvature * bodies.wheelbase[world, agent])
    agents.steering[world, agent] = clamp(steering, -MAX_STEERING, MAX_STEERING)
    agents.status[world, agent] = PRESENT
    motion.travel[world, agent] = travel
    motion.curvature[world, agent] = curvature
