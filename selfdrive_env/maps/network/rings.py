"""Finds roundabouts: lanes that lead back to themselves in a circle, as traffic turns there."""

from __future__ import annotations

import heapq

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.maps.road_network import RoadNetwork

__all__ = ["ring_lanes"]

Floats = NDArray[np.float64]

MAX_PERIMETER = 350.0
"""Longest way round [m]."""

ROUNDNESS = 0.92
"""Least area of a ring in shares of that of a circle of its perimeter; a square has 0.79, a block
of houses with rounded corners 0.88."""


def ring_lanes(network: RoadNetwork) -> set[int]:
    """Returns the lanes of roundabouts, those beside them within the ring included.

    Args:
        network: Its lanes are linked.
    """
    found: set[int] = set()
    for index, lane in enumerate(network.lanes):
        if lane.drivable and lane.junction >= 0 and index not in found:
            way = _way_round(index, network)
            if way and _is_round(way, network):
                found.update(way)
    border = list(found)
    while border:
        lane = network.lanes[border.pop()]
        for beside in (lane.left_neighbour, lane.right_neighbour):
            if beside >= 0 and beside not in found:
                found.add(beside)
                border.append(beside)
    return found


def _way_round(lane: int, network: RoadNetwork) -> list[int]:
    """Returns the shortest way from a lane back to it, [] where there is none that is short."""
    lanes = network.lanes
    before: dict[int, int] = {}
    queue = [(lanes[lane].length, lane, -1)]
    while queue:
        way, here, last = heapq.heappop(queue)
        if here == lane and last >= 0:
            ring = [last]
            while ring[-1] != lane:
                ring.append(before[ring[-1]])
            return ring[::-1]
        if here in before or way > MAX_PERIMETER:
            continue
        before[here] = last
        for ahead in lanes[here].successors:
            if ahead == lane or ahead not in before:
                heapq.heappush(queue, (way + lanes[ahead].length, ahead, here))
    return []


def _is_round(way: list[int], network: RoadNetwork) -> bool:
    """Returns whether a closed way is a circle, more or less, that turns as traffic does."""
    points = np.concatenate([network.lanes[i].centre[:, :2] for i in way])
    points = points - points[0]
    after = np.roll(points, -1, axis=0)
    area = 0.5 * float((points[:, 0] * after[:, 1] - points[:, 1] * after[:, 0]).sum())
    around = float(np.hypot(*(after - points).T).sum())
    inside = -area if network.left_hand else area
    return 4.0 * np.pi * inside > ROUNDNESS * around * around
