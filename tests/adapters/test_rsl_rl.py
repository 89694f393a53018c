"""The rsl_rl adapter: its contract, and rsl_rl's own runner."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("rsl_rl", reason='needs pip install "rsl-rl-lib>=5"')
    import torch
    from rsl_rl.runners import OnPolicyRunner

from selfdrive_env.adapters.rsl_rl import RslRlVecEnv

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

SMALL: dict[str, Any] = dict(
    num_envs=8, map="riverside", agents_per_world=4, layout="lean", num_threads=1, horizon=6.0
)
MODEL = {"class_name": "MLPModel", "hidden_dims": [32, 32], "activation": "elu"}
GAUSSIAN = {"class_name": "GaussianDistribution", "init_std": 1.0}
CONFIG: dict[str, Any] = {
    "num_steps_per_env": 16,
    "save_interval": 100,
    "obs_groups": {"actor": ["policy"], "critic": ["policy"]},
    "actor": {**MODEL, "distribution_cfg": GAUSSIAN},
    "critic": MODEL,
    "algorithm": {"class_name": "PPO", "num_learning_epochs": 2, "num_mini_batches": 4},
}
torch.set_num_threads(1)


def test_steps_equal_those_of_the_vector_environment() -> None:
    env = RslRlVecEnv(seed=3, **SMALL)
    vector = gymnasium.make_vec("selfdrive_env/SelfPlay-v0", action_type="continuous", **SMALL)
    rows, _ = vector.reset(seed=3)
    np.testing.assert_array_equal(env.get_observations()["policy"], rows)
    rng = np.random.default_rng(0)
    ages, ends = np.zeros(8, np.int64), np.zeros(2, np.int64)
    for _ in range(60):
        wild = rng.normal(0.0, 1.0, (8, 2)).astype(np.float32)
        rows, reward, terminated, truncated, infos = vector.step(wild.clip(-1.0, 1.0))
        got, got_reward, done, extras = env.step(torch.from_numpy(wild))
        np.testing.assert_array_equal(got["policy"], rows)
        np.testing.assert_array_equal(got_reward, reward)
        np.testing.assert_array_equal(done, terminated | truncated)
        np.testing.assert_array_equal(extras["time_outs"], truncated & ~terminated)
        assert ("log" in extras) == bool(done.any())
        if done.any():
            mean = infos["final_info"]["km"][done.numpy()].mean()
            assert extras["log"]["/km"].item() == pytest.approx(mean)
        ages = np.where(done, 0, ages + 1)
        np.testing.assert_array_equal(env.episode_length_buf, ages)
        ends += terminated.sum(), truncated.sum()
    assert ends.min() > 0
    env.close()


def test_the_runner_of_rsl_rl_changes_the_policy() -> None:
    env = RslRlVecEnv(seed=0, **{**SMALL, "num_envs": 32})
    runner = OnPolicyRunner(env, copy.deepcopy(CONFIG), log_dir=None, device="cpu")
    before = [p.detach().clone() for p in runner.alg.get_policy().parameters()]
    runner.learn(2)
    after = list(runner.alg.get_policy().parameters())
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert all(torch.isfinite(p).all() for p in after)
    with torch.inference_mode():
        actions = runner.get_inference_policy("cpu")(env.get_observations())
    assert actions.shape == (32, 2)


def test_what_does_not_apply_is_refused() -> None:
    with pytest.raises(TypeError, match="action_type is chosen"):
        RslRlVecEnv(action_type="discrete", **SMALL)
    env = RslRlVecEnv(**SMALL)
    with pytest.raises(ValueError, match="init_at_random_ep_len"):
        env.episode_length_buf = torch.zeros(8)
    assert env.max_episode_length == 20
