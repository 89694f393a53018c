"""How quantities are brought into [-1, 1], and how they are turned into the frame of an agent.

What takes one number takes several as well (`compiler.simd`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from selfdrive_env.compiler.njit import inline
from selfdrive_env.compiler.simd import least, most
from selfdrive_env.config.observation import scale_of
from selfdrive_env.kernels.math.geometry import ONE, squash

__all__ = ["UNIT", "Eye", "balanced", "clipped", "half_balanced", "jerk_part", "length_part",
    "offset_of", "pace_part", "per_size_of", "size_of", "turned",
    "width_part"]  # fmt: skip

UNIT = np.float32(0.999999)
"""Factor of cosines and sines: what rounding adds to them must not lead out of [-1, 1]."""

TWO = np.float32(2.0)
HALF, THREE_HALVES = np.float32(0.5), np.float32(1.5)


class Eye(NamedTuple):
    """The box of the agent that observes."""

    x: np.float32
    """Of its centre, east [m]."""

    y: np.float32
    cos: np.float32
    """Heading."""

    sin: np.float32


def size_of(group: str, name: str) -> np.float32:
    """Returns the size of the scale of a column, in its unit."""
    return np.float32(scale_of(group, name).size)


def per_size_of(group: str, name: str) -> np.float32:
    """Returns 1 over the size of the scale of a column."""
    return np.float32(1.0 / scale_of(group, name).size)


def offset_of(group: str, name: str) -> np.float32:
    """Returns the offset of the scale of a column."""
    return np.float32(scale_of(group, name).offset)


PER_LENGTH, LENGTH_OFFSET = per_size_of("ego", "length"), offset_of("ego", "length")
PER_WIDTH, WIDTH_OFFSET = per_size_of("ego", "width"), offset_of("ego", "width")
PER_JERK, PER_PACE = per_size_of("ego", "jerk_scale"), per_size_of("ego", "speed_scale")
"""Of coefficients without a unit."""


@inline
def turned(dx, dy, eye):
    """Returns a vector in the frame of an agent: ahead and to its left."""
    return dx * eye.cos + dy * eye.sin, dy * eye.cos - dx * eye.sin


@inline
def balanced(value, size):
    """Returns 2 value / (size + value) - 1 of what is not negative, otherwise at least -1."""
    return most(TWO * squash(value, size) - ONE, -ONE)


@inline
def half_balanced(value, size):
    """Returns 1.5 value / (size + |value|) - 0.5, at least -1."""
    return most(THREE_HALVES * squash(value, size) - HALF, -ONE)


@inline
def clipped(value, per_size):
    """Returns value times `per_size`, at most 1 in either direction."""
    return most(least(value * per_size, ONE), -ONE)


@inline
def jerk_part(scale):
    """Returns what rows hold of the coefficient of a jerk."""
    return clipped(scale - ONE, PER_JERK)


@inline
def pace_part(scale):
    """Returns what rows hold of the coefficient of the acceleration or of the speed."""
    return clipped(scale - ONE, PER_PACE)


@inline
def length_part(length):
    """Returns what rows hold of a body's length."""
    return clipped(length - LENGTH_OFFSET, PER_LENGTH)


@inline
def width_part(width):
    """Returns what rows hold of a body's width."""
    return clipped(width - WIDTH_OFFSET, PER_WIDTH)
