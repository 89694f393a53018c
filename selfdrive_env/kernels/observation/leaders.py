"""Which bodies lie on the way ahead of an agent, which is the first, and who comes behind.

A body lies on the way if its box meets one of the boxes of the own width that reach from each point
of the way one step along its lane. Who comes behind is found on the lanes that lead to the own
place; where others go is not known.
"""

from __future__ import annotations

import numpy as np

from selfdrive_env.compiler.njit import inline, njit
from selfdrive_env.compiler.simd import alone_size, bits_of, first_bit, least, load, most, store
from selfdrive_env.kernels.math.geometry import HALF, ONE, ZERO
from selfdrive_env.kernels.math.random import DRAW_NOISE, normal_pair, uniforms
from selfdrive_env.kernels.observation.crowd import (
    COS,
    FACING,
    HALF_LENGTH,
    HALF_WIDTH,
    LANE,
    LEFT,
    SIN,
    SIZE_X,
    SIZE_Y,
    SPEED,
    D,
    S,
    X,
    Y,
    Z,
)
from selfdrive_env.kernels.observation.kept_way import (
    ALL_EAST,
    ALL_NORTH,
    ALL_SOUTH,
    ALL_WEST,
    CHUNKS,
    EAST,
    NORTH,
    PLACE,
    SOUTH,
    STRETCHES,
    WEST,
    chunks_ahead,
)
from selfdrive_env.kernels.observation.way import (
    FOLLOWER,
    LEADER,
    WAY_COS,
    WAY_POINTS,
    WAY_SIN,
    WAY_STEP,
    WAY_X,
    WAY_Y,
    WAY_Z,
    lay_way,
)
from selfdrive_env.state.road import LEVEL_HEIGHT

__all__ = ["OFF_THE_WAY", "find_leaders"]

OFF_THE_WAY = np.float32(1.0e6)
"""Way ahead of bodies that do not lie on it [m]."""

SAME_LEVEL = np.nextafter(np.float32(LEVEL_HEIGHT), np.float32(0.0))
"""Largest difference in elevation of what is on one level [m]."""

REACH_BEHIND = np.float32(50.0)  # [m]
HALF_STEP = HALF * WAY_STEP  # [m]
TINY = np.float32(1.0e-3)  # [m]


