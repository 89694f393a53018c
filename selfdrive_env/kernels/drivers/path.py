"""The way ahead of an agent: points on lane centres along its route, with what lies on it.

Scripted drivers follow their own way and look at the ways of others. All agents of a world that
has a scripted driver get one, learners included.
"""

from __future__ import annotations

import numpy as np

from selfdrive_env.compiler.njit import njit
from selfdrive_env.kernels.drivers.lane_changes import (
    DEAD_END_SIGHT,
    is_waiting,
    leave_way,
    may_change,
    place_beside,
    wanted_lane,
    way_to_standing,
)
from selfdrive_env.kernels.drivers.lines import (
    held_points,
    is_in_junction,
    next_line,
    note_line,
)
from selfdrive_env.kernels.drivers.path_info import (
    ASIDE,
    BEND,
    BESIDE_LEFT,
    BESIDE_RIGHT,
    BLOCKER,
    CHANGES,
    ENTRY,
    EXIT,
    HOLD,
    LEAVE_END,
    LINE_COLOUR,
    LINE_GAP,
    MAX_PATH_POINTS,
    PATH_END,
    PATH_STEP,
    POINTS,
    ROOM,
    STAYS,
    SWEEP,
    THROUGH,
    TWO,
    WAITED,
    WAITS_FOR,
    path_offset,
    way_room,
    write_bounds,
)
from selfdrive_env.kernels.drivers.precedence import (
    STOP_SIGN_DELAY,
    asking_way,
    note_precedence,
    yield_delay,
)
from selfdrive_env.kernels.math.geometry import HALF, ONE, ZERO
from selfdrive_env.kernels.road import (
    CURVATURE_SLACK,
    UNREACHABLE,
    lane_ahead,
    next_lane,
    segment_at,
)
from selfdrive_env.kernels.route import NARROW_MARGIN, way_to_dead_end
from selfdrive_env.kernels.walks import tail_room, turn_out_room
from selfdrive_env.state.rewards import WEIGHT
from selfdrive_env.state.road import (
    SEG_COS,
    SEG_LEFT,
    SEG_LENGTH,
    SEG_RIGHT,
    SEG_S,
    SEG_SIN,
    SEG_X,
    SEG_Y,
    SEG_Z,
)
from selfdrive_env.state.world import HALTED, STANDING

__all__ = ["build_path"]

PATH_BRAKING = np.float32(2.0)  # [m/s^2]
PATH_MARGIN = np.float32(18.0)  # [m]
STOP_MARGIN = np.float32(0.8)  # [m]
LINK_JUMP = np.float32(0.5)  # [m]
JUMP_SLOPE = np.float32(1.0 / 4.5)  # [m/m]
CLEARING_ROOM = np.float32(6.0)  # [m]
SHORT_ROOM = np.float32(8.0)  # [m]
TURNING = np.float32(0.5)  # [rad]
SWEEP_SHARE = np.float32(0.16)  # of the square of the length, to each side


@njit
def write_path_point(lanes, path, count, index, on_lane, jump):
    """Writes the point of a lane centre at arc length `on_lane`.

    A lane may begin `jump` metres to the side (left positive) of where the one before it ends: the
    path then comes over to it along a slope.
    """
    t = on_lane - lanes.segment[index, SEG_S]
    cos = lanes.segment[index, SEG_COS]
    sin = lanes.segment[index, SEG_SIN]
    path[count, 0] = lanes.segment[index, SEG_X] + t * cos
    path[count, 1] = lanes.segment[index, SEG_Y] + t * sin
    path[count, 2] = cos
    path[count, 3] = sin
    path[count, 4] = lanes.segment[index, SEG_Z]
    shift = abs(jump) - JUMP_SLOPE * on_lane
    if shift <= ZERO:
        return
    side = ONE if jump > ZERO else -ONE
    path[count, 0] -= side * shift * sin
    path[count, 1] += side * shift * cos
    path[count, 2] = cos + side * JUMP_SLOPE * sin
    path[count, 3] = sin - side * JUMP_SLOPE * cos


@njit
def link_jump(lanes, last, first):
    """Returns how far to the left of the lane that begins with segment `first` one ends [m]."""
    x = lanes.segment[last, SEG_X] + lanes.segment[last, SEG_LENGTH] * lanes.segment[last, SEG_COS]
    y = lanes.segment[last, SEG_Y] + lanes.segment[last, SEG_LENGTH] * lanes.segment[last, SEG_SIN]
    dx = x - lanes.segment[first, SEG_X]
    dy = y - lanes.segment[first, SEG_Y]
    jump = dy * lanes.segment[first, SEG_COS] - dx * lanes.segment[first, SEG_SIN]
    return jump if abs(jump) > LINK_JUMP else ZERO


