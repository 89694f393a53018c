"""What an agent sees: one flat row in the ego frame, every value in [-1, 1].

Lengths are squashed by x / (scale + |x|), so that near things are told apart best. Lists are
nearest first (road points in the order of the agent's observation cell), empty slots all zero.
Observing is a pure function of the state, noise and dropout included.
"""

from __future__ import annotations

import math

import numpy as np

from selfdrive_env.compiler.half import write_half
from selfdrive_env.compiler.njit import inline, njit
from selfdrive_env.compiler.simd import (
    NEAR,
    SPEED,
    write_point,
    write_squashed,
)
from selfdrive_env.compiler.threads import (
    barrier,
    block_size,
    num_warps,
    shared_row,
    stages_rows,
    thread_index,
    warp_barrier,
    warp_index,
    warp_lane,
    warp_size,
)
from selfdrive_env.kernels.drivers.idm import is_blind
from selfdrive_env.kernels.dynamics.jerk_bicycle import MAX_STEERING
from selfdrive_env.kernels.math.elementary import angle_of
from selfdrive_env.kernels.math.geometry import (
    HALF,
    ONE,
    clamp,
    squash,
)
from selfdrive_env.kernels.observation.neighbours import (
    AGENT_FLOATS,
    nearest_agents,
    write_neighbours,
)
from selfdrive_env.kernels.observation.road_points import (
    BOUNDARY_FLOATS,
    LANE_FLOATS,
    ask_for_kept,
    ask_for_lists,
    ask_for_points,
    ask_for_ways,
    keep_points,
    write_boundaries,
    write_empty,
    write_lanes,
)
from selfdrive_env.kernels.surface import cell_at, observation_cell
from selfdrive_env.state.road import SEG_CURVATURE
from selfdrive_env.state.world import (
    ABSENT,
    ASKED,
    GREEN,
    MAX_GOALS,
    NO_LIGHT,
    NUM_CONDITIONS,
    RED,
    STOP_SIGN,
    WEIGHT_GOAL_RADIUS,
    YELLOW,
)

__all__ = ["clear_row", "keep_row", "observe_wanted", "row_length"]

EGO_FLOATS = 14
GOAL_FLOATS = 3
LINE_FLOATS = 9

OFFSET = np.float32(2.0)
CURVATURE = np.float32(0.05)
PER_STEERING = np.float32(1.0) / MAX_STEERING
PER_BRAKING = np.float32(1.0 / 5.0)
PER_LATERAL = np.float32(1.0 / 4.0)
LENGTH = np.float32(5.0)
WIDTH = np.float32(2.0)
PER_PI = np.float32(1.0 / math.pi)
NOWHERE = np.float32(1.0e9)


def row_length(goals, lane_points, boundary_points, stop_lines, agents):
    """Returns the floats of a row with that many slots."""
    return (
        EGO_FLOATS
        + goals * GOAL_FLOATS
        + NUM_CONDITIONS
        + lane_points * LANE_FLOATS
        + boundary_points * BOUNDARY_FLOATS
        + stop_lines * LINE_FLOATS
        + agents * AGENT_FLOATS
    )


@inline
def unit(value):
    """Clips to [-1, 1]."""
    return clamp(value, -ONE, ONE)


@inline
def write_ego(
    row,
    offset,
    d,
    angle_cos,
    angle_sin,
    curvature,
    speed,
    limit,
    steering,
    acceleration,
    lateral,
    throttle,
    steer,
    pull,
    pace,
    length_part,
    width_part,
):
    """Writes the ego group; returns the offset behind it."""
    row[offset] = squash(d, OFFSET)
    row[offset + 1] = unit(angle_of(angle_cos, angle_sin) * PER_PI)
    row[offset + 2] = squash(curvature, CURVATURE)
    write_squashed(row, offset + 3, speed, limit, SPEED, SPEED)
    row[offset + 5] = unit(steering * PER_STEERING)
    row[offset + 6] = unit(acceleration * PER_BRAKING)
    row[offset + 7] = unit(lateral * PER_LATERAL)
    row[offset + 8] = unit(throttle - ONE)
    row[offset + 9] = unit(steer - ONE)
    row[offset + 10] = unit(pull - ONE)
    row[offset + 11] = unit(pace - ONE)
    row[offset + 12] = length_part
    row[offset + 13] = width_part
    return offset + EGO_FLOATS


@inline
def write_goals(row, offset, slots, x, y, cos, sin, first, num_goals, goal_x, goal_y):
    """Writes the remaining targets; returns the offset behind them."""
    count = min(slots, num_goals - first)
    for slot in range(warp_lane(), count, warp_size()):
        place = offset + slot * GOAL_FLOATS
        dx = goal_x[first + slot] - x
        dy = goal_y[first + slot] - y
        write_squashed(row, place, dx * cos + dy * sin, dy * cos - dx * sin, NEAR, NEAR)
        row[place + 2] = ONE
    return write_empty(row, offset + count * GOAL_FLOATS, (slots - count) * GOAL_FLOATS)


