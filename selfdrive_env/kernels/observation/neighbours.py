"""The nearest agents: found from those of the step before, and written."""

from __future__ import annotations

import numpy as np

from selfdrive_env.compiler.njit import inline
from selfdrive_env.compiler.simd import (
    below,
    columns_of,
    flags_of,
    least,
    load,
    most,
    put,
    root,
    wide_lane,
    wide_place,
    wide_size,
)
from selfdrive_env.compiler.threads import stages_rows, warp_lane, warp_size
from selfdrive_env.config.observation import WIDTHS, plane_of
from selfdrive_env.kernels.math.geometry import HALF, ONE, ZERO, squash
from selfdrive_env.kernels.math.random import DRAW_NOISE, normal_pair, uniforms
from selfdrive_env.kernels.observation.crowd import Z as BODY_Z
from selfdrive_env.kernels.observation.leaders import OFF_THE_WAY
from selfdrive_env.kernels.observation.scales import (
    UNIT,
    balanced,
    clipped,
    length_part,
    per_size_of,
    size_of,
    turned,
    width_part,
)
from selfdrive_env.state.road import VIEW_RANGE

__all__ = ["SEEN_PLANES", "nearest_agents", "write_neighbours"]

VIEW_SQUARED = np.float32(VIEW_RANGE * VIEW_RANGE)  # [m^2]
HUGE = np.float32(1.0e12)
TINY = np.float32(1.0e-3)  # [m]
SLOT_BITS = np.int64(32)
SLOT_MASK = np.int64(0xFFFFFFFF)
ON_WAY, WALKS, ON_TWO_WHEELS = 1 << 30, 1 << 29, 1 << 28
"""Bits of an entry of `Scratch.nearest`: that body lies on the way of who observes; its kind."""

KIND_BITS = 28
NUMBER = ON_TWO_WHEELS - 1
"""Bits that hold its slot + 1."""

PLANES, SEEN_PLANES = WIDTHS["agents"], 3
(X, Y, X_NEAR, Y_NEAR, COS, SIN, ALONG, ACROSS, GAP, CLOSING, LENGTH, WIDTH, HEIGHT, ON_ROUTE, KIND,
    VALID) = range(PLANES)  # fmt: skip
assert tuple(plane_of("agents", name) for name in ("valid", "on_route")) == (VALID, ON_ROUTE)

FAR_SIZE = size_of("agents", "x")  # [m]
PER_NEAR, PER_HEIGHT = per_size_of("agents", "x_near"), per_size_of("agents", "height")
"""[1/m]"""
SPEED_SIZE, CLOSING_SIZE = size_of("agents", "speed_along"), size_of("agents", "closing_speed")
"""[m/s]"""
GAP_SIZE = size_of("agents", "gap")  # [m]


@inline
def agent_key(square, other):
    """Returns a number that orders agents by squared distance, then by slot."""
    return (np.int64(np.float32(square).view(np.int32)) << SLOT_BITS) | other


@inline
def insert_key(keys, count, key):
    """Inserts a key into the ascending list of the first `count`."""
    place = count
    while place > 0 and keys[place - 1] > key:
        keys[place] = keys[place - 1]
        place -= 1
    keys[place] = key


@inline
def recall_nearest(slots, square, known, keys):
    """Writes the agents of the step before that are in view to `keys`, nearest first."""
    count = np.int64(0)
    farthest = np.int64(0)
    for slot in range(slots):
        other = (np.int64(known[slot]) & NUMBER) - 1
        if other < 0:
            break
        if square[other] > VIEW_SQUARED:
            continue
        key = agent_key(square[other], other)
        if key > farthest:
            keys[count] = key
            farthest = key
        else:
            insert_key(keys, count, key)
        count += 1
    return count


