"""Jerk-actuated kinematic bicycle (Cusumano-Towner et al. 2025, appendix on dynamics).

The state is the middle of the rear axle; the centre of the box lies half a wheelbase ahead of it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from selfdrive_env.compiler.njit import njit
from selfdrive_env.compiler.threads import block_size, on_cpu_alone, thread_index
from selfdrive_env.kernels.dynamics.acted import move_by_action
from selfdrive_env.kernels.dynamics.pose import Limits
from selfdrive_env.kernels.dynamics.recorded.path import move_on_path
from selfdrive_env.kernels.dynamics.recorded.replay import replay_body
from selfdrive_env.kernels.dynamics.recorded.waypoints import follow_waypoints
from selfdrive_env.kernels.math.elementary import arctangent, cosine_within, sine_share_within
from selfdrive_env.kernels.math.geometry import HALF, ONE, ZERO, along_arc, clamp
from selfdrive_env.state import world as world_state
from selfdrive_env.state.dynamics import DYNAMICS, Dynamics
from selfdrive_env.state.params import NO_SCENES, REVERSE_ALLOWED
from selfdrive_env.state.world import (
    ABSENT,
    ACTIONS_KEEP,
    EXTERNAL,
    HALTED,
    IDM_LOG,
    REPLAY,
    STANDING,
    WAYPOINT,
)

__all__ = [
    "Scales",
    "Sweep",
    "advance_bodies",
    "bicycle_step",
    "pose_at",
    "standing_sweep",
    "sub_steps",
    "sweep_of",
    "way_of_sweep",
]

MOVE_ON_PATH, FOLLOW_WAYPOINTS = on_cpu_alone(move_on_path), on_cpu_alone(follow_waypoints)
"""Not on a device: with recorded paths the optimiser for CUDA comes to no end."""

MAX_BRAKING = np.float32(-5.0)  # [m/s^2]
MAX_ACCELERATION = np.float32(2.5)  # [m/s^2]
MAX_LATERAL = np.float32(4.0)  # [m/s^2]
MAX_REVERSE = np.float32(-2.0)  # [m/s]
TOP_SPEED = np.float32(20.0)  # [m/s]
MIN_SPEED_SQUARED = np.float32(1.0e-5)  # [m^2/s^2]
STEERING_RATE = np.float32(0.6)  # [rad/s]
MAX_STEERING = np.float32(world_state.MAX_STEERING)  # [rad]
REACH = np.float32(DYNAMICS[Dynamics.DELTA_GLOBAL][0].size)  # of a step, along each axis [m]
JERK = int(Dynamics.JERK)


class Scales(NamedTuple):
    """What a body scales the dynamics by."""

    jerk: np.float32
    """C_throttle, of the longitudinal jerk."""

    lateral_jerk: np.float32
    """C_steer, of the lateral jerk."""

    acceleration: np.float32
    """C_acc, of the largest acceleration."""

    speed: np.float32
    """C_vel, of the largest speed."""


class Sweep(NamedTuple):
    """What a body covers in a step: its box, carried along the arc that its rear axle drives."""

    x: np.float32
    """Rear axle at the start [m]."""

    y: np.float32
    cos: np.float32
    """Heading at the start."""

    sin: np.float32
    travel: np.float32
    """Arc length, negative in reverse [m]."""

    curvature: np.float32
    """Of the arc, positive to the left [1/m]."""

    ahead: np.float32
    """From the rear axle to the centre of the box [m]."""

    half_length: np.float32
    """[m]"""

    half_width: np.float32
    """[m]"""

    slip_cos: np.float32
    """Angle from the heading to the arc, the same all along; none of a body on its wheels."""

    slip_sin: np.float32


@njit
def without_sign_change(old, new):
    """Returns `new`, or 0 where it would have the opposite sign of `old`."""
    return ZERO if old * new < ZERO else new


@njit
def bicycle_step(
    speed,
    acceleration,
    lateral,
    steering,
    jerk_long,
    jerk_lat,
    scales,
    wheelbase,
    hold_jerk,
    may_reverse,
    dt,
):
    """Advances speed, accelerations and steering angle by one step.

    a' = clip(a + C j dt), v' = clip(v + (a + a') dt / 2), kappa = a_lat' / v'^2, the steering angle
    follows atan(kappa wheelbase) at a bounded rate, ds = (v + v') dt / 2.

    Args:
        speed: [m/s]
        acceleration: Along the heading [m/s^2].
        lateral: Lateral acceleration, positive to the left [m/s^2].
        steering: Steering angle [rad].
        jerk_long: Command [m/s^3].
        jerk_lat: Command [m/s^3].
        scales: `Scales` of the body.
        wheelbase: [m]
        hold_jerk: Commands at or below it stop a vehicle that stands or reverses [m/s^3].
        may_reverse: Whether other commands below 0 reverse one that stands; else they hold it.
        dt: [s]

    Returns:
        speed, acceleration, lateral acceleration, steering angle after the step, arc length
        driven and its curvature, realised longitudinal and lateral jerk: what the limits of the
        body left of the command, none of it while the speed cannot change.
    """
    brakes = jerk_long <= hold_jerk or (jerk_long < ZERO and not may_reverse)
    holds = brakes and speed <= ZERO
    if holds:
        jerk_long = -jerk_long

    changed = clamp(
        acceleration + scales.jerk * jerk_long * dt,
        MAX_BRAKING,
        MAX_ACCELERATION * scales.acceleration,
    )
    new_acceleration = without_sign_change(acceleration, changed)
    new_lateral = without_sign_change(
        lateral, clamp(lateral + scales.lateral_jerk * jerk_lat * dt, -MAX_LATERAL, MAX_LATERAL)
    )

    free = speed + HALF * (acceleration + new_acceleration) * dt
    least = MAX_REVERSE if may_reverse else ZERO
    new_speed = without_sign_change(speed, clamp(free, least, TOP_SPEED * scales.speed))
    if holds and (new_speed >= ZERO or speed == ZERO):
        new_speed = ZERO
    real_jerk = (new_acceleration - acceleration) / dt
    if new_speed != free:
        new_acceleration = ZERO
        real_jerk = ZERO if new_speed == speed else real_jerk
    elif new_speed == ZERO and new_acceleration < ZERO:  # braking that ends exactly at rest
        new_acceleration = ZERO

    wanted = new_lateral / max(new_speed * new_speed, MIN_SPEED_SQUARED)
    turn = clamp(arctangent(wanted * wheelbase) - steering, -STEERING_RATE * dt, STEERING_RATE * dt)
    new_steering = clamp(steering + turn, -MAX_STEERING, MAX_STEERING)
    sin = new_steering * sine_share_within(new_steering)
    curvature = sin / (cosine_within(new_steering) * wheelbase)
    travel = HALF * (speed + new_speed) * dt
    real_lateral = new_speed * new_speed * curvature
    return (
        new_speed,
        new_acceleration,
        real_lateral,
        new_steering,
        travel,
        curvature,
        real_jerk,
        (real_lateral - lateral) / dt,
    )


@njit
def advance_bodies(model, data, worker, world):
    """Stage: moves every agent of a world by its jerk or action and records the arc it drove.

    Actions of other dynamics move those whom no script drives, unless they brake at random.
    """
    params = model.params
    agents, bodies, motion = data.agents, data.bodies, data.motion
    dt = data.worlds.dt[world]
    hold_jerk = np.float32(params.hold_jerk)
    acts = params.dynamics != JERK and data.actions.mode[0] != ACTIONS_KEEP
    for agent in range(thread_index(), agents.x.shape[1], block_size()):
        status = agents.status[world, agent]
        motion.x[world, agent] = agents.x[world, agent]
        motion.y[world, agent] = agents.y[world, agent]
        motion.cos[world, agent] = agents.cos[world, agent]
        motion.sin[world, agent] = agents.sin[world, agent]
        motion.speed[world, agent] = agents.speed[world, agent]
        motion.travel[world, agent] = ZERO
        motion.curvature[world, agent] = ZERO
        motion.slip_cos[world, agent] = ONE
        motion.slip_sin[world, agent] = ZERO
        for axis in range(2):
            motion.realised_jerk[world, agent, axis] = ZERO
        if params.scene_order != NO_SCENES and bodies.driver[world, agent] == REPLAY:
            replay_body(model, data, world, agent)
            continue
        if status == ABSENT:
            continue
        agents.age[world, agent] += 1
        if status in (HALTED, STANDING):
            continue
        if params.scene_order != NO_SCENES and bodies.driver[world, agent] == IDM_LOG:
            MOVE_ON_PATH(model, data, world, agent)
            continue
        if params.scene_order != NO_SCENES and bodies.driver[world, agent] == WAYPOINT:
            FOLLOW_WAYPOINTS(model, data, world, agent)
            continue
        scripted = bodies.driver[world, agent] != EXTERNAL
        may_reverse = params.reverse == REVERSE_ALLOWED or scripted
        if acts and not scripted and motion.jerk[world, agent, 0] >= ZERO:
            least = MAX_REVERSE if may_reverse else ZERO
            limits = Limits(least, TOP_SPEED * bodies.speed_scale[world, agent], REACH)
            move_by_action(model, data, limits, world, agent)
            continue

        speed, acceleration, lateral, steering, travel, curvature, long, lat = bicycle_step(
            agents.speed[world, agent],
            agents.acceleration[world, agent],
            agents.lateral_acceleration[world, agent],
            agents.steering[world, agent],
            motion.jerk[world, agent, 0],
            motion.jerk[world, agent, 1],
            Scales(
                bodies.jerk_scale[world, agent],
                bodies.lateral_jerk_scale[world, agent],
                bodies.acceleration_scale[world, agent],
                bodies.speed_scale[world, agent],
            ),
            bodies.wheelbase[world, agent],
            hold_jerk,
            may_reverse,
            dt,
        )
        x, y, cos, sin = along_arc(
            agents.x[world, agent],
            agents.y[world, agent],
            agents.cos[world, agent],
            agents.sin[world, agent],
            travel,
            curvature,
        )
        agents.x[world, agent] = x
        agents.y[world, agent] = y
        agents.cos[world, agent] = cos
        agents.sin[world, agent] = sin
        agents.speed[world, agent] = speed
        agents.acceleration[world, agent] = acceleration
        agents.lateral_acceleration[world, agent] = lateral
        agents.steering[world, agent] = steering
        motion.travel[world, agent] = travel
        motion.curvature[world, agent] = curvature
        motion.realised_jerk[world, agent, 0] = long
        motion.realised_jerk[world, agent, 1] = lat


@njit
def sweep_of(data, world, agent):
    """Returns the `Sweep` of an agent in the step."""
    bodies, motion = data.bodies, data.motion
    return Sweep(
        motion.x[world, agent],
        motion.y[world, agent],
        motion.cos[world, agent],
        motion.sin[world, agent],
        motion.travel[world, agent],
        motion.curvature[world, agent],
        HALF * bodies.wheelbase[world, agent],
        HALF * bodies.length[world, agent],
        HALF * bodies.width[world, agent],
        motion.slip_cos[world, agent],
        motion.slip_sin[world, agent],
    )


@njit
def standing_sweep(x, y, cos, sin, ahead, half_length, half_width):
    """Returns the `Sweep` of a body that stands."""
    return Sweep(x, y, cos, sin, ZERO, ZERO, ahead, half_length, half_width, ONE, ZERO)


@njit
def way_of_sweep(sweep):
    """Returns the direction in which the rear axle begins its arc, as cosine and sine."""
    return (
        sweep.cos * sweep.slip_cos - sweep.sin * sweep.slip_sin,
        sweep.sin * sweep.slip_cos + sweep.cos * sweep.slip_sin,
    )


@njit
def pose_at(sweep, fraction):
    """Returns x, y of the box centre and cos, sin of the heading after a fraction of the arc."""
    way_cos, way_sin = way_of_sweep(sweep)
    x, y, end_cos, end_sin = along_arc(
        sweep.x, sweep.y, way_cos, way_sin, sweep.travel * fraction, sweep.curvature
    )
    cos = end_cos * sweep.slip_cos + end_sin * sweep.slip_sin
    sin = end_sin * sweep.slip_cos - end_cos * sweep.slip_sin
    return x + sweep.ahead * cos, y + sweep.ahead * sin, cos, sin


@njit
def sub_steps(travel, most):
    """Into how many equal parts a sweep of `travel` metres is cut: one a metre, up to `most`."""
    parts = np.int64(abs(travel)) + 1
    return min(parts, most)