@inline
def write_conditions(row, offset, weight, condition):
    """Writes the observed weights scaled by their training range; returns the offset behind."""
    for index in range(warp_lane(), NUM_CONDITIONS, warp_size()):
        row[offset + index] = unit(weight[index] * condition[0, index] + condition[1, index])
    return offset + NUM_CONDITIONS


@inline
def write_stop_lines(row, offset, slots, x, y, cos, sin, near, line, first_line, colours):
    """Writes stop lines with their state, those without a light left out; returns the offset."""
    end = offset + slots * LINE_FLOATS
    for slot in range(near.shape[0]):
        if offset == end:
            break
        index = np.int64(near[slot])
        if index < 0:
            break
        colour = colours[index - first_line]
        if colour == NO_LIGHT:
            continue
        if slot % warp_size() == warp_lane():
            write_point(row, offset, line, index, x, y, cos, sin)
            row[offset + 4] = np.float32(colour == RED)
            row[offset + 5] = np.float32(colour == YELLOW)
            row[offset + 6] = np.float32(colour == GREEN)
            row[offset + 7] = np.float32(colour == STOP_SIGN)
            row[offset + 8] = ONE
        offset += LINE_FLOATS
    return write_empty(row, offset, end - offset)


@njit
def note_poses(lanes, grid, agents, bodies, scratch, map_index, worker, world):
    """Writes where everybody is, how large, and on which row of the near lists."""
    segment_layer = lanes.segment_layer
    origin, shape, block, near_row = grid.origin, grid.shape, grid.block, grid.near
    all_x, all_y, status = agents.x[world], agents.y[world], agents.status[world]
    all_cos, all_sin, all_segment = agents.cos[world], agents.sin[world], agents.segment[world]
    length, width, wheelbase = bodies.length[world], bodies.width[world], bodies.wheelbase[world]
    pose, size_part, around = (
        scratch.pose[worker], scratch.size_part[worker], scratch.around[worker]
    )  # fmt: skip
    centre_x, centre_y = scratch.centre_x[worker], scratch.centre_y[worker]
    for agent in range(thread_index(), all_x.shape[0], block_size()):
        ahead = HALF * wheelbase[agent]
        x = all_x[agent] + ahead * all_cos[agent]
        y = all_y[agent] + ahead * all_sin[agent]
        pose[agent, 0] = x
        pose[agent, 1] = y
        pose[agent, 2] = all_cos[agent]
        pose[agent, 3] = all_sin[agent]
        present = status[agent] != ABSENT
        centre_x[agent] = x if present else NOWHERE
        centre_y[agent] = y
        place = all_segment[agent] if present else 0
        cell = cell_at(x, y, np.int64(segment_layer[place]), map_index, origin, shape, block)
        around[agent] = near_row[observation_cell(cell)] if cell >= 0 else -1
        size_part[agent, 0] = squash(length[agent], LENGTH)
        size_part[agent, 1] = squash(width[agent], WIDTH)


@njit
def look_around(counts, worlds, bodies, scratch, worker, world):
    """Finds the nearest agents of everybody whose row is wanted; the blind see none."""
    key0, key1 = worlds.key[world, 0], worlds.key[world, 1]
    stream, tick = worlds.stream[world], worlds.tick[world]
    neighbours = np.int64(counts.agents)
    erratic, wanted, known = bodies.erratic[world], scratch.wanted[worker], scratch.known[world]
    pose, centre_x, centre_y = (
        scratch.pose[worker], scratch.centre_x[worker], scratch.centre_y[worker]
    )  # fmt: skip
    member = worker * block_size() + thread_index()
    keys, square = scratch.key[member], scratch.square[member]
    for agent in range(thread_index(), centre_x.shape[0], block_size()):
        if wanted[agent] == 0:
            continue
        sees = neighbours
        if erratic[agent] != 0 and is_blind(erratic[agent], key0, key1, stream, agent, tick):
            sees = np.int64(0)
            known[agent, 0] = 0
        nearest_agents(agent, sees, pose, centre_x, centre_y, square, known[agent], keys)


