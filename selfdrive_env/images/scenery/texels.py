"""The ground of a map as texels: baked once, in tiles where there is a road, level after level.

Four samples a texel, so that edges and lines are smooth; each coarser level is the mean of the same
samples over more of them.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from selfdrive_env.compiler.cache import cached
from selfdrive_env.compiler.njit import host, inline, njit
from selfdrive_env.images.scenery.bridges import deck_segments
from selfdrive_env.images.scenery.markings import Polygons, deck_polygons, markings
from selfdrive_env.images.scenery.materials import MIXES, SHADES, pair_codes
from selfdrive_env.kernels.math.geometry import closest_approach
from selfdrive_env.kernels.surface import cell_at, on_surface
from selfdrive_env.maps.compile.compiled_map import CompiledMap
from selfdrive_env.maps.compile.outline import quads
from selfdrive_env.state.arrays import F64, I32, I64, U8
from selfdrive_env.state.road import (
    BLOCK_CELLS,
    CELL,
    SEG_COS,
    SEG_LEFT,
    SEG_LENGTH,
    SEG_RIGHT,
    SEG_SIN,
    SEG_X,
    SEG_Y,
)
from selfdrive_env.state.scenery import (
    CLEAR,
    SHEETS,
    TEXEL,
    TEXTURE_LEVELS,
    TILE_TEXELS,
    Material,
)

__all__ = ["SHARED", "Baked", "bake_ground", "shared_tiles"]

SOURCES = (
    *("images/scenery/texels.py", "kernels/surface.py", "kernels/math", "kernels/dynamics"),
    *("compiler", "state"),
)
SAMPLES = 2 * TILE_TEXELS
"""Along the edge of a tile."""

TILE = TILE_TEXELS * TEXEL
"""[m]"""

TILE_CELLS = round(TILE / CELL)
SHARED = 2
"""Tiles that all maps share: grass, and nothing."""

FAST_ROAD = 17.0
"""Speed limit from which there is no pavement beside a road [m/s]."""

GRASS, ASPHALT, PAVEMENT, KERB = (int(one) for one in list(Material)[:4])
GRAVEL = int(Material.GRAVEL)
MATERIALS = len(Material)
NOTHING = 99

HALF = np.float32(0.5)
TINY = np.float32(1.0e-9)
STEP = np.float32(0.5 * TEXEL)
CELL_EDGE = np.float32(CELL)
CELL_SAMPLES = round(CELL / (0.5 * TEXEL))
KERB_WIDTH = np.float32(0.25)
PAVEMENT_WIDTH = np.float32(2.2)
GRAVEL_WIDTH = np.float32(1.4)


class Baked(NamedTuple):
    """The ground of one map."""

    tiles: I32
    """Tile of each place, [sheets, rows, columns]: 0 grass, 1 nothing."""

    texel: list[U8]
    """Codes, [tiles, edge, edge] for each level; the shared tiles come first."""


@inline
def noise(i, j):
    """Returns a random whole number below 4 for a place."""
    word = np.uint32(i) * np.uint32(73856093) ^ np.uint32(j) * np.uint32(19349663)
    word = (word ^ (word >> np.uint32(13))) * np.uint32(1274126177)
    return np.int64((word ^ (word >> np.uint32(16))) & np.uint32(3))


@njit
def in_segment(segment, number, x, y):
    """Whether a point lies in a lane segment."""
    dx, dy = x - segment[number, SEG_X], y - segment[number, SEG_Y]
    cos, sin = segment[number, SEG_COS], segment[number, SEG_SIN]
    along = dx * cos + dy * sin
    aside = dy * cos - dx * sin
    if along < -STEP or along > segment[number, SEG_LENGTH] + STEP:
        return False
    return aside <= segment[number, SEG_LEFT] and aside >= -segment[number, SEG_RIGHT]


@njit
def is_road(grid, segment, deck, layers, near_deck, x, y, i, j):
    """Whether there is road on the ground at a point of cell (i, j)."""
    for layer in range(layers):
        cell = cell_at(grid, x, y, layer, 0)
        if cell < 0:
            continue
        if near_deck:
            for entry in range(grid.segment_first[cell], grid.segment_first[cell + 1]):
                number = grid.segment[entry]
                if not deck[number] and in_segment(segment, number, x, y):
                    return True
        elif grid.edge_first[cell] == grid.edge_first[cell + 1]:
            if grid.inside[cell] != 0:
                return True
        elif on_surface(grid, x, y, cell, 0, i, j):
            return True
    return False


@njit
def has_deck(grid, deck, layers, x, y):
    """Whether a bridge crosses the cell that holds a point."""
    for layer in range(layers):
        cell = cell_at(grid, x, y, layer, 0)
        if cell < 0:
            continue
        for entry in range(grid.segment_first[cell], grid.segment_first[cell + 1]):
            if deck[grid.segment[entry]]:
                return True
    return False


@njit
def paint_road(sample, grid, segment, deck, layers, west, south, cell_i, cell_j):
    """Paints the asphalt of a tile whose first cell is (cell_i, cell_j)."""
    for b in range(TILE_CELLS):
        for a in range(TILE_CELLS):
            i, j = cell_i + a, cell_j + b
            x = west + (np.float32(a) + HALF) * CELL_EDGE
            y = south + (np.float32(b) + HALF) * CELL_EDGE
            near_deck = has_deck(grid, deck, layers, x, y)
            whole, some = False, near_deck
            for layer in range(layers):
                cell = cell_at(grid, x, y, layer, 0)
                if cell < 0:
                    continue
                if grid.edge_first[cell] != grid.edge_first[cell + 1]:
                    some = True
                elif grid.inside[cell] != 0:
                    whole = True
            if not some and not whole:
                continue
            for q in range(b * CELL_SAMPLES, (b + 1) * CELL_SAMPLES):
                for p in range(a * CELL_SAMPLES, (a + 1) * CELL_SAMPLES):
                    if not some:
                        sample[q, p] = ASPHALT
                        continue
                    x = west + (np.float32(p) + HALF) * STEP
                    y = south + (np.float32(q) + HALF) * STEP
                    if is_road(grid, segment, deck, layers, near_deck, x, y, i, j):
                        sample[q, p] = ASPHALT


@njit
def paint_edge(sample, x0, y0, x1, y1, west, south, reach, material):
    """Paints what is beside the road within reach of an edge; kerbs lie over all but asphalt."""
    left = max(np.int64((min(x0, x1) - reach - west) / STEP), 0)
    right = min(np.int64((max(x0, x1) + reach - west) / STEP) + 1, SAMPLES)
    low = max(np.int64((min(y0, y1) - reach - south) / STEP), 0)
    high = min(np.int64((max(y0, y1) + reach - south) / STEP) + 1, SAMPLES)
    for q in range(low, high):
        y = south + (np.float32(q) + HALF) * STEP
        for p in range(left, right):
            held = sample[q, p]
            if held == ASPHALT or held == KERB or held == material:
                continue
            x = west + (np.float32(p) + HALF) * STEP
            if closest_approach(x0, y0, x1, y1, x, y) <= reach * reach:
                sample[q, p] = material


@njit
def paint_edges(sample, grid, fast, layers, west, south):
    """Paints kerbs and pavements, or gravel beside fast roads, of a tile and around."""
    for turn in range(2):
        for layer in range(layers):
            for b in range(-1, TILE_CELLS + 1):
                for a in range(-1, TILE_CELLS + 1):
                    x = west + (np.float32(a) + HALF) * CELL_EDGE
                    y = south + (np.float32(b) + HALF) * CELL_EDGE
                    cell = cell_at(grid, x, y, layer, 0)
                    if cell < 0:
                        continue
                    quick = fast[cell] != 0
                    if turn == 1 and quick:
                        continue
                    reach = GRAVEL_WIDTH if quick else PAVEMENT_WIDTH
                    material = GRAVEL if quick else PAVEMENT
                    if turn == 1:
                        reach, material = KERB_WIDTH, KERB
                    for entry in range(grid.edge_first[cell], grid.edge_first[cell + 1]):
                        edge = grid.edge[entry]
                        paint_edge(
                            sample, edge[0], edge[1], edge[2], edge[3], west, south, reach,
                            material,
                        )  # fmt: skip


@njit
def paint_polygon(sample, point, first, last, west, south, material):
    """Paints a polygon: what a ray from there crosses an odd number of its edges."""
    low_x, high_x = point[first, 0], point[first, 0]
    low_y, high_y = point[first, 1], point[first, 1]
    for n in range(first, last):
        low_x, high_x = min(low_x, point[n, 0]), max(high_x, point[n, 0])
        low_y, high_y = min(low_y, point[n, 1]), max(high_y, point[n, 1])
    left = max(np.int64((low_x - west) / STEP), 0)
    right = min(np.int64((high_x - west) / STEP) + 1, SAMPLES)
    low = max(np.int64((low_y - south) / STEP), 0)
    high = min(np.int64((high_y - south) / STEP) + 1, SAMPLES)
    for q in range(low, high):
        y = south + (np.float32(q) + HALF) * STEP
        for p in range(left, right):
            x = west + (np.float32(p) + HALF) * STEP
            inside = False
            before = last - 1
            for n in range(first, last):
                y0, y1 = point[before, 1], point[n, 1]
                if (y0 > y) != (y1 > y):
                    at = point[before, 0] + (y - y0) / (y1 - y0) * (point[n, 0] - point[before, 0])
                    inside = inside != (x < at)
                before = n
            if inside:
                sample[q, p] = material


@njit
def code_of(weight, total, pairs, i, j, level):
    """Returns the code of a texel from how many samples it has of each material."""
    most, second = 0, 0
    for material in range(1, MATERIALS):
        if weight[material] > weight[most]:
            most = material
    for material in range(MATERIALS):
        if material != most and (second == most or weight[material] > weight[second]):
            second = material
    both = weight[most] + weight[second]
    if both == 0:
        return CLEAR
    eighths = (weight[second] * MIXES * 2 + both) // (2 * both)
    if eighths == 0:
        shade = noise(i, j) if level < 3 else 0
        if level < 2 and noise((i >> 4) + 7, (j >> 4) + 3) == 0:
            shade = shade & 1
        return most * SHADES + shade
    if most < second:
        return np.int64(pairs[most, second]) + eighths
    return np.int64(pairs[second, most]) + MIXES - eighths


@njit
def write_level(sample, out, weight, pairs, level, tile_i, tile_j):
    """Writes the codes of a tile at a level."""
    edge = TILE_TEXELS >> level
    size = SAMPLES // edge
    for v in range(edge):
        for u in range(edge):
            for material in range(MATERIALS):
                weight[material] = 0
            nothing = 0
            for q in range(v * size, (v + 1) * size):
                for p in range(u * size, (u + 1) * size):
                    if sample[q, p] == NOTHING:
                        nothing += 1
                    else:
                        weight[sample[q, p]] += 1
            if 2 * nothing > size * size:
                out[v, u] = CLEAR
            else:
                out[v, u] = code_of(
                    weight, size * size, pairs, tile_i * edge + u, tile_j * edge + v, level
                )


def bake_tiles(
    out0, out1, out2, out3, out4, grid, segment, deck, fast, place, point, first, material,
    listed_first, listed, pairs,
):  # fmt: skip
    """Bakes tiles at all levels.

    Args:
        out0: Codes at the finest level, [tiles, edge, edge].
        out1: At the next one; likewise the others.
        out2: Codes.
        out3: Codes.
        out4: Codes.
        grid: Of the map.
        segment: `Lanes.segment`.
        deck: Whether a segment lies on a bridge.
        fast: Whether the roads in each cell of the grid are fast.
        place: Sheet, row and column of each tile, [tiles, 3].
        point: Of polygons.
        first: Of polygons.
        material: Of polygons.
        listed_first: Polygons of tile t: listed[listed_first[t]:listed_first[t + 1]].
        listed: Numbers of polygons.
        pairs: Of `pair_codes`.
    """
    sample = np.zeros((SAMPLES, SAMPLES), np.uint8)
    weight = np.zeros(MATERIALS, np.int64)
    layers = np.int64(grid.shape[0, 3])
    edge = np.float32(TILE_CELLS) * CELL_EDGE
    for tile in range(place.shape[0]):
        sheet, row, column = place[tile, 0], place[tile, 1], place[tile, 2]
        west = grid.origin[0, 0] + np.float32(column) * edge
        south = grid.origin[0, 1] + np.float32(row) * edge
        sample[:] = GRASS if sheet == 0 else NOTHING
        if sheet == 0:
            paint_road(
                sample, grid, segment, deck, layers, west, south, column * TILE_CELLS,
                row * TILE_CELLS,
            )  # fmt: skip
            paint_edges(sample, grid, fast, layers, west, south)
        for entry in range(listed_first[tile], listed_first[tile + 1]):
            number = listed[entry]
            paint_polygon(
                sample, point, first[number], first[number + 1], west, south, material[number]
            )
        write_level(sample, out0[tile], weight, pairs, 0, column, row)
        write_level(sample, out1[tile], weight, pairs, 1, column, row)
        write_level(sample, out2[tile], weight, pairs, 2, column, row)
        write_level(sample, out3[tile], weight, pairs, 3, column, row)
        write_level(sample, out4[tile], weight, pairs, 4, column, row)


@functools.cache
def _compiled():
    return cached(host(bake_tiles), SOURCES)


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
    _compiled()(
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
    return wide.reshape(shape[0], TILE_CELLS, shape[1], TILE_CELLS).any(axis=(1, 3))


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
