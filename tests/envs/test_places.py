"""Where on the lanes of a map something is."""

from __future__ import annotations

import numpy as np
import pytest

from selfdrive_env.envs.scenes.records.places import GOAL_REACH, places_near
from selfdrive_env.maps import compiled
from selfdrive_env.state.road import LEVEL_HEIGHT, SEG_S


def costs(road, x, y, heading, z):
    """How badly a point fits on each segment, by the definition; and where along its lane it is."""
    row = road.lanes.segment.astype(np.float64)
    start, way, length = row[:, 0:2], row[:, 2:4], row[:, 4]
    offset = np.array([x, y]) - start
    along = (offset * way).sum(1)
    aside = way[:, 0] * offset[:, 1] - way[:, 1] * offset[:, 0]
    beyond = np.maximum(np.maximum(-along, along - length), 0.0)
    outside = np.maximum(np.abs(aside) - np.where(aside >= 0.0, row[:, 5], row[:, 6]), 0.0)
    cost = np.hypot(outside, beyond) + 0.05 * np.abs(aside)
    if heading is not None:
        cost += 2.0 * (1.0 - way @ heading)
    if z is not None:
        cost += np.where(np.abs(row[:, 8] - z) < LEVEL_HEIGHT, 0.0, 5.0)
    return cost, row[:, SEG_S] + np.clip(along, 0.0, length)


@pytest.mark.parametrize("away", [1.0, 8.0, 40.0, 1000.0])
@pytest.mark.parametrize("name", ["riverside", "hillcrest"])
def test_places_are_the_best_on_each_lane(away: float, name: str) -> None:
    road = compiled(name, lane_points=16, boundary_points=16, stop_lines=4)
    random, lane_of = np.random.default_rng(3), road.lanes.segment_lane
    for number in range(60):
        x, y = road.lanes.segment[random.integers(len(lane_of)), :2] + away * random.normal(size=2)
        turn = random.uniform(0.0, 7.0)
        heading = (float(np.cos(turn)), float(np.sin(turn))) if number % 3 else None
        z = None if number % 2 else float(random.normal(scale=3.0))
        found = places_near(road, float(x), float(y), heading, z)
        cost, s = costs(road, float(x), float(y), heading, z)
        best = {}
        for segment in np.argsort(cost, kind="stable").tolist():
            best.setdefault(int(lane_of[segment]), segment)
        wanted = [k for k in best.values() if cost[k] <= cost.min() + GOAL_REACH - 1e-9]
        assert len(found) >= len(wanted) > 0
        assert [one.cost for one in found] == sorted(one.cost for one in found)
        for one, segment in zip(found, wanted, strict=False):
            assert one.cost == pytest.approx(cost[segment], abs=1e-9)
            assert one.lane == lane_of[one.segment]
            assert one.s == pytest.approx(s[one.segment], abs=1e-6)
