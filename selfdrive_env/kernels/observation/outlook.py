"""What infos tell of the state of an agent: its speed, the way to its goal, the time to a collision.

Written only with the setting `step_info`; no other stage reads it.

The time to a collision is Hayward's (1972): how long until the body touches another if both keep
their velocity. Which bodies count is as in the Waymo Open Sim Agents Challenge (Montali et al.
2023): those ahead whose box, seen along the own heading, overlaps the strip that the own box
sweeps. There only the nearest that drives in about the same direction counts, and 5 s is the most;
here all count, so also who crosses or comes the other way, and nothing is cut off.
"""

from __future__ import annotations

import numpy as np

from selfdrive_env.compiler.njit import njit
from selfdrive_env.compiler.threads import barrier, block_size, thread_index
from selfdrive_env.kernels.math.geometry import HALF, ZERO
from selfdrive_env.state.road import LEVEL_HEIGHT
from selfdrive_env.state.world import ABSENT, OUTLOOK_GOAL, OUTLOOK_SPEED, OUTLOOK_TIME

__all__ = ["note_last_outlook", "note_outlook", "time_to_contact"]

LEVEL = np.float32(LEVEL_HEIGHT)  # [m]
NEVER = np.float32(np.inf)  # [s]


@njit
def time_to_contact(ahead, side, long, wide, speed, cos, sin, other_long, other_wide, other_speed):
    """Returns when a body touches one ahead of it, both at constant velocity, infinite for never.

    Args:
        ahead: Centre of the other along the own heading, positive [m].
        side: Its distance to either side [m].
        long: Own half length [m].
        wide: Own half width [m].
        speed: Own speed along the heading [m/s].
        cos: Of the angle between the headings.
        sin: Likewise.
        other_long: Half length of the other [m].
        other_wide: Half width [m].
        other_speed: Speed along its heading [m/s].
    """
    c, s = abs(cos), abs(sin)
    if side >= wide + other_long * s + other_wide * c:
        return NEVER
    closing = speed - other_speed * cos
    if closing <= ZERO:
        return NEVER
    gap = ahead - long - (other_long * c + other_wide * s)
    return max(gap, ZERO) / closing


@njit
def find_centres(data, worker, world):
    """Writes the centres of all boxes to `Scratch`; stages that need them write their own."""
    agents, bodies, scratch = data.agents, data.bodies, data.scratch
    for agent in range(thread_index(), agents.x.shape[1], block_size()):
        ahead = HALF * bodies.wheelbase[world, agent]
        scratch.centre_x[worker, agent] = agents.x[world, agent] + ahead * agents.cos[world, agent]
        scratch.centre_y[worker, agent] = agents.y[world, agent] + ahead * agents.sin[world, agent]
    barrier()


@njit
def time_to_collision(data, worker, world, agent):
    """Returns the least `time_to_contact` with the bodies ahead on the same level."""
    agents, bodies = data.agents, data.bodies
    centre_x, centre_y = data.scratch.centre_x[worker], data.scratch.centre_y[worker]
    all_cos, all_sin = agents.cos[world], agents.sin[world]
    length, width = bodies.length[world], bodies.width[world]
    cos, sin, speed = all_cos[agent], all_sin[agent], agents.speed[world, agent]
    x, y, z = centre_x[agent], centre_y[agent], agents.z[world, agent]
    long, wide = HALF * length[agent], HALF * width[agent]
    least = NEVER
    for other in range(centre_x.shape[0]):
        dx = centre_x[other] - x
        dy = centre_y[other] - y
        ahead = dx * cos + dy * sin
        side = abs(dy * cos - dx * sin)
        # Nearly all are out of reach whatever their heading.
        if ahead <= ZERO or side > wide + HALF * (length[other] + width[other]):
            continue
        if other == agent or agents.status[world, other] == ABSENT:
            continue
        if abs(agents.z[world, other] - z) >= LEVEL:
            continue
        time = time_to_contact(
            ahead,
            side,
            long,
            wide,
            speed,
            cos * all_cos[other] + sin * all_sin[other],
            cos * all_sin[other] - sin * all_cos[other],
            HALF * length[other],
            HALF * width[other],
            agents.speed[world, other],
        )
        least = min(least, time)
    return least


@njit
def write_outlook(outlook, data, worker, world, agent):
    """Writes the columns `OUTLOOK_*` of an agent that is in the world."""
    outlook[world, agent, OUTLOOK_SPEED] = data.agents.speed[world, agent]
    outlook[world, agent, OUTLOOK_GOAL] = data.agents.goal_distance[world, agent]
    outlook[world, agent, OUTLOOK_TIME] = time_to_collision(data, worker, world, agent)


@njit
def note_last_outlook(data, worker, world):
    """Stage: writes the outlook of agents whose episode ends, before they are placed anew."""
    agents, output = data.agents, data.output
    find_centres(data, worker, world)
    for agent in range(thread_index(), agents.x.shape[1], block_size()):
        done = output.terminated[world, agent] or output.truncated[world, agent]
        if done and agents.status[world, agent] != ABSENT:
            write_outlook(output.last_outlook, data, worker, world, agent)


@njit
def note_outlook(data, worker, world):
    """Stage: writes the outlook of all agents; those that wait for a reset keep their last one."""
    agents, output = data.agents, data.output
    find_centres(data, worker, world)
    for agent in range(thread_index(), agents.x.shape[1], block_size()):
        if agents.status[world, agent] != ABSENT:
            write_outlook(output.outlook, data, worker, world, agent)
        elif output.terminated[world, agent] or output.truncated[world, agent]:
            for column in range(output.outlook.shape[2]):
                output.outlook[world, agent, column] = output.last_outlook[world, agent, column]
        elif not output.awaiting_reset[world, agent]:
            output.outlook[world, agent, OUTLOOK_SPEED] = ZERO
            output.outlook[world, agent, OUTLOOK_GOAL] = ZERO
            output.outlook[world, agent, OUTLOOK_TIME] = NEVER
