"""What a recorder notes: compared with the arrays of the environment, step by step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

import selfdrive_env  # noqa: F401
from selfdrive_env.episodes import Episode, Recorder


def test_frames_show_what_the_environment_did(tmp_path: Path) -> None:
    env: Any = gymnasium.make_vec(
        "selfdrive_env/SelfPlay-v0",
        num_envs=20,
        agents_per_world=20,
        map="riverside",
        num_threads=1,
    )
    env.reset(seed=5)
    recorder = Recorder(env, focus=3)
    recorder.record()
    rng = np.random.default_rng(0)
    rewards, speeds = [], [env.engine.agents.speed[0].copy()]
    for _ in range(30):
        rewards.append(env.step(rng.integers(0, 12, 20))[1])
        speeds.append(env.engine.agents.speed[0].copy())
        recorder.record()
    recorder.save(tmp_path / "a.episode")
    episode = Episode.load(tmp_path / "a.episode")
    assert episode.num_frames == 31
    assert episode.seed == 5
    total = episode.values("reward").sum(0)[:, 1:]
    np.testing.assert_allclose(total.T, rewards, atol=2e-3)
    np.testing.assert_allclose(episode.values("speed").T, speeds, atol=0.006)
