"""Which bodies lie on the way ahead of an agent, which is the first, and who comes behind.

A body lies on the way if its box meets one of the boxes of the own width that reach from each point
of the way one step along its lane. Who comes behind is found on the lanes that lead to the own
place; where others go is not known.
"""

from __future__ import annotations

import numpy as np

from selfdrive_env.compiler.njit import inline, njit
from selfdrive_env.kernels.math.geometry import HALF, ONE, ZERO, boxes_overlap
from selfdrive_env.kernels.math.random import DRAW_NOISE, normal_pair, uniforms
from selfdrive_env.kernels.observation.way import (
    EAST,
    FOLLOWER,
    LEADER,
    NORTH,
    POINTS,
    SOUTH,
    WAY_COS,
    WAY_SIN,
    WAY_STEP,
    WAY_X,
    WAY_Y,
    WAY_Z,
    WEST,
)
from selfdrive_env.state.road import LEVEL_HEIGHT
from selfdrive_env.state.world import ABSENT

__all__ = ["OFF_THE_WAY", "find_leaders"]

OFF_THE_WAY = np.float32(1.0e6)
"""Way ahead of bodies that do not lie on it [m]."""

LEVEL = np.float32(LEVEL_HEIGHT)  # [m]
REACH_BEHIND = np.float32(50.0)  # [m]
HALF_STEP = HALF * WAY_STEP  # [m]
PER_STEP = ONE / WAY_STEP  # [1/m]
TWO = np.float32(2.0)


@njit
def first_on_way(way, count, half_width, x, y, cos, sin, long, wide, z):
    """Returns how far along a way a box lies, `OFF_THE_WAY` if it does not, and at which point.

    Args:
        way: Points, [WAY_COLUMNS, points].
        count: How many of them.
        half_width: Of the own body [m].
        x: Of the box's centre, east [m].
        y: North [m].
        cos: Of its heading.
        sin: Likewise.
        long: Its half length [m].
        wide: Its half width [m].
        z: Its elevation [m].

    Returns:
        From the start of the way to the nearest end of the box [m], and the number of the point.
    """
    reach = long + wide
    number = np.int64(0)
    while number < count:
        way_cos, way_sin = way[WAY_COS, number], way[WAY_SIN, number]
        dx = x - way[WAY_X, number] - HALF_STEP * way_cos
        dy = y - way[WAY_Y, number] - HALF_STEP * way_sin
        along, aside = dx * way_cos + dy * way_sin, dy * way_cos - dx * way_sin
        # What lies so far off is not met before as many steps.
        off = max(abs(along) - HALF_STEP, abs(aside) - half_width) - reach
        if off > ZERO:
            number += max(np.int64(off * PER_STEP), 1)
            continue
        passed = number == 0 and along <= -HALF_STEP
        if passed or abs(z - way[WAY_Z, number]) >= LEVEL:
            number += 1
            continue
        if boxes_overlap(dx, dy, way_cos, way_sin, HALF_STEP, half_width, cos, sin, long, wide):
            turned_cos = abs(cos * way_cos + sin * way_sin)
            turned_sin = abs(sin * way_cos - cos * way_sin)
            near = HALF_STEP + along - long * turned_cos - wide * turned_sin
            return WAY_STEP * np.float32(number) + max(near, ZERO), number
        number += 1
    return OFF_THE_WAY, np.int64(0)


@njit
def way_behind(lanes, lane, s, own_lane, own_s):
    """Returns the way from (lane, s) forward to (own_lane, own_s), `OFF_THE_WAY` for none or far.

    At most three lanes on.
    """
    if lane == own_lane and own_s >= s:
        return own_s - s
    best = OFF_THE_WAY
    first = lanes.length[lane] - s + own_s
    if first > REACH_BEHIND:
        return best
    for i in range(lanes.successor_first[lane], lanes.successor_first[lane + 1]):
        one = np.int64(lanes.successor[i])
        if one == own_lane:
            best = min(best, first)
        second = first + lanes.length[one]
        if second > REACH_BEHIND:
            continue
        for j in range(lanes.successor_first[one], lanes.successor_first[one + 1]):
            two = np.int64(lanes.successor[j])
            if two == own_lane:
                best = min(best, second)
            third = second + lanes.length[two]
            if third > REACH_BEHIND:
                continue
            for k in range(lanes.successor_first[two], lanes.successor_first[two + 1]):
                if lanes.successor[k] == own_lane:
                    best = min(best, third)
    return best


@njit
def follows(model, data, world, agent, other):
    """Returns how far behind an agent another drives on its lane, `OFF_THE_WAY` if it does not."""
    lanes, agents, bodies = model.lanes, data.agents, data.bodies
    aside = abs(agents.d[world, other] - agents.d[world, agent])
    if aside >= HALF * (bodies.width[world, other] + bodies.width[world, agent]):
        return OFF_THE_WAY
    if agents.angle_cos[world, other] <= ZERO:
        return OFF_THE_WAY
    return way_behind(
        lanes,
        np.int64(lanes.segment_lane[agents.segment[world, other]]),
        agents.s[world, other],
        np.int64(lanes.segment_lane[agents.segment[world, agent]]),
        agents.s[world, agent],
    )


