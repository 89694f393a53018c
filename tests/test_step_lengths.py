"""Worlds that draw the length of their steps: each is the world that it would be alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from selfdrive_env.config.observation import decode
from selfdrive_env.config.settings import Settings
from selfdrive_env.envs.make import make_self_play
from selfdrive_env.evaluation.policies import load
from selfdrive_env.evaluation.run import evaluate
from selfdrive_env.state.rewards import TERM

RANGE = (1.0 / 15.0, 0.3)
WORLDS, AGENTS = 6, 8
USUAL: dict[str, Any] = {
    "map": "riverside", "agents_per_world": AGENTS, "layout": "lean", "stagger": False,
    "light_timing": "random", "num_threads": 1,
}  # fmt: skip


def make(**settings: Any) -> Any:
    return make_self_play(WORLDS * AGENTS, **{**USUAL, **settings})


def observed(row: Any, env: Any) -> float:
    """Returns the length of a step that a row shows [s]."""
    return float(decode(row, env.layout.counts)["ego"][0, 15])


def actions(steps: int) -> Any:
    draw = np.random.default_rng(3)
    return draw.integers(0, 12, (steps, WORLDS * AGENTS))


def test_each_world_draws_a_step_from_the_range_and_says_so_in_its_rows() -> None:
    env = make(dt=RANGE, horizon=6.0)
    rows, _ = env.reset(seed=1)
    seen = []
    for action in actions(200):
        dt = env.engine.worlds.dt.copy()
        assert ((dt >= np.float32(RANGE[0])) & (dt <= np.float32(RANGE[1]))).all()
        np.testing.assert_allclose(env.engine.worlds.dt_ns, dt.astype(float) * 1e9, atol=64)
        for world in range(WORLDS):
            shown = observed(rows[world * AGENTS], env)
            assert shown == pytest.approx(dt[world], abs=1e-5)
        seen.append(dt)
        rows, *_ = env.step(action)
    draws = np.unique(np.array(seen), axis=0)
    assert len(draws) >= 4  # worlds are drawn anew
    assert draws.min() < 0.12 and draws.max() > 0.25
    env.close()


def test_a_world_with_a_drawn_step_is_the_world_with_that_step_alone() -> None:
    drawn = make(dt=RANGE)
    rows, _ = drawn.reset(seed=5)
    steps = drawn.engine.worlds.dt.copy()
    kept = [rows.copy()]
    rewards = []
    for action in actions(40):
        rows, reward, *_ = drawn.step(action)
        kept.append(rows.copy())
        rewards.append(reward.copy())
    drawn.close()
    for world in range(WORLDS):
        mine = slice(world * AGENTS, (world + 1) * AGENTS)
        alone = make(dt=float(steps[world]))
        rows, _ = alone.reset(seed=5)
        np.testing.assert_array_equal(rows[mine], kept[0][mine])
        for number, action in enumerate(actions(40)):
            rows, reward, *_ = alone.step(action)
            np.testing.assert_array_equal(rows[mine], kept[number + 1][mine])
            np.testing.assert_array_equal(reward[mine], rewards[number][mine])
        alone.close()


def test_an_episode_lasts_as_many_seconds_whatever_the_step() -> None:
    env = make(dt=RANGE, horizon=4.5, on_collision="ignore", on_offroad="ignore")
    env.reset(seed=2)
    dt, horizon = env.engine.worlds.dt.copy(), env.engine.worlds.horizon.copy()
    np.testing.assert_array_equal(horizon, np.rint(4.5 / dt.astype(float)))
    assert env.settings.steps == 15 and env.settings.most_steps == 68
    ended: dict[int, int] = {}
    for number, action in enumerate(actions(70), 1):
        *_, truncated, _ = env.step(action)
        for world in np.flatnonzero(truncated.reshape(WORLDS, AGENTS).any(1)).tolist():
            ended.setdefault(world, number)
    assert ended == dict(enumerate(horizon.tolist()))
    env.close()


def test_a_state_with_drawn_steps_comes_back_and_one_out_of_range_does_not() -> None:
    env, other = make(dt=RANGE), make(dt=RANGE)
    env.reset(seed=4)
    other.reset(seed=9)
    state = env.get_state()
    other.set_state(state)
    for action in actions(20):
        first, second = env.step(action), other.step(action)
        for one, two in zip(first[:4], second[:4], strict=True):
            np.testing.assert_array_equal(one, two)
    state["worlds.dt"] = state["worlds.dt"] * np.float32(3.0)
    with pytest.raises(ValueError, match=r"worlds\.dt.*from 0\.0666.* to 0\.3"):
        other.set_state(state)
    env.close()
    other.close()


def test_discomfort_costs_by_time() -> None:
    """A step of it costs as much as a third of one that is three times as long."""
    costs = {}
    for dt in (0.1, 0.3):
        env = make(dt=dt, on_collision="ignore", on_offroad="ignore", reward={"comfort": 1.0})
        env.reset(seed=0)
        found = set()
        for action in actions(60):
            env.step(action)
            found |= set(np.unique(env.engine.output.term[..., TERM.comfort]).tolist())
        costs[dt] = np.array(sorted(found))
        env.close()
    np.testing.assert_allclose(costs[0.3], [-3.0, -2.0, -1.0, 0.0][-len(costs[0.3]) :])
    assert len(costs[0.1]) > 1
    np.testing.assert_allclose(costs[0.1] * 3.0, np.rint(costs[0.1] * 3.0), atol=1e-5)
    assert costs[0.1].min() >= -1.001


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ((0.3, 0.1), r"dt must be a number or \[low, high\]"),
        ((0.1, 0.2, 0.3), r"dt must be a number or \[low, high\]"),
        ((0.1, 0.5), r"dt must be.*0\.4"),
        ((0.001, 0.1), r"dt must be.*0\.01"),
        ("fast", "dt must be"),
        (("a", 0.1), "dt must be"),
    ],
)
def test_ranges_that_are_none_are_refused(value: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Settings(dt=value)


def test_a_range_of_one_number_is_that_number() -> None:
    assert Settings(dt=[0.2, 0.2]).dt == 0.2


def test_whoever_needs_one_step_says_so() -> None:
    with pytest.raises(ValueError, match=r"dt must be one number for an evaluation, got \[0\.1"):
        evaluate(load("idm"), map="riverside", minutes=0.1, seeds=[0], settings={"dt": [0.1, 0.3]})


def test_limits_of_gymnasium_refer_to_the_longest_step() -> None:
    env = make_self_play(8, **{**USUAL, "dt": RANGE}, max_episode_steps=100)
    assert env.settings.horizon == pytest.approx(30.0)
    assert env.settings.steps == 100
    assert env.metadata["render_fps"] == pytest.approx(1.0 / 0.3)
    env.close()


def test_the_learner_discounts_by_time(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from selfdrive_env.training.config import load_config
    from selfdrive_env.training.distributed import Ranks
    from selfdrive_env.training.ppo import Trainer

    config = load_config(
        "cpu",
        assignments=[
            "num_worlds=4", "rollout=16", "minibatch=64", "gamma=0.9", "gae_lambda=0.8",
            "env.agents_per_world=4", 'env.map="riverside"', "env.dt=[0.1, 0.3]",
            f"out_dir={tmp_path / 'run'}",
        ],
    )  # fmt: skip
    trainer = Trainer(config, Ranks("cpu"))
    trainer.start(False)
    dt = torch.from_numpy(trainer.env.engine.worlds.dt.copy()).repeat_interleave(4)
    rollout, _ = trainer.drive()
    np.testing.assert_allclose(rollout.discounts[0], 0.9 ** (dt / 0.3), rtol=1e-6)
    np.testing.assert_allclose(rollout.trace[0], 0.72 ** (dt / 0.3), rtol=1e-6)
    assert np.isfinite(trainer.update()["policy_loss"])
    trainer.close()
