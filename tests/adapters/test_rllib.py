"""RLlib's runner collects whole episodes from the vector environment in NextStep mode."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from selfdrive_env.config.observation import OBSERVATION

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip(
        "ray", reason='needs pip install "ray[rllib]", in an environment of its own'
    )
    import ray
    from ray.rllib.algorithms.ppo import PPOConfig
    from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner

pytestmark = pytest.mark.filterwarnings("ignore")

SETTINGS: dict[str, Any] = dict(
    autoreset_mode="NextStep", map="riverside", agents_per_world=4, layout="lean", num_threads=1,
    horizon=6.0,
)  # fmt: skip


@pytest.fixture(scope="module")
def runner() -> Iterator[Any]:
    ray.init(include_dashboard=False, log_to_driver=False, num_cpus=1)
    config = (
        PPOConfig()
        .environment("selfdrive_env:selfdrive_env/SelfPlay-v0", env_config=SETTINGS)
        .env_runners(
            num_env_runners=0,
            num_envs_per_env_runner=8,
            gym_env_vectorize_mode="vector_entry_point",
        )
    )
    made = SingleAgentEnvRunner(config=config)
    yield made
    made.stop()
    ray.shutdown()


def test_an_episode_of_rllib_is_one_of_an_agent(runner: Any) -> None:
    episodes = [one for one in runner.sample(num_episodes=24, random_actions=True) if one.is_done]
    assert len(episodes) >= 24
    assert any(one.is_terminated for one in episodes)
    assert any(one.is_truncated for one in episodes)
    for one in episodes:
        metrics = one.get_infos(-1)
        assert metrics["length"] == len(one)
        terms = sum(metrics[name] for name in metrics if name.startswith("reward_"))
        assert one.get_return() == pytest.approx(terms, abs=1e-4)
        # The size of an agent's body changes when it is placed, and never within an episode.
        names = [column.name for column in OBSERVATION["ego"]]
        sizes = np.array(one.get_observations())[
            :, [names.index(name) for name in ("length", "width")]
        ]
        assert (sizes == sizes[0]).all()
