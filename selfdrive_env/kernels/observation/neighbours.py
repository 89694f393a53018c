"""The nearest agents: found from those of the step before, and written."""

from __future__ import annotations

import numpy as np

from selfdrive_env.compiler.njit import inline
from selfdrive_env.compiler.simd import write_mover
from selfdrive_env.compiler.threads import thread_index, warp_lane, warp_size
from selfdrive_env.config.observation import WIDTHS, scale_of
from selfdrive_env.kernels.math.geometry import ONE, ZERO, clamp
from selfdrive_env.kernels.math.random import DRAW_NOISE, normal_pair, uniforms
from selfdrive_env.kernels.observation.road_points import write_empty
from selfdrive_env.state.road import VIEW_RANGE

__all__ = ["AGENT_FLOATS", "nearest_agents", "write_neighbours"]

AGENT_FLOATS = WIDTHS["agents"]
VIEW_SQUARED = np.float32(VIEW_RANGE * VIEW_RANGE)  # [m^2]
PER_HEIGHT = np.float32(1.0 / scale_of("agents", "height"))  # [1/m]
HUGE = np.float32(1.0e12)
SLOT_BITS = np.int64(32)
SLOT_MASK = np.int64(0xFFFFFFFF)


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
        other = np.int64(known[slot]) - 1
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
def nearest_agents(agent, slots, pose, centre_x, centre_y, square, known, keys):
    """Writes the nearest agents within view to `known`, slot + 1 each, nearest first, then 0.

    The list starts from those that were nearest at the step before, which are nearly in order; then
    it takes in whoever else is nearer than its last. The result does not depend on what `known`
    held.
    """
    x = pose[agent, 0]
    y = pose[agent, 1]
    num_agents = centre_x.shape[0]
    for other in range(num_agents):
        dx = centre_x[other] - x
        dy = centre_y[other] - y
        square[other] = dx * dx + dy * dy
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
        known[slot] = np.int32((keys[slot] & SLOT_MASK) + 1 if slot < count else 0)


@inline
def square_of(key):
    """Returns the squared distance of a key [m^2]."""
    return np.int32(key >> SLOT_BITS).view(np.float32)


@inline
def write_neighbours(
    row, offset, slots, eye, agent, noise, source, known, pose, all_z, all_speed, size_part
):
    """Writes the agents that `known` lists.

    Args:
        row: The row.
        offset: Where the group begins.
        slots: Of the group.
        eye: The `Eye`.
        agent: Who observes.
        noise: Standard deviation of what is seen [m], [m/s].
        source: Of random numbers, a `Source`.
        known: Slots + 1 of the nearest agents, [slots].
        pose: Of everybody's box, and a row a thread, [A + threads, 4].
        all_z: Elevations, [A] [m].
        all_speed: Speeds, [A] [m/s].
        size_part: Observed lengths and widths, [A, 2].

    Returns:
        The offset behind the group.
    """
    z = all_z[agent]
    end = offset + slots * AGENT_FLOATS
    own_pose = all_z.shape[0] + thread_index()  # a pose of this thread's own
    count = np.int64(0)
    while count < slots and known[count] != 0:
        count += 1
    for slot in range(warp_lane(), count, warp_size()):
        place = offset + slot * AGENT_FLOATS
        other = np.int64(known[slot]) - 1
        speed = all_speed[other]
        seen = other
        if noise > ZERO:
            a, b, c, d = uniforms(
                source.key0, source.key1, source.stream, agent, source.tick, DRAW_NOISE, other
            )
            noise_x, noise_y = normal_pair(a, b)
            noise_speed, _unused = normal_pair(c, d)
            seen = own_pose
            pose[seen, 0] = pose[other, 0] + noise * noise_x
            pose[seen, 1] = pose[other, 1] + noise * noise_y
            pose[seen, 2] = pose[other, 2]
            pose[seen, 3] = pose[other, 3]
            speed += noise * noise_speed
        write_mover(
            row, place, pose, seen, eye.x, eye.y, eye.cos, eye.sin, speed, size_part[other, 0],
            size_part[other, 1],
        )  # fmt: skip
        row[place + 8] = clamp((all_z[other] - z) * PER_HEIGHT, -ONE, ONE)
        row[place + 9] = ONE
    offset += count * AGENT_FLOATS
    return write_empty(row, offset, end - offset)
