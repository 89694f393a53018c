from __future__ import annotations

import numpy as np
import pytest
import shapely

from selfdrive_env.config.presets import BODY_TYPES
from selfdrive_env.kernels.starts.bodies import draw_coefficient, draw_type
from selfdrive_env.maps import BUILT_IN
from selfdrive_env.maps.compile.compiled_map import compile_map
from selfdrive_env.maps.road_network import RoadNetwork
from selfdrive_env.state.world import ABSENT, BLIND, BODY_SHARE, BRAKING, MAX_GOALS
from tests.kernels import from_python
from tests.kernels.conftest import acceleration_lane, build, random_jerks, town_engine
from tests.kernels.drivers.test_merges import small_ring
from tests.maps.conftest import connect, strip
from tests.reference import MILLIMETRE, Sweep, corners, gap, offroad_is_close, swept_offroad

draw_coefficient = from_python(draw_coefficient)
draw_type = from_python(draw_type)

F = np.float32


def sweeps(engine, world):
    """The standing bodies of a world and the layer of each."""
    a, b = engine.agents, engine.bodies
    for agent in np.flatnonzero(a.status[world] != ABSENT):
        heading = np.arctan2(a.sin[world, agent], a.cos[world, agent])
        body = (b.length[world, agent], b.width[world, agent], b.wheelbase[world, agent])
        pose = (a.x[world, agent], a.y[world, agent], heading, 0.0, 0.0)
        layer = engine.lanes.segment_layer[a.segment[world, agent]]
        yield Sweep(*(float(v) for v in (*pose, *body))), int(layer)


@pytest.mark.parametrize("name", BUILT_IN)
@pytest.mark.parametrize("bodies", ["random", "typed"])
def test_agents_are_placed_clear_of_each_other_and_wholly_on_the_road(name, bodies, surfaces):
    engine = town_engine(name, worlds=4, agents_per_world=40, bodies=bodies, seed=7)
    for world in range(4):
        placed = list(sweeps(engine, world))
        assert len(placed) >= 39
        boxes = np.array([sweep.boxes(1)[0] for sweep, _ in placed])
        z = engine.agents.z[world][engine.agents.status[world] != ABSENT]
        i, j = np.triu_indices(len(placed), 1)
        apart = gap(boxes[i], boxes[j]) > 0.0
        assert (apart | (np.abs(z[i] - z[j]) >= 2.5)).all()
        touching = shapely.intersects(shapely.polygons(boxes[i]), shapely.polygons(boxes[j]))
        np.testing.assert_array_equal(touching, ~apart)
        for sweep, layer in placed:
            surface = surfaces(name)[layer]
            assert not swept_offroad(sweep, surface) or offroad_is_close(sweep, surface)


@pytest.mark.parametrize("name", BUILT_IN)
def test_nobody_starts_across_a_stop_line(name):
    """Its front would be past a light that may be red, or a sign at which it never stopped."""
    engine = town_engine(name, worlds=16, agents_per_world=60, bodies="typed", seed=5)
    ends = engine.signs.line[:, 4:8].reshape(-1, 2, 2)
    lines = shapely.linestrings(ends.astype(np.float64))
    placed = 0
    for world in range(16):
        for sweep, _ in sweeps(engine, world):
            box = sweep.boxes(1)[0]
            back, front = box[[1, 2]].mean(axis=0), box[[0, 3]].mean(axis=0)
            assert not shapely.intersects(shapely.linestrings([back, front]), lines).any()
            placed += 1
    assert placed > 900


def test_agents_placed_in_a_running_world_start_without_contact(surfaces):
    engine = town_engine(
        worlds=4, agents_per_world=40, on_collision="terminate", on_offroad="terminate"
    )
    random = np.random.default_rng(0)
    fresh = 0
    for _ in range(60):
        engine.step(random_jerks(random, engine))
        a, b = engine.agents, engine.bodies
        for world, agent in np.argwhere(engine.output.terminated != 0):
            fresh += 1
            if a.status[world, agent] == ABSENT:
                continue
            ahead = b.wheelbase[world] / 2
            boxes = corners(
                a.x[world] + ahead * a.cos[world],
                a.y[world] + ahead * a.sin[world],
                np.arctan2(a.sin[world], a.cos[world]),
                b.length[world],
                b.width[world],
            )
            others = a.status[world] != ABSENT
            others[agent] = False
            assert (gap(boxes[agent], boxes[others]) > -MILLIMETRE).all()
            assert a.age[world, agent] == 0
            assert not a.contact[world, agent]
    assert fresh > 50