@njit
def note_junction(info, base, enters, inside, near, length):
    """Notes where a path enters and leaves the next junction, where a lane of it begins at `base`.

    Returns how many points to write, -1 for as many as before: a driver who is `near` sees all of
    the junction and the room behind. A lane too short to stand on belongs to the junction.
    """
    if enters and info[ENTRY] >= UNREACHABLE:
        info[ENTRY] = base
        return np.int64(MAX_PATH_POINTS) if near else np.int64(-1)
    if enters and info[EXIT] < base and base - info[EXIT] < length + SHORT_ROOM:
        info[EXIT] = UNREACHABLE
        return np.int64(MAX_PATH_POINTS)
    if inside and not enters and info[EXIT] >= UNREACHABLE:
        info[EXIT] = base
        return min(np.int64((base + length + CLEARING_ROOM) / PATH_STEP) + 2, MAX_PATH_POINTS)
    return np.int64(-1)


@njit
def build_path(model, data, world, agent, path, info):
    """Writes the way ahead of an agent: points every 1.5 m on lane centres along its route.

    It ends at the first line where the agent has to stop and where its lane ends or gets narrower
    than its body.
    """
    lanes, routes, signs = model.lanes, model.routes, model.signs
    lights, worlds, agents, bodies = data.lights, data.worlds, data.agents, data.bodies
    map_index = np.int64(worlds.map[world])
    first_lane = np.int64(lanes.map_lane_first[map_index])
    num_lanes = np.int64(lanes.map_lane_first[map_index + 1]) - first_lane
    first_line = np.int64(signs.map_line_first[map_index])
    speed = max(agents.speed[world, agent], ZERO)
    length = bodies.length[world, agent]
    half_length = HALF * bodies.length[world, agent]
    narrow = bodies.width[world, agent] + NARROW_MARGIN
    goal = np.int64(agents.goal[world, agent])
    goal_lane = np.int64(bodies.goal_lane[world, agent, goal])
    slack = bodies.weight[world, agent, WEIGHT.goal_radius]
    own = np.int64(lanes.segment_lane[agents.segment[world, agent]])
    bend = bodies.max_curvature[world, agent]
    tight = bend * CURVATURE_SLACK
    room = way_to_dead_end(lanes, own, agents.s[world, agent], DEAD_END_SIGHT, tight, narrow)
    room = min(room, way_to_standing(model, data, world, agent, own, agents.s[world, agent]))
    target = wanted_lane(model, data, world, agent, own, goal_lane, room)
    lane, s = own, agents.s[world, agent]
    leave = UNREACHABLE
    if target != own:
        room = leave_way(lanes, own, target, s, room, tight)
        if may_change(model, data, world, agent, own, target, room):
            lane, s = target, place_beside(lanes, own, target, agents, bodies, world, agent)
            leave = room
    first = lane

    reach = speed * speed / (TWO * PATH_BRAKING) + TWO * speed + PATH_MARGIN
    seen = min(np.int64(reach / PATH_STEP) + 2, MAX_PATH_POINTS)
    seen = np.int64(0) if agents.status[world, agent] == STANDING else seen  # it has no way
    line_from = s + half_length - STOP_MARGIN
    starts_inside = is_in_junction(lanes, signs, lane, line_from)
    wanted = np.int64(MAX_PATH_POINTS) if starts_inside else seen
    info[ENTRY] = -s if starts_inside else UNREACHABLE
    info[THROUGH] = np.float32(lane) if starts_inside else -ONE
    info[EXIT] = UNREACHABLE
    info[LINE_GAP] = UNREACHABLE
    info[LINE_COLOUR] = ZERO
    info[PATH_END] = UNREACHABLE
    info[CHANGES] = ONE if lane != own else ZERO
    info[LEAVE_END] = leave
    info[SWEEP] = SWEEP_SHARE * length * length
    info[BEND] = lanes.max_curvature[lane]
    turn = lanes.turn[lane] if starts_inside else ZERO
    delay = ZERO
    served = False
    jump = ZERO
    base = -s
    index = segment_at(lanes, lane, s)
    count = np.int64(0)
    while count < wanted:
        place = PATH_STEP * np.float32(count)
        if place - base > lanes.length[lane]:
            at, colour, passed = next_line(
                signs,
                world,
                lane,
                line_from,
                UNREACHABLE,
                agents.stopped_at[world, agent],
                first_line,
                lights.line_colour,
            )
            served = note_line(info, at, colour, passed, base, half_length) or served
            passes = base + bodies.goal_s[world, agent, goal] >= -slack
            if lane == goal_lane and passes and goal + 1 < bodies.num_goals[world, agent]:
                goal += 1
                goal_lane = np.int64(bodies.goal_lane[world, agent, goal])
            before = lane
            inside = lanes.junction[lane] >= 0
            base += lanes.length[lane]
            ways = (goal_lane, first_lane, num_lanes)
            lane = lane_ahead(lanes, routes, before, ways, bend, speed, base)
            if lane < 0:
                lane = next_lane(lanes, routes, before, goal_lane, tight, first_lane, num_lanes)
            if lane < 0:
                info[PATH_END] = base
                break
            info[BEND] = max(info[BEND], lanes.max_curvature[lane])
            line_from = ZERO
            before = np.int64(lanes.segment_first[before + 1]) - 1
            index = np.int64(lanes.segment_first[lane])
            jump = link_jump(lanes, before, index)
            begins = lanes.junction[lane] >= 0 and info[ENTRY] >= UNREACHABLE
            info[THROUGH] = np.float32(lane) if begins else info[THROUGH]
            turn = lanes.turn[lane] if begins else turn
            delay = yield_delay(lanes, lane) if begins else delay
            near = base - half_length <= asking_way(speed)
            points = note_junction(info, base, lanes.junction[lane] >= 0, inside, near, length)
            wanted = wanted if points < 0 else max(points, seen)
            continue
        on_lane = place - base
        last = np.int64(lanes.segment_first[lane + 1]) - 1
        while index < last and on_lane > lanes.segment[index + 1, SEG_S]:
            index += 1
        if lanes.segment[index, SEG_LEFT] + lanes.segment[index, SEG_RIGHT] < narrow:
            info[PATH_END] = place
            break
        write_path_point(lanes, path, count, index, on_lane, jump)
        count += 1

    stays = lane == first and lane == own and lanes.junction[own] < 0
    info[STAYS] = np.float32(own) if stays else -ONE
    leaves = target != own and room < UNREACHABLE
    waits = leaves and is_waiting(model, data, world, agent, own, target, room)
    info[WAITS_FOR] = np.float32(target) if waits else -ONE
    info[BESIDE_LEFT] = np.float32(lanes.left[own])
    info[BESIDE_RIGHT] = np.float32(lanes.right[own])
    if target != own and target != first:
        turn_out = turn_out_room(length) + tail_room(lanes, own, length, narrow)
        if speed * speed < TWO * PATH_BRAKING * (room - turn_out - half_length):
            info[PATH_END] = min(info[PATH_END], room)
        if info[PATH_END] < UNREACHABLE:
            info[PATH_END] -= turn_out
    if lane >= 0:
        at, colour, passed = next_line(
            signs,
            world,
            lane,
            line_from,
            PATH_STEP * np.float32(count) - base + half_length,
            agents.stopped_at[world, agent],
            first_line,
            lights.line_colour,
        )
        served = note_line(info, at, colour, passed, base, half_length) or served
    count = min(count, held_points(info, speed, agents.acceleration[world, agent], half_length))
    if count == 0:
        path[0, 0] = agents.x[world, agent]
        path[0, 1] = agents.y[world, agent]
        path[0, 2] = agents.cos[world, agent]
        path[0, 3] = agents.sin[world, agent]
        path[0, 4] = agents.z[world, agent]
        count = np.int64(1)
    info[POINTS] = np.float32(count)
    info[ROOM] = way_room(info, bodies.width[world, agent])
    info[ASIDE] = path_offset(path, agents, bodies, world, agent)
    info[WAITED] = agents.standing_time[world, agent]
    halted = agents.status[world, agent] in (HALTED, STANDING)
    info[HOLD] = np.float32(agents.hold[world, agent])
    info[BLOCKER] = -ONE if halted else np.float32(agents.blocker[world, agent])
    delay = STOP_SIGN_DELAY if served else delay
    note_precedence(data, info, world, agent, abs(turn) > TURNING, delay)
    write_bounds(path, info, count)