@inline
def ask_ahead(
    wanted, around, kept, near_lane_point, near_boundary, near_stop_line, lane_point,
    boundary_point, lane_points, boundary_points,
):  # fmt: skip
    """Asks for the near lists of all agents whose row is wanted, and for the first two's points."""
    for agent in range(wanted.shape[0]):
        around[agent] = around[agent] if wanted[agent] != 0 else -1
        ask_for_lists(
            agent, around, kept, near_lane_point, near_boundary, near_stop_line, lane_points,
            boundary_points,
        )  # fmt: skip
    for agent in range(min(2, wanted.shape[0])):
        ask_for_points(
            agent, around, kept, near_lane_point, near_boundary, lane_point, boundary_point,
            lane_points, boundary_points,
        )  # fmt: skip


@njit
def write_rows(
    params,
    counts,
    draws,
    lanes,
    routes,
    grid,
    signs,
    lights,
    worlds,
    agents,
    bodies,
    rows,
    scratch,
    worker,
    world,
):
    """Writes the rows that are wanted, once poses are noted and neighbours found.

    Every array is taken out of its struct before the loop: doing so within it costs more than
    writing the row.
    """
    map_index = np.int64(worlds.map[world])
    first_lane = np.int64(lanes.map_lane_first[map_index])
    num_lanes = np.int64(lanes.map_lane_first[map_index + 1]) - first_lane
    first_line = np.int64(signs.map_line_first[map_index])
    key0, key1 = worlds.key[world, 0], worlds.key[world, 1]
    stream, tick = worlds.stream[world], worlds.tick[world]
    goals = min(np.int64(counts.goals), MAX_GOALS)
    lane_points, boundary_points = np.int64(counts.lane_points), np.int64(counts.boundary_points)
    stop_lines, neighbours = np.int64(counts.stop_lines), np.int64(counts.agents)
    noise = np.float32(params.noise)
    lane_dropout = np.float32(params.lane_dropout)
    boundary_dropout = np.float32(params.boundary_dropout)
    condition = draws.condition
    segment, segment_lane = lanes.segment, lanes.segment_lane
    speed_limit = lanes.speed_limit
    route_first, route_lane, route_length = routes.first, routes.lane, routes.distance
    route_cycle = routes.cycle
    near_lane_point, near_boundary = grid.near_lane_point, grid.near_boundary
    near_stop_line = grid.near_stop_line
    lane_point = grid.lane_point
    boundary_point = grid.boundary_point
    line, colours = signs.line, lights.line_colour[world]
    all_z = agents.z[world]
    all_cos, all_sin, all_speed = agents.cos[world], agents.sin[world], agents.speed[world]
    all_d, angle_cos, angle_sin = agents.d[world], agents.angle_cos[world], agents.angle_sin[world]
    steering, acceleration = agents.steering[world], agents.acceleration[world]
    lateral, all_segment = agents.lateral_acceleration[world], agents.segment[world]
    all_goal, goal_distance = agents.goal[world], agents.goal_distance[world]
    throttle, steer, pull = bodies.throttle[world], bodies.steer[world], bodies.pull[world]
    pace, weight = bodies.pace[world], bodies.weight[world]
    goal_lane, goal_s = bodies.goal_lane[world], bodies.goal_s[world]
    goal_x, goal_y, num_goals = bodies.goal_x[world], bodies.goal_y[world], bodies.num_goals[world]
    all_row = bodies.row[world]
    known, kept, kept_way = scratch.known[world], scratch.kept[world], scratch.kept_way[world]
    kept_lane, kept_boundary = scratch.kept_lane[world], scratch.kept_boundary[world]
    pose = scratch.pose[worker]
    size_part, around = scratch.size_part[worker], scratch.around[worker]
    wanted = scratch.wanted[worker]
    observation, final_observation = rows.observation, rows.final_observation
    half, final_half = rows.half, rows.final_half
    narrow = half.shape[0] > 0

    if params.prefetch != 0:
        ask_ahead(
            wanted, around, kept, near_lane_point, near_boundary, near_stop_line, lane_point,
            boundary_point, lane_points, boundary_points,
        )  # fmt: skip
    for agent in range(warp_index(), all_z.shape[0], num_warps()):
        if params.prefetch != 0 and agent + 2 < all_z.shape[0]:
            ask_for_points(
                agent + 2, around, kept, near_lane_point, near_boundary, lane_point,
                boundary_point, lane_points, boundary_points,
            )  # fmt: skip
        if params.prefetch != 0 and agent + 1 < all_z.shape[0]:
            target = np.int64(goal_lane[agent + 1, all_goal[agent + 1]])
            ask_for_ways(
                agent + 1, around, kept, near_lane_point, lane_point, lane_points, target,
                route_first, route_length,
            )  # fmt: skip
            ask_for_kept(
                agent + 1, np.int64(kept[agent + 1, 2]), np.int64(kept[agent + 1, 3]), kept_lane,
                kept_boundary, kept_way,
            )  # fmt: skip
        if wanted[agent] == 0:
            continue
        number = np.int64(all_row[agent])
        row = shared_row(scratch.row[worker])
        if not narrow and not stages_rows():
            row = observation[number]
            if wanted[agent] == 2:
                row = final_observation[number]
        cos = all_cos[agent]
        sin = all_sin[agent]
        x = pose[agent, 0]
        y = pose[agent, 1]
        index = np.int64(all_segment[agent])
        goal = np.int64(all_goal[agent])
        offset = write_ego(
            row, 0, all_d[agent], angle_cos[agent], angle_sin[agent],
            segment[index, SEG_CURVATURE], all_speed[agent], speed_limit[segment_lane[index]],
            steering[agent], acceleration[agent], lateral[agent], throttle[agent], steer[agent],
            pull[agent], pace[agent], size_part[agent, 0], size_part[agent, 1],
        )  # fmt: skip
        offset = write_goals(
            row, offset, goals, x, y, cos, sin, goal, np.int64(num_goals[agent]), goal_x[agent],
            goal_y[agent],
        )  # fmt: skip
        offset = write_conditions(row, offset, weight[agent], condition)

        near = np.int64(around[agent])
        if near < 0:
            floats = lane_points * LANE_FLOATS + boundary_points * BOUNDARY_FLOATS
            offset = write_empty(row, offset, floats + stop_lines * LINE_FLOATS)
        else:
            target = np.int64(goal_lane[agent, goal])
            if kept[agent, 0] != near + 1 or kept[agent, 1] != target:
                keep_points(
                    kept, agent, near, target, lane_points, boundary_points, near_lane_point,
                    near_boundary, lane_point, boundary_point, kept_lane, kept_boundary, kept_way,
                    first_lane, num_lanes, route_first, route_lane, route_length,
                )  # fmt: skip
            offset = write_lanes(
                row, offset, lane_points, np.int64(kept[agent, 2]), x, y, cos, sin,
                kept_lane[agent], kept_way[agent], goal_s[agent, goal],
                weight[agent, WEIGHT_GOAL_RADIUS], goal_distance[agent], route_cycle[target],
                lane_dropout, key0, key1, stream, agent, tick,
            )  # fmt: skip
            offset = write_boundaries(
                row, offset, boundary_points, np.int64(kept[agent, 3]), x, y, cos, sin,
                kept_boundary[agent], boundary_dropout, key0, key1, stream, agent, tick,
            )  # fmt: skip
            offset = write_stop_lines(
                row, offset, stop_lines, x, y, cos, sin, near_stop_line[near], line, first_line,
                colours,
            )  # fmt: skip
        offset = write_neighbours(
            row, offset, neighbours, x, y, all_z[agent], cos, sin, agent, noise, key0, key1, stream,
            tick, known[agent], pose, all_z, all_speed, size_part,
        )  # fmt: skip
        if narrow:
            warp_barrier()
            write_half(row, final_half if wanted[agent] == 2 else half, number, params.bfloat16)
            warp_barrier()
        elif stages_rows():
            warp_barrier()
            copy_row(row, final_observation if wanted[agent] == 2 else observation, number)
            warp_barrier()


