"""Polylines as segments, each with its sides at both ends, and the segments by cell.

The side of a line at a vertex is that of the sum of both normals (Baerentzen and Aanaes 2005), so
that it is right around sharp corners as well; lines that meet end to start are joined for that.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.metrics.lines.search import (
    DX,
    DZ,
    NUMBER,
    PER_SQUARE,
    X0,
    Y0,
    Z0,
    fill,
)
from selfdrive_env.state.arrays import F64, I64

__all__ = ["Grid", "Segments", "grid_of", "segments_of"]

CELL = 4.0
"""Least edge of a cell of the grid [m]."""

CELLS = 16
"""At most so many cells for each segment: cells grow on large maps."""

JOINED = 1e-3
"""An end this close to a start goes on there [m]."""


class Segments(NamedTuple):
    """All segments of some polylines that have a length."""

    start: F64
    """[S, 3] [m]"""

    way: F64
    """From start to end, [S, 3] [m]."""

    line: I64
    arc: F64
    """Where it starts along its polyline [m]."""

    start_normal: F64
    """To the right where it starts, [S, 2]."""

    end_normal: F64
    open_start: NDArray[np.bool_]
    """Whether nothing leads to its start, [S]."""

    open_end: NDArray[np.bool_]


class Grid(NamedTuple):
    """Segments by the square cells that they touch."""

    origin: F64
    cell: float
    shape: tuple[int, int]
    first: I64
    """Entries of cell j * shape[0] + i: first[cell] up to first[cell + 1]."""

    entry: F64
    """[E, 8], relative to `origin`."""


def segments_of(point: F64, first: I64, arc: F64) -> Segments:
    """Returns the segments of polylines that have a length in the plane.

    Args:
        point: Of all lines, [P, 3] [m].
        first: Where each line begins, [N + 1].
        arc: Arc length of each point along its line, [P] [m].
    """
    line = np.repeat(np.arange(len(first) - 1), np.diff(first))
    way = np.diff(point, axis=0)
    size = np.hypot(*way[:, :2].T)
    kept = np.flatnonzero((line[1:] == line[:-1]) & (size > 0.0))
    start, way, size = point[kept], way[kept], size[kept]
    normal = np.stack([way[:, 1], -way[:, 0]], axis=1) / size[:, None]
    before = _before(start, start + way, line[kept])
    after = np.full(len(kept), -1)
    after[before[before >= 0]] = np.flatnonzero(before >= 0)
    return Segments(
        start,
        way,
        line[kept],
        arc[kept],
        _sum_with(normal, before),
        _sum_with(normal, after),
        before < 0,
        after < 0,
    )


def grid_of(segments: Segments) -> Grid:
    """Returns segments by cell.

    Args:
        segments: Of some lines.
    """
    start, end = segments.start[:, :2], (segments.start + segments.way)[:, :2]
    if not len(start):
        return Grid(np.zeros(2), CELL, (1, 1), np.zeros(2, np.int64), np.zeros((0, 8)))
    low = np.minimum(start, end).min(axis=0)
    size = np.maximum(start, end).max(axis=0) - low
    most = max(CELLS * len(start), 256)
    # Neither the area nor the longer side may ask for more cells than there is reason for.
    cell = max(CELL, math.sqrt(float(size.prod()) / most), float(size.max()) / most)
    shape = (size / cell).astype(np.int64) + 1
    row = np.zeros((len(start), 8))
    row[:, X0 : Y0 + 1] = start - low
    row[:, Z0], row[:, DX : DZ + 1] = segments.start[:, 2], segments.way
    row[:, PER_SQUARE] = 1.0 / (segments.way[:, :2] ** 2).sum(axis=1)
    row[:, NUMBER] = np.arange(len(row))
    first = np.zeros(int(shape.prod()) + 1, np.int64)
    fill(row, cell, shape, first, np.zeros(0, np.int64))
    entry = np.zeros(int(first[-1]), np.int64)
    fill(row, cell, shape, first, entry)
    return Grid(low, cell, (int(shape[0]), int(shape[1])), first, row[entry])


def _before(start: F64, end: F64, line: I64) -> I64:
    """Returns for each segment the one that leads to its start, -1 for none, [S]."""
    before = np.full(len(start), -1, np.int64)
    if not len(start):
        return before
    same = np.flatnonzero(line[1:] == line[:-1]) + 1
    before[same] = same - 1
    heads = np.flatnonzero(before < 0)
    tails = np.setdiff1d(np.arange(len(start)), same - 1)
    place: dict[tuple[int, ...], int] = {}
    for key, tail in zip(_keys(end[tails]), tails.tolist(), strict=True):
        place[key] = -1 if key in place else tail
    taken: set[int] = set()
    for key, head in zip(_keys(start[heads]), heads.tolist(), strict=True):
        tail = place.get(key, -1)
        if tail >= 0 and tail not in taken:
            taken.add(tail)
            before[head] = tail
    return before


def _keys(point: F64) -> list[tuple[int, ...]]:
    return [tuple(row) for row in np.round(point / JOINED).astype(np.int64).tolist()]


def _sum_with(normal: F64, other: I64) -> F64:
    """Returns normals, added to those of other segments where there are some."""
    summed = normal + np.where(other[:, None] >= 0, normal[other], 0.0)
    # A line that turns back on itself has no side at its end: that of the segment will do.
    flat = np.abs(summed).sum(axis=1) < 1e-9
    return np.where(flat[:, None], normal, summed)
