"""The lane and boundary points near an agent: kept by it, asked for ahead of use, and written.

On a map the points of one list lie scattered. An agent keeps a copy of those of its observation
cell side by side, with their ways to its goal, until the cell or the goal changes.
"""

from __future__ import annotations

import numpy as np

from selfdrive_env.compiler.njit import inline
from selfdrive_env.compiler.simd import (
    FAR,
    NEAR,
    prefetch,
    write_lane_pair,
    write_lane_point,
    write_point,
    write_point_pair,
    write_squashed,
)
from selfdrive_env.compiler.threads import warp_barrier, warp_lane, warp_size
from selfdrive_env.kernels.math.geometry import ONE, ZERO
from selfdrive_env.kernels.math.random import DRAW_DROPOUT, uniforms
from selfdrive_env.kernels.road import UNREACHABLE, lane_distance, way_ahead

__all__ = [
    "BOUNDARY_FLOATS",
    "LANE_FLOATS",
    "ask_for_kept",
    "ask_for_lists",
    "ask_for_points",
    "ask_for_ways",
    "keep_points",
    "write_boundaries",
    "write_empty",
    "write_lanes",
]

LANE_FLOATS = 7
BOUNDARY_FLOATS = 5

WIDE = 8
PAIR_FLOATS = 2 * LANE_FLOATS
PAIR = 15  # entries that two lane points are written to, the last one by the way
LINE_WORDS = 16  # of four bytes in a cache line
LINE_POINTS = 4
NO_WAY = np.float32(1.0e9)


@inline
def write_empty(row, offset, count):
    """Zeroes `count` entries; returns the offset behind them."""
    for entry in range(offset + warp_lane(), offset + count, warp_size()):
        row[entry] = ZERO
    return offset + count


@inline
def dropped(share, key0, key1, stream, agent, tick, index):
    """Whether feature dropout leaves out entry `index` of an agent's lists."""
    a, b, c, d = uniforms(key0, key1, stream, agent, tick, DRAW_DROPOUT, index >> 2)
    which = index & 3
    number = a if which == 0 else (b if which == 1 else (c if which == 2 else d))
    return number < share


@inline
def listed(near, row, limit):
    """Returns how many of the first `limit` entries of a row of a near list are in use."""
    low = np.int64(0)
    high = min(limit, np.int64(near.shape[1]))
    while low < high:
        middle = (low + high) >> 1
        if near[row, middle] < 0:
            high = middle
        else:
            low = middle + 1
    return low


@inline
def keep_points(
    kept, agent, near, goal_lane, lane_points, boundary_points, near_lane_point, near_boundary,
    lane_point, boundary_point, kept_lane, kept_boundary, kept_way, first_lane, num_lanes,
    route_first, route_lane, route_length,
):  # fmt: skip
    """Copies the points of a near row, and their ways to a lane's start, to where the agent reads.

    What is kept depends on the row and the goal's lane alone; both change only now and then.
    """
    low = route_first[goal_lane]
    dense = route_first[goal_lane + 1] - low == num_lanes
    count = listed(near_lane_point, near, lane_points)
    for slot in range(warp_lane(), count, warp_size()):
        at = np.uint32(near_lane_point[near, slot])  # unsigned: no test for negative indices
        lane = np.int64(lane_point[at, 5])
        base = UNREACHABLE
        if dense:
            base = route_length[np.uint64(low + lane)]
        else:
            base = lane_distance(
                goal_lane,
                first_lane + lane,
                first_lane,
                num_lanes,
                route_first,
                route_lane,
                route_length,
            )
        kept_way[agent, slot] = base - lane_point[at, 4] if base < UNREACHABLE else NO_WAY
        for column in range(4):
            kept_lane[agent, slot, column] = lane_point[at, column]
    boundaries = listed(near_boundary, near, boundary_points)
    for slot in range(warp_lane(), boundaries, warp_size()):
        at = np.uint32(near_boundary[near, slot])
        for column in range(4):
            kept_boundary[agent, slot, column] = boundary_point[at, column]
    warp_barrier()  # everybody has looked whose points these are
    if warp_lane() == 0:
        kept[agent, 0] = np.int32(near + 1)
        kept[agent, 1] = np.int32(goal_lane)
        kept[agent, 2] = np.int32(count)
        kept[agent, 3] = np.int32(boundaries)
    warp_barrier()


@inline
def ask_for_lists(
    agent, around, kept, near_lane_point, near_boundary, near_stop_line, lane_points,
    boundary_points,
):  # fmt: skip
    """Asks for the near lists of an agent."""
    near = np.int64(around[agent])
    if near < 0:
        return
    prefetch(near_stop_line, near)
    if kept[agent, 0] == near + 1:
        return
    row, length = near_lane_point[near], near_lane_point.shape[1]
    for place in range(0, min(lane_points, length), LINE_WORDS):
        prefetch(row, place)
    row, length = near_boundary[near], near_boundary.shape[1]
    for place in range(0, min(boundary_points, length), LINE_WORDS):
        prefetch(row, place)


