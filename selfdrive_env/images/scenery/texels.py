"""The ground of a map as texels: baked once, in tiles where there is a road, level after level.

Four samples a texel, so that edges and lines are smooth; each coarser level is the mean of the same
samples over more of them.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from selfdrive_env.images.scenery.baking import TILE_CELLS, compiled_bake
from selfdrive_env.images.scenery.markings import Polygons, deck_polygons, markings
from selfdrive_env.images.scenery.materials import SHADES, pair_codes
from selfdrive_env.maps.compile.compiled_map import CompiledMap
from selfdrive_env.maps.compile.outline import quads
from selfdrive_env.state.arrays import I32, I64, U8
from selfdrive_env.state.camera.scenery import (
    CLEAR,
    SHEETS,
    TEXEL,
    TEXTURE_LEVELS,
    TILE_TEXELS,
    Material,
)
from selfdrive_env.state.road import BLOCK_CELLS

__all__ = ["SHARED", "Baked", "bake_ground", "shared_tiles"]

TILE = TILE_TEXELS * TEXEL
"""[m]"""

SHARED = 2
"""Tiles that all maps share: grass, and nothing."""

FAST_ROAD = 17.0
"""Speed limit from which there is no pavement beside a road [m/s]."""

GRASS = int(Material.GRASS)


class Baked(NamedTuple):
    """The ground of one map."""

    tiles: I32
    """Tile of each place, [sheets, rows, columns]: 0 grass, 1 nothing."""

    texel: list[U8]
    """Codes, [tiles, edge, edge] for each level; the shared tiles come first."""


def bake_ground(one: CompiledMap, deck: npt.NDArray[np.bool_]) -> Baked:
    """Returns the ground of a map.

    Args:
        one: The map.
        deck: Which of its segments lie on bridges.
    """
    painted = markings(one, deck)
    if deck.any():
        below = deck_polygons(quads(one.lanes.segment[deck].astype(np.float64)))
        painted = _appended(below, painted)
    shape = (one.grid.shape[0, 1::-1] * (BLOCK_CELLS // TILE_CELLS)).tolist()
    spans = _tile_spans(one, painted, shape)
    wanted = np.zeros((SHEETS, *shape), bool)
    wanted[0] = _near_road(one, shape)
    tile_sheet = np.repeat(painted.sheet, [len(rows) for rows in spans])
    places = np.concatenate([np.zeros((0, 2), np.int64), *spans])
    wanted[tile_sheet, places[:, 0], places[:, 1]] = True
    tiles = np.where(wanted, np.cumsum(wanted.ravel()).reshape(wanted.shape) + SHARED - 1, 0)
    tiles[1][~wanted[1]] = 1
    number = tiles[tile_sheet, places[:, 0], places[:, 1]] - SHARED
    polygon = np.repeat(np.arange(len(painted.material)), [len(rows) for rows in spans])
    order = np.argsort(number, kind="stable")
    count = int(wanted.sum())
    listed_first = np.searchsorted(number[order], np.arange(count + 1))
    texel = [
        np.concatenate([codes, np.zeros((count, *codes.shape[1:]), np.uint8)])
        for codes in shared_tiles()
    ]
    compiled_bake()(
        *(codes[SHARED:] for codes in texel),
        one.grid,
        one.lanes.segment,
        deck,
        _fast_cells(one),
        np.argwhere(wanted),
        painted.point.astype(np.float32),
        painted.first,
        painted.material,
        listed_first,
        polygon[order],
        pair_codes(),
    )
    return Baked(tiles.astype(np.int32), texel)


def _appended(first: Polygons, second: Polygons) -> Polygons:
    """Returns the polygons of two tables, those of the first below."""
    return Polygons(
        np.concatenate([first.point, second.point]),
        np.concatenate([first.first, second.first[1:] + first.first[-1]]),
        np.concatenate([first.material, second.material]),
        np.concatenate([first.sheet, second.sheet]),
    )


def _tile_spans(one: CompiledMap, painted: Polygons, shape: list[int]) -> list[I64]:
    """Returns rows and columns of the tiles that each polygon may touch, [N, 2] each."""
    if not len(painted.material):
        return []
    origin = one.grid.origin[0].astype(np.float64)
    low = np.minimum.reduceat(painted.point, painted.first[:-1])
    high = np.maximum.reduceat(painted.point, painted.first[:-1])
    most = np.array(shape[::-1]) - 1
    first = np.floor((low - origin) / TILE).astype(np.int64).clip(0, most)
    last = np.floor((high - origin) / TILE).astype(np.int64).clip(0, most)
    out = []
    for (i0, j0), (i1, j1) in zip(first.tolist(), last.tolist(), strict=True):
        if i0 == i1 and j0 == j1:
            out.append(np.array([[j0, i0]]))
            continue
        rows, columns = np.mgrid[j0 : j1 + 1, i0 : i1 + 1]
        out.append(np.stack([rows.ravel(), columns.ravel()], 1))
    return out


def _near_road(one: CompiledMap, shape: list[int]) -> npt.NDArray[np.bool_]:
    """Returns which tiles hold road, or lie within a cell of it."""
    rows, columns = (size * TILE_CELLS for size in shape)
    marked = np.zeros((rows, columns), bool)
    cells = one.grid.inside != 0
    cells |= np.diff(one.grid.edge_first) > 0
    blocks_x, blocks_y, _, layers = one.grid.shape[0].tolist()
    block = one.grid.block.reshape(layers, blocks_y, blocks_x)
    for layer in range(layers):
        known = block[layer] >= 0
        grouped = cells.reshape(-1, BLOCK_CELLS, BLOCK_CELLS)[np.maximum(block[layer], 0)]
        grouped = grouped & known[..., None, None]
        marked |= grouped.transpose(0, 2, 1, 3).reshape(rows, columns)
    wide = marked.copy()
    for a in (-1, 0, 1):
        for b in (-1, 0, 1):
            wide |= np.roll(marked, (a, b), (0, 1))
    grouped = wide.reshape(shape[0], TILE_CELLS, shape[1], TILE_CELLS).any(axis=(1, 3))
    found: npt.NDArray[np.bool_] = np.asarray(grouped, bool)
    return found


def _fast_cells(one: CompiledMap) -> U8:
    """Returns whether the roads in each cell of the grid are fast, [cells]."""
    count = np.diff(one.grid.segment_first)
    limit = np.zeros(len(count))
    lane = one.lanes.segment_lane[one.grid.segment]
    np.maximum.at(limit, np.repeat(np.arange(len(count)), count), one.lanes.speed_limit[lane])
    return (limit >= FAST_ROAD).astype(np.uint8)


@functools.cache
def shared_tiles() -> list[U8]:
    """Returns the tiles of grass and of nothing at each level, [2, edge, edge] each."""
    out = []
    for level in range(TEXTURE_LEVELS):
        edge = TILE_TEXELS >> level
        i, j = np.meshgrid(np.arange(edge, dtype=np.uint32), np.arange(edge, dtype=np.uint32))
        word = i * np.uint32(73856093) ^ j * np.uint32(19349663)
        word = (word ^ (word >> np.uint32(13))) * np.uint32(1274126177)
        shade = (word ^ (word >> np.uint32(16))) & np.uint32(3)
        grass = GRASS * SHADES + (shade if level < 3 else np.zeros_like(shade))
        out.append(np.stack([grass, np.full_like(grass, CLEAR)]).astype(np.uint8))
    return out
