"""Lane changes: where the route wants one or a lane ends, and whether there is room for it."""

from __future__ import annotations

import numpy as np

from selfdrive_env.compiler.njit import njit
from selfdrive_env.kernels.collision import LEVEL_HEIGHT
from selfdrive_env.kernels.drivers.path_info import TWO
from selfdrive_env.kernels.math.geometry import HALF, ZERO
from selfdrive_env.kernels.road import UNREACHABLE, lane_change_target
from selfdrive_env.state.world import ABSENT

__all__ = ["DEAD_END_SIGHT", "may_change", "turn_out_room", "wanted_lane", "way_to_dead_end"]

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
STRAIGHT = np.float32(0.03)  # [1/m]
GRADE = np.float32(0.2)  # [m/m]
BESIDE_LOW, BESIDE_HIGH = np.float32(1.2), np.float32(6.0)  # [m]
BEHIND_TIME = np.float32(2.5)  # [s]


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
