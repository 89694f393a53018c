"""The ways of many agents side by side, and how far each agent is along its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.metrics.lines.polylines import FURTHEST, Polylines
from selfdrive_env.metrics.lines.search import (
    DX,
    DZ,
    PER_SQUARE,
    X0,
    Z0,
    compiled,
    square_from,
)
from selfdrive_env.state.arrays import F64, I64

__all__ = ["ARC", "COLUMNS", "Along", "Ways"]

ARC = 7
"""Column of a segment of a way: arc length at its start [m]; the others are as in a grid's cell."""

COLUMNS = 8

Z_WEIGHT = 2.0
"""Differences of elevation count so many times."""


class Along(NamedTuple):
    """Where agents are along their ways, each [agent, step]; 0 where they have none."""

    distance: F64
    """From the nearest place, in the plane [m]."""

    arc: F64
    """Of that place [m]."""

    found: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Ways:
    """Lines of agents, each one's own."""

    row: F64
    """Segments, [S, `COLUMNS`]."""

    first: I64
    """First segment of each agent, [agent]."""

    count: I64
    """How many it has, [agent]."""

    logged: F64 | None = None
    """Arc lengths where it was recorded first and last, [agent, 2] [m]; None: not known."""

    @classmethod
    def of(cls, lines: Sequence[Polylines | None]) -> Ways:
        """Returns the ways of some agents.

        Args:
            lines: Of each agent, None for none.
        """
        rows = [np.zeros((0, COLUMNS)) if one is None else rows_of(one) for one in lines]
        ends = np.cumsum([0, *map(len, rows)], dtype=np.int64)
        row = np.concatenate([np.zeros((0, COLUMNS)), *rows])
        return cls(row, ends[:-1], np.diff(ends))

    def take(self, agents: Sequence[int] | I64) -> Ways:
        """Returns those of some agents.

        Args:
            agents: Indices.
        """
        logged = None if self.logged is None else self.logged[agents]
        return Ways(self.row, self.first[agents], self.count[agents], logged)

    def none(self) -> Ways:
        """Returns ways of as many agents, of which none has one."""
        nothing = np.zeros(len(self.count), np.int64)
        return Ways(np.zeros((0, COLUMNS)), nothing, nothing)

    def nearest(self, x: F64, y: F64, z: F64, valid: NDArray[np.bool_]) -> Along:
        """Returns the place on its own way that is nearest to each agent, as in `Polylines`.

        Args:
            x: [agent, step], here and below [m].
            y: [m]
            z: [m]
            valid: Where to look.
        """
        distance, arc = np.zeros(x.shape), np.zeros(x.shape)
        found = valid & (self.count > 0)[:, None]
        point = [np.clip(value, -FURTHEST, FURTHEST) for value in (x, y, z)]
        nearest_rows(self.row, self.first, self.count, *point, found, distance, arc)
        return Along(distance, arc, found)


def rows_of(lines: Polylines) -> F64:
    """Returns the segments of lines, [S, `COLUMNS`].

    Args:
        lines: Of one way.
    """
    segments = lines.segments
    row = np.zeros((len(segments.line), COLUMNS))
    row[:, X0 : Z0 + 1], row[:, DX : DZ + 1] = segments.start, segments.way
    row[:, PER_SQUARE] = 1.0 / (segments.way[:, :2] ** 2).sum(axis=1)
    row[:, ARC] = segments.arc
    return row


@compiled
def nearest_rows(
    row: F64,
    first: I64,
    count: I64,
    x: F64,
    y: F64,
    z: F64,
    valid: NDArray[np.bool_],
    distance: F64,
    arc: F64,
) -> None:
    """Writes distance from and arc length of the nearest place; among equals the first counts."""
    weight = Z_WEIGHT * Z_WEIGHT
    for agent in range(x.shape[0]):
        for step in range(x.shape[1]):
            if not valid[agent, step]:
                continue
            px, py, pz = x[agent, step], y[agent, step], z[agent, step]
            best, at = np.inf, first[agent]
            for k in range(first[agent], first[agent] + count[agent]):
                square = square_from(row, k, px, py, pz, weight)
                if square < best:
                    best, at = square, k
            dx, dy = row[at, 3], row[at, 4]
            ox, oy = px - row[at, 0], py - row[at, 1]
            share = min(max((ox * dx + oy * dy) * row[at, 6], 0.0), 1.0)
            ox -= share * dx
            oy -= share * dy
            distance[agent, step] = math.sqrt(ox * ox + oy * oy)
            arc[agent, step] = row[at, 7] + share * math.sqrt(dx * dx + dy * dy)