@inline
def note_body(data, noise, world, agent, other, gap, speed, info, column):
    """Writes gap and speed of a leader or a follower to `Scratch.ahead`, with noise.

    Args:
        data: Of the batch.
        noise: Standard deviation of what is seen [m], [m/s].
        world: Which.
        agent: Who observes.
        other: Whom.
        gap: Between the bumpers [m].
        speed: Of the other along the way [m/s].
        info: Row of `Scratch.ahead`.
        column: Where it is written.
    """
    if noise > ZERO:
        worlds = data.worlds
        a, b, c, d = uniforms(
            worlds.key[world, 0], worlds.key[world, 1], worlds.stream[world], agent,
            worlds.tick[world], DRAW_NOISE, other,
        )  # fmt: skip
        along, _ = normal_pair(a, b)
        faster, _ = normal_pair(c, d)
        gap += noise * along
        speed += noise * faster
    info[column] = ONE
    info[column + 1] = max(gap, ZERO)
    info[column + 2] = speed


@inline
def mark_near(data, info, along, marks, worker, world, agent):
    """Marks bodies that may lie on the way of an agent (1) and those within reach behind it (2).

    Few do: this loop has no branches, and who knows the count need not look behind the last one.

    Args:
        data: Of the batch.
        info: Row of `Scratch.ahead`, with the bounds of the way.
        along: Is set to `OFF_THE_WAY`, [A].
        marks: Receives the marks, their sum where both hold, [A].
        worker: Who works.
        world: Which.
        agent: Who observes; it is marked, too.

    Returns:
        How many are marked.
    """
    scratch = data.scratch
    centre_x, centre_y = scratch.centre_x[worker], scratch.centre_y[worker]
    length, width = data.bodies.length[world], data.bodies.width[world]
    x, y = centre_x[agent], centre_y[agent]
    west, east, south, north = info[WEST], info[EAST], info[SOUTH], info[NORTH]
    count = np.int64(0)
    for other in range(centre_x.shape[0]):
        room = HALF * (length[other] + width[other])
        other_x, other_y = centre_x[other], centre_y[other]
        dx, dy = other_x - x, other_y - y
        ahead = (other_x > west - room) & (other_x < east + room)
        ahead = ahead & (other_y > south - room) & (other_y < north + room)
        behind = dx * dx + dy * dy <= REACH_BEHIND * REACH_BEHIND
        along[other] = OFF_THE_WAY
        marks[other] = (ONE if ahead else ZERO) + (TWO if behind else ZERO)
        count += ahead | behind
    return count


@njit
def find_leaders(model, data, way, along, marks, worker, world, agent):
    """Writes who is on the way of an agent: the first ahead, and the next behind on its lanes.

    Args:
        model: Of the batch.
        data: Of the batch; its scratch has the poses, and gets `ahead` of the agent.
        way: Of the agent, [WAY_COLUMNS, points].
        along: Receives how far along the way each body lies, `OFF_THE_WAY` for none, [A] [m].
        marks: Room for a number of each body, [A].
        worker: Who works.
        world: Which.
        agent: Who observes.
    """
    agents, bodies, scratch = data.agents, data.bodies, data.scratch
    info = scratch.ahead[worker, agent]
    left = mark_near(data, info, along, marks, worker, world, agent)
    if left <= 1:
        return
    centre_x, centre_y = scratch.centre_x[worker], scratch.centre_y[worker]
    length, width, z = bodies.length[world], bodies.width[world], agents.z[world]
    cos, sin, speed = agents.cos[world], agents.sin[world], agents.speed[world]
    noise = np.float32(model.params.noise)
    count = np.int64(info[POINTS])
    half_length, half_width = HALF * length[agent], HALF * width[agent]
    leader, ahead, at = np.int64(-1), OFF_THE_WAY, np.int64(0)
    follower, behind = np.int64(-1), REACH_BEHIND
    for other in range(centre_x.shape[0]):
        if left == 0:
            break
        mark = marks[other]
        if mark == ZERO:
            continue
        left -= 1
        if other == agent or agents.status[world, other] == ABSENT:
            continue
        if mark != TWO:
            distance, number = first_on_way(
                way, count, half_width, centre_x[other], centre_y[other], cos[other], sin[other],
                HALF * length[other], HALF * width[other], z[other],
            )  # fmt: skip
            along[other] = distance
            if distance < ahead:
                leader, ahead, at = other, distance, number
        if mark < TWO or abs(z[other] - z[agent]) >= LEVEL:
            continue
        distance = follows(model, data, world, agent, other)
        if distance < behind:
            follower, behind = other, distance
    if leader >= 0:
        pace = cos[leader] * way[WAY_COS, at] + sin[leader] * way[WAY_SIN, at]
        note_body(
            data, noise, world, agent, leader, ahead - half_length, speed[leader] * pace, info,
            LEADER,
        )  # fmt: skip
    if follower >= 0:
        gap = behind - half_length - HALF * length[follower]
        pace = agents.angle_cos[world, follower]
        note_body(data, noise, world, agent, follower, gap, speed[follower] * pace, info, FOLLOWER)
