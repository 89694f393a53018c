"""Where bodies are in their lanes: beyond them, against them, into another one, too fast there."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.metrics.case import Case
from selfdrive_env.metrics.metric import Metric
from selfdrive_env.state.arrays import F64

__all__ = ["driving_direction", "in_one_lane", "lane_changes", "lane_excess", "speeding"]

WINDOW = 1.0
"""Over which the way against the traffic is summed up [s]."""

Bools = NDArray[np.bool_]


def lane_excess(case: Case) -> Metric:
    """Returns how far the outermost corner is beyond the boundary of the own lane [m].

    The own lane is the nearest one along the heading of the body (within 60 degrees); negative
    where all corners are in it.
    """
    lane = case.own_lane
    turn = case.tracks.heading.astype(np.float64) - lane.heading
    half_length, half_width = (
        0.5 * size.astype(np.float64)[:, None] for size in (case.tracks.length, case.tracks.width)
    )
    reach = half_length * np.abs(np.sin(turn)) + half_width * np.abs(np.cos(turn))
    excess = np.abs(lane.distance) + reach - case.of_own_lane(case.known_road.half_width)
    return Metric.of(excess, case.tracks.valid & lane.found)


def in_one_lane(case: Case) -> Bools:
    """Returns whether bodies are wholly in one lane, [agent, step].

    Args:
        case: The traffic.
    """
    excess = lane_excess(case)
    within: Bools = excess.valid & (excess.value <= 0.0)
    return within


def lane_changes(case: Case) -> Metric:
    """Returns 1 where the own lane is another one that does not follow the one before.

    Within junctions, where lanes fork and cross, it is none.
    """
    road, line = case.known_road, case.own_lane.line
    driven = np.flatnonzero(road.drivable)
    follows = set(map(tuple, road.successors.tolist()))
    moved = case.moved & (line >= 0)
    moved[:, 1:] &= line[:, :-1] >= 0
    out = moved.copy()
    out[:, 1:] &= line[:, 1:] != line[:, :-1]
    for agent, step in np.argwhere(out):
        one, other = (int(driven[line[agent, at]]) for at in (step - 1, step))
        linked = (one, other) in follows or (other, one) in follows
        out[agent, step] = not (linked or road.junction[one] or road.junction[other])
    return Metric.of(out, moved)


def speeding(case: Case) -> Metric:
    """Returns how much faster than the limit of its lane a body is, 0 if it is not [m/s]."""
    limit = case.of_own_lane(case.known_road.speed_limit).astype(np.float64)
    return Metric.of(np.maximum(case.speed - limit, 0.0), case.tracks.valid & (limit > 0.0))


def driving_direction(case: Case) -> Metric:
    """Returns how far a body has moved against the traffic within the last second [m].

    It does so in a lane whose direction differs from its way by more than 90 degrees, unless it is
    in one that runs along its heading as well, as in a junction.
    """
    tracks, lane, own = case.tracks, case.nearest_lane, case.own_lane
    inside = own.found & (np.abs(own.distance) <= case.of_own_lane(case.known_road.half_width))
    half_width = case.known_road.half_width[case.known_road.drivable]
    there = lane.found & (np.abs(lane.distance) <= np.append(half_width, 0.0)[lane.line])
    along = np.zeros(tracks.valid.shape)
    along[:, 1:] = np.diff(tracks.x) * np.cos(lane.heading[:, 1:])
    along[:, 1:] += np.diff(tracks.y) * np.sin(lane.heading[:, 1:])
    back = np.where(case.moved & there & ~inside, along, 0.0)
    total = np.cumsum(back, axis=1)
    steps = max(round(WINDOW / case.dt), 1)
    before = np.zeros_like(total)
    before[:, steps:] = total[:, :-steps]
    against: F64 = np.maximum(before - total, 0.0)
    return Metric.of(against, tracks.valid & lane.found)