@inline
def nearest_agents(agent, slots, kind, along, square, known, keys):
    """Writes the nearest agents within view to `known`, slot + 1 each, nearest first, then 0.

    Those on the way of the agent, of whom `along` tells how far, get the bit `ON_WAY`; bits tell
    the kind, too. The list starts from those that were nearest at the step before, which are nearly
    in order; then it takes in whoever else is nearer than its last. The result does not depend on
    what `known` held.

    Args:
        agent: Who observes.
        slots: How many it can see.
        kind: Of road user each is, plane of `Scratch.crowd`.
        along: How far along its way each lies [m].
        square: Squared distance of each; is overwritten [m^2].
        known: Row of `Scratch.nearest`.
        keys: Room for a number a slot.
    """
    num_agents = along.shape[0]
    square[agent] = HUGE
    count = recall_nearest(slots, square, known, keys)
    bound = VIEW_SQUARED
    if 0 < count == slots:
        bound = square_of(keys[count - 1])
    hits = np.int64(0)
    for other in range(num_agents):
        hits += square[other] <= bound
    if hits > count:
        for slot in range(count):
            square[keys[slot] & SLOT_MASK] = HUGE
        for other in range(num_agents):
            if square[other] > bound:
                continue
            key = agent_key(square[other], other)
            if count < slots:
                insert_key(keys, count, key)
                count += 1
            elif count > 0 and key < keys[count - 1]:
                insert_key(keys, count - 1, key)
            if 0 < count == slots:
                bound = square_of(keys[count - 1])
    for slot in range(slots):
        entry = np.int64(0)
        if slot < count:
            other = keys[slot] & SLOT_MASK
            entry = other + 1
            entry |= ON_WAY if along[other] < OFF_THE_WAY else 0
            entry |= np.int64(kind[other]) << KIND_BITS
        known[slot] = np.int32(entry)


@inline
def square_of(key):
    """Returns the squared distance of a key [m^2]."""
    return np.int32(key >> SLOT_BITS).view(np.float32)


@inline
def boxes_apart(ahead, aside, cos, sin, long, wide, own_long, own_wide):
    """Returns the distance of a box from the own one, 0 where they overlap [m].

    Two boxes that are apart are as far from one another as the nearest corner of the one is from
    the other.

    Args:
        ahead: Centre of the other along the own heading [m].
        aside: To the own left [m].
        cos: Of its heading against the own.
        sin: Likewise.
        long: Its half length [m].
        wide: Its half width [m].
        own_long: Own half length [m].
        own_wide: Own half width [m].
    """
    c, s = abs(cos), abs(sin)
    along, across = ahead * cos + aside * sin, aside * cos - ahead * sin
    apart = most(
        most(
            abs(ahead) - (own_long + long * c + wide * s),
            abs(aside) - (own_wide + long * s + wide * c),
        ),
        most(
            abs(along) - (long + own_long * c + own_wide * s),
            abs(across) - (wide + own_long * s + own_wide * c),
        ),
    )
    nearest = corners_from(ahead, aside, long * cos, long * sin, wide * cos, wide * sin,
        own_long, own_wide)  # fmt: skip
    other = corners_from(along, across, own_long * cos, -own_long * sin, own_wide * cos,
        -own_wide * sin, long, wide)  # fmt: skip
    return below(ZERO, apart, root(least(nearest, other)), ZERO)


@inline
def corners_from(x, y, long_cos, long_sin, wide_cos, wide_sin, long, wide):
    """Returns the least squared distance of a box's corners from a box about the origin [m^2].

    Args:
        x: Centre of the first box in the frame of the other [m].
        y: Likewise [m].
        long_cos: Its half length times the cosine between them [m].
        long_sin: Times the sine [m].
        wide_cos: Its half width times the cosine [m].
        wide_sin: Times the sine [m].
        long: Half length of the other box [m].
        wide: Its half width [m].
    """
    front_x, front_y = x + long_cos, y + long_sin
    rear_x, rear_y = x - long_cos, y - long_sin
    front = least(
        outside(front_x - wide_sin, front_y + wide_cos, long, wide),
        outside(front_x + wide_sin, front_y - wide_cos, long, wide),
    )
    rear = least(
        outside(rear_x - wide_sin, rear_y + wide_cos, long, wide),
        outside(rear_x + wide_sin, rear_y - wide_cos, long, wide),
    )
    return least(front, rear)


@inline
def outside(x, y, long, wide):
    """Returns the squared distance of a point from a box about the origin [m^2]."""
    dx, dy = most(abs(x) - long, ZERO), most(abs(y) - wide, ZERO)
    return dx * dx + dy * dy


