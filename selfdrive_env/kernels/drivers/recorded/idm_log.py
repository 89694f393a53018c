"""IDM on the path that an agent was recorded on: it chooses the speed, the record where to.

The formula and its numbers are those of kernels/drivers/idm.py. It wants the limit of its lane, or
the fastest that it was recorded at if that is more, and less before bends; the leader is the
nearest body on its path. It stops at red lights and stop signs that the path passes. It brakes by
at most `MOST_BRAKING`, but for what is left between it and the leader: it never drives into who is
there at the start of the step. It gives way to nobody who is not on its path.
"""

from __future__ import annotations

import numpy as np

from selfdrive_env.compiler.njit import njit
from selfdrive_env.kernels.drivers.erratic import is_blind
from selfdrive_env.kernels.drivers.idm import MAX_ACCELERATION, idm_acceleration, stop_wish
from selfdrive_env.kernels.drivers.lines import stops_at_yellow
from selfdrive_env.kernels.drivers.recorded.leaders import Leader, leader_on_path
from selfdrive_env.kernels.dynamics.recorded.path import (
    path_segment,
    place_on_path,
    sense_on_path,
    way_of_step,
)
from selfdrive_env.kernels.math.geometry import HALF, TWO, ZERO, clamp
from selfdrive_env.kernels.road import UNREACHABLE
from selfdrive_env.state.world import GREEN, NO_LIGHT, STOP_SIGN, YELLOW

__all__ = ["drive_on_path"]

MOST_BRAKING = np.float32(8.0)  # [m/s^2]
LINE_SLACK = np.float32(0.8)  # beyond a line where it still counts [m]
STOP_ZONE = np.float32(6.0)  # before a stop sign, where standing counts [m]
STANDING = np.float32(0.3)  # [m/s]
LEAST_ROOM = np.float32(0.01)  # [m]


@njit
def line_wish(model, data, world, agent, s, speed, acceleration, wanted):
    """Returns the acceleration that stops at the first line that holds an agent [m/s^2].

    `UNREACHABLE` where none does. It notes the stop sign that the agent stands at.

    Args:
        model: Model.
        data: Data.
        world: World.
        agent: Agent.
        s: Where its middle is on its path [m].
        speed: Along it [m/s].
        acceleration: Likewise [m/s^2].
        wanted: Speed that it would like to have [m/s].
    """
    scenes, agents = model.scenes, data.agents
    scene = np.int64(data.worlds.scene[world])
    first_line = np.int64(model.signs.map_line_first[data.worlds.map[world]])
    front = s + HALF * data.bodies.length[world, agent]
    for place in range(scenes.path_line.shape[2]):
        line = np.int64(scenes.path_line[scene, agent, place])
        if line < 0:
            return UNREACHABLE
        gap = scenes.path_line_s[scene, agent, place] - front
        colour = data.lights.line_colour[world, line]
        if gap < -LINE_SLACK or colour in (NO_LIGHT, GREEN):
            continue
        if colour == STOP_SIGN:
            if speed <= STANDING and gap < STOP_ZONE:
                agents.stopped_at[world, agent] = first_line + line
            if agents.stopped_at[world, agent] == first_line + line:
                continue
        elif colour == YELLOW and not stops_at_yellow(speed, acceleration, gap):
            continue
        return stop_wish(speed, wanted, gap)
    return UNREACHABLE


@njit
def kept_before(wish, speed, gap, dt):
    """Returns a harder braking where an acceleration would lead beyond a gap within a step.

    Args:
        wish: Acceleration [m/s^2].
        speed: [m/s]
        gap: [m]
        dt: [s]
    """
    way, _ = way_of_step(speed, wish, dt)
    if way <= gap:
        return wish
    return -speed * speed / (TWO * max(gap, LEAST_ROOM))


@njit
def drive_on_path(model, data, world, agent):
    """Chooses the jerk of an agent that keeps to its path: none for one that stands for good.

    Args:
        model: Model.
        data: Data.
        world: World.
        agent: Agent.
    """
    scenes, lanes, worlds = model.scenes, model.lanes, data.worlds
    agents, bodies = data.agents, data.bodies
    scene, dt = np.int64(worlds.scene[world]), worlds.dt[world]
    path, count = scenes.path[scene, agent], np.int64(scenes.path_points[scene, agent])
    data.motion.jerk[world, agent, 0] = ZERO
    data.motion.jerk[world, agent, 1] = ZERO
    if count < 2:
        return
    s = agents.path_s[world, agent]
    place = place_on_path(path, path_segment(path, count, s, np.int64(0)), s)
    sense = sense_on_path(place)
    speed, acceleration = abs(agents.speed[world, agent]), sense * agents.acceleration[world, agent]
    limit = lanes.speed_limit[lanes.segment_lane[agents.segment[world, agent]]]
    wanted = min(place.speed, max(limit, scenes.path_pace[scene, agent]))

    leader = Leader(UNREACHABLE, ZERO)
    if not is_blind(
        bodies.erratic[world, agent],
        worlds.key[world, 0],
        worlds.key[world, 1],
        worlds.stream[world],
        agent,
        worlds.tick[world],
        worlds.dt_ns[world],
    ):
        leader = leader_on_path(path, count, s, agents, bodies, world, agent)
    wish = idm_acceleration(speed, wanted, leader.gap, speed - leader.pace)
    wish = min(wish, line_wish(model, data, world, agent, s, speed, acceleration, wanted))
    wish = clamp(wish, -MOST_BRAKING, MAX_ACCELERATION)
    wish = kept_before(wish, speed, leader.gap, dt)
    data.motion.jerk[world, agent, 0] = (wish - acceleration) / dt
