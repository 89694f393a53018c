"""Displacement and turn as the action, along the axes of the map or of the body.

x' = x + dx,  y' = y + dy,  psi' = psi + turn; the velocity is the displacement over t. In the own
frame (ahead, aside): dx = ahead cos(psi) - aside sin(psi), dy = ahead sin(psi) + aside cos(psi).
"""

from __future__ import annotations

import math

import numpy as np

from selfdrive_env.compiler.njit import njit
from selfdrive_env.kernels.dynamics.pose import Pose, turn_between, turned
from selfdrive_env.kernels.math.geometry import HALF, ZERO, clamp
from selfdrive_env.state.dynamics import DYNAMICS, Dynamics

__all__ = [
    "delta_global_forward",
    "delta_global_inverse",
    "delta_local_forward",
    "delta_local_inverse",
]

MAX_DISPLACEMENT = np.float32(DYNAMICS[Dynamics.DELTA_GLOBAL][0].size)  # [m]


@njit
def delta_global_forward(pose, dx, dy, turn, limits, dt):
    """Returns the `Pose` after a step.

    Args:
        pose: Before it.
        dx: Displacement, east [m].
        dy: North [m].
        turn: Positive left [rad].
        limits: Whose `least` below 0 allows displacements backwards, against the heading half way
            through the turn; else there is none instead of those, and the turn holds.
        dt: [s]
    """
    half_cos, half_sin = turned(pose.cos, pose.sin, HALF * turn)
    back = dx * half_cos + dy * half_sin < ZERO
    stays = back and limits.least >= ZERO
    east, north = ZERO if stays else dx, ZERO if stays else dy
    size = math.sqrt(east * east + north * north) / dt
    cos, sin = turned(pose.cos, pose.sin, turn)
    return Pose(pose.x + east, pose.y + north, cos, sin, -size if back and not stays else size)


@njit
def delta_local_forward(pose, ahead, aside, turn, limits, dt):
    """Returns the `Pose` after a step; see `delta_global_forward`.

    Args:
        pose: Before it.
        ahead: Displacement along the heading [m].
        aside: To the left [m].
        turn: Positive left [rad].
        limits: Likewise.
        dt: [s]
    """
    dx = ahead * pose.cos - aside * pose.sin
    dy = ahead * pose.sin + aside * pose.cos
    return delta_global_forward(pose, dx, dy, turn, limits, dt)


@njit
def delta_global_inverse(pose, after):
    """Returns displacement and turn, within their ranges, that lead from a pose to another."""
    return (
        clamp(after.x - pose.x, -MAX_DISPLACEMENT, MAX_DISPLACEMENT),
        clamp(after.y - pose.y, -MAX_DISPLACEMENT, MAX_DISPLACEMENT),
        turn_between(pose.cos, pose.sin, after.cos, after.sin),
    )


@njit
def delta_local_inverse(pose, after):
    """Returns displacement and turn, within their ranges, that lead from a pose to another."""
    dx, dy = after.x - pose.x, after.y - pose.y
    ahead = dx * pose.cos + dy * pose.sin
    aside = dy * pose.cos - dx * pose.sin
    return (
        clamp(ahead, -MAX_DISPLACEMENT, MAX_DISPLACEMENT),
        clamp(aside, -MAX_DISPLACEMENT, MAX_DISPLACEMENT),
        turn_between(pose.cos, pose.sin, after.cos, after.sin),
    )
