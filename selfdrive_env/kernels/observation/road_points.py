"""The lane and boundary points near an agent: kept by it, asked for ahead of use, and written.

On a map the points of one list lie scattered. An agent keeps a copy of those of its observation
cell side by side, with their ways to its goal, until the cell or the goal changes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from selfdrive_env.compiler.njit import inline
from selfdrive_env.compiler.simd import (
    BOUNDARY_FLOATS,
    GOAL_DISTANCE,
    GOAL_GAIN,
    LANE_FLOATS,
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
    "Eye",
    "Target",
    "keep_points",
    "prefetch_distances",
    "prefetch_kept",
    "prefetch_lists",
    "prefetch_points",
    "write_boundaries",
    "write_empty",
    "write_lanes",
]

WIDE = 8
PAIR_FLOATS = 2 * LANE_FLOATS
PAIR = PAIR_FLOATS + 1  # entries that two lane points are written to, the last by the way
LINE_WORDS = 16  # of four bytes in a cache line
LINE_POINTS = 4
NO_WAY = np.float32(1.0e9)  # [m]


class Eye(NamedTuple):
    """The box of the agent that observes."""

    x: np.float32
    """Of its centre, east [m]."""

    y: np.float32
    cos: np.float32
    """Heading."""

    sin: np.float32


class Target(NamedTuple):
    """The next goal of the agent that observes."""

    s: np.float32
    """Along its lane [m]."""

    slack: np.float32
    """How far behind a goal counts as reached [m]."""

    distance: np.float32
    """From the agent to it, along the lane graph [m]."""

    cycle: np.float32
    """Shortest way from the start of its lane back to there [m]."""


@inline
def write_empty(row, offset, count):
    """Zeroes `count` entries; returns the offset behind them."""
    for entry in range(offset + warp_lane(), offset + count, warp_size()):
        row[entry] = ZERO
    return offset + count


@inline
def dropped(share, source, agent, index):
    """Whether feature dropout leaves out entry `index` of an agent's lists."""
    a, b, c, d = uniforms(
        source.key0, source.key1, source.stream, agent, source.tick, DRAW_DROPOUT, index >> 2
    )
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
def keep_points(model, data, world, agent, near, goal_lane):
    """Copies the points of a near row, and their ways to a lane's start, to where the agent reads.

    What is kept depends on the row and the goal's lane alone; both change only now and then.
    """
    grid, lanes, routes, counts = model.grid, model.lanes, model.routes, model.counts
    scratch = data.scratch
    map_index = np.int64(data.worlds.map[world])
    first_lane = np.int64(lanes.map_lane_first[map_index])
    num_lanes = np.int64(lanes.map_lane_first[map_index + 1]) - first_lane
    low = routes.first[goal_lane]
    dense = routes.first[goal_lane + 1] - low == num_lanes
    count = listed(grid.near_lane_point, near, np.int64(counts.lane_points))
    for slot in range(warp_lane(), count, warp_size()):
        at = np.uint32(grid.near_lane_point[near, slot])  # unsigned: no test for negative indices
        lane = np.int64(grid.lane_point[at, 5])
        base = UNREACHABLE
        if dense:
            base = routes.distance[np.uint64(low + lane)]
        else:
            base = lane_distance(routes, goal_lane, first_lane + lane, first_lane, num_lanes)
        way = base - grid.lane_point[at, 4] if base < UNREACHABLE else NO_WAY
        scratch.cached_route_distance[world, agent, slot] = way
        for column in range(4):
            scratch.cached_lane_point[world, agent, slot, column] = grid.lane_point[at, column]
    boundaries = listed(grid.near_boundary, near, np.int64(counts.boundary_points))
    for slot in range(warp_lane(), boundaries, warp_size()):
        at = np.uint32(grid.near_boundary[near, slot])
        for column in range(4):
            scratch.cached_boundary_point[world, agent, slot, column] = grid.boundary_point[
                at, column
            ]
    warp_barrier()  # everybody has looked whose points these are
    if warp_lane() == 0:
        scratch.cached_cell[world, agent, 0] = np.int32(near + 1)
        scratch.cached_cell[world, agent, 1] = np.int32(goal_lane)
        scratch.cached_cell[world, agent, 2] = np.int32(count)
        scratch.cached_cell[world, agent, 3] = np.int32(boundaries)
    warp_barrier()


@inline
def prefetch_lists(model, scratch, worker, world, agent):
    """Asks for the near lists of an agent."""
    grid, counts = model.grid, model.counts
    near = np.int64(scratch.near_row[worker, agent])
    if near < 0:
        return
    prefetch(grid.near_stop_line, near)
    if scratch.cached_cell[world, agent, 0] == near + 1:
        return
    row, length = grid.near_lane_point[near], grid.near_lane_point.shape[1]
    for place in range(0, min(np.int64(counts.lane_points), length), LINE_WORDS):
        prefetch(row, place)
    row, length = grid.near_boundary[near], grid.near_boundary.shape[1]
    for place in range(0, min(np.int64(counts.boundary_points), length), LINE_WORDS):
        prefetch(row, place)


