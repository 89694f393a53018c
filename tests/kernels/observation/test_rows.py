from __future__ import annotations

import numpy as np
import pytest

from selfdrive_env.config.layouts import LAYOUTS
from selfdrive_env.config.observation import OBSERVATION, WIDTHS, decode, plane_of, planes
from selfdrive_env.maps import compiled
from selfdrive_env.state.world import ABSENT, BLIND, EXTERNAL, IDM
from tests.kernels.conftest import build, random_jerks, town_engine
from tests.reference import Observer

TOLERANCE = 2e-4


def running(layout, steps=25, **settings):
    """Two towns in one pool, worlds that have run for a while, half of the drivers scripted."""
    counts = LAYOUTS[layout]
    maps = [
        compiled(
            name,
            lane_points=counts.lane_points,
            boundary_points=counts.boundary_points,
            stop_lines=counts.stop_lines,
        )
        for name in ("riverside", "hillcrest")
    ]
    settings = {"layout": layout, "preset": "train", **settings}
    engine = build(maps, worlds=4, drivers=[EXTERNAL, IDM] * 12, **settings)
    random = np.random.default_rng(0)
    for _ in range(steps):
        engine.step(random_jerks(random, engine))
    return engine


def compare(engine, count=100):
    """Number of rows equal to the reference; fails at the first other one."""
    observer, random = Observer(engine), np.random.default_rng(1)
    present = np.argwhere(engine.agents.status != ABSENT)
    chosen = random.permutation(present)[:count]
    for world, agent in chosen:
        row = engine.rows.observation[engine.bodies.row[world, agent]]
        np.testing.assert_allclose(
            row, observer.row(world, agent), atol=TOLERANCE, err_msg=f"{world}, {agent}"
        )
    return len(chosen)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_rows_agree_with_the_reference(layout):
    engine = running(layout)
    assert set(engine.worlds.map) == {0, 1}
    assert compare(engine) > 80


def test_rows_with_noise_dropout_and_blind_drivers_agree_with_the_reference():
    engine = running(
        "lean",
        observation_noise=0.5,
        lane_dropout=0.5,
        boundary_dropout=0.4,
        blind_share=0.5,
        lights_off=0.5,
        light_removal=0.5,
        reverse="allowed",
    )
    assert compare(engine) > 80


def test_layouts_have_the_published_lengths():
    """The one place of the tests that has them as numbers: policies and pages count on them."""
    assert WIDTHS == {"ego": 17, "goals": 3, "conditions": 11, "route": 8, "own_line": 9,
        "leader": 4, "follower": 4, "lane_points": 6, "boundary_points": 5, "stop_lines": 10,
        "agents": 16}  # fmt: skip
    assert {name: layout.width for name, layout in LAYOUTS.items()} == {"full": 1265, "lean": 395}


LISTS = ("lane_points", "boundary_points", "stop_lines", "agents")


def table(engine, name):
    """A group of all rows, [rows, slots, columns]."""
    return np.moveaxis(planes(engine.rows.observation, engine.counts, name), 1, 2)


def test_values_stay_in_the_box_and_empty_slots_are_zero():
    engine = running("full", lane_dropout=0.5, observation_noise=1.0)
    random = np.random.default_rng(2)
    for _ in range(20):
        engine.step(random_jerks(random, engine))
        rows = engine.rows.observation
        assert np.isfinite(rows).all()
        assert np.abs(rows).max() <= 1.0
        for name in ("goals", "route", "own_line", "leader", "follower", *LISTS):
            entries = table(engine, name)
            valid = entries[..., -1]
            assert np.isin(valid, (0.0, 1.0)).all()
            assert not entries[valid == 0.0].any()
            assert (np.diff(valid, axis=1) <= 0).all()  # filled from the front


@pytest.mark.parametrize("steps", [60, pytest.param(1000, marks=pytest.mark.full)])
def test_rows_of_five_maps_stay_in_the_box(steps):
    """Drivers crash, leave the road and are reset; with --full on 1,024,000 rows."""
    maps = [compiled(name) for name in ("riverside", "hillcrest", "harbour", "town:3", "hills:1")]
    engine = build(maps, worlds=32, drivers=[EXTERNAL, EXTERNAL, EXTERNAL, IDM] * 8, layout="full",
        preset="train", bodies="typed", on_collision="terminate", on_offroad="terminate",
        observation_noise=0.2)  # fmt: skip
    assert set(engine.worlds.map) == set(range(5))
    random = np.random.default_rng(6)
    for step in range(steps):
        if step % 5 == 0:
            jerk = random_jerks(random, engine)
        engine.step(jerk)
        rows = engine.rows.observation
        assert rows.min() >= -1.0 and rows.max() <= 1.0  # false for what is no number


