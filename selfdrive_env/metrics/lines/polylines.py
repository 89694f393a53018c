"""Lines on the ground, and the nearest place on them, found over a grid of their segments."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.metrics.lines.search import measure, search
from selfdrive_env.metrics.lines.segments import Grid, Segments, grid_of, segments_of
from selfdrive_env.state.arrays import F64, I64

__all__ = ["Places", "Polylines"]

FURTHEST = 1e9
"""Coordinates are not larger: what is looked for beyond is looked for there [m]."""

ANY_WAY = -2.0
"""Least cosine between a heading and a line that lets every line pass."""


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
        return segments_of(self.point, self.first, self.arc)

    @cached_property
    def grid(self) -> Grid:
        """The segments by cell."""
        return grid_of(self.segments)

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
        point = [np.clip(value.ravel(), -FURTHEST, FURTHEST) for value in (x, y, z)]
        angle = np.zeros(1) if heading is None else heading.ravel().astype(np.float64)
        ahead = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        segment = np.full(x.size, -1, np.int64)
        search(
            grid.entry, grid.first, np.array(grid.shape), grid.cell, grid.origin, *point,
            valid.ravel(), ahead, float(least_cosine), float(z_weight),
            x.shape[-1] if x.ndim > 2 else 1, segment,
        )  # fmt: skip
        share, distance = np.zeros(x.size), np.zeros(x.size)
        beyond = np.zeros(x.size, np.bool_)
        measure(
            segment, *point[:2], segments.start, segments.way, segments.start_normal,
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
