"""How an action moves an agent, and what of it the stages after dynamics read.

Actions move the middle of the box; agents are where the middle of their rear axle is.
"""

from __future__ import annotations

import numpy as np

from selfdrive_env.compiler.njit import njit
from selfdrive_env.kernels.dynamics.models import moved
from selfdrive_env.kernels.dynamics.pose import Pose, arc_between, turn_between
from selfdrive_env.kernels.math.elementary import arctangent
from selfdrive_env.kernels.math.geometry import HALF, clamp
from selfdrive_env.state import world as world_state

__all__ = ["middle_of", "move_by_action", "write_pose"]

MAX_STEERING = np.float32(world_state.MAX_STEERING)  # [rad]
LEAST_WAY = np.float32(0.01)  # on which a steering angle is told [m]
MOST_SPEED = np.float32(99.0)
"""To which what is told of speeds [m/s] and accelerations [m/s^2] is held: actions that put a body
somewhere have no other bound."""


@njit
def middle_of(agents, bodies, world, agent):
    """Returns the `Pose` of an agent: that of the middle of its box."""
    ahead = HALF * bodies.wheelbase[world, agent]
    cos, sin = agents.cos[world, agent], agents.sin[world, agent]
    x, y = agents.x[world, agent] + ahead * cos, agents.y[world, agent] + ahead * sin
    return Pose(x, y, cos, sin, agents.speed[world, agent])


@njit
def move_by_action(model, data, limits, world, agent):
    """Moves an agent by its `Motion.action`.

    Args:
        model: Model.
        data: Data; `Motion` has the pose before the step.
        limits: `Limits` of the body.
        world: World.
        agent: Agent.
    """
    pose = middle_of(data.agents, data.bodies, world, agent)
    action, wheelbase = data.motion.action[world, agent], data.bodies.wheelbase[world, agent]
    dt = data.worlds.dt[world]
    after = moved(model.params.dynamics, pose, action, wheelbase, limits, dt)
    write_pose(data, pose, after, world, agent)


@njit
def write_pose(data, pose, after, world, agent):
    """Puts an agent where a step leads it, and tells of the arc that leads there.

    Accelerations are differences over the step: of the speed along the heading, and speed times
    rate of turn to the left; jerks are the differences of these. The steering angle is that of a
    front axle which would lead the rear one along its arc.

    Args:
        data: Data.
        pose: `Pose` before the step, as `middle_of` gives it.
        after: That after it.
        world: World.
        agent: Agent.
    """
    agents, motion = data.agents, data.motion
    dt = data.worlds.dt[world]
    wheelbase = data.bodies.wheelbase[world, agent]
    ahead = HALF * wheelbase
    cos, sin, speed = pose.cos, pose.sin, pose.speed
    dx = (after.x - pose.x) + ahead * (cos - after.cos)
    dy = (after.y - pose.y) + ahead * (sin - after.sin)
    arc = arc_between(dx, dy, cos, sin, after.cos, after.sin)
    new_speed = clamp(after.speed, -MOST_SPEED, MOST_SPEED)
    turn = turn_between(cos, sin, after.cos, after.sin)
    acceleration = clamp((new_speed - speed) / dt, -MOST_SPEED, MOST_SPEED)
    lateral = clamp(new_speed * turn / dt, -MOST_SPEED, MOST_SPEED)
    jerk = (acceleration - agents.acceleration[world, agent]) / dt
    lateral_jerk = (lateral - agents.lateral_acceleration[world, agent]) / dt

    agents.x[world, agent] += dx
    agents.y[world, agent] += dy
    agents.cos[world, agent] = after.cos
    agents.sin[world, agent] = after.sin
    agents.speed[world, agent] = new_speed
    agents.acceleration[world, agent] = acceleration
    agents.lateral_acceleration[world, agent] = lateral
    if abs(arc.travel) >= LEAST_WAY:
        steering = arctangent(arc.curvature * wheelbase)
        agents.steering[world, agent] = clamp(steering, -MAX_STEERING, MAX_STEERING)
    motion.travel[world, agent] = arc.travel
    motion.curvature[world, agent] = arc.curvature
    motion.slip_cos[world, agent] = arc.slip_cos
    motion.slip_sin[world, agent] = arc.slip_sin
    motion.realised_jerk[world, agent, 0] = jerk
    motion.realised_jerk[world, agent, 1] = lateral_jerk