@pytest.mark.parametrize("spread", [1.25, 1.5])
def test_half_of_the_coefficients_lie_below_one(spread):
    random = np.random.default_rng(1)
    numbers = random.random((20_000, 2)).astype(np.float32)
    values = np.array([draw_coefficient(F(spread), *pair) for pair in numbers])
    assert values.min() >= 1 / spread - 1e-6
    assert values.max() <= spread + 1e-6
    assert (values < 1.0).mean() == pytest.approx(0.5, abs=0.015)
    # Uniform within each half: the quartiles are the middles.
    low, high = values[values < 1.0], values[values >= 1.0]
    assert np.median(low) == pytest.approx((1 / spread + 1) / 2, abs=0.01)
    assert np.median(high) == pytest.approx((1 + spread) / 2, abs=0.01)


def test_random_bodies_have_the_papers_sizes_and_coefficients():
    engine = town_engine(worlds=24, agents_per_world=32)
    b = engine.bodies
    assert (b.width <= b.length).all()
    assert b.length.min() >= F(0.8)
    assert b.length.max() <= F(7.0)
    assert b.width.min() >= F(0.8)
    assert b.width.max() <= F(3.0)
    assert b.length.mean() == pytest.approx(3.9, abs=0.4)
    np.testing.assert_allclose(b.wheelbase, 0.6 * b.length, rtol=1e-6)
    for field, spread in (
        (b.jerk_scale, 1.25),
        (b.lateral_jerk_scale, 1.25),
        (b.acceleration_scale, 1.5),
        (b.speed_scale, 1.5),
    ):
        assert field.min() >= 1 / spread - 1e-5
        assert field.max() <= spread + 1e-5
        assert (field < 1.0).mean() == pytest.approx(0.5, abs=0.07)


def test_typed_bodies_lie_within_their_table():
    engine = town_engine(worlds=24, agents_per_world=32, bodies="typed")
    b, names = engine.bodies, list(BODY_TYPES)
    for kind in np.unique(b.type):
        _, long_low, long_high, wide_low, wide_high, *means = BODY_TYPES[names[kind]]
        own = b.type == kind
        assert (b.length[own] >= F(long_low) - 1e-5).all(), names[kind]
        assert (b.length[own] <= F(long_high) + 1e-5).all()
        assert (b.width[own] >= F(wide_low) - 1e-5).all()
        assert (b.width[own] <= F(wide_high) + 1e-5).all()
        for field, mean, spread in zip(
            (b.jerk_scale, b.lateral_jerk_scale, b.acceleration_scale, b.speed_scale),
            means,
            (1.25, 1.25, 1.5, 1.5),
            strict=True,
        ):
            assert (field[own] >= mean / spread - 1e-5).all()
            assert (field[own] <= mean * spread + 1e-5).all()
    share = (b.type == names.index("car")).mean()
    assert share == pytest.approx(BODY_TYPES["car"][0], abs=0.06)
    assert not (b.type == names.index("random")).any()


def test_types_are_drawn_by_share():
    body = np.zeros((4, 9), np.float32)
    body[:, BODY_SHARE] = [0.0, 3.0, 0.0, 1.0]
    units = np.linspace(0.0, 1.0 - 2.0**-24, 4000).astype(np.float32)
    kinds = np.bincount([draw_type(unit, body) for unit in units], minlength=4)
    np.testing.assert_allclose(kinds / len(units), [0.0, 0.75, 0.0, 0.25], atol=1e-3)


def test_tempers_are_drawn_by_share():
    engine = town_engine(worlds=24, agents_per_world=32, blind_share=0.05, braking_share=0.3)
    erratic = engine.bodies.erratic
    assert ((erratic & BLIND) != 0).mean() == pytest.approx(0.05, abs=0.03)
    assert ((erratic & BRAKING) != 0).mean() == pytest.approx(0.3, abs=0.06)
    np.testing.assert_array_equal(
        engine.rows.learn.reshape(erratic.shape) != 0,
        (erratic == 0) & (engine.rows.valid != 0).reshape(erratic.shape),
    )


