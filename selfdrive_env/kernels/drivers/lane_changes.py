"""Lane changes where the route wants one or a lane ends, merges, and whether there is room."""

from __future__ import annotations

import numpy as np

from selfdrive_env.compiler.njit import njit
from selfdrive_env.kernels.collision import LEVEL_HEIGHT
from selfdrive_env.kernels.drivers.path_info import PATH_STEP, TWO
from selfdrive_env.kernels.math.geometry import HALF, ONE, ZERO
from selfdrive_env.kernels.road import (
    CURVATURE_SLACK,
    UNREACHABLE,
    along_segment,
    lane_change_target,
    segment_at,
)
from selfdrive_env.kernels.route import NARROW_MARGIN, is_wide, way_to_dead_end
from selfdrive_env.kernels.walks import tail_room, turn_out_room
from selfdrive_env.state.road import SEG_LENGTH, SEG_S
from selfdrive_env.state.world import ABSENT, IDM, PRESENT, STANDING

__all__ = ["DEAD_END_SIGHT", "is_waiting", "leave_way", "may_change",
    "merge_at", "next_standing", "place_beside", "wanted_lane", "way_to_standing"]  # fmt: skip

CHANGE_ROOM = np.float32(10.5)  # [m]
CHANGE_TIME = np.float32(2.5)  # [s]
WAITING_SPEED = np.float32(1.0)  # up to which one counts as waiting for a gap [m/s]
BEGUN = np.float32(0.4)  # to the side: a lane change this far on is brought to its end
DEAD_END_SIGHT = np.float32(70.0)  # [m]
STANDING_LANES = 4  # ahead that are looked at for bodies that are broken down
STANDING_SIGHT = np.float32(80.0)  # [m]
BESIDE_LANES = 4  # ahead that are looked at for where two lanes part
LEAVE_ROOM = np.float32(15.0)  # [m]
LEAVE_TIME = np.float32(3.0)  # [s]
TURN_OUT_SLACK = np.float32(3.0)  # [m]
TAIL_BEGUN = np.float32(0.6)  # of the room for a tail: the rest is passed while turning out
TURN_OUT_TIME = np.float32(2.0)  # [s]
TURNING_PACE, TURNING_SPEED = np.float32(0.45), np.float32(4.5)  # [1/s], [m/s]
TURNED = np.float32(0.02)  # sine of the angle to the lane
TURNED_ASIDE = np.float32(0.1)  # [m]
STRAIGHT = np.float32(0.03)  # [1/m]
GRADE = np.float32(0.2)  # [m/m]
BESIDE_LOW, BESIDE_HIGH = np.float32(1.2), np.float32(6.0)  # [m]
BEHIND_TIME = np.float32(2.5)  # [s]
JOINED = np.float32(0.4)  # [m]
JOINED_ALONG = np.float32(0.99)  # cosine
PARTED = np.float32(1.0)  # beyond the width at which ways meet [m]
JOINED_POINTS = 3  # of two ways that run on as one


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
def place_beside(lanes, lane, target, agents, bodies, world, agent):
    """Returns how far along a neighbour lane the centre of an agent lies [m].

    Lanes side by side differ in length where they bend, so it is looked for from the same share of
    both on.
    """
    ahead = HALF * bodies.wheelbase[world, agent]
    x = agents.x[world, agent] + ahead * agents.cos[world, agent]
    y = agents.y[world, agent] + ahead * agents.sin[world, agent]
    first, last = np.int64(lanes.segment_first[target]), np.int64(lanes.segment_first[target + 1])
    share = agents.s[world, agent] / max(lanes.length[lane], ONE) * lanes.length[target]
    index = segment_at(lanes, target, share)
    t, _ = along_segment(lanes, index, x, y)
    while t < ZERO and index > first:
        index -= 1
        t, _ = along_segment(lanes, index, x, y)
    while t > lanes.segment[index, SEG_LENGTH] and index + 1 < last:
        index += 1
        t, _ = along_segment(lanes, index, x, y)
    return lanes.segment[index, SEG_S] + min(max(t, ZERO), lanes.segment[index, SEG_LENGTH])


@njit
def way_beside(lanes, lane, target, s, bend):
    """Returns how far ahead of `s` a lane and its neighbour part [m], or UNREACHABLE.

    Beside a lane that a body cannot follow, because it bends more than `bend`, they part as well.
    """
    left_side = target == lanes.left[lane]
    way = lanes.length[lane] - s
    for _ in range(BESIDE_LANES):
        following = beside = np.int64(-1)
        for link in range(lanes.successor_first[lane], lanes.successor_first[lane + 1]):
            after = np.int64(lanes.successor[link])
            aside = np.int64(lanes.left[after] if left_side else lanes.right[after])
            if aside < 0 or lanes.max_curvature[aside] > bend:
                continue
            for other in range(lanes.successor_first[target], lanes.successor_first[target + 1]):
                if lanes.successor[other] == aside:
                    following, beside = after, aside
        if following < 0:
            return way
        lane, target = following, beside
        way += lanes.length[lane]
        if way > DEAD_END_SIGHT:
            break
    return UNREACHABLE


