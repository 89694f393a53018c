"""Where on the lanes of a map something is."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.compiler.cache import cached
from selfdrive_env.compiler.njit import host
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


SOURCES = ("envs/scenes/records", "compiler", "state")
"""Folders that compiled code of this module is made from."""


class Place(NamedTuple):
    """Where something is on the lanes of a map."""

    segment: int
    lane: int
    s: float
    """Along the lane's centre [m]."""

    cost: float
    """How badly it fits, about the metres beside the lane."""


def compiled(function: Any) -> Any:
    """Compiles a function when first called, kept on disk if there is a folder to write to."""
    return cached(host(function), SOURCES)


@compiled
def write_costs(
    table: NDArray[np.float32],
    point: tuple[float, float],
    heading: tuple[float, float],
    height: float,
    reach: float,
    cost: NDArray[np.float64],
) -> tuple[float, float]:
    """Writes how badly a point fits on each segment, infinite for those that begin out of reach.

    Args:
        table: `Lanes.segment`.
        point: East and north [m].
        heading: Cosine and sine; NaN where it does not matter.
        height: Elevation, NaN likewise [m].
        reach: East and north [m].
        cost: Receives it, [segment].

    Returns:
        The least cost, and how far from its beginning a segment reaches at most [m].
    """
    x, y = point
    best, longest, widest = np.inf, 0.0, 0.0
    for row in range(len(table)):
        length, left, right = table[row, SEG_LENGTH], table[row, SEG_LEFT], table[row, SEG_RIGHT]
        longest, widest = max(longest, length), max(widest, left, right)
        dx, dy = x - table[row, SEG_X], y - table[row, SEG_Y]
        cost[row] = np.inf
        if abs(dx) > reach or abs(dy) > reach:
            continue
        cos, sin = np.float64(table[row, SEG_COS]), np.float64(table[row, SEG_SIN])
        t, d = dx * cos + dy * sin, dy * cos - dx * sin
        beyond = max(-t, t - length, 0.0)
        outside = max(d - left if d >= 0.0 else -d - right, 0.0)
        own = math.sqrt(outside * outside + beyond * beyond) + 0.05 * abs(d)
        if not math.isnan(heading[0]):
            own += 2.0 * (1.0 - heading[0] * cos - heading[1] * sin)
        if not math.isnan(height) and abs(table[row, SEG_Z] - height) >= LEVEL_HEIGHT:
            own += 5.0
        cost[row] = own
        best = min(best, own)
    return best, longest + widest


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
    cost = np.empty(len(table))
    direction = (math.nan, math.nan) if heading is None else heading
    height = math.nan if z is None else float(z)
    best, size = write_costs(table, (x, y), direction, height, NEAR, cost)
    if best + GOAL_REACH >= NEAR - size - SLACK:  # others may fit as well
        best, _ = write_costs(table, (x, y), direction, height, math.inf, cost)
    near = np.flatnonzero(cost <= best + GOAL_REACH)
    found: dict[int, Place] = {}
    for segment in near[np.argsort(cost[near], kind="stable")].tolist():
        lane = int(road.lanes.segment_lane[segment])
        if lane not in found:
            s = _along(table[segment].astype(np.float64), x, y)
            found[lane] = Place(segment, lane, s, float(cost[segment]))
    return list(found.values())


def _along(row: NDArray[np.float64], x: float, y: float) -> float:
    """Returns where along its lane a point lies beside a segment [m]."""
    t = (x - row[SEG_X]) * row[SEG_COS] + (y - row[SEG_Y]) * row[SEG_SIN]
    return float(row[SEG_S] + min(max(t, 0.0), row[SEG_LENGTH]))
