from __future__ import annotations

import numpy as np
import pytest

from selfdrive_env.config.layouts import LAYOUTS
from selfdrive_env.config.observation import WIDTHS, slices
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
    )
    assert compare(engine) > 80


def test_layouts_have_the_published_lengths():
    """The one place of the tests that has them as numbers: policies and pages count on them."""
    assert WIDTHS == {"ego": 14, "goals": 3, "conditions": 11, "lane_points": 7,
        "boundary_points": 5, "stop_lines": 9, "agents": 10}  # fmt: skip
    assert {name: layout.width for name, layout in LAYOUTS.items()} == {"full": 1233, "lean": 437}


def groups(engine):
    """Slices of the lists of a row by name, with the floats of an entry."""
    places = slices(engine.counts)
    assert places["agents"].stop == engine.rows.observation.shape[1]
    lists = ("lane_points", "boundary_points", "stop_lines", "agents")
    return {name: (places[name], WIDTHS[name]) for name in lists}


def test_values_stay_in_the_box_and_empty_slots_are_zero():
    engine = running("full", lane_dropout=0.5, observation_noise=1.0)
    random = np.random.default_rng(2)
    for _ in range(20):
        engine.step(random_jerks(random, engine))
        rows = engine.rows.observation
        assert np.isfinite(rows).all()
        assert np.abs(rows).max() <= 1.0
        for own, size in groups(engine).values():
            entries = rows[:, own].reshape(len(rows), -1, size)
            valid = entries[..., -1]
            assert np.isin(valid, (0.0, 1.0)).all()
            assert not entries[valid == 0.0].any()
            assert (np.diff(valid, axis=1) <= 0).all()  # filled from the front


def distances(entries):
    """Distance of entries of a list from squashed coordinates [m]."""
    near = entries[..., :2].astype(np.float64)
    return np.hypot(*np.moveaxis(20.0 * near / (1.0 - np.abs(near)), -1, 0))


def test_agents_are_the_nearest_ones_first():
    engine = running("lean")
    own, size = groups(engine)["agents"]
    for row in engine.rows.observation:
        entries = row[own].reshape(-1, size)
        far = distances(entries[entries[:, -1] == 1.0])
        assert (np.diff(far) > -0.01 * (1.0 + far[:-1])).all()
    assert (engine.rows.observation[:, own].reshape(-1, size)[:, -1] == 1.0).mean() > 0.3


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
    own, size = groups(engine)["agents"]
    random, seen = np.random.default_rng(4), []
    for _ in range(80):
        engine.step(random_jerks(random, engine))
        seen.append(engine.rows.observation[:, own].reshape(48, -1, size)[:, 0, -1])
        assert not engine.rows.learn.any()
    share = np.mean(seen)
    assert 0.3 < share < 0.7
    # In spells, not flickering: few changes from one step to the next.
    assert np.abs(np.diff(seen, axis=0)).mean() < 0.1
    seeing = town_engine(worlds=2, agents_per_world=24, layout="full")
    assert seeing.rows.observation[:, own].reshape(48, -1, size)[:, 0, -1].all()


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
    for name, (own, _) in groups(engine).items():
        if name != "stop_lines":
            for other in (rows[2], rows[3]):
                assert (other[:, own] != rows[0][:, own]).any(axis=1).all(), name
