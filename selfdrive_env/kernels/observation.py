"""What an agent sees: one flat row in the ego frame, every value in [-1, 1].

Lengths are squashed by x / (scale + |x|), so that near things are told apart best. Lists are
nearest first (road points in the order of the agent's observation cell), empty slots all zero.
Observing is a pure function of the state, noise and dropout included.
"""

from __future__ import annotations

import math

import numpy as np

from selfdrive_env.kernels.drivers import is_blind
from selfdrive_env.kernels.dynamics import MAX_STEERING
from selfdrive_env.kernels.geometry import HALF, ONE, ZERO, clamp, squash
from selfdrive_env.kernels.parallel import inline, njit
from selfdrive_env.kernels.random import DRAW_DROPOUT, DRAW_NOISE, normal_pair, uniforms
from selfdrive_env.kernels.road import (
    UNREACHABLE,
    lane_distance,
    way_ahead,
)
from selfdrive_env.kernels.surface import cell_at, observation_cell
from selfdrive_env.state import (
    ABSENT,
    GREEN,
    LINE_COS,
    LINE_SIN,
    LINE_X,
    LINE_Y,
    MAX_GOALS,
    NO_LIGHT,
    NUM_CONDITIONS,
    RED,
    SEG_CURVATURE,
    STOP_SIGN,
    WEIGHT_GOAL_RADIUS,
    YELLOW,
)

__all__ = ["observe_wanted", "row_length"]

EGO_FLOATS = 14
GOAL_FLOATS = 3
LANE_FLOATS = 7
BOUNDARY_FLOATS = 5
LINE_FLOATS = 9
AGENT_FLOATS = 10

NEAR = np.float32(20.0)
FAR = np.float32(100.0)
VIEW_SQUARED = np.float32(200.0 * 200.0)
OFFSET = np.float32(2.0)
CURVATURE = np.float32(0.05)
SPEED = np.float32(10.0)
BRAKING = np.float32(5.0)
LATERAL = np.float32(4.0)
LENGTH = np.float32(5.0)
WIDTH = np.float32(2.0)
HEIGHT = np.float32(10.0)
PI = np.float32(math.pi)
TWO = np.float32(2.0)
HUGE = np.float32(1.0e12)


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
def write_empty(row, offset, count):
    """Zeroes `count` entries; returns the offset behind them."""
    for entry in range(offset, offset + count):
        row[entry] = ZERO
    return offset + count


@inline
def write_point(row, offset, x, y, point_x, point_y, point_cos, point_sin, cos, sin):
    """Writes position and heading of a point in the frame of the pose (x, y, cos, sin)."""
    dx = point_x - x
    dy = point_y - y
    row[offset] = squash(dx * cos + dy * sin, NEAR)
    row[offset + 1] = squash(dy * cos - dx * sin, NEAR)
    row[offset + 2] = unit(point_cos * cos + point_sin * sin)
    row[offset + 3] = unit(point_sin * cos - point_cos * sin)


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
    length,
    width,
):
    """Writes the ego group; returns the offset behind it."""
    row[offset] = squash(d, OFFSET)
    row[offset + 1] = unit(math.atan2(angle_sin, angle_cos) / PI)
    row[offset + 2] = squash(curvature, CURVATURE)
    row[offset + 3] = squash(speed, SPEED)
    row[offset + 4] = squash(limit, SPEED)
    row[offset + 5] = unit(steering / MAX_STEERING)
    row[offset + 6] = unit(acceleration / BRAKING)
    row[offset + 7] = unit(lateral / LATERAL)
    row[offset + 8] = unit(throttle - ONE)
    row[offset + 9] = unit(steer - ONE)
    row[offset + 10] = unit(pull - ONE)
    row[offset + 11] = unit(pace - ONE)
    row[offset + 12] = squash(length, LENGTH)
    row[offset + 13] = squash(width, WIDTH)
    return offset + EGO_FLOATS


