"""The next pose itself as the action: x' = x_a, y' = y_a, psi' = psi_a, v' = |(vx, vy)|.

For replays; the setting calls it "state". It moves at most `Limits.reach` along each axis.
"""

from __future__ import annotations

import math

from selfdrive_env.compiler.njit import njit
from selfdrive_env.kernels.dynamics.pose import Pose, turn_between, turned
from selfdrive_env.kernels.math.elementary import angle_of
from selfdrive_env.kernels.math.geometry import HALF, ONE, ZERO, clamp

__all__ = ["state_forward", "state_inverse"]


@njit
def state_forward(pose, x, y, heading, vx, vy, limits):
    """Returns the `Pose` after a step.

    Args:
        pose: Before it.
        x: Wanted, east [m].
        y: North [m].
        heading: At most 1000 to either side [rad].
        vx: Velocity, east [m/s].
        vy: North [m/s].
        limits: `reach`; and `least`, which below 0 allows displacements backwards, against the
            heading half way through the turn, and velocities against the heading: else they are 0.
    """
    cos, sin = turned(ONE, ZERO, heading)
    dx = clamp(x - pose.x, -limits.reach, limits.reach)
    dy = clamp(y - pose.y, -limits.reach, limits.reach)
    turn = turn_between(pose.cos, pose.sin, cos, sin)
    half_cos, half_sin = turned(pose.cos, pose.sin, HALF * turn)
    stays = dx * half_cos + dy * half_sin < ZERO and limits.least >= ZERO
    speed = math.sqrt(vx * vx + vy * vy)
    if vx * cos + vy * sin < ZERO:
        speed = -speed if limits.least < ZERO else ZERO
    new_x, new_y = pose.x if stays else pose.x + dx, pose.y if stays else pose.y + dy
    return Pose(new_x, new_y, cos, sin, speed)


@njit
def state_inverse(after):
    """Returns the action that leads to a pose: x, y, heading in [-pi, pi], velocity along it."""
    heading = angle_of(after.cos, after.sin)
    return after.x, after.y, heading, after.speed * after.cos, after.speed * after.sin
