"""Heights of hilly towns: a smooth field for junctions, slopes, crests and dips between them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.maps.procedural.draws import Draws
from selfdrive_env.maps.towns.builder import smooth
from selfdrive_env.maps.towns.centre_lines import CentreLine, evaluate

__all__ = ["CLEARANCE", "LEVEL", "Relief", "crossing_heights", "meeting_place", "street_heights"]

Floats = NDArray[np.float64]

LEVEL = 3.0
"""Streets are level for so long from where they end [m]."""

STEEPEST = 0.1
"""Largest grade."""


PLATEAU = 24.0
"""Streets that cross on two levels are level for so long to either side of it [m]."""

CLEARANCE = 6.0
"""Between the two levels [m]."""

STEEPEST_RAMP = 0.1


@dataclass(frozen=True, slots=True)
class Relief:
    """Ranges of heights."""

    height: tuple[float, float] = (4.0, 10.0)
    """Amplitude of the hills [m]."""

    wave: tuple[float, float] = (350.0, 700.0)
    """From hill to hill [m]."""

    crest: tuple[float, float] = (-2.5, 2.5)
    """Of a street over the slope between its ends, negative for dips [m]."""

    def field(self, draws: Draws) -> Callable[[float, float], float]:
        """Returns the height at a place [m]."""
        waves = []
        for _ in range(3):
            angle, length = draws.within((0.0, 2.0 * math.pi)), draws.within(self.wave)
            waves.append(
                (
                    2.0 * math.pi / length * math.cos(angle),
                    2.0 * math.pi / length * math.sin(angle),
                    draws.within((0.0, 2.0 * math.pi)),
                    draws.within(self.height) / 2.0,
                )
            )
        return lambda x, y: sum(a * math.sin(kx * x + ky * y + p) for kx, ky, p, a in waves)


def street_heights(
    draws: Draws,
    relief: Relief,
    line: CentreLine,
    ends: tuple[float, float],
    z: tuple[float, float],
) -> tuple[Floats, Floats]:
    """Returns heights along a street, level where it ends.

    Args:
        draws: Where chance comes from.
        relief: Ranges.
        line: Of the street.
        ends: How far from its nodes it starts and ends [m].
        z: Heights of its nodes [m].

    Returns:
        Stations and heights, [N] each [m].
    """
    first, last = ends[0] + LEVEL, line.length - ends[1] - LEVEL
    samples = np.linspace(0.0, line.length, max(2, math.ceil(line.length - 1e-6)))
    share = np.clip((samples - first) / (last - first), 0.0, 1.0)
    heights = z[0] + (z[1] - z[0]) * smooth(share)
    room = STEEPEST - 1.5 * abs(z[1] - z[0]) / (last - first)
    # The steepest grade of a sine squared of height h and length L is pi h / L.
    most = max(0.0, room * (last - first) / math.pi)
    crest = draws.within(relief.crest)
    crest = math.copysign(min(abs(crest), most), crest)
    return samples, heights + crest * np.sin(np.pi * share) ** 2


def meeting_place(line: CentreLine, other: CentreLine) -> tuple[float, float]:
    """Returns the stations where two lines are nearest to each other [m]."""
    s, t = (np.arange(0.0, one.length, 1.0) for one in (line, other))
    (x, y, _), (u, v, _) = evaluate(line, s), evaluate(other, t)
    gap = np.hypot(x[:, None] - u, y[:, None] - v)
    place = np.unravel_index(int(np.argmin(np.round(gap, 6))), gap.shape)
    return float(s[place[0]]), float(t[place[1]])


def crossing_heights(
    line: CentreLine,
    ends: tuple[float, float],
    z: tuple[float, float],
    place: float,
    height: float,
) -> tuple[Floats, Floats] | None:
    """Returns heights along a street that passes over or below another, None if it is too steep.

    Args:
        line: Of the street.
        ends: How far from its nodes it starts and ends [m].
        z: Heights of its nodes [m].
        place: Station where it crosses the other one [m].
        height: Its height there [m].
    """
    first, last = ends[0] + LEVEL, line.length - ends[1] - LEVEL
    samples = np.linspace(0.0, line.length, max(2, math.ceil(line.length - 1e-6)))
    low, high = place - PLATEAU, place + PLATEAU
    if low - first < PLATEAU or last - high < PLATEAU:
        return None
    grades = [1.5 * abs(height - z[0]) / (low - first), 1.5 * abs(height - z[1]) / (last - high)]
    if max(grades) > STEEPEST_RAMP:
        return None
    rising = z[0] + (height - z[0]) * smooth((samples - first) / (low - first))
    falling = height + (z[1] - height) * smooth((samples - high) / (last - high))
    return samples, np.where(samples < place, rising, falling)
