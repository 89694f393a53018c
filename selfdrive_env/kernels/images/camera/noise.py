"""Noise of a camera, drawn by seed: a function of the world, the agent, the step and the pixel.

Philox gives one number a picture, SplitMix64 one a pixel from it (Steele, Lea and Flood, "Fast
Splittable Pseudorandom Number Generators", OOPSLA 2014).
"""

from __future__ import annotations

import numpy as np

from selfdrive_env.compiler.njit import inline, njit
from selfdrive_env.compiler.threads import warp_lane, warp_size
from selfdrive_env.kernels.math.random import DRAW_GRAIN, philox

__all__ = ["add_noise"]

ZERO = np.float32(0.0)
HALF = np.float32(0.5)
FULL = np.float32(255.0)  # the brightest value of a channel
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
FIRST, SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
SHIFT_A, SHIFT_B, SHIFT_C = np.uint64(30), np.uint64(27), np.uint64(31)
THIRTY_TWO, TWENTY_ONE = np.uint64(32), np.uint64(21)
SEVEN, FOURTEEN, SEVEN_BITS = np.uint64(7), np.uint64(14), np.uint64(127)
MEAN = np.float32(190.5)  # of the sum of three numbers of seven bits
PER_SPREAD = np.float32(1.0 / 63.998)  # 1 over its standard deviation
WORD = np.uint32(DRAW_GRAIN * 65536)


@inline
def mixed(state):
    """Returns 64 random bits."""
    state = (state ^ (state >> SHIFT_A)) * FIRST
    state = (state ^ (state >> SHIFT_B)) * SECOND
    return state ^ (state >> SHIFT_C)


@inline
def with_noise(value, bits, noise):
    """Returns a byte with noise, about normal: from the sum of three numbers of seven bits."""
    total = (bits & SEVEN_BITS) + ((bits >> SEVEN) & SEVEN_BITS) + ((bits >> FOURTEEN) & SEVEN_BITS)
    drawn = (np.float32(total) - MEAN) * PER_SPREAD
    return np.uint8(min(max(np.float32(value) + noise * drawn + HALF, ZERO), FULL))


@njit
def add_noise(image, noise, worlds, world, agent):
    """Adds independent noise to all channels of a picture.

    Args:
        image: [3 H W].
        noise: Standard deviation, of 255.
        worlds: Their random numbers.
        world: Which.
        agent: Whose camera.
    """
    a, b, _, _ = philox(
        np.uint32(agent + 1), worlds.stream[world], worlds.tick[world], WORD,
        worlds.key[world, 0], worlds.key[world, 1],
    )  # fmt: skip
    start = (np.uint64(a) << THIRTY_TWO) | np.uint64(b)
    for pixel in range(warp_lane(), image.shape[0] // 3, warp_size()):
        bits = mixed(start + np.uint64(pixel) * GOLDEN)
        for channel in range(3 * pixel, 3 * pixel + 3):
            image[channel] = with_noise(image[channel], bits, noise)
            bits = bits >> TWENTY_ONE
