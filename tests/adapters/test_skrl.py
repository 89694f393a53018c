"""skrl's Gymnasium wrapper gives the rows of the vector environment."""

from __future__ import annotations

import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("skrl", reason='needs pip install "selfdrive_env[libraries]"')
    import torch
    from skrl.envs.wrappers.torch import wrap_env

import selfdrive_env  # noqa: F401  (registers the environments)

SMALL: dict[str, Any] = dict(
    num_envs=8, map="riverside", agents_per_world=4, layout="lean", num_threads=1, horizon=6.0
)


@pytest.mark.parametrize("action_type", ["discrete", "continuous"])
def test_steps_equal_those_of_the_vector_environment(action_type: str) -> None:
    vectors = [
        gymnasium.make_vec("selfdrive_env/SelfPlay-v0", action_type=action_type, **SMALL)
        for _ in range(2)
    ]
    env, vector = wrap_env(vectors[0], wrapper="gymnasium"), vectors[1]
    env._seed = 3  # which skrl's `set_seed` sets for all that is made after it
    np.testing.assert_array_equal(env.reset()[0], vector.reset(seed=3)[0])
    rng = np.random.default_rng(0)
    ends = 0
    for _ in range(40):
        if action_type == "discrete":
            actions = rng.integers(0, 12, (8, 1))
        else:
            actions = rng.uniform(-1.0, 1.0, (8, 2)).astype(np.float32)
        got = env.step(torch.from_numpy(actions))
        flat = actions[:, 0] if action_type == "discrete" else actions
        wanted = vector.step(flat)
        np.testing.assert_array_equal(got[0], wanted[0])
        for one, other in zip(got[1:4], wanted[1:4], strict=True):
            np.testing.assert_array_equal(one[:, 0], other)
        ends += int((wanted[2] | wanted[3]).sum())
    assert ends > 8
    rows, _ = env.reset()  # the wrapper resets once, and then shows what there is
    np.testing.assert_array_equal(rows, wanted[0])


def test_frames_come_one_a_row() -> None:
    pytest.importorskip("PIL")
    envs = gymnasium.make_vec(
        "selfdrive_env/SelfPlay-v0", render_mode="rgb_array", render_size=64, **SMALL
    )
    env = wrap_env(envs, wrapper="gymnasium")
    env.reset()
    frames = env.render()
    assert len(frames) == 8 and frames[0].shape == (64, 64, 3)
