"""How long a body takes to go through a junction, and whether a gap before another is enough.

One estimate for the rule of right of way and for scripted drivers, who keep a margin to it.
"""

from __future__ import annotations

import math

import numpy as np

from selfdrive_env.compiler.njit import njit
from selfdrive_env.kernels.math.geometry import HALF, ZERO

__all__ = ["LATERAL_COMFORT", "SLOW_TURN", "gap_share", "goes_in_ahead", "time_over",
    "turning_speed"]  # fmt: skip

TWO = np.float32(2.0)
LATERAL_COMFORT = np.float32(1.3)  # [m/s^2]
SLOW_TURN = np.float32(0.4)  # [rad/s]
STRAIGHT = np.float32(0.004)  # [1/m]
SLOWEST = np.float32(1.0)  # [m/s]
SPEEDING_UP = np.float32(1.2)  # [m/s^2]
SLOWING_DOWN = np.float32(1.5)  # [m/s^2]
MERGING_SPEED = np.float32(5.0)  # that one who goes in reaches at least [m/s]
SETTING_OFF = np.float32(3.0)  # of one who may set off until the other is in [m/s]
FOLLOWING_GAP = np.float32(2.0)  # [m]
FOLLOWING_TIME = np.float32(1.2)  # [s]
FOLLOWING_BRAKING = np.float32(3.8)  # twice the root of acceleration and braking [m/s^2]
GAP_SHARE = np.float32(0.8)  # of the gap that a follower wants
LEAST_GAP_SHARE = np.float32(0.6)  # of the gap that a follower wants
GAP_LOSS = np.float32(0.02)  # [1/s]


@njit
def gap_share(waited):
    """Returns what share of the gap that a follower wants is left to it by one who waits."""
    return max(GAP_SHARE - GAP_LOSS * waited, LEAST_GAP_SHARE)


@njit
def turning_speed(curvature, limit):
    """Returns how fast one drives along a lane that bends so much, at most `limit` [m/s]."""
    if curvature < STRAIGHT:
        return limit
    slow = min(math.sqrt(LATERAL_COMFORT / curvature), SLOW_TURN / curvature)
    return max(min(slow, limit), SLOWEST)


@njit
def time_over(way, speed, top):
    """Returns in what time one drives some way that comes to `top` speed and keeps it [s].

    Args:
        way: [m]
        speed: At its start [m/s].
        top: That is kept after speeding up or slowing down [m/s].
    """
    if way <= ZERO:
        return ZERO
    change = SPEEDING_UP if speed < top else -SLOWING_DOWN
    changed = (top * top - speed * speed) / (TWO * change)
    if way < changed:
        return (math.sqrt(speed * speed + TWO * change * way) - speed) / change
    return (top - speed) / change + (way - changed) / top


@njit
def goes_in_ahead(way, speed, top, other_way, pace, share):
    """Whether there is room to go in ahead of another, which then follows without hard braking.

    Args:
        way: Until the rear is where the ways join [m].
        speed: [m/s]
        top: That it does not go beyond until there [m/s].
        other_way: Of the front of the other until there [m].
        pace: Of the other [m/s].
        share: Of the gap that a follower wants.
    """
    reached = math.sqrt(speed * speed + TWO * SPEEDING_UP * way)
    reached = min(reached, max(speed, min(MERGING_SPEED, top)))
    time = way / max(HALF * (speed + reached), SLOWEST * HALF)
    pace = max(pace, SETTING_OFF)
    closing = pace * (pace - reached) / FOLLOWING_BRAKING
    gap = FOLLOWING_GAP + max(pace * FOLLOWING_TIME + closing, ZERO)
    return other_way - pace * time > share * gap
