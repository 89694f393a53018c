from __future__ import annotations

import numpy as np
import pytest

from selfdrive_env.config.layouts import LAYOUTS, ObservationLayout
from selfdrive_env.config.observation import OBSERVATION, decode, slices, slots
from selfdrive_env.envs import make_self_play

SETTINGS = {"map": "riverside", "agents_per_world": 16, "num_threads": 1}


@pytest.mark.parametrize(
    "layout", [*LAYOUTS.values(), ObservationLayout(goals=0, agents=3, stop_lines=7)]
)
def test_the_table_adds_up_to_the_row(layout):
    found = layout.slices
    assert list(found) == list(OBSERVATION)
    assert found["ego"].start == 0
    assert list(found.values())[-1].stop == layout.width
    for before, after in zip(list(found.values())[:-1], list(found.values())[1:], strict=True):
        assert before.stop == after.start


@pytest.mark.parametrize("name", LAYOUTS)
def test_valid_columns_say_which_slots_are_in_use(name):
    env = make_self_play(32, layout=name, **SETTINGS)
    rows, _ = env.reset(seed=3)
    for _ in range(5):
        rows = env.step(env.action_space.sample())[0]
    for group, columns in OBSERVATION.items():
        if columns[-1].name != "valid":
            continue
        part = rows[:, env.layout.slices[group]]
        part = part.reshape(len(rows), slots(env.layout.counts)[group], len(columns))
        valid = part[..., -1]
        assert set(np.unique(valid)) <= {0.0, 1.0}
        assert (np.diff(valid, axis=1) <= 0.0).all()
        assert not part[valid == 0.0].any()
        headings = [n for n, column in enumerate(columns) if column.name in ("cos", "sin")]
        if headings:
            norm = (part[valid == 1.0][:, headings] ** 2).sum(-1)
            np.testing.assert_allclose(norm, 1.0, atol=1e-5)
    env.close()


def test_ego_columns_follow_the_state():
    env = make_self_play(16, layout="lean", **SETTINGS)
    rows, _ = env.reset(seed=4)
    ego = rows[:, slices(env.layout.counts)["ego"]]
    names = [column.name for column in OBSERVATION["ego"]]
    speed, length = env.engine.agents.speed[0], env.engine.bodies.length[0]
    np.testing.assert_allclose(ego[:, names.index("speed")], speed / (10 + speed), atol=1e-6)
    np.testing.assert_allclose(ego[:, names.index("length")], length / (5 + length), atol=1e-6)
    env.close()


def test_a_decoded_row_has_the_quantities_of_the_state():
    env = make_self_play(16, layout="lean", bodies="typed", **SETTINGS)
    rows, _ = env.reset(seed=4)
    for _ in range(8):
        rows = env.step(env.action_space.sample())[0]
    agents, bodies = env.engine.agents, env.engine.bodies
    for row in range(16):
        found = decode(rows[row], env.layout.counts)
        assert {name: table.shape for name, table in found.items()} == {
            name: (count, len(OBSERVATION[name]))
            for name, count in slots(env.layout.counts).items()
        }
        names = [column.name for column in OBSERVATION["ego"]]
        ego = dict(zip(names, found["ego"][0].tolist(), strict=True))
        assert ego["speed"] == pytest.approx(agents.speed[0, row], abs=1e-3)
        assert ego["lateral_offset"] == pytest.approx(agents.d[0, row], abs=1e-3)
        assert ego["steering"] == pytest.approx(agents.steering[0, row], abs=1e-3)
        assert ego["length"] == pytest.approx(bodies.length[0, row], abs=1e-3)
        assert ego["jerk_scale"] == pytest.approx(bodies.jerk_scale[0, row], abs=1e-3)

        cos, sin = agents.cos[0, row], agents.sin[0, row]
        half = 0.5 * bodies.wheelbase[0, row]
        goal = agents.goal[0, row]
        x = bodies.goal_x[0, row, goal] - agents.x[0, row] - half * cos
        y = bodies.goal_y[0, row, goal] - agents.y[0, row] - half * sin
        ahead, left, valid = found["goals"][0]
        assert valid == 1.0
        far = max(float(np.hypot(x, y)), 20.0)  # the squashed value loses digits far away
        assert ahead == pytest.approx(x * cos + y * sin, abs=1e-4 * far**2)
        assert left == pytest.approx(y * cos - x * sin, abs=1e-4 * far**2)


def test_slots_that_are_not_in_use_stay_zero():
    env = make_self_play(1, layout="full", **{**SETTINGS, "agents_per_world": 1})
    row = env.reset(seed=4)[0][0]
    assert not decode(row, env.layout.counts)["agents"].any()


def test_a_row_of_another_layout_is_refused():
    width = LAYOUTS["lean"].width
    with pytest.raises(ValueError, match=f"row must be one of {width} columns, or many, got shape"):
        decode(np.zeros(width + 1), LAYOUTS["lean"].counts)


def test_many_rows_decode_as_each_does():
    env = make_self_play(16, layout="lean", **SETTINGS)
    rows, _ = env.reset(seed=4)
    found = decode(rows.reshape(2, 8, -1), env.layout.counts)
    for place, row in enumerate(rows):
        for name, table in decode(row, env.layout.counts).items():
            np.testing.assert_array_equal(found[name].reshape(16, *table.shape)[place], table)
    env.close()
