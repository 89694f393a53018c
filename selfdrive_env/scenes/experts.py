"""What actions drive recorded tracks again: those of one who drives as the bodies did.

The action of a step leads from where the drive so far has led, not from where the track was, to
where the track is next: small errors are made up for instead of adding up.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.compiler.cache import cached
from selfdrive_env.compiler.njit import host, njit
from selfdrive_env.config.checks import check_choice, check_number
from selfdrive_env.kernels.dynamics.models import find_action, moved
from selfdrive_env.kernels.dynamics.pose import Limits, Pose, turned
from selfdrive_env.kernels.math.geometry import HALF, ZERO, clamp
from selfdrive_env.scenes.tracks import Tracks
from selfdrive_env.state.arrays import F32, F64
from selfdrive_env.state.dynamics import DYNAMICS, Dynamics

__all__ = ["INVERTIBLE", "WHEELBASE_SHARE", "Expert", "actions_towards", "expert_actions"]

INVERTIBLE = {one.name.lower(): one for one in Dynamics if one is not Dynamics.JERK}
"""Models by name that can be asked which action leads from here to there."""

WHEELBASE_SHARE = 0.6
"""Of a body's length, as bodies of environments have it."""

SOURCES = ("scenes/experts.py", "kernels", "compiler", "state")
LAST_ACCELERATED = int(Dynamics.CLASSIC)
HUGE = np.float32(1.0e9)  # speed or displacement that nothing reaches [m/s], [m]
AIM = np.float32(0.05)  # share of the angle at which one is aside that the heading turns by
MOST_AIM = np.float32(0.1)  # [rad]
LEAST_WAY = np.float32(0.05)  # over which an angle aside is measured [m]


@dataclass(frozen=True, eq=False)
class Expert:
    """Actions that drive tracks again, and where they lead; what is not valid is 0."""

    action: F64
    """[agent, step, column], in the units of `DYNAMICS`: from moment `step` to the next one."""

    valid: NDArray[np.bool_]
    """[agent, step], whether the track has both moments."""

    x: F64
    """[agent, moment], middle of the box as driven, east [m]."""

    y: F64
    """[agent, moment], north [m]."""

    heading: F64
    """[agent, moment], in [-pi, pi] [rad]."""

    position_error: F64
    """[agent, moment], distance from the track [m]."""

    heading_error: F64
    """[agent, moment], size of the angle to the track's heading [rad]."""


def expert_actions(tracks: Tracks, model: str, dt: float) -> Expert:
    """Returns the actions that drive tracks again under a model of the dynamics.

    Where a track begins, or goes on after a gap, the drive begins at its pose. For the models with
    accelerations the speed aimed at makes up for half of what is left of the way, and the heading
    for a twentieth of the angle aside: recorded speeds and headings seldom fit the positions.

    Args:
        tracks: What was recorded.
        model: Name of the dynamics, as in the setting; not "jerk", whose actions no inverse tells.
        dt: Between two moments of the tracks [s].

    Raises:
        ValueError: For an unknown model, or a dt out of range.
    """
    check_choice("model", model, tuple(INVERTIBLE))
    dt = check_number("dt", dt, 0.001, 10.0)
    dynamics = INVERTIBLE[model]
    agents, moments = tracks.valid.shape
    first = tracks.valid.argmax(1)[:, None]
    origin = [np.take_along_axis(one, first, 1) for one in (tracks.x, tracks.y)]
    cos, sin = np.cos(tracks.heading), np.sin(tracks.heading)
    speed = np.hypot(tracks.vx, tracks.vy)
    speed *= np.where(tracks.vx * cos + tracks.vy * sin < 0.0, -1.0, 1.0).astype(np.float32)
    recorded = np.stack(
        [tracks.x - origin[0], tracks.y - origin[1], cos, sin, speed], 2, dtype=np.float32
    )
    driven = np.zeros_like(recorded)
    action = np.zeros((agents, max(moments - 1, 0), len(DYNAMICS[dynamics])), np.float32)
    wheelbase = (WHEELBASE_SHARE * tracks.length).astype(np.float32)
    _compiled()(int(dynamics), recorded, tracks.valid, wheelbase, np.float32(dt), action, driven)
    return _expert(tracks, dynamics, action.astype(np.float64), driven, origin)


def _expert(
    tracks: Tracks, dynamics: Dynamics, action: F64, driven: F32, origin: list[F64]
) -> Expert:
    """Returns what was found, in the frame of the tracks."""
    steps = tracks.valid[:, :-1] & tracks.valid[:, 1:]
    if dynamics is Dynamics.STATE:
        action[:, :, 0] += origin[0]
        action[:, :, 1] += origin[1]
        action[:, :, 3], action[:, :, 4] = tracks.vx[:, 1:], tracks.vy[:, 1:]
    action[~steps] = 0.0
    x, y = driven[:, :, 0] + origin[0], driven[:, :, 1] + origin[1]
    heading = np.arctan2(driven[:, :, 3], driven[:, :, 2]).astype(np.float64)
    turn = np.angle(np.exp(1j * (heading - tracks.heading)))
    present = tracks.valid
    return Expert(
        action=action,
        valid=steps,
        x=np.where(present, x, 0.0),
        y=np.where(present, y, 0.0),
        heading=np.where(present, heading, 0.0),
        position_error=np.where(present, np.hypot(x - tracks.x, y - tracks.y), 0.0),
        heading_error=np.where(present, np.abs(turn), 0.0),
    )


