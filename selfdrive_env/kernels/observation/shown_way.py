"""What a row shows of the way ahead: the route, the own line, the leader; and the follower."""

from __future__ import annotations

import numpy as np

from selfdrive_env.compiler.njit import inline
from selfdrive_env.compiler.simd import load, put, wide_lane, wide_place, wide_size
from selfdrive_env.config.observation import ROUTE_DISTANCES, WIDTHS
from selfdrive_env.kernels.math.geometry import ONE, ZERO, squash
from selfdrive_env.kernels.observation.scales import (
    UNIT,
    balanced,
    clipped,
    half_balanced,
    offset_of,
    per_size_of,
    size_of,
    turned,
)
from selfdrive_env.kernels.observation.way import (
    FOLLOWER,
    LEADER,
    LINE,
    LINE_COLOUR,
    LINE_GAP,
    LINE_GIVES_WAY,
    LINE_SERVED,
    LINE_TIME,
)
from selfdrive_env.state.world import GREEN, RED, STOP_SIGN, YELLOW

__all__ = ["write_notes", "write_route"]

ROUTE_SLOTS, ROUTE_FLOATS = len(ROUTE_DISTANCES), WIDTHS["route"]
OWN_LINE_FLOATS, BODY_FLOATS = WIDTHS["own_line"], WIDTHS["leader"]

ROUTE_AHEAD, ROUTE_ASIDE = size_of("route", "x"), size_of("route", "y")  # [m]
PER_ROOM, ROOM = per_size_of("route", "room_left"), offset_of("route", "room_left")
"""[1/m], [m]"""
GAP, BODY_GAP = size_of("own_line", "gap"), size_of("leader", "gap")  # [m]
ELAPSED = size_of("own_line", "elapsed")  # [s]
BODY_SPEED, CLOSING = size_of("leader", "speed"), size_of("leader", "closing_speed")  # [m/s]
LIMIT = size_of("route", "speed_limit")  # [m/s]


@inline
def write_route(row, offset, eye, count, shown):
    """Writes the points of the way ahead; returns the offset behind them.

    Args:
        row: The row.
        offset: Where the group begins.
        eye: The `Eye`.
        count: How many points there are before the way ends.
        shown: `Scratch.route` of the agent.
    """
    for turn in range(wide_lane(), ROUTE_SLOTS, wide_size()):
        at = wide_place(turn, np.int64(ROUTE_SLOTS))
        to = offset + at
        ahead, aside = turned(load(shown[0], at) - eye.x, load(shown[1], at) - eye.y, eye)
        cos, sin = turned(load(shown[2], at), load(shown[3], at), eye)
        left, right = load(shown[4], at), load(shown[5], at)
        put(row, to, at, count, squash(ahead, ROUTE_AHEAD))
        put(row, to + ROUTE_SLOTS, at, count, squash(aside, ROUTE_ASIDE))
        put(row, to + 2 * ROUTE_SLOTS, at, count, cos * UNIT)
        put(row, to + 3 * ROUTE_SLOTS, at, count, sin * UNIT)
        put(row, to + 4 * ROUTE_SLOTS, at, count, clipped(left - ROOM, PER_ROOM))
        put(row, to + 5 * ROUTE_SLOTS, at, count, clipped(right - ROOM, PER_ROOM))
        put(row, to + 6 * ROUTE_SLOTS, at, count, balanced(load(shown[6], at), LIMIT))
        put(row, to + 7 * ROUTE_SLOTS, at, count, ONE)
    return offset + ROUTE_SLOTS * ROUTE_FLOATS


@inline
def write_notes(row, offset, info, speed):
    """Writes the own line, the leader and the follower; returns the offset behind them.

    Args:
        row: The row.
        offset: Where the groups begin.
        info: `Scratch.ahead` of the agent.
        speed: Its own [m/s].
    """
    colour = np.int64(info[LINE_COLOUR])
    there = info[LINE] > ZERO
    row[offset] = balanced(info[LINE_GAP], GAP) if there else ZERO
    row[offset + 1] = np.float32(colour == RED)
    row[offset + 2] = np.float32(colour == YELLOW)
    row[offset + 3] = np.float32(colour == GREEN)
    row[offset + 4] = np.float32(colour == STOP_SIGN)
    row[offset + 5] = info[LINE_SERVED]
    row[offset + 6] = info[LINE_GIVES_WAY]
    row[offset + 7] = balanced(info[LINE_TIME], ELAPSED) if there else ZERO
    row[offset + 8] = info[LINE]
    offset += OWN_LINE_FLOATS
    offset = write_body(row, offset, info, LEADER, speed, ONE)
    return write_body(row, offset, info, FOLLOWER, speed, -ONE)


@inline
def write_body(row, offset, info, column, speed, side):
    """Writes a leader (`side` 1) or a follower (-1); returns the offset behind it."""
    there = info[column] > ZERO
    closing = side * (speed - info[column + 2])
    row[offset] = balanced(info[column + 1], BODY_GAP) if there else ZERO
    row[offset + 1] = half_balanced(info[column + 2], BODY_SPEED) if there else ZERO
    row[offset + 2] = squash(closing, CLOSING) if there else ZERO
    row[offset + 3] = info[column]
    return offset + BODY_FLOATS
