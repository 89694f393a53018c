"""Counter-based random numbers: Philox4x32-10.

Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011. A number is a function of
(seed, world, agent, tick, purpose): nothing is stored, and the result does not depend on threads,
on how a batch is split or on the device.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from selfdrive_env.compiler.njit import njit
from selfdrive_env.kernels.math.elementary import direction, logarithm

__all__ = ["Source", "normal_pair", "philox", "radical_inverse", "uniform", "uniforms"]

M0 = np.uint64(0xD2511F53)
M1 = np.uint64(0xCD9E8D57)
W0 = np.uint32(0x9E3779B9)
W1 = np.uint32(0xBB67AE85)
LOW = np.uint64(0xFFFFFFFF)
SHIFT = np.uint64(32)
EIGHT = np.uint32(8)
TO_UNIT = np.float32(2.0**-24)
TINY = np.float32(2.0**-25)
MINUS_TWO = np.float32(-2.0)
ZERO = np.float32(0.0)
HALF = np.float32(0.5)

# Purposes: the high bits of the fourth counter word. The low 16 bits count draws.
(
    DRAW_WORLD,
    DRAW_LIGHTS,
    DRAW_PLACE,
    DRAW_BODY,
    DRAW_WEIGHTS,
    DRAW_GOALS,
    DRAW_ERRATIC,
    DRAW_NOISE,
    DRAW_DROPOUT,
    DRAW_ROUTE,
    DRAW_STANDING,
    DRAW_WEATHER,
    DRAW_PAINT,
    DRAW_GRAIN,
) = range(14)


class Source(NamedTuple):
    """Where the random numbers of a world come from at a tick."""

    key0: np.uint32
    """Low half of the seed."""

    key1: np.uint32
    """High half of the seed."""

    stream: np.uint32
    """Number of the world."""

    tick: np.uint32
    """Steps since the seed was set."""


@njit
def philox(c0, c1, c2, c3, k0, k1):
    """Returns four random 32-bit words of counter (c0 .. c3) under key (k0, k1)."""
    for _ in range(10):
        p0 = M0 * np.uint64(c0)
        p1 = M1 * np.uint64(c2)
        high0 = np.uint32(p0 >> SHIFT)
        low0 = np.uint32(p0 & LOW)
        high1 = np.uint32(p1 >> SHIFT)
        low1 = np.uint32(p1 & LOW)
        c0, c1, c2, c3 = (
            np.uint32(high1 ^ c1 ^ k0),
            low1,
            np.uint32(high0 ^ c3 ^ k1),
            low0,
        )
        k0 = np.uint32(k0 + W0)
        k1 = np.uint32(k1 + W1)
    return c0, c1, c2, c3


@njit
def uniforms(key0, key1, stream, agent, tick, purpose, draw):
    """Returns four numbers uniform in [0, 1).

    Args:
        key0: Low half of the seed.
        key1: High half of the seed.
        stream: Number of the world.
        agent: Slot, or -1 for the world itself.
        tick: Steps since the seed was set.
        purpose: One of `DRAW_*`.
        draw: Which draw of that purpose, below 65,536.
    """
    word = np.uint32(purpose) * np.uint32(65536) + np.uint32(draw)
    a, b, c, d = philox(
        np.uint32(agent + 1), np.uint32(stream), np.uint32(tick), np.uint32(word), key0, key1
    )
    return (
        np.float32(a >> EIGHT) * TO_UNIT,
        np.float32(b >> EIGHT) * TO_UNIT,
        np.float32(c >> EIGHT) * TO_UNIT,
        np.float32(d >> EIGHT) * TO_UNIT,
    )


@njit
def uniform(low, high, unit):
    """Maps a number in [0, 1) to [low, high)."""
    return low + (high - low) * unit


@njit
def normal_pair(unit_a, unit_b):
    """Returns two independent standard normal numbers from two uniform ones (Box-Muller)."""
    radius = np.float32(math.sqrt(MINUS_TWO * logarithm(unit_a + TINY)))
    cos, sin = direction(unit_b)
    return radius * cos, radius * sin


@njit
def radical_inverse(number):
    """Returns the van der Corput number in base 2: 0, 1/2, 1/4, 3/4, 1/8, ..."""
    value = np.uint64(number)
    result = ZERO
    share = HALF
    for _ in range(24):
        if value & np.uint64(1):
            result += share
        value >>= np.uint64(1)
        share *= HALF
    return result
