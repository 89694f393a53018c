"""The way ahead of an agent: points on lane centres along its route, with what lies on it.

Scripted drivers follow their own way and look at the ways of others. All agents of a world that
has a scripted driver get one, learners included.
"""

from __future__ import annotations

import numpy as np

from selfdrive_env.compiler.njit import njit
from selfdrive_env.kernels.collision import LEVEL_HEIGHT
from selfdrive_env.kernels.math.geometry import HALF, ONE, ZERO
from selfdrive_env.kernels.road import UNREACHABLE, lane_change_target, next_lane, segment_at
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
from selfdrive_env.state.world import ABSENT, GREEN, NO_LIGHT, RED, STOP_SIGN, YELLOW

__all__ = ["MAX_PATH_POINTS", "PATH_INFO", "PATH_STEP", "build_path"]

MAX_PATH_POINTS = 48
PATH_STEP = np.float32(1.5)  # [m]

# Columns of Scratch.path_info: points in use; way of the box centre to the next junction (negative
# inside one) and to its end; rank and arrival, by which the first to go is chosen; way of the front
# to a stop line and its colour; way to where the lane ends; bounding box; whether it goes over to
# another lane, and the way to the dead end of the lane that it leaves; the lane that it stays on
# and its neighbours, -1 for none; how long it has been waiting [s].
(
    POINTS,
    ENTRY,
    EXIT,
    RANK,
    ARRIVAL,
    LINE_GAP,
    LINE_COLOUR,
    PATH_END,
    LOW_X,
    LOW_Y,
    LOW_Z,
    HIGH_X,
    HIGH_Y,
    HIGH_Z,
    CHANGES,
    LEAVE_END,
    STAYS,
    BESIDE_LEFT,
    BESIDE_RIGHT,
    WAITED,
) = range(20)
PATH_INFO = 20

TWO = np.float32(2.0)
PATH_BRAKING = np.float32(2.0)  # [m/s^2]
PATH_MARGIN = np.float32(18.0)  # [m]
STOP_MARGIN = np.float32(0.8)  # [m]
CHANGE_ROOM = np.float32(10.5)  # [m]
CHANGE_TIME = np.float32(2.5)  # [s]
BEGUN = np.float32(0.4)  # to the side: a lane change this far on is brought to its end
DEAD_END_LANES = 4
DEAD_END_SIGHT = np.float32(70.0)  # [m]
LEAVE_ROOM = np.float32(15.0)  # [m]
LEAVE_TIME = np.float32(3.0)  # [s]
TURN_OUT_ROOM = np.float32(6.0)  # [m]
TURN_OUT_SLACK = np.float32(3.0)  # [m]
TURN_OUT_SHARE = np.float32(0.8)  # of the length
TURN_OUT_TIME = np.float32(2.0)  # [s]
LINK_JUMP = np.float32(0.5)  # [m]
JUMP_SLOPE = np.float32(1.0 / 4.5)  # [m/m]
CURVATURE_SLACK = np.float32(1.15)  # factor: bends that a body takes where there is no other way
STRAIGHT = np.float32(0.03)  # [1/m]
GRADE = np.float32(0.2)  # [m/m]
NARROW_MARGIN = np.float32(0.4)  # [m]
BESIDE_LOW, BESIDE_HIGH = np.float32(1.2), np.float32(6.0)  # [m]
BEHIND_TIME = np.float32(2.5)  # [s]
TINY_GAP = np.float32(0.05)  # [m]
YELLOW_BRAKING = np.float32(4.2)  # [m/s^2]
YELLOW_BRAKING_ON = np.float32(5.5)  # [m/s^2], of one who brakes already
COMMITTED_BRAKING = np.float32(8.0)  # twice the braking [m/s^2]
COMMITTED_SPEED = np.float32(3.0)  # [m/s]
REACTION = np.float32(0.5)  # [s]
STOP_SIGN_DELAY = np.float32(30.0)  # [s]
YIELD_DELAY = np.float32(20.0)  # [s]
TURN_DELAY = np.float32(3.0)  # [s]
TURNING = np.float32(0.5)  # [rad]


