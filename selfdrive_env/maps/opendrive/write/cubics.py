"""Describes a value along a road by few cubic polynomials: widths, offsets and heights."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["Cubic", "fit_cubics", "longest", "merged"]

Floats = NDArray[np.float64]

Cubic = tuple[float, float, float, float, float]
"""Start and coefficients a, b, c, d over the distance from the start [m]."""

Fitted = TypeVar("Fitted")

SAME = 1e-6
"""Coefficients this far apart are the same."""

BOW = 0.002
"""How far a polynomial may be from the straight line between two values."""

BETWEEN = (0.25, 0.5, 0.75)
"""At these shares between two values it is looked at."""

APART = 1e-6
"""Stations that are nearer to each other count as one [m]."""


def fit_cubics(stations: Floats, values: Floats, tolerance: float) -> list[Cubic]:
    """Returns polynomials that follow values along a road without steps.

    Args:
        stations: Ascending, [S] [m].
        values: [S].
        tolerance: How far a value may lie from its polynomial.

    Returns:
        At least one; the first starts at the first station.
    """
    low, high = float(values.min()), float(values.max())
    if high - low <= tolerance:
        return [(float(stations[0]), 0.5 * (low + high), 0.0, 0.0, 0.0)]
    apart = np.append(True, np.diff(stations) > APART)
    stations, values = stations[apart], values[apart]
    rows = longest(
        len(stations) - 1,
        lambda i, j: _cubic(stations[i : j + 1], values[i : j + 1], tolerance),
    )
    return merged(rows) or [(float(stations[0]), float(values[0]), 0.0, 0.0, 0.0)]


def merged(rows: list[Cubic]) -> list[Cubic]:
    """Returns polynomials without those that only go on with the one before.

    Args:
        rows: In the order of their starts.
    """
    kept: list[Cubic] = []
    for row in rows:
        if kept:
            start, a, b, c, d = kept[-1]
            s = row[0] - start
            shifted = (
                a + s * (b + s * (c + s * d)),
                b + s * (2.0 * c + 3.0 * s * d),
                c + 3.0 * s * d,
                d,
            )
            if max(abs(one - two) for one, two in zip(shifted, row[1:], strict=True)) < SAME:
                continue
        kept.append(row)
    return kept


def longest(last: int, fit: Callable[[int, int], Fitted | None]) -> list[Fitted]:
    """Returns what is fitted from 0 to `last`, each piece about as long as it can be.

    Args:
        last: Where the last piece ends.
        fit: What fits from one place to another, None for nothing; from each to the next one
            something does.
    """
    found, first = [], 0
    while first < last:
        good, bad, best = first + 1, last + 1, fit(first, first + 1)
        while bad - good > 1:
            reach = min(2 * good - first, last) if bad > last else (good + bad) // 2
            piece = fit(first, reach)
            if piece is None:
                bad = reach
            else:
                good, best = reach, piece
        assert best is not None
        found.append(best)
        first = good
    return found


def _cubic(stations: Floats, values: Floats, tolerance: float) -> Cubic | None:
    """Returns one polynomial through both ends, None if it misses a value between."""
    start, length = float(stations[0]), float(stations[-1] - stations[0])
    a, rise = float(values[0]), float(values[-1] - values[0])
    p = (stations[1:-1] - start) / length
    rest = values[1:-1] - a - rise * p
    if len(p) == 0 or np.abs(rest).max() <= tolerance:
        return start, a, rise / length, 0.0, 0.0
    # What bends, and is 0 at both ends: p (1 - p) (m + n p).
    bow = p * (1.0 - p)
    base = np.stack([bow, bow * p], axis=1)
    m, n = np.linalg.lstsq(base, rest, rcond=1e-9)[0].tolist()
    if np.abs(base @ np.array([m, n]) - rest).max() > tolerance:
        return None
    # Between the values they are meant to be joined by straight lines.
    ends = (stations - start) / length
    for share in BETWEEN:
        at = ends[:-1] + share * np.diff(ends)
        found = a + rise * at + at * (1.0 - at) * (m + n * at)
        if np.abs(found - values[:-1] - share * np.diff(values)).max() > BOW:
            return None
    return start, a, (rise + m) / length, (n - m) / length**2, -n / length**3