@njit
def aimed_at(pose, led_to, after, dt):
    """Returns the pose to aim at in place of `after`, which an action misses that leads elsewhere.

    Args:
        pose: Before the step.
        led_to: Where the action that fits speed and heading of `after` leads.
        after: Where the track is next.
        dt: [s]
    """
    dx, dy = after.x - pose.x, after.y - pose.y
    size = math.sqrt(dx * dx + dy * dy)
    left = size if dx * pose.cos + dy * pose.sin >= ZERO else -size
    speed = after.speed + left / dt - HALF * (pose.speed + after.speed)
    way = HALF * (pose.speed + speed) * dt
    aside = (after.y - led_to.y) * after.cos - (after.x - led_to.x) * after.sin
    turn = clamp(AIM * aside / max(abs(way), LEAST_WAY), -MOST_AIM, MOST_AIM)
    cos, sin = turned(after.cos, after.sin, turn if way >= ZERO else -turn)
    return Pose(after.x, after.y, cos, sin, speed)


@njit
def find_expert_action(dynamics, pose, after, wheelbase, limits, dt, action_out):
    """Writes the action of one who was to be at a pose and is at another, see `expert_actions`.

    Args:
        dynamics: A `Dynamics` other than `JERK`.
        pose: Where it is.
        after: Where the track is next.
        wheelbase: [m]
        limits: `Limits`.
        dt: [s]
        action_out: Receives the action.
    """
    find_action(dynamics, pose, after, wheelbase, dt, action_out)
    if dynamics <= LAST_ACCELERATED:
        led_to = moved(dynamics, pose, action_out, wheelbase, limits, dt)
        aim = aimed_at(pose, led_to, after, dt)
        find_action(dynamics, pose, aim, wheelbase, dt, action_out)


def drive_again(dynamics, recorded, valid, wheelbase, dt, action_out, driven_out):
    """Drives all tracks; poses are rows of x, y, cos, sin and speed, [agent, moment, 5]."""
    limits = Limits(-HUGE, HUGE, HUGE)
    for agent in range(valid.shape[0]):
        for moment in range(valid.shape[1]):
            if not valid[agent, moment]:
                continue
            row = recorded[agent, moment]
            after = Pose(row[0], row[1], row[2], row[3], row[4])
            if moment > 0 and valid[agent, moment - 1]:
                row = driven_out[agent, moment - 1]
                pose = Pose(row[0], row[1], row[2], row[3], row[4])
                action = action_out[agent, moment - 1]
                find_expert_action(dynamics, pose, after, wheelbase[agent], limits, dt, action)
                after = moved(dynamics, pose, action, wheelbase[agent], limits, dt)
            for column in range(5):
                driven_out[agent, moment, column] = after[column]


def aim_once(dynamics, poses, after, wheelbase, dt, action_out):
    """Writes an action for each row, of poses [row, 5] as in `drive_again`."""
    limits = Limits(-HUGE, HUGE, HUGE)
    for row in range(poses.shape[0]):
        one, two = poses[row], after[row]
        now = Pose(one[0], one[1], one[2], one[3], one[4])
        then = Pose(two[0], two[1], two[2], two[3], two[4])
        find_expert_action(dynamics, now, then, wheelbase[row], limits, dt[row], action_out[row])


def actions_towards(model: str, poses: F32, after: F32, wheelbase: F32, dt: F32) -> F32:
    """Returns the actions that lead from where bodies are to where tracks are next, one a row.

    Args:
        model: Name of the dynamics, as for `expert_actions`.
        poses: x, y, cosine and sine of the heading, speed along it, [row, 5] [m], [m/s].
        after: Likewise, of the tracks.
        wheelbase: [row] [m].
        dt: [row] [s].
    """
    check_choice("model", model, tuple(INVERTIBLE))
    dynamics = INVERTIBLE[model]
    action = np.zeros((len(poses), len(DYNAMICS[dynamics])), np.float32)
    arrays = (np.ascontiguousarray(one, np.float32) for one in (poses, after, wheelbase, dt))
    _compiled_once()(int(dynamics), *arrays, action)
    return action


@functools.cache
def _compiled_once() -> Any:
    """Returns `aim_once`, compiled when first called."""
    return cached(host(aim_once), SOURCES)


@functools.cache
def _compiled() -> Any:
    """Returns `drive_again`, compiled when first called."""
    return cached(host(drive_again), SOURCES)