@inline
def write_goals(row, offset, slots, x, y, cos, sin, first, num_goals, goal_x, goal_y):
    """Writes the remaining targets; returns the offset behind them."""
    for slot in range(slots):
        goal = first + slot
        if goal >= num_goals:
            return write_empty(row, offset, (slots - slot) * GOAL_FLOATS)
        dx = goal_x[goal] - x
        dy = goal_y[goal] - y
        row[offset] = squash(dx * cos + dy * sin, NEAR)
        row[offset + 1] = squash(dy * cos - dx * sin, NEAR)
        row[offset + 2] = ONE
        offset += GOAL_FLOATS
    return offset


@inline
def write_conditions(row, offset, weight, condition):
    """Writes the observed weights scaled by their training range; returns the offset behind."""
    for index in range(NUM_CONDITIONS):
        low = condition[index, 0]
        high = condition[index, 1]
        row[offset + index] = unit((weight[index] - low) / (high - low) * TWO - ONE)
    return offset + NUM_CONDITIONS


@inline
def dropped(share, key0, key1, stream, agent, tick, index):
    """Whether feature dropout leaves out entry `index` of an agent's lists."""
    a, b, c, d = uniforms(key0, key1, stream, agent, tick, DRAW_DROPOUT, index >> 2)
    which = index & 3
    number = a if which == 0 else (b if which == 1 else (c if which == 2 else d))
    return number < share


@inline
def write_lanes(
    row,
    offset,
    slots,
    x,
    y,
    cos,
    sin,
    near,
    point,
    point_lane,
    point_s,
    goal_lane,
    goal_s,
    slack,
    own_distance,
    first_lane,
    num_lanes,
    route_first,
    route_lane,
    route_length,
    cycle,
    share,
    key0,
    key1,
    stream,
    agent,
    tick,
):
    """Writes lane points with their way to the next goal; returns the offset behind them."""
    end = offset + slots * LANE_FLOATS
    low = route_first[goal_lane]
    dense = route_first[goal_lane + 1] - low == num_lanes
    for slot in range(min(slots, near.shape[0])):
        index = np.int64(near[slot])
        if index < 0:
            break
        if share > ZERO and dropped(share, key0, key1, stream, agent, tick, slot):
            continue
        write_point(
            row,
            offset,
            x,
            y,
            point[index, 0],
            point[index, 1],
            point[index, 2],
            point[index, 3],
            cos,
            sin,
        )
        lane = np.int64(point_lane[index])
        base = UNREACHABLE
        if dense:
            base = route_length[low + lane - first_lane]
        else:
            base = lane_distance(
                goal_lane, lane, first_lane, num_lanes, route_first, route_lane, route_length
            )
        distance = way_ahead(base, point_s[index], goal_s, slack, cycle)
        row[offset + 4] = squash(distance, FAR)
        row[offset + 5] = squash(distance - own_distance, NEAR)
        row[offset + 6] = ONE
        offset += LANE_FLOATS
    return write_empty(row, offset, end - offset)


@inline
def write_boundaries(
    row, offset, slots, x, y, cos, sin, near, point, share, key0, key1, stream, agent, tick
):
    """Writes boundary points; returns the offset behind them."""
    end = offset + slots * BOUNDARY_FLOATS
    for slot in range(min(slots, near.shape[0])):
        index = np.int64(near[slot])
        if index < 0:
            break
        if share > ZERO and dropped(share, key0, key1, stream, agent, tick, 0x8000 + slot):
            continue
        write_point(
            row,
            offset,
            x,
            y,
            point[index, 0],
            point[index, 1],
            point[index, 2],
            point[index, 3],
            cos,
            sin,
        )
        row[offset + 4] = ONE
        offset += BOUNDARY_FLOATS
    return write_empty(row, offset, end - offset)


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
        write_point(
            row,
            offset,
            x,
            y,
            line[index, LINE_X],
            line[index, LINE_Y],
            line[index, LINE_COS],
            line[index, LINE_SIN],
            cos,
            sin,
        )
        row[offset + 4] = np.float32(colour == RED)
        row[offset + 5] = np.float32(colour == YELLOW)
        row[offset + 6] = np.float32(colour == GREEN)
        row[offset + 7] = np.float32(colour == STOP_SIGN)
        row[offset + 8] = ONE
        offset += LINE_FLOATS
    return write_empty(row, offset, end - offset)


