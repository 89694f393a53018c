"""The rl_games adapter: its contract, and rl_games' own runner."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("rl_games", reason='needs pip install "rl-games>=1.6.5"')
    import torch
    from rl_games.torch_runner import Runner

    from selfdrive_env.adapters.rl_games import RLGamesVecEnv, register

SMALL: dict[str, Any] = dict(
    map="riverside", agents_per_world=4, layout="lean", num_threads=1, horizon=6.0
)
SPACES: dict[str, Any] = {
    "discrete": {"discrete": {}},
    "continuous": {
        "continuous": {
            "mu_activation": "None",
            "sigma_activation": "None",
            "mu_init": {"name": "default"},
            "sigma_init": {"name": "const_initializer", "val": 0},
            "fixed_sigma": True,
        }
    },
}
MODELS = {"discrete": "discrete_a2c", "continuous": "continuous_a2c_logstd"}
torch.set_num_threads(1)


def parameters(action_type: str, folder: Path) -> dict[str, Any]:
    mlp = {"units": [32, 32], "activation": "elu", "initializer": {"name": "default"}}
    return {
        "seed": 0,
        "algo": {"name": f"a2c_{action_type}"},
        "model": {"name": MODELS[action_type]},
        "network": {
            "name": "actor_critic", "separate": False, "space": SPACES[action_type], "mlp": mlp,
        },
        "config": {
            "name": "drive", "env_name": f"selfdrive_{action_type}", "train_dir": str(folder),
            "device": "cpu", "device_name": "cpu", "num_actors": 32, "horizon_length": 16,
            "minibatch_size": 128, "mini_epochs": 2, "max_epochs": 2, "ppo": True,
            "reward_shaper": {"scale_value": 1.0}, "value_bootstrap": True, "gamma": 0.98,
            "tau": 0.95, "learning_rate": 5e-4, "lr_schedule": None, "e_clip": 0.2,
            "clip_value": False, "entropy_coef": 0.005, "critic_coef": 1.0, "grad_norm": 0.5,
            "truncate_grads": True, "bounds_loss_coef": 0.0, "normalize_advantage": True,
            "normalize_input": False, "normalize_value": False, "save_best_after": 1000,
            "torch_compile": False,
        },
    }  # fmt: skip


def test_steps_equal_those_of_the_vector_environment() -> None:
    env = RLGamesVecEnv(num_envs=8, **SMALL)
    vector = gymnasium.make_vec("selfdrive_env/SelfPlay-v0", num_envs=8, **SMALL)
    env.seed(3)
    np.testing.assert_array_equal(env.reset(), vector.reset(seed=3)[0])
    rng = np.random.default_rng(0)
    ends = np.zeros(2, np.int64)
    for _ in range(60):
        actions = rng.integers(0, 12, 8)
        rows, reward, terminated, truncated, infos = vector.step(actions)
        got, got_reward, done, got_infos = env.step(torch.from_numpy(actions))
        np.testing.assert_array_equal(got, rows)
        np.testing.assert_array_equal(got_reward, reward)
        np.testing.assert_array_equal(done, terminated | truncated)
        np.testing.assert_array_equal(got_infos["time_outs"], truncated & ~terminated)
        if done.any():
            mean = infos["final_info"]["km"][done.numpy() != 0].mean()
            assert got_infos["episode"]["km"].item() == pytest.approx(mean)
        ends += terminated.sum(), truncated.sum()
    assert ends.min() > 0
    assert env.get_env_info()["action_space"].n == 12
    env.close()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("action_type", ["discrete", "continuous"])
def test_the_runner_of_rl_games_trains(action_type: str, tmp_path: Path) -> None:
    register(f"selfdrive_{action_type}", action_type=action_type, seed=0, **SMALL)
    runner = Runner()
    runner.load({"params": parameters(action_type, tmp_path)})
    runner.reset()
    agent = runner.algo_factory.create(runner.algo_name, base_name="run", params=runner.params)
    before = [p.detach().clone() for p in agent.model.parameters()]
    agent.train()
    after = list(agent.model.parameters())
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert all(torch.isfinite(p).all() for p in after)
    assert agent.is_tensor_obses and agent.frame == 2 * 16 * 32


def test_what_does_not_apply_is_refused() -> None:
    with pytest.raises(TypeError, match="output is chosen"):
        RLGamesVecEnv(num_envs=8, output="numpy")
