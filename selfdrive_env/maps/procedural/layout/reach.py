"""Whether cars reach every street of a network by ways that are not too tight for them."""

from __future__ import annotations

import numpy as np

from selfdrive_env.maps.road_network import Lane, RoadNetwork

__all__ = ["tightest_radius", "within_reach"]

AVERAGED = 3.0
"""Headings are compared over this length [m]."""


def tightest_radius(lane: Lane) -> float:
    """Returns the smallest radius of a lane's centre line, averaged over three metres [m].

    Args:
        lane: Of a network.
    """
    steps = np.diff(lane.centre[:, :2], axis=0)
    lengths = np.hypot(*steps.T)
    heading = np.unwrap(np.arctan2(steps[:, 1], steps[:, 0]))
    s = np.cumsum(lengths) - 0.5 * lengths
    ahead = np.interp(s + 0.5 * AVERAGED, s, heading)
    behind = np.interp(s - 0.5 * AVERAGED, s, heading)
    bend = float(np.max(np.abs(ahead - behind))) / AVERAGED
    return 1.0 / max(bend, 1e-6)


def within_reach(network: RoadNetwork, radius: float) -> bool:
    """Whether each lane outside junctions is reached from each by ways of at least a radius.

    Args:
        network: With links and neighbours.
        radius: Tighter ways through junctions do not count [m].
    """
    lanes = network.lanes
    fit = [
        lane.drivable and (lane.junction < 0 or tightest_radius(lane) >= radius) for lane in lanes
    ]
    ahead: list[list[int]] = [[] for _ in lanes]
    behind: list[list[int]] = [[] for _ in lanes]
    for k, lane in enumerate(lanes):
        for other in (*lane.successors, lane.left_neighbour, lane.right_neighbour):
            if fit[k] and other >= 0 and fit[other]:
                ahead[k].append(other)
                behind[other].append(k)
    wanted = {k for k, lane in enumerate(lanes) if fit[k] and lane.junction < 0}
    for table in (ahead, behind):
        first = min(wanted)
        seen, stack = {first}, [first]
        while stack:
            for other in table[stack.pop()]:
                if other not in seen:
                    seen.add(other)
                    stack.append(other)
        if not wanted <= seen:
            return False
    return True