@njit
def leave_way(lanes, lane, target, s, room, bend):
    """Returns how far ahead who leaves a lane must be in the one beside [m], or UNREACHABLE.

    Args:
        lanes: Of the pool.
        lane: That it leaves.
        target: The one beside.
        s: Where on the lane it is [m].
        room: Until the lane's way ends [m], UNREACHABLE if it goes on.
        bend: Largest lane curvature that its body can follow [1/m].
    """
    if room >= UNREACHABLE:
        return room
    return min(room, way_beside(lanes, lane, target, s, bend))


@njit
def next_standing(model, data, world, agent, lane, s):
    """Returns how far along a lane a body that is broken down ends it [m], and which, or -1.

    It is looked for as far as the lane goes on as one, and from outside junctions: behind one there
    is room left to change lanes. With none the way is `UNREACHABLE`.

    Args:
        model: Of the pool.
        data: Of the worlds.
        world: Where.
        agent: Who looks.
        lane: Along which.
        s: From where [m].
    """
    lanes, agents, bodies = model.lanes, data.agents, data.bodies
    ends, found = UNREACHABLE, -1
    if model.params.standing_share <= ZERO or lanes.junction[lane] >= 0:
        return ends, found
    way = -s
    for _ in range(STANDING_LANES):
        for other in range(agents.x.shape[1]):
            if agents.status[world, other] != STANDING:
                continue
            if lanes.segment_lane[agents.segment[world, other]] != lane:
                continue
            at, half_length = way + agents.s[world, other], HALF * bodies.length[world, other]
            if at + half_length + HALF * bodies.length[world, agent] > ZERO:
                there = at - half_length - ONE
                if there < ends:
                    ends, found = there, other
        way += lanes.length[lane]
        first = lanes.successor_first[lane]
        parts = lanes.successor_first[lane + 1] != first + 1
        if ends < UNREACHABLE or way > STANDING_SIGHT or parts:
            break
        lane = np.int64(lanes.successor[first])
    return ends, found


@njit
def way_to_standing(model, data, world, agent, lane, s):
    """Returns how far along a lane a body that is broken down ends it [m], or `UNREACHABLE`.

    Args:
        model: Of the pool.
        data: Of the worlds.
        world: Where.
        agent: Who looks.
        lane: Along which.
        s: From where [m].
    """
    ends, _ = next_standing(model, data, world, agent, lane, s)
    return ends


@njit
def lane_to_leave_for(lanes, lane, s, bend, needed, lanes_beside):
    """Returns the neighbour of a dead end that leads on, or the lane itself.

    Args:
        lanes: Of the pool.
        lane: That ends.
        s: Where on it the agent is [m].
        bend: Largest lane curvature that its body can follow [1/m].
        needed: Width of a lane that its body needs, and its length [m].
        lanes_beside: Left and right neighbour, -1 for none.
    """
    for side in range(2):
        beside = lanes_beside[side]
        if beside < 0 or lanes.max_curvature[beside] > bend:
            continue
        there = s / max(lanes.length[lane], ONE) * lanes.length[beside]
        if not is_wide(lanes, beside, there, needed[0], needed[1]):
            continue
        if way_to_dead_end(lanes, beside, there, DEAD_END_SIGHT, bend, needed[0]) >= UNREACHABLE:
            return beside
    return lane


