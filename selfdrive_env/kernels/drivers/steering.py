"""How scripted drivers steer along their way: pure pursuit of the rear axle."""

from __future__ import annotations

import math

import numpy as np

from selfdrive_env.compiler.njit import njit
from selfdrive_env.kernels.drivers.path_info import PATH_STEP, TWO, path_offset
from selfdrive_env.kernels.math.geometry import HALF, ONE, ZERO, clamp
from selfdrive_env.kernels.road import FRONT_SHARE, LANE_ROOM, UNREACHABLE

__all__ = ["approach_ratio", "steer_along"]

INWARD_ROOM = np.float32(0.5)  # share of the room beside a body
INWARD_SHARE = np.float32(0.22)  # of the swing of its front
APPROACH = np.float32(4.5)  # [m/m]
APPROACH_SHARE = np.float32(0.8)  # [1/m] of the length
CALM = np.float32(0.2)  # [m/m]
LOOKAHEAD = np.float32(1.2)  # [m]
LOOKAHEAD_TIME = np.float32(0.6)  # [s]
SHORTER, SHORTER_TIME = np.float32(1.0), np.float32(0.2)  # of those who are slow [m], [s]
FAST = np.float32(10.0)  # from which nobody looks less far ahead [m/s]
ASIDE_ACCELERATION = np.float32(1.5)  # [m/s^2]
STRAIGHT = np.float32(0.02)  # sine of the angle
LEAVE_REACH = np.float32(0.6)  # [m/m]


@njit
def swing_offset(path, point, count, length, width):
    """Returns how far to the left of the path the rear axle goes, so that the front stays in lane.

    In a bend the front swings out by (0.8 length)^2 curvature / 2; nearly half of it is taken
    inwards, which leaves both sides about the same room. The curvature is that of the way up to
    the point: the rear axle is still in a bend whose end the point has passed.
    """
    last = min(max(point, 2), count - 1)
    turn = path[0, 2] * path[last, 3] - path[0, 3] * path[last, 2]
    curvature = turn / (PATH_STEP * np.float32(max(last, 2)))
    front = FRONT_SHARE * length
    room = INWARD_ROOM * max(LANE_ROOM - width, ZERO)
    return clamp(INWARD_SHARE * front * front * curvature, -room, room)


@njit
def approach_ratio(length):
    """Returns over how many metres a body comes one metre to the side."""
    return max(APPROACH, APPROACH_SHARE * length)


@njit
def is_straight(path, way, count):
    """Whether a path does not turn for some way."""
    point = min(np.int64(way / PATH_STEP) + 1, count - 1)
    return abs(path[0, 2] * path[point, 3] - path[0, 3] * path[point, 2]) < STRAIGHT


@njit
def lookahead(speed):
    """Returns how far ahead of its middle a body aims at least [m].

    Who drives slowly aims nearer: in a tight bend it would cut the corner, and turn out too early.
    """
    shorter = min(SHORTER_TIME * speed, SHORTER, SHORTER_TIME * max(FAST - speed, ZERO))
    return LOOKAHEAD_TIME * speed + LOOKAHEAD - shorter


@njit
def steer_along(path, count, leave_end, agents, bodies, world, agent, next_speed):
    """Returns the curvature that leads the rear axle back to the path (pure pursuit) [1/m].

    A long body comes back at a smaller angle, and a part of its offset is let be, so that it does
    not swing beyond the path; on a straight way it aims no nearer than its front.
    """
    speed = max(agents.speed[world, agent], ZERO)
    cos = agents.cos[world, agent]
    sin = agents.sin[world, agent]
    rear_x = agents.x[world, agent]
    rear_y = agents.y[world, agent]
    length = bodies.length[world, agent]
    aside = path_offset(path, agents, bodies, world, agent)
    offset = abs(aside)
    reach = max(
        offset * approach_ratio(length), speed * math.sqrt(TWO * offset / ASIDE_ACCELERATION)
    )
    reach = min(reach, max(LEAVE_REACH * leave_end, PATH_STEP))
    reach = max(reach, lookahead(next_speed))
    front = HALF * length
    if reach < front and leave_end >= UNREACHABLE and is_straight(path, front, count):
        reach = front
    point = min(max(np.int64(reach / PATH_STEP), 1), count - 1)
    over = reach - PATH_STEP * np.float32(point)
    inwards = swing_offset(path, point, count, length, bodies.width[world, agent])
    target_x = path[point, 0] + over * path[point, 2] - inwards * path[point, 3]
    target_y = path[point, 1] + over * path[point, 3] + inwards * path[point, 2]
    dx = target_x - rear_x
    dy = target_y - rear_y
    across = dy * cos - dx * sin + CALM * clamp(aside - inwards, -ONE, ONE)
    return TWO * across / max(dx * dx + dy * dy, ONE)
