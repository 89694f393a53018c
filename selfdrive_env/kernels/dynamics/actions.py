"""What the caller's actions command."""

from __future__ import annotations

import numpy as np

from selfdrive_env.compiler.njit import njit
from selfdrive_env.compiler.threads import block_size, thread_index
from selfdrive_env.kernels.math.geometry import ONE, ZERO
from selfdrive_env.state.world import ACTIONS_CHOOSE, ACTIONS_SCALE

__all__ = ["take_actions"]


@njit
def scaled_jerk(action, low, high):
    """Returns the jerk of an action in [-1, 1], scaled to the largest of its sign [m/s^3]."""
    return -action * low if action < ZERO else action * high


@njit
def take_actions(model, data, worker, world):
    """Stage: the jerks that the rows of a world are given; scripted drivers overwrite theirs.

    An action that is none leaves the agent without a jerk and its row in `actions.fault`.
    """
    draws = model.draws
    bodies, motion, actions = data.bodies, data.motion, data.actions
    mode = actions.mode[0]
    for agent in range(thread_index(), bodies.row.shape[1], block_size()):
        row = bodies.row[world, agent]
        if row < 0:
            continue
        if mode == ACTIONS_CHOOSE:
            choice = actions.choice[row]
            known = 0 <= choice < draws.jerk.shape[0]
            for axis in range(2):
                motion.jerk[world, agent, axis] = draws.jerk[choice, axis] if known else ZERO
            if not known:
                actions.fault[0] = np.int32(row) + np.int32(1)
        elif mode == ACTIONS_SCALE:
            known = abs(actions.scale[row, 0]) <= ONE and abs(actions.scale[row, 1]) <= ONE
            for axis in range(2):
                jerk = scaled_jerk(
                    actions.scale[row, axis], draws.jerk_range[axis, 0], draws.jerk_range[axis, 1]
                )
                motion.jerk[world, agent, axis] = jerk if known else ZERO
            if not known:
                actions.fault[0] = np.int32(row) + np.int32(1)