@inline
def nearest_agents(agent, x, y, slots, ax, ay, ac, as_, status, wheelbase, found, distance):
    """Writes the nearest agents to `found`, nearest first; returns how many there are."""
    count = 0
    for other in range(ax.shape[0]):
        if other == agent or status[other] == ABSENT:
            continue
        ahead = HALF * wheelbase[other]
        dx = ax[other] + ahead * ac[other] - x
        dy = ay[other] + ahead * as_[other] - y
        square = dx * dx + dy * dy
        if square > VIEW_SQUARED or (count == slots and square >= distance[count - 1]):
            continue
        place = count if count < slots else slots - 1
        while place > 0 and distance[place - 1] > square:
            distance[place] = distance[place - 1]
            found[place] = found[place - 1]
            place -= 1
        distance[place] = square
        found[place] = other
        count = min(count + 1, slots)
    return count


@inline
def write_agent(
    row, offset, x, y, z, cos, sin, other_x, other_y, other_z, other_cos, other_sin, speed, length,
    width, noise_x, noise_y, noise_speed,
):  # fmt: skip
    """Writes one neighbour."""
    write_point(
        row,
        offset,
        x,
        y,
        other_x + noise_x,
        other_y + noise_y,
        other_cos,
        other_sin,
        cos,
        sin,
    )
    speed += noise_speed
    row[offset + 4] = squash(speed * (other_cos * cos + other_sin * sin), SPEED)
    row[offset + 5] = squash(speed * (other_sin * cos - other_cos * sin), SPEED)
    row[offset + 6] = squash(length, LENGTH)
    row[offset + 7] = squash(width, WIDTH)
    row[offset + 8] = unit((other_z - z) / HEIGHT)
    row[offset + 9] = ONE


@inline
def write_neighbours(
    row, offset, slots, x, y, z, cos, sin, agent, noise, key0, key1, stream, tick, found, distance,
    all_x, all_y, all_z, all_cos, all_sin, all_speed, all_status, all_length, all_width,
    all_wheelbase,
):  # fmt: skip
    """Writes the nearest agents; returns the offset behind them."""
    end = offset + slots * AGENT_FLOATS
    count = nearest_agents(
        agent, x, y, slots, all_x, all_y, all_cos, all_sin, all_status, all_wheelbase, found,
        distance,
    )  # fmt: skip
    for slot in range(count):
        other = np.int64(found[slot])
        noise_x = ZERO
        noise_y = ZERO
        noise_speed = ZERO
        if noise > ZERO:
            a, b, c, d = uniforms(key0, key1, stream, agent, tick, DRAW_NOISE, other)
            noise_x, noise_y = normal_pair(a, b)
            noise_speed, _unused = normal_pair(c, d)
        ahead = HALF * all_wheelbase[other]
        write_agent(
            row, offset, x, y, z, cos, sin,
            all_x[other] + ahead * all_cos[other], all_y[other] + ahead * all_sin[other],
            all_z[other], all_cos[other], all_sin[other], all_speed[other], all_length[other],
            all_width[other], noise * noise_x, noise * noise_y, noise * noise_speed,
        )  # fmt: skip
        offset += AGENT_FLOATS
    return write_empty(row, offset, end - offset)


