"""Elementary functions in single precision, the same bits on every machine.

Polynomials fitted by weighted least squares at Chebyshev nodes; errors are within 1.5 units in the
last place of 1. A library's own functions differ between platforms and cost two to four times as
much.
"""

from __future__ import annotations

import math

import numpy as np

from selfdrive_env.kernels.compiling import inline

__all__ = ["angle_of", "arctangent", "cosine", "sine_share"]

ZERO = np.float32(0.0)
ONE = np.float32(1.0)
QUARTER_TURN = np.float32(math.pi / 2)
HALF_TURN = np.float32(math.pi)
TINY = np.float32(1.0e-30)

A1, A2, A3, A4 = (np.float32(v) for v in (-0.33333073, 0.19992619, -0.14203642, 0.10640924))
A5, A6, A7, A8 = (np.float32(v) for v in (-0.07504274, 0.04269128, -0.016068479, 0.002849852))
S1, S2 = np.float32(-0.16666656669), np.float32(0.0083330251387)
S3, S4 = np.float32(-0.00019807418711), np.float32(2.6019030357e-06)
C1, C2, C3 = np.float32(-0.49999999357), np.float32(0.041666636209), np.float32(-0.0013888360843)
C4, C5 = np.float32(2.4760135518e-05), np.float32(-2.6051076365e-07)


@inline
def sine_share(angle):
    """Returns sin(angle) / angle, 1 at 0."""
    if abs(angle) > QUARTER_TURN:
        return math.sin(angle) / angle
    z = angle * angle
    return ONE + z * (S1 + z * S2 + z * z * (S3 + z * S4))


@inline
def cosine(angle):
    """Returns cos(angle)."""
    if abs(angle) > QUARTER_TURN:
        return math.cos(angle)
    z = angle * angle
    return ONE + z * (C1 + z * C2 + z * z * (C3 + z * C4 + z * z * C5))


@inline
def arctangent_within(ratio):
    """Returns atan(ratio) for |ratio| <= 1."""
    z = ratio * ratio
    square = z * z
    low = A1 + z * A2 + square * (A3 + z * A4)
    high = A5 + z * A6 + square * (A7 + z * A8)
    return ratio * (ONE + z * (low + square * square * high))


@inline
def arctangent(value):
    """Returns atan(value)."""
    size = abs(value)
    inner = arctangent_within(ONE / size if size > ONE else size)
    angle = QUARTER_TURN - inner if size > ONE else inner
    return angle if value >= ZERO else -angle


@inline
def angle_of(cos, sin):
    """Returns the angle in [-pi, pi] of the direction (cos, sin), of any length."""
    along = abs(cos)
    across = abs(sin)
    inner = arctangent_within(min(along, across) / max(max(along, across), TINY))
    angle = inner if across <= along else QUARTER_TURN - inner
    angle = angle if cos >= ZERO else HALF_TURN - angle
    return angle if sin >= ZERO else -angle