def test_agents_are_the_nearest_ones_first():
    engine = running("lean")
    agents = decode(engine.rows.observation, engine.counts)["agents"]
    for entries in agents:
        far = np.hypot(*entries[entries[:, -1] == 1.0][:, :2].T)
        assert (np.diff(far) > -0.01 * (1.0 + far[:-1])).all()
    assert (agents[..., -1] == 1.0).mean() > 0.3


def test_observing_depends_on_the_state_alone():
    settings = dict(observation_noise=0.5, lane_dropout=0.5, boundary_dropout=0.4)
    a, b = running("lean", **settings), running("lean", steps=3, **settings)
    for name, value in a.state().items():
        struct, field = name.split(".")
        getattr(getattr(b, struct), field)[...] = value
    jerk = random_jerks(np.random.default_rng(3), a)
    a.step(jerk)
    b.step(jerk)
    assert a.rows.observation.tobytes() == b.rows.observation.tobytes()


def test_blind_drivers_see_no_one_at_times():
    engine = town_engine(worlds=2, agents_per_world=24, blind_share=1.0, layout="full")
    assert (engine.bodies.erratic & BLIND).all()
    random, seen = np.random.default_rng(4), []
    for _ in range(80):
        engine.step(random_jerks(random, engine))
        seen.append(table(engine, "agents")[:, 0, -1].copy())
        blind = seen[-1] == 0.0
        assert not table(engine, "leader")[blind].any()
        assert not table(engine, "follower")[blind].any()
        assert not engine.rows.learn.any()
    share = np.mean(seen)
    assert 0.3 < share < 0.7
    # In spells, not flickering: few changes from one step to the next.
    assert np.abs(np.diff(seen, axis=0)).mean() < 0.1
    # A spell is as long in small steps: the same spells, seen more often (some see nobody anyway).
    small = town_engine(worlds=2, agents_per_world=24, blind_share=1.0, layout="full", dt=0.1)
    often = []
    for _ in range(240):
        small.step(random_jerks(random, small))
        often.append(table(small, "agents")[:, 0, -1].copy())
    assert np.mean(np.array(often[2::3]) == np.array(seen)) > 0.95
    seeing = town_engine(worlds=2, agents_per_world=24, layout="full")
    assert table(seeing, "agents")[:, 0, -1].all()


@pytest.mark.parametrize("layout", [dict(goals=1, lane_points=3, boundary_points=1, stop_lines=1,
    agents=1), dict(goals=3, lane_points=17, boundary_points=9, stop_lines=5, agents=23),
    dict(goals=0, lane_points=0, boundary_points=0, stop_lines=0, agents=0)])  # fmt: skip
def test_rows_of_odd_layouts_agree_with_the_reference(layout):
    engine = town_engine(worlds=2, agents_per_world=24, layout=layout, preset="train")
    random = np.random.default_rng(5)
    for _ in range(10):
        engine.step(random_jerks(random, engine))
    assert compare(engine) > 40


def test_a_longer_list_only_adds_slots():
    """What a layout shows does not depend on how many slots another group, or its own, has."""
    short = town_engine(worlds=2, agents_per_world=24, layout=dict(agents=5, lane_points=9))
    long = town_engine(worlds=2, agents_per_world=24, layout=dict(agents=21, lane_points=40))
    for name in OBSERVATION:
        a, b = table(short, name), table(long, name)
        np.testing.assert_array_equal(a, b[:, : a.shape[1]], err_msg=name)


RARE = {
    "ego": {"speed_limit", "step_length", "reverse"},
    "conditions": {"overspeed"},
    "route": {"x", "speed_limit"},
    "agents": {"height", "kind"},
}
"""Columns whose range is narrower: a map has few speed limits, the distance of a point of the route
is that of its slot, settings are the same for all, most bodies are of one kind and on one level."""


def test_every_column_uses_its_range():
    """From the 1st to the 99th percentile of traffic it spans 1.0 or more, and none is constant."""
    maps = [compiled(name) for name in ("riverside", "hillcrest", "town:1", "town:5")]
    engine = build(maps, worlds=4, drivers=[IDM] * 48, layout="full", preset="train",
        bodies="typed", dt=0.3)  # fmt: skip
    found = {name: [] for name in OBSERVATION}
    for step in range(400):
        engine.step()
        if step >= 50 and step % 10 == 0:
            for name, columns in OBSERVATION.items():
                entries = table(engine, name).reshape(-1, len(columns))
                used = entries[:, -1] == 1.0 if columns[-1].name == "valid" else slice(None)
                found[name].append(entries[used].copy())
    narrow, constant = {}, set()
    for name, columns in OBSERVATION.items():
        entries = np.concatenate(found[name])
        for place, column in enumerate(columns):
            values = entries[:, place]
            if column.name in ("valid", *RARE.get(name, ())):
                continue
            if values.min() == values.max():
                constant.add((name, column.name))
            if set(np.unique(values)) <= {0.0, 1.0}:
                continue
            low, high = np.percentile(values, (1, 99))
            if high - low < 1.0:
                narrow[name, column.name] = round(float(high - low), 2)
    assert not constant
    assert narrow == {}


