"""The arrays that cameras draw from: the ground of all maps of a pool, and the shapes of bodies."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from selfdrive_env.images.scenery.bridges import Quads, bridge_quads, deck_segments, ground_heights
from selfdrive_env.images.scenery.texels import Baked, bake_ground
from selfdrive_env.images.scenery.materials import code_classes, code_colours
from selfdrive_env.images.scenery.shapes import make_shapes
from selfdrive_env.maps.compile.compiled_map import CompiledMap
from selfdrive_env.state.arrays import F32
from selfdrive_env.state.scenery import (
    BLOCK_ENTRY,
    BLOCKS_X,
    BLOCKS_Y,
    FLAT,
    LAYOUT_COLUMNS,
    NODE_ENTRY,
    NODES_X,
    NODES_Y,
    TEXTURE_LEVELS,
    TILE_ENTRY,
    TILES_X,
    TILES_Y,
    Scenery,
)

__all__ = ["MapScenery", "make_scenery", "scenery_of"]

SHARED = 2
"""Tiles that all maps share."""


class MapScenery(NamedTuple):
    """What stands still on one map."""

    origin: F32
    ground: Baked
    height: F32
    level: float
    is_flat: bool
    quads: Quads


@functools.lru_cache(maxsize=64)
def _baked(digest: str, one: _ByDigest) -> MapScenery:
    deck = deck_segments(one.map)
    height, level, is_flat = ground_heights(one.map, deck)
    return MapScenery(
        origin=one.map.grid.origin[0],
        ground=bake_ground(one.map, deck),
        height=height,
        level=level,
        is_flat=is_flat,
        quads=bridge_quads(one.map, deck),
    )


class _ByDigest(NamedTuple):
    """A map that counts as equal to all others of its digest."""

    digest: str
    map: CompiledMap

    def __hash__(self) -> int:
        return hash(self.digest)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByDigest) and self.digest == other.digest


def scenery_of(one: CompiledMap) -> MapScenery:
    """Returns what stands still on a map; of one that was asked for lately at once."""
    return _baked(one.digest, _ByDigest(one.digest, one))


def make_scenery(maps: Sequence[CompiledMap]) -> Scenery:
    """Returns the arrays that cameras draw from.

    Args:
        maps: Of a pool, in its order.
    """
    parts = [scenery_of(one) for one in maps]
    layout = np.zeros((len(parts), LAYOUT_COLUMNS), np.int32)
    tile, quad_first = [], []
    tiles, entries, nodes, quads = SHARED, 0, 0, 0
    for row, one in zip(layout, parts, strict=True):
        where = one.ground.tiles
        row[[TILES_X, TILES_Y, TILE_ENTRY]] = where.shape[2], where.shape[1], entries
        row[[NODES_X, NODES_Y, NODE_ENTRY]] = one.height.shape[1], one.height.shape[0], nodes
        blocks = one.height.shape[1] // 8, one.height.shape[0] // 8
        row[[BLOCKS_X, BLOCKS_Y, FLAT]] = *blocks, one.is_flat
        row[BLOCK_ENTRY] = sum(len(first) for first in quad_first)
        tile.append(np.where(where < SHARED, where, where + tiles - SHARED).ravel())
        quad_first.append(one.quads.first + quads)
        tiles += len(one.ground.texel[0]) - SHARED
        entries, nodes, quads = (
            entries + where.size,
            nodes + one.height.size,
            quads + len(one.quads.quad),
        )
    shared = parts[0].ground.texel
    levels = [
        np.concatenate([shared[k][:SHARED], *(one.ground.texel[k][SHARED:] for one in parts)])
        for k in range(TEXTURE_LEVELS)
    ]
    sizes = [level.size for level in levels]
    return Scenery(
        origin=np.stack([one.origin for one in parts]).astype(np.float32),
        level=np.array([one.level for one in parts], np.float32),
        layout=layout,
        tile=np.concatenate(tile).astype(np.int32),
        texel=np.concatenate([level.ravel() for level in levels]),
        texel_first=np.cumsum([0, *sizes[:-1]]).astype(np.int64),
        colour=code_colours(),
        code_class=code_classes(),
        height=np.concatenate([one.height.ravel() for one in parts]),
        quad=np.concatenate([one.quads.quad for one in parts]),
        quad_kind=np.concatenate([one.quads.kind for one in parts]),
        quad_first=np.concatenate(quad_first),
        **make_shapes()._asdict(),
    )
