"""Accelerations, jerks and rates of turn, from velocities and headings, and their bounds.

Derivatives are those of polynomials fitted to windows of steps (Savitzky and Golay 1964), as in
nuPlan: differences of recorded speeds are mostly noise.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.metrics.case import Case
from selfdrive_env.metrics.metric import Metric
from selfdrive_env.state.arrays import F64

__all__ = ["BOUNDS", "Motion", "derivative", "motion", "uncomfortable"]

BOUNDS = {
    "longitudinal_acceleration": (-4.05, 2.40),
    "lateral_acceleration": (-4.89, 4.89),
    "yaw_rate": (-0.95, 0.95),
    "yaw_acceleration": (-1.93, 1.93),
    "longitudinal_jerk": (-4.13, 4.13),
    "jerk": (-8.37, 8.37),
}
"""Least and largest values that are comfortable, by field of `Motion`."""

SHORT, LONG = 0.8, 1.5
"""Windows of accelerations, and of jerks and rates of turn [s]."""


class Motion(NamedTuple):
    """How bodies move, each [agent, step]; 0 where that is not known."""

    longitudinal_acceleration: F64
    """[m/s^2]"""

    lateral_acceleration: F64
    """Positive to the left [m/s^2]."""

    yaw_rate: F64
    """[rad/s]"""

    yaw_acceleration: F64
    """[rad/s^2]"""

    longitudinal_jerk: F64
    """[m/s^3]"""

    jerk: F64
    """Magnitude in the plane [m/s^3]."""

    known: NDArray[np.bool_]
    """Whether the body was seen for long enough."""


def uncomfortable(case: Case) -> Metric:
    """Returns 1 where a body moves beyond one of nuPlan's `BOUNDS` of comfort."""
    found = motion(case)
    beyond = np.zeros(found.known.shape, np.bool_)
    for name, (low, high) in BOUNDS.items():
        value = getattr(found, name)
        beyond |= (value < low) | (value > high)
    return Metric.of(beyond, found.known)


def motion(case: Case) -> Motion:
    """Returns how bodies move.

    Args:
        case: The traffic.
    """
    tracks, dt = case.tracks, case.dt
    ax, known = derivative(tracks.vx, tracks.valid, dt, 1, 2, SHORT)
    ay, _ = derivative(tracks.vy, tracks.valid, dt, 1, 2, SHORT)
    heading = tracks.heading.astype(np.float64)
    cos, sin = np.cos(heading), np.sin(heading)
    longitudinal, lateral = ax * cos + ay * sin, ay * cos - ax * sin
    angle = _unwrapped(heading, tracks.valid)
    rate, _ = derivative(angle, tracks.valid, dt, 1, 2, LONG)
    turn, _ = derivative(angle, tracks.valid, dt, 2, 3, LONG)
    along, _ = derivative(longitudinal, tracks.valid, dt, 1, 2, LONG)
    jerk = [derivative(a, tracks.valid, dt, 1, 2, LONG)[0] for a in (ax, ay)]
    return Motion(longitudinal, lateral, rate, turn, along, np.hypot(*jerk), known)


def derivative(
    value: NDArray[np.floating],
    valid: NDArray[np.bool_],
    dt: float,
    order: int,
    degree: int,
    window: float,
) -> tuple[F64, NDArray[np.bool_]]:
    """Returns a derivative of each run of valid steps, and where a run is long enough.

    Args:
        value: [agent, step]
        valid: [agent, step]
        dt: Between steps [s].
        order: 1 or 2.
        degree: Of the polynomials.
        window: That one is fitted to, shorter where a run is; at least `degree` + 1 steps [s].
    """
    out, known = np.zeros(value.shape), np.zeros(value.shape, np.bool_)
    runs: dict[tuple[int, int], list[int]] = {}
    for agent, row in enumerate(valid):
        change = np.flatnonzero(np.diff(row.astype(np.int8), prepend=0, append=0))
        for begin, end in change.reshape(-1, 2).tolist():
            runs.setdefault((begin, end), []).append(agent)
    wanted = max(round(window / dt) | 1, degree + 1)
    for (begin, end), agents in runs.items():
        size = min(wanted, end - begin)
        if size > degree:
            part = value[agents, begin:end].astype(np.float64)
            out[agents, begin:end] = _filtered(part, size, order, degree) / dt**order
            known[agents, begin:end] = True
    return out, known


def _filtered(value: F64, size: int, order: int, degree: int) -> F64:
    """Returns the derivative along whole rows: each window lies around its step if it can."""
    weights, before = _weights(size, order, degree), size // 2
    after = size - before - 1
    windows = np.lib.stride_tricks.sliding_window_view(value, size, axis=1)
    parts = [
        value[:, :size] @ weights[:before].T,
        windows @ weights[before],
        value[:, -size:] @ weights[size - after :].T,
    ]
    return np.concatenate(parts, axis=1)


@cache
def _weights(size: int, order: int, degree: int) -> F64:
    """Returns by which a window is multiplied for the derivative at each of its steps, [at, step].

    In steps, not seconds.
    """
    step = np.arange(size, dtype=np.float64)
    middle = step - (size - 1) / 2.0
    fit = np.linalg.pinv(np.vander(middle, degree + 1, increasing=True))
    power = np.arange(degree + 1)
    factor = np.prod([np.maximum(power - k, 0) for k in range(order)], axis=0)
    at: F64 = middle[:, None] ** np.maximum(power - order, 0) * factor
    weights: F64 = at @ fit
    return weights


def _unwrapped(heading: F64, valid: NDArray[np.bool_]) -> F64:
    """Returns headings without jumps, within each run of valid steps."""
    turn = np.diff(heading, axis=1, prepend=heading[:, :1])
    turn = (turn + np.pi) % (2.0 * np.pi) - np.pi
    out: F64 = np.cumsum(np.where(valid, turn, 0.0), axis=1)
    return out
