"""Bodies that stand broken down, as callers of environments meet them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from selfdrive_env.envs import DrivingEnv, DrivingVectorEnv, make_drive
from selfdrive_env.episodes import Episode
from selfdrive_env.evaluation import evaluate, load
from selfdrive_env.state.world import HALTED, PRESENT, STANDING

SMALL: dict[str, Any] = {"layout": "lean", "num_threads": 1, "horizon": 6.0}


@pytest.mark.parametrize("traffic", ["idm", "selfplay"])
def test_the_ego_always_drives(traffic: str) -> None:
    """Even where everybody stands; there are many worlds drawn anew."""
    env = make_drive(6, agents_per_world=6, standing_share=1.0, traffic=traffic, **SMALL)
    env.reset(seed=0)
    for _ in range(50):
        *_, infos = env.step(np.full(6, 7))
        status = env.engine.agents.status
        assert (status[:, 0] == PRESENT).all() and infos["valid"].all()
        assert (status[:, 1:] == STANDING).mean() > 0.5
    env.close()


def test_the_single_form_has_them_around_it() -> None:
    env = DrivingEnv(agents_per_world=6, standing_share=1.0, **SMALL)
    observation, _ = env.reset(seed=3)
    assert env.observation_space.contains(observation)
    for _ in range(20):
        env.step(7)
    assert (env.vector.engine.agents.status[0, 1:] == STANDING).any()
    env.close()


@pytest.mark.parametrize("mode", ["SameStep", "NextStep"])
def test_a_state_with_them_goes_on_exactly(mode: str) -> None:
    settings = {**SMALL, "agents_per_world": 8, "standing_share": 0.5, "autoreset_mode": mode}
    env, other = (DrivingVectorEnv(16, **settings) for _ in range(2))
    env.reset(seed=4)
    for _ in range(5):
        env.step(np.full(16, 7))
    state = env.get_state()
    assert (state["agents.status"] == STANDING).any()
    np.testing.assert_array_equal(other.set_state(state), env.engine.observations)
    for _ in range(40):
        for one, two in zip(env.step(np.full(16, 7))[:4], other.step(np.full(16, 7))[:4],
                            strict=True):  # fmt: skip
            np.testing.assert_array_equal(one, two)


def test_recordings_and_pictures_show_them_as_halted(tmp_path: Path) -> None:
    env = DrivingVectorEnv(
        8, standing_share=0.5, record=True, render_mode="rgb_array", **{**SMALL, "horizon": 60.0}
    )
    env.reset(seed=4)
    stand = env.engine.agents.status[0] == STANDING
    assert stand.any()
    for _ in range(5):
        env.step(np.full(8, 7))
    assert len(env.render() or ()) == 8
    env.save_replay(tmp_path / "them.episode")
    episode = Episode.load(tmp_path / "them.episode")
    assert ((episode.tracks.status == HALTED).all(1) == stand).all()
    env.close()


def test_an_evaluation_counts_drivers_alone() -> None:
    settings = {"agents_per_world": 16, "standing_share": 0.3, "dt": 0.3}
    result = evaluate(
        load("idm"), map="harbour", minutes=2.0, seeds=(0, 1), settings=settings, keep=0
    )
    env = DrivingVectorEnv(32, map="harbour", num_threads=1, **settings)
    env.reset(seed=[0, 1])
    drivers = (env.engine.agents.status == PRESENT).sum(1)
    assert (drivers < 14).all()
    np.testing.assert_allclose(result.hours, drivers * 400 * 0.3 / 3600.0, rtol=0.02)
    assert result.goals.sum() > 0 and (result.km > 0.0).all()
    assert result.counts.sum() == 0
    assert all(completed or share > 0.0 for _, share, _, completed in result.routes)
    env.close()
