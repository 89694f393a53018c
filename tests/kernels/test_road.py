from __future__ import annotations

import math

import numpy as np
import pytest

from selfdrive_env.kernels.road import (
    lane_distance,
    locate,
    next_lane,
    route_distance,
    search,
    segment_at,
)
from selfdrive_env.maps import BUILT_IN, compiled
from selfdrive_env.maps.pool.map_pool import pool
from selfdrive_env.state.road import LANE_CHANGE_COST, UNREACHABLE
from tests.kernels import from_python
from tests.kernels.conftest import build, lopsided_road, no_jerk, put, set_body
from tests.reference import lane_cost, lane_graph, way_to

lane_distance = from_python(lane_distance)
locate = from_python(locate)
next_lane = from_python(next_lane)
route_distance = from_python(route_distance)
search = from_python(search)
segment_at = from_python(segment_at)

F = np.float32
WIDE = F(10.0)


def place(town, index, x, y, heading, goal_lane=-1):
    cos, sin = F(math.cos(heading)), F(math.sin(heading))
    return locate(
        town.lanes, town.routes, town.grid, index, F(x), F(y), cos, sin, goal_lane, WIDE, F(0.0), 0
    )


def pose_on(town, segment, along, aside=0.0):
    x, y, cos, sin, *_ = town.lanes.segment[segment].astype(np.float64)
    return x + along * cos - aside * sin, y + along * sin + aside * cos, math.atan2(sin, cos)


@pytest.mark.parametrize("name", BUILT_IN)
def test_an_agent_is_found_on_the_nearest_lane(name):
    town, random = compiled(name), np.random.default_rng(7)
    segments, layers = town.lanes.segment, town.lanes.segment_layer
    wrong = 0
    for _ in range(800):
        true = random.integers(len(segments))
        x, y, heading = pose_on(town, true, random.random(), random.uniform(-2.5, 2.5))
        heading += random.normal(0.0, 0.2)
        cos, sin, layer = F(math.cos(heading)), F(math.sin(heading)), np.int64(layers[true])
        found = search(town.lanes, town.grid, F(x), F(y), cos, sin, F(UNREACHABLE), layer, 0)
        cost = lane_cost(segments, x, y, heading)
        cost[layers != layers[true]] = np.inf
        wrong += cost[found] > cost.min() + 1e-3
    assert wrong == 0


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_route_is_followed_where_lanes_overlap(name):
    """Through junctions, one metre a time, the lane of the route comes before any nearer one."""
    town, random = compiled(name), np.random.default_rng(8)
    lanes = town.lanes
    way = lane_graph(lanes, LANE_CHANGE_COST)
    ahead = np.flatnonzero(np.diff(lanes.successor_first) > 1)
    followed = 0
    for lane in random.permutation(ahead)[:60]:
        for link in range(lanes.successor_first[lane], lanes.successor_first[lane + 1]):
            through = lanes.successor[link]
            after = lanes.successor[lanes.successor_first[through]]
            others = np.delete(
                lanes.successor[lanes.successor_first[lane] : lanes.successor_first[lane + 1]],
                link - lanes.successor_first[lane],
            )
            detour = way[after, others].min() - way[after, through]
            if detour < 1.0:
                continue
            index = int(lanes.segment_first[lane + 1]) - 2
            for segment in (*range(index, index + 2), *range(*lanes.segment_first[through:][:2])):
                x, y, heading = pose_on(town, segment, 0.5 * lanes.segment[segment, 4], 0.3)
                index = place(town, index, x, y, heading, after)
                assert abs(index - segment) <= 1, (lane, through)
            followed += 1
    assert followed >= 6


