"""Describes the ends of lanes that are not those of their reference line, cut squarely."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.maps.opendrive.geometry import ReferenceLine
from selfdrive_env.maps.opendrive.parse.user_data import MAX_CUT
from selfdrive_env.maps.opendrive.write.curves import Piece, project, reference_line

__all__ = ["SQUARE_END", "extended", "find_cuts", "led_on", "oblique"]

Floats = NDArray[np.float64]

SQUARE_END = 0.002
"""Lanes that end this near to the ends of their line are cut squarely [m]."""

MAX_CUT_OFF = 0.9
"""Share of its length that a lane may lose at ends that are cut obliquely."""

LED_ON = 0.01
"""How near to the ends offsets say how edges go on beyond them [m]."""

SAME = 1e-5
"""Stations that are nearer to each other count as one [m]."""


def extended(pieces: list[Piece], tips: Floats, reach: float) -> tuple[ReferenceLine, float]:
    """Returns a line that goes on straight as far as lanes reach that end just beyond its ends.

    Args:
        pieces: Of the line.
        tips: Where the lanes begin and end, [..., 2, 2] [m].
        reach: How far beyond, at most [m].

    Returns:
        The line, and how much earlier it begins [m].
    """
    line = reference_line(pieces)
    beyond = _beyond(line, tips)
    x, y, heading, _ = line.evaluate(np.array([0.0, line.length]))
    before = max(-float(beyond[..., 0].min()), 0.0)
    after = max(float(beyond[..., 1].max()), 0.0)
    before, after = (by if by <= reach else 0.0 for by in (before, after))
    longer = list(pieces)
    if before > SAME:
        at = x[0] - before * np.cos(heading[0]), y[0] - before * np.sin(heading[0])
        longer.insert(0, Piece(float(at[0]), float(at[1]), float(heading[0]), before))
    if after > SAME:
        longer.append(Piece(float(x[1]), float(y[1]), float(heading[1]), after))
    return reference_line(longer), before if before > SAME else 0.0


def find_cuts(line: ReferenceLine, tips: Floats) -> Floats:
    """Returns how much further than a line lanes begin and end, [D, 3, 2] [m].

    Args:
        line: The reference line, which reaches as far as any of them.
        tips: Where they begin and end, [D, 3, 2, 2] [m].
    """
    ends = np.array([0.0, line.length])
    guess = _beyond(line, tips) + ends
    s, _ = project(line, tips.reshape(-1, 2), guess.ravel())
    cuts: Floats = s.reshape(guess.shape) - ends
    return cuts


def led_on(
    edges: Floats, line: ReferenceLine, stations: Floats, offsets: Floats
) -> tuple[Floats, Floats]:
    """Returns stations and offsets that lead on to the tips of edges beyond the ends of a line.

    Readers go on as the offsets do at the ends, so that these get a station close by.

    Args:
        edges: [2, P, 3] [m].
        line: Along the centre between them.
        stations: Ascending from 0 to its length, [S] [m].
        offsets: Of the edges, [2, S] [m].
    """
    x, y, heading, _ = line.evaluate(np.array([0.0, line.length]))
    for end, sign in ((0, 1.0), (-1, -1.0)):
        gap = np.abs(np.diff(stations)[end])
        close = stations[end] + sign * min(LED_ON, 0.5 * gap)
        values = np.array([np.interp(close, stations, row) for row in offsets])
        for k, edge in enumerate(edges[:, :: int(sign)]):
            dx, dy = edge[:, 0] - x[end], edge[:, 1] - y[end]
            forward = sign * (dx * np.cos(heading[end]) + dy * np.sin(heading[end]))
            aside = dy * np.cos(heading[end]) - dx * np.sin(heading[end])
            within = int(np.argmax(forward > 0.0))
            if forward[0] < -SAME and within:
                share = forward[within - 1] / (forward[within - 1] - forward[within])
                offsets[k, end] = aside[within - 1] + share * (aside[within] - aside[within - 1])
                rise = (offsets[k, end] - aside[0]) / -forward[0]
                values[k] = offsets[k, end] + rise * abs(close - stations[end])
        place = 1 if end == 0 else len(stations) - 1
        stations = np.insert(stations, place, close)
        offsets = np.insert(offsets, place, values, axis=1)
    return stations, np.minimum.accumulate(offsets, axis=0)


def oblique(edges: Floats, line: ReferenceLine, s: Floats) -> Floats | None:
    """Returns how much further than a line two edges begin and end, None where they do not.

    Args:
        edges: [2, P, 3] [m].
        line: Along the centre between them.
        s: Stations of their points, [2, P] [m].
    """
    beyond = _beyond(line, edges[:, [0, -1], :2])
    beyond[:, 0] = np.where(beyond[:, 0] < 0.0, beyond[:, 0], s[:, 0])
    beyond[:, 1] = np.where(beyond[:, 1] > 0.0, beyond[:, 1], s[:, -1] - line.length)
    short = (beyond[:, 0] - beyond[:, 1]).max() > MAX_CUT_OFF * line.length
    if short or np.abs(beyond).max() > MAX_CUT or np.abs(beyond).max() < SQUARE_END:
        return None
    return np.concatenate([beyond, np.zeros((1, 2))])[None]


def _beyond(line: ReferenceLine, tips: Floats) -> Floats:
    """Returns how far ahead of the start and end of a line starts and ends lie, [..., 2] [m]."""
    x, y, heading, _ = line.evaluate(np.array([0.0, line.length]))
    beyond: Floats = (tips[..., 0] - x) * np.cos(heading) + (tips[..., 1] - y) * np.sin(heading)
    return beyond
