"""What an agent sees: one flat row in the ego frame, every value in [-1, 1].

Lengths are squashed by x / (scale + |x|), so that near things are told apart best. Lists are
nearest first (road points in the order of the agent's observation cell), empty slots all zero.
Observing is a pure function of the state, noise and dropout included.
"""

from __future__ import annotations

import numpy as np

from selfdrive_env.compiler.half import write_half
from selfdrive_env.compiler.njit import inline, njit
from selfdrive_env.compiler.simd import (
    BOUNDARY_FLOATS,
    LANE_FLOATS,
    NEAR,
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
from selfdrive_env.config.observation import WIDTHS, scale_of
from selfdrive_env.kernels.drivers.erratic import is_blind
from selfdrive_env.kernels.math.elementary import angle_of
from selfdrive_env.kernels.math.geometry import HALF, ONE, clamp, squash
from selfdrive_env.kernels.math.random import Source
from selfdrive_env.kernels.observation.neighbours import nearest_agents, write_neighbours
from selfdrive_env.kernels.observation.road_points import (
    Eye,
    Target,
    keep_points,
    prefetch_distances,
    prefetch_kept,
    prefetch_lists,
    prefetch_points,
    write_boundaries,
    write_empty,
    write_lanes,
)
from selfdrive_env.kernels.surface import cell_at, observation_cell
from selfdrive_env.state.rewards import NUM_CONDITIONS, WEIGHT
from selfdrive_env.state.road import SEG_CURVATURE
from selfdrive_env.state.world import (
    ABSENT,
    GREEN,
    MAX_GOALS,
    NO_LIGHT,
    RED,
    REQUESTED,
    STOP_SIGN,
    YELLOW,
    RowRequest,
)

__all__ = ["clear_row", "keep_row", "observe_wanted"]

NO_ROW, _, LAST_OBSERVATION = (int(request) for request in RowRequest)

EGO_FLOATS, GOAL_FLOATS = WIDTHS["ego"], WIDTHS["goals"]
LINE_FLOATS = WIDTHS["stop_lines"]

OFFSET = np.float32(scale_of("ego", "lateral_offset"))  # [m]
PER_ANGLE = np.float32(1.0 / scale_of("ego", "angle"))  # [1/rad]
CURVATURE = np.float32(scale_of("ego", "lane_curvature"))  # [1/m]
SPEED = np.float32(scale_of("ego", "speed"))  # [m/s]
SPEED_LIMIT = np.float32(scale_of("ego", "speed_limit"))  # [m/s]
PER_STEERING = ONE / np.float32(scale_of("ego", "steering"))  # [1/rad]
PER_ACCELERATION = np.float32(1.0 / scale_of("ego", "acceleration"))  # [s^2/m]
PER_LATERAL = np.float32(1.0 / scale_of("ego", "lateral_acceleration"))  # [s^2/m]
LENGTH = np.float32(scale_of("ego", "length"))  # the same for the ego and others [m]
WIDTH = np.float32(scale_of("ego", "width"))  # likewise [m]
NOWHERE = np.float32(1.0e9)  # [m]


@inline
def unit(value):
    """Clips to [-1, 1]."""
    return clamp(value, -ONE, ONE)


@inline
def write_ego(row, lanes, agents, bodies, world, agent, length_part, width_part):
    """Writes the ego group, the first of a row; returns the offset behind it."""
    index = np.int64(agents.segment[world, agent])
    limit = lanes.speed_limit[lanes.segment_lane[index]]
    turned = angle_of(agents.angle_cos[world, agent], agents.angle_sin[world, agent])
    row[0] = squash(agents.d[world, agent], OFFSET)
    row[1] = unit(turned * PER_ANGLE)
    row[2] = squash(lanes.segment[index, SEG_CURVATURE], CURVATURE)
    write_squashed(row, 3, agents.speed[world, agent], limit, SPEED, SPEED_LIMIT)
    row[5] = unit(agents.steering[world, agent] * PER_STEERING)
    row[6] = unit(agents.acceleration[world, agent] * PER_ACCELERATION)
    row[7] = unit(agents.lateral_acceleration[world, agent] * PER_LATERAL)
    row[8] = unit(bodies.jerk_scale[world, agent] - ONE)
    row[9] = unit(bodies.lateral_jerk_scale[world, agent] - ONE)
    row[10] = unit(bodies.acceleration_scale[world, agent] - ONE)
    row[11] = unit(bodies.speed_scale[world, agent] - ONE)
    row[12] = length_part
    row[13] = width_part
    return EGO_FLOATS


@inline
def write_goals(row, offset, slots, eye, first, num_goals, goal_x, goal_y):
    """Writes the remaining targets; returns the offset behind them."""
    count = min(slots, num_goals - first)
    for slot in range(warp_lane(), count, warp_size()):
        place = offset + slot * GOAL_FLOATS
        dx = goal_x[first + slot] - eye.x
        dy = goal_y[first + slot] - eye.y
        ahead = dx * eye.cos + dy * eye.sin
        aside = dy * eye.cos - dx * eye.sin
        write_squashed(row, place, ahead, aside, NEAR, NEAR)
        row[place + 2] = ONE
    return write_empty(row, offset + count * GOAL_FLOATS, (slots - count) * GOAL_FLOATS)


@inline
def write_conditions(row, offset, weight, condition):
    """Writes the observed weights scaled by their training range; returns the offset behind."""
    for index in range(warp_lane(), NUM_CONDITIONS, warp_size()):
        row[offset + index] = unit(weight[index] * condition[0, index] + condition[1, index])
    return offset + NUM_CONDITIONS


@inline
def write_stop_lines(row, offset, slots, eye, near, line, first_line, colours):
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
            write_point(row, offset, line, index, eye.x, eye.y, eye.cos, eye.sin)
            row[offset + 4] = np.float32(colour == RED)
            row[offset + 5] = np.float32(colour == YELLOW)
            row[offset + 6] = np.float32(colour == GREEN)
            row[offset + 7] = np.float32(colour == STOP_SIGN)
            row[offset + 8] = ONE
        offset += LINE_FLOATS
    return write_empty(row, offset, end - offset)


@njit
def note_poses(model, data, map_index, worker, world):
    """Writes where everybody is, how large, and on which row of the near lists."""
    lanes, grid = model.lanes, model.grid
    agents, bodies, scratch = data.agents, data.bodies, data.scratch
    segment_layer = lanes.segment_layer
    near_row = grid.near
    all_x, all_y, status = agents.x[world], agents.y[world], agents.status[world]
    all_cos, all_sin, all_segment = agents.cos[world], agents.sin[world], agents.segment[world]
    length, width, wheelbase = bodies.length[world], bodies.width[world], bodies.wheelbase[world]
    pose, size_part, around = (
        scratch.pose[worker], scratch.size_part[worker], scratch.near_row[worker]
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
        cell = cell_at(grid, x, y, np.int64(segment_layer[place]), map_index)
        around[agent] = near_row[observation_cell(cell)] if cell >= 0 else -1
        size_part[agent, 0] = squash(length[agent], LENGTH)
        size_part[agent, 1] = squash(width[agent], WIDTH)


@njit
def look_around(model, data, worker, world):
    """Finds the nearest agents of everybody whose row is wanted; the blind see none."""
    counts = model.counts
    worlds, bodies, scratch = data.worlds, data.bodies, data.scratch
    key0, key1 = worlds.key[world, 0], worlds.key[world, 1]
    stream, tick = worlds.stream[world], worlds.tick[world]
    neighbours = np.int64(counts.agents)
    erratic, wanted, known = bodies.erratic[world], scratch.request[worker], scratch.nearest[world]
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
def prefetch_first(model, scratch, worker, world):
    """Asks for the near lists of all agents whose row is wanted, and for the first two's points."""
    around, request = scratch.near_row[worker], scratch.request[worker]
    for agent in range(request.shape[0]):
        around[agent] = around[agent] if request[agent] != NO_ROW else -1
        prefetch_lists(model, scratch, worker, world, agent)
    for agent in range(min(2, request.shape[0])):
        prefetch_points(model, scratch, worker, world, agent)


@inline
def prefetch_next(model, data, worker, world, agent):
    """Asks for the points of the agents whose turn is after that of `agent`."""
    scratch, num_agents = data.scratch, data.agents.x.shape[1]
    if agent + 2 < num_agents:
        prefetch_points(model, scratch, worker, world, agent + 2)
    if agent + 1 < num_agents:
        goal = data.agents.goal[world, agent + 1]
        target = np.int64(data.bodies.goal_lane[world, agent + 1, goal])
        prefetch_distances(model, scratch, worker, world, agent + 1, target)
        prefetch_kept(scratch, world, agent + 1)


@njit
def write_rows(model, data, worker, world):
    """Writes the rows that are wanted, once poses are noted and neighbours found.

    Arrays that each row reads in loops are taken out of their struct before the loop: doing so
    within it costs more than writing the row.
    """
    params, counts, lanes, grid = model.params, model.counts, model.lanes, model.grid
    worlds, agents, bodies, rows = data.worlds, data.agents, data.bodies, data.rows
    scratch = data.scratch
    first_line = np.int64(model.signs.map_line_first[worlds.map[world]])
    source = Source(
        worlds.key[world, 0], worlds.key[world, 1], worlds.stream[world], worlds.tick[world]
    )
    goals = min(np.int64(counts.goals), MAX_GOALS)
    lane_points, boundary_points = np.int64(counts.lane_points), np.int64(counts.boundary_points)
    stop_lines, neighbours = np.int64(counts.stop_lines), np.int64(counts.agents)
    noise = np.float32(params.noise)
    lane_dropout = np.float32(params.lane_dropout)
    boundary_dropout = np.float32(params.boundary_dropout)
    condition, route_cycle = model.draws.condition, model.routes.cycle
    near_stop_line, line, colours = (
        grid.near_stop_line,
        model.signs.line,
        data.lights.line_colour[world],
    )
    all_z, all_speed = agents.z[world], agents.speed[world]
    all_goal, goal_distance = agents.goal[world], agents.goal_distance[world]
    weight, num_goals, all_row = bodies.weight[world], bodies.num_goals[world], bodies.row[world]
    goal_lane, goal_s = bodies.goal_lane[world], bodies.goal_s[world]
    goal_x, goal_y = bodies.goal_x[world], bodies.goal_y[world]
    known, kept, kept_way = (
        scratch.nearest[world],
        scratch.cached_cell[world],
        scratch.cached_route_distance[world],
    )
    kept_lane, kept_boundary = (
        scratch.cached_lane_point[world],
        scratch.cached_boundary_point[world],
    )
    pose, size_part = scratch.pose[worker], scratch.size_part[worker]
    around, request = scratch.near_row[worker], scratch.request[worker]
    narrow = rows.half.shape[0] > 0

    if params.prefetch != 0:
        prefetch_first(model, scratch, worker, world)
    for agent in range(warp_index(), all_z.shape[0], num_warps()):
        if params.prefetch != 0:
            prefetch_next(model, data, worker, world, agent)
        if request[agent] == NO_ROW:
            continue
        last = request[agent] == LAST_OBSERVATION
        number = np.int64(all_row[agent])
        row = shared_row(scratch.row[worker])
        if not narrow and not stages_rows():
            row = rows.final_observation[number] if last else rows.observation[number]
        eye = Eye(pose[agent, 0], pose[agent, 1], pose[agent, 2], pose[agent, 3])
        goal = np.int64(all_goal[agent])
        offset = write_ego(
            row, lanes, agents, bodies, world, agent, size_part[agent, 0], size_part[agent, 1]
        )
        offset = write_goals(
            row, offset, goals, eye, goal, np.int64(num_goals[agent]), goal_x[agent], goal_y[agent]
        )
        offset = write_conditions(row, offset, weight[agent], condition)

        near = np.int64(around[agent])
        if near < 0:
            floats = lane_points * LANE_FLOATS + boundary_points * BOUNDARY_FLOATS
            offset = write_empty(row, offset, floats + stop_lines * LINE_FLOATS)
        else:
            lane = np.int64(goal_lane[agent, goal])
            if kept[agent, 0] != near + 1 or kept[agent, 1] != lane:
                keep_points(model, data, world, agent, near, lane)
            slack = weight[agent, WEIGHT.goal_radius]
            target = Target(goal_s[agent, goal], slack, goal_distance[agent], route_cycle[lane])
            offset = write_lanes(
                row, offset, lane_points, np.int64(kept[agent, 2]), eye, kept_lane[agent],
                kept_way[agent], target, lane_dropout, source, agent,
            )  # fmt: skip
            offset = write_boundaries(
                row, offset, boundary_points, np.int64(kept[agent, 3]), eye, kept_boundary[agent],
                boundary_dropout, source, agent,
            )  # fmt: skip
            offset = write_stop_lines(
                row, offset, stop_lines, eye, near_stop_line[near], line, first_line, colours
            )
        offset = write_neighbours(
            row, offset, neighbours, eye, agent, noise, source, known[agent], pose, all_z,
            all_speed, size_part,
        )  # fmt: skip
        hand_over(rows, row, number, last, params.bfloat16)


@inline
def hand_over(rows, row, number, last, bfloat16):
    """Copies a row from where it was put together to where it goes, if these are two places."""
    if rows.half.shape[0] > 0:
        warp_barrier()
        write_half(row, rows.final_half if last else rows.half, number, bfloat16)
        warp_barrier()
    elif stages_rows():
        warp_barrier()
        copy_row(row, rows.final_observation if last else rows.observation, number)
        warp_barrier()


@njit
def observe_wanted(
    model, data, worker, world):  # fmt: skip
    """Stage: writes the rows that `scratch.request` asks for."""
    worlds, scratch = data.worlds, data.scratch
    if scratch.flags[worker, REQUESTED] == 0:
        return
    map_index = np.int64(worlds.map[world])
    note_poses(model, data, map_index, worker, world)
    barrier()
    look_around(model, data, worker, world)
    barrier()
    write_rows(
        model, data, worker, world)  # fmt: skip


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
