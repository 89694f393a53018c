from __future__ import annotations

import functools
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from selfdrive_env.maps import BUILT_IN, load
from selfdrive_env.maps.compile.compiled_map import CompiledMap, compile_map
from selfdrive_env.maps.compile.grid import frame_of, split_edges
from selfdrive_env.maps.compile.segments import resample_lanes
from selfdrive_env.maps.compile.surface import surface_edges, surface_polygons
from selfdrive_env.maps.road_network import Junction, RoadNetwork
from selfdrive_env.state.road import CELL, SEG_X, SEG_Y
from tests.maps.conftest import connect, strip

REAL = [
    "carla/Town10HD.xodr",
    "maliput_cloverleaf.xodr",
    *(
        pytest.param(name, marks=pytest.mark.full)
        for name in ("carla/Town03.xodr.gz", "carla/Town04.xodr.gz", "smarts_newmarket.xodr")
    ),
]
"""A town, and bridges over several levels; --full takes more of either."""


@functools.cache
def network_of(path: str | Path) -> RoadNetwork:
    """A map that no test changes."""
    return load(path)


@functools.cache
def compiled_of(path: str | Path) -> CompiledMap:
    return compile_map(network_of(path))


@functools.cache
def surface_of(path: str | Path) -> list[Any]:
    return surface_polygons(network_of(path))


