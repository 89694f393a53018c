"""How far a simulation is from what was recorded, and whether a vehicle could have moved so."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.metrics.case import Case
from selfdrive_env.metrics.metric import Metric
from selfdrive_env.state.arrays import F64

__all__ = ["CURVATURE", "MOST_ACCELERATION", "inverse_bicycle", "kinematic_infeasibility",
    "log_divergence"]  # fmt: skip

MOST_ACCELERATION = 10.4
"""That a vehicle is taken to be able to [m/s^2]."""

CURVATURE = 0.3
"""Likewise [1/m]."""

TOLERANCE = 1e-3
"""Of both, for rounding of what was recorded [m/s^2, 1/m]."""

STANDING = 0.6
"""Slower bodies have no curvature [m/s]."""


def log_divergence(case: Case) -> Metric:
    """Returns the distance in the plane from where the agent was recorded at the same step [m]."""
    tracks, log = case.tracks, case.log
    assert log is not None
    distance = np.hypot(tracks.x - log.x, tracks.y - log.y)
    return Metric.of(distance, tracks.valid & log.valid)


def kinematic_infeasibility(case: Case) -> Metric:
    """Returns 1 where a step takes more than `MOST_ACCELERATION` or `CURVATURE`; first steps 0."""
    acceleration, curvature = inverse_bicycle(case)
    beyond = (np.abs(acceleration) > MOST_ACCELERATION + TOLERANCE) | (
        np.abs(curvature) > CURVATURE + TOLERANCE
    )
    valid = case.moved.copy()
    valid[:, :1] = case.tracks.valid[:, :1]
    return Metric.of(beyond, valid)


def inverse_bicycle(case: Case) -> tuple[F64, F64]:
    """Returns the acceleration and curvature that lead to each step from the one before.

    a = dv / dt, kappa = dyaw / (v dt + a dt^2 / 2), where yaw is the direction of the velocity.

    Args:
        case: The traffic.

    Returns:
        [agent, step] [m/s^2] and [1/m]; 0 at the first step, and curvature 0 where a body is slower
        than `STANDING` before or after.
    """
    speed, dt = case.speed, case.dt
    acceleration, curvature = np.zeros_like(speed), np.zeros_like(speed)
    acceleration[:, 1:] = np.diff(speed, axis=1) / dt
    yaw = np.arctan2(case.tracks.vy.astype(np.float64), case.tracks.vx)
    turn = wrapped(np.diff(yaw, axis=1))
    travel = speed[:, :-1] * dt + 0.5 * acceleration[:, 1:] * dt * dt
    drives = (speed[:, :-1] >= STANDING) & (speed[:, 1:] >= STANDING)
    curvature[:, 1:] = np.where(drives, turn / np.where(drives, travel, 1.0), 0.0)
    return np.where(case.moved, acceleration, 0.0), np.where(case.moved, curvature, 0.0)


def wrapped(angle: NDArray[np.float64]) -> F64:
    """Returns angles in [-pi, pi).

    Args:
        angle: [rad]
    """
    out: F64 = (angle + np.pi) % (2.0 * np.pi) - np.pi
    return out
