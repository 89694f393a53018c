"""Small networks that can be checked on paper."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from selfdrive_env.maps.road_network import Junction, Lane, RoadNetwork


def strip(name: str, points: Any, width: float = 4.0, *, aside: float = 0.0, **fields: Any) -> Lane:
    """A lane of constant width along points [P, 3], which lie `aside` to the left of its middle."""
    centre = np.asarray(points, np.float64)
    ahead = np.gradient(centre[:, :2], axis=0)
    ahead /= np.hypot(*ahead.T)[:, None]
    left = np.stack([-ahead[:, 1], ahead[:, 0], np.zeros(len(centre))], axis=1)
    fields.setdefault("type", "driving")
    return Lane(
        name,
        centre=centre,
        left=centre + left * (width / 2 - aside),
        right=centre - left * (width / 2 + aside),
        **fields,
    )


def connect(lanes: list[Lane], *pairs: tuple[int, int]) -> None:
    for a, b in pairs:
        lanes[a].successors.append(b)
        lanes[b].predecessors.append(a)


@pytest.fixture
def road() -> RoadNetwork:
    """Eastward lanes 0 (200 m), 3 (50 m) with lane 2 right of 0; westward lane 1; sidewalk 4."""
    lanes = [
        strip("east", [[0, 0, 0], [100, 0, 1], [200, 0, 2]], speed_limit=10.0),
        strip("west", [[200, 4, 2], [0, 4, 0]]),
        strip("slow", [[0, -4, 0], [200, -4, 2]], width=3.0),
        strip("on", [[200, 0, 2], [250.5, 0, 2]]),
        strip("walk", [[0, 8, 0], [200, 8, 0]], type="sidewalk"),
    ]
    # The slow lane is 3 m wide: move it against the fast one.
    lanes[2] = strip("slow", [[0, -3.5, 0], [200, -3.5, 2]], width=3.0)
    lanes[0].right_neighbour, lanes[2].left_neighbour = 2, 0
    connect(lanes, (0, 3))
    return RoadNetwork("road", lanes)


@pytest.fixture
def fork() -> RoadNetwork:
    """A lane that splits in two within a junction around a hole and meets itself again."""
    x = np.linspace(0.0, 40.0, 81)
    bulge = 5.0 * np.sin(np.pi * x / 40.0) ** 2
    lanes = [
        strip("in", [[-30, 0, 0], [0, 0, 0]]),
        strip("upper", np.stack([x, bulge, 0 * x], axis=1), junction=0),
        strip("lower", np.stack([x, -bulge, 0 * x], axis=1), junction=0),
        strip("out", [[40, 0, 0], [70, 0, 0]]),
    ]
    connect(lanes, (0, 1), (0, 2), (1, 3), (2, 3))
    return RoadNetwork("fork", lanes, [Junction("0", lanes=[1, 2])])


@pytest.fixture
def overpass() -> RoadNetwork:
    """A road along y = 0 on the ground and one along x = 0 that crosses it 6 m higher."""
    y = np.linspace(-150.0, 150.0, 301)
    z = 6.0 * np.clip((120.0 - np.abs(y)) / 80.0, 0.0, 1.0)
    lanes = [
        strip("low", [[-150, 0, 0], [150, 0, 0]]),
        strip("high", np.stack([0 * y, y, z], axis=1)),
    ]
    return RoadNetwork("overpass", lanes)
