"""Real maps, where they are at hand: figures, and one town in two formats."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from selfdrive_env.maps.compile.compiled_map import compile_map
from selfdrive_env.maps.inspection import describe
from selfdrive_env.maps.lanelet2.parse import read_contents
from selfdrive_env.maps.lanelet2.reader import read_lanelet2
from selfdrive_env.maps.network.finish import Problems
from selfdrive_env.maps.opendrive.reader import read_opendrive
from selfdrive_env.maps.road_network import Lane, RoadNetwork

Floats = NDArray[np.float64]

SHARED = Path(__file__).parents[4] / "shared" / "data"

FIGURES = {
    "karlsruhe_mapping_example.osm": (371, 5.7, 6, False),
    "autoware_intersection.osm": (161, 14.5, 16, True),
    "carla_Town02/carla_Town02.osm": (88, 2.9, 24, False),
}
"""Lanelets, their length [km], traffic lights, whether traffic keeps to the left."""


def shared(name: str) -> Path:
    path = SHARED / name
    if not path.is_file():
        pytest.skip("the shared maps are absent")
    return path


@pytest.mark.parametrize("name", FIGURES)
def test_real_maps_agree_with_the_reference_figures(name: str) -> None:
    network = read_lanelet2(shared(f"lanelet2/{name}"))
    lanelets, length, lights, left_hand = FIGURES[name]
    own = [lane for lane in network.lanes if not lane.name.endswith("/back")]
    assert len(own) + len(network.crosswalks) == lanelets
    total = sum(lane.length for lane in own) / 1000.0
    assert total == pytest.approx(length, rel=0.02)
    assert sum(s.kind == "traffic_light" for s in network.signals) == lights
    assert network.left_hand == left_hand
    assert describe(network)["connectivity"] == 1.0
    assert describe(network)["open_ends"] == []
    compile_map(network, lane_points=8, boundary_points=8)


def test_local_metres_are_those_of_utm_but_for_a_shift(tmp_path: Path) -> None:
    """Autoware's file has both, the metres with 0.1 mm, the degrees with 1 mm."""
    path = shared("lanelet2/autoware_intersection.osm")
    local = read_contents(path, Problems())
    (tmp_path / "map.osm").write_text(path.read_text().replace("local_x", "x"))
    degrees = read_contents(tmp_path / "map.osm", Problems()).nodes
    names = sorted(local.nodes)
    assert len(names) > 2000
    apart = np.array([degrees[n] - local.nodes[n] for n in names])[:, :2]
    apart -= np.median(apart, axis=0)
    assert np.abs(apart).max() < 0.02


def _dense(lanes: list[Lane], spacing: float) -> tuple[Floats, Floats]:
    """Points of centre lines, and their directions."""
    points, ahead = [], []
    for lane in lanes:
        s = np.linspace(0.0, lane.length, max(int(lane.length / spacing), 2))
        line = np.stack([np.interp(s, lane.arc_length, lane.centre[:, k]) for k in (0, 1)], axis=1)
        step = np.gradient(line, axis=0)
        points.append(line)
        ahead.append(step / np.hypot(*step.T)[:, None])
    return np.concatenate(points), np.concatenate(ahead)


def _apart(one: list[Lane], other: list[Lane]) -> float:
    """How far centre lines lie from the nearest one of the same direction at most [m]."""
    points, ahead = _dense(one, 1.0)
    theirs, directions = _dense(other, 0.25)
    gap = theirs[None] - points[:, None]
    apart = np.hypot(gap[..., 0], gap[..., 1])
    apart[ahead @ directions.T < 0.95] = np.inf
    rows, nearest = np.arange(len(points)), apart.argmin(axis=1)
    assert apart[rows, nearest].max() < 0.5
    across = directions[nearest, 0] * gap[rows, nearest, 1]
    return float(np.abs(across - directions[nearest, 1] * gap[rows, nearest, 0]).max())


def _ways(network: RoadNetwork) -> dict[tuple[tuple[int, int], ...], Lane]:
    """The ways through junctions by where they begin and end, in cells of 2 m around the joints."""
    ways = {}
    for lane in network.lanes:
        if lane.drivable and lane.junction >= 0:
            assert lane.predecessors
            assert lane.successors
            ends = [np.round(lane.centre[k, :2] / 2.0) for k in (0, -1)]
            ways[tuple((int(x), int(y)) for x, y in ends)] = lane
    return ways


def test_a_town_in_two_formats_has_the_same_lanes_links_and_lights() -> None:
    """The Lanelet2 file has CARLA's y, which points south, and metres of UTM: it is mirrored, and
    both are centred on their lanes, so nothing is left to shift."""
    twin = read_lanelet2(shared("lanelet2/carla_Town02/carla_Town02.osm"))
    town = read_opendrive(shared("opendrive/carla/Town02.xodr"))
    assert twin.driving_lane_km == pytest.approx(town.driving_lane_km, rel=0.002)
    streets = [[x for x in n.lanes if x.drivable and x.junction < 0] for n in (twin, town)]
    assert _apart(streets[0], streets[1]) < 0.1
    assert _apart(streets[1], streets[0]) < 0.1
    ways, theirs = _ways(twin), _ways(town)
    assert ways.keys() == theirs.keys()
    assert max(_apart([lane], [theirs[ends]]) for ends, lane in ways.items()) < 0.1
    assert len(twin.junctions) == len(town.junctions)
    assert sorted(len(j.lanes) for j in twin.junctions) == sorted(
        sum(town.lanes[i].drivable for i in j.lanes) for j in town.junctions
    )
    assert len(twin.stop_lines) == len(town.stop_lines)
    waits = [np.array([(p.left + p.right)[:2] / 2.0 for p in n.stop_lines]) for n in (twin, town)]
    apart = np.hypot(*(waits[0][:, None] - waits[1][None]).transpose(2, 0, 1))
    assert apart.min(axis=1).max() < 8.0
    assert all(group.cycle and group.junction >= 0 for group in twin.signal_groups)
