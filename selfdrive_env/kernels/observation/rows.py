"""What an agent sees: one flat row in the ego frame, every value in [-1, 1].

Groups lie in planes and are written in their order, each plane before the next. Lists are nearest
first (road points in the order of the agent's observation cell), empty slots all zero. Observing is
a pure function of the state, noise and dropout included.
"""

from __future__ import annotations

import numpy as np

from selfdrive_env.compiler.half import write_half
from selfdrive_env.compiler.njit import inline, njit
from selfdrive_env.compiler.simd import prefetch
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
from selfdrive_env.compiler.vectors import LINE_WORDS, copy_past_cache, see_copies
from selfdrive_env.config.observation import WIDTHS
from selfdrive_env.kernels.drivers.erratic import is_blind
from selfdrive_env.kernels.math.elementary import angle_of
from selfdrive_env.kernels.math.geometry import ONE, ZERO, clamp, squash
from selfdrive_env.kernels.math.random import Source
from selfdrive_env.kernels.observation.crowd import COS, KIND, SIN, X, Y, note_crowd
from selfdrive_env.kernels.observation.leaders import find_leaders
from selfdrive_env.kernels.observation.neighbours import nearest_agents, write_neighbours
from selfdrive_env.kernels.observation.road_points import (
    BOUNDARY_PLANES,
    LANE_PLANES,
    Target,
    keep_points,
    prefetch_distances,
    prefetch_kept_boundaries,
    prefetch_kept_lanes,
    prefetch_lists,
    prefetch_points,
    write_boundaries,
    write_empty,
    write_lanes,
    write_left_over,
)
from selfdrive_env.kernels.observation.scales import (
    UNIT,
    Eye,
    balanced,
    half_balanced,
    jerk_part,
    length_part,
    pace_part,
    size_of,
    turned,
    width_part,
)
from selfdrive_env.kernels.observation.shown_way import write_notes, write_route
from selfdrive_env.kernels.observation.way import SHOWN, find_way, note_way, prefetch_way
from selfdrive_env.kernels.surface import cell_at, observation_cell
from selfdrive_env.state.params import REVERSE_ALLOWED
from selfdrive_env.state.rewards import NUM_CONDITIONS, WEIGHT
from selfdrive_env.state.road import SEG_CURVATURE
from selfdrive_env.state.world import (
    ABSENT,
    EXTERNAL,
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

EGO_FLOATS, GOAL_FLOATS, LINE_FLOATS = (WIDTHS[name] for name in ("ego", "goals", "stop_lines"))

OFFSET, ANGLE = size_of("ego", "lateral_offset"), size_of("ego", "angle")  # [m], [rad]
CURVATURE, STEERING = size_of("ego", "lane_curvature"), size_of("ego", "steering")
"""[1/m], [rad]"""
SPEED, LIMIT = size_of("ego", "speed"), size_of("ego", "speed_limit")  # [m/s]
ACCELERATION = size_of("ego", "acceleration")  # [m/s^2]
LATERAL = size_of("ego", "lateral_acceleration")  # [m/s^2]
GOAL_DISTANCE, DT = size_of("ego", "goal_distance"), size_of("ego", "step_length")  # [m], [s]
GOAL, LINE_PLACE = size_of("goals", "x"), size_of("stop_lines", "x")  # [m]
WAY_LEAD = 4
"""How many agents ahead ways are asked for."""

ROW_PARTS = 4
"""In which memory is asked for: the processor waits for few places of memory at a time."""

BOUNDARY_DRAWS = 0x8000
"""First of the entries of which dropout of boundary points draws; before it are lane points."""


@inline
def unit(value):
    """Clips to [-1, 1]."""
    return clamp(value, -ONE, ONE)


@inline
def write_ego(row, params, dt, lanes, agents, bodies, world, agent):
    """Writes the ego group, the first of a row; returns the offset behind it."""
    index = np.int64(agents.segment[world, agent])
    limit = lanes.speed_limit[lanes.segment_lane[index]]
    row[0] = squash(agents.d[world, agent], OFFSET)
    turn = angle_of(agents.angle_cos[world, agent], agents.angle_sin[world, agent])
    row[1] = squash(turn, ANGLE)
    row[2] = squash(lanes.segment[index, SEG_CURVATURE], CURVATURE)
    row[3] = half_balanced(agents.speed[world, agent], SPEED)
    row[4] = balanced(limit, LIMIT)
    row[5] = squash(agents.steering[world, agent], STEERING)
    row[6] = squash(agents.acceleration[world, agent], ACCELERATION)
    row[7] = squash(agents.lateral_acceleration[world, agent], LATERAL)
    row[8] = jerk_part(bodies.jerk_scale[world, agent])
    row[9] = jerk_part(bodies.lateral_jerk_scale[world, agent])
    row[10] = pace_part(bodies.acceleration_scale[world, agent])
    row[11] = pace_part(bodies.speed_scale[world, agent])
    row[12] = length_part(bodies.length[world, agent])
    row[13] = width_part(bodies.width[world, agent])
    row[14] = balanced(agents.goal_distance[world, agent], GOAL_DISTANCE)
    row[15] = balanced(dt, DT)
    may_reverse = params.reverse == REVERSE_ALLOWED or bodies.driver[world, agent] != EXTERNAL
    row[16] = np.float32(may_reverse)
    return EGO_FLOATS


@inline
def write_goals(row, offset, slots, eye, first, num_goals, goal_x, goal_y):
    """Writes the remaining targets; returns the offset behind them."""
    for slot in range(warp_lane(), slots, warp_size()):
        place = offset + slot
        there = first + slot < num_goals
        which = first + slot if there else first
        ahead, aside = turned(goal_x[which] - eye.x, goal_y[which] - eye.y, eye)
        row[place] = squash(ahead, GOAL) if there else ZERO
        row[place + slots] = squash(aside, GOAL) if there else ZERO
        row[place + 2 * slots] = ONE if there else ZERO
    return offset + slots * GOAL_FLOATS


@inline
def write_conditions(row, offset, weight, condition):
    """Writes the observed weights scaled by their training range; returns the offset behind."""
    for index in range(warp_lane(), NUM_CONDITIONS, warp_size()):
        row[offset + index] = unit(weight[index] * condition[0, index] + condition[1, index])
    return offset + NUM_CONDITIONS


@inline
def write_stop_lines(row, offset, slots, eye, near, signs, first_line, colours, own):
    """Writes stop lines with their state, those without a light left out; returns the offset.

    Args:
        row: The row.
        offset: Where the group begins.
        slots: Of the group.
        eye: The `Eye`.
        near: Lines near the agent, nearest first, -1 after the last.
        signs: Of the pool.
        first_line: Of the map.
        colours: Of its lines.
        own: Lines on the way of the agent, -1 for none.
    """
    line = signs.line
    count = np.int64(0)
    for entry in range(near.shape[0]):
        index = np.int64(near[entry])
        if count == slots or index < 0:
            break
        colour = colours[index - first_line]
        if colour == NO_LIGHT:
            continue
        if entry % warp_size() == warp_lane():
            to = offset + count
            ahead, aside = turned(line[index, 0] - eye.x, line[index, 1] - eye.y, eye)
            cos, sin = turned(line[index, 2], line[index, 3], eye)
            row[to] = squash(ahead, LINE_PLACE)
            row[to + slots] = squash(aside, LINE_PLACE)
            row[to + 2 * slots] = cos * UNIT
            row[to + 3 * slots] = sin * UNIT
            row[to + 4 * slots] = np.float32(colour == RED)
            row[to + 5 * slots] = np.float32(colour == YELLOW)
            row[to + 6 * slots] = np.float32(colour == GREEN)
            row[to + 7 * slots] = np.float32(colour == STOP_SIGN)
            on_route = False
            for place in range(own.shape[0]):
                on_route = on_route or own[place] == index
            row[to + 8 * slots] = np.float32(on_route)
            row[to + 9 * slots] = ONE
        count += 1
    for plane in range(LINE_FLOATS):
        write_empty(row, offset + plane * slots + count, slots - count)
    return offset + slots * LINE_FLOATS


@njit
def note_poses(model, data, map_index, worker, world):
    """Writes where everybody is, and on which row of the near lists."""
    lanes, grid, scratch = model.lanes, model.grid, data.scratch
    note_crowd(lanes, data, worker, world)
    crowd, around = scratch.crowd[worker], scratch.near_row[worker]
    segment, status = data.agents.segment[world], data.agents.status[world]
    for agent in range(thread_index(), segment.shape[0], block_size()):
        around[agent] = -1
        if status[agent] == ABSENT:
            continue
        layer = np.int64(lanes.segment_layer[segment[agent]])
        cell = cell_at(grid, crowd[X, agent], crowd[Y, agent], layer, map_index)
        if cell >= 0:
            around[agent] = grid.near[observation_cell(cell)]


@njit
def look_around(model, data, worker, world):
    """Walks the way of all whose row is wanted, finds who is on it and near; the blind see none."""
    counts = model.counts
    worlds, bodies, scratch = data.worlds, data.bodies, data.scratch
    key0, key1 = worlds.key[world, 0], worlds.key[world, 1]
    stream, tick, dt = worlds.stream[world], worlds.tick[world], worlds.dt_ns[world]
    neighbours = np.int64(counts.agents)
    erratic, wanted, known = bodies.erratic[world], scratch.request[worker], scratch.nearest[world]
    num_agents = wanted.shape[0]
    member = worker * block_size() + thread_index()
    keys, square = scratch.key[member], scratch.near_square[member]
    crowd = scratch.crowd[worker]
    way, along = scratch.way_ahead[member], scratch.along[member]
    for agent in range(thread_index(), num_agents, block_size()):
        if wanted[agent] != NO_ROW:
            prefetch_way(scratch, world, agent + WAY_LEAD)
            find_way(model, data, worker, world, agent)
    if model.params.writes_rows == 0:
        return
    for agent in range(thread_index(), num_agents, block_size()):
        if wanted[agent] == NO_ROW:
            continue
        note_way(model, data, worker, world, agent)
        if erratic[agent] != 0 and is_blind(erratic[agent], key0, key1, stream, agent, tick, dt):
            known[agent, 0] = 0
            continue
        find_leaders(model, data, way, along, square, worker, world, agent)
        nearest_agents(agent, neighbours, crowd[KIND], along, square, known[agent], keys)


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


@inline
def prefetch_part(row, length, part):
    """Asks for a part of the memory of a row, the first, second, ... of `ROW_PARTS`."""
    lines = (length + LINE_WORDS - 1) // LINE_WORDS
    size = LINE_WORDS * ((lines + ROW_PARTS - 1) // ROW_PARTS)
    for place in range(part * size, min((part + 1) * size, length), LINE_WORDS):
        prefetch(row, place)


@inline
def prefetch_end(table, number):
    """Asks for the line in which a row of a table ends, and the next one begins."""
    prefetch(table[number], table.shape[1] - 1)


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
    noise, dt = np.float32(params.noise), worlds.dt[world]
    lane_dropout = np.float32(params.lane_dropout)
    boundary_dropout = np.float32(params.boundary_dropout)
    condition, route_cycle = model.draws.condition, model.routes.cycle
    near_stop_line, colours = grid.near_stop_line, data.lights.line_colour[world]
    all_speed, all_goal, goal_distance = (
        agents.speed[world], agents.goal[world], agents.goal_distance[world]
    )  # fmt: skip
    weight, num_goals, all_row = bodies.weight[world], bodies.num_goals[world], bodies.row[world]
    goal_lane, goal_s = bodies.goal_lane[world], bodies.goal_s[world]
    goal_x, goal_y = bodies.goal_x[world], bodies.goal_y[world]
    kept, kept_way = scratch.cached_cell[world], scratch.cached_route_distance[world]
    kept_lane, kept_boundary = (
        scratch.cached_lane_point[world],
        scratch.cached_boundary_point[world],
    )
    crowd, shown, notes = scratch.crowd[worker], scratch.route[worker], scratch.ahead[worker]
    own_lines, around, request = (
        scratch.route_line[worker], scratch.near_row[worker], scratch.request[worker]
    )  # fmt: skip
    # `stages_rows` is a constant where it stands: on CUDA a row is in shared memory, and a choice
    # between that and global memory would keep the compiler busy for good.
    narrow, past_cache = rows.half.shape[0] > 0, params.past_cache != 0

    if params.prefetch != 0:
        prefetch_first(model, scratch, worker, world)
    for agent in range(warp_index(), all_speed.shape[0], num_warps()):
        if params.prefetch != 0:
            prefetch_next(model, data, worker, world, agent)
        if request[agent] == NO_ROW:
            continue
        last = request[agent] == LAST_OBSERVATION
        number = np.int64(all_row[agent])
        row = shared_row(scratch.row[worker])
        follower = min(agent + 1, all_speed.shape[0] - 1)
        after, length = row, np.int64(0)
        if past_cache and not stages_rows():
            prefetch_end(rows.final_observation if last else rows.observation, number)
        if not narrow and not past_cache and not stages_rows():
            row = rows.final_observation[number] if last else rows.observation[number]
            if request[follower] != NO_ROW:
                after, length = rows.observation[all_row[follower]], row.shape[0]
        eye = Eye(crowd[X, agent], crowd[Y, agent], crowd[COS, agent], crowd[SIN, agent])
        goal = np.int64(all_goal[agent])
        offset = write_ego(row, params, dt, lanes, agents, bodies, world, agent)
        offset = write_goals(
            row, offset, goals, eye, goal, np.int64(num_goals[agent]), goal_x[agent], goal_y[agent]
        )
        offset = write_conditions(row, offset, weight[agent], condition)
        offset = write_route(row, offset, eye, np.int64(notes[agent, SHOWN]), shown[agent])
        offset = write_notes(row, offset, notes[agent], all_speed[agent])

        prefetch_part(after, length, 0)
        near = np.int64(around[agent])
        if near < 0:
            floats = lane_points * LANE_PLANES + boundary_points * BOUNDARY_PLANES
            offset = write_empty(row, offset, floats + stop_lines * LINE_FLOATS)
        else:
            lane = np.int64(goal_lane[agent, goal])
            if kept[agent, 0] != near + 1 or kept[agent, 1] != lane:
                keep_points(model, data, world, agent, near, lane)
            slack = weight[agent, WEIGHT.goal_radius]
            target = Target(goal_s[agent, goal], slack, goal_distance[agent], route_cycle[lane])
            first, count = offset, np.int64(kept[agent, 2])
            prefetch_kept_lanes(scratch, world, follower)
            offset = write_lanes(
                row, offset, lane_points, count, eye, kept_lane[agent], kept_way[agent], target
            )
            if lane_dropout > ZERO:
                write_left_over(
                    row, first, lane_points, count, LANE_PLANES, lane_dropout, 0, source, agent
                )
            prefetch_part(after, length, 1)
            prefetch(near_stop_line, np.int64(max(around[follower], 0)))
            prefetch_kept_boundaries(scratch, world, follower)
            first, count = offset, np.int64(kept[agent, 3])
            offset = write_boundaries(
                row, offset, boundary_points, count, eye, kept_boundary[agent]
            )
            if boundary_dropout > ZERO:
                write_left_over(
                    row, first, boundary_points, count, BOUNDARY_PLANES, boundary_dropout,
                    BOUNDARY_DRAWS, source, agent,
                )  # fmt: skip
            prefetch_part(after, length, 2)
            offset = write_stop_lines(
                row, offset, stop_lines, eye, near_stop_line[near], model.signs, first_line,
                colours, own_lines[agent],
            )  # fmt: skip
        prefetch_part(after, length, 3)
        write_neighbours(row, offset, neighbours, eye, data, source, noise, worker, world, agent)
        hand_over(rows, row, number, last, params)
    if params.past_cache != 0:
        see_copies()


@inline
def hand_over(rows, row, number, last, params):
    """Copies a row from where it was put together to where it goes, if these are two places."""
    if rows.half.shape[0] > 0:
        warp_barrier()
        write_half(row, rows.final_half if last else rows.half, number, params.bfloat16)
        warp_barrier()
    elif stages_rows():
        warp_barrier()
        copy_row(row, rows.final_observation if last else rows.observation, number)
        warp_barrier()
    elif params.past_cache != 0:
        copy_past_cache(row, rows.final_observation if last else rows.observation, number)


@njit
def observe_wanted(model, data, worker, world):
    """Stage: writes the rows that `scratch.request` asks for, if anybody reads them.

    Poses and ways are there for those who draw, too.
    """
    worlds, scratch = data.worlds, data.scratch
    if scratch.flags[worker, REQUESTED] == 0:
        return
    map_index = np.int64(worlds.map[world])
    note_poses(model, data, map_index, worker, world)
    barrier()
    look_around(model, data, worker, world)
    barrier()
    if model.params.writes_rows != 0:
        write_rows(model, data, worker, world)


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
