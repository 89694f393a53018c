"""Polygons filled into tiles: the class of every sample, then a code for every texel."""

from __future__ import annotations

from typing import Any

import numpy as np

from selfdrive_env.compiler.cache import cached
from selfdrive_env.compiler.njit import host, njit
from selfdrive_env.state.images import GROUND_CLASSES, TILE

__all__ = ["SAMPLES", "fill_tiles", "tiles_touched"]

SAMPLES = 6
"""Samples along the edge of what a texel is the mean of."""

MOST_CROSSINGS = 256
"""Of a polygon with a line."""

SOURCES = ("images", "compiler", "state")


def compiled(function: Any) -> Any:
    """Compiles a function when first called, kept on disk if there is a folder to write to."""
    return cached(host(function), SOURCES)


@compiled
def tiles_touched(first, point, columns, rows, count):
    """Counts, or lists, which tiles each polygon touches.

    Args:
        first: Points of polygon p: first[p] up to, not including, first[p + 1].
        point: [N, 2] [texels].
        columns: Tiles along x.
        rows: Tiles along y.
        count: Entries to list; 0 counts them only.

    Returns:
        Number of entries; of each the tile (row * columns + column) and the polygon, [count, 2].
    """
    out = np.empty((count, 2), np.int64)
    number = 0
    for polygon in range(len(first) - 1):
        points = point[first[polygon] : first[polygon + 1]]
        left = max(int(np.floor((points[:, 0].min() - 1.0) / TILE)), 0)
        right = min(int(np.floor((points[:, 0].max() + 1.0) / TILE)), columns - 1)
        bottom = max(int(np.floor((points[:, 1].min() - 1.0) / TILE)), 0)
        top = min(int(np.floor((points[:, 1].max() + 1.0) / TILE)), rows - 1)
        for j in range(bottom, top + 1):
            for i in range(left, right + 1):
                if count > 0:
                    out[number, 0] = j * columns + i
                    out[number, 1] = polygon
                number += 1
    return number, out


@njit
def crossings(point, begin, end, y, found):
    """Writes where the edges of a polygon cross a line to the east, ascending; returns how many."""
    count = 0
    for b in range(begin, end):
        a = b - 1 if b > begin else end - 1
        y0, y1 = point[a, 1], point[b, 1]
        if (y0 > y) == (y1 > y) or count == MOST_CROSSINGS:
            continue
        x = point[a, 0] + (y - y0) / (y1 - y0) * (point[b, 0] - point[a, 0])
        place = count
        while place > 0 and found[place - 1] > x:
            found[place] = found[place - 1]
            place -= 1
        found[place] = x
        count += 1
    return count


@njit
def fill_polygon(sample, point, begin, end, east, north, per_texel, value, found):
    """Gives the samples inside a polygon its class.

    Args:
        sample: Classes of a tile, rows from the south.
        point: [N, 2] [texels].
        begin: First point of the polygon.
        end: Behind its last.
        east: Edge of the samples [texels].
        north: Likewise.
        per_texel: Samples along the edge of a texel.
        value: The class.
        found: Room for crossings.
    """
    edge = sample.shape[0]
    south, top = point[begin, 1], point[begin, 1]
    for number in range(begin, end):
        south, top = min(south, point[number, 1]), max(top, point[number, 1])
    low = (south - north) * per_texel - 0.5
    high = (top - north) * per_texel - 0.5
    for row in range(max(int(np.ceil(low)), 0), min(int(np.floor(high)), edge - 1) + 1):
        count = crossings(point, begin, end, north + (row + 0.5) / per_texel, found)
        for pair in range(0, count - 1, 2):
            left = (found[pair] - east) * per_texel - 0.5
            right = (found[pair + 1] - east) * per_texel - 0.5
            start, stop = max(int(np.ceil(left)), 0), min(int(np.floor(right)), edge - 1)
            for column in range(start, stop + 1):
                sample[row, column] = value


@njit
def code_of(share, codes):
    """Returns the code of a texel, given how many of its samples are of each class."""
    parts = codes.shape[2] - 1
    most, second = 0, -1
    for one in range(1, GROUND_CLASSES):
        if share[one] > share[most]:
            most = one
    for one in range(GROUND_CLASSES):
        if one != most and share[one] > 0 and (second < 0 or share[one] >= share[second]):
            second = one
    if second < 0:
        return codes[most, most, 0]
    whole = share[most] + share[second]
    return codes[most, second, (2 * parts * share[second] + whole) // (2 * whole)]


@compiled
def fill_tiles(first, point, value, place, entry_first, entry, per_texel, codes):
    """Returns the codes of tiles, uint8 [tiles, TILE * TILE], rows from the south.

    A texel is the mean of `SAMPLES` x `SAMPLES` samples round its centre; it is told as its two
    commonest classes, in parts.

    Args:
        first: Points of polygon p: first[p] up to, not including, first[p + 1].
        point: [N, 2] [texels].
        value: Class of each polygon; later ones lie over earlier ones.
        place: Column and row of each tile.
        entry_first: Polygons of tile t: entry[entry_first[t]] up to entry[entry_first[t + 1]].
        entry: Polygons, in order for each tile.
        per_texel: Samples along the edge of a texel; with fewer than `SAMPLES` texels overlap.
        codes: `codes.mixtures`.
    """
    edge = TILE * per_texel + SAMPLES - per_texel
    margin = 0.5 * (SAMPLES - per_texel) / per_texel  # [texels]
    out = np.empty((len(place), TILE * TILE), np.uint8)
    sample = np.empty((edge, edge), np.uint8)
    found = np.empty(MOST_CROSSINGS, np.float64)
    share = np.empty(GROUND_CLASSES, np.int64)
    for tile in range(len(place)):
        sample[:] = 0
        east, north = place[tile, 0] * TILE - margin, place[tile, 1] * TILE - margin
        for number in range(entry_first[tile], entry_first[tile + 1]):
            one = entry[number]
            begin, end = first[one], first[one + 1]
            fill_polygon(sample, point, begin, end, east, north, per_texel, value[one], found)
        for texel in range(TILE * TILE):
            row, column = (texel // TILE) * per_texel, (texel % TILE) * per_texel
            share[:] = 0
            for b in range(SAMPLES):
                for a in range(SAMPLES):
                    share[sample[row + b, column + a]] += 1
            out[tile, texel] = code_of(share, codes)
    return out