@inline
def ask_for_points(
    agent, around, kept, near_lane_point, near_boundary, lane_point, boundary_point, lane_points,
    boundary_points,
):  # fmt: skip
    """Asks for the points in the near lists of an agent."""
    near = np.int64(around[agent])
    if near < 0 or kept[agent, 0] == near + 1:
        return
    for slot in range(min(lane_points, near_lane_point.shape[1])):
        index = np.int64(near_lane_point[near, slot])
        if index < 0:
            break
        prefetch(lane_point, index)
    for slot in range(min(boundary_points, near_boundary.shape[1])):
        index = np.int64(near_boundary[near, slot])
        if index < 0:
            break
        prefetch(boundary_point, index)


@inline
def ask_for_ways(
    agent, around, kept, near_lane_point, lane_point, lane_points, goal_lane, route_first,
    route_length,
):  # fmt: skip
    """Asks for the distances from the lane points near an agent to its goal."""
    near = np.int64(around[agent])
    if near < 0 or goal_lane < 0 or kept[agent, 0] == near + 1:
        return
    first = route_first[goal_lane]
    for slot in range(min(lane_points, near_lane_point.shape[1])):
        index = np.int64(near_lane_point[near, slot])
        if index < 0:
            break
        prefetch(route_length, first + np.int64(lane_point[index, 5]))


@inline
def ask_for_kept(agent, count, boundary_count, kept_lane, kept_boundary, kept_way):
    """Asks for the points that an agent keeps."""
    for slot in range(0, count, LINE_POINTS):
        prefetch(kept_lane[agent], slot)
    for slot in range(0, count, LINE_WORDS):
        prefetch(kept_way[agent], slot)
    for slot in range(0, boundary_count, LINE_POINTS):
        prefetch(kept_boundary[agent], slot)


@inline
def write_way(row, offset, point, slot, x, y, cos, sin, way, goal_s, slack, cycle, own_distance):
    """Writes one lane point with its way to the next goal."""
    distance = way_ahead(way[slot], goal_s, slack, cycle)
    gain = distance - own_distance
    if offset + WIDE <= row.shape[0] and warp_size() == 1:
        write_lane_point(row, offset, point, slot, x, y, cos, sin, distance, gain)
    else:
        write_point(row, offset, point, slot, x, y, cos, sin)
        write_squashed(row, offset + 4, distance, gain, FAR, NEAR)
        row[offset + 6] = ONE


@inline
def write_lanes(
    row, offset, slots, count, x, y, cos, sin, point, way, goal_s, slack, own_distance, cycle,
    share, key0, key1, stream, agent, tick,
):  # fmt: skip
    """Writes lane points with their way to the next goal; returns the offset behind them."""
    end = offset + slots * LANE_FLOATS
    if share <= ZERO:
        pairs = min(count >> 1, (row.shape[0] - offset + PAIR_FLOATS - PAIR) // PAIR_FLOATS)
        for pair in range(warp_lane(), pairs, warp_size()):
            write_lane_pair(
                row, offset + pair * PAIR_FLOATS, point, 2 * pair, x, y, cos, sin, way, goal_s,
                slack, cycle, own_distance,
            )  # fmt: skip
        first = 2 * pairs
        offset += pairs * PAIR_FLOATS
        for slot in range(first + warp_lane(), count, warp_size()):
            place = offset + (slot - first) * LANE_FLOATS
            write_way(
                row, place, point, slot, x, y, cos, sin, way, goal_s, slack, cycle, own_distance
            )
        offset += (count - first) * LANE_FLOATS
    else:
        written = np.int64(0)
        for slot in range(count):
            if dropped(share, key0, key1, stream, agent, tick, slot):
                continue
            if written % warp_size() == warp_lane():
                write_way(
                    row, offset, point, slot, x, y, cos, sin, way, goal_s, slack, cycle,
                    own_distance,
                )  # fmt: skip
            written += 1
            offset += LANE_FLOATS
    return write_empty(row, offset, end - offset)


@inline
def write_boundaries(
    row, offset, slots, count, x, y, cos, sin, point, share, key0, key1, stream, agent, tick
):
    """Writes boundary points; returns the offset behind them."""
    end = offset + slots * BOUNDARY_FLOATS
    first = np.int64(0)
    if share <= ZERO:
        while warp_size() == 1 and first + 2 <= count:
            write_point_pair(row, offset, point, first, x, y, cos, sin)
            offset += 2 * BOUNDARY_FLOATS
            first += 2
    written = np.int64(0)
    for slot in range(first, count):
        if share > ZERO and dropped(share, key0, key1, stream, agent, tick, 0x8000 + slot):
            continue
        if written % warp_size() == warp_lane():
            write_point(row, offset, point, slot, x, y, cos, sin)
            row[offset + 4] = ONE
        written += 1
        offset += BOUNDARY_FLOATS
    return write_empty(row, offset, end - offset)
