"""Codes of the ground below a frame, against a plain loop over its pixels in NumPy."""

from __future__ import annotations

import math

import numpy as np

from selfdrive_env.compiler.njit import host
from selfdrive_env.kernels.images import tiles
from selfdrive_env.state.images import TILE, Ground

COLUMNS, ROWS, LAYERS, FIRST = 4, 3, 2, 5
"""Of the second of two maps; entries of the first come before it."""


@host
def sample(code, width, height, ground, walk, map_index, layer):  # type: ignore[no-untyped-def]
    tiles.sample_ground(code, width, height, ground, walk, map_index, layer)


def drawn(generator: np.random.Generator) -> Ground:
    count = COLUMNS * ROWS * LAYERS
    tile = generator.integers(1, 99, (count + 1, TILE * TILE)).astype(np.uint8)
    tile[0] = 0
    numbers = generator.permutation(count + 1)[:count]
    return Ground(
        texel=np.array([1.0, 0.25], np.float32),
        origin=np.array([(0.0, 0.0), (-30.0, 12.5)], np.float32),
        shape=np.array([(0, 0, 0, 0), (COLUMNS, ROWS, FIRST, LAYERS)], np.int32),
        tile_at=np.concatenate([np.zeros(FIRST), numbers]).astype(np.int32),
        tile=tile,
    )


def wanted(ground: Ground, width: int, height: int, walk: tiles.Walk, layer: int) -> np.ndarray:
    layer = layer if layer < LAYERS else 0
    found = np.zeros((height, width), np.uint8)
    for row in range(height):
        for column in range(width):
            u = walk.u + column * walk.right_u + row * walk.down_u
            v = walk.v + column * walk.right_v + row * walk.down_v
            i, j = u // 65536, v // 65536
            if 0 <= i < COLUMNS * TILE and 0 <= j < ROWS * TILE:
                entry = FIRST + (layer * ROWS + j // TILE) * COLUMNS + i // TILE
                texel = j % TILE * TILE + i % TILE
                found[row, column] = ground.tile[ground.tile_at[entry], texel]
    return found


def test_codes_are_those_of_the_texels_below() -> None:
    generator = np.random.default_rng(0)
    ground, width, height = drawn(generator), 84, 40
    within = 0
    for turn in [*np.linspace(0.0, 2.0 * math.pi, 9), *generator.uniform(0.0, 6.3, 30)]:
        cos, sin = 3.0 * 65536.0 * math.cos(turn), 3.0 * 65536.0 * math.sin(turn)
        u = int(generator.uniform(-100, (COLUMNS * TILE + 100)) * 65536)
        v = int(generator.uniform(-100, (ROWS * TILE + 100)) * 65536)
        walk = tiles.Walk(u, v, round(cos), round(sin), round(sin), round(-cos))
        code, layer = np.zeros(width * height, np.uint8), int(generator.integers(0, 3))
        sample(code, width, height, ground, walk, 1, layer)
        found = code.reshape(height, width)
        np.testing.assert_array_equal(found, wanted(ground, width, height, walk, layer))
        within += (found > 0).all(1).sum()
    assert within > 100  # rows


def test_maps_that_are_not_baked_are_empty() -> None:
    ground = drawn(np.random.default_rng(1))
    code = np.full(100, 7, np.uint8)
    sample(code, 10, 10, ground, tiles.Walk(0, 0, 65536, 0, 0, 65536), 0, 0)
    assert not code.any()
