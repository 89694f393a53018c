"""Where on the lanes of a map something is."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

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

NEAR = 25.0
"""Segments that begin so near, east and north, are looked at first [m]."""

SLACK = 1.0
"""Of distances in single precision [m]."""

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
    table = road.lanes.segment
    close = np.abs(table[:, SEG_X] - x) <= NEAR
    near = np.flatnonzero(close & (np.abs(table[:, SEG_Y] - y) <= NEAR))
    size = table[:, SEG_LENGTH].max() + max(table[:, SEG_LEFT].max(), table[:, SEG_RIGHT].max())
    found, best = _places_among(road, near, x, y, heading, z)
    if best + GOAL_REACH >= NEAR - float(size) - SLACK:  # others may fit as well
        found, _ = _places_among(road, np.arange(len(table)), x, y, heading, z)
    return found


def _places_among(
    road: CompiledMap,
    rows: NDArray[np.int64],
    x: float,
    y: float,
    heading: tuple[float, float] | None,
    z: float | None,
) -> tuple[list[Place], float]:
    """Returns the places on some segments, and the cost of the best one, infinite for none."""
    if not len(rows):
        return [], np.inf
    row = road.lanes.segment[rows].astype(np.float64)
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
    for place in near[np.argsort(cost[near], kind="stable")].tolist():
        segment = int(rows[place])
        lane = int(lane_of[segment])
        along = min(max(float(t[place]), 0.0), float(row[place, SEG_LENGTH]))
        s = float(row[place, SEG_S]) + along
        found.setdefault(lane, Place(segment, lane, s, float(cost[place])))
    return list(found.values()), float(cost.min())
