"""Drivers of recorded traffic in double precision, on arrays, from their definitions.

A path is [point, 7]: x, y, z, cosine and sine of the heading, arc length, speed that bends allow.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LOOK, MARGIN = 150.0, 0.05
ACCELERATION, BRAKING, HEADWAY, GAP = 1.8, 2.0, 1.2, 2.0


def along(path: Array, s: Array) -> tuple[Array, ...]:
    """x, y, z, cos, sin, direction and allowed speed at arc lengths; straight on past the end."""
    at = np.asarray(s, np.float64)
    index = np.clip(np.searchsorted(path[:, 5], at, "right") - 1, 0, len(path) - 2)
    one, two = path[index], path[index + 1]
    share = (at - one[..., 5]) / (two[..., 5] - one[..., 5])
    inside = np.minimum(share, 1.0)
    x, y = (one[..., c] + share * (two[..., c] - one[..., c]) for c in (0, 1))
    z, cos, sin, speed = (one[..., c] + inside * (two[..., c] - one[..., c]) for c in (2, 3, 4, 6))
    way = np.arctan2(two[..., 1] - one[..., 1], two[..., 0] - one[..., 0])
    size = np.hypot(cos, sin)
    return x, y, z, cos / size, sin / size, np.cos(way), np.sin(way), speed


def depth(a: tuple[Array, ...], b: tuple[Array, ...]) -> Array:
    """By how much boxes (x, y, cos, sin, half length, half width) overlap, below 0 if they do not.

    The least overlap of their shadows on the normals of their sides.
    """
    corners = []
    for x, y, cos, sin, long, wide in (a, b):
        u, v = np.array([1.0, 1.0, -1.0, -1.0]), np.array([1.0, -1.0, -1.0, 1.0])
        ahead, left = np.asarray(long)[..., None] * u, np.asarray(wide)[..., None] * v
        c, s = np.asarray(cos)[..., None], np.asarray(sin)[..., None]
        corners.append(
            (
                np.asarray(x)[..., None] + ahead * c - left * s,
                np.asarray(y)[..., None] + ahead * s + left * c,
            )
        )
    least: Array = np.full(np.broadcast_shapes(a[0].shape, b[0].shape), np.inf)
    for _, _, cos, sin, _, _ in (a, b):
        for nx, ny in ((cos, sin), (-np.asarray(sin), cos)):
            shadow = [
                np.asarray(nx)[..., None] * x + np.asarray(ny)[..., None] * y for x, y in corners
            ]
            one, two = ((one.min(-1), one.max(-1)) for one in shadow)
            least = np.minimum(least, np.minimum(one[1], two[1]) - np.maximum(one[0], two[0]))
    return least


def idm(speed: Array, wanted: Array, gap: Array, closing: Array) -> Array:
    """IDM (Treiber et al. 2000); `gap` infinite for nobody; too fast, one slows by 3 m/s^2."""
    root = 2.0 * math.sqrt(ACCELERATION * BRAKING)
    with np.errstate(invalid="ignore"):
        desired = GAP + np.maximum(speed * HEADWAY + speed * closing / root, 0.0)
    ratio = np.where(np.isfinite(gap), desired / np.maximum(gap, 0.05), 0.0)
    share = (speed / np.maximum(wanted, 0.1)) ** 4
    free = ACCELERATION * (1.0 - share)
    free = np.where(speed > wanted + 0.5, np.maximum((wanted - speed) / 0.8, -3.0), free)
    behind = ACCELERATION * (1.0 - share - ratio**2)
    return np.where(np.isfinite(gap), np.minimum(free, behind), free)


def step_on_path(s: Array, speed: Array, wish: Array, gap: Array, dt: float) -> tuple[Array, Array]:
    """Arc length and speed after a step of a constant acceleration, no farther than a gap."""
    wish = np.clip(wish, -8.0, ACCELERATION)
    for _ in range(2):
        after = speed + wish * dt
        stops = after < 0.0
        way = np.where(stops, speed**2 / np.maximum(-2.0 * wish, 1e-12), 0.5 * (speed + after) * dt)
        wish = np.where(way > gap, -(speed**2) / (2.0 * np.maximum(gap, 0.01)), wish)
    return s + way, np.maximum(after, 0.0)