@njit
def side_is_free(agents, bodies, world, agent, left_side, begun):
    """Whether the lane on one side has a gap for an agent (one `begun` only needs its length)."""
    ahead = HALF * bodies.wheelbase[world, agent]
    cos = agents.cos[world, agent]
    sin = agents.sin[world, agent]
    x = agents.x[world, agent] + ahead * cos
    y = agents.y[world, agent] + ahead * sin
    speed = agents.speed[world, agent]
    for other in range(agents.x.shape[1]):
        if other == agent or agents.status[world, other] == ABSENT:
            continue
        shift = HALF * bodies.wheelbase[world, other]
        dx = agents.x[world, other] + shift * agents.cos[world, other] - x
        dy = agents.y[world, other] + shift * agents.sin[world, other] - y
        along = dx * cos + dy * sin
        rise = abs(agents.z[world, other] - agents.z[world, agent])
        if rise >= LEVEL_HEIGHT + GRADE * abs(along):
            continue
        across = dy * cos - dx * sin
        if not left_side:
            across = -across
        if across < BESIDE_LOW or across > BESIDE_HIGH:
            continue
        room = HALF * (bodies.length[world, agent] + bodies.length[world, other])
        room += HALF if begun else TWO
        pace = agents.speed[world, other]
        if begun:
            pass
        elif along < ZERO:
            room += max(pace - speed, ZERO) * BEHIND_TIME + HALF * pace
        else:
            room += max(speed - pace, ZERO) * TWO
        if abs(along) < room:
            return False
    return True


@njit
def next_line(signs, world, lane, low, high, stopped_at, first_line, line_colour):
    """Returns s and colour of the first line on [low, high] of a lane that shows something.

    A stop sign where the agent has stood already counts as passed; the third value tells of it.
    """
    passed = False
    for link in range(signs.lane_line_first[lane], signs.lane_line_first[lane + 1]):
        at = signs.lane_line_s[link]
        if at < low or at > high:
            continue
        colour = line_colour[world, signs.lane_line[link] - first_line]
        if colour == STOP_SIGN and stopped_at == signs.lane_line[link]:
            passed = True
        elif colour != NO_LIGHT:
            return at, np.int64(colour), passed
    return UNREACHABLE, np.int64(NO_LIGHT), passed


@njit
def note_line(info, at, colour, passed, base, half_length):
    """Writes the first stop line of a path; returns whether a stop sign has been served."""
    if colour != NO_LIGHT and info[LINE_GAP] >= UNREACHABLE:
        info[LINE_GAP] = base + at - half_length
        info[LINE_COLOUR] = np.float32(colour)
    return passed


@njit
def way_to_dead_end(lanes, lane, sight, bend):
    """Returns the way from the start of a lane to where a body finds none to go on [m]."""
    way = lanes.length[lane]
    for _ in range(DEAD_END_LANES):
        if way > sight:
            return UNREACHABLE
        fitting = 0
        following = lane
        for link in range(lanes.successor_first[lane], lanes.successor_first[lane + 1]):
            if lanes.max_curvature[lanes.successor[link]] <= bend:
                fitting += 1
                following = np.int64(lanes.successor[link])
        if fitting == 0:
            return way
        if fitting > 1:
            return UNREACHABLE
        lane = following
        way += lanes.length[lane]
    return UNREACHABLE


@njit
def lane_to_leave_for(lanes, lane, sight, bend, lanes_beside):
    """Returns the neighbour of a dead end that leads on, or the lane itself."""
    for side in range(2):
        beside = lanes_beside[side]
        if beside < 0 or lanes.max_curvature[beside] > bend:
            continue
        if way_to_dead_end(lanes, beside, sight, bend) >= UNREACHABLE:
            return beside
    return lane


