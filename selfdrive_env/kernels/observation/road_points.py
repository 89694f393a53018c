"""The lane and boundary points near an agent: kept by it, asked for ahead of use, and written.

On a map the points of one list lie scattered. An agent keeps a copy of those of its observation
cell side by side, with their ways to its goal, until the cell or the goal changes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from selfdrive_env.compiler.njit import inline
from selfdrive_env.compiler.simd import load, prefetch, put, wide_lane, wide_place, wide_size
from selfdrive_env.compiler.threads import warp_barrier, warp_lane, warp_size
from selfdrive_env.compiler.vectors import LINE_WORDS
from selfdrive_env.config.observation import WIDTHS
from selfdrive_env.kernels.math.geometry import ONE, ZERO, squash
from selfdrive_env.kernels.math.random import DRAW_DROPOUT, uniforms
from selfdrive_env.kernels.observation.scales import UNIT, size_of, turned
from selfdrive_env.kernels.road import UNREACHABLE, lane_distance, way_ahead

__all__ = [
    "BOUNDARY_PLANES",
    "LANE_PLANES",
    "Target",
    "keep_points",
    "prefetch_distances",
    "prefetch_kept_boundaries",
    "prefetch_kept_lanes",
    "prefetch_lists",
    "prefetch_points",
    "write_boundaries",
    "write_empty",
    "write_lanes",
    "write_left_over",
    "write_pose",
]

LANE_PLANES, BOUNDARY_PLANES = WIDTHS["lane_points"], WIDTHS["boundary_points"]
LANE, BOUNDARY = size_of("lane_points", "x"), size_of("boundary_points", "x")  # [m]
GOAL_GAIN = size_of("lane_points", "goal_gain")  # [m]
NO_WAY = np.float32(1.0e9)  # [m]


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
            scratch.cached_lane_point[world, agent, column, slot] = grid.lane_point[at, column]
    boundaries = listed(grid.near_boundary, near, np.int64(counts.boundary_points))
    for slot in range(warp_lane(), boundaries, warp_size()):
        at = np.uint32(grid.near_boundary[near, slot])
        for column in range(4):
            scratch.cached_boundary_point[world, agent, column, slot] = grid.boundary_point[
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
def prefetch_kept_lanes(scratch, world, agent):
    """Asks for the lane points that an agent keeps."""
    for slot in range(0, np.int64(scratch.cached_cell[world, agent, 2]), LINE_WORDS):
        prefetch(scratch.cached_route_distance[world, agent], slot)
        for column in range(4):
            prefetch(scratch.cached_lane_point[world, agent, column], slot)


@inline
def prefetch_kept_boundaries(scratch, world, agent):
    """Asks for the boundary points that an agent keeps."""
    for slot in range(0, np.int64(scratch.cached_cell[world, agent, 3]), LINE_WORDS):
        for column in range(4):
            prefetch(scratch.cached_boundary_point[world, agent, column], slot)


@inline
def gain_of(way, target):
    """Returns what is gained on the way to the next goal by being elsewhere, below 0 if nearer.

    Args:
        way: From there to the start of the goal's lane [m].
        target: The `Target`.
    """
    return way_ahead(way, target.s, target.slack, target.cycle) - target.distance


@inline
def write_pose(row, to, slots, at, count, pose, eye, size):
    """Writes a point, or several, with its heading: the first four planes of a group.

    Args:
        row: The row.
        to: Where the place of the first plane is.
        slots: From one plane to the next.
        at: Which place.
        count: Places in use.
        pose: x, y [m], cos, sin.
        eye: The `Eye`.
        size: Of the scale of places [m].
    """
    ahead, aside = turned(pose[0] - eye.x, pose[1] - eye.y, eye)
    cos, sin = turned(pose[2], pose[3], eye)
    put(row, to, at, count, squash(ahead, size))
    put(row, to + slots, at, count, squash(aside, size))
    put(row, to + 2 * slots, at, count, cos * UNIT)
    put(row, to + 3 * slots, at, count, sin * UNIT)


@inline
def clear_places(row, to, planes, slots):
    """Zeroes places of all planes of a group that are not in use."""
    for plane in range(planes):
        put(row, to + plane * slots, np.int64(0), np.int64(0), ZERO)


@inline
def write_lanes(row, offset, slots, count, eye, point, way, target):
    """Writes lane points with their way to the next goal.

    Args:
        row: The row.
        offset: Where the group begins.
        slots: Of the group.
        count: Points that there are.
        eye: The `Eye`.
        point: Points in planes, [4, count].
        way: From each to the start of the goal's lane, [count] [m].
        target: The `Target`.

    Returns:
        The offset behind the group.
    """
    x, y, cos, sin = point[0], point[1], point[2], point[3]
    for turn in range(wide_lane(), slots, wide_size()):
        at = wide_place(turn, slots)
        to = offset + at
        if at >= count:
            clear_places(row, to, LANE_PLANES, slots)
            continue
        pose = (load(x, at), load(y, at), load(cos, at), load(sin, at))
        write_pose(row, to, slots, at, count, pose, eye, LANE)
        gain = squash(gain_of(load(way, at), target), GOAL_GAIN)
        put(row, to + 4 * slots, at, count, gain)
        put(row, to + 5 * slots, at, count, ONE)
    return offset + slots * LANE_PLANES


@inline
def write_boundaries(row, offset, slots, count, eye, point):
    """Writes boundary points.

    Args:
        row: The row.
        offset: Where the group begins.
        slots: Of the group.
        count: Points that there are.
        eye: The `Eye`.
        point: Points in planes, [4, count].

    Returns:
        The offset behind the group.
    """
    x, y, cos, sin = point[0], point[1], point[2], point[3]
    for turn in range(wide_lane(), slots, wide_size()):
        at = wide_place(turn, slots)
        to = offset + at
        if at >= count:
            clear_places(row, to, BOUNDARY_PLANES, slots)
            continue
        pose = (load(x, at), load(y, at), load(cos, at), load(sin, at))
        write_pose(row, to, slots, at, count, pose, eye, BOUNDARY)
        put(row, to + 4 * slots, at, count, ONE)
    return offset + slots * BOUNDARY_PLANES


@inline
def write_left_over(row, offset, slots, count, planes, share, first, source, agent):
    """Leaves out of a group what dropout leaves out, and moves what is left to the front.

    Args:
        row: The row.
        offset: Where the group begins.
        slots: Of the group.
        count: Slots in use before.
        planes: Columns of the group.
        share: That is left out.
        first: Number of the first entry among those of which dropout draws.
        source: Of random numbers, a `Source`.
        agent: Who observes.
    """
    warp_barrier()
    written = np.int64(0)
    for slot in range(count):
        if dropped(share, source, agent, first + slot):
            continue
        for plane in range(warp_lane(), planes, warp_size()):
            place = offset + plane * slots
            row[place + written] = row[place + slot]
        written += 1
    for plane in range(warp_lane(), planes, warp_size()):
        for slot in range(written, count):
            row[offset + plane * slots + slot] = ZERO
    warp_barrier()
