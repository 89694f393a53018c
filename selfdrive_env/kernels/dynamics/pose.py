"""Where a body is and how fast: what the models of `kernels.dynamics` move, and arcs between.

All of it is of the middle of the body's box, as recorded tracks have it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from selfdrive_env.compiler.njit import njit
from selfdrive_env.kernels.math.elementary import angle_of, cosine, sine_share
from selfdrive_env.kernels.math.geometry import HALF, ONE, THREE_HALVES, ZERO

__all__ = ["Arc", "Limits", "Pose", "arc_between", "turn_between", "turned"]

SHORT = np.float32(1.0e-4)
"""Length of an arc on which a body turns on the spot [m], and the sine of its slip: what has none
at all is taken for a body on its wheels."""


class Pose(NamedTuple):
    """A body at one moment."""

    x: np.float32
    """East [m]."""

    y: np.float32
    """North [m]."""

    cos: np.float32
    """Heading."""

    sin: np.float32
    speed: np.float32
    """Size of the velocity, negative where it points against the heading [m/s]."""


class Limits(NamedTuple):
    """What a world allows a body."""

    least: np.float32
    """Speed; below 0 the body may reverse [m/s]."""

    most: np.float32
    """Speed of a body that accelerations move [m/s]."""

    reach: np.float32
    """Displacement along either axis of a body that is put somewhere [m]."""


class Arc(NamedTuple):
    """How a body moves from one pose to another at a constant rate of turn."""

    travel: np.float32
    """Arc length, negative in reverse [m]."""

    curvature: np.float32
    """Positive to the left [1/m]."""

    slip_cos: np.float32
    """Angle from the heading to the way, the same all along; its cosine is not negative."""

    slip_sin: np.float32


@njit
def turned(cos, sin, angle):
    """Returns the direction (cos, sin) turned to the left by an angle, |angle| <= 1000 rad."""
    if angle == ZERO:
        return cos, sin
    c = cosine(angle)
    s = sine_share(angle) * angle
    new_cos = cos * c - sin * s
    new_sin = sin * c + cos * s
    norm = THREE_HALVES - HALF * (new_cos * new_cos + new_sin * new_sin)
    return new_cos * norm, new_sin * norm


@njit
def turn_between(cos, sin, new_cos, new_sin):
    """Returns the angle from one heading to another, in [-pi, pi], positive left [rad]."""
    if cos == new_cos and sin == new_sin:
        return ZERO
    return angle_of(cos * new_cos + sin * new_sin, cos * new_sin - sin * new_cos)


@njit
def arc_between(dx, dy, cos, sin, new_cos, new_sin):
    """Returns the `Arc` that carries a point of a body by (dx, dy) while the body turns.

    The chord of an arc points into the direction half way between those at its ends, and is
    sin(turn / 2) / (turn / 2) of its length.

    Args:
        dx: Displacement of the point, east [m].
        dy: North [m].
        cos: Heading before.
        sin: Heading before.
        new_cos: Heading after.
        new_sin: Heading after.
    """
    turn = turn_between(cos, sin, new_cos, new_sin)
    chord = math.sqrt(dx * dx + dy * dy)
    if chord < SHORT:
        if turn == ZERO and chord == ZERO:
            return Arc(ZERO, ZERO, ONE, ZERO)
        return Arc(SHORT, turn / SHORT, ONE, SHORT)
    half_cos, half_sin = turned(cos, sin, HALF * turn)
    ahead = (dx * half_cos + dy * half_sin) / chord
    aside = (dy * half_cos - dx * half_sin) / chord
    sense = ONE if ahead >= ZERO else -ONE
    travel = sense * chord / sine_share(HALF * turn)
    return Arc(travel, turn / travel, sense * ahead, sense * aside)
