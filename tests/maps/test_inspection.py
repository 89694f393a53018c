from __future__ import annotations

import json
import time

import numpy as np
import pytest

from selfdrive_env.maps import BUILT_IN, load
from selfdrive_env.maps.inspection import connectivity, describe
from selfdrive_env.maps.road_network import Lane, RoadNetwork


def straight(
    x: float, y: float, heading: float = 0.0, z: float = 0.0, length: float = 10.0
) -> Lane:
    s = np.linspace(0.0, length, 3)[:, None]
    along = np.array([np.cos(heading), np.sin(heading), 0.0])
    left = np.array([-along[1], along[0], 0.0]) * 1.75
    centre = np.array([x, y, z]) + s * along
    return Lane(f"{x}/{y}/{z}/{heading}", "driving", centre, centre + left, centre - left)


def network(*lanes: Lane) -> RoadNetwork:
    return RoadNetwork("test", list(lanes))


@pytest.mark.parametrize("name", BUILT_IN)
def test_towns_are_wholly_connected(name: str) -> None:
    figures = describe(load(name))
    assert list(figures) == [
        "roads", "junctions", "driving_lane_km", "traffic_lights", "connectivity", "z_min", "z_max",
        "problems",
    ]  # fmt: skip
    assert figures["connectivity"] == 1.0
    assert figures["traffic_lights"] > 8
    assert figures["z_min"] == 0.0
    assert json.loads(json.dumps(figures)) == figures


def test_missing_link_lowers_connectivity() -> None:
    one, two, three = straight(0.0, 0.0), straight(10.0, 0.0), straight(20.0, 0.0)
    one.successors = [1]
    assert connectivity(network(one, two, three)) == 0.5


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (straight(10.3, 0.3), 0.0),
        (straight(10.6, 0.0), None),
        (straight(10.0, 0.0, z=0.9), 0.0),
        (straight(10.0, 0.0, z=1.1), None),
        (straight(10.0, 0.0, np.radians(14.0)), 0.0),
        (straight(10.0, 0.0, np.radians(-16.0)), None),
    ],
)
def test_only_lanes_that_go_on_count_as_joints(other: Lane, expected: float | None) -> None:
    assert connectivity(network(straight(0.0, 0.0), other)) == expected


def test_headings_are_compared_across_the_wrap() -> None:
    one = straight(0.0, 0.0, np.radians(178.0))
    x, y, _ = one.centre[-1]
    assert connectivity(network(one, straight(x, y, np.radians(-178.0)))) == 0.0


def test_empty_map_has_no_figures() -> None:
    figures = describe(network())
    assert figures["connectivity"] is figures["z_min"] is figures["z_max"] is None


def test_heights_are_those_of_the_source() -> None:
    raised = network(straight(0.0, 0.0, z=1.0), straight(0.0, 20.0, z=3.0))
    raised.origin = (0.0, 0.0, 100.0)
    assert (describe(raised)["z_min"], describe(raised)["z_max"]) == (101.0, 103.0)


def test_connectivity_of_a_large_map_takes_little_work() -> None:
    lanes = [straight(10.0 * i, 10.0 * j) for i in range(125) for j in range(200)]
    start = time.process_time()
    assert connectivity(network(*lanes)) == 0.0
    spent = time.process_time() - start
    assert spent < 20.0  # each with each are 625 million pairs
