"""The reference line of an OpenDRIVE road: station s -> position, tangent and curvature.

Lines, arcs and spirals are one formula (curvature linear in s, ASAM OpenDRIVE 1.8, section 9);
poly3 and paramPoly3 are cubic curves, re-parametrised by arc length.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["CubicCurve", "ReferenceLine", "evaluate_polynomials"]

Floats = NDArray[np.float64]

NODES, WEIGHTS = np.polynomial.legendre.leggauss(16)
NODES, WEIGHTS = 0.5 * (NODES + 1.0), 0.5 * WEIGHTS
"""Gauss-Legendre quadrature on [0, 1]."""

PANEL_TURN = 2.0
"""Largest change of heading that one quadrature panel spans [rad]; the error is below 1e-13."""

MAX_ANGLES = 1 << 21
"""Nodes of spirals that are evaluated at once; bounds the memory."""

CELL_NODES, CELL_WEIGHTS = np.polynomial.legendre.leggauss(6)
CELL_NODES, CELL_WEIGHTS = 0.5 * (CELL_NODES + 1.0), 0.5 * CELL_WEIGHTS


def evaluate_polynomials(
    records: Floats, stations: Floats, lookup: Floats | None = None
) -> tuple[Floats, Floats, Floats]:
    """Evaluates piecewise cubics a + b ds + c ds^2 + d ds^3 with ds = s - start.

    Args:
        records: start, a, b, c, d for each piece, starts ascending, [R, 5].
        stations: Where, [S] [m].
        lookup: Stations that choose the piece, to take limits from the left, [S] [m].

    Returns:
        Value, first and second derivative, [S] each; zero where there is no record.
    """
    if len(records) == 0:
        zero = np.zeros_like(stations)
        return zero, zero, zero
    if len(records) == 1:
        start, a, b, c, d = records[0]
        ds = stations - start
        if b == c == d == 0.0:
            zero = np.zeros_like(stations)
            return np.full_like(stations, a), zero, zero
    else:
        at = stations if lookup is None else lookup
        piece = np.maximum(np.searchsorted(records[:, 0], at, side="right") - 1, 0)
        start, a, b, c, d = records[piece].T
        ds = stations - start
    value = a + ds * (b + ds * (c + ds * d))
    return value, b + ds * (2.0 * c + 3.0 * d * ds), 2.0 * c + 6.0 * d * ds


class CubicCurve:
    """A plane curve u(p), v(p) with cubic polynomials, found by the arc length from its start."""

    __slots__ = ("by_parameter", "lengths", "parameters", "scale", "u", "v")

    def __init__(
        self, u: Floats, v: Floats, end: float, length: float, *, kind: str = "normalized"
    ) -> None:
        """Tabulates the arc length.

        Args:
            u: Coefficients of u(p), constant first, [4] [m].
            v: Coefficients of v(p), constant first, [4] [m].
            end: Largest parameter p.
            length: Arc length that the file states [m].
            kind: "normalized": stations are stretched so that `length` is at `end`; "poly3": the
                curve is cut at `length`; "arcLength": p is the station itself.
        """
        self.u, self.v = np.asarray(u, np.float64), np.asarray(v, np.float64)
        cells = int(np.clip(np.ceil(length / 2.0), 8, 4096))
        self.parameters = np.linspace(0.0, end, cells + 1)
        steps = np.diff(self.parameters)
        inner = self.parameters[:-1, None] + steps[:, None] * CELL_NODES
        cell_lengths = (self.speed(inner) @ CELL_WEIGHTS) * steps
        self.lengths = np.concatenate([[0.0], np.cumsum(cell_lengths)])
        self.scale = self.lengths[-1] / length if kind == "normalized" else 1.0
        self.by_parameter = kind == "arcLength"

    def speed(self, p: Floats) -> Floats:
        """Returns the arc length per unit of the parameter."""
        du = self.u[1] + p * (2.0 * self.u[2] + 3.0 * p * self.u[3])
        dv = self.v[1] + p * (2.0 * self.v[2] + 3.0 * p * self.v[3])
        return np.hypot(du, dv)

    def parameter(self, stations: Floats) -> Floats:
        """Returns the parameter at arc lengths from the start, [S] [m]."""
        if self.by_parameter:
            return stations
        target = np.clip(stations * self.scale, 0.0, self.lengths[-1])
        cell = np.searchsorted(self.lengths, target, side="right") - 1
        cell = np.clip(cell, 0, len(self.lengths) - 2)
        low, high = self.parameters[cell], self.parameters[cell + 1]
        p = np.interp(target, self.lengths, self.parameters)
        for _ in range(3):
            inner = low[:, None] + (p - low)[:, None] * CELL_NODES
            reached = self.lengths[cell] + (self.speed(inner) @ CELL_WEIGHTS) * (p - low)
            p = np.clip(p - (reached - target) / np.maximum(self.speed(p), 1e-9), low, high)
        return p

    def evaluate(self, stations: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """Returns u, v, the direction of travel [rad] and the curvature [1/m], [S] each."""
        p = self.parameter(stations)
        powers = np.stack([np.ones_like(p), p, p * p, p * p * p])
        du = self.u[1] + p * (2.0 * self.u[2] + 3.0 * p * self.u[3])
        dv = self.v[1] + p * (2.0 * self.v[2] + 3.0 * p * self.v[3])
        ddu = 2.0 * self.u[2] + 6.0 * self.u[3] * p
        ddv = 2.0 * self.v[2] + 6.0 * self.v[3] * p
        speed = np.maximum(np.hypot(du, dv), 1e-9)
        curvature = (du * ddv - dv * ddu) / speed**3
        return self.u @ powers, self.v @ powers, np.arctan2(dv, du), curvature


@dataclass(slots=True)
class ReferenceLine:
    """The plan view of a road: pieces with linear curvature, some replaced by cubic curves."""

    starts: Floats
    """Station where each piece begins, ascending, [G] [m]."""

    x: Floats
    """[G] [m]"""

    y: Floats
    """[G] [m]"""

    heading: Floats
    """At the start of each piece, [G] [rad]."""

    curvature: Floats
    """At the start of each piece, [G] [1/m]."""

    curvature_rate: Floats
    """Change of the curvature per metre, [G] [1/m^2]."""

    lengths: Floats
    """Length of each piece, beyond which it goes on straight, [G] [m]."""

    length: float
    """Station where the last piece ends [m]."""

    curves: dict[int, CubicCurve] = field(default_factory=dict)
    """The pieces that are poly3 or paramPoly3."""

    def evaluate(
        self, stations: Floats, lookup: Floats | None = None
    ) -> tuple[Floats, Floats, Floats, Floats]:
        """Evaluates the line.

        Args:
            stations: Where, [S] [m]; outside the road it goes on straight.
            lookup: Stations that choose the piece, to take limits from the left, [S] [m].

        Returns:
            x [m], y [m], heading [rad] and curvature [1/m], [S] each.
        """
        at = stations if lookup is None else lookup
        piece = np.maximum(np.searchsorted(self.starts, at, side="right") - 1, 0)
        beyond = stations - self.starts[piece]
        ds = np.clip(beyond, 0.0, self.lengths[piece])
        beyond = beyond - ds
        heading, curvature = self.heading[piece], self.curvature[piece]
        rate = self.curvature_rate[piece]
        forward, sideways = _clothoid(ds, curvature, rate)
        turn = ds * (curvature + 0.5 * rate * ds)
        curvature = curvature + rate * ds
        for index, curve in self.curves.items():
            here = np.flatnonzero(piece == index)
            if len(here):
                forward[here], sideways[here], turn[here], curvature[here] = curve.evaluate(
                    ds[here]
                )
        forward += beyond * np.cos(turn)
        sideways += beyond * np.sin(turn)
        cosine, sine = np.cos(heading), np.sin(heading)
        x = self.x[piece] + forward * cosine - sideways * sine
        y = self.y[piece] + forward * sine + sideways * cosine
        return x, y, heading + turn, curvature

    def gaps(self) -> Floats:
        """Returns the distance from the end of each piece to the start of the next, [G - 1] [m]."""
        if len(self.starts) < 2:
            return np.zeros(0)
        x, y, _, _ = self.evaluate(self.starts[1:], 0.5 * (self.starts[:-1] + self.starts[1:]))
        return np.hypot(x - self.x[1:], y - self.y[1:])


def _clothoid(ds: Floats, curvature: Floats, rate: Floats) -> tuple[Floats, Floats]:
    """Integrates (cos, sin) of curvature s + rate s^2 / 2 from 0 to `ds`, exactly for arcs."""
    half_turn = 0.5 * curvature * ds
    chord = ds * np.sinc(half_turn / np.pi)
    forward, sideways = chord * np.cos(half_turn), chord * np.sin(half_turn)
    spiral = np.flatnonzero(rate)
    if len(spiral) == 0:
        return forward, sideways
    s, k, r = ds[spiral], curvature[spiral], rate[spiral]
    largest = float(np.max(np.abs(s) * np.maximum(np.abs(k), np.abs(k + r * s))))
    panels = max(1, int(np.ceil(largest / PANEL_TURN)))
    nodes = ((np.arange(panels)[:, None] + NODES) / panels).ravel()
    weights = np.tile(WEIGHTS / panels, panels)
    rows = max(1, MAX_ANGLES // len(nodes))
    for part in (slice(i, i + rows) for i in range(0, len(s), rows)):
        at = s[part, None] * nodes
        angle = at * (k[part, None] + 0.5 * r[part, None] * at)
        forward[spiral[part]] = s[part] * (np.cos(angle) @ weights)
        sideways[spiral[part]] = s[part] * (np.sin(angle) @ weights)
    return forward, sideways
