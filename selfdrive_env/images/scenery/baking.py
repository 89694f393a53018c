"""The samples of a tile of ground, and the codes of its texels at all levels: compiled code."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from selfdrive_env.compiler.cache import cached
from selfdrive_env.compiler.njit import host, inline, njit
from selfdrive_env.images.scenery.materials import MIXES, SHADES
from selfdrive_env.kernels.math.geometry import closest_approach
from selfdrive_env.kernels.surface import cell_at, on_surface
from selfdrive_env.state.camera.scenery import CLEAR, TEXEL, TILE_TEXELS, Material
from selfdrive_env.state.road import (
    CELL,
    SEG_COS,
    SEG_LEFT,
    SEG_LENGTH,
    SEG_RIGHT,
    SEG_SIN,
    SEG_X,
    SEG_Y,
)

__all__ = ["TILE_CELLS", "compiled_bake"]

SOURCES = (
    *("images/scenery", "kernels/surface.py", "kernels/math", "kernels/dynamics"),
    *("compiler", "state"),
)
SAMPLES = 2 * TILE_TEXELS
"""Along the edge of a tile."""

TILE_CELLS = round(TILE_TEXELS * TEXEL / CELL)
"""Cells of the grid along the edge of a tile."""

GRASS, ASPHALT, PAVEMENT, KERB = (int(one) for one in list(Material)[:4])
GRAVEL = int(Material.GRAVEL)
MATERIALS = len(Material)
NOTHING = 99

HALF = np.float32(0.5)
STEP = np.float32(0.5 * TEXEL)
CELL_EDGE = np.float32(CELL)
CELL_SAMPLES = round(CELL / (0.5 * TEXEL))
KERB_WIDTH = np.float32(0.25)
PAVEMENT_WIDTH = np.float32(2.2)
GRAVEL_WIDTH = np.float32(1.4)


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
            if held == material or held == ASPHALT or held == KERB:  # noqa: SIM109
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
def compiled_bake() -> Any:
    """Returns `bake_tiles` with its cache on disk; nothing is compiled before its first call."""
    return cached(host(bake_tiles), SOURCES)
