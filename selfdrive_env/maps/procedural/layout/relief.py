"""Heights of hilly towns: a smooth field for junctions, slopes, crests and dips between them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.maps.procedural.draws import Draws
from selfdrive_env.maps.towns.builder import smooth
from selfdrive_env.maps.towns.centre_lines import CentreLine

__all__ = ["Relief", "street_heights"]

Floats = NDArray[np.float64]

LEVEL = 3.0
"""Streets are level for so long from where they end [m]."""

STEEPEST = 0.1
"""Largest grade."""


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
