"""The way ahead of an agent: points on lane centres along its route, with what lies on it.

Scripted drivers follow their own way and look at the ways of others. All agents of a world that
has a scripted driver get one, learners included.
"""

from __future__ import annotations

import numpy as np

from selfdrive_env.kernels.collision import LEVEL_HEIGHT
from selfdrive_env.kernels.geometry import HALF, ONE, ZERO
from selfdrive_env.kernels.parallel import njit
from selfdrive_env.kernels.road import lane_change_target, next_lane, segment_at
from selfdrive_env.state import (
    ABSENT,
    GREEN,
    NO_LIGHT,
    RED,
    SEG_COS,
    SEG_LEFT,
    SEG_RIGHT,
    SEG_S,
    SEG_SIN,
    SEG_X,
    SEG_Y,
    STOP_SIGN,
    YELLOW,
)

__all__ = ["MAX_PATH_POINTS", "PATH_INFO", "PATH_STEP", "build_path"]

MAX_PATH_POINTS = 48
PATH_STEP = np.float32(1.5)

# Columns of Scratch.path_info: points in use; way of the box centre to the next junction (negative
# inside one) and to its end; rank and arrival, by which the first to go is chosen; way of the front
# to a stop line and its colour; way to where the lane ends; bounding box.
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
    HIGH_X,
    HIGH_Y,
) = range(12)
PATH_INFO = 12

FAR = np.float32(1.0e6)
TWO = np.float32(2.0)
PATH_BRAKING = np.float32(2.0)
PATH_MARGIN = np.float32(18.0)
STOP_MARGIN = np.float32(0.8)
CHANGE_ROOM = np.float32(15.0)
CHANGE_TIME = np.float32(2.5)
NARROW_MARGIN = np.float32(0.4)
REACTION = np.float32(0.5)
STOP_SIGN_DELAY = np.float32(30.0)
TURN_DELAY = np.float32(3.0)
TURNING = np.float32(0.5)


@njit
def side_is_free(agents, bodies, world, agent, left_side):
    """Whether the lane on one side has a gap for an agent."""
    ahead = HALF * bodies.wheelbase[world, agent]
    cos = agents.cos[world, agent]
    sin = agents.sin[world, agent]
    x = agents.x[world, agent] + ahead * cos
    y = agents.y[world, agent] + ahead * sin
    speed = agents.speed[world, agent]
    for other in range(agents.x.shape[1]):
        if other == agent or agents.status[world, other] == ABSENT:
            continue
        if abs(agents.z[world, other] - agents.z[world, agent]) >= LEVEL_HEIGHT:
            continue
        shift = HALF * bodies.wheelbase[world, other]
        dx = agents.x[world, other] + shift * agents.cos[world, other] - x
        dy = agents.y[world, other] + shift * agents.sin[world, other] - y
        along = dx * cos + dy * sin
        across = dy * cos - dx * sin
        if not left_side:
            across = -across
        if across < np.float32(1.2) or across > np.float32(6.0):
            continue
        room = HALF * (bodies.length[world, agent] + bodies.length[world, other]) + TWO
        pace = agents.speed[world, other]
        if along < ZERO:
            room += max(pace - speed, ZERO) * np.float32(2.5) + HALF * pace
        else:
            room += max(speed - pace, ZERO) * TWO
        if abs(along) < room:
            return False
    return True


@njit
def next_line(
    world,
    lane,
    low,
    high,
    stopped_at,
    first_line,
    lane_line_first,
    lane_line,
    lane_line_s,
    line_colour,
):
    """Returns s and colour of the first line on [low, high] of a lane that shows something.

    A stop sign where the agent has stood already counts as passed; the third value tells of it.
    """
    passed = False
    for link in range(lane_line_first[lane], lane_line_first[lane + 1]):
        at = lane_line_s[link]
        if at < low or at > high:
            continue
        colour = line_colour[world, lane_line[link] - first_line]
        if colour == STOP_SIGN and stopped_at == lane_line[link]:
            passed = True
        elif colour != NO_LIGHT:
            return at, np.int64(colour), passed
    return FAR, np.int64(NO_LIGHT), passed