def test_who_starts_anew_remembers_nothing():
    engine = town_engine(agents_per_world=3)
    agents, bodies, tallies = engine.agents, engine.bodies, engine.tallies
    bodies.num_goals[...] = 2
    for field in (bodies.goal_lane, bodies.goal_s, bodies.goal_x, bodies.goal_y):
        field[..., 1] = field[..., 0]  # so that everybody may be on the way to the second
    carried = ("acceleration", "lateral_acceleration", "steering", "standing_time", "brake_until",
        "goal", "age", "contact", "hold", "let_in_until", "let_in_tick",
        "path_s")  # fmt: skip
    sums = tallies.term, tallies.count, tallies.distance
    for field in (*(getattr(agents, name) for name in carried), agents.stopped_at, *sums):
        field[...] = 1
    chosen = np.array([[0, 1, 0]], np.uint8)
    engine.reset(chosen, np.zeros(1, np.uint8), staggered=False)
    for name in carried:
        assert getattr(agents, name)[0].tolist() == [1, 0, 1], name
    assert agents.stopped_at[0].tolist() == [1, -1, 1]
    for field in sums:
        assert not field[0, 1].any()
        assert (field[0, [0, 2]] == 1).all()


@pytest.mark.parametrize("standing", [0.0, 1.0])
def test_no_goal_of_an_earlier_route_is_left(standing):
    """It may lie on a map that is not in the pool any more: a state with it is refused."""
    engine = town_engine(agents_per_world=12, standing_share=standing)
    bodies = engine.bodies
    for field in (bodies.goal_s, bodies.goal_x, bodies.goal_y):
        field[...] = 1e4
    bodies.goal_lane[...] = 10_000
    engine.reset(np.ones((1, 12), np.uint8), np.ones(1, np.uint8), staggered=False)
    unused = np.arange(MAX_GOALS) >= bodies.num_goals[..., None]
    assert unused.any() and (bodies.goal_lane[unused] == -1).all()
    for field in (bodies.goal_s, bodies.goal_x, bodies.goal_y):
        assert not field[unused].any()
    assert (bodies.goal_lane < len(engine.lanes.length)).all()
    engine.check_state(engine.state())


def test_placing_is_a_function_of_the_seed():
    a, b, c = (town_engine(worlds=2, agents_per_world=16, seed=s) for s in (5, 5, 6))
    for name, value in a.state().items():
        assert value.tobytes() == b.state()[name].tobytes(), name
    assert not np.array_equal(a.agents.x, c.agents.x)
    assert not np.array_equal(a.agents.x[0], a.agents.x[1])


def test_initial_speeds_stay_below_the_share_of_the_limit():
    engine = town_engine(worlds=8, agents_per_world=32, initial_speed=0.5)
    limit = engine.lanes.speed_limit[engine.lanes.segment_lane[engine.agents.segment]]
    top = np.minimum(limit, 20.0 * engine.bodies.speed_scale)
    assert (engine.agents.speed <= 0.5 * top + 1e-4).all()
    assert (engine.agents.speed > 0.1).any()
    assert not town_engine(agents_per_world=8, initial_speed=0.0).agents.speed.any()


@pytest.mark.parametrize(("height", "placed"), [(6.0, 2), (0.0, 1)])
def test_who_is_on_another_level_is_not_in_the_way_of_placing(height, placed):
    """Two lanes so short that cars start within 3 m of where these cross, or not at all."""
    lanes = [
        strip("low", [[-5, 0, 0], [25, 0, 0]]),
        strip("high", [[0, -5, height], [0, 25, height]]),
    ]
    engine = build(
        [compile_map(RoadNetwork("short", lanes))],
        agents_per_world=2, bodies={"car": 1.0}, first_goal=(5.0, 8.0), further_goals=0,
        initial_speed=0.0,
    )  # fmt: skip
    present = engine.agents.status[0] != ABSENT
    assert present.sum() == placed
    assert len(np.unique(engine.agents.z[0, present])) == placed


