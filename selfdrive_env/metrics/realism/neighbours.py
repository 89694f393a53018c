"""How far the nearest other body is, and how soon one meets the one ahead."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.compiler.njit import inline
from selfdrive_env.kernels.math.geometry import boxes_gap
from selfdrive_env.metrics.lines.search import compiled
from selfdrive_env.scenes.tracks import Tracks
from selfdrive_env.state.arrays import F64
from selfdrive_env.state.road import LEVEL_HEIGHT

__all__ = ["FAR", "HORIZON", "neighbours"]

FAR = 40.0
"""Distance of the nearest body where none is nearer [m]."""

HORIZON = 5.0
"""Time to meet the one ahead where it is longer [s]."""

ALIGNED_COSINE = math.cos(math.radians(75.0))
"""Of the angle between own heading and that of one ahead."""


def neighbours(tracks: Tracks) -> tuple[F64, F64]:
    """Returns the distance of the nearest other box, and the time to meet the one ahead.

    The distance is exact, and negative where boxes overlap: the least way that parts them. Ahead is
    who lies wholly before the own front, overlaps the own box sideways, and is headed within 75
    degrees of the own heading; the time is the gap over the speed at which it closes.

    Args:
        tracks: Of all bodies; on another level of a road nobody is near.

    Returns:
        [agent, step], at most `FAR` [m] and at most `HORIZON` [s].
    """
    heading = tracks.heading.T.astype(np.float64)
    pose = (tracks.x.T, tracks.y.T, tracks.z.T, np.cos(heading), np.sin(heading))
    body = np.stack([*pose, tracks.vx.T, tracks.vy.T], axis=-1)
    half = 0.5 * np.stack([tracks.length, tracks.width], axis=1).astype(np.float64)
    valid = np.ascontiguousarray(tracks.valid.T)
    distance, time = np.full(valid.shape, FAR), np.full(valid.shape, HORIZON)
    _neighbours(body, half, valid, distance, time)
    return np.ascontiguousarray(distance.T), np.ascontiguousarray(time.T)


@compiled
def _neighbours(body: F64, half: F64, valid: NDArray[np.bool_], distance: F64, time: F64) -> None:
    """Writes both for each body, [step, agent]."""
    steps, agents = valid.shape
    for step in range(steps):
        for a in range(agents):
            if not valid[step, a]:
                continue
            cos, sin = body[step, a, 3], body[step, a, 4]
            for b in range(agents):
                if b == a or not valid[step, b]:
                    continue
                if abs(body[step, b, 2] - body[step, a, 2]) >= LEVEL_HEIGHT:
                    continue
                dx, dy = body[step, b, 0] - body[step, a, 0], body[step, b, 1] - body[step, a, 1]
                reach = half[a, 0] + half[a, 1] + half[b, 0] + half[b, 1]
                square = dx * dx + dy * dy
                if square < (distance[step, a] + reach) ** 2:
                    gap = _distance(dx, dy, body[step, a], body[step, b], half[a], half[b])
                    distance[step, a] = min(distance[step, a], gap)
                other_cos, other_sin = body[step, b, 3], body[step, b, 4]
                c = cos * other_cos + sin * other_sin
                if c < ALIGNED_COSINE:
                    continue
                s = abs(cos * other_sin - sin * other_cos)
                ahead, aside = dx * cos + dy * sin, abs(dy * cos - dx * sin)
                gap = ahead - half[a, 0] - half[b, 0] * c - half[b, 1] * s
                if gap < 0.0 or aside >= half[a, 1] + half[b, 0] * s + half[b, 1] * c:
                    continue
                closing = (body[step, a, 5] - body[step, b, 5]) * cos
                closing += (body[step, a, 6] - body[step, b, 6]) * sin
                if closing > 0.0 and gap < time[step, a] * closing:
                    time[step, a] = gap / closing


@inline
def _distance(dx: float, dy: float, a: F64, b: F64, half_a: F64, half_b: F64) -> float:
    """Returns the distance of two boxes, negative by how far they overlap [m]."""
    gap = boxes_gap(
        dx, dy, a[3], a[4], half_a[0], half_a[1], b[3], b[4], half_b[0], half_b[1]
    )  # fmt: skip
    if gap <= 0.0:
        return gap
    return math.sqrt(
        min(
            _corner_square(dx, dy, a[3], a[4], half_a, b[3], b[4], half_b),
            _corner_square(-dx, -dy, b[3], b[4], half_b, a[3], a[4], half_a),
        )
    )


@inline
def _corner_square(
    dx: float, dy: float, cos: float, sin: float, half: F64, other_cos: float, other_sin: float,
    other_half: F64,
) -> float:  # fmt: skip
    """Returns the least squared distance of the other box's corners from a box."""
    best = np.inf
    for corner in range(4):
        long = other_half[0] if corner < 2 else -other_half[0]
        wide = other_half[1] if corner % 2 else -other_half[1]
        x = dx + long * other_cos - wide * other_sin
        y = dy + long * other_sin + wide * other_cos
        u = max(abs(x * cos + y * sin) - half[0], 0.0)
        v = max(abs(y * cos - x * sin) - half[1], 0.0)
        best = min(best, u * u + v * v)
    return best