@njit
def note_line(info, at, colour, passed, base, half_length):
    """Writes the first stop line of a path; returns whether a stop sign has been served."""
    if colour != NO_LIGHT and info[LINE_GAP] >= FAR:
        info[LINE_GAP] = base + at - half_length
        info[LINE_COLOUR] = np.float32(colour)
    return passed


@njit
def change_lane(lanes, routes, agents, bodies, worlds, world, agent, lane, goal_lane):
    """Returns the neighbour lane that the route wants if there is a gap, else the lane itself."""
    map_index = np.int64(worlds.map[world])
    first_lane = np.int64(lanes.map_lane_first[map_index])
    if lanes.junction[lane] >= 0:
        return lane
    target = lane_change_target(
        lane,
        goal_lane,
        first_lane,
        np.int64(lanes.map_lane_first[map_index + 1]) - first_lane,
        lanes.left,
        lanes.right,
        routes.first,
        routes.lane,
        routes.distance,
    )
    if target == lane or too_late(lanes, agents, bodies, world, agent, lane):
        return lane
    free = side_is_free(agents, bodies, world, agent, target == lanes.left[lane])
    return target if free else lane


@njit
def too_late(lanes, agents, bodies, world, agent, lane):
    """Whether a lane ends too soon for a change, and the way straight on leads somewhere."""
    left_over = lanes.length[lane] - agents.s[world, agent]
    if left_over > CHANGE_ROOM + CHANGE_TIME * agents.speed[world, agent]:
        return False
    for link in range(lanes.successor_first[lane], lanes.successor_first[lane + 1]):
        if lanes.max_curvature[lanes.successor[link]] <= bodies.bend[world, agent]:
            return True
    return False


@njit
def write_path_point(path, count, segment, index, on_lane):
    """Writes the point of a lane centre at arc length `on_lane`."""
    t = on_lane - segment[index, SEG_S]
    path[count, 0] = segment[index, SEG_X] + t * segment[index, SEG_COS]
    path[count, 1] = segment[index, SEG_Y] + t * segment[index, SEG_SIN]
    path[count, 2] = segment[index, SEG_COS]
    path[count, 3] = segment[index, SEG_SIN]


