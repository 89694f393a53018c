"""What infos tell of an agent's state: its speed, the way to its goal, the time to a collision.

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
from selfdrive_env.compiler.threads import any_thread, barrier, block_size, thread_index
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
def find_boxes(data, worker, world):
    """Writes centres and reaches of all boxes to `Scratch`; stages that need them write their own.

    The reach, half of length and width together, is more than a box takes up in any direction.
    """
    agents, bodies, scratch = data.agents, data.bodies, data.scratch
    for agent in range(thread_index(), agents.x.shape[1], block_size()):
        ahead = HALF * bodies.wheelbase[world, agent]
        x = agents.x[world, agent] + ahead * agents.cos[world, agent]
        y = agents.y[world, agent] + ahead * agents.sin[world, agent]
        scratch.centre_x[worker, agent] = x
        scratch.centre_y[worker, agent] = y
        size = bodies.length[world, agent] + bodies.width[world, agent]
        scratch.radius[worker, agent] = HALF * size
    barrier()


@njit
def count_in_reach(agent, cos, sin, wide, centre_x, centre_y, reach):
    """Counts the bodies ahead that may lie in the own strip, whatever their headings.

    Few do: this loop has no branches, and who knows the count need not look behind the last one.
    """
    x = centre_x[agent]
    y = centre_y[agent]
    count = np.int64(0)
    for other in range(centre_x.shape[0]):
        dx = centre_x[other] - x
        dy = centre_y[other] - y
        count += (dx * cos + dy * sin > ZERO) & (abs(dy * cos - dx * sin) - wide <= reach[other])
    return count


@njit
def time_to_collision(data, worker, world, agent):
    """Returns the least `time_to_contact` with the bodies ahead on the same level."""
    agents, bodies, scratch = data.agents, data.bodies, data.scratch
    centre_x, centre_y = scratch.centre_x[worker], scratch.centre_y[worker]
    reach = scratch.radius[worker]
    cos, sin = agents.cos[world, agent], agents.sin[world, agent]
    speed, z = agents.speed[world, agent], agents.z[world, agent]
    long, wide = HALF * bodies.length[world, agent], HALF * bodies.width[world, agent]
    least = NEVER
    left = count_in_reach(agent, cos, sin, wide, centre_x, centre_y, reach)
    for other in range(centre_x.shape[0]):
        if left == 0:
            break
        dx = centre_x[other] - centre_x[agent]
        dy = centre_y[other] - centre_y[agent]
        ahead = dx * cos + dy * sin
        side = abs(dy * cos - dx * sin)
        if ahead <= ZERO or side - wide > reach[other]:
            continue
        left -= 1
        if agents.status[world, other] == ABSENT:
            continue
        if abs(agents.z[world, other] - z) >= LEVEL:
            continue
        time = time_to_contact(
            ahead,
            side,
            long,
            wide,
            speed,
            cos * agents.cos[world, other] + sin * agents.sin[world, other],
            cos * agents.sin[world, other] - sin * agents.cos[world, other],
            HALF * bodies.length[world, other],
            HALF * bodies.width[world, other],
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
def ends_now(data, world, agent):
    """Whether the episode of a learner ended in this step."""
    output = data.output
    done = output.terminated[world, agent] or output.truncated[world, agent]
    return done and data.bodies.learner[world, agent] != 0


@njit
def note_last_outlook(data, worker, world):
    """Stage: writes the outlook of learners whose episode ends, before they are placed anew.

    That of the others is zero.
    """
    agents, last = data.agents, data.output.last_outlook
    any_ends = False
    for agent in range(thread_index(), agents.x.shape[1], block_size()):
        any_ends = any_ends or ends_now(data, world, agent)
        for column in range(last.shape[2]):
            last[world, agent, column] = ZERO
    if not any_thread(any_ends):
        return
    find_boxes(data, worker, world)
    for agent in range(thread_index(), agents.x.shape[1], block_size()):
        if ends_now(data, world, agent) and agents.status[world, agent] != ABSENT:
            write_outlook(last, data, worker, world, agent)


@njit
def note_outlook(data, worker, world):
    """Stage: writes the outlook of learners; those that wait for a reset keep their last one."""
    agents, bodies, output = data.agents, data.bodies, data.output
    find_boxes(data, worker, world)
    for agent in range(thread_index(), agents.x.shape[1], block_size()):
        if bodies.learner[world, agent] == 0:
            continue
        if agents.status[world, agent] != ABSENT:
            write_outlook(output.outlook, data, worker, world, agent)
        elif ends_now(data, world, agent):
            for column in range(output.outlook.shape[2]):
                output.outlook[world, agent, column] = output.last_outlook[world, agent, column]
        elif not output.awaiting_reset[world, agent]:
            output.outlook[world, agent, OUTLOOK_SPEED] = ZERO
            output.outlook[world, agent, OUTLOOK_GOAL] = ZERO
            output.outlook[world, agent, OUTLOOK_TIME] = NEVER