def test_a_lane_is_followed_over_its_successors(capsys):
    town, random = compiled("harbour"), np.random.default_rng(9)
    lanes = town.lanes
    for _ in range(30):
        index = int(random.choice(lanes.spawn_segment))
        segment, travelled = index, 0.0
        while travelled < 150.0:
            step = random.uniform(0.5, 6.0)
            travelled += step
            room = step
            while room > lanes.segment[segment, 4]:
                room -= lanes.segment[segment, 4]
                lane = lanes.segment_lane[segment]
                if segment + 1 == lanes.segment_first[lane + 1]:
                    if lanes.successor_first[lane] == lanes.successor_first[lane + 1]:
                        break
                    segment = lanes.segment_first[lanes.successor[lanes.successor_first[lane]]]
                else:
                    segment += 1
            else:
                x, y, heading = pose_on(town, segment, room, random.uniform(-0.5, 0.5))
                index = place(town, index, x, y, heading)
                # Segments of a bend overlap: the neighbour may be taken.
                assert abs(index - segment) <= 1 or lanes.segment[index, 9] < 1.0
                segment = index
                continue
            break


def test_nobody_changes_to_another_level(surfaces):
    """Across the bridge of hillcrest both ways, also beside the lane and at an angle."""
    town, random = compiled("hillcrest"), np.random.default_rng(10)
    segment, layer = town.lanes.segment, town.lanes.segment_layer
    xy, z = segment[:, :2].astype(np.float64), segment[:, 8]
    above = np.flatnonzero(layer == 1)
    below = [
        q
        for q in np.flatnonzero(layer == 0)
        if (np.hypot(*(xy[above] - xy[q]).T) < 3.0)[np.abs(z[above] - z[q]) > 3.0].any()
    ]
    crossing = [
        q
        for q in above
        if (np.hypot(*(xy[below] - xy[q]).T) < 3.0)[np.abs(z[below] - z[q]) > 3.0].any()
    ]
    assert len(below) > 10
    assert len(crossing) > 10
    for q in [*below, *crossing]:
        for _ in range(10):
            x, y, heading = pose_on(town, q, random.random(), random.uniform(-3.0, 3.0))
            found = place(town, int(q), x, y, heading + random.normal(0.0, 0.5))
            assert abs(z[found] - z[q]) < 2.5


@pytest.mark.parametrize("name", BUILT_IN)
def test_lane_distances_agree_with_floyd_and_warshall(name):
    town = compiled(name)
    lanes, routes = town.lanes, town.routes
    num = len(lanes.length)
    way = lane_graph(lanes, LANE_CHANGE_COST)
    random = np.random.default_rng(11)
    for goal, lane in random.integers(num, size=(3000, 2)):
        found = lane_distance(routes, goal, lane, 0, num)
        wanted = min(way[goal, lane], UNREACHABLE)
        assert found == pytest.approx(wanted, rel=1e-5, abs=1e-3)


def test_distances_in_a_pool_and_in_windowed_rows_are_the_same():
    from selfdrive_env.maps.compile.routes import compile_routes

    towns = [compiled(name) for name in BUILT_IN]
    lanes, routes, _, _ = pool(towns)
    base = int(lanes.map_lane_first[2])
    own = towns[2]
    num = len(own.lanes.length)
    windowed = compile_routes(own.lanes, dense_lanes=0, window=400.0)
    random = np.random.default_rng(12)
    for goal, lane in random.integers(num, size=(1000, 2)):
        plain = own.routes
        wanted = lane_distance(plain, goal, lane, 0, num)
        pooled = lane_distance(routes, goal + base, lane + base, base, num)
        assert pooled == wanted
        cut = lane_distance(windowed, goal, lane, 0, num)
        assert cut == (wanted if wanted <= 400.0 else UNREACHABLE)


def test_route_distance_by_definition():
    town, random = compiled("riverside"), np.random.default_rng(13)
    lanes, routes = town.lanes, town.routes
    num = len(lanes.length)
    cases = random.integers(num, size=(2000, 2))
    cases[::4, 1] = cases[::4, 0]
    for goal, lane in cases:
        goal_s, s = random.random(2) * lanes.length[[goal, lane]]
        found = route_distance(routes, goal, F(goal_s), lane, F(s), F(8.0), 0, num)
        wanted = way_to(routes, goal, goal_s, lane, s, 8.0)
        assert found == pytest.approx(wanted, rel=1e-5, abs=2e-3)