@inline
def prefetch_points(model, scratch, worker, world, agent):
    """Asks for the points in the near lists of an agent."""
    grid, counts = model.grid, model.counts
    near = np.int64(scratch.near_row[worker, agent])
    if near < 0 or scratch.cached_cell[world, agent, 0] == near + 1:
        return
    for slot in range(min(np.int64(counts.lane_points), grid.near_lane_point.shape[1])):
        index = np.int64(grid.near_lane_point[near, slot])
        if index < 0:
            break
        prefetch(grid.lane_point, index)
    for slot in range(min(np.int64(counts.boundary_points), grid.near_boundary.shape[1])):
        index = np.int64(grid.near_boundary[near, slot])
        if index < 0:
            break
        prefetch(grid.boundary_point, index)


@inline
def prefetch_distances(model, scratch, worker, world, agent, goal_lane):
    """Asks for the distances from the lane points near an agent to its goal."""
    grid, routes = model.grid, model.routes
    near = np.int64(scratch.near_row[worker, agent])
    if near < 0 or goal_lane < 0 or scratch.cached_cell[world, agent, 0] == near + 1:
        return
    first = routes.first[goal_lane]
    for slot in range(min(np.int64(model.counts.lane_points), grid.near_lane_point.shape[1])):
        index = np.int64(grid.near_lane_point[near, slot])
        if index < 0:
            break
        prefetch(routes.distance, first + np.int64(grid.lane_point[index, 5]))


@inline
def prefetch_kept(scratch, world, agent):
    """Asks for the points that an agent keeps."""
    count = np.int64(scratch.cached_cell[world, agent, 2])
    for slot in range(0, count, LINE_POINTS):
        prefetch(scratch.cached_lane_point[world, agent], slot)
    for slot in range(0, count, LINE_WORDS):
        prefetch(scratch.cached_route_distance[world, agent], slot)
    for slot in range(0, np.int64(scratch.cached_cell[world, agent, 3]), LINE_POINTS):
        prefetch(scratch.cached_boundary_point[world, agent], slot)


@inline
def write_way(row, offset, point, slot, eye, way, target):
    """Writes one lane point with its way to the next goal."""
    distance = way_ahead(way[slot], target.s, target.slack, target.cycle)
    gain = distance - target.distance
    x, y, cos, sin = eye.x, eye.y, eye.cos, eye.sin
    if offset + WIDE <= row.shape[0] and warp_size() == 1:
        write_lane_point(row, offset, point, slot, x, y, cos, sin, distance, gain)
    else:
        write_point(row, offset, point, slot, x, y, cos, sin)
        write_squashed(row, offset + 4, distance, gain, GOAL_DISTANCE, GOAL_GAIN)
        row[offset + 6] = ONE


@inline
def write_lanes(row, offset, slots, count, eye, point, way, target, share, source, agent):
    """Writes lane points with their way to the next goal.

    Args:
        row: The row.
        offset: Where the group begins.
        slots: Of the group.
        count: Points that the agent keeps.
        eye: The `Eye`.
        point: Points, [count, 4].
        way: From each to the start of the goal's lane, [count] [m].
        target: The `Target`.
        share: That dropout leaves out.
        source: Of random numbers, a `Source`.
        agent: Who observes.

    Returns:
        The offset behind the group.
    """
    end = offset + slots * LANE_FLOATS
    if share <= ZERO:
        pairs = min(count >> 1, (row.shape[0] - offset + PAIR_FLOATS - PAIR) // PAIR_FLOATS)
        for pair in range(warp_lane(), pairs, warp_size()):
            write_lane_pair(
                row, offset + pair * PAIR_FLOATS, point, 2 * pair, eye.x, eye.y, eye.cos, eye.sin,
                way, target.s, target.slack, target.cycle, target.distance,
            )  # fmt: skip
        first = 2 * pairs
        offset += pairs * PAIR_FLOATS
        for slot in range(first + warp_lane(), count, warp_size()):
            write_way(row, offset + (slot - first) * LANE_FLOATS, point, slot, eye, way, target)
        offset += (count - first) * LANE_FLOATS
    else:
        written = np.int64(0)
        for slot in range(count):
            if dropped(share, source, agent, slot):
                continue
            if written % warp_size() == warp_lane():
                write_way(row, offset, point, slot, eye, way, target)
            written += 1
            offset += LANE_FLOATS
    return write_empty(row, offset, end - offset)


@inline
def write_boundaries(row, offset, slots, count, eye, point, share, source, agent):
    """Writes boundary points.

    Args:
        row: The row.
        offset: Where the group begins.
        slots: Of the group.
        count: Points that the agent keeps.
        eye: The `Eye`.
        point: Points, [count, 4].
        share: That dropout leaves out.
        source: Of random numbers, a `Source`.
        agent: Who observes.

    Returns:
        The offset behind the group.
    """
    x, y, cos, sin = eye.x, eye.y, eye.cos, eye.sin
    end = offset + slots * BOUNDARY_FLOATS
    first = np.int64(0)
    if share <= ZERO:
        while warp_size() == 1 and first + 2 <= count:
            write_point_pair(row, offset, point, first, x, y, cos, sin)
            offset += 2 * BOUNDARY_FLOATS
            first += 2
    written = np.int64(0)
    for slot in range(first, count):
        if share > ZERO and dropped(share, source, agent, 0x8000 + slot):
            continue
        if written % warp_size() == warp_lane():
            write_point(row, offset, point, slot, x, y, cos, sin)
            row[offset + 4] = ONE
        written += 1
        offset += BOUNDARY_FLOATS
    return write_empty(row, offset, end - offset)
