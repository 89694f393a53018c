"""Leaving the road: by hand, against shapely, on stacked roads and on the package's own maps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import shapely

from selfdrive_env.maps import load
from selfdrive_env.maps.compile.surface import surface_polygons
from selfdrive_env.maps.road_network import RoadNetwork
from selfdrive_env.metrics import Polylines, Road, compute, road_of_network
from selfdrive_env.metrics.boxes import corners
from selfdrive_env.scenes.tracks import Tracks
from tests.maps.conftest import strip
from tests.metrics.traffic import DT, moved, moved_lines, street, tracks, wrap


def offroad(scene: Tracks, road: Road) -> Any:
    return compute(["offroad"], scene, dt=DT, road=road)["offroad"]


def test_by_hand() -> None:
    # 4 m x 2 m beside the edge at y = 0, the road on its left.
    scene = tracks([[50.0] * 4], [[5.0, 1.5, 0.5, -3.0]])
    found = offroad(scene, street())
    assert np.allclose(found.value, [[-4.0, -0.5, 0.5, 4.0]])
    assert found.valid.all()
    assert found.share(0.0) == 1.0 and found.above(0.0).mean() == 0.5
    # Across: the rear corners are 2 m behind the middle.
    across = tracks([[50.0]], [[1.5]], heading=np.pi / 2 - 1e-6)
    assert np.allclose(offroad(across, street()).value, 0.5, atol=1e-4)


def test_without_an_edge_nothing_is_valid() -> None:
    found = offroad(tracks([[0.0] * 3], [[0.0] * 3]), Road.of())
    assert not found.valid.any() and not found.value.any()


def test_the_edge_of_the_own_level_counts() -> None:
    """A bridge over a street: below nobody is at the edges of the bridge, above everybody is."""
    below = [[[-50, 0, 0], [50, 0, 0]], [[50, 12, 0], [-50, 12, 0]]]
    above = [[[9, -50, 6], [9, 60, 6]], [[2, 60, 6], [2, -50, 6]]]
    road = Road.of(edges=[*below, *above])
    scene = tracks([[0.0, 5.5]] * 2, [[6.0] * 2] * 2, z=[[0.0] * 2, [6.0] * 2], vx=0.0, vy=0.0)
    value = offroad(scene, road).value
    assert (value[0] < 0).all()
    assert value[1, 0] > 0  # over the street, but beside the bridge


def blob(rng: np.random.Generator, radius: float, middle: Any, count: int) -> Any:
    angle = np.sort(rng.uniform(0, 2 * np.pi, count))
    size = radius * rng.uniform(0.5, 1.0, count)
    return np.stack([size * np.cos(angle), size * np.sin(angle)], axis=1) + middle


def test_random_boxes_against_shapely() -> None:
    """An area with holes; its inside is told by polygons, not by the direction of lines."""
    rng = np.random.default_rng(0)
    middle = np.array([6000.0, -2000.0])
    area = shapely.polygons(blob(rng, 60.0, middle, 70))
    for _ in range(12):
        hole = blob(rng, 8.0, middle + rng.uniform(-35, 35, 2), 9)
        area = shapely.difference(area, shapely.buffer(shapely.polygons(hole), 0))
    area = max(shapely.get_parts(shapely.buffer(area, 0)), key=shapely.area)
    rings = [shapely.get_coordinates(ring) for ring in shapely.get_rings(area)]
    assert len(rings) > 5
    # Outlines run counter-clockwise, holes clockwise: the area is on the left.
    edges = [
        line if shapely.is_ccw(shapely.linearrings(line)) == (number == 0) else line[::-1]
        for number, line in enumerate(rings)
    ]
    shape = (40, 300)
    scene = tracks(
        middle[0] + rng.uniform(-70, 70, shape), middle[1] + rng.uniform(-70, 70, shape),
        heading=wrap(rng.uniform(0, 7, shape)), length=rng.uniform(0.5, 12, 40),
        width=rng.uniform(0.3, 2.5, 40), vx=0.0, vy=0.0,
    )  # fmt: skip
    points = shapely.points(np.stack(corners(scene), axis=-1))
    distance = shapely.distance(shapely.boundary(area), points)
    wanted = np.where(shapely.intersects(area, points), -distance, distance).max(axis=-1)
    found = offroad(scene, Road.of(edges=edges)).value
    assert np.allclose(found, wanted, atol=1e-9)
    assert 0.2 < (wanted > 0).mean() < 0.95
    for angle, shift, mirror in ((1.1, (-6000.0, 900.0), False), (-2.0, (10.0, 3.0), True)):
        lines = moved_lines(Polylines.of(edges), angle, shift, mirror, reverse=True)
        other = offroad(moved(scene, angle, shift, mirror), Road.of(edges=lines)).value
        assert np.allclose(other, wanted, atol=2e-5)


@pytest.mark.parametrize("gap", [-1e-4, 1e-4])
def test_corners_that_all_but_touch_the_edge(gap: float) -> None:
    rng = np.random.default_rng(4)
    turn = rng.uniform(0, 2 * np.pi, 12_000)
    scene = tracks(np.full((1, 12_000), 80.0), np.full((1, 12_000), 5.0), heading=wrap(turn))
    outermost = corners(scene)[1].min(axis=-1)
    scene.y[:] -= outermost + gap
    found = offroad(scene, street()).value
    assert np.allclose(found, gap, atol=1e-9)


@pytest.mark.parametrize("name", ["riverside"])
def test_edges_of_our_maps_tell_the_surface(name: str) -> None:
    network = load(name)
    road = road_of_network(network)
    assert len(road.lanes) == sum(lane.drivable for lane in network.lanes)
    assert len(road.stop_point) == len(network.stop_lines) > 0
    centre = road.lanes.point[:, :2]
    bounds = centre.min(axis=0) - 10.0, centre.max(axis=0) + 10.0
    points = np.random.default_rng(0).uniform(*bounds, (8000, 2))
    x, y = points.T
    found = road.edges.nearest(x, y, np.zeros_like(x), np.ones(len(x), bool))
    (surface,) = surface_polygons(network)
    inside = shapely.intersects(surface, shapely.points(points))
    assert ((found.distance <= 0) == inside).all()
    assert 0.1 < inside.mean() < 0.9


def test_bridges_have_edges_on_both_levels() -> None:
    """One road crosses another 6 m higher: one is on the road along both."""
    y = np.linspace(-150.0, 150.0, 301)
    z = 6.0 * np.clip((120.0 - np.abs(y)) / 80.0, 0.0, 1.0)
    low = strip("low", [[-150, 0, 0], [150, 0, 0]])
    road = road_of_network(RoadNetwork("x", [low, strip("high", np.stack([0 * y, y, z], axis=1))]))
    along = np.linspace(-149, 149, 597)
    zero = np.zeros_like(along)
    for x, y_, z_ in (
        (along, zero, zero),
        (zero, along, np.interp(along, y, z)),
    ):
        for aside, sign in ((1.9, -1), (-1.9, -1), (2.1, 1), (-2.1, 1)):
            at = (x, y_ + aside, z_) if x is along else (x + aside, y_, z_)
            edge = road.edges.nearest(*at, np.ones(len(along), bool))
            assert (np.sign(edge.distance) == sign).all()
            assert (np.abs(edge.distance) < 0.11).all()
            assert (np.abs(edge.height - z_) < 0.1).all()


def test_lights_do_not_come_from_a_map() -> None:
    road = road_of_network(load("riverside"))
    assert road.light.shape == (len(road.stop_point), 0)
    lit = replace(road, light=np.full((len(road.stop_point), 7), 3, np.uint8))
    assert lit.light.shape[1] == 7
