"""Scripted drivers: they choose jerks for the same bodies that learners drive.

Each has a branch in `drive_scripted`, which chooses an acceleration; jerks and steering along the
route follow from it.
"""

from __future__ import annotations

import numpy as np

from selfdrive_env.compiler.njit import njit
from selfdrive_env.compiler.threads import barrier, block_size, on_cpu_alone, thread_index
from selfdrive_env.kernels.drivers.conflicts import spread_way
from selfdrive_env.kernels.drivers.erratic import brakes_at_random
from selfdrive_env.kernels.drivers.idm import HARD_BRAKING, MAX_ACCELERATION, idm_wish
from selfdrive_env.kernels.drivers.path import build_path
from selfdrive_env.kernels.drivers.path_info import LEAVE_END, POINTS, bound_reach, look_around
from selfdrive_env.kernels.drivers.precedence import first_of_chain, tow_late, waits_at_red
from selfdrive_env.kernels.drivers.recorded.idm_log import drive_on_path
from selfdrive_env.kernels.drivers.steering import steer_along
from selfdrive_env.kernels.math.geometry import HALF, ONE, ZERO, clamp
from selfdrive_env.state.world import (
    ABSENT,
    CONSTANT,
    EXTERNAL,
    HOLD_RIGHT_OF_WAY,
    IDM,
    IDM_LOG,
    PRESENT,
    REPLAY,
    STILL,
    WAYPOINT,
)

__all__ = ["drive"]

DRIVE_ON_PATH = on_cpu_alone(drive_on_path)
"""Not on a device: with recorded paths the optimiser for CUDA comes to no end."""

LONG_LOW, LONG_HIGH = np.float32(-15.0), np.float32(4.0)  # [m/s^3]
LOST_GREEN = np.float32(12.0)  # that a green counts in which one only gave way [s]
MOST_LOST = np.float32(21.0)  # time of standing up to which it counts [s]
LATERAL_JERK = np.float32(4.0)  # [m/s^3]


@njit
def drive_scripted(model, data, paths, info, worker, world, agent, dt):
    """Chooses the jerks of one scripted agent."""
    agents, bodies, motion = data.agents, data.bodies, data.motion
    driver = bodies.driver[world, agent]
    speed = agents.speed[world, agent]
    acceleration = agents.acceleration[world, agent]
    hold = agents.hold[world, agent]
    wish = ZERO
    if driver == STILL:
        wish = -HARD_BRAKING
    elif driver == IDM:
        wish = idm_wish(model, data, paths, info, worker, world, agent)
    wish = clamp(wish, -HARD_BRAKING, MAX_ACCELERATION)
    if speed < HALF and wish <= ZERO and driver != CONSTANT:
        first = first_of_chain(info, agent)
        if not waits_at_red(info, first):
            agents.standing_time[world, agent] += dt
        if hold == HOLD_RIGHT_OF_WAY and waits_at_red(info, agent):  # its green is over
            stood = agents.standing_time[world, agent]
            agents.standing_time[world, agent] = max(stood, min(stood + LOST_GREEN, MOST_LOST))
        tow_late(data, info, world, agent, first)
        motion.jerk[world, agent, 0] = LONG_LOW
        motion.jerk[world, agent, 1] = ZERO
        return
    if speed > ONE:
        agents.standing_time[world, agent] = ZERO

    jerk = (wish - acceleration) / (dt * bodies.jerk_scale[world, agent])
    jerk = clamp(jerk, LONG_LOW, LONG_HIGH)
    motion.jerk[world, agent, 0] = jerk
    next_acceleration = acceleration + jerk * dt * bodies.jerk_scale[world, agent]
    next_speed = max(speed + HALF * (acceleration + next_acceleration) * dt, ZERO)
    curvature = steer_along(
        paths[agent],
        np.int64(info[agent, POINTS]),
        info[agent, LEAVE_END],
        agents,
        bodies,
        world,
        agent,
        next_speed,
    )
    lateral = curvature * next_speed * next_speed
    jerk = (lateral - agents.lateral_acceleration[world, agent]) / (
        dt * bodies.lateral_jerk_scale[world, agent]
    )
    motion.jerk[world, agent, 1] = clamp(jerk, -LATERAL_JERK, LATERAL_JERK)


@njit
def drive(model, data, worker, world):
    """Stage: jerks of scripted agents, and the hard braking of erratic ones."""
    params = model.params
    agents, bodies, motion, scratch = data.agents, data.bodies, data.motion, data.scratch
    dt = data.worlds.dt[world]
    scripted = False
    for agent in range(agents.x.shape[1]):
        present = agents.status[world, agent] != ABSENT
        driver = bodies.driver[world, agent]
        on_lanes = driver not in (EXTERNAL, REPLAY, IDM_LOG, WAYPOINT)
        scripted = scripted or (present and on_lanes)
    paths, info, reach = scratch.path[worker], scratch.path_info[worker], scratch.reach[worker]
    ways = scratch.way[worker]
    if scripted:
        for agent in range(thread_index(), agents.x.shape[1], block_size()):
            present = agents.status[world, agent] != ABSENT
            if present:
                build_path(model, data, world, agent, paths[agent], info[agent])
                spread_way(paths[agent], np.int64(info[agent, POINTS]), ways[agent])
            bound_reach(agents, bodies, info, reach, world, agent, present)
    barrier()
    west, east, south, north = reach[0], reach[1], reach[2], reach[3]
    apart = scratch.square[worker * block_size() + thread_index()]
    for agent in range(thread_index(), agents.x.shape[1], block_size()):
        status = agents.status[world, agent]
        if status != PRESENT:
            continue
        driver = bodies.driver[world, agent]
        if driver == IDM_LOG:
            DRIVE_ON_PATH(model, data, world, agent)
        elif driver not in (EXTERNAL, REPLAY, WAYPOINT):
            look_around(agent, west, east, south, north, apart)
            drive_scripted(model, data, paths, info, worker, world, agent, dt)
        if brakes_at_random(model, data, world, agent):
            motion.jerk[world, agent, 0] = np.float32(params.brake_jerk)
