"""Lines of motorways and their ramps: tangents joined by bends of clothoid, arc and clothoid.

A line follows the tangents through its corners. A corner may turn by more than half a round: then
its bend lies beyond the corner, as that of a loop ramp does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.maps.procedural.roads.lines import bend_pieces, tangent_length
from selfdrive_env.maps.road_network import MapError
from selfdrive_env.maps.towns.builder import smooth
from selfdrive_env.maps.towns.centre_lines import CentreLine, Pose, chain, evaluate, pose_at

__all__ = [
    "LIMITS",
    "Corner",
    "Profile",
    "bend_caps",
    "bend_reach",
    "end_caps",
    "fitting_limit",
    "hump",
    "line_along",
    "places",
    "reversed_line",
    "spans",
    "station_of_origin",
    "turned_line",
    "zones",
]

Floats = NDArray[np.float64]

CURVED_STEP = 0.95
"""Largest step of stations in bends, `OUTSIDE` of the line: compiled lanes are cut at steps of a
metre, and a coarser line would bend sharply at its points [m]."""

BEND = 1e-7
"""Pieces of less curvature are straight [1/m]."""

STRAIGHT_STEP = 10.0
SLOPING_STEP = 2.0
"""Where widths or heights change [m]."""

OUTSIDE = 9.0
SHORTEST_STRAIGHT = 0.5
"""Between two bends [m]."""

SIGN_LEAD = 30.0
"""A limit begins this far before the bend that it is for [m]."""

STEP, STEP_LENGTH = 30.0 / 3.6, 70.0
"""Limits step down by at most so much at once, so far apart [m/s], [m]."""

LIMITS = tuple(speed / 3.6 for speed in (30, 40, 50, 60, 70, 80, 90, 100, 110, 120, 130))
"""Speed limits [m/s]."""

BEFORE_END = ((90.0, LIMITS[3]), (210.0, LIMITS[5]), (330.0, LIMITS[7]))
"""Within this of its end a carriageway has at most this limit [m], [m/s]."""

AFTER_END = ((60.0, LIMITS[4]),)
"""The same after its start."""

SHORTEST_ZONE = 60.0
"""Of a speed limit [m]."""

Cap = tuple[float, float, float]
"""From where to where [m] which speed limit [m/s]."""

LATERAL = 2.4
"""Lateral acceleration for which bends are signed [m/s^2]."""


@dataclass(frozen=True, slots=True)
class Corner:
    """Where a line changes its direction."""

    x: float
    y: float
    radius: float = 0.0
    """Of the arc; 0 at the ends of the line [m]."""

    spiral: float = 0.0
    """Length of either clothoid [m]."""

    around: bool = False
    """The line turns the other way round, by more than half a round."""

    heading: float | None = None
    """Of the line from here on, where the next corner does not lie ahead [rad]."""


@dataclass(frozen=True, slots=True)
class Profile:
    """A value along a line, interpolated between stations."""

    station: Floats
    value: Floats

    def at(self, s: Floats | float) -> Floats:
        """Returns the values at some stations."""
        return np.asarray(np.interp(s, self.station, self.value))

    def slope(self, s: float) -> float:
        """Returns the change a metre at a station."""
        return float(self.at(s + 0.5) - self.at(s - 0.5))

    def reversed(self, length: float) -> Profile:
        """Returns the profile along the reversed line of that length [m]."""
        return Profile(length - self.station[::-1], self.value[::-1].copy())


def _turn(before: float, after: float, around: bool) -> float:
    """Returns the change of heading at a corner, positive to the left [rad]."""
    turn = math.remainder(after - before, 2.0 * math.pi)
    return turn - math.copysign(2.0 * math.pi, turn) if around else turn


def line_along(corners: Sequence[Corner]) -> CentreLine:
    """Returns the line that follows the tangents through some corners.

    Args:
        corners: From its start to its end; two at least.

    Raises:
        MapError: Two bends overlap.
    """
    headings: list[float] = []
    gaps: list[float] = []
    for a, b in pairwise(corners):
        dx, dy = b.x - a.x, b.y - a.y
        heading = math.atan2(dy, dx) if a.heading is None else a.heading
        headings.append(heading)
        # Below 0 beside a loop, whose bend lies beyond the corner.
        gaps.append(dx * math.cos(heading) + dy * math.sin(heading))
    reach, bends = [0.0], []
    for corner, (before, after) in zip(corners[1:-1], pairwise(headings), strict=True):
        turn = _turn(before, after, corner.around)
        pieces = bend_pieces(turn, corner.radius, corner.spiral) if abs(turn) > 1e-6 else []
        reach.append(tangent_length(turn, pieces) if pieces else 0.0)
        bends.append(pieces)
    reach.append(0.0)
    out: list[tuple[float, float]] = []
    for k, gap in enumerate(gaps):
        straight = gap - reach[k] - reach[k + 1]
        least = SHORTEST_STRAIGHT if 0 < k < len(gaps) - 1 else 0.0
        if straight < least - 1e-6:
            at = ", ".join(f"({c.x:.1f}, {c.y:.1f}) R {c.radius:.0f}" for c in corners)
            raise MapError(f"bends {k} and {k + 1} overlap by {-straight:.1f} m: {at}")
        out.append((straight, 0.0))
        out += bends[k] if k < len(bends) else []
    first = corners[0]
    return chain(Pose(first.x, first.y, headings[0]), out)


def reversed_line(line: CentreLine) -> CentreLine:
    """Returns a line run through from its end to its start."""
    lengths = np.diff(np.append(line.station, line.length))
    pieces = list(zip(lengths[::-1].tolist(), (-line.curvature[::-1]).tolist(), strict=True))
    return chain(pose_at(line, line.length).reversed(), pieces)


def places(line: CentreLine, first: float, last: float, *, even: bool) -> Floats:
    """Returns the stations at which a part of a line is sampled, both ends included [m].

    Args:
        line: The line.
        first: Where the part starts [m].
        last: Where it ends [m].
        even: Widths and heights stay the same all along.
    """
    bounds = np.append(line.station, line.length)
    low, high = np.maximum(bounds[:-1], first), np.minimum(bounds[1:], last)
    bend = np.abs(line.curvature)
    straight = STRAIGHT_STEP if even else SLOPING_STEP
    step = np.where(bend > BEND, CURVED_STEP / (1.0 + OUTSIDE * bend), straight)
    known = high > low + 1e-6
    count = np.concatenate([[0.0], np.cumsum(((high - low) / step)[known])])
    at = np.concatenate([low[known], high[known][-1:]])
    number = max(1, math.ceil(float(count[-1]) - 1e-6))
    out = np.interp(np.linspace(0.0, count[-1], number + 1), count, at)
    out[0], out[-1] = first, last
    return out


def fitting_limit(curvature: float, most: float) -> float:
    """Returns the highest usual speed limit that a bend allows, at most `most` [m/s].

    Args:
        curvature: Of the bend [1/m].
        most: Limit without bends [m/s].
    """
    square = LATERAL / max(curvature, 1e-9)
    fitting = [limit for limit in LIMITS if limit * limit <= square and limit <= most + 1e-6]
    return fitting[-1] if fitting else LIMITS[0]


def hump(length: float, tops: Sequence[float], height: float, flat: float, rise: float) -> Profile:
    """Returns heights along a line that is level but for humps, or hollows.

    Args:
        length: Of the line [m].
        tops: Their middles [m].
        height: Below 0 for hollows [m].
        flat: Half the length of a level top [m].
        rise: Length of the smooth rise on either side, less where the line ends before [m].
    """
    s = np.linspace(0.0, length, max(2, math.ceil(length)))
    share = np.zeros(s.shape)
    for top in tops:
        before, after = min(rise, top - flat), min(rise, length - top - flat)
        far = (np.abs(s - top) - flat) / np.where(s < top, before, after)
        share = np.maximum(share, 1.0 - smooth(far))
    return Profile(s, height * share)


def spans(values: Sequence[tuple[float, float]]) -> Profile:
    """Returns a profile that goes smoothly from each (station, value) to the next one."""
    stations, heights = [], []
    for (a, low), (b, high) in pairwise(values):
        s = np.linspace(a, b, max(9, math.ceil(b - a) + 1))
        stations.append(s)
        heights.append(low + (high - low) * smooth((s - a) / (b - a)))
    return Profile(np.concatenate(stations), np.concatenate(heights))


def bend_caps(line: CentreLine, most: float) -> list[Cap]:
    """Returns (from, to, speed limit) for each bend that asks for a limit below `most`.

    Limits step down before it.
    """
    bounds = np.append(line.station, line.length)
    out = []
    for k, curvature in enumerate(np.abs(line.curvature).tolist()):
        limit = fitting_limit(curvature, most)
        end, start = float(bounds[k + 1]), float(bounds[k]) - SIGN_LEAD
        while limit < most:
            out.append((start, end, limit))
            end, start, limit = start, start - STEP_LENGTH, limit + STEP
    return out


def end_caps(length: float, *, start: bool = True, end: bool = True) -> list[Cap]:
    """Returns (from, to, speed limit) for the ends of a carriageway that are closed [m], [m/s]."""
    caps = [(length - far, length, limit) for far, limit in BEFORE_END if end]
    return caps + [(0.0, near, limit) for near, limit in AFTER_END if start]


def zones(length: float, caps: Sequence[Cap], most: float) -> list[tuple[float, float]]:
    """Returns (station, limit from there on) such that every cap holds and no zone is short.

    Args:
        length: Of the line [m].
        caps: (from, to, speed limit) of places with a limit of their own [m], [m/s].
        most: Speed limit elsewhere [m/s].
    """
    bounds = sorted({0.0, length, *(min(max(s, 0.0), length) for a, b, _ in caps for s in (a, b))})
    rows: list[tuple[float, float, float]] = []
    for low, high in pairwise(bounds):
        middle = 0.5 * (low + high)
        rows.append((low, high, min([most, *(v for a, b, v in caps if a <= middle <= b)])))
    while True:
        merged: list[tuple[float, float, float]] = []
        for low, high, limit in rows:
            if merged and abs(merged[-1][2] - limit) < 1e-6:
                merged[-1] = (merged[-1][0], high, limit)
            else:
                merged.append((low, high, limit))
        rows = merged
        for k, (low, high, limit) in enumerate(rows):
            beside = [rows[j][2] for j in (k - 1, k + 1) if 0 <= j < len(rows)]
            if high - low < SHORTEST_ZONE and beside and limit > min(beside):
                rows[k] = (low, high, min(beside))
                break
        else:
            return [(low, limit) for low, _, limit in rows]


def bend_reach(radius: float, spiral: float, turn: float) -> float:
    """Returns the way from a corner to where its bend starts, below 0 beyond the corner [m].

    Args:
        radius: Of the bend [m].
        spiral: Length of its clothoids [m].
        turn: Change of heading [rad].
    """
    return tangent_length(turn, bend_pieces(turn, radius, spiral))


def turned_line(line: CentreLine, angle: float) -> CentreLine:
    """Returns a line turned about the origin [rad]."""
    cosine, sine = math.cos(angle), math.sin(angle)
    x, y = line.x * cosine - line.y * sine, line.x * sine + line.y * cosine
    return line._replace(x=x, y=y, heading=line.heading + angle)


def station_of_origin(line: CentreLine) -> float:
    """Returns the station of the origin on a line that is straight along +x there [m]."""
    s = np.arange(0.0, line.length, 1.0)
    x, y, _ = evaluate(line, s)
    near = int(np.argmin(np.hypot(x, y)))
    return float(s[near] - x[near])