@njit
def observe_wanted(
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
    """Stage: writes the rows that `scratch.wanted` marks: 1 observation, 2 last observation.

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
    segment, segment_lane, segment_layer = lanes.segment, lanes.segment_lane, lanes.segment_layer
    speed_limit = lanes.speed_limit
    route_first, route_lane, route_length = routes.first, routes.lane, routes.distance
    route_cycle = routes.cycle
    origin, shape, block, near_row = grid.origin, grid.shape, grid.block, grid.near
    near_lane_point, near_boundary = grid.near_lane_point, grid.near_boundary
    near_stop_line = grid.near_stop_line
    lane_point, lane_point_lane, lane_point_s = (
        grid.lane_point,
        grid.lane_point_lane,
        grid.lane_point_s,
    )
    boundary_point = grid.boundary_point
    line, colours = signs.line, lights.line_colour[world]
    all_x, all_y, all_z = agents.x[world], agents.y[world], agents.z[world]
    all_cos, all_sin, all_speed = agents.cos[world], agents.sin[world], agents.speed[world]
    status = agents.status[world]
    all_d, angle_cos, angle_sin = agents.d[world], agents.angle_cos[world], agents.angle_sin[world]
    steering, acceleration = agents.steering[world], agents.acceleration[world]
    lateral, all_segment = agents.lateral_acceleration[world], agents.segment[world]
    all_goal, goal_distance = agents.goal[world], agents.goal_distance[world]
    length, width, wheelbase = bodies.length[world], bodies.width[world], bodies.wheelbase[world]
    throttle, steer, pull = bodies.throttle[world], bodies.steer[world], bodies.pull[world]
    pace, erratic, weight = bodies.pace[world], bodies.erratic[world], bodies.weight[world]
    goal_lane, goal_s = bodies.goal_lane[world], bodies.goal_s[world]
    goal_x, goal_y, num_goals = bodies.goal_x[world], bodies.goal_y[world], bodies.num_goals[world]
    all_row = bodies.row[world]
    found, distance = scratch.neighbour[worker], scratch.neighbour_distance[worker]
    wanted = scratch.wanted[worker]
    observation, final_observation = rows.observation, rows.final_observation

    for agent in range(all_x.shape[0]):
        if wanted[agent] == 0:
            continue
        row = observation[all_row[agent]]
        if wanted[agent] == 2:
            row = final_observation[all_row[agent]]
        cos = all_cos[agent]
        sin = all_sin[agent]
        ahead = HALF * wheelbase[agent]
        x = all_x[agent] + ahead * cos
        y = all_y[agent] + ahead * sin
        index = np.int64(all_segment[agent])
        goal = np.int64(all_goal[agent])
        offset = write_ego(
            row, 0, all_d[agent], angle_cos[agent], angle_sin[agent],
            segment[index, SEG_CURVATURE], all_speed[agent], speed_limit[segment_lane[index]],
            steering[agent], acceleration[agent], lateral[agent], throttle[agent], steer[agent],
            pull[agent], pace[agent], length[agent], width[agent],
        )  # fmt: skip
        offset = write_goals(
            row, offset, goals, x, y, cos, sin, goal, np.int64(num_goals[agent]), goal_x[agent],
            goal_y[agent],
        )  # fmt: skip
        offset = write_conditions(row, offset, weight[agent], condition)

        cell = cell_at(x, y, np.int64(segment_layer[index]), map_index, origin, shape, block)
        near = np.int64(-1)
        if cell >= 0:
            near = np.int64(near_row[observation_cell(cell)])
        if near < 0:
            floats = lane_points * LANE_FLOATS + boundary_points * BOUNDARY_FLOATS
            offset = write_empty(row, offset, floats + stop_lines * LINE_FLOATS)
        else:
            target = np.int64(goal_lane[agent, goal])
            offset = write_lanes(
                row, offset, lane_points, x, y, cos, sin, near_lane_point[near], lane_point,
                lane_point_lane, lane_point_s, target, goal_s[agent, goal],
                weight[agent, WEIGHT_GOAL_RADIUS], goal_distance[agent], first_lane, num_lanes,
                route_first, route_lane, route_length, route_cycle[target], lane_dropout, key0,
                key1, stream, agent, tick,
            )  # fmt: skip
            offset = write_boundaries(
                row, offset, boundary_points, x, y, cos, sin, near_boundary[near], boundary_point,
                boundary_dropout, key0, key1, stream, agent, tick,
            )  # fmt: skip
            offset = write_stop_lines(
                row, offset, stop_lines, x, y, cos, sin, near_stop_line[near], line, first_line,
                colours,
            )  # fmt: skip
        sees = neighbours
        if erratic[agent] != 0 and is_blind(erratic[agent], key0, key1, stream, agent, tick):
            sees = np.int64(0)
        offset = write_neighbours(
            row, offset, sees, x, y, all_z[agent], cos, sin, agent, noise, key0, key1, stream,
            tick, found, distance, all_x, all_y, all_z, all_cos, all_sin, all_speed, status,
            length, width, wheelbase,
        )  # fmt: skip
        write_empty(row, offset, (neighbours - sees) * AGENT_FLOATS)
