"""What happened to each agent in a step: comfort, wrong way, episode ends, tallies."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from selfdrive_env.compiler.njit import njit
from selfdrive_env.compiler.threads import barrier, block_size, thread_index
from selfdrive_env.kernels.math.geometry import HALF, ZERO
from selfdrive_env.state.params import STOP, TERMINATE
from selfdrive_env.state.world import (
    ABSENT,
    EVENT_COLLISION,
    EVENT_COMFORT,
    EVENT_LAST_GOAL,
    EVENT_LOST,
    EVENT_OFFROAD,
    EVENT_RED_LIGHT,
    EVENT_STOP_SIGN,
    EVENT_TOW,
    EVENT_WRONG_WAY,
    HALTED,
    NUM_COUNTS,
    STANDING,
    Event,
)

__all__ = ["METRICS", "begin_step", "measure", "uncomfortable"]

COMFORT_ACCELERATION = np.float32(3.0)  # [m/s^2]
COMFORT_JERK = np.float32(5.0)  # [m/s^3]
WRONG_WAY_COS = np.float32(-0.5)
WRONG_WAY_SPEED = np.float32(1.0)  # [m/s]


class Metric(NamedTuple):
    """What is counted of an episode."""

    event: Event
    name: str
    meaning: str
    unit: str = "1"


METRICS = (
    Metric(Event.GOAL, "goals", "targets reached, the last one included"),
    Metric(Event.LAST_GOAL, "last_goal", "routes completed"),
    Metric(Event.COLLISION, "collisions", "contacts with other bodies begun"),
    Metric(Event.OFFROAD, "offroad", "departures from the drivable surface begun"),
    Metric(Event.RED_LIGHT, "red_lights", "stop lines passed on red"),
    Metric(Event.STOP_SIGN, "stop_signs", "stop signs passed without having stopped"),
    Metric(Event.COMFORT, "uncomfortable", "steps with |a| > 3 m/s^2 or |jerk| > 5 m/s^3"),
    Metric(Event.WRONG_WAY, "wrong_way", "steps driven against a lane outside junctions"),
    Metric(Event.LOST, "lost", "episodes ended because no way leads on"),
    Metric(
        Event.TOW,
        "tows",
        "times a scripted driver was towed, having stood for 90 s (8 s behind a breakdown)",
    ),
    Metric(Event.YIELD, "yield_violations", "junctions entered in the way of one that goes first"),
)
"""Counted metrics of an episode, in the order of `Event`: columns of `Tallies.count`."""


@njit
def uncomfortable(acceleration, lateral, jerk_long, jerk_lat):
    """Returns the number of comfort bounds exceeded, 0 to 3."""
    return (
        np.int64(abs(acceleration) > COMFORT_ACCELERATION)
        + np.int64(abs(lateral) > COMFORT_ACCELERATION)
        + np.int64(abs(jerk_long) > COMFORT_JERK or abs(jerk_lat) > COMFORT_JERK)
    )


@njit
def ends_episode(event, mask, behaviour, wanted):
    """Whether an event of `mask` came and the setting for it is `wanted`."""
    return (event & mask) != 0 and behaviour == wanted


@njit
def begin_step(model, data, worker, world):
    """Clears the events and notes who was halted before."""
    agents, output, scratch = data.agents, data.output, data.scratch
    for agent in range(thread_index(), agents.x.shape[1], block_size()):
        output.event[world, agent] = 0
        scratch.halted[worker, agent] = agents.status[world, agent] == HALTED


@njit
def measure(model, data, worker, world):
    """Stage: completes the events of a step, decides who is done, and adds to the tallies."""
    params, lanes = model.params, model.lanes
    worlds, agents, motion, tallies = data.worlds, data.agents, data.motion, data.tallies
    output = data.output
    clock = worlds.clock[world] + 1
    time_up = clock >= worlds.horizon[world]
    dt = worlds.dt[world]
    barrier()
    if thread_index() == 0:
        worlds.clock[world] = clock
        worlds.ended[world] = time_up
    for agent in range(thread_index(), agents.x.shape[1], block_size()):
        output.terminated[world, agent] = 0
        output.truncated[world, agent] = 0
        status = agents.status[world, agent]
        if status in (ABSENT, STANDING):
            continue
        event = output.event[world, agent]
        if status != HALTED:
            if (
                uncomfortable(
                    agents.acceleration[world, agent],
                    agents.lateral_acceleration[world, agent],
                    motion.realised_jerk[world, agent, 0],
                    motion.realised_jerk[world, agent, 1],
                )
                > 0
            ):
                event |= EVENT_COMFORT
            lane = lanes.segment_lane[agents.segment[world, agent]]
            if (
                lanes.junction[lane] < 0
                and agents.angle_cos[world, agent] < WRONG_WAY_COS
                and agents.speed[world, agent] > WRONG_WAY_SPEED
            ):
                event |= EVENT_WRONG_WAY
            output.event[world, agent] = event

        lights = EVENT_RED_LIGHT | EVENT_STOP_SIGN
        terminated = (
            ends_episode(event, EVENT_COLLISION, params.on_collision, TERMINATE)
            or ends_episode(event, EVENT_OFFROAD, params.on_offroad, TERMINATE)
            or ends_episode(event, lights, params.on_red_light, TERMINATE)
            or (event & (EVENT_LAST_GOAL | EVENT_LOST)) != 0
        )
        halts = (
            ends_episode(event, EVENT_COLLISION, params.on_collision, STOP)
            or ends_episode(event, EVENT_OFFROAD, params.on_offroad, STOP)
            or ends_episode(event, lights, params.on_red_light, STOP)
        )
        if status == HALTED:
            agents.standing_time[world, agent] += dt
        elif halts:
            agents.standing_time[world, agent] = ZERO
            agents.status[world, agent] = HALTED
            agents.speed[world, agent] = ZERO
            agents.acceleration[world, agent] = ZERO
            agents.lateral_acceleration[world, agent] = ZERO
        if status == HALTED or halts:  # nothing follows that a value could stand for
            towed_after = agents.standing_time[world, agent] > params.tow_after - HALF * dt
            terminated = terminated or time_up or towed_after
        output.terminated[world, agent] = terminated
        towed = (event & EVENT_TOW) != 0
        output.truncated[world, agent] = (time_up or towed) and not terminated

        tallies.distance[world, agent] += abs(motion.travel[world, agent])
        for bit in range(NUM_COUNTS):
            tallies.count[world, agent, bit] += (event >> bit) & 1
