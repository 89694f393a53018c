"""The ground below a frame: codes sampled from tiles along its rows, in steps of whole numbers.

Places are counted in texels with 16 bits for their fractions, so that a row of a frame is a
straight walk u += du, v += dv; what it meets does not depend on how the walk is cut into pieces.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from selfdrive_env.compiler.njit import inline, njit
from selfdrive_env.compiler.threads import warp_size
from selfdrive_env.kernels.images.shapes import own_row
from selfdrive_env.kernels.math.geometry import HALF, ONE, ZERO
from selfdrive_env.state.images import TILE

__all__ = ["Walk", "sample_ground", "walk_of"]

FRACTION = 16
UNIT = np.float32(1 << FRACTION)  # of a texel
TILE_BITS = TILE.bit_length() - 1
TILE_SHIFT = FRACTION + TILE_BITS
TILE_SIZE = 1 << TILE_SHIFT
TILE_MASK, TEXEL_MASK, ROW_MASK = TILE_SIZE - 1, TILE - 1, (TILE - 1) << TILE_BITS
V_PLACE = 32
"""First bit of the place to the north in a word of both places."""

V_TEXEL = V_PLACE + FRACTION - TILE_BITS
"""Of which this bit becomes the first of the row of a texel."""

NEVER = np.float32(1.0e6)  # steps of a walk that stands still


class Walk(NamedTuple):
    """How the pixels of a frame lie on the texels of a map, in 1 / 65536 texels."""

    u: int
    """First pixel, the upper left: to the east."""

    v: int
    """To the north."""

    right_u: int
    """From one pixel of a row to the next."""

    right_v: int
    down_u: int
    """From one row to the next."""

    down_v: int


@inline
def fixed(value):
    """Returns a number as the nearest multiple of 1 / 65536."""
    scaled = value * UNIT
    return np.int64(scaled + HALF) if scaled >= ZERO else -np.int64(HALF - scaled)


@inline
def walk_of(ground, lens, map_index, x, y, up_x, up_y):
    """Returns the walk of a frame.

    Args:
        ground: `Ground` of the pool.
        lens: `Lens` of the view.
        map_index: Of the world.
        x: Middle of the frame, east [m].
        y: North [m].
        up_x: Direction that is up in the frame.
        up_y: Direction that is up in the frame.
    """
    per_texel = ONE / ground.texel[map_index]
    step = np.float32(lens.pixel) * per_texel
    right_u, right_v = fixed(up_y * step), fixed(-up_x * step)
    down_u, down_v = fixed(-up_x * step), fixed(-up_y * step)
    u = fixed((x - ground.origin[map_index, 0]) * per_texel)
    v = fixed((y - ground.origin[map_index, 1]) * per_texel)
    right, down = np.int64(lens.width) - 1, np.int64(lens.height) - 1
    return Walk(
        u - ((right * right_u + down * down_u) >> 1), v - ((right * right_v + down * down_v) >> 1),
        right_u, right_v, down_u, down_v,
    )  # fmt: skip


@inline
def pace(step):
    """Returns how many steps, at most, go into one 65536th of a texel."""
    size = abs(step)
    return ONE / np.float32(size) if size > 0 else NEVER


@inline
def steps_within(place, step, per_step):
    """Returns how many points of a walk lie in the tile of the first, all of them counted.

    Args:
        place: Of the first.
        step: To the next.
        per_step: `pace` of it.
    """
    inside = place & TILE_MASK
    room = TILE_SIZE - inside if step >= 0 else inside
    count = np.int64(np.float32(room) * per_step) + 1
    last = inside + (count - 1) * step
    if last >= TILE_SIZE or last < 0:  # the quotient was rounded
        count -= 1
    return count


@inline
def tile_below(table, u, v, columns, rows, first):
    """Returns the number of the tile of a place, 0 for none."""
    i, j = u >> TILE_SHIFT, v >> TILE_SHIFT
    if i < 0 or j < 0 or i >= columns or j >= rows:
        return np.int64(0)
    return np.int64(table[first + j * columns + i])


@inline
def copy_texels(code, place, texels, u, v, du, dv, count):
    """Copies the texels of a walk in one tile.

    Both places go in one word, v above u: within a tile neither is below 0, so that no carry comes
    from one to the other.
    """
    word = ((v & TILE_MASK) << V_PLACE) + (u & TILE_MASK)
    step = (dv << V_PLACE) + du
    for entry in range(place, place + count):
        texel = ((word >> V_TEXEL) & ROW_MASK) | ((word >> FRACTION) & TEXEL_MASK)
        # Unsigned: no test for negative indices.
        code[np.uint64(entry)] = texels[np.uint64(texel)]
        word += step


@njit
def sample_ground(code, width, height, ground, walk, map_index, layer):
    """Writes the ground of a frame.

    Args:
        code: The frame, [height * width].
        width: [pixels]
        height: [pixels]
        ground: `Ground` of the pool.
        walk: `Walk` of the frame.
        map_index: Of the world.
        layer: Surface of the map that lies over the others.
    """
    table, tile = ground.tile_at, ground.tile
    columns, rows = np.int64(ground.shape[map_index, 0]), np.int64(ground.shape[map_index, 1])
    if layer >= ground.shape[map_index, 3]:
        layer = np.int64(0)
    first = np.int64(ground.shape[map_index, 2]) + layer * rows * columns
    du, dv = walk.right_u, walk.right_v
    pace_u, pace_v = pace(du), pace(dv)
    for row in range(own_row(0), height, warp_size()):
        u, v = walk.u + row * walk.down_u, walk.v + row * walk.down_v
        place, end = row * width, row * width + width
        while place < end:
            count = min(steps_within(u, du, pace_u), steps_within(v, dv, pace_v))
            count = min(count, end - place)
            number = tile_below(table, u, v, columns, rows, first)
            copy_texels(code, place, tile[number], u, v, du, dv, count)
            place += count
            u += count * du
            v += count * dv
