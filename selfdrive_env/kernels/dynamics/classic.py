"""Kinematic bicycle about the centre of gravity, by acceleration a and steering angle delta.

Rajamani, Vehicle Dynamics and Control, 2.2, with the centre in the middle of the wheelbase L:
tan(beta) = tan(delta) / 2,  ds = (v + v') t / 2,  x' = x + ds cos(psi + beta),
y' = y + ds sin(psi + beta),  psi' = psi + ds cos(beta) tan(delta) / L,  v' = v + a t.
"""

from __future__ import annotations

import math

import numpy as np

from selfdrive_env.compiler.njit import njit
from selfdrive_env.kernels.dynamics.bicycle import SLOW, way_of
from selfdrive_env.kernels.dynamics.pose import Pose, turn_between, turned
from selfdrive_env.kernels.math.elementary import arctangent, cosine_within, sine_share_within
from selfdrive_env.kernels.math.geometry import HALF, ONE, ZERO, clamp
from selfdrive_env.state.dynamics import DYNAMICS, Dynamics

__all__ = ["classic_forward", "classic_inverse"]

QUARTER = np.float32(0.25)
MAX_ACCELERATION = np.float32(DYNAMICS[Dynamics.CLASSIC][0].size)  # [m/s^2]
MAX_STEERING = np.float32(DYNAMICS[Dynamics.CLASSIC][1].size)  # [rad]
SHARPEST = np.float32(1.9)  # of the turn a wheelbase of way, where a steering angle has 2


@njit
def classic_forward(pose, acceleration, steering, wheelbase, limits, dt):
    """Returns the `Pose` after a step.

    Args:
        pose: Before it.
        acceleration: [m/s^2]
        steering: Angle of the front wheels, at most a right angle [rad].
        wheelbase: [m]
        limits: Of the speed.
        dt: [s]
    """
    way, speed = way_of(pose.speed, acceleration, limits, dt)
    tangent = steering * sine_share_within(steering) / cosine_within(steering)
    slip_cos = ONE / math.sqrt(ONE + QUARTER * tangent * tangent)
    slip_sin = HALF * tangent * slip_cos
    cos, sin = turned(pose.cos, pose.sin, way * slip_cos * tangent / wheelbase)
    return Pose(
        pose.x + way * (pose.cos * slip_cos - pose.sin * slip_sin),
        pose.y + way * (pose.sin * slip_cos + pose.cos * slip_sin),
        cos,
        sin,
        speed,
    )


@njit
def classic_inverse(pose, after, wheelbase, dt):
    """Returns acceleration and steering, within their ranges, that lead from a pose to another.

    With g = L (psi' - psi) / ds it is tan(delta) = g / sqrt(1 - g^2 / 4); none where the mean speed
    is below `SLOW`.
    """
    change = after.speed - pose.speed
    way = HALF * (pose.speed + after.speed) * dt
    acceleration = clamp(change / dt, -MAX_ACCELERATION, MAX_ACCELERATION)
    if abs(way) < SLOW * dt:
        return acceleration, ZERO
    turn = turn_between(pose.cos, pose.sin, after.cos, after.sin)
    bend = clamp(wheelbase * turn / way, -SHARPEST, SHARPEST)
    tangent = bend / math.sqrt(ONE - QUARTER * bend * bend)
    return acceleration, clamp(arctangent(tangent), -MAX_STEERING, MAX_STEERING)
