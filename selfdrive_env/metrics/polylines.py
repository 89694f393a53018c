"""Lines on the ground, and the nearest place on them, found over a grid of their segments.

The side of a line at a vertex is that of the sum of both normals (Baerentzen and Aanaes 2005), so
that it is right around sharp corners as well; lines that meet end to start are joined for that.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.compiler.cache import cached
from selfdrive_env.compiler.njit import host, inline
from selfdrive_env.state.arrays import F64, I64

__all__ = ["Places", "Polylines", "compiled"]

SOURCES = ("metrics", "kernels/math", "compiler", "state")
"""Folders that the code of metrics is made from."""

CELL = 4.0
"""Least edge of a cell of the grid [m]."""

FURTHEST = 1e9
"""Coordinates are not larger: what is looked for beyond is looked for there [m]."""

JOINED = 1e-3
"""An end this close to a start goes on there [m]."""

ANY_WAY = -2.0
"""Least cosine between a heading and a line that lets every line pass."""

X0, Y0, Z0, DX, DY, DZ, PER_SQUARE, NUMBER = range(8)
"""Columns of a segment in a cell: start, way to its end [m], 1 / length^2, its number."""


def compiled(function: Any) -> Any:
    """Compiles a function when first called, kept on disk if there is a folder to write to."""
    return cached(host(function), SOURCES)


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


@dataclass(frozen=True, eq=False)
class Places:
    """The nearest places on some lines, one for each point that was asked for, in any shape [N]."""

    segments: Segments
    segment: I64
    """Which segment, -1 where there is none, [N]."""

    share: F64
    """How far along the segment, [N]."""

    distance: F64
    """In the plane, positive to the right of the line, [N] [m]."""

    beyond: NDArray[np.bool_]
    """Whether the place is an end that no line goes on from, [N]."""

    @property
    def found(self) -> NDArray[np.bool_]:
        """Whether there is a place at all, [N]."""
        return self.segment >= 0

    @property
    def line(self) -> I64:
        """Which polyline, -1 where there is none, [N]."""
        return np.where(self.found, self._at(self.segments.line), -1)

    @property
    def arc(self) -> F64:
        """Along the polyline in the plane, from its start, [N] [m]."""
        return self._at(self.segments.arc) + self.share * np.hypot(self._way(0), self._way(1))

    @property
    def heading(self) -> F64:
        """Of the segment, [N] [rad]."""
        heading: F64 = np.arctan2(self._way(1), self._way(0))
        return heading

    @property
    def height(self) -> F64:
        """Elevation of the line there, [N] [m]."""
        return self._at(self.segments.start[:, 2]) + self.share * self._way(2)

    def _way(self, axis: int) -> F64:
        return self._at(self.segments.way[:, axis])

    def _at(self, value: NDArray[Any]) -> NDArray[Any]:
        """Returns a value of the segments, 0 where there is none."""
        return np.append(value, value.dtype.type(0))[self.segment]


@dataclass(frozen=True, eq=False)
class Polylines:
    """Polylines one after the other in one array.

    Raises:
        ValueError: Shapes that do not fit, or numbers that are not finite.
    """

    point: F64
    """[P, 3] [m]"""

    first: I64
    """Points of line n: first[n] up to, not including, first[n + 1]; [N + 1]."""

    def __post_init__(self) -> None:
        if self.point.ndim != 2 or self.point.shape[1] != 3:
            raise ValueError(f"polylines.point: shape {self.point.shape}, wanted [point, 3]")
        if not np.isfinite(self.point).all():
            raise ValueError("polylines.point: numbers that are not finite")
        if self.point.size and np.abs(self.point).max() > FURTHEST:
            raise ValueError(
                f"polylines.point: {np.abs(self.point).max():g} m, wanted at most {FURTHEST:g}"
            )
        ends = self.first[[0, -1]].tolist() if self.first.ndim == 1 and len(self.first) else []
        if ends != [0, len(self.point)] or (np.diff(self.first) < 0).any():
            raise ValueError(f"polylines.first: wanted to rise from 0 to {len(self.point)}")

    @classmethod
    def of(cls, lines: Iterable[Any]) -> Polylines:
        """Returns polylines from one array each.

        Args:
            lines: Each [P, 3] or, on flat ground, [P, 2] [m]; empty ones are left out.

        Raises:
            ValueError: A line of another shape, or numbers that are not finite.
        """
        arrays = [np.asarray(line, np.float64) for line in lines if len(line)]
        for one in arrays:
            if one.ndim != 2 or one.shape[1] not in (2, 3):
                raise ValueError(f"a line of shape {one.shape}, wanted [point, 2] or [point, 3]")
        arrays = [np.pad(one, ((0, 0), (0, 3 - one.shape[1]))) for one in arrays]
        first = np.cumsum([0, *map(len, arrays)], dtype=np.int64)
        return cls(np.concatenate([np.zeros((0, 3)), *arrays]), first)

    def __len__(self) -> int:
        return len(self.first) - 1

    def lines(self) -> list[F64]:
        """Returns one array a polyline, each [P, 3] [m]."""
        return np.split(self.point, self.first[1:-1]) if len(self) else []

    def take(self, which: NDArray[np.generic]) -> Polylines:
        """Returns some of the polylines.

        Args:
            which: Indices, or a mask.
        """
        lines = self.lines()
        return Polylines.of(lines[number] for number in np.arange(len(lines))[which])

    @cached_property
    def arc(self) -> F64:
        """Arc length in the plane of each point along its polyline, [P] [m]."""
        step = np.zeros(len(self.point))
        step[1:] = np.hypot(*np.diff(self.point[:, :2], axis=0).T)
        total = np.cumsum(step)
        start = np.repeat(self.first[:-1], np.diff(self.first))
        arc: F64 = total - total[start]
        return arc

    @cached_property
    def length(self) -> F64:
        """Of each polyline in the plane, [N] [m]."""
        return np.array([self.arc[end - 1] if end else 0.0 for end in self.first[1:].tolist()])

    @cached_property
    def segments(self) -> Segments:
        """All segments that have a length in the plane."""
        line = np.repeat(np.arange(len(self)), np.diff(self.first))
        way = np.diff(self.point, axis=0)
        size = np.hypot(*way[:, :2].T)
        kept = np.flatnonzero((line[1:] == line[:-1]) & (size > 0.0))
        start, way, size = self.point[kept], way[kept], size[kept]
        normal = np.stack([way[:, 1], -way[:, 0]], axis=1) / size[:, None]
        before = _before(start, start + way, line[kept])
        after = np.full(len(kept), -1)
        after[before[before >= 0]] = np.flatnonzero(before >= 0)
        return Segments(
            start,
            way,
            line[kept],
            self.arc[kept],
            _sum_with(normal, before),
            _sum_with(normal, after),
            before < 0,
            after < 0,
        )

    @cached_property
    def grid(self) -> Grid:
        """The segments by cell."""
        segments = self.segments
        start, end = segments.start[:, :2], (segments.start + segments.way)[:, :2]
        if not len(start):
            return Grid(np.zeros(2), CELL, (1, 1), np.zeros(2, np.int64), np.zeros((0, 8)))
        low = np.minimum(start, end).min(axis=0)
        size = np.maximum(start, end).max(axis=0) - low
        most = max(4 * len(start), 256)
        # Neither the area nor the longer side may ask for more cells than there is reason for.
        cell = max(CELL, math.sqrt(float(size.prod()) / most), float(size.max()) / most)
        shape = (size / cell).astype(np.int64) + 1
        row = np.zeros((len(start), 8))
        row[:, X0 : Y0 + 1] = start - low
        row[:, Z0], row[:, DX : DZ + 1] = segments.start[:, 2], segments.way
        row[:, PER_SQUARE] = 1.0 / (segments.way[:, :2] ** 2).sum(axis=1)
        row[:, NUMBER] = np.arange(len(row))
        first = np.zeros(int(shape.prod()) + 1, np.int64)
        _fill(row, cell, shape, first, np.zeros(0, np.int64))
        entry = np.zeros(int(first[-1]), np.int64)
        _fill(row, cell, shape, first, entry)
        return Grid(low, cell, (int(shape[0]), int(shape[1])), first, row[entry])

    def nearest(
        self,
        x: F64,
        y: F64,
        z: F64,
        valid: NDArray[np.bool_],
        *,
        z_weight: float = 2.0,
        heading: NDArray[Any] | None = None,
        least_cosine: float = ANY_WAY,
    ) -> Places:
        """Returns the nearest place for each point.

        Of each segment the place that is nearest in the plane counts, and the nearest of these in
        space, with differences of elevation multiplied by `z_weight`.

        Args:
            x: Points of any shape, here and below [m].
            y: [m]
            z: [m]
            valid: Where to look; elsewhere there is no place.
            z_weight: 0 looks at the plane only.
            heading: Of those that look for a line along their own way [rad].
            least_cosine: Of the angle between that and the segment.

        Returns:
            Arrays of the shape of `x`.
        """
        segments, grid = self.segments, self.grid
        x, y, z = (np.clip(value, -FURTHEST, FURTHEST) for value in (x, y, z))
        point = np.stack([x - grid.origin[0], y - grid.origin[1], z], axis=-1).reshape(-1, 3)
        angle = np.zeros(1) if heading is None else heading.ravel().astype(np.float64)
        ahead = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        segment = np.full(x.size, -1, np.int64)
        _search(
            grid.entry, grid.first, np.array(grid.shape), grid.cell, point, valid.ravel(), ahead,
            float(least_cosine), float(z_weight), x.shape[-1] if x.ndim > 2 else 1, segment,
        )  # fmt: skip
        share, distance = np.zeros(x.size), np.zeros(x.size)
        beyond = np.zeros(x.size, np.bool_)
        point[:, :2] += grid.origin
        _measure(
            segment, point, segments.start, segments.way, segments.start_normal,
            segments.end_normal, segments.open_start, segments.open_end, share, distance, beyond,
        )  # fmt: skip
        shape = x.shape
        return Places(
            segments,
            segment.reshape(shape),
            share.reshape(shape),
            distance.reshape(shape),
            beyond.reshape(shape),
        )


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


@compiled
def _fill(row: F64, cell: float, shape: I64, first: I64, entry: I64) -> None:
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
def _measure(
    segment: I64,
    point: F64,
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
        ox, oy = point[n, 0] - start[k, 0], point[n, 1] - start[k, 1]
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
def _search(
    entry: F64,
    first: I64,
    shape: I64,
    cell: float,
    point: F64,
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
    for n in range(len(point)):
        if not valid[n] or not len(entry):
            continue
        x, y, z = point[n, 0], point[n, 1], point[n, 2]
        best, at = np.inf, -1
        ci, cj = math.floor(x / cell), math.floor(y / cell)
        inner = min(
            min(x - ci * cell, (ci + 1) * cell - x), min(y - cj * cell, (cj + 1) * cell - y)
        )
        ring = max(max(0, -ci), max(ci - columns + 1, max(-cj, cj - rows + 1)))
        last = max(max(ci, columns - 1 - ci), max(cj, rows - 1 - cj))
        if any_way and known[n % every] >= 0:
            at = known[n % every]
            best = _square(entry, at, x, y, z, weight)
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
                                square = _square(entry, k, x, y, z, weight)
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
def _square(entry: F64, k: int, x: float, y: float, z: float, weight: float) -> float:
    """Returns the weighted square of the distance of a point from a segment."""
    dx, dy = entry[k, 3], entry[k, 4]
    ox, oy = x - entry[k, 0], y - entry[k, 1]
    share = min(max((ox * dx + oy * dy) * entry[k, 6], 0.0), 1.0)
    ox -= share * dx
    oy -= share * dy
    oz = z - entry[k, 2] - share * entry[k, 5]
    return ox * ox + oy * oy + weight * oz * oz
