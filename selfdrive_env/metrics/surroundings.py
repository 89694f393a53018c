"""Contact with other bodies, and with what lies beside the road or the lanes."""

from __future__ import annotations

import functools

import numpy as np

from selfdrive_env.metrics.case import Case
from selfdrive_env.metrics.metric import Metric

__all__ = ["LANE_REACH", "offroad", "overlap", "wrong_way"]

LANE_REACH = 3.5
"""Further from any lane is no way to drive [m]."""


def overlap(case: Case) -> Metric:
    """Returns 1 where a body overlaps another one, each an oriented box."""
    out = np.zeros(case.tracks.valid.shape, np.bool_)
    out[case.contacts.agent, case.contacts.step] = True
    return Metric.of(out, case.tracks.valid)


def offroad(case: Case) -> Metric:
    """Returns how far the outermost corner is beyond the edge of the road, negative on it [m].

    The edge is the one nearest in space, where differences of elevation count double; the distance
    is that in the plane, from its segments. Without an edge nothing is valid.
    """
    valid = case.tracks.valid & bool(len(case.known_road.edges.segments.line))
    corners = [case.edge_distance[..., corner] for corner in range(4)]
    return Metric.of(functools.reduce(np.maximum, corners), valid)


def wrong_way(case: Case) -> Metric:
    """Returns the distance from the nearest lane for cars where it is above 3.5 m, else 0 [m].

    Headings do not count, so that one against the traffic in its lane is at 0: that is
    `driving_direction`.
    """
    distance = np.abs(case.nearest_lane.distance)
    far = np.where(distance > LANE_REACH, distance, 0.0)
    return Metric.of(far, case.tracks.valid & case.nearest_lane.found)
