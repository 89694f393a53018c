"""How soon bodies that go on as they do meet: boxes of constant velocity and heading."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.compiler.njit import inline
from selfdrive_env.metrics.case import Case
from selfdrive_env.metrics.lines.search import compiled
from selfdrive_env.metrics.metric import Metric
from selfdrive_env.metrics.rules.faults import STOPPED
from selfdrive_env.metrics.rules.lanes import in_one_lane
from selfdrive_env.state.arrays import F64, I64
from selfdrive_env.state.road import LEVEL_HEIGHT

__all__ = ["HORIZON", "LEAST_TIME", "time_to_collision"]

HORIZON = 3.0
"""Who does not meet within it does not meet [s]."""

LEAST_TIME = 0.95
"""Sooner is too soon [s]."""

TIME_STEP = 0.1
"""Times are multiples of it [s]."""

AHEAD_COSINE = math.cos(math.pi / 6.0)
"""Of the angle between a heading and the way to one ahead: below 30 degrees."""


def time_to_collision(case: Case) -> Metric:
    """Returns when a body's box first meets another's if all keep velocity and heading [s].

    `HORIZON` where none does. Those ahead count (within 30 degrees), and those at the sides if the
    body is not wholly in one lane, or in a junction; who overlaps it already, or is behind (within
    30 degrees of straight back), does not. One that stands meets nobody.
    """
    tracks = case.tracks
    heading = tracks.heading.T.astype(np.float64)
    pose = (tracks.x.T, tracks.y.T, tracks.z.T, np.cos(heading), np.sin(heading))
    body = np.stack([*pose, tracks.vx.T, tracks.vy.T, case.speed.T], axis=-1)
    half = 0.5 * np.stack([tracks.length, tracks.width], axis=1).astype(np.float64)
    level = np.inf if case.ignore_height else LEVEL_HEIGHT
    sides = ~in_one_lane(case) | case.of_own_lane(case.known_road.junction)
    valid = np.ascontiguousarray(tracks.valid.T)
    out = np.full(valid.shape, HORIZON)
    _meet(body, half, valid, np.ascontiguousarray(sides.T), level, case.company, out)
    return Metric.of(np.ascontiguousarray(out.T), tracks.valid)


@compiled
def _meet(
    body: F64,
    half: F64,
    valid: NDArray[np.bool_],
    sides: NDArray[np.bool_],
    level: float,
    bounds: I64,
    out: F64,
) -> None:
    """Writes the first time at which each body meets one that counts, [step, agent]."""
    steps, agents = valid.shape
    for step in range(steps):
        for a in range(agents):
            speed = body[step, a, 7]
            if not valid[step, a] or speed <= STOPPED:
                continue
            cos_a, sin_a = body[step, a, 3], body[step, a, 4]
            for b in range(bounds[a, 0], bounds[a, 1]):
                if b == a or not valid[step, b]:
                    continue
                if abs(body[step, b, 2] - body[step, a, 2]) >= level:
                    continue
                dx, dy = body[step, b, 0] - body[step, a, 0], body[step, b, 1] - body[step, a, 1]
                reach = half[a, 0] + half[a, 1] + half[b, 0] + half[b, 1]
                reach += (speed + body[step, b, 7]) * HORIZON
                square = dx * dx + dy * dy
                if square > reach * reach:
                    continue
                ahead = dx * cos_a + dy * sin_a
                distance = math.sqrt(square)
                if ahead < -AHEAD_COSINE * distance:
                    continue
                if ahead < AHEAD_COSINE * distance and not sides[step, a]:
                    continue
                first, last = _together(body[step, a], body[step, b], half[a], half[b])
                if first <= 0.0 < last:
                    continue  # they overlap already
                time = (max(math.floor(first / TIME_STEP + 1e-9), 0) + 1) * TIME_STEP
                if first < last and time < last:
                    out[step, a] = min(out[step, a], time)


@inline
def _together(a: F64, b: F64, half_a: F64, half_b: F64) -> tuple[float, float]:
    """Returns from when until when two boxes overlap that keep velocity and heading [s]."""
    c, s = abs(a[3] * b[3] + a[4] * b[4]), abs(a[3] * b[4] - a[4] * b[3])
    dx, dy = b[0] - a[0], b[1] - a[1]
    vx, vy = b[5] - a[5], b[6] - a[6]
    first, last = -np.inf, np.inf
    for axis in range(4):
        cos, sin = (a[3], a[4]) if axis < 2 else (b[3], b[4])
        if axis % 2:
            cos, sin = -sin, cos
        long, wide = (half_b[0], half_b[1]) if axis < 2 else (half_a[0], half_a[1])
        own = half_a[axis] if axis < 2 else half_b[axis - 2]
        reach = own + (long * s + wide * c if axis % 2 else long * c + wide * s)
        place, speed = dx * cos + dy * sin, vx * cos + vy * sin
        if abs(speed) < 1e-9:
            if abs(place) >= reach:
                return np.inf, -np.inf
            continue
        one, other = (-reach - place) / speed, (reach - place) / speed
        first, last = max(first, min(one, other)), min(last, max(one, other))
    return first, last