@njit
def wanted_lane(model, data, world, agent, lane, goal_lane, room):
    """Returns the neighbour lane that the route wants or that leads out of a dead end, or the lane.

    The dead end lies `room` metres ahead.
    """
    lanes, routes = model.lanes, model.routes
    worlds, agents, bodies = data.worlds, data.agents, data.bodies
    bend = bodies.max_curvature[world, agent]
    needed = LEAVE_ROOM + bodies.length[world, agent] + LEAVE_TIME * agents.speed[world, agent]
    inside = lanes.junction[lane] >= 0
    if inside and (room >= UNREACHABLE or lanes.max_curvature[lane] > STRAIGHT):
        return lane
    if inside or room < needed:
        return lane_to_leave_for(
            lanes,
            lane,
            agents.s[world, agent] + DEAD_END_SIGHT,
            bend,
            (np.int64(lanes.left[lane]), np.int64(lanes.right[lane])),
        )
    map_index = np.int64(worlds.map[world])
    first_lane = np.int64(lanes.map_lane_first[map_index])
    target = lane_change_target(
        lanes,
        routes,
        lane,
        goal_lane,
        first_lane,
        np.int64(lanes.map_lane_first[map_index + 1]) - first_lane,
    )
    if target == lane:
        return lane
    if lanes.max_curvature[target] > bend:
        return lane
    end = way_to_dead_end(lanes, target, agents.s[world, agent] + DEAD_END_SIGHT, bend)
    return target if end - agents.s[world, agent] > needed + CHANGE_ROOM else lane


@njit
def may_change(model, data, world, agent, lane, target, room):
    """Whether an agent goes over to a neighbour lane now.

    It begins only with a gap beside it and room ahead; once begun, it goes on beside a free place.
    """
    lanes = model.lanes
    agents, bodies = data.agents, data.bodies
    left_side = target == lanes.left[lane]
    aside = agents.d[world, agent] if left_side else -agents.d[world, agent]
    begun = aside > BEGUN
    if not begun and too_late(model, data, world, agent, lane, room):
        return False
    return side_is_free(agents, bodies, world, agent, left_side, begun)


@njit
def turn_out_room(length):
    """Returns how far ahead of its front a standing body needs free to turn out of its lane [m]."""
    return TURN_OUT_ROOM + TURN_OUT_SHARE * length


@njit
def too_late(model, data, world, agent, lane, room):
    """Whether a lane ends too soon to begin a change, in `room` metres if it is a dead end."""
    lanes = model.lanes
    agents, bodies = data.agents, data.bodies
    speed = agents.speed[world, agent]
    length = bodies.length[world, agent]
    if room < UNREACHABLE:
        needed = turn_out_room(length) - TURN_OUT_SLACK + HALF * length
        return room < needed + TURN_OUT_TIME * max(speed - HALF, ZERO)
    left_over = lanes.length[lane] - agents.s[world, agent]
    return left_over < CHANGE_ROOM + length + CHANGE_TIME * speed


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
    half_length = HALF * bodies.length[world, agent]
    narrow = bodies.width[world, agent] + NARROW_MARGIN
    goal = np.int64(agents.goal[world, agent])
    goal_lane = np.int64(bodies.goal_lane[world, agent, goal])
    own = np.int64(lanes.segment_lane[agents.segment[world, agent]])
    bend = bodies.max_curvature[world, agent]
    dead_end = way_to_dead_end(lanes, own, agents.s[world, agent] + DEAD_END_SIGHT, bend)
    room = dead_end - agents.s[world, agent] if dead_end < UNREACHABLE else UNREACHABLE
    target = wanted_lane(model, data, world, agent, own, goal_lane, room)
    lane = own
    if target != own and may_change(model, data, world, agent, own, target, room):
        lane = target
    first = lane
    s = agents.s[world, agent] * lanes.length[lane] / max(lanes.length[own], PATH_STEP)

    reach = speed * speed / (TWO * PATH_BRAKING) + TWO * speed + PATH_MARGIN
    wanted = min(np.int64(reach / PATH_STEP) + 2, MAX_PATH_POINTS)
    info[ENTRY] = -s if lanes.junction[lane] >= 0 else UNREACHABLE
    info[EXIT] = UNREACHABLE
    info[LINE_GAP] = UNREACHABLE
    info[LINE_COLOUR] = ZERO
    info[PATH_END] = UNREACHABLE
    info[CHANGES] = ONE if lane != own else ZERO
    info[LEAVE_END] = room if lane != own else UNREACHABLE
    turn = lanes.turn[lane] if lanes.junction[lane] >= 0 else ZERO
    delay = ZERO
    served = False
    jump = ZERO
    base = -s
    line_from = s + half_length - STOP_MARGIN
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
            if lane == goal_lane and goal + 1 < bodies.num_goals[world, agent]:
                goal += 1
                goal_lane = np.int64(bodies.goal_lane[world, agent, goal])
            before = lane
            inside = lanes.junction[lane] >= 0
            base += lanes.length[lane]
            lane = next_lane(lanes, routes, before, goal_lane, bend, first_lane, num_lanes)
            if lane < 0:
                tight = bend * CURVATURE_SLACK
                lane = next_lane(lanes, routes, before, goal_lane, tight, first_lane, num_lanes)
            if lane < 0:
                info[PATH_END] = base
                break
            line_from = ZERO
            before = np.int64(lanes.segment_first[before + 1]) - 1
            index = np.int64(lanes.segment_first[lane])
            jump = link_jump(lanes, before, index)
            if lanes.junction[lane] < 0:
                info[EXIT] = base if inside and info[EXIT] >= UNREACHABLE else info[EXIT]
            elif info[ENTRY] >= UNREACHABLE:
                info[ENTRY] = base
                turn = lanes.turn[lane]
                delay = YIELD_DELAY * np.float32(max(-lanes.precedence[lane], 0))
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
    info[BESIDE_LEFT] = np.float32(lanes.left[own])
    info[BESIDE_RIGHT] = np.float32(lanes.right[own])
    if info[PATH_END] < UNREACHABLE and target != own and target != first:
        info[PATH_END] -= turn_out_room(bodies.length[world, agent])
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
    info[WAITED] = agents.standing_time[world, agent]
    write_rank(info, speed, half_length, turn, STOP_SIGN_DELAY if served else delay)
    write_bounds(path, info, count)


