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
from selfdrive_env.maps.towns.centre_lines import CentreLine, Pose, chain, evaluate, pose_at

__all__ = [
    "Corner",
    "Profile",
    "crossing_of",
    "fitting_limit",
    "hump",
    "line_along",
    "places",
    "reversed_line",
    "sharpest",
]

Floats = NDArray[np.float64]

CURVED_STEP = 0.95
"""Largest step of stations in bends, 9 m outside of the line: the compiled lanes are cut at steps of
a metre, and a coarser line would bend sharply at its points [m]."""

BEND = 1e-7
"""Pieces of less curvature are straight [1/m]."""

STRAIGHT_STEP = 10.0
SLOPING_STEP = 2.0
"""Where widths or heights change [m]."""

OUTSIDE = 9.0
SHORTEST_STRAIGHT = 0.5
"""Between two bends [m]."""

LATERAL = 2.2
"""Lateral acceleration for which bends are signed [m/s^2]."""

LIMITS = tuple(speed / 3.6 for speed in (30, 40, 50, 60, 70, 80, 90, 100, 110, 120, 130))
"""Speed limits [m/s]."""


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
        return np.interp(s, self.station, self.value)

    def slope(self, s: float) -> float:
        """Returns the change a metre at a station."""
        return float(self.at(s + 0.5) - self.at(s - 0.5))

    def reversed(self, length: float) -> Profile:
        """Returns the profile along the reversed line of that length [m]."""
        return Profile(length - self.station[::-1], self.value[::-1].copy())


def _turn(before: float, after: float, around: bool) -> float:
    """Returns the change of heading at a corner [rad]."""
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


def sharpest(line: CentreLine, first: float, last: float) -> float:
    """Returns the largest curvature of a part of a line [1/m]."""
    bounds = np.append(line.station, line.length)
    inside = (bounds[1:] > first + 1e-6) & (bounds[:-1] < last - 1e-6)
    return float(np.abs(line.curvature[inside]).max(initial=0.0))


def fitting_limit(curvature: float, most: float) -> float:
    """Returns the highest usual speed limit that a bend allows, at most `most` [m/s].

    Args:
        curvature: Of the bend [1/m].
        most: Limit without bends [m/s].
    """
    square = LATERAL / max(curvature, 1e-9)
    fitting = [limit for limit in LIMITS if limit * limit <= square and limit <= most + 1e-6]
    return fitting[-1] if fitting else LIMITS[0]


def hump(line: CentreLine, at: float, height: float, flat: float, rise: float) -> Profile:
    """Returns heights along a line that is level but for one hump, or a hollow.

    Args:
        line: The line.
        at: Its middle [m].
        height: Below 0 for a hollow [m].
        flat: Half the length of its level top [m].
        rise: Length of the smooth rise on either side [m].
    """
    s = np.linspace(0.0, line.length, max(2, math.ceil(line.length)))
    t = np.clip((np.abs(s - at) - flat) / rise, 0.0, 1.0)
    return Profile(s, height * (1.0 - t * t * (3.0 - 2.0 * t)))


def crossing_of(line: CentreLine, x: float, y: float) -> float:
    """Returns the station nearest to a point [m]."""
    s = np.arange(0.0, line.length, 0.25)
    px, py, _ = evaluate(line, s)
    return float(s[np.argmin(np.hypot(px - x, py - y))])
