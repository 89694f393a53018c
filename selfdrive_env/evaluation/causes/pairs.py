"""Two bodies just before they touch, and whether the own one has a fault."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["ALIGNED_COS", "Bools", "Floats", "Indices", "Pair", "lengthwise", "own_faults"]

LANE_SLACK = 0.3
"""By how much a corner may stick out of the lane [m]."""

ALIGNED_COS = 0.7071
"""Of headings within 45 degrees of each other."""

Bools = NDArray[np.bool_]
Floats = NDArray[np.floating[Any]]
Indices = NDArray[np.intp]


class Pair(NamedTuple):
    """Two bodies just before they touch, arrays over pairs. The own one is judged."""

    dx: Floats
    dy: Floats
    """From the own box centre to the other's, in the own frame [m]."""

    cos: Floats
    sin: Floats
    """The other's heading in the own frame."""

    half_length: Floats
    half_width: Floats
    other_half_length: Floats
    other_half_width: Floats
    """[m]"""

    speed: Floats
    other_speed: Floats
    """[m/s]"""

    beyond_lane: Floats
    """By how much the own body sticks out of its lane, infinite against the lane [m]."""

    ran_light: Bools


def lengthwise(pair: Pair) -> Bools:
    """Returns whether the bodies of each pair are apart lengthwise rather than sideways."""
    cos, sin = np.abs(pair.cos), np.abs(pair.sin)
    along = pair.half_length + pair.other_half_length * cos + pair.other_half_width * sin
    across = pair.half_width + pair.other_half_length * sin + pair.other_half_width * cos
    apart: Bools = np.abs(pair.dx) - along >= np.abs(pair.dy) - across
    return apart


def own_faults(pair: Pair) -> Bools:
    """Returns whether the own body of each pair has a fault of the list in incidents.py."""
    into_rear = (pair.cos > ALIGNED_COS) & (pair.dx > 0.0) & lengthwise(pair)
    into_rear &= (pair.speed > 0.0) & (pair.speed > pair.other_speed * pair.cos)
    return into_rear | (pair.speed < 0.0) | (pair.beyond_lane > LANE_SLACK) | pair.ran_light