def test_a_goal_just_behind_is_at_distance_zero_and_one_farther_behind_a_round_away():
    town = compiled("riverside")
    lanes, routes = town.lanes, town.routes
    rounds = np.flatnonzero((routes.cycle < 3000) & (lanes.length > 40))
    goal = int(rounds[0])

    def way(s):
        return route_distance(routes, goal, F(20), goal, F(s), F(6), 0, len(lanes.length))

    assert way(15.0) == 5.0
    assert way(25.0) == 0.0
    assert way(30.0) == pytest.approx(routes.cycle[goal] - 10.0, rel=1e-5)


@pytest.mark.parametrize("bend", [10.0, 0.06])
def test_the_next_lane_leads_to_the_goal(bend):
    """By the shortest way among the lanes that bend less than the body can."""
    town, random = compiled("harbour"), np.random.default_rng(14)
    lanes, routes = town.lanes, town.routes
    num = len(lanes.length)
    way = np.minimum(lane_graph(lanes, LANE_CHANGE_COST), UNREACHABLE)
    for goal, lane in random.integers(num, size=(1000, 2)):
        found = next_lane(lanes, routes, lane, goal, F(bend), 0, num)
        after = lanes.successor[lanes.successor_first[lane] : lanes.successor_first[lane + 1]]
        after = after[lanes.max_curvature[after] <= bend]
        if not len(after):
            assert found == -1
            continue
        assert found in after
        assert way[goal, found] <= way[goal, after].min() + 1e-3


def test_the_next_lane_is_none_that_the_body_cannot_follow():
    town = compiled("harbour")
    lanes, routes = town.lanes, town.routes
    num = len(lanes.length)
    for lane in range(num):
        after = lanes.successor[lanes.successor_first[lane] : lanes.successor_first[lane + 1]]
        found = next_lane(lanes, routes, lane, -1, F(0.05), 0, num)
        fitting = [n for n in after if lanes.max_curvature[n] <= 0.05]
        assert found == (fitting[0] if fitting else -1)


def test_segments_by_arc_length():
    lanes = compiled("hillcrest").lanes
    for lane in range(0, len(lanes.length), 3):
        own = lanes.segment[lanes.segment_first[lane] : lanes.segment_first[lane + 1]]
        for share in (0.0, 0.3, 0.77, 1.0):
            s = F(share * lanes.length[lane])
            found = segment_at(lanes, lane, s)
            row = lanes.segment[found]
            assert lanes.segment_lane[found] == lane
            assert row[9] - 1e-3 <= s <= row[9] + row[4] + 1e-3 or len(own) == 1
        assert segment_at(lanes, lane, F(-1)) == (lanes.segment_first[lane])


@pytest.mark.parametrize(
    ("lane", "aside", "found"),
    [(0, 2.5, 0), (0, -0.7, 0), (0, -1.3, 1), (0, 3.2, 0), (1, 1.2, 1), (1, 2.6, 0), (2, 1.3, 2)],
)
def test_a_lane_reaches_as_far_to_each_side_as_it_is_wide_there(lane, aside, found):
    engine = build([lopsided_road()], agents_per_world=1)
    set_body(engine)
    put(engine, 0, int(engine.lanes.segment_first[lane]) + 200, 0.5, aside=aside)
    engine.step(no_jerk(engine))
    agents = engine.agents
    assert engine.lanes.segment_lane[agents.segment[0, 0]] == found
    y = {0: aside, 1: aside - 2.5, 2: 4.5 - aside}[lane]
    d = {0: y, 1: y + 2.5, 2: 4.5 - y}[found]
    assert agents.d[0, 0] == pytest.approx(d, abs=1e-4)
