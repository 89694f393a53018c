"""Where on the lanes of a map something is."""

from __future__ import annotations

import numpy as np
import pytest

from selfdrive_env.envs.scenes.records.places import _places_among, places_near
from selfdrive_env.maps import compiled


@pytest.mark.parametrize("away", [1.0, 8.0, 40.0, 1000.0])
def test_what_is_looked_at_first_hides_nothing(away: float) -> None:
    road = compiled("riverside", lane_points=16, boundary_points=16, stop_lines=4)
    random, all_rows = np.random.default_rng(3), np.arange(len(road.lanes.segment))
    for number in range(60):
        x, y = road.lanes.segment[random.integers(len(all_rows)), :2] + away * random.normal(size=2)
        turn = random.uniform(0.0, 7.0)
        heading = (float(np.cos(turn)), float(np.sin(turn))) if number % 3 else None
        z = None if number % 2 else float(random.normal(scale=3.0))
        found = places_near(road, float(x), float(y), heading, z)
        assert found and found == _places_among(road, all_rows, float(x), float(y), heading, z)[0]
