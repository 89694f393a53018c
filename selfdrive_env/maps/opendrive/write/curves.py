"""Fits the reference line of a road: lines, arcs and cubic curves along an edge of its lanes.

Where lanes were sampled at right angles to some line, that line is found again, as far as it runs
along the edge; jogs and oblique ends are left to offsets from it. Every piece starts at a point of
its own, so that errors do not add up; where a piece ends, the next one goes on in its direction.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.maps.opendrive.geometry import NODES, WEIGHTS, CubicCurve, ReferenceLine
from selfdrive_env.maps.opendrive.write.cubics import longest

__all__ = [
    "DIGITS",
    "Guide",
    "Piece",
    "centre_guide",
    "find_guide",
    "fit_line",
    "project",
    "reference_line",
]

Floats = NDArray[np.float64]

TOLERANCE = 0.001
"""Largest distance of a knot from the curve [m]."""

CORNER = 0.02
"""Where it would bulge further, the point is the corner of a polyline and is rounded off [m]."""

SHARP_CORNER = 0.003
"""The same of a line that has to keep to the polyline [m]."""

BULGE = 4.0 / 27.0
"""Distance of a cubic curve from its chord: of the length times the angle at one end."""

ROUND = 4.0
"""The line turns over this length for each metre of width and radian [m]."""

STRAIGHT = 1e-5
"""Smallest angle between the ends of a piece and its chord where it is no line [rad]."""

EVEN = 1e-4
"""Largest difference of the angles at both ends of an arc [rad]."""

MAX_TURN = 0.7
"""Largest angle between an end and the chord of a piece over several knots [rad]."""

ASIDE = 0.003
"""How far a turned cross section may move what is described along the line [m]."""

NEAR = 1e-3
"""Knots that are nearer to each other count as one [m]."""

DIGITS = 9
"""Of coordinates, lengths and angles in the file, after the point."""


SAME = 1e-4
"""Points that are nearer to each other count as one [m]."""

SQUARE = 0.003
"""A line at right angles to the cross sections that stays this near to the edge follows it [m]."""

MAX_SLANT = 1.2
"""Ends that are cut more obliquely are taken to be square [rad]."""

HOLD = 2.0
"""Ends are square from this far before them; most stop lines are nearer [m]."""

STEP = 0.5
"""Of the points in which it does so [m]."""

WINDOW = 10.0
"""Slants are averaged over this length to either side [m]."""

JOG = 0.05
"""Slants that vary by more are those of an edge that jogs or spreads [rad]."""

MAX_SHIFT = 4.0
"""An edge that jogs further is followed all the same [m]."""

MAX_DRIFT = 0.5
"""The same of an edge that runs another way than the lanes all along [m]."""


@dataclass(slots=True)
class Piece:
    """A geometry of a reference line."""

    x: float
    y: float
    heading: float
    """[rad]"""

    length: float
    """[m]"""

    curvature: float = 0.0
    """Of an arc; 0 for a line [1/m]."""

    u: list[float] = field(default_factory=list)
    """Coefficients along the heading of a cubic curve over 0 to 1, constant first [m]."""

    v: list[float] = field(default_factory=list)
    """The same across [m]."""


class Guide(NamedTuple):
    """What a line should run through."""

    points: Floats
    """[G, 2] [m]"""

    headings: Floats
    """[G] [rad]"""

    square: bool
    """Whether the edge was sampled at right angles to the line."""

    sharp: bool = False
    """Whether the line has to keep to the points, however sharply it then turns."""


def find_guide(points: Floats, across: Floats, width: float) -> Guide:
    """Returns what a line along an edge of lanes should run through; nothing for a single point.

    Args:
        points: Of the edge, [P, 2] [m].
        across: Headings at right angles to the cross sections there, [P] [rad]; the line begins and
            ends with them.
        width: Of all lanes [m].
    """
    kept = _apart(points)
    points, across = points[kept], across[kept]
    if len(points) < 2:
        return Guide(points, across, True)
    steps = np.diff(points, axis=0)
    lengths = np.hypot(*steps.T)
    chords = np.unwrap(np.arctan2(steps[:, 1], steps[:, 0]))
    headings = _headings(chords, lengths)
    slants = (across - headings + np.pi) % (2.0 * np.pi) - np.pi
    slants = np.where(np.abs(slants) < MAX_SLANT, slants, 0.0)
    square = headings + slants
    shifts = _shifts(points, square)
    if np.abs(shifts).max() <= SQUARE:
        return Guide(points, square, True)
    stations = np.append(0.0, np.cumsum(lengths))
    reach = HOLD + max(1.0, ROUND * width * float(np.abs(slants[[0, -1]]).max()))
    limit = MAX_SHIFT if np.ptp(slants) > JOG else MAX_DRIFT
    if np.abs(shifts).max() <= limit or stations[-1] <= 2.0 * reach + 1.0:
        moved = _aside(points, square, shifts)
        if _goes_on(moved, square):
            return Guide(moved, square, False)
    return _smoothed(points, stations, headings, slants, reach)


def centre_guide(points: Floats) -> Guide:
    """Returns what a line just along the centre of a lane should run through.

    Args:
        points: Of the centre, [P, 2] [m].
    """
    points = points[_apart(points)]
    if len(points) < 2:
        return Guide(points, np.zeros(len(points)), False, True)
    steps = np.diff(points, axis=0)
    chords, lengths = np.unwrap(np.arctan2(steps[:, 1], steps[:, 0])), np.hypot(*steps.T)
    headings = _headings(chords, lengths)
    for end in (0, -1):
        if BULGE * lengths[end] * abs(headings[end] - chords[end]) > SHARP_CORNER:
            headings[end] = chords[end]
    return Guide(points, headings, False, True)


def _apart(points: Floats) -> NDArray[np.bool_]:
    """Returns which points of a line are kept so that no neighbours are equal, both ends are."""
    kept = np.append(True, np.hypot(*np.diff(points, axis=0).T) > SAME)
    if kept[1:].any() and not kept[-1]:
        kept[np.flatnonzero(kept)[-1]], kept[-1] = kept.sum() == 1, True
    return kept


def _smoothed(
    points: Floats, stations: Floats, headings: Floats, slants: Floats, reach: float
) -> Guide:
    """Returns a guide along the edge which at its ends alone is square to the cross sections."""
    mean = _averaged(_averaged(slants, stations), stations)
    near = np.arange(0.0, reach + STEP, STEP)
    more = np.concatenate([stations, near, stations[-1] - near])
    more = np.unique(np.clip(more, 0.0, stations[-1]))
    more = more[np.append(True, np.diff(more) > 0.05)]
    more[-1] = stations[-1]
    columns = (*points.T, headings + slants, mean)
    x, y, square, mean = (np.interp(more, stations, column) for column in columns)
    rest = np.clip((np.minimum(more, more[-1] - more) - HOLD) / (reach - HOLD), 0.0, 1.0)
    free = rest * rest * (3.0 - 2.0 * rest)
    wanted = square - mean * free
    points = np.stack([x, y], axis=-1)
    shifts = _shifts(points, wanted)
    # Between its ends the line is led back to the edge.
    area = np.append(0.0, np.cumsum(0.5 * (free[1:] + free[:-1]) * np.diff(more)))
    if area[-1] > 0.0:
        back = shifts[-1] / area[-1]
        shifts, wanted = shifts - back * area, wanted - back * free
        moved = _aside(points, wanted, shifts)
        if np.abs(shifts).max() <= MAX_SHIFT and _goes_on(moved, wanted):
            return Guide(moved, wanted, False)
    steps = np.diff(points, axis=0)
    chords = np.unwrap(np.arctan2(steps[:, 1], steps[:, 0]))
    return Guide(points, _headings(chords, np.hypot(*steps.T)), False)


def _goes_on(points: Floats, headings: Floats) -> bool:
    """Returns whether each point lies ahead of the one before, more or less."""
    middle, steps = 0.5 * (headings[1:] + headings[:-1]), np.diff(points, axis=0)
    ahead = steps[:, 0] * np.cos(middle) + steps[:, 1] * np.sin(middle)
    return bool((ahead > 0.5 * np.hypot(*steps.T)).all())


def _shifts(points: Floats, headings: Floats) -> Floats:
    """Returns how far left of an edge a line runs that has these headings, [P] [m]."""
    middle, steps = 0.5 * (headings[1:] + headings[:-1]), np.diff(points, axis=0)
    jogs = steps[:, 1] * np.cos(middle) - steps[:, 0] * np.sin(middle)
    return -np.append(0.0, np.cumsum(jogs))


def _aside(points: Floats, headings: Floats, shifts: Floats) -> Floats:
    """Returns points moved to the left."""
    left: Floats = np.stack([-np.sin(headings), np.cos(headings)], axis=-1)
    return points + shifts[:, None] * left


def _averaged(values: Floats, stations: Floats) -> Floats:
    """Returns the mean of values over a window around each station, [S]."""
    area = np.append(0.0, np.cumsum(0.5 * (values[1:] + values[:-1]) * np.diff(stations)))
    reach = np.minimum(WINDOW, np.minimum(stations, stations[-1] - stations) + 1e-3)
    low, high = np.maximum(stations - reach, 0.0), np.minimum(stations + reach, stations[-1])
    mean: Floats = np.interp(high, stations, area) - np.interp(low, stations, area)
    return mean / (high - low)


def _headings(chords: Floats, lengths: Floats) -> Floats:
    """Returns the heading at each point: exact on lines and arcs, also where one meets the other.

    Chords are weighted by how far they reach and by how little the polyline bends beyond them.
    """
    turn = np.diff(chords)
    bend = np.abs(turn) / (0.5 * (lengths[1:] + lengths[:-1]))
    padded = np.concatenate([bend[:1], bend, bend[-1:]]) if len(bend) else np.zeros(2)
    headings = np.empty(len(chords) + 1)
    if len(turn):
        one = lengths[1:] * (padded[2:] + 1e-12)
        two = lengths[:-1] * (padded[:-2] + 1e-12)
        headings[1:-1] = chords[:-1] + turn * two / (one + two)
    headings[0] = 2.0 * chords[0] - headings[1] if len(turn) else chords[0]
    headings[-1] = 2.0 * chords[-1] - headings[-2] if len(turn) else chords[0]
    return headings


def fit_line(guide: Guide, width: float, *, merged: bool = True) -> list[Piece]:
    """Returns the pieces of a line.

    Args:
        guide: What it runs through, no two neighbours equal.
        width: Largest distance of what is described along the line [m].
        merged: A piece may reach over several points.

    Returns:
        The pieces; none for less than two points.
    """
    if len(guide.points) < 2:
        return []
    at, headings = _knots(guide, width)
    slack = ASIDE / max(width, 1.0)

    def fit(i: int, j: int) -> Piece | None:
        if j > i + 1 and not merged:
            return None
        return _piece(at[i : j + 1], headings[i : j + 1], slack)

    return longest(len(at) - 1, fit)


def _knots(guide: Guide, width: float) -> tuple[Floats, Floats]:
    """Returns points that the line runs through and its headings there, [K, 2] and [K]."""
    points, headings, _, sharp = guide
    corner, width = (SHARP_CORNER, 0.0) if sharp else (CORNER, width)
    steps = np.diff(points, axis=0)
    lengths = np.hypot(*steps.T)
    chords = np.unwrap(np.arctan2(steps[:, 1], steps[:, 0]))
    before, after = np.append(chords[:1], chords), np.append(chords, chords[-1:])
    headings = 0.5 * (before + after) + _wrapped(headings - 0.5 * (before + after))
    stations = np.append(0.0, np.cumsum(lengths))
    rows = np.column_stack([stations, points, headings])
    corners = []
    for side, chord, step in ((-1, before, lengths[:-1]), (1, after, lengths[1:])):
        angle = np.abs(headings - chord)[1:-1]
        for k in np.flatnonzero(BULGE * step * angle > corner).tolist():
            reach = max(corner / (BULGE * angle[k]), ROUND * width * angle[k])
            place = stations[k + 1] + side * min(reach, 0.5 * step[k])
            corners.append([place, *_between(place, rows)[1:3], chord[k + 1]])
    if corners:
        rows = np.concatenate([rows, np.array(corners)])
        rows = rows[np.argsort(rows[:, 0], kind="stable")]
    apart = np.append(True, np.diff(rows[:, 0]) > NEAR)
    apart[-1], apart[-2] = True, apart[-1] or len(rows) == 2
    rows = rows[apart]
    return rows[:, 1:3], rows[:, 3]


def _between(place: float, rows: Floats) -> Floats:
    """Returns a row at a station between those of others."""
    return np.array([np.interp(place, rows[:, 0], column) for column in rows.T])


def _piece(at: Floats, headings: Floats, slack: float) -> Piece | None:
    """Returns one piece from the first knot to the last, None if it misses one between.

    Args:
        at: The knots, [K, 2] [m].
        headings: There, [K] [rad].
        slack: How far the heading of the piece may be from those [rad].
    """
    chord = at[-1] - at[0]
    length, direction = float(np.hypot(*chord)), float(np.arctan2(chord[1], chord[0]))
    first, last = _wrapped(headings[[0, -1]] - direction).tolist()
    inner, turns = at[1:-1] - at[0], _wrapped(headings[1:-1] - direction)
    if len(inner) and max(abs(first), abs(last)) > MAX_TURN:
        return None
    x, y, heading = float(at[0, 0]), float(at[0, 1]), float(_wrapped(headings[0]))
    if max(abs(first), abs(last)) < STRAIGHT:
        offsets = inner @ np.array([-np.sin(direction), np.cos(direction)])
        if len(inner) and (np.abs(offsets).max() > TOLERANCE or np.abs(turns).max() > slack):
            return None
        return Piece(x, y, direction, length)
    half = 0.5 * (last - first)
    if abs(first + last) < EVEN and STRAIGHT < abs(half) < 1.5:
        radius = 0.5 * length / np.sin(half)
        centre = radius * np.array([-np.sin(heading), np.cos(heading)])
        out = inner - centre
        off = np.abs(np.hypot(*out.T) - abs(radius))
        ahead = np.arctan2(out[:, 0], -out[:, 1]) + (np.pi if radius < 0.0 else 0.0)
        turned = np.abs(_wrapped(ahead - headings[1:-1]))
        if len(inner) == 0 or (off.max() <= TOLERANCE and turned.max() <= slack):
            return Piece(x, y, heading, float(2.0 * half * radius), float(1.0 / radius))
    piece = _cubic(x, y, heading, length, first, last)
    if len(inner):
        cosine, sine = np.cos(heading), np.sin(heading)
        local = inner @ np.array([[cosine, -sine], [sine, cosine]])
        missed, bent = _missed(piece, local, turns - first, at)
        if missed > TOLERANCE or bent > slack:
            return None
    return piece


def _cubic(x: float, y: float, heading: float, chord: float, first: float, last: float) -> Piece:
    """Returns a cubic curve of a chord, with the angles at its ends, that is nearly an arc."""
    handle = chord / (3.0 * np.cos(0.25 * (abs(first) + abs(last))) ** 2)
    end = chord * np.array([np.cos(first), -np.sin(first)])
    turn = last - first
    one = np.array([handle, 0.0])
    two = end - handle * np.array([np.cos(turn), np.sin(turn)])
    terms = np.round([0.0 * one, 3.0 * one, 3.0 * two - 6.0 * one, 3.0 * one - 3.0 * two + end], 12)
    u, v = terms[:, 0].tolist(), terms[:, 1].tolist()
    piece = Piece(x, y, heading, 0.0, u=u, v=v)
    for k in range(4):
        p = 0.25 * (k + NODES)
        du = u[1] + p * (2.0 * u[2] + 3.0 * p * u[3])
        dv = v[1] + p * (2.0 * v[2] + 3.0 * p * v[3])
        piece.length += 0.25 * float(np.hypot(du, dv) @ WEIGHTS)
    return piece


def _missed(piece: Piece, points: Floats, turns: Floats, at: Floats) -> tuple[float, float]:
    """Returns how far a cubic curve misses points [m] and headings [rad] between two knots."""
    steps = np.hypot(*np.diff(at, axis=0).T)
    p = np.cumsum(steps)[:-1] / steps.sum()
    u, v = np.array(piece.u), np.array(piece.v)
    for _ in range(3):
        x = u[0] + p * (u[1] + p * (u[2] + p * u[3])) - points[:, 0]
        y = v[0] + p * (v[1] + p * (v[2] + p * v[3])) - points[:, 1]
        dx = u[1] + p * (2.0 * u[2] + 3.0 * p * u[3])
        dy = v[1] + p * (2.0 * v[2] + 3.0 * p * v[3])
        p = p - (x * dx + y * dy) / np.maximum(dx * dx + dy * dy, 1e-12)
    turned = np.abs(_wrapped(np.arctan2(dy, dx) - turns))
    return float(np.hypot(x, y).max()), float(turned.max())


def reference_line(pieces: list[Piece]) -> ReferenceLine:
    """Returns the line that a reader makes of pieces; rounds them to what the file holds.

    Args:
        pieces: At least one; rounded in place.
    """
    rows, curves, start = [], {}, 0.0
    for number, piece in enumerate(pieces):
        for name in ("x", "y", "heading", "length"):
            setattr(piece, name, round(getattr(piece, name), DIGITS))
        piece.curvature = round(piece.curvature, DIGITS + 3)
        if piece.u:
            curves[number] = CubicCurve(np.array(piece.u), np.array(piece.v), 1.0, piece.length)
        rows.append([start, piece.x, piece.y, piece.heading, piece.curvature, 0.0, piece.length])
        start = round(start + piece.length, DIGITS)
    columns = np.ascontiguousarray(np.array(rows).T)
    return ReferenceLine(*columns, length=start, curves=curves)  # type: ignore[misc]


def project(line: ReferenceLine, points: Floats, guess: Floats) -> tuple[Floats, Floats]:
    """Returns where points lie along a line.

    Args:
        line: The line.
        points: [N, 2] [m].
        guess: Stations near the results, [N] [m].

    Returns:
        Stations and offsets to the left, [N] each [m]; a point beyond an end gets that end.
    """
    s = np.clip(guess, 0.0, line.length)
    for _ in range(6):
        x, y, heading, curvature = line.evaluate(s)
        cosine, sine = np.cos(heading), np.sin(heading)
        dx, dy = points[:, 0] - x, points[:, 1] - y
        along, aside = dx * cosine + dy * sine, dy * cosine - dx * sine
        squeeze = 1.0 - curvature * aside
        squeeze = np.where(np.abs(squeeze) < 0.2, 0.2, squeeze)
        moved = np.clip(s + along / squeeze, 0.0, line.length)
        if np.abs(moved - s).max() < 1e-9:
            break
        s = moved
    return s, aside


def _wrapped(angle: Floats | float) -> Floats:
    """Returns an angle in [-pi, pi)."""
    return (np.asarray(angle) + np.pi) % (2.0 * np.pi) - np.pi
