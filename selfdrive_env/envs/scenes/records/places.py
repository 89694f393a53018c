"""Where on the lanes of a map something is."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from selfdrive_env.maps.compile.compiled_map import CompiledMap
from selfdrive_env.state.road import (
    LEVEL_HEIGHT,
    SEG_COS,
    SEG_LEFT,
    SEG_LENGTH,
    SEG_RIGHT,
    SEG_S,
    SEG_SIN,
    SEG_X,
    SEG_Y,
    SEG_Z,
)

__all__ = ["Place", "places_near"]

GOAL_REACH = 6.0
"""Lanes that pass a goal at this distance beside the best one count as well [m]."""


class Place(NamedTuple):
    """Where something is on the lanes of a map."""

    segment: int
    lane: int
    s: float
    """Along the lane's centre [m]."""

    cost: float
    """How badly it fits, about the metres beside the lane."""


def places_near(
    road: CompiledMap, x: float, y: float, heading: tuple[float, float] | None, z: float | None
) -> list[Place]:
    """Returns the best place on each lane near a point, the best of all first.

    Args:
        road: The map.
        x: East [m].
        y: North [m].
        heading: Cosine and sine, None where it does not matter.
        z: Elevation, None likewise [m].
    """
    row = road.lanes.segment.astype(np.float64)
    dx, dy = x - row[:, SEG_X], y - row[:, SEG_Y]
    t = dx * row[:, SEG_COS] + dy * row[:, SEG_SIN]
    d = dy * row[:, SEG_COS] - dx * row[:, SEG_SIN]
    beyond = np.maximum(np.maximum(-t, t - row[:, SEG_LENGTH]), 0.0)
    outside = np.maximum(np.where(d >= 0.0, d - row[:, SEG_LEFT], -d - row[:, SEG_RIGHT]), 0.0)
    cost = np.hypot(outside, beyond) + 0.05 * np.abs(d)
    if heading is not None:
        align = heading[0] * row[:, SEG_COS] + heading[1] * row[:, SEG_SIN]
        cost += 2.0 * (1.0 - align)
    if z is not None:
        cost += np.where(np.abs(row[:, SEG_Z] - z) < LEVEL_HEIGHT, 0.0, 5.0)
    lane_of = road.lanes.segment_lane
    near = np.flatnonzero(cost <= cost.min() + GOAL_REACH)
    found: dict[int, Place] = {}
    for segment in near[np.argsort(cost[near], kind="stable")].tolist():
        lane = int(lane_of[segment])
        along = min(max(float(t[segment]), 0.0), float(row[segment, SEG_LENGTH]))
        s = float(row[segment, SEG_S]) + along
        found.setdefault(lane, Place(segment, lane, s, float(cost[segment])))
    return list(found.values())