def cells_of(grid, points, layer):
    """Number of the cell of each point, -1 where there is no block, by the definition in Grid."""
    i, j = np.floor((points - grid.origin[0]) / CELL).astype(int).T
    nx, ny = grid.shape[0, :2]
    valid = (i >= 0) & (j >= 0) & (i < 16 * nx) & (j < 16 * ny)
    i, j = np.where(valid, i, 0), np.where(valid, j, 0)
    block = grid.block[(layer * ny + j // 16) * nx + i // 16]
    cell = np.where(valid & (block >= 0), block * 256 + (j % 16) * 16 + i % 16, -1)
    centre = grid.origin[0] + CELL * (np.stack([i, j], axis=1) + 0.5)
    return cell, centre


def on_surface(grid, points, layer=0):
    """The kernels' rule: parity of the cell's edges between a point and the centre of its cell."""
    cell, centre = cells_of(grid, points, layer)
    valid = cell >= 0
    count = np.where(valid, np.diff(grid.edge_first)[cell], 0)
    owner = np.repeat(np.arange(len(points)), count)
    k = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
    edge = grid.edge[grid.edge_first[cell[owner]] + k].astype(np.float64)
    p, c, a, b = points[owner], centre[owner], edge[:, :2], edge[:, 2:]

    def left(a, b, p):
        u, v = b - a, p - a
        return u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0] > 0

    crossed = (left(p, c, a) != left(p, c, b)) & (left(a, b, p) != left(a, b, c))
    odd = np.bincount(owner, crossed, minlength=len(points)).astype(int) % 2
    return valid & (grid.inside[cell].astype(int) ^ odd == 1)


def check_parity(compiled: CompiledMap, polygons: list[Any], num: int) -> None:
    grid, random = compiled.grid, np.random.default_rng(0)
    assert len(polygons) == grid.shape[0, 3]
    for layer, polygon in enumerate(polygons):
        near = compiled.lanes.segment[random.choice(len(compiled.lanes.segment), num)]
        points = near[:, [SEG_X, SEG_Y]] + random.normal(0.0, 6.0, (num, 2))
        low = polygon.bounds[:2]
        anywhere = random.uniform(low, polygon.bounds[2:], (num // 4, 2))
        points = np.concatenate([points, anywhere])
        shapely.prepare(polygon)
        clear = shapely.distance(shapely.points(points), shapely.boundary(polygon)) > 2e-3
        points = points[clear]
        expected = shapely.contains_xy(polygon, *points.T)
        np.testing.assert_array_equal(on_surface(grid, points, layer), expected)


@pytest.mark.parametrize("name", BUILT_IN)
def test_parity_agrees_with_the_polygons_in_built_in_towns(name):
    check_parity(compiled_of(name), surface_of(name), 20_000)


@pytest.mark.parametrize(
    "seed", [1, *(pytest.param(seed, marks=pytest.mark.full) for seed in (2, 3))]
)
def test_parity_agrees_with_the_polygons_in_variants(seed):
    network = network_of("hillcrest").varied(seed)
    check_parity(compile_map(network), surface_polygons(network), 5_000)


@pytest.mark.parametrize("name", REAL)
def test_parity_agrees_with_the_polygons_in_real_maps(shared_data: Path, name: str):
    path = shared_data / "opendrive" / name
    check_parity(compiled_of(path), surface_of(path), 5_000)


@pytest.mark.parametrize("name", BUILT_IN)
def test_inside_agrees_with_the_polygons(name):
    grid = compiled_of(name).grid
    for layer, polygon in enumerate(surface_of(name)):
        points = np.random.default_rng(1).uniform(polygon.bounds[:2], polygon.bounds[2:], (5000, 2))
        cell, centre = cells_of(grid, points, layer)
        clear = shapely.distance(shapely.points(centre), shapely.boundary(polygon)) > 2e-3
        expected = shapely.contains_xy(polygon, *centre.T)
        kept = (cell >= 0) & clear
        np.testing.assert_array_equal(grid.inside[cell[kept]], expected[kept])
        assert not expected[cell < 0].any()


@pytest.mark.parametrize("name", BUILT_IN)
def test_edges_are_closed_rings_with_the_surface_on_the_left(name):
    for polygon in surface_of(name):
        edges, ring = surface_edges(polygon)
        first = np.flatnonzero(np.diff(ring, prepend=-1))
        last = np.append(first[1:], len(edges)) - 1
        np.testing.assert_array_equal(edges[last, 2:], edges[first, :2])
        joined = np.delete(np.arange(len(edges)), last)
        np.testing.assert_array_equal(edges[joined, 2:], edges[joined + 1, :2])
        step = edges[:, 2:] - edges[:, :2]
        length = np.hypot(*step.T)
        long = length > 0.05
        middle = 0.5 * (edges[:, :2] + edges[:, 2:])[long]
        normal = np.stack([-step[long, 1], step[long, 0]], axis=1) / length[long, None]
        assert shapely.contains_xy(polygon, *(middle + 3e-3 * normal).T).all()
        assert not shapely.contains_xy(polygon, *(middle - 3e-3 * normal).T).any()


def test_outline_of_a_straight_road(road):
    (polygon,) = surface_polygons(road)
    # 200 m of three lanes, 11 m wide, then 50.5 m of one.
    assert polygon.area == pytest.approx(200 * 11 + 50.5 * 4, abs=0.05)
    corners = {tuple(c) for c in np.round(shapely.get_coordinates(polygon), 3).tolist()}
    assert corners == {(0, -5), (200, -5), (200, -2), (250.5, -2), (250.5, 2), (200, 2)} | {
        (200, 6),
        (0, 6),
    }


@pytest.mark.parametrize("gap", [0.3, 0.78, 2.0, 3.9])
def test_the_surface_goes_on_where_links_do(road, gap):
    """Who follows a link over a gap stays on the road: `gap` metres between two linked lanes."""
    whole = surface_polygons(road)[0]
    on = road.lanes[3]
    for side in (on.centre, on.left, on.right):
        side[0, 0] += gap
    (polygon,) = surface_polygons(road)
    assert shapely.symmetric_difference(whole, polygon).area < 1e-3


def test_gaps_between_lanes_are_closed_and_the_outline_stays(road):
    whole = surface_polygons(road)[0]
    for lane in road.lanes[2:3]:
        for side in (lane.centre, lane.left, lane.right):
            side[:, 1] -= 0.04
    on = road.lanes[3]
    for side in (on.centre, on.left, on.right):
        side[0, 0] += 0.3
    (polygon,) = surface_polygons(road)
    assert len(shapely.get_rings(polygon)) == 1
    difference = shapely.symmetric_difference(whole, polygon)
    assert difference.bounds[1] >= -5.041 - 1e-3
    assert shapely.difference(whole, shapely.buffer(polygon, 1e-3)).area < 1e-3


def test_holes_of_junctions_are_filled(fork):
    (polygon,) = surface_polygons(fork)
    assert len(shapely.get_rings(polygon)) == 1
    assert polygon.contains(shapely.Point(20, 0))
    fork.junctions[0].kind = "direct"
    (polygon,) = surface_polygons(fork)
    assert len(shapely.get_rings(polygon)) == 2
    assert not polygon.contains(shapely.Point(20, 0))
    for lane in fork.lanes:
        lane.junction = -1
    assert len(shapely.get_rings(surface_polygons(fork)[0])) == 2


def two_directions(gap: float) -> RoadNetwork:
    """Two one-way streets with a median, of which the middle thirds lie in a junction."""
    lanes = []
    for number, (y, ends) in enumerate([(0.0, (0, 30, 60, 90)), (gap + 3.5, (90, 60, 30, 0))]):
        for place, (a, b) in enumerate(itertools.pairwise(ends)):
            lane = strip(f"{number}{place}", [[a, y, 0], [b, y, 0]], 3.5)
            lane.junction = 0 if place == 1 else -1
            lanes.append(lane)
    connect(lanes, (0, 1), (1, 2), (3, 4), (4, 5))
    return RoadNetwork("medians", lanes, junctions=[Junction("j", "default")])


@pytest.mark.parametrize(("gap", "paved"), [(3.6, True), (4.4, False)])
def test_gaps_between_the_directions_of_a_street_are_paved_in_junctions(gap, paved):
    (area,) = surface_polygons(two_directions(gap))
    middle = 0.5 * (gap + 3.5)
    assert shapely.contains_xy(area, 45.0, middle) == paved
    assert not shapely.contains_xy(area, [10.0, 80.0], [middle, middle]).any()


def test_no_island_stands_where_a_lane_between_the_directions_meets_a_junction():
    """As a lane to turn left from in either direction does; an island beyond it stays."""
    network = two_directions(3.5)
    for first, last in ((0.0, 10.0), (20.0, 30.0), (60.0, 90.0)):
        lane = strip(f"middle {first}", [[first, 3.5, 0], [last, 3.5, 0]], 3.5)
        lane.type = "bidirectional"
        network.lanes.append(lane)
    (area,) = surface_polygons(network)
    (island,) = shapely.get_parts(shapely.polygons(shapely.get_rings(area)[1:]))
    assert island.bounds == pytest.approx((10.0, 1.75, 20.0, 5.25), abs=0.01)
    assert shapely.contains_xy(area, [30.2, 45.0, 59.8], 3.5).all()


def test_folded_lanes_have_a_surface(road):
    # The inner boundary of a bend tighter than half the width runs backwards.
    angle = np.linspace(0, np.pi, 30)
    circle = np.stack([np.sin(angle), -np.cos(angle), 0 * angle], axis=1)
    lane = road.lanes[3]
    lane.centre, lane.left, lane.right = circle, -circle, 3 * circle
    (polygon,) = surface_polygons(RoadNetwork("bend", [lane]))
    assert polygon.is_valid
    assert polygon.contains(shapely.Point(2.0, 0.0))


def test_roads_that_cross_above_one_another_have_two_layers(overpass):
    compiled = compile_map(overpass)
    lanes, grid = compiled.lanes, compiled.grid
    assert grid.shape[0, 3] == 2
    low = lanes.segment_lane == 0
    assert not lanes.segment_layer[low].any()
    upper = lanes.segment[~low, SEG_Y][lanes.segment_layer[~low] == 1]
    # Lanes are 4 m wide: the zone ends 2 + 8 m from the crossing, the growth 25 m further.
    assert -37.5 < upper.min() < -34
    assert 33 < upper.max() < 36.5
    ground, bridge = surface_polygons(overpass)
    for x, y, on_ground, on_bridge in [
        (0, 0, True, True),
        (0, 5, False, True),
        (5, 0, True, False),
        (0, 30, True, True),
        (30, 0, True, True),
        (5, 5, False, False),
    ]:
        assert ground.contains(shapely.Point(x, y)) == on_ground
        assert bridge.contains(shapely.Point(x, y)) == on_bridge
    check_parity(compiled, [ground, bridge], 5_000)


def test_roads_just_above_one_another_have_two_layers_too(overpass):
    overpass.lanes[1].centre[:, 2] *= 3.5 / 6.0
    assert compile_map(overpass).grid.shape[0, 3] == 2
    low, high = surface_polygons(overpass)
    for surface, beside in ((low, shapely.Point(0.0, 5.0)), (high, shapely.Point(5.0, 0.0))):
        assert surface.contains(shapely.Point(0.0, 0.0))
        assert not surface.contains(beside)


def test_layers_share_the_blocks_where_they_are_the_same(overpass):
    grid = compile_map(overpass).grid
    ground, bridge = grid.block.reshape(2, -1)
    differ = ground != bridge
    assert 1 <= differ.sum() <= 4
    assert (bridge[differ] > ground.max()).all()


def test_cells_of_a_layer_list_no_segments_of_another_level(overpass):
    compiled = compile_map(overpass)
    grid = compiled.grid
    for layer, x, y, lanes in [(0, 0, 0, {0}), (1, 0, 0, {1}), (0, 0, 30, {1}), (1, 30, 0, {0})]:
        cell = cells_of(grid, np.array([[x, y]]), layer)[0][0]
        listed = grid.segment[grid.segment_first[cell] : grid.segment_first[cell + 1]]
        assert set(compiled.lanes.segment_lane[listed].tolist()) == lanes


def test_a_cut_road_shows_no_edge_across(overpass):
    grid = compile_map(overpass).grid
    point = grid.boundary_point
    across = (np.abs(point[:, 1]) > 2.2) & (np.abs(point[:, 1]) < 140) & (np.abs(point[:, 0]) < 1.7)
    assert not across.any()


def test_edges_through_the_centres_of_cells_are_bent(road):
    network = road
    frame = frame_of(np.concatenate([lane.left[:, :2] for lane in network.lanes]))
    centre = frame.origin + CELL * (np.round((50 - frame.origin) / CELL) + 0.5)
    corners = centre + np.array([[-9.0, 0], [9, 0], [9, 9], [-9, 9]])
    square = np.concatenate([corners, np.roll(corners, -1, axis=0)], axis=1)
    parts = split_edges(square, frame)
    starts = {tuple(p) for p in parts[:, :2].tolist()}
    assert starts == {tuple(p) for p in parts[:, 2:].tolist()}
    t = ((centre - parts[:, :2]) * (parts[:, 2:] - parts[:, :2])).sum(axis=1)
    t = np.clip(t / ((parts[:, 2:] - parts[:, :2]) ** 2).sum(axis=1), 0, 1)[:, None]
    gap = np.hypot(*(parts[:, :2] * (1 - t) + parts[:, 2:] * t - centre).T)
    assert 5e-4 < gap.min() < 2e-3


def test_flat_crossings_and_gentle_hills_have_one_layer(overpass, road):
    overpass.lanes[1].centre[:, 2] /= 3.0
    assert compile_map(overpass).grid.shape[0, 3] == 1
    for lane in road.lanes:
        lane.centre[:, 2] *= 10.0
    assert compile_map(road).grid.shape[0, 3] == 1


@pytest.mark.parametrize("name", [*BUILT_IN, *REAL])
def test_no_edge_runs_inside_the_road(request, name):
    if name not in BUILT_IN:
        name = request.getfixturevalue("shared_data") / "opendrive" / name
    network, polygons = network_of(name), surface_of(name)
    centre = resample_lanes(network)
    inner = centre.start[1:-1]
    # The middle of a lane wider than a metre lies well within the surface of some layer.
    width = np.hypot(*(centre.left - centre.right)[inner].T)
    lane = centre.segment_lane
    between = (lane[1:-1] == lane[:-2]) & (lane[1:-1] == lane[2:]) & (width > 1.0)
    points = centre.centre[inner[between], :2]
    clear = np.zeros(len(points))
    for polygon in polygons:
        distance = shapely.distance(shapely.points(points), shapely.boundary(polygon))
        clear = np.maximum(clear, distance * shapely.contains_xy(polygon, *points.T))
    assert (clear > 0.4).mean() > 0.999
