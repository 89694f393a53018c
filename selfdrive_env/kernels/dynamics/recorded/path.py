"""Bodies that keep to the path they were recorded on, at whatever speed their driver chooses.

A path is a row of points (`Scenes.path`); past the last one it goes on straight. Between two points
the middle of the box moves straight and the heading turns evenly, so that a body which was recorded
askew, or in reverse, drives so. A step has a constant acceleration: ds = v t + a t^2 / 2, and who
comes to rest within it stands from then on.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from selfdrive_env.compiler.njit import njit
from selfdrive_env.kernels.dynamics.acted import middle_of, write_pose
from selfdrive_env.kernels.dynamics.pose import Pose
from selfdrive_env.kernels.math.geometry import HALF, ONE, TWO, ZERO
from selfdrive_env.state.model import PATH_COS, PATH_S, PATH_SIN, PATH_SPEED, PATH_X, PATH_Y, PATH_Z

__all__ = ["Place", "move_on_path", "path_segment", "place_on_path", "sense_on_path", "way_of_step"]

SHORT = np.float32(1.0e-6)  # [m]


class Place(NamedTuple):
    """A body at an arc length of its path."""

    x: np.float32
    """Middle of the box, east [m]."""

    y: np.float32
    z: np.float32
    """Elevation [m]."""

    cos: np.float32
    """Heading."""

    sin: np.float32
    way_cos: np.float32
    """Direction of the path."""

    way_sin: np.float32
    speed: np.float32
    """That bends ahead allow [m/s]."""


@njit
def path_segment(path, count, s, first):
    """Returns the point before arc length `s`, the last but one where the path ends before it.

    Args:
        path: Points, [count, PATH_*].
        count: How many, two or more.
        s: [m]
        first: A point that is not behind `s`; the search begins there.
    """
    index = first
    while index < count - 2 and s >= path[index + 1, PATH_S]:
        index += 1
    return index


@njit
def place_on_path(path, index, s):
    """Returns the `Place` at arc length `s`, on the piece of a path that begins with a point.

    Args:
        path: Points.
        index: Of the point before, as `path_segment` gives it.
        s: [m]
    """
    dx = path[index + 1, PATH_X] - path[index, PATH_X]
    dy = path[index + 1, PATH_Y] - path[index, PATH_Y]
    length = max(path[index + 1, PATH_S] - path[index, PATH_S], SHORT)
    share = (s - path[index, PATH_S]) / length
    turn = min(share, ONE)  # past the end it goes on as it is
    cos = path[index, PATH_COS] + turn * (path[index + 1, PATH_COS] - path[index, PATH_COS])
    sin = path[index, PATH_SIN] + turn * (path[index + 1, PATH_SIN] - path[index, PATH_SIN])
    size = max(math.sqrt(cos * cos + sin * sin), SHORT)
    slope = path[index + 1, PATH_Z] - path[index, PATH_Z]
    change = path[index + 1, PATH_SPEED] - path[index, PATH_SPEED]
    return Place(
        path[index, PATH_X] + share * dx,
        path[index, PATH_Y] + share * dy,
        path[index, PATH_Z] + turn * slope,
        cos / size,
        sin / size,
        dx / length,
        dy / length,
        path[index, PATH_SPEED] + turn * change,
    )


@njit
def sense_on_path(place):
    """Returns 1, or -1 where a body is driven against its heading."""
    return ONE if place.cos * place.way_cos + place.sin * place.way_sin >= ZERO else -ONE


@njit
def way_of_step(speed, acceleration, dt):
    """Returns the way of a step and the speed after it, which is not below 0 [m], [m/s].

    Args:
        speed: At its start, 0 or more [m/s].
        acceleration: [m/s^2]
        dt: [s]
    """
    after = speed + acceleration * dt
    if after >= ZERO:
        return HALF * (speed + after) * dt, after
    return -speed * speed / (TWO * acceleration), ZERO


@njit
def move_on_path(model, data, world, agent):
    """Moves an agent along its path by the jerk that its driver chose; one without a path stands.

    Args:
        model: Model.
        data: Data.
        world: World.
        agent: Agent.
    """
    scenes, agents = model.scenes, data.agents
    scene, dt = np.int64(data.worlds.scene[world]), data.worlds.dt[world]
    path, count = scenes.path[scene, agent], np.int64(scenes.path_points[scene, agent])
    pose = middle_of(agents, data.bodies, world, agent)
    if count < 2:
        write_pose(data, pose, Pose(pose.x, pose.y, pose.cos, pose.sin, ZERO), world, agent)
        return
    s = agents.path_s[world, agent]
    index = path_segment(path, count, s, np.int64(0))
    acceleration = agents.acceleration[world, agent] * sense_on_path(place_on_path(path, index, s))
    acceleration += data.motion.jerk[world, agent, 0] * dt
    way, speed = way_of_step(abs(pose.speed), acceleration, dt)
    s += way
    place = place_on_path(path, path_segment(path, count, s, index), s)
    speed *= sense_on_path(place)
    agents.path_s[world, agent] = s
    write_pose(data, pose, Pose(place.x, place.y, place.cos, place.sin, speed), world, agent)
