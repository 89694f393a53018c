"""Bodies that are steered for where they were recorded, moment by moment, as far as they can.

The body is the bicycle of kernels/dynamics/bicycle.py with its ranges. The curvature is that of the
arc to the first recorded place that is some way ahead (pure pursuit: Coulter 1992, 2 y / d^2 in the
frame of the body). The speed aimed at is the recorded one, and what makes up for the way to the
place of the end of the step within `CATCH_UP`.
"""

from __future__ import annotations

import math

import numpy as np

from selfdrive_env.compiler.njit import njit
from selfdrive_env.kernels.dynamics.acted import middle_of, write_pose
from selfdrive_env.kernels.dynamics.bicycle import bicycle_forward
from selfdrive_env.kernels.dynamics.pose import Limits
from selfdrive_env.kernels.math.geometry import ONE, TWO, ZERO, clamp
from selfdrive_env.state.dynamics import DYNAMICS, Dynamics

__all__ = ["follow_waypoints", "pursuit_curvature", "speed_to_catch_up"]

ACCELERATION = np.float32(DYNAMICS[Dynamics.BICYCLE][0].size)  # [m/s^2]
CURVATURE = np.float32(DYNAMICS[Dynamics.BICYCLE][1].size)  # [1/m]
CATCH_UP = np.float32(0.5)  # [s]
AHEAD, AHEAD_TIME = np.float32(1.5), np.float32(0.3)  # [m], [s]
HUGE = np.float32(1.0e9)  # speed that nothing reaches [m/s]
REST = np.float32(0.05)  # [m/s]


@njit
def speed_to_catch_up(pose, x, y, cos, sin, speed, dt):
    """Returns the speed to drive at the end of a step at which (x, y) is to be reached [m/s].

    Args:
        pose: `Pose` at its start.
        x: East [m].
        y: North [m].
        cos: Recorded heading there.
        sin: Likewise.
        speed: Recorded there [m/s].
        dt: [s]
    """
    along = (x - pose.x) * cos + (y - pose.y) * sin
    behind = along - speed * dt
    wanted = speed + behind / max(CATCH_UP, dt)
    return max(wanted, ZERO) if speed >= ZERO else min(wanted, ZERO)


@njit
def pursuit_curvature(pose, dx, dy):
    """Returns the curvature of the arc that begins along a heading and leads by (dx, dy) [1/m].

    Args:
        pose: `Pose` of the body.
        dx: East [m].
        dy: North [m].
    """
    aside = dy * pose.cos - dx * pose.sin
    return clamp(TWO * aside / max(dx * dx + dy * dy, ONE), -CURVATURE, CURVATURE)


@njit
def follow_waypoints(model, data, world, agent):
    """Moves an agent a step towards where its record has it.

    Args:
        model: Model.
        data: Data.
        world: World.
        agent: Agent.
    """
    scenes, dt = model.scenes, data.worlds.dt[world]
    scene = np.int64(data.worlds.scene[world])
    last = np.int64(scenes.horizon[scene])
    moment = min(np.int64(data.worlds.clock[world]) + 1, last)
    pose = middle_of(data.agents, data.bodies, world, agent)
    speed = speed_to_catch_up(
        pose,
        scenes.x[scene, agent, moment],
        scenes.y[scene, agent, moment],
        scenes.cos[scene, agent, moment],
        scenes.sin[scene, agent, moment],
        scenes.speed[scene, agent, moment],
        dt,
    )
    acceleration = clamp((speed - pose.speed) / dt, -ACCELERATION, ACCELERATION)
    sense = ONE if speed >= ZERO else -ONE
    curvature, reach = ZERO, AHEAD + AHEAD_TIME * abs(speed)
    if abs(speed) > REST or abs(pose.speed) > REST:
        dx, dy = ZERO, ZERO
        for ahead in range(moment, last + 1):
            dx = scenes.x[scene, agent, ahead] - pose.x
            dy = scenes.y[scene, agent, ahead] - pose.y
            moment = ahead
            is_ahead = (dx * pose.cos + dy * pose.sin) * sense > ZERO
            if is_ahead and dx * dx + dy * dy >= reach * reach:
                break
        short = reach - math.sqrt(dx * dx + dy * dy)
        if short > ZERO:  # the record ends, or stands: it goes on straight
            dx += sense * short * scenes.cos[scene, agent, moment]
            dy += sense * short * scenes.sin[scene, agent, moment]
        curvature = pursuit_curvature(pose, dx, dy)
    limits = Limits(min(speed, min(pose.speed, ZERO)), HUGE, ZERO)
    after = bicycle_forward(pose, acceleration, curvature, limits, dt)
    write_pose(data, pose, after, world, agent)