@njit
def observe_wanted(
    params, counts, draws, lanes, routes, grid, signs, lights, worlds, agents, bodies, rows,
    scratch, worker, world,
):  # fmt: skip
    """Stage: writes the rows that `scratch.wanted` marks: 1 observation, 2 last observation."""
    if scratch.note[worker, ASKED] == 0:
        return
    map_index = np.int64(worlds.map[world])
    note_poses(lanes, grid, agents, bodies, scratch, map_index, worker, world)
    barrier()
    look_around(counts, worlds, bodies, scratch, worker, world)
    barrier()
    write_rows(
        params, counts, draws, lanes, routes, grid, signs, lights, worlds, agents, bodies, rows,
        scratch, worker, world,
    )  # fmt: skip


@inline
def copy_row(row, table, number):
    """Writes a row as it is."""
    for entry in range(warp_lane(), row.shape[0], warp_size()):
        table[number, entry] = row[entry]


@njit
def clear_row(rows, number):
    """Zeroes an observation."""
    if rows.half.shape[0] > 0:
        for feature in range(rows.half.shape[1]):
            rows.half[number, feature] = 0
    else:
        for feature in range(rows.observation.shape[1]):
            rows.observation[number, feature] = 0


@njit
def keep_row(rows, number):
    """Shows the last observation of an episode again."""
    if rows.half.shape[0] > 0:
        for feature in range(rows.half.shape[1]):
            rows.half[number, feature] = rows.final_half[number, feature]
    else:
        for feature in range(rows.observation.shape[1]):
            rows.observation[number, feature] = rows.final_observation[number, feature]
