"""Bridges: which lane segments see which of several surfaces (layers) of a map."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from selfdrive_env.arrays import I32, U8
from selfdrive_env.maps.segments import Strips

__all__ = ["Layers", "find_layers"]

CLEARANCE = 2.5
"""Least difference in elevation between two levels [m]."""


@dataclass(frozen=True, slots=True)
class Layers:
    """Which surface an agent sees and which surfaces lack a segment."""

    count: int

    layer: U8
    """Surface seen from each segment, [Q]."""

    removal: I32
    """The only layer whose surface has the segment, -1 for all of them, [Q]."""


def find_layers(strips: Strips) -> Layers:
    """Returns the layers of a map; one layer if no lanes cross above one another."""
    num = len(strips.segment_lane)
    return Layers(1, np.zeros(num, np.uint8), np.full(num, -1, np.int32))
