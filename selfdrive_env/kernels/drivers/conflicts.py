"""Where the ways of agents meet, and who goes first there.

A way is a row of points (kernels/drivers/path.py). A driver brakes for a body that lies on its way,
and before the place where its way meets the one of another that has priority: by rank and arrival
in junctions, on open roads the one that is there first.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from selfdrive_env.compiler.njit import inline, njit
from selfdrive_env.kernels.collision import LEVEL_HEIGHT
from selfdrive_env.kernels.drivers.lane_changes import merge_at
from selfdrive_env.kernels.drivers.path_info import (
    BESIDE_LEFT,
    BESIDE_RIGHT,
    CHANGES,
    CONFLICT_MARGIN,
    ENTRY,
    HIGH_X,
    HIGH_Y,
    HIGH_Z,
    LOW_X,
    LOW_Y,
    LOW_Z,
    MAX_PATH_POINTS,
    MOST_SWEPT,
    NOWHERE,
    PATH_STEP,
    POINTS,
    RANK,
    ROOM,
    ROUNDING,
    SPARE_MARGIN,
    STAYS,
    SWEEP,
    TWO,
    WAITED,
    most_swept,
)
from selfdrive_env.kernels.drivers.precedence import STANDING_SPEED, precedes
from selfdrive_env.kernels.math.geometry import HALF, ONE, ZERO, boxes_overlap, clamp
from selfdrive_env.kernels.road import UNREACHABLE
from selfdrive_env.kernels.rules.gaps import gap_share, goes_in_ahead

__all__ = [
    "Box",
    "conflict_gap",
    "first_contact",
    "may_meet",
    "nose_touches",
    "seen_on_way",
    "spread_way",
]

SIDE_MARGIN = np.float32(0.3)  # [m]
CONFLICT_GAP = np.float32(2.0)  # [m]
SPEEDING_UP = np.float32(1.2)  # [m/s^2]
TIME_MARGIN = np.float32(2.0)  # [s]
LEAST_TIME_MARGIN = np.float32(0.5)  # [s], of one who has waited for long
MARGIN_LOSS = np.float32(0.1)  # [s/s]
CLEARING_SPEED = np.float32(3.0)  # [m/s]
STARTING_SPEED = np.float32(1.5)  # [m/s]
PATIENCE = np.float32(8.0)  # [s]
SAME_WAY = np.float32(0.9)  # cosine
NOSE_MARGIN = np.float32(0.1)  # [m]
YIELDING = np.float32(6.0)  # twice the braking of one who stops for a body before it [m/s^2]
LEAVING_SPEED = np.float32(2.0)  # [m/s]
RIGHT_ANGLE = np.float32(0.5)  # cosine
FARTHEST = int(np.float32(1.0e18).view(np.int32))  # its square as a whole number
LANES = 8  # points that are looked at together
POINTS_A_METRE = np.float32(0.666)  # path points passed over while a way comes nearer [1/m]
POINTS_NEARER = np.float32(0.5)  # the same with more room, since points may lie askew [1/m]
ROUND_ROOM = np.float32(10.0)  # beyond twice the distance: a way that comes round [m]


class Box(NamedTuple):
    """A body as others see it."""

    x: np.float32
    """Of its centre, east [m]."""

    y: np.float32
    z: np.float32
    cos: np.float32
    """Heading."""

    sin: np.float32
    half_length: np.float32
    """[m]"""

    half_width: np.float32
    """[m]"""


@njit
def first_contact(path, count, skip, half_width, margin, box, aside, hold, approach):
    """Returns how far along a path the first point within a body lies, widened by ours.

    `UNREACHABLE` stands for none.

    An agent `aside` of its path (left positive) keeps so for `hold` metres and then comes back to
    it over `approach` metres.

    Args:
        path: Points, [count, 5].
        count: How many of them.
        skip: The first to look at.
        half_width: Of our body [m].
        margin: Added to our body on all sides [m].
        box: The `Box` of the other.
        aside: Of our body [m].
        hold: [m]
        approach: [m]
    """
    wide = half_width + box.half_width + margin
    bound = wide + box.half_length + half_width + margin + abs(aside)
    point = skip
    while point < count:
        dx = path[point, 0] - box.x
        dy = path[point, 1] - box.y
        square = dx * dx + dy * dy
        if square > bound * bound:
            point += max(np.int64((math.sqrt(square) - bound) * POINTS_A_METRE), 1)
            continue
        back = (PATH_STEP * np.float32(point) - hold) / approach
        shift = aside * clamp(ONE - back, ZERO, ONE)
        dx = path[point, 0] - shift * path[point, 3] - box.x
        dy = path[point, 1] + shift * path[point, 2] - box.y
        u = dx * box.cos + dy * box.sin
        v = dy * box.cos - dx * box.sin
        align = path[point, 2] * box.cos + path[point, 3] * box.sin
        turned = abs(path[point, 3] * box.cos - path[point, 2] * box.sin)
        reach = box.half_length + turned * (half_width + margin)
        apart = abs(path[point, 4] - box.z) >= LEVEL_HEIGHT
        if abs(u) > reach or abs(v) > wide or apart:
            point += 1
            continue
        place = PATH_STEP * np.float32(point)
        if align > RIGHT_ANGLE:
            return place - max(u + reach, ZERO)
        return max(place - PATH_STEP, ZERO)
    return UNREACHABLE


@njit
def nose_touches(agents, bodies, world, agent, other, reach):
    """Whether a body that is not yet in contact meets another within `reach` metres straight on."""
    cos = agents.cos[world, agent]
    sin = agents.sin[world, agent]
    other_cos = agents.cos[world, other]
    other_sin = agents.sin[world, other]
    ahead = HALF * bodies.wheelbase[world, agent]
    other_ahead = HALF * bodies.wheelbase[world, other]
    dx = agents.x[world, other] + other_ahead * other_cos - agents.x[world, agent] - ahead * cos
    dy = agents.y[world, other] + other_ahead * other_sin - agents.y[world, agent] - ahead * sin
    if dx * cos + dy * sin <= ZERO or cos * other_cos + sin * other_sin < RIGHT_ANGLE:
        return False
    half_length = HALF * bodies.length[world, agent]
    half_width = HALF * bodies.width[world, agent]
    other_length = HALF * bodies.length[world, other]
    other_width = HALF * bodies.width[world, other]
    further = HALF * reach
    return boxes_overlap(
        dx - further * cos,
        dy - further * sin,
        cos,
        sin,
        half_length + further,
        half_width + NOSE_MARGIN,
        other_cos,
        other_sin,
        other_length,
        other_width,
    ) and not boxes_overlap(
        dx,
        dy,
        cos,
        sin,
        half_length,
        half_width,
        other_cos,
        other_sin,
        other_length,
        other_width,
    )


@inline
def spread_way(path, count, way):
    """Writes x and y of the points of a path for `nearest_square`."""
    for point in range(count):
        way[0, point] = path[point, 0]
        way[1, point] = path[point, 1]
    for point in range(count, min((count + LANES - 1) & -LANES, MAX_PATH_POINTS)):
        way[0, point] = NOWHERE


@inline
def nearest_square(xs, ys, count, x, y):
    """Returns the squared distance of the point nearest to (x, y) [m^2].

    Squares are compared as whole numbers, which compilers do several at a time.
    """
    nearest = np.int32(FARTHEST)
    for point in range((count + LANES - 1) & -LANES):
        dx = xs[point] - x
        dy = ys[point] - y
        nearest = min(nearest, np.float32(dx * dx + dy * dy).view(np.int32))
    return np.int32(nearest).view(np.float32)


@njit
def swept(path, count, point, sweep):
    """Returns how far beyond its width a body sweeps to each side at a point of its path [m].

    Its front swings out of a bend and its rear axle goes inwards.
    """
    before, after = max(point - 1, 0), min(point + 1, count - 1)
    turn = path[before, 2] * path[after, 3] - path[before, 3] * path[after, 2]
    return min(sweep * abs(turn) / (TWO * PATH_STEP), MOST_SWEPT)


@njit
def first_conflict(paths, info, ways, agent, skip, other, other_count, other_skip, width, bends):
    """Returns the first points of two paths that leave two bodies no room: (point, other point).

    They are -1 where there is none. Points are 1.5 m apart, so a distance tells how many can be
    passed over.

    Args:
        paths: Of all agents.
        info: `Scratch.path_info` of all agents: bounds of ways spare most points a look at them.
        ways: `Scratch.way` of all agents.
        agent: Whose path is looked along.
        skip: Its first point to look at.
        other: Whose path it may come near.
        other_count: How many points of that.
        other_skip: Its first point to look at.
        width: That is kept between the two where they are straight [m].
        bends: Whether bodies sweep beyond their width in bends.
    """
    path, other_path = paths[agent], paths[other]
    count = np.int64(info[agent, POINTS])
    xs, ys = ways[other, 0], ways[other, 1]
    most = width
    if bends:
        most += max(most_swept(info[agent]) + most_swept(info[other]) - SPARE_MARGIN, ZERO)
    wide = most + ROUNDING
    west, east = info[other, LOW_X] - wide, info[other, HIGH_X] + wide
    south, north = info[other, LOW_Y] - wide, info[other, HIGH_Y] + wide
    point = skip
    while point < count:
        x = path[point, 0]
        y = path[point, 1]
        away = max(max(west - x, x - east), max(south - y, y - north))
        if away > ZERO:
            point += max(np.int64(away * POINTS_NEARER), 1)
            continue
        excess = math.sqrt(nearest_square(xs, ys, other_count, x, y)) - most
        if excess < ZERO:
            own = swept(path, count, point, info[agent, SWEEP]) if most > width else ZERO
            for other_point in range(other_skip, other_count):
                dx = xs[other_point] - x
                dy = ys[other_point] - y
                room = math.sqrt(dx * dx + dy * dy) - width
                if room >= most - width:
                    continue
                if room >= ZERO:
                    sweeps = own + swept(other_path, other_count, other_point, info[other, SWEEP])
                    room -= max(sweeps - SPARE_MARGIN, ZERO)
                level = abs(other_path[other_point, 4] - path[point, 4]) < LEVEL_HEIGHT
                if room < ZERO and level:
                    return point, other_point
        point += max(np.int64(excess * POINTS_NEARER), 1)
    return -1, -1


@njit
def heads_for(dx, dy, cos, sin, other_cos, other_sin, changes):
    """Whether another is no oncoming one and none that comes on the same way behind an agent."""
    align = cos * other_cos + sin * other_sin
    if abs(align) < SAME_WAY:
        return True
    behind = dx * cos + dy * sin < ZERO
    beside = abs(dy * cos - dx * sin) > TWO and not changes
    return align > ZERO and (beside or not behind)


@njit
def keep_apart(info, agent, other):
    """Whether two stay on the same lane or on neighbour lanes."""
    lane = info[agent, STAYS]
    other_lane = info[other, STAYS]
    if lane < ZERO or other_lane < ZERO:
        return False
    return other_lane in (lane, info[agent, BESIDE_LEFT], info[agent, BESIDE_RIGHT])


@njit
def may_meet(signs, info, agent, other):
    """Whether the ways of two can cross, by their bounding boxes and lanes."""
    room = info[agent, ROOM] + info[other, ROOM]
    if (
        info[agent, LOW_X] > info[other, HIGH_X] + room
        or info[agent, HIGH_X] < info[other, LOW_X] - room
    ):
        return False
    if (
        info[agent, LOW_Y] > info[other, HIGH_Y] + room
        or info[agent, HIGH_Y] < info[other, LOW_Y] - room
    ):
        return False
    if (
        info[agent, LOW_Z] > info[other, HIGH_Z] + LEVEL_HEIGHT
        or info[agent, HIGH_Z] < info[other, LOW_Z] - LEVEL_HEIGHT
    ):
        return False
    if keep_apart(info, agent, other):
        return False
    open_road = info[agent, ENTRY] >= UNREACHABLE and info[other, ENTRY] >= UNREACHABLE
    return open_road or not precedes(signs, info, agent, other)


@njit
def seen_on_way(path, count, agents, world, agent, other, place):
    """Returns whether another, `place` metres ahead, drives along the way, and how fast [m/s].

    One to whom the way only comes round, as in a ring, does not lead: it may cross the way before.
    """
    if place >= UNREACHABLE:
        return False, ZERO
    point = min(np.int64(place / PATH_STEP), count - 1)
    align = path[point, 2] * agents.cos[world, other]
    align += path[point, 3] * agents.sin[world, other]
    dx = agents.x[world, other] - agents.x[world, agent]
    dy = agents.y[world, other] - agents.y[world, agent]
    room = max((place - ROUND_ROOM) * HALF, ZERO)
    leads = align > SAME_WAY and dx * dx + dy * dy > room * room
    return leads, max(agents.speed[world, other] * align, ZERO)


@inline
def comes_round(end, start, points):
    """Whether a way over some points makes a long detour from its start to its end."""
    dx = end[0] - start[0]
    dy = end[1] - start[1]
    room = max((PATH_STEP * np.float32(points) - ROUND_ROOM) * HALF, ZERO)
    return dx * dx + dy * dy < room * room


@njit
def comes_later(path, other_path, point, other_point, other_front, speed, other_speed, tie):
    """Whether an agent reaches a crossing of open roads after another, which it does not follow."""
    if other_point <= other_front + 1:
        dx = path[point, 0] - other_path[other_point, 0]
        dy = path[point, 1] - other_path[other_point, 1]
        return dx * dx + dy * dy > ONE
    time = np.float32(point) / max(speed, ONE)
    other_time = np.float32(other_point) / max(other_speed, ONE)
    return other_time < time or (other_time == time and tie)


@njit
def conflict_gap(agents, bodies, paths, info, ways, world, agent, other):
    """Returns how far an agent may go because another crosses its way first [m], or UNREACHABLE.

    The second value is its gap to the other as if that were on its way already [m], where the ways
    run on as one; 0 or less elsewhere.
    """
    open_road = info[agent, ENTRY] >= UNREACHABLE and info[other, ENTRY] >= UNREACHABLE
    changes = info[agent, CHANGES] > ZERO
    if (open_road or changes) and not heads_for(
        agents.x[world, other] - agents.x[world, agent],
        agents.y[world, other] - agents.y[world, agent],
        agents.cos[world, agent],
        agents.sin[world, agent],
        agents.cos[world, other],
        agents.sin[world, other],
        changes,
    ):
        return UNREACHABLE, ZERO
    half_length = HALF * bodies.length[world, agent]
    other_length = HALF * bodies.length[world, other]
    count = np.int64(info[agent, POINTS])
    other_count = np.int64(info[other, POINTS])
    skip = np.int64(half_length / PATH_STEP) + 1
    other_skip = np.int64(other_length / PATH_STEP)
    width = HALF * (bodies.width[world, agent] + bodies.width[world, other]) + CONFLICT_MARGIN
    bends = not open_road
    if open_road and other < agent:  # both look from the same side, so that they agree
        other_point, point = first_conflict(
            paths, info, ways, other, other_skip + 1, agent, count, skip - 1, width, bends
        )
    else:
        point, other_point = first_conflict(
            paths, info, ways, agent, skip, other, other_count, other_skip, width, bends
        )
    if point < 0:
        return UNREACHABLE, ZERO
    if comes_round(paths[agent, point], paths[other, other_skip], other_point - other_skip):
        half = other_point // 2
        nearer, other_nearer = first_conflict(
            paths, info, ways, agent, skip, other, half, other_skip, width, bends
        )
        if nearer >= 0:
            point, other_point = nearer, other_nearer
    if open_road and not comes_later(
        paths[agent],
        paths[other],
        point,
        other_point,
        other_skip,
        agents.speed[world, agent],
        agents.speed[world, other],
        other < agent,
    ):
        return UNREACHABLE, ZERO

    ahead = HALF * bodies.wheelbase[world, agent]
    own = Box(
        agents.x[world, agent] + ahead * agents.cos[world, agent],
        agents.y[world, agent] + ahead * agents.sin[world, agent],
        agents.z[world, agent],
        agents.cos[world, agent],
        agents.sin[world, agent],
        half_length,
        HALF * bodies.width[world, agent],
    )
    points = min(other_point + 2, other_count)
    other_half_width = HALF * bodies.width[world, other]
    body = first_contact(
        paths[other], points, 0, other_half_width, SIDE_MARGIN, own, ZERO, ZERO, ONE
    )
    pace = agents.speed[world, other]
    align = agents.cos[world, other] * own.cos + agents.sin[world, other] * own.sin
    stops = pace < STANDING_SPEED or pace * pace <= YIELDING * (body - other_length - HALF)
    if body < UNREACHABLE and (stops or align > SAME_WAY or agents.speed[world, agent] > ONE):
        # The other stops before this body, or can only be cleared the way.
        return UNREACHABLE, ZERO

    own_speed = agents.speed[world, agent]
    speed = max(own_speed, ONE)
    place = PATH_STEP * np.float32(point)
    other_place = PATH_STEP * np.float32(other_point)
    dx = paths[agent, point, 0] - paths[other, other_point, 0]
    dy = paths[agent, point, 1] - paths[other, other_point, 1]
    near = max(width, math.sqrt(dx * dx + dy * dy))
    joint = merge_at(paths[agent], count, paths[other], other_count, point, other_point, near)
    if joint >= 0:
        rear, nose = place + half_length, other_place - other_length
        share = gap_share(info[agent, WAITED])
        if goes_in_ahead(rear, own_speed, UNREACHABLE, nose, pace, share):
            return UNREACHABLE, ZERO
        behind = place - other_place - half_length - other_length
        return place - half_length - CONFLICT_GAP, behind
    clears = (place + half_length + TWO * width) / max(speed, CLEARING_SPEED)
    arrives = time_to_go(max(other_place - other_length, ZERO), pace)
    if pace < STANDING_SPEED:
        impatient = info[agent, WAITED] > PATIENCE
        if impatient and info[other, WAITED] > PATIENCE * HALF:
            return UNREACHABLE, ZERO
    margin = max(TIME_MARGIN - MARGIN_LOSS * info[agent, WAITED], LEAST_TIME_MARGIN)
    if clears + margin < arrives:
        return UNREACHABLE, ZERO
    if info[other, RANK] == ZERO and pace > LEAVING_SPEED:
        leaves = (other_place + other_length + TWO * width) / pace
        comes = time_to_go(max(place - half_length - width, ZERO), max(own_speed, STANDING_SPEED))
        if leaves + TIME_MARGIN < comes:
            return UNREACHABLE, ZERO
    return place - half_length - CONFLICT_GAP, ZERO


@njit
def time_to_go(way, pace):
    """Returns in what time another drives some way, speeding up if it moves [s]."""
    if pace < STANDING_SPEED:
        return way / STARTING_SPEED
    return (math.sqrt(pace * pace + TWO * SPEEDING_UP * way) - pace) / SPEEDING_UP
