from __future__ import annotations

import numpy as np
import pytest

from selfdrive_env.maps.network.finish import lane_along
from selfdrive_env.maps.network.rings import ring_lanes
from selfdrive_env.maps.road_network import Junction, RoadNetwork
from tests.maps.conftest import connect


def around(points: np.ndarray, left_hand: bool = False) -> RoadNetwork:
    """Four lanes, one after the other along a closed line, the first of them in a junction."""
    parts = np.array_split(np.arange(len(points)), 4)
    lanes = [
        lane_along(str(k), points[[*part, (part[-1] + 1) % len(points)]], 4.0)
        for k, part in enumerate(parts)
    ]
    connect(lanes, (0, 1), (1, 2), (2, 3), (3, 0))
    lanes[0].junction = 0
    return RoadNetwork("around", lanes, [Junction("0", lanes=[0])], left_hand=left_hand)


def circle(radius: float, narrow: float = 1.0) -> np.ndarray:
    angle = np.linspace(0.0, 2.0 * np.pi, 48, endpoint=False)
    return radius * np.stack([np.cos(angle), narrow * np.sin(angle)], axis=1)


def block(edge: float, corner: float) -> np.ndarray:
    """A block of houses with rounded corners."""
    middle = 0.5 * edge - corner
    angle = np.linspace(0.0, np.pi / 2.0, 12)
    turn = corner * np.stack([np.cos(angle), np.sin(angle)], axis=1) + middle
    rotation = np.array([[0.0, 1.0], [-1.0, 0.0]])
    return np.concatenate([turn @ np.linalg.matrix_power(rotation, k) for k in range(4)])


@pytest.mark.parametrize(
    ("points", "left_hand", "found"),
    [
        (circle(15.0), False, True),
        (circle(15.0)[::-1], False, False),
        (circle(15.0)[::-1], True, True),
        (circle(20.0, 0.7), False, True),
        (circle(20.0, 0.4), False, False),
        (circle(100.0), False, False),
        (block(80.0, 10.0), False, False),
    ],
)
def test_rings_are_circles_in_the_direction_of_traffic(
    points: np.ndarray, left_hand: bool, found: bool
) -> None:
    assert ring_lanes(around(points, left_hand)) == ({0, 1, 2, 3} if found else set())


def test_lanes_beside_a_ring_belong_to_it() -> None:
    network = around(circle(15.0))
    network.lanes.append(lane_along("outer", circle(19.0)[:13], 4.0))
    network.lanes[1].right_neighbour = 4
    assert ring_lanes(network) == {0, 1, 2, 3, 4}
