"""Boxes and discs painted into a frame: a code for each pixel whose centre they cover.

Rows of a frame are shared out among the lanes of a warp, each row to one lane: what is painted
later lies over what was there, whatever the number of lanes. Places are in pixels: x to the right,
y down, whole numbers in the centres of pixels.
"""

from __future__ import annotations

import math

import numpy as np

from selfdrive_env.compiler.njit import inline, njit
from selfdrive_env.compiler.threads import warp_lane, warp_size
from selfdrive_env.kernels.math.geometry import ONE, ZERO

__all__ = ["fill_box", "fill_disc", "own_row"]

STEEP = np.float32(1.0e-4)  # no direction is nearer to that of a row or a column


@inline
def own_row(first):
    """Returns the first row from `first` on that this lane paints; its next is a warp further."""
    size = warp_size()
    return first + (warp_lane() - first % size + size) % size


@inline
def apart(value):
    """Returns a component of a direction, never 0."""
    if value < ZERO:
        return min(value, -STEEP)
    return max(value, STEEP)


@inline
def fill_span(code, row, low, high, width, value):
    """Paints the pixels of a row whose centres lie from `low` to `high`."""
    if high < ZERO or low > np.float32(width):
        return
    low = max(low, ZERO)
    first = np.int64(low)
    if np.float32(first) < low:
        first += 1
    last = np.int64(min(high, np.float32(width - 1)))
    base = row * width
    for place in range(base + first, base + last + 1):
        code[np.uint64(place)] = value


@njit
def fill_box(code, width, height, x, y, along_x, along_y, half_length, half_width, value):
    """Paints a box.

    Args:
        code: Frame, [height * width].
        width: Of the frame [pixels].
        height: Of the frame [pixels].
        x: Centre of the box [pixels].
        y: Centre of the box [pixels].
        along_x: Direction of its length.
        along_y: Direction of its length.
        half_length: [pixels]
        half_width: [pixels]
        value: Code to paint.
    """
    reach_x = abs(along_x) * half_length + abs(along_y) * half_width
    reach_y = abs(along_y) * half_length + abs(along_x) * half_width
    top, bottom = y - reach_y, y + reach_y
    if x + reach_x < ZERO or x - reach_x > np.float32(width):
        return
    if bottom < ZERO or top > np.float32(height):
        return
    top = max(top, ZERO)
    first = np.int64(top)
    if np.float32(first) < top:
        first += 1
    last = np.int64(min(bottom, np.float32(height - 1)))
    per_x, per_y = ONE / apart(along_x), ONE / apart(along_y)
    long, wide = half_length * abs(per_x), half_width * abs(per_y)
    to_long, to_wide = -along_y * per_x, along_x * per_y
    for row in range(own_row(first), last + 1, warp_size()):
        down = np.float32(row) - y
        a, b = down * to_long, down * to_wide
        low, high = max(a - long, b - wide), min(a + long, b + wide)
        fill_span(code, row, x + low, x + high, width, value)


@njit
def fill_disc(code, width, height, x, y, radius, value):
    """Paints a disc; see `fill_box`.

    Args:
        code: Frame.
        width: Of the frame [pixels].
        height: Of the frame [pixels].
        x: Its centre [pixels].
        y: Its centre [pixels].
        radius: [pixels]
        value: Code to paint.
    """
    if x + radius < ZERO or x - radius > np.float32(width):
        return
    if y + radius < ZERO or y - radius > np.float32(height):
        return
    first = np.int64(max(y - radius, ZERO))
    last = np.int64(min(y + radius, np.float32(height - 1)))
    for row in range(own_row(first), last + 1, warp_size()):
        down = np.float32(row) - y
        square = radius * radius - down * down
        if square >= ZERO:
            half = np.float32(math.sqrt(square))
            fill_span(code, row, x - half, x + half, width, value)