@pytest.mark.parametrize(("mode", "placed"), [("Disabled", False), ("NextStep", True)])
def test_who_has_ended_is_placed_anew_unasked_in_some_modes_only(mode, placed):
    settings = dict(autoreset_mode=mode, on_offroad="terminate", initial_speed=0.0)
    engine = town_engine(agents_per_world=2, **settings)
    engine.agents.y[0, 0] += 1000.0
    engine.step(np.zeros((1, 2, 2), np.float32))
    assert engine.output.terminated[0].tolist() == [1, 0]
    assert (engine.agents.status[0] != ABSENT).tolist() == [False, True]
    for _ in range(3):
        engine.step(np.zeros((1, 2, 2), np.float32))
    assert (engine.agents.status[0] != ABSENT).tolist() == [placed, True]
    assert engine.output.awaiting_reset[0].tolist() == [not placed, False]


def test_nobody_starts_close_before_a_lane_gets_too_narrow():
    """At least 25 m, and slow enough to stop there: v^2 <= 2 * 2 * room."""
    engine = build(
        [acceleration_lane(True)], worlds=900, agents_per_world=1, bodies={"car": 1.0, "bus": 1.0},
        first_goal=(20.0, 60.0), further_goals=0, initial_speed=1.0,
    )  # fmt: skip
    agents, bodies = engine.agents, engine.bodies
    lane = engine.lanes.segment_lane[agents.segment[:, 0]]
    entered = (agents.status[:, 0] != ABSENT) & (lane == 8)
    assert entered.sum() > 30
    narrow = 80.0 + 30.0 * (1.0 - (bodies.width[:, 0] + 0.4) / 4.0)
    way = (narrow - agents.s[:, 0])[entered]
    assert way.min() > 25.0 - 1.0
    room = way - 0.5 * bodies.length[entered, 0]
    assert (agents.speed[entered, 0] <= np.sqrt(4.0 * (room + 1.0))).all()
    assert not (lane == 9).any()


def test_a_start_leaves_room_to_brake_for_bends_and_dead_ends():
    """v^2 <= 2.5 / curvature + 2 * 3 * room before a bend, 2 * 3 * room before the end."""
    angle = np.linspace(0.0, np.pi / 2, 91)
    bend = np.stack([60 + 10 * np.sin(angle), 10 - 10 * np.cos(angle), 0 * angle], axis=1)
    points = ([[0, 0, 0], [60, 0, 0]], bend, [[70, 10, 0], [70, 70, 0]])
    lanes = [strip(str(n), p, speed_limit=40.0) for n, p in enumerate(points)]
    connect(lanes, (0, 1), (1, 2))
    engine = build(
        [compile_map(RoadNetwork("bend", lanes))],
        worlds=600, agents_per_world=1, bodies={"car": 1.0}, first_goal=(5.0, 8.0),
        further_goals=0, initial_speed=1.0,
    )  # fmt: skip
    agents, bodies = engine.agents, engine.bodies
    lane = engine.lanes.segment_lane[agents.segment[:, 0]]
    room = engine.lanes.length[lane] - agents.s[:, 0] - 0.5 * bodies.length[:, 0]
    room = np.maximum(room, 0.0)
    top = 20.0 * bodies.speed_scale[:, 0]
    for here, square in ((0, 25.0 + 4.0 * room), (2, 4.0 * room)):
        bound = np.sqrt(square)
        mine = (lane == here) & (agents.status[:, 0] != ABSENT)
        limit = np.minimum(bound, top)
        assert (agents.speed[mine, 0] <= 1.01 * limit[mine]).all()
        binds = mine & (bound < top) & (room > 5.0)
        assert (agents.speed[binds, 0] / limit[binds]).max() > 0.97


def test_nobody_starts_in_a_ring_while_there_is_another_place():
    """Neither in its junctions nor on the short pieces between them, however large the body was."""
    engine = build(
        [compile_map(small_ring())], worlds=400, agents_per_world=1,
        bodies={"car": 1.0, "bus": 1.0}, first_goal=(10.0, 30.0), further_goals=0,
    )  # fmt: skip
    placed = engine.agents.status[:, 0] != ABSENT
    lane = engine.lanes.segment_lane[engine.agents.segment[placed, 0]]
    assert placed.sum() > 300
    assert set(lane) == {6, 9}
