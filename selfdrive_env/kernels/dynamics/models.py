"""The models by number: one function to move a body, one to tell the action that moves it so."""

from __future__ import annotations

from selfdrive_env.compiler.njit import njit
from selfdrive_env.kernels.dynamics.bicycle import bicycle_forward, bicycle_inverse
from selfdrive_env.kernels.dynamics.classic import classic_forward, classic_inverse
from selfdrive_env.kernels.dynamics.delta import (
    delta_global_forward,
    delta_global_inverse,
    delta_local_forward,
    delta_local_inverse,
)
from selfdrive_env.kernels.dynamics.placed import state_forward, state_inverse
from selfdrive_env.state.dynamics import Dynamics

__all__ = ["find_action", "moved"]

BICYCLE, CLASSIC = int(Dynamics.BICYCLE), int(Dynamics.CLASSIC)
DELTA_LOCAL, DELTA_GLOBAL = int(Dynamics.DELTA_LOCAL), int(Dynamics.DELTA_GLOBAL)


@njit
def moved(dynamics, pose, action, wheelbase, limits, dt):
    """Returns the `Pose` after a step.

    Args:
        dynamics: A `Dynamics` other than `JERK`.
        pose: Before the step.
        action: In the units of `DYNAMICS`, [columns].
        wheelbase: [m]
        limits: `Limits`.
        dt: [s]
    """
    if dynamics == BICYCLE:
        return bicycle_forward(pose, action[0], action[1], limits, dt)
    if dynamics == CLASSIC:
        return classic_forward(pose, action[0], action[1], wheelbase, limits, dt)
    if dynamics == DELTA_LOCAL:
        return delta_local_forward(pose, action[0], action[1], action[2], limits, dt)
    if dynamics == DELTA_GLOBAL:
        return delta_global_forward(pose, action[0], action[1], action[2], limits, dt)
    return state_forward(pose, action[0], action[1], action[2], action[3], action[4], limits)


@njit
def find_action(dynamics, pose, after, wheelbase, dt, action_out):
    """Writes the action that leads from a pose to another, as near as its ranges allow.

    Args:
        dynamics: A `Dynamics` other than `JERK`.
        pose: Before the step.
        after: After it.
        wheelbase: [m]
        dt: [s]
        action_out: Receives it, in the units of `DYNAMICS`, [columns].
    """
    if dynamics == BICYCLE:
        action_out[0], action_out[1] = bicycle_inverse(pose, after, dt)
    elif dynamics == CLASSIC:
        action_out[0], action_out[1] = classic_inverse(pose, after, wheelbase, dt)
    elif dynamics == DELTA_LOCAL:
        action_out[0], action_out[1], action_out[2] = delta_local_inverse(pose, after)
    elif dynamics == DELTA_GLOBAL:
        action_out[0], action_out[1], action_out[2] = delta_global_inverse(pose, after)
    else:
        values = state_inverse(after)
        for column in range(5):
            action_out[column] = values[column]