@njit
def first_on_way(way, half_width, x, y, cos, sin, long, wide, z):
    """Returns how far along a way a box lies, `OFF_THE_WAY` if it does not, and at which point.

    Args:
        way: Points, [WAY_COLUMNS, WAY_ROOM].
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
    way_x, way_y, way_z = way[WAY_X], way[WAY_Y], way[WAY_Z]
    for at in range(0, WAY_POINTS, alone_size()):
        way_cos, way_sin = load(way[WAY_COS], at), load(way[WAY_SIN], at)
        dx = x - load(way_x, at) - HALF_STEP * way_cos
        dy = y - load(way_y, at) - HALF_STEP * way_sin
        # What `boxes_overlap` asks, and whether both are on one level.
        c, s = abs(cos * way_cos + sin * way_sin), abs(way_cos * sin - way_sin * cos)
        by_way = least(
            HALF_STEP + long * c + wide * s - abs(dx * way_cos + dy * way_sin),
            half_width + long * s + wide * c - abs(dy * way_cos - dx * way_sin),
        )
        by_box = least(
            long + HALF_STEP * c + half_width * s - abs(dx * cos + dy * sin),
            wide + HALF_STEP * s + half_width * c - abs(dy * cos - dx * sin),
        )
        level = SAME_LEVEL - abs(z - load(way_z, at))
        bits = bits_of(least(least(by_way, by_box), level))
        while bits != 0:
            number = at + first_bit(bits)
            bits &= bits - 1
            cos_there, sin_there = way[WAY_COS, number], way[WAY_SIN, number]
            dx_there = x - way_x[number] - HALF_STEP * cos_there
            dy_there = y - way_y[number] - HALF_STEP * sin_there
            along = dx_there * cos_there + dy_there * sin_there
            if number == 0 and along <= -HALF_STEP:  # it is behind
                continue
            turned_cos = abs(cos * cos_there + sin * sin_there)
            turned_sin = abs(sin * cos_there - cos * sin_there)
            near = HALF_STEP + along - long * turned_cos - wide * turned_sin
            return WAY_STEP * np.float32(number) + max(near, ZERO), number
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
def note_body(model, data, world, agent, other, gap, speed, info, column):
    """Writes gap and speed of a leader or a follower to `Scratch.ahead`, with noise.

    Args:
        model: Of the batch.
        data: Of the batch.
        world: Which.
        agent: Who observes.
        other: Whom.
        gap: Between the bumpers [m].
        speed: Of the other along the way [m/s].
        info: Row of `Scratch.ahead`.
        column: Where it is written.
    """
    noise = np.float32(model.params.noise)
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
def may_lie_ahead(crowd, at, numbers, room):
    """Tells which bodies, from `at` on, may lie on a way: not negative where they may.

    Args:
        crowd: Of the world, `Scratch.crowd`.
        at: Slot of the first.
        numbers: Row of `Scratch.kept_numbers`, with the bounds of the way.
        room: How far the way reaches out of them [m].
    """
    x, y = load(crowd[X], at), load(crowd[Y], at)
    size_x, size_y = load(crowd[SIZE_X], at) + room, load(crowd[SIZE_Y], at) + room
    from_west, from_east = x - numbers[ALL_WEST] + size_x, numbers[ALL_EAST] - x + size_x
    from_south, from_north = y - numbers[ALL_SOUTH] + size_y, numbers[ALL_NORTH] - y + size_y
    return least(least(from_west, from_east), least(from_south, from_north))


@inline
def chunks_near(chunk, crowd, other, room):
    """Returns a number with a bit set for each piece of a way that a body may touch.

    Args:
        chunk: Bounds of the pieces, `Scratch.chunk` of an agent.
        crowd: Of the world, `Scratch.crowd`.
        other: The body.
        room: How far the way reaches out of them [m].
    """
    x, size_x = crowd[X, other], crowd[SIZE_X, other] + room
    y, size_y = crowd[Y, other], crowd[SIZE_Y, other] + room
    bits = np.int64(0)
    for at in range(0, CHUNKS, alone_size()):
        across = least(x + size_x - load(chunk[WEST], at), load(chunk[EAST], at) + size_x - x)
        along = least(y + size_y - load(chunk[SOUTH], at), load(chunk[NORTH], at) + size_y - y)
        bits |= bits_of(least(across, along)) << at
    return bits


@inline
def may_follow(crowd, at, square, own):
    """Tells which bodies, from `at` on, may follow another: not negative where they may.

    Args:
        crowd: Of the world, `Scratch.crowd`.
        at: Slot of the first.
        square: How far they are away, squared [m^2].
        own: Lane, s, d, half width and elevation of the other.
    """
    lane, s, d, half_width, z = own
    same_lane = HALF - abs(load(crowd[LANE], at) - lane)
    behind = least(same_lane, s - load(crowd[S], at) + TINY)
    earlier_lane = REACH_BEHIND - s - load(crowd[LEFT], at) + TINY
    beside = half_width + load(crowd[HALF_WIDTH], at) - abs(load(crowd[D], at) - d)
    level = SAME_LEVEL - abs(load(crowd[Z], at) - z)
    near = least(REACH_BEHIND * REACH_BEHIND - square, load(crowd[FACING], at))
    return least(least(most(behind, earlier_lane), near), least(beside, level))


@njit
def find_leaders(model, data, way, along, square, worker, world, agent):
    """Writes who is on the way of an agent: the first ahead, and the next behind on its lanes.

    Args:
        model: Of the batch.
        data: Of the batch; its scratch has the poses, and gets `ahead` of the agent.
        way: Room for its points, [WAY_COLUMNS, WAY_ROOM].
        along: Receives how far along the way each body lies, `OFF_THE_WAY` for none, [A] [m].
        square: Receives the squared distance of each body, [A] [m^2].
        worker: Who works.
        world: Which.
        agent: Who observes.
    """
    scratch = data.scratch
    crowd, info = scratch.crowd[worker], scratch.ahead[worker, agent]
    numbers = scratch.kept_numbers[world, agent]
    x, y, half_width = crowd[X, agent], crowd[Y, agent], crowd[HALF_WIDTH, agent]
    own = (crowd[LANE, agent], crowd[S, agent], crowd[D, agent], half_width, crowd[Z, agent])
    leader, ahead, at_point = np.int64(-1), OFF_THE_WAY, np.int64(0)
    follower, behind = np.int64(-1), REACH_BEHIND
    room = half_width + TINY
    is_laid, pieces = False, chunks_ahead(scratch.kept_way[world, agent, PLACE], own[1])
    for at in range(0, square.shape[0], alone_size()):
        dx, dy = load(crowd[X], at) - x, load(crowd[Y], at) - y
        apart = dx * dx + dy * dy
        store(square, at, apart)
        store(along, at, OFF_THE_WAY)
        bits = bits_of(may_lie_ahead(crowd, at, numbers, room))
        after = bits_of(may_follow(crowd, at, apart, own))
        while bits != 0:
            other = at + first_bit(bits)
            bits &= bits - 1
            near = chunks_near(scratch.chunk[world, agent], crowd, other, room)
            if other == agent or near & pieces == 0:
                continue
            if not is_laid:
                is_laid = True
                lay_way(
                    model.lanes.segment, scratch.stretch[world, agent],
                    scratch.stretch_segment[world, agent],
                    np.int64(scratch.kept_way[world, agent, STRETCHES]), own[1], way,
                )  # fmt: skip
            distance, number = first_on_way(
                way, half_width, crowd[X, other], crowd[Y, other], crowd[COS, other],
                crowd[SIN, other], crowd[HALF_LENGTH, other], crowd[HALF_WIDTH, other],
                crowd[Z, other],
            )  # fmt: skip
            along[other] = distance
            if distance < ahead:
                leader, ahead, at_point = other, distance, number
        while after != 0:
            other = at + first_bit(after)
            after &= after - 1
            if other == agent:
                continue
            distance = follows(model, data, world, agent, other)
            if distance < behind:
                follower, behind = other, distance
    half_length = crowd[HALF_LENGTH, agent]
    if leader >= 0:
        pace = crowd[COS, leader] * way[WAY_COS, at_point]
        pace += crowd[SIN, leader] * way[WAY_SIN, at_point]
        speed = crowd[SPEED, leader] * pace
        note_body(model, data, world, agent, leader, ahead - half_length, speed, info, LEADER)
    if follower >= 0:
        gap = behind - half_length - crowd[HALF_LENGTH, follower]
        speed = crowd[SPEED, follower] * crowd[FACING, follower]
        note_body(model, data, world, agent, follower, gap, speed, info, FOLLOWER)
