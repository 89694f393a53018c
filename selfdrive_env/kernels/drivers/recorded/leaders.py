"""Who is in the way of a body that keeps to its path: how far it gets before it touches another.

A body is moved along its path by what surely leaves it apart from another (conservative
advancement): no point of it moves more than (1 + turn per metre x half its diagonal) metres a
metre, and the gap of two boxes along a side's normal is no more than their distance. Half the gap
is enough for bodies that turn by up to 1/m over half their diagonal.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from selfdrive_env.compiler.njit import njit
from selfdrive_env.kernels.collision import LEVEL_HEIGHT
from selfdrive_env.kernels.drivers.conflicts import Box
from selfdrive_env.kernels.dynamics.recorded.path import path_segment, place_on_path
from selfdrive_env.kernels.math.geometry import HALF, ZERO, boxes_gap
from selfdrive_env.kernels.road import UNREACHABLE
from selfdrive_env.state.model import PATH_S, PATH_X, PATH_Y
from selfdrive_env.state.world import ABSENT, IDM, IDM_LOG

__all__ = ["Leader", "free_way", "leader_on_path"]

LOOK = np.float32(150.0)
"""Nothing further ahead counts: at 30 m/s a driver stops comfortably within 112 m [m]."""

MARGIN = np.float32(0.05)  # round the body that drives [m]
LEAST_MOVE = np.float32(0.05)  # between two looks [m]
ALIGNED = np.float32(0.5)  # cosine


class Leader(NamedTuple):
    """The first body on a path."""

    gap: np.float32
    """That may be driven, `UNREACHABLE` where nobody is ahead [m]."""

    pace: np.float32
    """Its speed along the path there [m/s]."""


@njit
def free_way(path, count, s, look, half_length, half_width, box):
    """Returns how far a body gets along its path before it touches a box [m].

    `look` stands for as far as is looked, 0 for one that it touches where it is.

    Args:
        path: Points, [count, PATH_*].
        count: How many, two or more.
        s: Where it is [m].
        look: How far is looked [m].
        half_length: Of the body [m].
        half_width: Likewise [m].
        box: `Box` of the other.
    """
    way, free = ZERO, ZERO
    index = path_segment(path, count, s, np.int64(0))
    while way < look:
        index = path_segment(path, count, s + way, index)
        place = place_on_path(path, index, s + way)
        gap = boxes_gap(
            box.x - place.x,
            box.y - place.y,
            place.cos,
            place.sin,
            half_length,
            half_width,
            box.cos,
            box.sin,
            box.half_length,
            box.half_width,
        )
        if gap <= ZERO and abs(place.z - box.z) < LEVEL_HEIGHT:
            return free
        free = way
        way += max(HALF * gap, LEAST_MOVE)
    return look


@njit
def bounds_ahead(path, count, s):
    """Returns west, east, south and north of the part of a path that is looked along [m].

    Args:
        path: Points.
        count: How many.
        s: Where the body is [m].
    """
    index = path_segment(path, count, s, np.int64(0))
    place = place_on_path(path, index, s)
    west = east = place.x
    south = north = place.y
    while index < count - 2 and path[index + 1, PATH_S] < s + LOOK:
        index += 1
        west, east = min(west, path[index, PATH_X]), max(east, path[index, PATH_X])
        south, north = min(south, path[index, PATH_Y]), max(north, path[index, PATH_Y])
    place = place_on_path(path, index, s + LOOK)
    return min(west, place.x), max(east, place.x), min(south, place.y), max(north, place.y)


@njit
def leads(agents, bodies, world, agent, other, box, place, half_length, half_width):
    """Whether another may be the leader of one who keeps to its path.

    One whose middle lies behind is none if it overlaps already, or if it drives along and minds who
    is ahead: of two who come together side by side one goes first.

    Args:
        agents: Of the worlds.
        bodies: Likewise.
        world: Where.
        agent: Who keeps to its path.
        other: The other one.
        box: Its `Box`.
        place: `Place` of the one on its path.
        half_length: Of that one [m].
        half_width: Likewise [m].
    """
    dx, dy = box.x - place.x, box.y - place.y
    if dx * place.way_cos + dy * place.way_sin >= ZERO:
        return True
    driver = bodies.driver[world, other]
    along = box.cos * place.way_cos + box.sin * place.way_sin > ALIGNED
    if along and driver in (IDM, IDM_LOG) and agents.speed[world, other] >= ZERO:
        return False
    return (
        boxes_gap(
            dx,
            dy,
            place.cos,
            place.sin,
            half_length,
            half_width,
            box.cos,
            box.sin,
            box.half_length,
            box.half_width,
        )
        > ZERO
    )


@njit
def leader_on_path(path, count, s, agents, bodies, world, agent):
    """Returns the `Leader` of one who keeps to its path: the nearest body on it, on its level.

    Args:
        path: Points.
        count: How many, two or more.
        s: Where its middle is [m].
        agents: Of the worlds.
        bodies: Likewise.
        world: Where.
        agent: Who drives.
    """
    half_length = HALF * bodies.length[world, agent] + MARGIN
    half_width = HALF * bodies.width[world, agent] + MARGIN
    west, east, south, north = bounds_ahead(path, count, s)
    start = place_on_path(path, path_segment(path, count, s, np.int64(0)), s)
    nearest, leader = LOOK, np.int64(-1)
    for other in range(agents.x.shape[1]):
        if other == agent or agents.status[world, other] == ABSENT:
            continue
        ahead = HALF * bodies.wheelbase[world, other]
        cos, sin = agents.cos[world, other], agents.sin[world, other]
        x, y = agents.x[world, other] + ahead * cos, agents.y[world, other] + ahead * sin
        long, wide = HALF * bodies.length[world, other], HALF * bodies.width[world, other]
        around = half_length + half_width + long + wide
        if x < west - around or x > east + around or y < south - around or y > north + around:
            continue
        box = Box(x, y, agents.z[world, other], cos, sin, long, wide)
        if not leads(agents, bodies, world, agent, other, box, start, half_length, half_width):
            continue
        way = free_way(path, count, s, nearest, half_length, half_width, box)
        if way < nearest:
            nearest, leader = way, other
    if leader < 0:
        return Leader(UNREACHABLE, ZERO)
    at = s + nearest
    place = place_on_path(path, path_segment(path, count, at, np.int64(0)), at)
    along = agents.cos[world, leader] * place.way_cos + agents.sin[world, leader] * place.way_sin
    return Leader(nearest, agents.speed[world, leader] * along)
