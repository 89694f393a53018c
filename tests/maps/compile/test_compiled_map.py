from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from selfdrive_env.maps import BUILT_IN, load
from selfdrive_env.maps.compile.compiled_map import compile_map
from selfdrive_env.maps.compile.near import boundary_reach, lane_points, lane_reach
from selfdrive_env.maps.compile.segments import resample_lanes
from selfdrive_env.maps.pool.map_pool import pool
from selfdrive_env.maps.road_network import (
    Junction,
    Lane,
    MapError,
    RoadNetwork,
    Signal,
    SignalGroup,
    StopLine,
)
from selfdrive_env.state.arrays import axes, records
from selfdrive_env.state.road import (
    CELL,
    SEG_COS,
    SEG_CURVATURE,
    SEG_LEFT,
    SEG_LENGTH,
    SEG_RIGHT,
    SEG_S,
    SEG_SIN,
    SEG_X,
    SEG_Y,
    SEG_Z,
    Grid,
    Lanes,
    Routes,
    Signs,
)
from tests.maps.conftest import connect, strip


@pytest.fixture(scope="module", params=BUILT_IN)
def town(request):
    return load(request.param)


def cell_of(grid, points, layer=0, world_map=0):
    """Number of the cell of each point, -1 where there is no block, by the definition in Grid."""
    i, j = np.floor((points - grid.origin[world_map]) / np.float32(CELL)).astype(int).T
    nx, ny, offset, _ = grid.shape[world_map]
    valid = (i >= 0) & (j >= 0) & (i < 16 * nx) & (j < 16 * ny)
    i, j = np.where(valid, i, 0), np.where(valid, j, 0)
    block = grid.block[offset + (layer * ny + j // 16) * nx + i // 16]
    return np.where(valid & (block >= 0), block * 256 + (j % 16) * 16 + i % 16, -1)


def observation_cell_of(cell):
    block, inner = cell // 256, cell % 256
    return block * 64 + inner // 16 // 2 * 8 + inner % 16 // 2


def test_every_array_has_the_declared_type_and_axes(road):
    compiled = compile_map(road)
    for struct in (Lanes, Routes, Grid, Signs):
        arrays = getattr(compiled, struct.__name__.lower())
        for name, (names, element) in axes(struct).items():
            array = getattr(arrays, name)
            assert array.dtype == element, name
            assert array.ndim == len(names), name
            assert array.flags.c_contiguous, name


def test_segments_of_a_straight_lane(road):
    lanes = compile_map(road).lanes
    first = lanes.segment[: lanes.segment_first[1]]
    assert len(first) == 200
    np.testing.assert_allclose(first[:, SEG_X], np.arange(200), atol=1e-4)
    np.testing.assert_allclose(first[:, SEG_S], np.arange(200), atol=1e-4)
    np.testing.assert_allclose(first[:, SEG_Y], 0, atol=1e-6)
    np.testing.assert_allclose(first[:, SEG_Z], np.arange(200) / 100, atol=1e-4)
    np.testing.assert_allclose(first[:, [SEG_COS, SEG_SIN]], [[1, 0]] * 200, atol=1e-6)
    np.testing.assert_allclose(first[:, [SEG_LEFT, SEG_RIGHT]], 2.0, atol=1e-5)
    np.testing.assert_allclose(first[:, SEG_CURVATURE], 0, atol=1e-6)
    assert lanes.length[3] == pytest.approx(50.5)
    assert lanes.segment_first[4] - lanes.segment_first[3] == 51
    assert lanes.speed_limit[0] == 10.0


def test_a_lane_has_its_own_width_on_either_side():
    lane = strip("east", [[0, 0, 0], [30, 0, 0]], 4.0, aside=-1.0)
    segment = compile_map(RoadNetwork("lopsided", [lane])).lanes.segment
    np.testing.assert_allclose(segment[:, SEG_LEFT], 3.0, atol=1e-5)
    np.testing.assert_allclose(segment[:, SEG_RIGHT], 1.0, atol=1e-5)


def test_only_drivable_lanes_are_kept_and_links_follow(road):
    road.lanes.insert(0, road.lanes.pop())
    for lane in road.lanes:
        lane.successors = [i + 1 for i in lane.successors]
        lane.left_neighbour += lane.left_neighbour >= 0
        lane.right_neighbour += lane.right_neighbour >= 0
    compiled = compile_map(road)
    assert compiled.network_lane.tolist() == [1, 2, 3, 4]
    assert compiled.lanes.successor.tolist() == [3]
    assert compiled.lanes.successor_first.tolist() == [0, 1, 1, 1, 1]
    assert compiled.lanes.left.tolist() == [-1, -1, 0, -1]
    assert compiled.lanes.right.tolist() == [2, -1, -1, -1]


def test_curvature_and_turn_of_a_quarter_circle():
    angle = np.linspace(0, np.pi / 2, 91)
    points = np.stack([20 * np.sin(angle), 20 - 20 * np.cos(angle), 0 * angle], axis=1)
    inner = np.stack([18 * np.sin(angle), 20 - 18 * np.cos(angle), 0 * angle], axis=1)
    outer = np.stack([22 * np.sin(angle), 20 - 22 * np.cos(angle), 0 * angle], axis=1)
    lanes = compile_map(RoadNetwork("bend", [Lane("a", "driving", points, inner, outer)])).lanes
    np.testing.assert_allclose(lanes.segment[:, SEG_CURVATURE], 1 / 20, rtol=1e-2)
    np.testing.assert_allclose(lanes.segment[:, SEG_LEFT], 2.0, atol=0.01)
    assert lanes.turn[0] == pytest.approx(np.pi / 2, abs=2e-3)
    assert lanes.max_curvature[0] == pytest.approx(0.05, rel=1e-2)
    assert lanes.length[0] == pytest.approx(10 * np.pi, rel=1e-3)


def test_tiny_lanes_keep_the_topology(road):
    east = road.lanes[0]
    end = east.centre[-1]
    for name, length in (("dot", 1e-6), ("short", 0.01)):
        points = end + np.array([[0, 0, 0], [length, 0, 0]])
        side = np.array([0, 2.0, 0])
        road.lanes.append(Lane(name, "driving", points, points + side, points - side))
    east.successors, road.lanes[5].successors, road.lanes[6].successors = [5], [6], [3]
    lanes = compile_map(road).lanes
    assert len(lanes.length) == 5
    assert np.diff(lanes.segment_first)[4] == 1
    assert lanes.successor.tolist() == [4, 3]
    np.testing.assert_allclose(lanes.segment[-1, [SEG_COS, SEG_SIN]], [1, 0], atol=1e-6)


def test_agents_are_placed_with_road_ahead(road):
    lanes = compile_map(road).lanes
    lane = lanes.segment_lane[lanes.spawn_segment]
    s = lanes.segment[lanes.spawn_segment, SEG_S]
    assert s[lane == 0].max() > 199 - 1e-3  # goes on in lane 3
    assert 174 < s[lane == 1].max() <= 175.001
    assert s[lane == 3].max() <= 25.51
    road.lanes[0].type = "bidirectional"
    lanes = compile_map(road).lanes
    assert 0 not in lanes.segment_lane[lanes.spawn_segment]


@pytest.mark.parametrize(
    ("width", "aside", "placed"),
    [(1.7, 0.4, True), (1.7, -0.4, True), (1.5, 0.2, False), (1.5, -0.2, False)],
)
def test_agents_are_placed_where_both_sides_together_are_wide_enough(width, aside, placed):
    lane = strip("slim", [[0, 0, 0], [60, 0, 0]], width, aside=aside)
    lanes = compile_map(RoadNetwork("slim", [lane])).lanes
    assert bool(len(lanes.spawn_segment)) == placed


def test_the_road_ahead_goes_over_short_lanes_and_ends_with_the_last():
    ends = np.cumsum([0.0, 40.0, 4.0, 4.0])
    lanes = [strip(str(a), [[a, 0, 0], [b, 0, 0]]) for a, b in itertools.pairwise(ends)]
    connect(lanes, (0, 1), (1, 2))
    lanes = compile_map(RoadNetwork("chain", lanes)).lanes
    s = lanes.segment[lanes.spawn_segment, SEG_S]
    assert not lanes.segment_lane[lanes.spawn_segment].any()
    assert s.tolist() == pytest.approx(range(24))  # 25 m before the end at 48 m


def test_maps_that_cannot_be_used_are_named():
    with pytest.raises(MapError, match="'void' has no drivable lane"):
        compile_map(RoadNetwork("void"))
    points = np.array([[0, 0, 0], [1, np.nan, 0]])
    with pytest.raises(MapError, match=r"lane 'bad'.*not finite"):
        compile_map(RoadNetwork("void", [Lane("bad", "driving", points, points, points)]))


def test_cells_list_every_segment_over_them(town):
    compiled = compile_map(town)
    grid, random = compiled.grid, np.random.default_rng(0)
    quads = resample_lanes(town).quads
    weight = random.dirichlet(np.ones(4), len(quads))
    cell = cell_of(grid, (quads * weight[..., None]).sum(axis=1), compiled.lanes.segment_layer)
    assert (cell >= 0).all()
    for segment in random.choice(len(quads), 2000):
        c = cell[segment]
        listed = grid.segment[grid.segment_first[c] : grid.segment_first[c + 1]]
        assert segment in listed
        assert (np.diff(listed) > 0).all()


def test_cells_list_every_edge_that_touches_them(town):
    grid = compile_map(town).grid
    blocks = np.unique(grid.block[: len(grid.block) // grid.shape[0, 3]])
    cells = np.repeat(np.arange(len(grid.inside)), np.diff(grid.edge_first))
    ground = np.isin(cells // 256, blocks[blocks >= 0])
    edges = np.unique(grid.edge[ground], axis=0).astype(np.float64)
    assert np.hypot(*(edges[:, 2:] - edges[:, :2]).T).max() <= CELL * np.sqrt(2.0) + 0.01
    random = np.random.default_rng(1)
    for edge in random.permutation(edges)[:2000]:
        t = random.random()
        c = cell_of(grid, (edge[:2] * (1 - t) + edge[2:] * t)[None])[0]
        listed = grid.edge[grid.edge_first[c] : grid.edge_first[c + 1]]
        assert (listed == edge.astype(np.float32)).all(axis=1).any()


def test_near_lists_are_complete_and_ascending(town):
    compiled = compile_map(town, lane_points=24, boundary_points=40, stop_lines=2)
    grid = compiled.grid
    random = np.random.default_rng(2)
    lanes = compiled.lanes
    reach = lane_reach(lane_points(lanes)[3], 24)
    segment = random.choice(len(lanes.segment), 60)
    points = lanes.segment[segment][:, [SEG_X, SEG_Y]]
    cells = observation_cell_of(cell_of(grid, points))
    centres = grid.origin[0] + 8 * (np.floor((points - grid.origin[0]) / 8) + 0.5)
    for cell, centre in zip(cells, centres, strict=True):
        row = grid.near[cell]
        distance = np.hypot(*(grid.lane_point[:, :2].astype(np.float64) - centre).T)
        expected = np.sort(distance[distance <= reach])[:24]
        found = grid.near_lane_point[row]
        found = found[found >= 0]
        np.testing.assert_allclose(distance[found], expected, atol=1e-6)
        edge = grid.near_boundary[row]
        edge = edge[edge >= 0]
        distance = np.hypot(*(grid.boundary_point[:, :2].astype(np.float64) - centre).T)
        assert (np.diff(distance[edge]) >= 0).all()
        # Within the finest reach no point is left out.
        if grid.shape[0, 3] == 1:
            assert (distance[edge] < 4).sum() == min((distance < 4).sum(), 40)
        lines = grid.near_stop_line[row]
        distance = np.hypot(*(compiled.signs.line[:, :2].astype(np.float64) - centre).T)
        expected = np.sort(distance[distance <= 200])[:2]
        np.testing.assert_allclose(distance[lines[lines >= 0]], expected, atol=1e-6)


def test_reaches_follow_the_lengths_of_the_lists():
    number = np.arange(17)
    assert lane_reach(number, 80)[[0, 1, 2, 4, 8]].tolist() == [200, 20, 40, 80, 200]
    assert lane_reach(number, 20)[[0, 1, 2, 4, 8]].tolist() == [200, 10, 20, 40, 200]
    assert boundary_reach(number, 80)[[0, 1, 2, 4, 8, 16]].tolist() == [200, 8, 16, 40, 80, 200]
    assert boundary_reach(number, 40)[[0, 1, 2, 4, 8, 16]].tolist() == [200, 4, 8, 20, 40, 200]
    assert boundary_reach(number, 160)[1] == 8


def test_lane_points_lie_every_five_metres(road):
    grid = compile_map(road).grid
    mine = grid.lane_point[:, 5] == 0
    np.testing.assert_allclose(grid.lane_point[mine, 4], np.arange(2.5, 200, 5), atol=1e-4)
    np.testing.assert_allclose(grid.lane_point[mine, 0], np.arange(2.5, 200, 5), atol=1e-4)
    np.testing.assert_allclose(grid.lane_point[mine, 1:4], [[0, 1, 0]] * mine.sum(), atol=1e-5)


def test_boundary_points_have_the_road_on_their_left(road):
    grid = compile_map(road).grid
    point = grid.boundary_point
    lower = point[(np.abs(point[:, 1] + 5) < 0.01) & (point[:, 0] > 1) & (point[:, 0] < 199)]
    assert 190 < len(lower) < 205
    np.testing.assert_allclose(lower[:, 2:], [[1, 0]] * len(lower), atol=1e-4)
    np.testing.assert_allclose(np.hypot(point[:, 2], point[:, 3]), 1, atol=1e-5)


@pytest.fixture
def signals(road):
    """A light without a group on lane 0, lights of groups 1 and 0 on lane 3, a stop sign on 1."""

    def line(lane, s, x, y, heading, **fields):
        left, right = np.array([x, y + 2.0, 1.0]), np.array([x, y - 2.0, 1.0])
        guards = (np.array([x, 6.0, 1.0]), np.array([x, -5.0, 1.0]))
        return StopLine(left, right, *guards, heading, [(lane, s)], **fields)

    position = np.zeros(3)
    groups = [("a", 1), ("b", 0), ("lone", -1)]
    road.signals = [Signal(n, "traffic_light", position, 0.0, group=g) for n, g in groups]
    road.signal_groups = [SignalGroup("g0"), SignalGroup("g1"), SignalGroup("g2")]
    road.junctions = [Junction("j", signal_groups=[1, 0])]
    road.stop_lines = [
        line(3, 40.0, 240, 0, 0.0, signal=0),
        line(3, 10.0, 210, 0, 0.0, signal=1),
        line(0, 300.0, 200, 0, 0.0, signal=2),
        line(1, 100.0, 100, 4, np.pi, kind="stop_sign"),
        line(4, 10.0, 10, 8, 0.0, signal=1),
    ]
    return road


def test_stop_lines_and_programs(signals):
    compiled = compile_map(signals)
    signs = compiled.signs
    assert signs.line_group.tolist() == [1, 0, 3, -1, 0]
    assert compiled.num_groups == 4
    first = signs.lane_line_first
    assert first.tolist() == [0, 1, 2, 2, 4]
    assert signs.lane_line.tolist() == [2, 3, 1, 0]
    np.testing.assert_allclose(signs.lane_line_s, [200, 100, 10, 40], atol=1e-3)
    programs = np.split(signs.program_group, signs.program_first[1:-1])
    assert [p.tolist() for p in programs] == [[1, 0], [2], [3]]
    np.testing.assert_allclose(signs.line[0], [240, 0, 1, 0, 240, 6, 240, -5, 1], atol=1e-5)


def test_guards_are_listed_within_twelve_metres(signals):
    compiled = compile_map(signals)
    grid = compiled.grid
    for x, y in [(240.5, 0), (225, 0), (252, 0), (100, 8), (60, 0)]:
        cell = observation_cell_of(cell_of(grid, np.array([[x, y]])))[0]
        low = grid.origin[0] + 8 * np.floor((np.array([x, y]) - grid.origin[0]) / 8)
        expected = []
        for i, row in enumerate(compiled.signs.line):
            t = np.linspace(0, 1, 2001)[:, None]
            points = row[4:6] * (1 - t) + row[6:8] * t
            gap = np.maximum(np.maximum(low - points, points - low - 8), 0)
            if np.hypot(*gap.T).min() <= 12:
                expected.append(i)
        found = grid.guard[grid.guard_first[cell] : grid.guard_first[cell + 1]]
        assert found.tolist() == expected


def test_pool_of_one_map_shares_its_arrays(road):
    compiled = compile_map(road)
    owned = (compiled.lanes, compiled.routes, compiled.grid, compiled.signs)
    for found, own in zip(pool([compiled]), owned, strict=True):
        together = records(type(own))
        for name, array in own._asdict().items():
            shared = getattr(found, name)
            assert shared is array or name in together
            np.testing.assert_array_equal(shared, array, strict=True)
    with pytest.raises(ValueError, match="at least one"):
        pool([])
    with pytest.raises(ValueError, match="near_lane_point"):
        pool([compiled, compile_map(road, lane_points=10)])


def test_pool_adds_the_offsets_of_the_maps_before(signals, overpass, fork):
    maps = [compile_map(n) for n in (signals, overpass, fork, signals)]
    lanes, routes, grid, signs = pool(maps)
    before, last = maps[:3], maps[3]

    def count(*path):
        return sum(len(getattr(getattr(m, path[0]), path[1])) for m in before)

    def same(pooled, alone, offset):
        end = pooled[-len(alone) :] if len(alone) else pooled[:0]
        np.testing.assert_array_equal(np.where(end >= 0, end - offset, -1), alone)

    num_lanes, num_segments = count("lanes", "length"), count("lanes", "segment")
    num_lines, num_blocks = count("signs", "line"), count("grid", "inside") // 256
    groups, junctions = sum(m.num_groups for m in before), sum(m.num_junctions for m in before)
    for array, alone, offset in [
        (lanes.segment_lane, last.lanes.segment_lane, num_lanes),
        (lanes.segment_first, last.lanes.segment_first, num_segments),
        (lanes.successor, last.lanes.successor, num_lanes),
        (lanes.successor_first, last.lanes.successor_first, count("lanes", "successor")),
        (lanes.left, last.lanes.left, num_lanes),
        (lanes.right, last.lanes.right, num_lanes),
        (lanes.junction, last.lanes.junction, junctions),
        (lanes.spawn_segment, last.lanes.spawn_segment, num_segments),
        (lanes.map_spawn_first, last.lanes.map_spawn_first, count("lanes", "spawn_segment")),
        (lanes.map_lane_first, last.lanes.map_lane_first, num_lanes),
        (routes.first, last.routes.first, count("routes", "distance")),
        (routes.lane, last.routes.lane, num_lanes),
        (grid.block, last.grid.block, num_blocks),
        (grid.segment_first, last.grid.segment_first, count("grid", "segment")),
        (grid.segment, last.grid.segment, num_segments),
        (grid.edge_first, last.grid.edge_first, count("grid", "edge")),
        (grid.near, last.grid.near, count("grid", "near_lane_point")),
        (grid.near_lane_point, last.grid.near_lane_point, count("grid", "lane_point")),
        (grid.near_boundary, last.grid.near_boundary, count("grid", "boundary_point")),
        (grid.near_stop_line, last.grid.near_stop_line, num_lines),
        (grid.guard_first, last.grid.guard_first, count("grid", "guard")),
        (grid.guard, last.grid.guard, num_lines),
        (signs.line_group, last.signs.line_group, groups),
        (signs.lane_line_first, last.signs.lane_line_first, count("signs", "lane_line")),
        (signs.lane_line, last.signs.lane_line, num_lines),
        (signs.program_first, last.signs.program_first, count("signs", "program_group")),
        (signs.program_group, last.signs.program_group, groups),
        (signs.map_group_first, last.signs.map_group_first, groups),
        (signs.map_line_first, last.signs.map_line_first, num_lines),
    ]:
        same(array, alone, offset)
    assert len(lanes.map_lane_first) == len(signs.map_program_first) == 5
    assert (
        grid.shape[:, 2].tolist() == np.cumsum([0] + [len(m.grid.block) for m in before]).tolist()
    )
    np.testing.assert_array_equal(grid.edge[-len(last.grid.edge) :], last.grid.edge)
    np.testing.assert_array_equal(
        grid.lane_point[-len(last.grid.lane_point) :], last.grid.lane_point
    )
    np.testing.assert_array_equal(grid.origin[3], last.grid.origin[0])
    point = np.array([[50.0, 0.5]])
    cells = cell_of(grid, point, world_map=3)
    np.testing.assert_array_equal(cells, cell_of(last.grid, point) + num_blocks * 256)


def test_junctions_of_pooled_maps_are_told_apart(fork):
    one = compile_map(fork)
    lanes, *_ = pool([one, one])
    assert one.lanes.junction.tolist() == [-1, 0, 0, -1]
    assert lanes.junction.tolist() == [-1, 0, 0, -1, -1, 1, 1, -1]


def test_same_network_same_digest(road):
    first = compile_map(road)
    assert compile_map(road).digest == first.digest
    road.lanes[0] = replace(road.lanes[0], speed_limit=11.0)
    assert compile_map(road).digest != first.digest


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_variants_compile(seed):
    compiled = compile_map(load("riverside").varied(seed))
    assert np.isfinite(compiled.lanes.segment).all()
    width = compiled.lanes.segment[:, SEG_LEFT] + compiled.lanes.segment[:, SEG_RIGHT]
    assert np.median(width) > 2.0


@pytest.mark.parametrize("name", ["carla/Town10HD.xodr", "carla/Town04.xodr.gz"])
def test_real_maps_compile(shared_data: Path, name: str):
    compiled = compile_map(load(shared_data / "opendrive" / name))
    assert np.isfinite(compiled.lanes.segment).all()
    assert (compiled.lanes.segment[:, SEG_LENGTH] <= 1.0 + 1e-5).all()


@pytest.mark.full
def test_the_largest_map_compiles(shared_data: Path):
    network = load(shared_data / "opendrive/carla/Town12.xodr.xz")
    compiled = compile_map(network)
    assert len(compiled.lanes.length) > 10_000
    assert np.isfinite(compiled.lanes.segment).all()
