"""Smooth centre lines in the plane, made of straight pieces and circular arcs.

A centre line is exact: position and heading at any arc length follow in closed form, so that lanes
made from neighbouring lines join without gap or kink. Biarcs: Bolton, Biarc curves, CAD 7(2), 1975.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.maps.road_network import MapError

__all__ = [
    "CentreLine",
    "Pose",
    "arc",
    "chain",
    "connection",
    "evaluate",
    "nearest_station",
    "polyline_with_arcs",
    "pose_at",
    "stations",
]

Floats = NDArray[np.float64]

CURVED_STEP = 0.95
"""Largest spacing of stations 9 m outside of a curve's centre line [m]."""

STRAIGHT_STEP = 5.0
"""Largest spacing of stations on straight pieces [m]."""

SHORTEST_PIECE = 1e-6
"""Pieces below this length are left out [m]."""


class Pose(NamedTuple):
    """A point with a direction."""

    x: float
    y: float
    heading: float

    def moved(self, ahead: float, left: float = 0.0) -> Pose:
        """Returns the pose displaced in its own frame [m]."""
        cosine, sine = math.cos(self.heading), math.sin(self.heading)
        x = self.x + ahead * cosine - left * sine
        return Pose(x, self.y + ahead * sine + left * cosine, self.heading)

    def reversed(self) -> Pose:
        """Returns the pose that looks the other way."""
        return Pose(self.x, self.y, self.heading + math.pi)


class CentreLine(NamedTuple):
    """A chain of pieces of constant curvature, one entry a piece."""

    station: Floats
    """Arc length at the start of each piece [m]."""

    x: Floats
    """At the start of each piece [m]."""

    y: Floats
    """At the start of each piece [m]."""

    heading: Floats
    """At the start of each piece [rad]."""

    curvature: Floats
    """Of each piece, positive to the left [1/m]."""

    length: float
    """Of the whole line [m]."""


def _advance(
    x: Floats, y: Floats, heading: Floats, curvature: Floats, distance: Floats
) -> tuple[Floats, Floats, Floats]:
    """Moves a pose along an arc; exact for straight pieces as well."""
    turn = curvature * distance
    chord = distance * np.sinc(turn / (2.0 * np.pi))
    middle = heading + 0.5 * turn
    return x + chord * np.cos(middle), y + chord * np.sin(middle), heading + turn


def chain(start: Pose, pieces: list[tuple[float, float]]) -> CentreLine:
    """Lays pieces of (length, curvature) one after the other."""
    station, pose = 0.0, start
    rows = []
    for length, curvature in pieces:
        if length < SHORTEST_PIECE:
            continue
        rows.append((station, *pose, curvature))
        pose = Pose(*map(float, _advance(*np.array([*pose, curvature, length]))))
        station += length
    columns = np.array(rows, np.float64).reshape(-1, 5).T.copy()
    return CentreLine(*columns, station)  # type: ignore[call-arg]


def evaluate(line: CentreLine, station: Floats | float) -> tuple[Floats, Floats, Floats]:
    """Returns position and heading along a line.

    Args:
        line: The centre line.
        station: Arc lengths, any shape [m].

    Returns:
        x [m], y [m] and heading [rad], shaped like `station`.
    """
    station = np.asarray(station, np.float64)
    piece = np.clip(np.searchsorted(line.station, station, "right") - 1, 0, None)
    ahead = station - line.station[piece]
    return _advance(line.x[piece], line.y[piece], line.heading[piece], line.curvature[piece], ahead)


def pose_at(line: CentreLine, station: float) -> Pose:
    """Returns the pose at one arc length [m]."""
    return Pose(*map(float, evaluate(line, station)))


def stations(line: CentreLine, first: float, last: float) -> Floats:
    """Returns arc lengths that sample a part of the line, dense in curves.

    Args:
        line: The centre line.
        first: Where the part starts [m].
        last: Where it ends [m].

    Returns:
        Increasing arc lengths that hold both ends and every change of curvature between, [P] [m].
    """
    breaks = line.station[(line.station > first + 1e-3) & (line.station < last - 1e-3)]
    edges = np.concatenate([[first], breaks, [last]])
    samples = [np.array([first])]
    for low, high in pairwise(edges):
        piece = int(np.clip(np.searchsorted(line.station, 0.5 * (low + high)) - 1, 0, None))
        bend = abs(float(line.curvature[piece]))
        step = CURVED_STEP / (1.0 + 9.0 * bend) if bend > 1e-9 else STRAIGHT_STEP
        samples.append(np.linspace(low, high, max(1, math.ceil((high - low) / step)) + 1)[1:])
    return np.concatenate(samples)


