"""The arrays that cameras draw from: the ground of all maps of a pool, and the shapes of bodies."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.compiler.structs import Table
from selfdrive_env.images.scenery.bridges import (
    Quads,
    bridge_quads,
    deck_segments,
    ground_heights,
    plain_squares,
)
from selfdrive_env.images.scenery.materials import code_classes, code_colours
from selfdrive_env.images.scenery.shapes import make_shapes
from selfdrive_env.images.scenery.texels import SHARED, Baked, bake_ground, shared_tiles
from selfdrive_env.maps.compile.compiled_map import CompiledMap
from selfdrive_env.maps.pool.kept_map import KeptMap
from selfdrive_env.maps.pool.map_pool import MapPool
from selfdrive_env.state.arrays import F32, U8
from selfdrive_env.state.camera.scenery import (
    BLOCK_ENTRY,
    BLOCKS_X,
    BLOCKS_Y,
    FLAT,
    LAYOUT_COLUMNS,
    NODE_ENTRY,
    NODES_X,
    NODES_Y,
    QUAD_COLUMNS,
    SQUARE_ENTRY,
    TILE_ENTRY,
    TILES_X,
    TILES_Y,
    Scenery,
)

__all__ = ["MapScenery", "PoolScenery", "make_scenery", "scenery_of"]


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


class PoolScenery:
    """What stands still on the maps of a pool; each is baked when it is needed."""

    def __init__(self) -> None:
        self._maps: list[MapScenery | None] = []
        self.arrays = _joined([])

    def prepare(self, pool: MapPool, table: Table) -> None:
        """Bakes the maps of a pool that are filled in and are not baked yet.

        Args:
            pool: Always the same.
            table: Of the struct with a field `scenery`, which is pointed to the arrays.
        """
        if not self._maps:
            self._maps = [None] * len(pool.maps)
        wanted = [k for k, one in enumerate(self._maps) if one is None and not pool.missing[k]]
        for number in wanted:
            one = pool.maps[number]
            self._maps[number] = scenery_of(one.load() if isinstance(one, KeptMap) else one)
        if wanted:
            self.arrays = _joined(self._maps)
        for name, array in self.arrays._asdict().items():
            table["scenery"].point(name, array)


def make_scenery(maps: Sequence[CompiledMap]) -> Scenery:
    """Returns the arrays that cameras draw some maps from.

    Args:
        maps: Of a pool, in its order.
    """
    return _joined([scenery_of(one) for one in maps])


def _joined(maps: Sequence[MapScenery | None]) -> Scenery:
    """Returns the arrays of maps one after the other, nothing of those that are not baked."""
    layout = np.zeros((len(maps), LAYOUT_COLUMNS), np.int32)
    origin, level = np.zeros((len(maps), 2), np.float32), np.zeros(len(maps), np.float32)
    names = ("tile", "height", "plain", "quad", "kind", "first")
    parts: dict[str, list[Any]] = {name: [] for name in names}
    texel: list[list[U8]] = [[codes[:SHARED]] for codes in shared_tiles()]
    tiles = SHARED
    for number, one in enumerate(maps):
        if one is None:
            continue
        origin[number], level[number] = one.origin, one.level
        where, row = one.ground.tiles, layout[number]
        row[[TILES_X, TILES_Y]] = where.shape[2], where.shape[1]
        row[[NODES_X, NODES_Y]] = one.height.shape[1], one.height.shape[0]
        row[[BLOCKS_X, BLOCKS_Y]] = one.height.shape[1] // 8, one.height.shape[0] // 8
        entries = (TILE_ENTRY, NODE_ENTRY, SQUARE_ENTRY, BLOCK_ENTRY)
        for column, name in zip(entries, ("tile", "height", "plain", "first"), strict=True):
            row[column] = sum(map(len, parts[name]))
        row[FLAT] = one.is_flat
        parts["first"].append(one.quads.first + sum(map(len, parts["quad"])))
        parts["tile"].append(np.where(where < SHARED, where, where + tiles - SHARED).ravel())
        parts["height"].append(one.height.ravel())
        parts["plain"].append(plain_squares(one.height).ravel())
        parts["quad"].append(one.quads.quad)
        parts["kind"].append(one.quads.kind)
        for codes, of_map in zip(texel, one.ground.texel, strict=True):
            codes.append(of_map[SHARED:])
        tiles += len(one.ground.texel[0]) - SHARED
    levels = [np.concatenate(codes) for codes in texel]

    def joined(name: str, kind: Any, *shape: int) -> NDArray[Any]:
        return np.concatenate([np.zeros((0, *shape)), *parts[name]]).astype(kind)

    return Scenery(
        origin=origin,
        level=level,
        layout=layout,
        tile=joined("tile", np.int32),
        texel=np.concatenate([codes.ravel() for codes in levels]),
        texel_first=np.cumsum([0, *(codes.size for codes in levels[:-1])]).astype(np.int64),
        colour=code_colours(),
        code_class=code_classes(),
        height=joined("height", np.float32),
        plain=joined("plain", np.uint8),
        quad=joined("quad", np.float32, QUAD_COLUMNS),
        quad_kind=joined("kind", np.uint8),
        quad_first=joined("first", np.int32),
        **make_shapes()._asdict(),
    )
