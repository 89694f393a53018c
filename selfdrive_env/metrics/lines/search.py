"""The kernels that sort segments into cells, look for the nearest one, and measure from it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.compiler.cache import cached
from selfdrive_env.compiler.njit import host, inline
from selfdrive_env.state.arrays import F64, I64

__all__ = ["compiled", "fill", "measure", "search", "square_from"]

SOURCES = ("metrics", "kernels/math", "compiler", "state")
"""Folders that the code of metrics is made from."""

X0, Y0, Z0, DX, DY, DZ, PER_SQUARE, NUMBER = range(8)
"""Columns of a segment in a cell: start, way to its end [m], 1 / length^2, its number."""


def compiled(function: Any) -> Any:
    """Compiles a function when first called, kept on disk if there is a folder to write to."""
    return cached(host(function), SOURCES)


@compiled
def fill(row: F64, cell: float, shape: I64, first: I64, entry: I64) -> None:
    """Counts the segments of each cell into `first`, or with room in `entry` writes them there."""
    columns, rows = shape[0], shape[1]
    writes = len(entry) > 0
    last = np.full(columns * rows, -1, np.int64)
    place = first[:-1].copy()
    for number in range(len(row)):
        x, y, dx, dy = row[number, 0], row[number, 1], row[number, 3], row[number, 4]
        parts = int(max(abs(dx), abs(dy)) / cell) + 1
        for part in range(parts):
            ax, bx = x + dx * part / parts, x + dx * (part + 1) / parts
            ay, by = y + dy * part / parts, y + dy * (part + 1) / parts
            left = min(max(int(min(ax, bx) / cell), 0), columns - 1)
            right = min(max(int(max(ax, bx) / cell), 0), columns - 1)
            low = min(max(int(min(ay, by) / cell), 0), rows - 1)
            high = min(max(int(max(ay, by) / cell), 0), rows - 1)
            for j in range(low, high + 1):
                for i in range(left, right + 1):
                    at = j * columns + i
                    if last[at] == number:
                        continue
                    last[at] = number
                    if writes:
                        entry[place[at]] = number
                        place[at] += 1
                    else:
                        first[at + 1] += 1
    if not writes:
        for at in range(columns * rows):
            first[at + 1] += first[at]


@compiled
def measure(
    segment: I64,
    px: F64,
    py: F64,
    start: F64,
    way: F64,
    start_normal: F64,
    end_normal: F64,
    open_start: NDArray[np.bool_],
    open_end: NDArray[np.bool_],
    share: F64,
    distance: F64,
    beyond: NDArray[np.bool_],
) -> None:
    """Writes where on its segment each point has its place, and how far from it on which side."""
    for n in range(len(segment)):
        k = segment[n]
        if k < 0:
            continue
        ox, oy = px[n] - start[k, 0], py[n] - start[k, 1]
        dx, dy = way[k, 0], way[k, 1]
        along = (ox * dx + oy * dy) / (dx * dx + dy * dy)
        normal_x, normal_y = dy, -dx
        if along <= 0.0:
            along = 0.0
            normal_x, normal_y = start_normal[k, 0], start_normal[k, 1]
            beyond[n] = open_start[k]
        elif along >= 1.0:
            along = 1.0
            normal_x, normal_y = end_normal[k, 0], end_normal[k, 1]
            beyond[n] = open_end[k]
        ox -= along * dx
        oy -= along * dy
        size = math.sqrt(ox * ox + oy * oy)
        share[n] = along
        distance[n] = size if ox * normal_x + oy * normal_y > 0.0 else -size


@compiled
def search(
    entry: F64,
    first: I64,
    shape: I64,
    cell: float,
    origin: F64,
    px: F64,
    py: F64,
    pz: F64,
    valid: NDArray[np.bool_],
    ahead: F64,
    least_cosine: float,
    z_weight: float,
    every: int,
    found: I64,
) -> None:
    """Writes the number of the nearest segment of each valid point: ring after ring of cells.

    What was nearest `every` points before shortens the search; among equals the first one counts.
    """
    columns, rows = shape[0], shape[1]
    any_way = least_cosine <= -1.0
    weight = z_weight * z_weight
    known = np.full(every, -1, np.int64)
    for n in range(len(px)):
        if not valid[n] or not len(entry):
            continue
        x, y, z = px[n] - origin[0], py[n] - origin[1], pz[n]
        best, at = np.inf, -1
        ci, cj = math.floor(x / cell), math.floor(y / cell)
        inner = min(
            min(x - ci * cell, (ci + 1) * cell - x), min(y - cj * cell, (cj + 1) * cell - y)
        )
        ring = max(max(0, -ci), max(ci - columns + 1, max(-cj, cj - rows + 1)))
        last = max(max(ci, columns - 1 - ci), max(cj, rows - 1 - cj))
        if any_way and known[n % every] >= 0:
            at = known[n % every]
            best = square_from(entry, at, x, y, z, weight)
        while ring <= last:
            bound = (ring - 1) * cell + inner
            if bound > 0.0 and bound * bound > best:
                break
            low, high = max(cj - ring, 0), min(cj + ring, rows - 1)
            for j in range(low, high + 1):
                beside = max(max(j * cell - y, y - (j + 1) * cell), 0.0)
                if beside * beside > best:
                    continue
                whole = ring == 0 or j == cj - ring or j == cj + ring
                step = 1 if whole else 2 * ring
                i = max(ci - ring, 0) if whole else ci - ring
                stop = min(ci + ring, columns - 1)
                while i <= stop:
                    if i >= 0:
                        before = max(max(i * cell - x, x - (i + 1) * cell), 0.0)
                        if before * before + beside * beside <= best:
                            begin, end = first[j * columns + i], first[j * columns + i + 1]
                            for k in range(begin, end):
                                square = square_from(entry, k, x, y, z, weight)
                                if square > best or (square == best and not _first(entry, k, at)):
                                    continue
                                if any_way or _along(entry, k, ahead, n) >= least_cosine:
                                    best, at = square, k
                    i += step
            ring += 1
        found[n] = int(entry[at, 7]) if at >= 0 else -1
        known[n % every] = at


@inline
def _first(entry: F64, k: int, at: int) -> bool:
    """Whether an entry's segment comes before that of another entry, -1 for none."""
    return at < 0 or entry[k, 7] < entry[at, 7]


@inline
def _along(entry: F64, k: int, ahead: F64, n: int) -> float:
    """Returns the cosine of the angle between a point's heading and a segment."""
    along = ahead[n, 0] * entry[k, 3] + ahead[n, 1] * entry[k, 4]
    return along * math.sqrt(entry[k, 6])


@inline
def square_from(entry: F64, k: int, x: float, y: float, z: float, weight: float) -> float:
    """Returns the weighted square of the distance of a point from a segment."""
    dx, dy = entry[k, 3], entry[k, 4]
    ox, oy = x - entry[k, 0], y - entry[k, 1]
    share = min(max((ox * dx + oy * dy) * entry[k, 6], 0.0), 1.0)
    ox -= share * dx
    oy -= share * dy
    oz = z - entry[k, 2] - share * entry[k, 5]
    return ox * ox + oy * oy + weight * oz * oz
