"""Centre lines of streets and of ways through junctions.

Bends are clothoid, arc, clothoid; each clothoid is a chain of `SPIRAL_PIECES` arcs whose curvature
rises in equal steps, so that positions stay exact in closed form.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.maps.towns.centre_lines import CentreLine, Pose, chain, connection, pose_at

__all__ = ["TURN_SPIRAL", "bend_pieces", "line_through", "stations", "tangent_length", "turn_line"]

Floats = NDArray[np.float64]

SPIRAL_PIECES = 6
"""Arcs of one clothoid."""

TURN_SPIRAL = 0.35
"""Length of the clothoids of a turn in a junction over its radius."""

CHORD_ERROR = 0.01
"""How far points at the edge of a lane may leave the true curve [m]."""

LONGEST_STEP = 10.0
SHORTEST_STEP = 0.4
"""Between stations [m]."""

EDGE = 6.0
"""Bends are sampled for an edge so far outside of the line [m]."""

MARGIN = 1e-6
"""Counts are the same where lengths differ by less than this [m]."""

Piece = tuple[float, float]
"""Length [m] and curvature [1/m]."""


def stations(line: CentreLine, first: float, last: float, longest: float = LONGEST_STEP) -> Floats:
    """Returns arc lengths that sample a part of a line, dense where it bends.

    Args:
        line: The line.
        first: Where the part starts [m].
        last: Where it ends [m].
        longest: Largest step [m].

    Returns:
        Increasing arc lengths with both ends, [P >= 2] [m].
    """
    bounds = np.append(line.station, line.length)
    low, high = np.maximum(bounds[:-1], first), np.minimum(bounds[1:], last)
    bend = np.abs(line.curvature)
    step = np.sqrt(8.0 * CHORD_ERROR * np.maximum(bend, 1e-9)) / np.maximum(bend, 1e-9)
    step = np.clip(step / np.sqrt(1.0 + EDGE * bend), SHORTEST_STEP, longest)
    known = high > low + MARGIN
    # Steps change from piece to piece: one count over the sum keeps short pieces from crowding.
    count = np.concatenate([[0.0], np.cumsum(((high - low) / step)[known])])
    place = np.concatenate([low[known], high[known][-1:]])
    number = max(1, math.ceil(float(count[-1]) - MARGIN))
    out = np.interp(np.linspace(0.0, count[-1], number + 1), count, place)
    out[0], out[-1] = first, last
    return out


def bend_pieces(turn: float, radius: float, spiral: float) -> list[Piece]:
    """Returns a bend as pieces of constant curvature.

    Args:
        turn: Change of heading, positive to the left [rad].
        radius: Of the arc in the middle [m].
        spiral: Length of the clothoid on either side [m]; less where the turn is too small for it.
    """
    sense, turn = math.copysign(1.0, turn), abs(turn)
    spiral = min(spiral, 0.8 * turn * radius)
    part = spiral / SPIRAL_PIECES
    rising = [(part, (k + 0.5) / (SPIRAL_PIECES * radius)) for k in range(SPIRAL_PIECES)]
    middle = (turn * radius - spiral, 1.0 / radius)
    return [(length, sense * bend) for length, bend in (*rising, middle, *rising[::-1])]


def tangent_length(turn: float, pieces: Sequence[Piece]) -> float:
    """Returns the way from the start of a symmetric bend to where its tangents meet [m]."""
    end = pose_at(chain(Pose(0.0, 0.0, 0.0), list(pieces)), sum(length for length, _ in pieces))
    return end.x - end.y / math.tan(turn)


def line_through(
    vertices: Sequence[tuple[float, float]],
    radii: Sequence[float],
    spiral: float = 0.0,
    lead: float = 0.0,
) -> CentreLine:
    """Returns straight pieces between points, with a bend at each inner one.

    Args:
        vertices: V >= 2 points [m].
        radii: Wanted radius at each inner point, V - 2; smaller where there is no room [m].
        spiral: Wanted length of clothoids, as a share of the radius.
        lead: Straight piece at either end; less where the first leg is short [m].
    """
    points = np.asarray(vertices, np.float64)
    steps = np.diff(points, axis=0)
    lengths = np.hypot(*steps.T).tolist()
    headings = np.arctan2(steps[:, 1], steps[:, 0]).tolist()
    bends: list[tuple[float, list[Piece]]] = []
    for k, (before, after) in enumerate(pairwise(headings)):
        turn = math.remainder(after - before, 2.0 * math.pi)
        if abs(turn) < 1e-3:
            bends.append((0.0, []))
            continue
        legs = (lengths[k], k == 0), (lengths[k + 1], k == len(radii) - 1)
        room = min(
            max(length - lead, 0.3 * length) if ends else 0.49 * length for length, ends in legs
        )
        pieces = bend_pieces(turn, radii[k], spiral * radii[k])
        reach = tangent_length(turn, pieces)
        if reach > room:
            radius = radii[k] * room / reach
            pieces = bend_pieces(turn, radius, spiral * radius)
            reach = tangent_length(turn, pieces)
        bends.append((reach, pieces))
    out: list[Piece] = []
    for leg, length in enumerate(lengths):
        before_cut = bends[leg - 1][0] if leg else 0.0
        after_cut = bends[leg][0] if leg < len(bends) else 0.0
        out.append((length - before_cut - after_cut, 0.0))
        out += bends[leg][1] if leg < len(bends) else []
    x, y = points[0].tolist()
    return chain(Pose(x, y, headings[0]), out)


def turn_line(start: Pose, end: Pose, radius: float) -> CentreLine:
    """Returns a way through a junction, tangent to both poses.

    Args:
        start: Where it begins.
        end: Where it ends.
        radius: Of the arc where the tangents meet ahead, smaller where there is no room [m].
    """
    turn = math.remainder(end.heading - start.heading, 2.0 * math.pi)
    if abs(math.sin(turn)) > 0.05:
        dx, dy = end.x - start.x, end.y - start.y
        before = (dx * math.sin(end.heading) - dy * math.cos(end.heading)) / math.sin(turn)
        after = (dy * math.cos(start.heading) - dx * math.sin(start.heading)) / math.sin(turn)
        if min(before, after) > 1.0:
            pieces = bend_pieces(turn, 1.0, TURN_SPIRAL)
            shape = tangent_length(turn, pieces)
            radius = min(radius, min(before, after) / shape)
            bend = [(length * radius, curvature / radius) for length, curvature in pieces]
            cut = radius * shape
            return chain(start, [(before - cut, 0.0), *bend, (after - cut, 0.0)])
    return connection(start, end)
