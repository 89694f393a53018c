"""Elementary functions in single precision, the same bits on every machine.

Polynomials fitted by weighted least squares at Chebyshev nodes. Errors of the functions of angles
are within 1.5 units in the last place of 1, those of the logarithm and the exponential within one
unit in the last place of the result. A library's own functions differ between platforms, cost up to
four times as much and, on a GPU, compute in double precision where an angle is large.

Everything is single precision in plain Python, too, on NumPy's scalars.
"""

from __future__ import annotations

import math

import numpy as np

from selfdrive_env.compiler.njit import inline

__all__ = [
    "angle_of",
    "arctangent",
    "cosine",
    "cosine_within",
    "direction",
    "exponential",
    "logarithm",
    "sine_share",
    "sine_share_within",
]

ZERO = np.float32(0.0)
QUARTER = np.float32(0.25)
HALF = np.float32(0.5)
ONE = np.float32(1.0)
FOUR = np.float32(4.0)
QUARTER_TURN = np.float32(math.pi / 2)
HALF_TURN = np.float32(math.pi)
WHOLE_TURN = np.float32(2.0 * math.pi)
PER_QUARTER_TURN = np.float32(2.0 / math.pi)
TINY = np.float32(1.0e-30)

A1, A2, A3, A4 = (np.float32(v) for v in (-0.33333073, 0.19992619, -0.14203642, 0.10640924))
A5, A6, A7, A8 = (np.float32(v) for v in (-0.07504274, 0.04269128, -0.016068479, 0.002849852))
S1, S2 = np.float32(-0.16666656669), np.float32(0.0083330251387)
S3, S4 = np.float32(-0.00019807418711), np.float32(2.6019030357e-06)
C1, C2, C3 = np.float32(-0.49999999357), np.float32(0.041666636209), np.float32(-0.0013888360843)
C4, C5 = np.float32(2.4760135518e-05), np.float32(-2.6051076365e-07)
L1, L2, L3, L4 = (np.float32(v) for v in (0.33333331, -0.25000823, 0.20001227, -0.16623357))
L5, L6, L7, L8 = (np.float32(v) for v in (0.14201762, -0.13160195, 0.1276155, -0.0763443))
E1, E2, E3 = np.float32(0.49999994), np.float32(0.16666521), np.float32(0.04166839)
E4, E5 = np.float32(0.0083687175), np.float32(0.0013814596)

# Split in two, the first of so few bits that its product with a small whole number is exact.
QUARTER_TURN_HIGH = np.float32(1.5703125)
QUARTER_TURN_LOW = np.float32(math.pi / 2 - 1.5703125)
LOG_2_HIGH = np.float32(0.693359375)
LOG_2_LOW = np.float32(math.log(2.0) - 0.693359375)
PER_LOG_2 = np.float32(1.0 / math.log(2.0))

# Bits of a float32: 8 of exponent, which counts from 127, above 23 of mantissa.
EXPONENT = np.int32(23)
BIAS = np.float32(127.0)
BIAS_AND_HALF = np.float32(127.5)
ROOT_HALF = np.float32(math.sqrt(0.5)).view(np.int32)


@inline
def sine_share_within(angle):
    """Returns sin(angle) / angle for |angle| <= pi / 2."""
    z = angle * angle
    return ONE + z * (S1 + z * S2 + z * z * (S3 + z * S4))


@inline
def cosine_within(angle):
    """Returns cos(angle) for |angle| <= pi / 2."""
    z = angle * angle
    return ONE + z * (C1 + z * C2 + z * z * (C3 + z * C4 + z * z * C5))


@inline
def turned(angle, quarters):
    """Returns cosine and sine of |angle| <= pi / 4 plus a number of quarter turns."""
    cos = cosine_within(angle)
    sin = angle * sine_share_within(angle)
    if quarters & 1 != 0:
        cos, sin = -sin, cos
    if quarters & 2 != 0:
        cos, sin = -cos, -sin
    return cos, sin


@inline
def far_direction(size):
    """Returns the cosine and the sine of an angle in [0, 1000]."""
    quarters = np.int32(size * PER_QUARTER_TURN + HALF)
    count = np.float32(quarters)
    return turned((size - count * QUARTER_TURN_HIGH) - count * QUARTER_TURN_LOW, quarters)


@inline
def sine_share(angle):
    """Returns sin(angle) / angle for |angle| <= 1000, 1 at 0."""
    size = abs(angle)
    if size > QUARTER_TURN:
        _, sin = far_direction(size)
        return sin / size
    return sine_share_within(angle)


@inline
def cosine(angle):
    """Returns cos(angle) for |angle| <= 1000."""
    size = abs(angle)
    if size > QUARTER_TURN:
        cos, _ = far_direction(size)
        return cos
    return cosine_within(angle)


@inline
def direction(turns):
    """Returns the cosine and the sine of an angle in [0, 1], in whole turns."""
    quarters = np.int32(FOUR * turns + HALF)
    return turned(WHOLE_TURN * (turns - QUARTER * np.float32(quarters)), quarters)


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


@inline
def logarithm(value):
    """Returns the natural logarithm of a normal positive number.

    ln(2^k (1 + f)) = k ln 2 + f - f^2 / 2 + f^3 P(f), with 1 + f from sqrt(1/2) to sqrt(2).
    """
    bits = np.float32(value).view(np.int32)
    power = np.int32(np.int32(bits - ROOT_HALF) >> EXPONENT)
    f = np.int32(bits - np.int32(power << EXPONENT)).view(np.float32) - ONE
    z = f * f
    low = L1 + f * L2 + z * (L3 + f * L4)
    high = L5 + f * L6 + z * (L7 + f * L8)
    count = np.float32(power)
    small = f * z * (low + z * z * high) + count * LOG_2_LOW
    return (f + (small - HALF * z)) + count * LOG_2_HIGH


@inline
def exponential(value):
    """Returns e^value for |value| <= 80.

    e^(k ln 2 + r) = 2^k (1 + r + r^2 P(r)), with |r| <= ln(2) / 2.
    """
    power = np.int32(value * PER_LOG_2 + BIAS_AND_HALF)
    count = np.float32(power) - BIAS
    r = (value - count * LOG_2_HIGH) - count * LOG_2_LOW
    z = r * r
    grown = ONE + (r + z * (E1 + r * E2 + z * (E3 + r * E4 + z * E5)))
    return grown * np.int32(power << EXPONENT).view(np.float32)