def nearest_station(line: CentreLine, x: float, y: float) -> float:
    """Returns the arc length of the point nearest to (x, y), to about a decimetre [m]."""
    samples = np.arange(0.0, line.length, 0.1)
    px, py, _ = evaluate(line, samples)
    return float(samples[np.argmin(np.hypot(px - x, py - y))])


def arc(start: Pose, curvature: float, length: float) -> CentreLine:
    """Returns a single arc from a pose."""
    return chain(start, [(length, curvature)])


def _wrap(angle: float) -> float:
    """Brings an angle into [-pi, pi]."""
    return math.remainder(angle, 2.0 * math.pi)


def polyline_with_arcs(vertices: list[tuple[float, float]], radii: list[float]) -> CentreLine:
    """Returns straight lines between the vertices with each inner corner rounded by an arc.

    Args:
        vertices: Corner points, V >= 2 [m].
        radii: Radius of the arc at each inner vertex, V - 2 [m].

    Returns:
        The centre line from the first to the last vertex.
    """
    points = np.asarray(vertices, np.float64)
    steps = np.diff(points, axis=0)
    lengths = np.hypot(*steps.T)
    headings = np.arctan2(steps[:, 1], steps[:, 0])
    turns = [_wrap(b - a) for a, b in pairwise(headings)]
    cuts = [radius * math.tan(0.5 * abs(turn)) for radius, turn in zip(radii, turns, strict=True)]

    pieces: list[tuple[float, float]] = []
    for leg, length in enumerate(lengths):
        before = cuts[leg - 1] if leg > 0 else 0.0
        after = cuts[leg] if leg < len(cuts) else 0.0
        if before + after > length + 1e-9:
            raise MapError(f"the arcs at vertices {leg} and {leg + 1} of {vertices} overlap")
        pieces.append((float(length) - before - after, 0.0))
        if leg < len(cuts) and abs(turns[leg]) > 1e-9:
            curvature = math.copysign(1.0 / radii[leg], turns[leg])
            pieces.append((radii[leg] * abs(turns[leg]), curvature))
    x, y = points[0].tolist()
    return chain(Pose(x, y, float(headings[0])), pieces)


def connection(start: Pose, end: Pose) -> CentreLine:
    """Returns a line from one pose to another, tangent to both.

    Where the two directions cross ahead it is the widest single arc with a straight rest, else a
    biarc (two arcs, for shifts to the side).

    Args:
        start: Where it begins.
        end: Where it ends.

    Returns:
        The connecting line.
    """
    turn = _wrap(end.heading - start.heading)
    dx, dy = end.x - start.x, end.y - start.y
    if abs(math.sin(turn)) > 0.05:
        before = (dx * math.sin(end.heading) - dy * math.cos(end.heading)) / math.sin(turn)
        after = (dy * math.cos(start.heading) - dx * math.sin(start.heading)) / math.sin(turn)
        if min(before, after) > 1.0:
            cut = min(before, after)
            radius = cut / math.tan(0.5 * abs(turn))
            bend = (radius * abs(turn), math.copysign(1.0 / radius, turn))
            return chain(start, [(before - cut, 0.0), bend, (after - cut, 0.0)])
    return _biarc(start, end)


def _biarc(start: Pose, end: Pose) -> CentreLine:
    """Joins two poses by two arcs of equal tangent length."""
    first = np.array([math.cos(start.heading), math.sin(start.heading)])
    last = np.array([math.cos(end.heading), math.sin(end.heading)])
    gap = np.array([end.x - start.x, end.y - start.y])
    along, spread = float(gap @ (first + last)), 2.0 * (1.0 - float(first @ last))
    if spread < 1e-12:
        reach = float(gap @ gap) / (2.0 * along)
    else:
        reach = (-along + math.sqrt(along**2 + spread * float(gap @ gap))) / spread
    joint = 0.5 * (gap + reach * (first - last))
    length, curvature = _arc_through(first, joint)
    rest, bend = _arc_through(-last, joint - gap)
    return chain(start, [(length, curvature), (rest, -bend)])


def _arc_through(direction: Floats, chord: Floats) -> tuple[float, float]:
    """Length and curvature of the arc that leaves in `direction` and ends at `chord`."""
    across = float(direction[0] * chord[1] - direction[1] * chord[0])
    span = float(np.hypot(*chord))
    turn = 2.0 * math.atan2(across, float(direction @ chord))
    if abs(turn) < 1e-9:
        return span, 0.0
    curvature = 2.0 * across / span**2
    return turn / curvature, curvature
