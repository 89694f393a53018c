"""The ground below a frame: codes sampled from tiles along its rows, in steps of whole numbers.

Places are counted in texels with 16 bits for their fractions, so that a row of a frame is a
straight walk u += du, v += dv. Both are kept with gaps between their bits, so that the two together
tell a tile and a texel in it without more ado: a carry goes over a gap that is filled with ones.
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
TEXEL_MASK = TILE - 1
FRACTIONS, TEXELS, TEXELS_OF_TILE = (
    np.uint64((1 << bits) - 1) for bits in (FRACTION, TILE_BITS, 2 * TILE_BITS)
)
TEXEL_PLACE, TILE_PLACE = np.uint64(2 * FRACTION), np.uint64(2 * TILE_SHIFT)
"""First bit of the texel and of the tile in a `Weave`."""

MOST_TILES = 1 << (64 - 2 * TILE_SHIFT)
"""Whose numbers fit above it."""


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


class Weave(NamedTuple):
    """How a walk goes on whose places have gaps between their bits.

    From the highest bit: row and column of a tile, row and column of a texel in it, fractions of v
    and of u.
    """

    mask_u: np.uint64
    """Bits of u."""

    mask_v: np.uint64
    du: np.uint64
    """Step of u, with ones in the bits of v."""

    dv: np.uint64


@inline
def woven_u(u, bits):
    """Returns a place to the east with gaps between its bits.

    Args:
        u: The place.
        bits: Of the number of a column of tiles.
    """
    place = np.uint64(np.int64(u))
    column = (place >> np.uint64(TILE_SHIFT)) & np.uint64((np.int64(1) << bits) - 1)
    texel = (place >> np.uint64(FRACTION)) & TEXELS
    return (place & FRACTIONS) | (texel << TEXEL_PLACE) | (column << TILE_PLACE)


@inline
def woven_v(v, bits):
    """Returns a place to the north with gaps between its bits; see `woven_u`."""
    place = np.uint64(np.int64(v))
    row = place >> np.uint64(TILE_SHIFT)
    texel = (place >> np.uint64(FRACTION)) & TEXELS
    return (
        ((place & FRACTIONS) << np.uint64(FRACTION))
        | (texel << (TEXEL_PLACE + np.uint64(TILE_BITS)))
        | (row << (TILE_PLACE + np.uint64(bits)))
    )


@inline
def weave_of(du, dv, bits):
    """Returns how a walk in steps of du, dv goes on where columns of tiles have so many bits."""
    mask_u = woven_u(-1, bits)
    mask_v = ~mask_u
    return Weave(mask_u, mask_v, woven_u(du, bits) | mask_v, woven_v(dv, bits) | mask_u)


@inline
def copy_within(code, place, end, ground, first, weave, u, v):
    """Copies the texels of a row of a frame that does not leave the map.

    Args:
        code: Frame.
        place: Of its first pixel.
        end: Behind its last.
        ground: `Ground` of the pool.
        first: Entry of the map and layer in `tile_at`.
        weave: `Weave` of the row.
        u: First place, as `woven_u` has it.
        v: Likewise.
    """
    table, tile, begin = ground.tile_at, ground.tile, np.uint64(first)
    for entry in range(place, end):
        word = u | v
        number = np.uint64(table[begin + (word >> TILE_PLACE)])
        # Unsigned: no test for negative indices.
        code[np.uint64(entry)] = tile[number, (word >> TEXEL_PLACE) & TEXELS_OF_TILE]
        u = (u + weave.du) & weave.mask_u
        v = (v + weave.dv) & weave.mask_v


@inline
def tile_below(table, u, v, columns, rows, first):
    """Returns the number of the tile of a place, 0 for none."""
    i, j = u >> TILE_SHIFT, v >> TILE_SHIFT
    if i < 0 or j < 0 or i >= columns or j >= rows:
        return np.int64(0)
    return np.int64(table[first + j * columns + i])


@inline
def copy_across(code, place, end, ground, first, columns, rows, u, v, du, dv):
    """Copies the texels of a row of a frame that may lie beside the map; see `copy_within`."""
    for entry in range(place, end):
        number = tile_below(ground.tile_at, u, v, columns, rows, first)
        texel = (((v >> FRACTION) & TEXEL_MASK) << TILE_BITS) | ((u >> FRACTION) & TEXEL_MASK)
        code[np.uint64(entry)] = ground.tile[number, texel]
        u += du
        v += dv


@inline
def bits_of(count):
    """Returns how many bits the numbers below a count have."""
    bits = np.int64(0)
    while (np.int64(1) << bits) < count:
        bits += 1
    return bits


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
    columns, rows = np.int64(ground.shape[map_index, 0]), np.int64(ground.shape[map_index, 1])
    if layer >= ground.shape[map_index, 3]:
        layer = np.int64(0)
    first = np.int64(ground.shape[map_index, 2]) + layer * rows * columns
    east, north = columns << TILE_SHIFT, rows << TILE_SHIFT  # where the map ends
    du, dv = walk.right_u, walk.right_v
    bits = bits_of(columns)
    weave = weave_of(du, dv, bits)
    for row in range(own_row(0), height, warp_size()):
        u, v = walk.u + row * walk.down_u, walk.v + row * walk.down_v
        last_u, last_v = u + (width - 1) * du, v + (width - 1) * dv
        within = min(u, last_u) >= 0 and max(u, last_u) < east
        within = within and min(v, last_v) >= 0 and max(v, last_v) < north
        place, end = row * width, row * width + width
        if within and columns * rows <= MOST_TILES:
            copy_within(code, place, end, ground, first, weave, woven_u(u, bits), woven_v(v, bits))
        else:
            copy_across(code, place, end, ground, first, columns, rows, u, v, du, dv)