@inline
def draw_noise(source, noise, known, count, seen, place, agent):
    """Writes by how much bodies are seen wrongly.

    Args:
        source: Of random numbers, a `Source`.
        noise: Standard deviation of what is seen [m], [m/s].
        known: Entries of `Scratch.nearest`.
        count: How many of them are in use.
        seen: Receives the errors, flat.
        place: Where those of x, of y [m] and of the speed [m/s] begin.
        agent: Who observes.
    """
    of_x, of_y, of_speed = place
    for slot in range(warp_lane(), count, warp_size()):
        other = (np.int64(known[slot]) & NUMBER) - 1
        a, b, c, d = uniforms(
            source.key0, source.key1, source.stream, agent, source.tick, DRAW_NOISE, other
        )
        noise_x, noise_y = normal_pair(a, b)
        noise_speed, _unused = normal_pair(c, d)
        seen[of_x + slot] = noise * noise_x
        seen[of_y + slot] = noise * noise_y
        seen[of_speed + slot] = noise * noise_speed


@inline
def write_neighbours(row, offset, slots, eye, data, source, noise, worker, world, agent):
    """Writes the agents that `Scratch.nearest` lists.

    Args:
        row: The row.
        offset: Where the group begins.
        slots: Of the group.
        eye: The `Eye`.
        data: Of the batch.
        source: Of random numbers, a `Source`.
        noise: Standard deviation of what is seen [m], [m/s].
        worker: Who works.
        world: Which.
        agent: Who observes.

    Returns:
        The offset behind the group.
    """
    known, crowd = data.scratch.nearest[world, agent], data.scratch.crowd_row[worker]
    count = np.int64(0)
    while count < slots and known[count] != 0:
        count += 1
    # A thread of CUDA reads all of a slot before it writes it: there errors lie in the row itself.
    seen, first, stride = row, offset, slots
    if not stages_rows():
        seen, first = data.scratch.seen[worker], np.int64(0)
        stride = seen.shape[0] // SEEN_PLANES
    places = (first, first + stride, first + 2 * stride)
    if noise > ZERO:
        draw_noise(source, noise, known, count, seen, places, agent)
    z = crowd[agent, BODY_Z]
    own_long, own_wide = (
        HALF * data.bodies.length[world, agent],
        HALF * data.bodies.width[world, agent],
    )
    own_speed = data.agents.speed[world, agent]
    for turn in range(wide_lane(), slots, wide_size()):
        at = wide_place(turn, slots)
        to = offset + at
        if at >= count:
            for plane in range(PLANES):
                put(row, to + plane * slots, at, count, ZERO)
            continue
        x, y, body_cos, body_sin, speed, length, width, height = columns_of(
            crowd, known, NUMBER, at
        )
        if noise > ZERO:
            x = x + load(seen, places[0] + at)
            y = y + load(seen, places[1] + at)
            speed = speed + load(seen, places[2] + at)
        ahead, aside = turned(x - eye.x, y - eye.y, eye)
        cos, sin = turned(body_cos, body_sin, eye)
        gap = boxes_apart(ahead, aside, cos, sin, HALF * length, HALF * width, own_long, own_wide)
        along, across = speed * cos, speed * sin
        distance = root(ahead * ahead + aside * aside) + TINY
        closing = (ahead * (own_speed - along) - aside * across) / distance
        put(row, to + X * slots, at, count, squash(ahead, FAR_SIZE))
        put(row, to + Y * slots, at, count, squash(aside, FAR_SIZE))
        put(row, to + X_NEAR * slots, at, count, clipped(ahead, PER_NEAR))
        put(row, to + Y_NEAR * slots, at, count, clipped(aside, PER_NEAR))
        put(row, to + COS * slots, at, count, cos * UNIT)
        put(row, to + SIN * slots, at, count, sin * UNIT)
        put(row, to + ALONG * slots, at, count, squash(along, SPEED_SIZE))
        put(row, to + ACROSS * slots, at, count, squash(across, SPEED_SIZE))
        put(row, to + GAP * slots, at, count, balanced(gap, GAP_SIZE))
        put(row, to + CLOSING * slots, at, count, squash(closing, CLOSING_SIZE))
        put(row, to + LENGTH * slots, at, count, length_part(length))
        put(row, to + WIDTH * slots, at, count, width_part(width))
        put(row, to + HEIGHT * slots, at, count, clipped(height - z, PER_HEIGHT))
        put(row, to + ON_ROUTE * slots, at, count, flags_of(known, ON_WAY, at))
        kind = flags_of(known, WALKS, at) + HALF * flags_of(known, ON_TWO_WHEELS, at)
        put(row, to + KIND * slots, at, count, kind)
        put(row, to + VALID * slots, at, count, ONE)
    return offset + slots * PLANES
