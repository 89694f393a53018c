"""Stop lines that are passed while their light is red."""

from __future__ import annotations

import numpy as np

from selfdrive_env.metrics.case import LEAST_COSINE, Case
from selfdrive_env.metrics.metric import Metric
from selfdrive_env.state.road import LEVEL_HEIGHT
from selfdrive_env.state.world import RED

__all__ = ["red_light"]


def red_light(case: Case) -> Metric:
    """Returns 1 where the front of a body passes a stop line in its direction on red.

    The middle of its front bumper crosses the line between the step before and this one, within the
    line's ends, on the same level and headed within 60 degrees of those whom the line is for; what
    the light shows at this step counts. Without a light nothing is valid.
    """
    tracks, road = case.tracks, case.known_road
    passed = np.zeros(tracks.valid.shape, np.bool_)
    heading = tracks.heading.astype(np.float64)
    ahead = 0.5 * tracks.length.astype(np.float64)[:, None]
    x, y = tracks.x + ahead * np.cos(heading), tracks.y + ahead * np.sin(heading)
    lines = np.flatnonzero((road.light == RED).any(axis=1))
    for line in lines.tolist():
        direction = float(road.stop_heading[line])
        cos, sin = np.cos(direction), np.sin(direction)
        dx, dy = x - road.stop_point[line, 0], y - road.stop_point[line, 1]
        along, aside = dx * cos + dy * sin, dy * cos - dx * sin
        there = (np.abs(aside) <= road.stop_half_width[line]) & case.moved
        there &= np.abs(tracks.z - road.stop_point[line, 2]) < LEVEL_HEIGHT
        there &= np.cos(heading - direction) >= LEAST_COSINE
        crosses = there[:, 1:] & (along[:, :-1] < 0.0) & (along[:, 1:] >= 0.0)
        passed[:, 1:] |= crosses & (road.light[line, 1:] == RED)
    return Metric.of(passed, tracks.valid & bool(road.light.shape[1]))