@njit
def wanted_lane(model, data, world, agent, lane, goal_lane, room):
    """Returns the neighbour lane that the route wants or that leads out of a dead end, or the lane.

    The dead end lies `room` metres ahead.
    """
    lanes, routes = model.lanes, model.routes
    worlds, agents, bodies = data.worlds, data.agents, data.bodies
    bend = bodies.max_curvature[world, agent] * CURVATURE_SLACK
    narrow = bodies.width[world, agent] + NARROW_MARGIN
    needed = LEAVE_ROOM + bodies.length[world, agent] + LEAVE_TIME * agents.speed[world, agent]
    inside = lanes.junction[lane] >= 0
    if inside and (room >= UNREACHABLE or lanes.max_curvature[lane] > STRAIGHT):
        return lane
    if inside or room < needed:
        return lane_to_leave_for(
            lanes,
            lane,
            agents.s[world, agent],
            bend,
            (narrow, bodies.length[world, agent]),
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
    s = agents.s[world, agent] / max(lanes.length[lane], ONE) * lanes.length[target]
    if not is_wide(lanes, target, s, narrow, bodies.length[world, agent]):
        return lane
    end = way_to_dead_end(lanes, target, s, DEAD_END_SIGHT, bend, narrow)
    end = min(end, way_to_standing(model, data, world, agent, target, s))
    return target if end > needed + CHANGE_ROOM else lane


@njit
def may_change(model, data, world, agent, lane, target, room):
    """Whether an agent goes over to a neighbour lane now.

    It begins only with a gap beside it and room ahead; once begun, it goes on beside a free place.
    """
    lanes = model.lanes
    agents, bodies = data.agents, data.bodies
    left_side = target == lanes.left[lane]
    begun, turned = turned_out(agents, world, agent, left_side)
    if not begun and too_late(model, data, world, agent, lane, room, turned):
        return False
    return side_is_free(agents, bodies, world, agent, left_side, begun)


@njit
def turned_out(agents, world, agent, left_side):
    """Returns whether an agent is well on its way to one side, and whether it has turned there."""
    aside = agents.d[world, agent] if left_side else -agents.d[world, agent]
    angle = agents.angle_sin[world, agent] if left_side else -agents.angle_sin[world, agent]
    return aside > BEGUN, angle > TURNED or aside > TURNED_ASIDE


@njit
def is_waiting(model, data, world, agent, lane, target, room):
    """Whether a driver stands before the end of its lane and goes over once it has a gap.

    Args:
        model: Of the pool.
        data: Of the worlds.
        world: Where.
        agent: Who.
        lane: That it is on.
        target: Another, that it wants.
        room: Way to the end of its lane, which has one [m].
    """
    agents, bodies = data.agents, data.bodies
    if agents.speed[world, agent] > WAITING_SPEED:
        return False
    if bodies.driver[world, agent] != IDM or agents.status[world, agent] != PRESENT:
        return False
    _, turned = turned_out(agents, world, agent, target == model.lanes.left[lane])
    return not too_late(model, data, world, agent, lane, room, turned)


@njit
def too_late(model, data, world, agent, lane, room, turned):
    """Whether a lane ends too soon to begin a change, in `room` metres if it is a dead end.

    Who is slow and has `turned` out already goes on: its own speed must not stop it half-way, from
    where it would never leave.
    """
    lanes = model.lanes
    agents, bodies = data.agents, data.bodies
    speed = agents.speed[world, agent]
    length = bodies.length[world, agent]
    if room < UNREACHABLE:
        slow = speed < min(TURNING_SPEED, TURNING_PACE * room)
        if turned and slow and room > HALF * length:
            return False
        needed = turn_out_room(length) - TURN_OUT_SLACK + HALF * length
        narrow = bodies.width[world, agent] + NARROW_MARGIN
        needed += TAIL_BEGUN * tail_room(lanes, lane, length, narrow)
        return room < needed + TURN_OUT_TIME * max(speed - HALF, ZERO)
    left_over = lanes.length[lane] - agents.s[world, agent]
    return left_over < CHANGE_ROOM + length + CHANGE_TIME * speed


@njit
def merge_at(path, count, other_path, other_count, point, other_point, width):
    """Returns from which point on two ways run on as one, -1 if they do not.

    Ways that cross and part do not run on as one, even where one comes round to the other later.

    Args:
        path: Points, [count, 5].
        count: How many of them.
        other_path: As `path`.
        other_count: As `count`.
        point: Of the first way, where it comes near the other.
        other_point: Of the other way, where the first comes near it.
        width: How near they come there; farther away from each other they have parted [m].
    """
    parted = (width + PARTED) * (width + PARTED)
    joined = 0
    for along in range(point, count):
        x, y = path[along, 0], path[along, 1]
        dx, dy = x - other_path[other_point, 0], y - other_path[other_point, 1]
        while other_point + 1 < other_count:
            ahead_x = x - other_path[other_point + 1, 0]
            ahead_y = y - other_path[other_point + 1, 1]
            if ahead_x * ahead_x + ahead_y * ahead_y >= dx * dx + dy * dy:
                break
            other_point += 1
            dx, dy = ahead_x, ahead_y
        if dx * dx + dy * dy > parted:
            return -1
        cos, sin = other_path[other_point, 2], other_path[other_point, 3]
        align = path[along, 2] * cos + path[along, 3] * sin
        beside = abs(dy * cos - dx * sin) < JOINED and abs(dx * cos + dy * sin) < PATH_STEP
        joined = joined + 1 if beside and align > JOINED_ALONG else 0
        if joined == JOINED_POINTS:
            return along - JOINED_POINTS + 1
    return -1
