from __future__ import annotations

import numpy as np
import pytest

from selfdrive_env.config import LAYOUTS, Layout
from selfdrive_env.env import make_self_play
from selfdrive_env.kernels.observation import row_length
from selfdrive_env.layout import OBSERVATION, slices, slots

SETTINGS = {"map": "riverside", "agents_per_world": 16, "num_threads": 1}


@pytest.mark.parametrize("layout", [*LAYOUTS.values(), Layout(goals=0, agents=3, stop_lines=7)])
def test_the_table_adds_up_to_the_row(layout):
    found = layout.slices
    assert list(found) == list(OBSERVATION)
    assert found["ego"].start == 0
    assert list(found.values())[-1].stop == row_length(*layout.counts)
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
