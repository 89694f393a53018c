"""Noise of a camera's pixels, drawn by seed: a function of the world, the agent and the step."""

from __future__ import annotations

import numpy as np

from selfdrive_env.compiler.njit import inline, njit
from selfdrive_env.compiler.threads import warp_lane, warp_size
from selfdrive_env.kernels.math.random import DRAW_GRAIN, philox

__all__ = ["add_noise"]

ZERO = np.float32(0.0)
HALF = np.float32(0.5)
FULL = np.float32(255.0)
BYTE = np.uint32(255)
EIGHT, SIXTEEN, TWENTY_FOUR = np.uint32(8), np.uint32(16), np.uint32(24)
MEAN = np.float32(510.0)  # of the sum of four bytes
PER_SPREAD = np.float32(1.0 / 147.8)  # 1 over its standard deviation
WORD = np.uint32(DRAW_GRAIN * 65536)


@inline
def with_noise(value, bits, noise):
    """Returns a byte with noise, about normal: from the sum of the bytes of a random word."""
    total = np.int64(bits & BYTE) + np.int64((bits >> EIGHT) & BYTE)
    total += np.int64((bits >> SIXTEEN) & BYTE) + np.int64(bits >> TWENTY_FOUR)
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
    key0, key1 = worlds.key[world, 0], worlds.key[world, 1]
    stream, tick = worlds.stream[world], worlds.tick[world]
    first = (np.int64(agent) + 1) << 24
    for pixel in range(warp_lane(), image.shape[0] // 3, warp_size()):
        a, b, c, _ = philox(np.uint32(first + pixel), stream, tick, WORD, key0, key1)
        image[3 * pixel] = with_noise(image[3 * pixel], a, noise)
        image[3 * pixel + 1] = with_noise(image[3 * pixel + 1], b, noise)
        image[3 * pixel + 2] = with_noise(image[3 * pixel + 2], c, noise)