@njit
def build_path(lanes, routes, signs, lights, worlds, agents, bodies, world, agent, path, info):
    """Writes the way ahead of an agent: points every 1.5 m on lane centres along its route.

    It ends at the first line where the agent has to stop and where its lane ends or gets narrower
    than its body.
    """
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
    lane = change_lane(lanes, routes, agents, bodies, worlds, world, agent, own, goal_lane)
    s = agents.s[world, agent] * lanes.length[lane] / max(lanes.length[own], PATH_STEP)

    reach = speed * speed / (TWO * PATH_BRAKING) + TWO * speed + PATH_MARGIN
    wanted = min(np.int64(reach / PATH_STEP) + 2, MAX_PATH_POINTS)
    info[ENTRY] = -s if lanes.junction[lane] >= 0 else FAR
    info[EXIT] = FAR
    info[LINE_GAP] = FAR
    info[LINE_COLOUR] = ZERO
    info[PATH_END] = FAR
    turn = lanes.turn[lane] if lanes.junction[lane] >= 0 else ZERO
    served = False
    base = -s
    line_from = s + half_length - STOP_MARGIN
    index = segment_at(lane, s, lanes.segment_first, lanes.length)
    count = np.int64(0)
    while count < wanted:
        place = PATH_STEP * np.float32(count)
        if place - base > lanes.length[lane]:
            at, colour, passed = next_line(
                world,
                lane,
                line_from,
                FAR,
                agents.stopped_at[world, agent],
                first_line,
                signs.lane_line_first,
                signs.lane_line,
                signs.lane_line_s,
                lights.line_colour,
            )
            served = note_line(info, at, colour, passed, base, half_length) or served
            if lane == goal_lane and goal + 1 < bodies.num_goals[world, agent]:
                goal += 1
                goal_lane = np.int64(bodies.goal_lane[world, agent, goal])
            inside = lanes.junction[lane] >= 0
            base += lanes.length[lane]
            lane = next_lane(
                lane,
                goal_lane,
                bodies.bend[world, agent],
                first_lane,
                num_lanes,
                lanes.successor_first,
                lanes.successor,
                lanes.max_curvature,
                routes.first,
                routes.lane,
                routes.distance,
            )
            if lane < 0:
                info[PATH_END] = base
                break
            line_from = ZERO
            index = np.int64(lanes.segment_first[lane])
            if lanes.junction[lane] < 0:
                info[EXIT] = base if inside and info[EXIT] >= FAR else info[EXIT]
            elif info[ENTRY] >= FAR:
                info[ENTRY] = base
                turn = lanes.turn[lane]
            continue
        on_lane = place - base
        last = np.int64(lanes.segment_first[lane + 1]) - 1
        while index < last and on_lane > lanes.segment[index + 1, SEG_S]:
            index += 1
        if lanes.segment[index, SEG_LEFT] + lanes.segment[index, SEG_RIGHT] < narrow:
            info[PATH_END] = place
            break
        write_path_point(path, count, lanes.segment, index, on_lane)
        count += 1

    if lane >= 0:
        at, colour, passed = next_line(
            world,
            lane,
            line_from,
            PATH_STEP * np.float32(count) - base + half_length,
            agents.stopped_at[world, agent],
            first_line,
            signs.lane_line_first,
            signs.lane_line,
            signs.lane_line_s,
            lights.line_colour,
        )
        served = note_line(info, at, colour, passed, base, half_length) or served
    count = min(count, held_points(info, speed, agents.acceleration[world, agent], half_length))
    if count == 0:
        path[0, 0] = agents.x[world, agent]
        path[0, 1] = agents.y[world, agent]
        path[0, 2] = agents.cos[world, agent]
        path[0, 3] = agents.sin[world, agent]
        count = np.int64(1)
    info[POINTS] = np.float32(count)
    write_rank(info, speed, half_length, turn, served)
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
        info[LINE_GAP] = FAR
        info[LINE_COLOUR] = ZERO
    return np.int64(MAX_PATH_POINTS)


@njit
def stops_at_yellow(speed, acceleration, gap):
    """Whether a driver stops for a light that is yellow; keeps the decision while braking."""
    if acceleration < -ONE:
        return speed * speed <= TWO * np.float32(5.5) * max(gap, np.float32(0.05))
    room = max(gap - REACTION * speed, np.float32(0.05))
    return speed * speed <= TWO * np.float32(4.2) * room


@njit
def write_rank(info, speed, half_length, turn, stop_sign):
    """Writes who goes first: a lower rank, then the earlier arrival."""
    entry = info[ENTRY]
    if entry >= FAR:
        info[RANK] = ONE
        info[ARRIVAL] = FAR
        return
    gap = entry - half_length
    committed = gap < speed * speed / np.float32(8.0) + HALF * speed and (
        gap <= ZERO or speed > np.float32(3.0)
    )
    if committed:
        info[RANK] = ZERO
        info[ARRIVAL] = gap
        return
    info[RANK] = ONE
    arrival = gap / max(speed, TWO)
    if abs(turn) > TURNING:
        arrival += TURN_DELAY
    if stop_sign:
        arrival += STOP_SIGN_DELAY
    info[ARRIVAL] = arrival


@njit
def write_bounds(path, info, count):
    """Writes the bounding box of a path."""
    info[LOW_X] = info[HIGH_X] = path[0, 0]
    info[LOW_Y] = info[HIGH_Y] = path[0, 1]
    for point in range(1, count):
        info[LOW_X] = min(info[LOW_X], path[point, 0])
        info[HIGH_X] = max(info[HIGH_X], path[point, 0])
        info[LOW_Y] = min(info[LOW_Y], path[point, 1])
        info[HIGH_Y] = max(info[HIGH_Y], path[point, 1])
