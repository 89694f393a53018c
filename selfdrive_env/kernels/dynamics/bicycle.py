"""Bicycle by acceleration a and curvature kappa (Gulino et al. 2023: Waymax's invertible one).

ds = v t + a t^2 / 2,  x' = x + ds cos(psi),  y' = y + ds sin(psi),  psi' = psi + kappa ds,
v' = v + a t. Unlike theirs it stops where its speed is bounded: then ds = (v + v') t / 2.
"""

from __future__ import annotations

import numpy as np

from selfdrive_env.compiler.njit import njit
from selfdrive_env.kernels.dynamics.pose import Pose, turn_between, turned
from selfdrive_env.kernels.math.geometry import HALF, ZERO, clamp
from selfdrive_env.state.dynamics import DYNAMICS, Dynamics

__all__ = ["SLOW", "bicycle_forward", "bicycle_inverse", "way_of"]

MAX_ACCELERATION = np.float32(DYNAMICS[Dynamics.BICYCLE][0].size)  # [m/s^2]
MAX_CURVATURE = np.float32(DYNAMICS[Dynamics.BICYCLE][1].size)  # [1/m]
SLOW = np.float32(0.6)
"""Mean speed below which what is measured of a turn is noise [m/s]."""


@njit
def way_of(speed, acceleration, limits, dt):
    """Returns the way of a step and the speed after it, which stays within limits [m], [m/s]."""
    after = clamp(speed + acceleration * dt, limits.least, limits.most)
    return HALF * (speed + after) * dt, after


@njit
def bicycle_forward(pose, acceleration, curvature, limits, dt):
    """Returns the `Pose` after a step.

    Args:
        pose: Before it.
        acceleration: [m/s^2]
        curvature: [1/m]
        limits: Of the speed.
        dt: [s]
    """
    way, speed = way_of(pose.speed, acceleration, limits, dt)
    cos, sin = turned(pose.cos, pose.sin, curvature * way)
    return Pose(pose.x + way * pose.cos, pose.y + way * pose.sin, cos, sin, speed)


@njit
def bicycle_inverse(pose, after, dt):
    """Returns acceleration and curvature, within their ranges, that lead from a pose to another.

    a = (v' - v) / t, kappa = (psi' - psi) / ds, none where the mean speed is below `SLOW`.
    """
    change = after.speed - pose.speed
    way = HALF * (pose.speed + after.speed) * dt
    acceleration = clamp(change / dt, -MAX_ACCELERATION, MAX_ACCELERATION)
    if abs(way) < SLOW * dt:
        return acceleration, ZERO
    turn = turn_between(pose.cos, pose.sin, after.cos, after.sin)
    return acceleration, clamp(turn / way, -MAX_CURVATURE, MAX_CURVATURE)