def test_a_body_on_the_way_leads_and_the_next_behind_follows():
    engine = town_engine(worlds=1, agents_per_world=3, layout="lean")
    lanes, agents, bodies = engine.lanes, engine.agents, engine.bodies
    long = int(np.argmax(lanes.length * (lanes.junction < 0)))
    wheelbase = bodies.wheelbase[0]
    for agent, s in enumerate((20.0, 34.0, 8.0)):
        index = lanes.segment_first[long] + int(
            s / lanes.length[long] * (lanes.segment_first[long + 1] - lanes.segment_first[long])
        )
        segment = lanes.segment[index]
        cos, sin = segment[2], segment[3]
        t = s - segment[9]
        agents.cos[0, agent], agents.sin[0, agent] = cos, sin
        agents.x[0, agent] = segment[0] + (t - 0.5 * wheelbase[agent]) * cos
        agents.y[0, agent] = segment[1] + (t - 0.5 * wheelbase[agent]) * sin
        agents.z[0, agent] = segment[8]
        agents.segment[0, agent], agents.s[0, agent], agents.d[0, agent] = index, s, 0.0
        agents.angle_cos[0, agent], agents.angle_sin[0, agent] = 1.0, 0.0
        agents.speed[0, agent] = (5.0, 3.0, 6.0)[agent]
        bodies.length[0, agent] = 4.0
        bodies.goal_lane[0, agent, 0] = long
        bodies.goal_s[0, agent, 0] = lanes.length[long] - 1.0
        agents.goal[0, agent] = 0
    engine.step(np.zeros((1, 3, 2), np.float32))
    rows = decode(engine.rows.observation, engine.counts)
    moved = 0.5 * 0.3 if engine.params.dt > 0.2 else 0.0
    for group, gap, closing in (("leader", 10.0, 2.0), ("follower", 8.0, 1.0)):
        found = dict(zip((c.name for c in OBSERVATION[group]), rows[group][0, 0], strict=True))
        assert found["gap"] == pytest.approx(gap, abs=1.0 + moved)
        assert found["closing_speed"] == pytest.approx(closing, abs=0.3)
        assert found["valid"] == 1.0
    near = rows["agents"][0]
    on_route = near[:, plane_of("agents", "on_route")]
    ahead = near[:, 0] > 0.0
    assert on_route[ahead & (near[:, -1] == 1.0)].all()
    assert not on_route[~ahead].any()
    gaps = near[near[:, -1] == 1.0][:, plane_of("agents", "gap")]
    assert sorted(gaps) == pytest.approx([8.0, 10.0], abs=1.0 + moved)


def test_others_goals_and_weights_are_hidden():
    engine = town_engine(agents_per_world=8, layout="lean")
    rows = engine.rows.observation.copy()
    engine.bodies.weight[0, 1:] *= 0.5
    engine.bodies.goal_x[0, 1:] += 50.0
    engine.agents.acceleration[0, 1:] = -2.0
    np.testing.assert_allclose(rows[0], Observer(engine).row(0, 0), atol=TOLERANCE)


def test_noise_and_dropout_follow_the_seed():
    """The same scene seen under the same seed again, and under another one."""
    noisy = dict(observation_noise=0.5, lane_dropout=0.5, boundary_dropout=0.5)
    seeds = [5, 5, 6, 5 << 32]
    engine = town_engine(worlds=4, agents_per_world=12, layout="lean", seed=seeds, **noisy)
    for struct in (engine.agents, engine.bodies):
        for name, field in struct._asdict().items():
            if name != "row":
                field[...] = field[0]
    engine.step(np.zeros((4, 12, 2), np.float32))
    rows = engine.rows.observation.reshape(4, 12, -1)
    np.testing.assert_array_equal(rows[1], rows[0])
    for name in ("lane_points", "boundary_points", "agents"):
        own = LAYOUTS["lean"].slices[name]
        for other in (rows[2], rows[3]):
            assert (other[:, own] != rows[0][:, own]).any(axis=1).all(), name
