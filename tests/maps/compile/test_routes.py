from __future__ import annotations

import numpy as np
import pytest

from selfdrive_env.maps import load
from selfdrive_env.maps.compile.compiled_map import compile_map
from selfdrive_env.maps.compile.routes import compile_routes
from selfdrive_env.state.road import LANE_CHANGE_COST, UNREACHABLE, Lanes


def steps(lanes: Lanes):
    """Cost of one step from lane to lane, by successors alone and with lane changes, [L, L]."""
    num = len(lanes.length)
    forward = np.full((num, num), np.inf)
    for lane in range(num):
        for e in range(lanes.successor_first[lane], lanes.successor_first[lane + 1]):
            forward[lane, lanes.successor[e]] = lanes.length[lane]
    both = forward.copy()
    for side in (lanes.left, lanes.right):
        for lane in np.flatnonzero(side >= 0):
            both[lane, side[lane]] = min(both[lane, side[lane]], LANE_CHANGE_COST)
    return forward, both


def floyd_warshall(cost):
    distance = cost.copy()
    np.fill_diagonal(distance, 0.0)
    for k in range(len(cost)):
        distance = np.minimum(distance, distance[:, k, None] + distance[None, k])
    return distance


def dense(routes, num):
    out = np.full((num, num), np.inf)
    for goal in range(num):
        row = slice(routes.first[goal], routes.first[goal + 1])
        out[routes.lane[row], goal] = routes.distance[row]
    return out


def test_distances_of_a_small_network(fork):
    compiled = compile_map(fork)
    length = compiled.lanes.length
    d = compiled.routes.distance.reshape(4, 4)
    assert d[3, 0] == pytest.approx(length[0] + length[1], rel=1e-6)
    assert d[3, 1] == pytest.approx(length[1])
    assert d[0, 3] == UNREACHABLE
    np.testing.assert_array_equal(np.diag(d), 0.0)
    assert (compiled.routes.cycle == UNREACHABLE).all()
    np.testing.assert_array_equal(compiled.routes.lane, np.tile(np.arange(4), 4))


def test_a_lane_change_has_its_cost_and_is_no_cycle(road):
    routes = compile_map(road).routes
    d = routes.distance.reshape(4, 4)
    assert d[2, 0] == d[0, 2] == LANE_CHANGE_COST
    assert d[3, 2] == pytest.approx(LANE_CHANGE_COST + 200, abs=1e-3)
    assert (routes.cycle == UNREACHABLE).all()


def test_cycles_leave_the_lane_and_may_change_lanes(road):
    road.lanes[3].successors = [2]
    lanes = compile_map(road).lanes
    cycle = compile_map(road).routes.cycle
    expected = lanes.length[0] + lanes.length[3] + LANE_CHANGE_COST
    np.testing.assert_allclose(cycle[[0, 2, 3]], expected, rtol=1e-6)
    assert cycle[1] == UNREACHABLE


@pytest.mark.parametrize("name", ["riverside", "hillcrest", "harbour"])
def test_distances_agree_with_floyd_warshall(name):
    compiled = compile_map(load(name))
    lanes, routes = compiled.lanes, compiled.routes
    forward, both = steps(lanes)
    distance = floyd_warshall(both)
    found = dense(routes, len(lanes.length))
    np.testing.assert_allclose(found, np.minimum(distance, UNREACHABLE), rtol=1e-5)

    sideways = floyd_warshall(np.where(both == LANE_CHANGE_COST, both, np.inf))
    leave = (sideways[:, :, None] + forward[None]).min(axis=1)
    cycle = np.minimum(np.diag((leave[:, :, None] + distance[None]).min(axis=1)), UNREACHABLE)
    np.testing.assert_allclose(routes.cycle, cycle, rtol=1e-5)


def test_windowed_rows_hold_what_lies_within_the_window():
    lanes = compile_map(load("harbour")).lanes
    num = len(lanes.length)
    routes = compile_routes(lanes, dense_lanes=10, window=300.0)
    distance = floyd_warshall(steps(lanes)[1])
    found = dense(routes, num)
    clear = np.abs(distance - 300.0) > 0.01
    np.testing.assert_array_equal(np.isfinite(found)[clear], (distance <= 300.0)[clear])
    kept = np.isfinite(found)
    np.testing.assert_allclose(found[kept], distance[kept], rtol=1e-5, atol=1e-3)
    for goal in range(num):
        assert (np.diff(routes.lane[routes.first[goal] : routes.first[goal + 1]]) > 0).all()
