"""Stop lines on a way: which is the next, what it shows, and whether a driver stops there."""

from __future__ import annotations

import numpy as np

from selfdrive_env.compiler.njit import njit
from selfdrive_env.kernels.drivers.path_info import (
    LINE_COLOUR,
    LINE_GAP,
    MAX_PATH_POINTS,
    PATH_STEP,
    TINY_GAP,
    TWO,
)
from selfdrive_env.kernels.math.geometry import ONE, ZERO
from selfdrive_env.kernels.road import UNREACHABLE
from selfdrive_env.state.world import GREEN, NO_LIGHT, RED, STOP_SIGN, YELLOW

__all__ = ["held_points", "is_in_junction", "next_line", "note_line"]

YELLOW_BRAKING = np.float32(4.5)  # [m/s^2]
YELLOW_BRAKING_ON = np.float32(4.7)  # [m/s^2], of one who brakes already
BRAKES_ON_TIME = np.float32(0.15)  # [s] until the brakes are on
REACTION = np.float32(0.25)  # [s]


@njit
def next_line(signs, world, lane, low, high, stopped_at, first_line, line_colour):
    """Returns s and colour of the first line on [low, high] of a lane that shows something.

    A stop sign where the agent has stood already counts as passed; the third value tells of it.
    """
    passed = False
    for link in range(signs.lane_line_first[lane], signs.lane_line_first[lane + 1]):
        at = signs.lane_line_s[link]
        if at < low or at > high:
            continue
        colour = line_colour[world, signs.lane_line[link] - first_line]
        if colour == STOP_SIGN and stopped_at == signs.lane_line[link]:
            passed = True
        elif colour != NO_LIGHT:
            return at, np.int64(colour), passed
    return UNREACHABLE, np.int64(NO_LIGHT), passed


@njit
def is_in_junction(lanes, signs, lane, low):
    """Whether one is in the junction of a lane, if it has one.

    Who has a line ahead of it, from `low` on, that is the way into another junction has left the
    first, of which the lane is a branch.
    """
    last = signs.lane_line_first[lane + 1] - 1
    if last < signs.lane_line_first[lane] or signs.lane_line_s[last] < low:
        return lanes.junction[lane] >= 0
    for link in range(lanes.successor_first[lane], lanes.successor_first[lane + 1]):
        junction = lanes.junction[lanes.successor[link]]
        if junction >= 0 and junction != lanes.junction[lane]:
            return False
    return lanes.junction[lane] >= 0


@njit
def note_line(info, at, colour, passed, base, half_length):
    """Writes the first stop line of a path; returns whether a stop sign has been served.

    One that is not green goes before a green one nearer by.
    """
    first = info[LINE_GAP] >= UNREACHABLE
    beyond_green = np.int64(info[LINE_COLOUR]) == GREEN and colour != GREEN
    if colour != NO_LIGHT and (first or beyond_green):
        info[LINE_GAP] = base + at - half_length
        info[LINE_COLOUR] = np.float32(colour)
    return passed


@njit
def held_points(info, speed, acceleration, half_length):
    """Returns how many points lie before the line where the agent has to stop.

    A yellow light at which it does not stop is forgotten; a green one is kept for the approach.
    """
    colour = np.int64(info[LINE_COLOUR])
    must_stop = colour in (RED, STOP_SIGN)
    if colour == YELLOW:
        must_stop = stops_at_yellow(speed, acceleration, info[LINE_GAP])
    if must_stop:
        return np.int64(max(info[LINE_GAP] + half_length, ZERO) / PATH_STEP) + 1
    if colour != GREEN:
        info[LINE_GAP] = UNREACHABLE
        info[LINE_COLOUR] = ZERO
    return np.int64(MAX_PATH_POINTS)


@njit
def stops_at_yellow(speed, acceleration, gap):
    """Whether a driver stops for a light that is yellow; keeps the decision while braking."""
    if acceleration < -ONE:
        lag = BRAKES_ON_TIME * speed * max(ONE + acceleration / YELLOW_BRAKING_ON, ZERO)
        return speed * speed <= TWO * YELLOW_BRAKING_ON * max(gap - lag, TINY_GAP)
    room = max(gap - REACTION * speed, TINY_GAP)
    return speed * speed <= TWO * YELLOW_BRAKING * room
