"""Plane geometry on scalars: arcs, boxes, segments. All single precision."""

from __future__ import annotations

import numpy as np

from selfdrive_env.compiler.njit import inline, njit
from selfdrive_env.kernels.math.elementary import cosine, sine_share

__all__ = [
    "along_arc",
    "box_cuts_edge",
    "boxes_gap",
    "boxes_overlap",
    "clamp",
    "closest_approach",
    "segments_cross",
    "squash",
]

ZERO = np.float32(0.0)
ONE = np.float32(1.0)
HALF = np.float32(0.5)
THREE_HALVES = np.float32(1.5)
TWO = np.float32(2.0)


@njit
def clamp(value, low, high):
    """Returns `value` held between `low` and `high`."""
    return min(max(value, low), high)


@inline
def squash(value, scale):
    """Maps a length, or several, to (-1, 1), finer near 0: value / (scale + |value|)."""
    return value / (scale + abs(value))


@njit
def along_arc(x, y, cos, sin, travel, curvature):
    """Moves a pose along a circular arc.

    dx = ds sinc(dtheta), dy = ds sinc(dtheta / 2) sin(dtheta / 2) in the frame of the old heading.

    Args:
        x: [m]
        y: [m]
        cos: Heading.
        sin: Heading.
        travel: Arc length ds, negative backwards [m].
        curvature: Positive to the left [1/m].

    Returns:
        x, y, cos, sin at the end of the arc.
    """
    turn = travel * curvature
    half = HALF * turn
    share = sine_share(half)
    half_sin = share * half
    half_cos = cosine(half)
    forward = travel * share * half_cos
    sideways = travel * share * half_sin
    c = ONE - TWO * half_sin * half_sin
    s = TWO * half_sin * half_cos
    new_cos = cos * c - sin * s
    new_sin = sin * c + cos * s
    norm = THREE_HALVES - HALF * (new_cos * new_cos + new_sin * new_sin)
    return (
        x + forward * cos - sideways * sin,
        y + forward * sin + sideways * cos,
        new_cos * norm,
        new_sin * norm,
    )


@njit
def boxes_overlap(dx, dy, cos_a, sin_a, long_a, wide_a, cos_b, sin_b, long_b, wide_b):
    """Whether two oriented boxes overlap (separating axes).

    Args:
        dx: Centre of b minus centre of a [m].
        dy: Likewise [m].
        cos_a: Heading of a.
        sin_a: Heading of a.
        long_a: Half length of a [m].
        wide_a: Half width of a [m].
        cos_b: Heading of b.
        sin_b: Heading of b.
        long_b: Half length of b [m].
        wide_b: Half width of b [m].
    """
    c = abs(cos_a * cos_b + sin_a * sin_b)
    s = abs(cos_a * sin_b - sin_a * cos_b)
    if abs(dx * cos_a + dy * sin_a) > long_a + long_b * c + wide_b * s:
        return False
    if abs(dy * cos_a - dx * sin_a) > wide_a + long_b * s + wide_b * c:
        return False
    if abs(dx * cos_b + dy * sin_b) > long_b + long_a * c + wide_a * s:
        return False
    return abs(dy * cos_b - dx * sin_b) <= wide_b + long_a * s + wide_a * c


@njit
def boxes_gap(dx, dy, cos_a, sin_a, long_a, wide_a, cos_b, sin_b, long_b, wide_b):
    """Returns the largest gap of two oriented boxes along a side's normal [m].

    Negative where they overlap; else no more than their distance.

    Args:
        dx: Centre of b minus centre of a [m].
        dy: Likewise [m].
        cos_a: Heading of a.
        sin_a: Heading of a.
        long_a: Half length of a [m].
        wide_a: Half width of a [m].
        cos_b: Heading of b.
        sin_b: Heading of b.
        long_b: Half length of b [m].
        wide_b: Half width of b [m].
    """
    c = abs(cos_a * cos_b + sin_a * sin_b)
    s = abs(cos_a * sin_b - sin_a * cos_b)
    along_a = abs(dx * cos_a + dy * sin_a) - (long_a + long_b * c + wide_b * s)
    aside_a = abs(dy * cos_a - dx * sin_a) - (wide_a + long_b * s + wide_b * c)
    along_b = abs(dx * cos_b + dy * sin_b) - (long_b + long_a * c + wide_a * s)
    aside_b = abs(dy * cos_b - dx * sin_b) - (wide_b + long_a * s + wide_a * c)
    return max(max(along_a, aside_a), max(along_b, aside_b))


@njit
def box_cuts_edge(u0, v0, u1, v1, half_length, half_width):
    """Whether the segment (u0, v0)-(u1, v1), given in the box's frame, meets the box."""
    if max(u0, u1) < -half_length or min(u0, u1) > half_length:
        return False
    if max(v0, v1) < -half_width or min(v0, v1) > half_width:
        return False
    normal_u = v0 - v1
    normal_v = u1 - u0
    middle = HALF * ((u0 + u1) * normal_u + (v0 + v1) * normal_v)
    return abs(middle) <= half_length * abs(normal_u) + half_width * abs(normal_v)


@njit
def segments_cross(ax, ay, bx, by, cx, cy, dx, dy):
    """Whether the segments a-b and c-d cross."""
    abx = bx - ax
    aby = by - ay
    cdx = dx - cx
    cdy = dy - cy
    side_c = abx * (cy - ay) - aby * (cx - ax)
    side_d = abx * (dy - ay) - aby * (dx - ax)
    side_a = cdx * (ay - cy) - cdy * (ax - cx)
    side_b = cdx * (by - cy) - cdy * (bx - cx)
    return ((side_c >= ZERO) != (side_d >= ZERO)) & ((side_a >= ZERO) != (side_b >= ZERO))


@njit
def closest_approach(x0, y0, x1, y1, x, y):
    """Returns the squared distance of (x, y) from the segment (x0, y0)-(x1, y1) [m^2]."""
    dx = x1 - x0
    dy = y1 - y0
    along = (x - x0) * dx + (y - y0) * dy
    length = dx * dx + dy * dy
    share = clamp(along / length, ZERO, ONE) if length > ZERO else ZERO
    rx = x0 + share * dx - x
    ry = y0 + share * dy - y
    return rx * rx + ry * ry
