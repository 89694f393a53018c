"""What the caller's actions command."""

from __future__ import annotations

import numpy as np

from selfdrive_env.compiler.njit import njit
from selfdrive_env.compiler.threads import block_size, thread_index
from selfdrive_env.kernels.math.elementary import angle_of
from selfdrive_env.kernels.math.geometry import HALF, ONE, ZERO
from selfdrive_env.state.dynamics import LARGEST_SET, Dynamics
from selfdrive_env.state.world import ACTIONS_CHOOSE, ACTIONS_KEEP, ACTIONS_SCALE

__all__ = ["take_actions"]


JERK, STATE = int(Dynamics.JERK), int(Dynamics.STATE)
MOST_SET = np.float32(LARGEST_SET)  # coordinate of a pose [m], and what else is set with it


@njit
def scaled_jerk(action, low, high):
    """Returns the jerk of an action in [-1, 1], scaled to the largest of its sign [m/s^3]."""
    return -action * low if action < ZERO else action * high


@njit
def take_action(draws, actions, mode, row, action_out):
    """Writes what an action of dynamics other than jerks says, in units; returns whether it is one.

    Args:
        draws: What there is to choose from.
        actions: Of the caller.
        mode: An `ActionMode`.
        row: Row.
        action_out: Receives it, [column]; zeros where it is none.
    """
    known = True
    if mode == ACTIONS_CHOOSE:
        known = 0 <= actions.choice[row] < draws.action.shape[0]
    else:
        most = ONE if mode == ACTIONS_SCALE else MOST_SET
        for column in range(action_out.shape[0]):
            known = known and abs(actions.scale[row, column]) <= most
    for column in range(action_out.shape[0]):
        action_out[column] = ZERO
        if known and mode == ACTIONS_CHOOSE:
            action_out[column] = draws.action[actions.choice[row], column]
        elif known and mode == ACTIONS_SCALE:
            action_out[column] = actions.scale[row, column] * draws.action_size[column]
        elif known:
            action_out[column] = actions.scale[row, column]
    return known


@njit
def stay(agents, bodies, world, agent, action_out):
    """Writes the action that sets an agent to its pose and stops it."""
    cos, sin = agents.cos[world, agent], agents.sin[world, agent]
    ahead = HALF * bodies.wheelbase[world, agent]
    action_out[0] = agents.x[world, agent] + ahead * cos
    action_out[1] = agents.y[world, agent] + ahead * sin
    action_out[2] = angle_of(cos, sin)


@njit
def take_actions(model, data, worker, world):
    """Stage: the jerks that the rows of a world are given; scripted drivers overwrite theirs.

    Under other dynamics rows have no jerk but an action. One that is none leaves the agent without
    a jerk, or with an action of zeros (where it is), and its row in `actions.fault`.
    """
    draws, dynamics = model.draws, model.params.dynamics
    agents, bodies, motion, actions = data.agents, data.bodies, data.motion, data.actions
    mode = actions.mode[0]
    for agent in range(thread_index(), bodies.row.shape[1], block_size()):
        row = bodies.row[world, agent]
        if row < 0:
            continue
        if dynamics != JERK and mode != ACTIONS_KEEP:
            action = motion.action[world, agent]
            known = take_action(draws, actions, mode, row, action)
            motion.jerk[world, agent, 0] = ZERO
            motion.jerk[world, agent, 1] = ZERO
            if not known:
                if dynamics == STATE:
                    stay(agents, bodies, world, agent, action)
                actions.fault[0] = np.int32(row) + np.int32(1)
        elif mode == ACTIONS_CHOOSE:
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