@njit
def held_points(info, speed, acceleration, half_length):
    """Returns how many points lie before the line where the agent has to stop.

    A yellow light at which it does not stop is forgotten; a green one is kept for the approach.
    """
    colour = np.int64(info[LINE_COLOUR])
    must_stop = colour in (RED, STOP_SIGN)
    if colour == YELLOW:
        must_stop = stops_at_yellow(speed, acceleration, info[LINE_GAP])
    if must_stop:
        return np.int64(max(info[LINE_GAP] + half_length, ZERO) / PATH_STEP) + 1
    if colour != GREEN:
        info[LINE_GAP] = UNREACHABLE
        info[LINE_COLOUR] = ZERO
    return np.int64(MAX_PATH_POINTS)


@njit
def stops_at_yellow(speed, acceleration, gap):
    """Whether a driver stops for a light that is yellow; keeps the decision while braking."""
    if acceleration < -ONE:
        return speed * speed <= TWO * YELLOW_BRAKING_ON * max(gap, TINY_GAP)
    room = max(gap - REACTION * speed, TINY_GAP)
    return speed * speed <= TWO * YELLOW_BRAKING * room


@njit
def write_rank(info, speed, half_length, turn, delay):
    """Writes who goes first: a lower rank, then the earlier arrival, later by what signs ask."""
    entry = info[ENTRY]
    if entry >= UNREACHABLE:
        info[RANK] = ONE
        info[ARRIVAL] = UNREACHABLE
        return
    gap = entry - half_length
    committed = gap < speed * speed / COMMITTED_BRAKING + HALF * speed and (
        gap <= ZERO or speed > COMMITTED_SPEED
    )
    if committed:
        info[RANK] = ZERO
        info[ARRIVAL] = gap
        return
    info[RANK] = ONE
    arrival = gap / max(speed, TWO)
    if abs(turn) > TURNING:
        arrival += TURN_DELAY
    info[ARRIVAL] = arrival + delay


@njit
def write_bounds(path, info, count):
    """Writes the bounding box of a path."""
    info[LOW_X] = info[HIGH_X] = path[0, 0]
    info[LOW_Y] = info[HIGH_Y] = path[0, 1]
    info[LOW_Z] = info[HIGH_Z] = path[0, 4]
    for point in range(1, count):
        info[LOW_X] = min(info[LOW_X], path[point, 0])
        info[HIGH_X] = max(info[HIGH_X], path[point, 0])
        info[LOW_Y] = min(info[LOW_Y], path[point, 1])
        info[HIGH_Y] = max(info[HIGH_Y], path[point, 1])
        info[LOW_Z] = min(info[LOW_Z], path[point, 4])
        info[HIGH_Z] = max(info[HIGH_Z], path[point, 4])
