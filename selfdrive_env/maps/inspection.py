"""Figures about a road network: what it holds, and how well its lanes are linked."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.maps.road_network import Lane, RoadNetwork

__all__ = ["connectivity", "describe"]

Floats = NDArray[np.float64]

JOINT_GAP = 0.5
"""A lane starts at another's end if it is at most this far away in the plane [m]."""

JOINT_STEP = 1.0
"""... and less than this higher or lower [m]."""

JOINT_TURN = np.radians(15.0)
"""... and heads the same way to within this [rad]."""


def describe(network: RoadNetwork) -> dict[str, Any]:
    """Returns a summary that JSON can hold.

    Args:
        network: The map.

    Returns:
        `roads`, `junctions` and `traffic_lights` are counts; `driving_lane_km` [km];
        `connectivity` as in the function of that name; `z_min`, `z_max`: lowest and highest point
        of the drivable lanes (of all lanes if none is drivable) in the source's own heights, None
        without lanes [m]; `problems`: one sentence each.
    """
    low, high = _height_range(network)
    return {
        "roads": network.num_roads,
        "junctions": len(network.junctions),
        "driving_lane_km": round(network.driving_lane_km, 3),
        "traffic_lights": sum(signal.kind == "traffic_light" for signal in network.signals),
        "connectivity": connectivity(network),
        "z_min": low,
        "z_max": high,
        "problems": list(network.problems),
    }


def _height_range(network: RoadNetwork) -> tuple[float | None, float | None]:
    """Lowest and highest boundary point, in the source's heights [m]."""
    lanes = [lane for lane in network.lanes if lane.drivable] or network.lanes
    if not lanes:
        return None, None
    heights = np.concatenate([edge[:, 2] for lane in lanes for edge in (lane.left, lane.right)])
    up = network.origin[2]
    # Adding 0.0 turns -0.0 into 0.0.
    return round(float(heights.min()) + up, 3) + 0.0, round(float(heights.max()) + up, 3) + 0.0


def connectivity(network: RoadNetwork) -> float | None:
    """Returns the share of lane ends that are linked, of those where another lane goes on.

    Counted are the ends of drivable lanes at which some other drivable lane of the same level, or
    the lane itself as a ring, starts in the same direction. Ends where nothing starts (the rim of
    the map) do not count.

    Args:
        network: The map.

    Returns:
        Share in [0, 1], None if no lane starts at another's end.
    """
    lanes = [lane for lane in network.lanes if lane.drivable]
    if not lanes:
        return None
    ring = np.array([lane.length > 4.0 * JOINT_GAP for lane in lanes])
    joined = _has_start_nearby(_poses(lanes, -1), _poses(lanes, 0), ring)
    if not joined.any():
        return None
    linked = np.array([bool(lane.successors) for lane in lanes])
    return float(linked[joined].mean())


def _poses(lanes: list[Lane], end: int) -> Floats:
    """Position and heading (x, y, z, heading) of each lane at its start (0) or end (-1)."""
    rows = np.empty((len(lanes), 4))
    for row, lane in zip(rows, lanes, strict=True):
        steps = np.diff(lane.centre[:, :2], axis=0)
        steps = steps[np.hypot(*steps.T) > 1e-6]
        step = steps[end] if steps.size else (1.0, 0.0)
        row[:3] = lane.centre[end]
        row[3] = np.arctan2(step[1], step[0])
    return rows


def _has_start_nearby(ends: Floats, starts: Floats, ring: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether a lane starts at each end, its own only if `ring`, by a hash of `JOINT_GAP` cells."""
    base = np.floor(np.minimum(ends, starts).min(0)[:2] / JOINT_GAP) - 1
    end_cells = (np.floor(ends[:, :2] / JOINT_GAP) - base).astype(np.int64)
    start_cells = (np.floor(starts[:, :2] / JOINT_GAP) - base).astype(np.int64)
    stride = int(max(end_cells.max(), start_cells.max())) + 2
    start_keys = start_cells[:, 0] * stride + start_cells[:, 1]
    order = np.argsort(start_keys, kind="stable")
    start_keys = start_keys[order]

    found = np.zeros(len(ends), bool)
    for dx in (-1, 0, 1):
        keys = (end_cells[:, 0] + dx) * stride + end_cells[:, 1]
        first = np.searchsorted(start_keys, keys - 1, "left")
        count = np.searchsorted(start_keys, keys + 1, "right") - first
        for k in range(int(count.max(initial=0))):
            lane = np.nonzero(count > k)[0]
            other = order[first[lane] + k]
            apart = (lane != other) | ring[lane]
            found[lane] |= apart & _alike(ends[lane], starts[other])
    return found


def _alike(ends: Floats, starts: Floats) -> NDArray[np.bool_]:
    """Whether each start continues the end beside it."""
    gap = starts - ends
    turn = np.abs(np.remainder(gap[:, 3] + np.pi, 2.0 * np.pi) - np.pi)
    alike: NDArray[np.bool_] = np.hypot(gap[:, 0], gap[:, 1]) <= JOINT_GAP
    alike &= (np.abs(gap[:, 2]) < JOINT_STEP) & (turn <= JOINT_TURN)
    return alike
