"""The contract with Gymnasium: all ids, all autoreset modes, checkers and wrappers."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers.vector import NormalizeObservation, RecordEpisodeStatistics

import selfdrive_env
from selfdrive_env.testing import CHECKS, check_vector_env

IDS = [f"selfdrive_env/{one.name}" for one in selfdrive_env.ENVIRONMENTS]
DISCRETE = [f"selfdrive_env/{one.name}" for one in selfdrive_env.ENVIRONMENTS if not one.keywords]
MODES = ["SameStep", "NextStep", "Disabled"]
SMALL: dict[str, Any] = {"map": "riverside", "layout": "lean", "num_threads": 1}

# An episode's random numbers hang on the tick of its start, which the modes place differently.
NOT_OURS = {"later_episodes"}


def make(id: str, num_envs: int = 6, **settings: Any) -> Any:
    return gymnasium.make_vec(id, num_envs=num_envs, **{**SMALL, **settings})


@pytest.mark.parametrize("check", sorted(set(CHECKS) - NOT_OURS))
@pytest.mark.parametrize("id", IDS)
def test_the_conformance_kit_passes(id: str, check: str) -> None:
    def alone(num_envs: int, autoreset_mode: Any, **keywords: Any) -> Any:
        settings = {"agents_per_world": 1, "horizon": 9.0, "render_size": 64, **keywords}
        return make(id, num_envs, autoreset_mode=autoreset_mode, **settings)

    assert check_vector_env(alone, skip=set(CHECKS) - {check}) == (check,)


@pytest.mark.parametrize("id", IDS)
def test_making_a_single_environment_with_a_render_mode_warns_of_nothing(id: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gymnasium.make(id, render_mode="rgb_array", **SMALL)
    assert "rgb_array" in env.metadata["render_modes"]
    env.close()


@pytest.mark.parametrize("id", DISCRETE)
def test_the_kit_passes_with_continuous_actions_and_noise(id: str) -> None:
    def alone(num_envs: int, autoreset_mode: Any) -> Any:
        return make(
            id,
            num_envs,
            autoreset_mode=autoreset_mode,
            agents_per_world=1,
            horizon=9.0,
            action_type="continuous",
            observation_noise=0.5,
            lane_dropout=0.5,
        )

    check_vector_env(alone, skip={*NOT_OURS, "render", "spec"})


def test_after_the_horizon_next_step_and_disabled_start_the_same_episode() -> None:
    settings = {"agents_per_world": 1, "horizon": 3.0, "stagger": False}
    settings |= {"on_offroad": "ignore", "on_collision": "ignore", "on_goal": "new_route"}
    later, never = (
        make(IDS[0], 3, autoreset_mode=mode, **settings) for mode in ("NextStep", "Disabled")
    )
    later.reset(seed=5)
    later.action_space.seed(5)
    never.reset(seed=5)
    for step in range(1, 34):
        actions = later.action_space.sample()
        if step % 11 == 0:  # ten steps of the episode, then the one that starts the next
            fresh = never.reset(options={"reset_mask": np.ones(3, bool)})[0]
            np.testing.assert_array_equal(later.step(actions)[0], fresh)
            continue
        one, other = later.step(actions), never.step(actions)
        for a, b in zip(one[:4], other[:4], strict=True):
            np.testing.assert_array_equal(a, b)
        assert one[3].all() == (step % 11 == 10)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("form", [str, AutoresetMode])
def test_the_mode_is_taken_as_string_and_as_enum(mode: str, form: Any) -> None:
    env = make(IDS[0], autoreset_mode=form(mode) if form is AutoresetMode else mode)
    assert env.metadata["autoreset_mode"] is env.autoreset_mode is AutoresetMode(mode)
    assert "autoreset_mode" not in type(env).metadata or type(env).metadata is not env.metadata


def test_a_spec_with_a_path_survives_json(tmp_path: Path) -> None:
    env = make(IDS[0])
    spec = env.spec
    spec.kwargs = {**spec.kwargs, "map": [tmp_path / "a.xodr"], "dt": np.float64(0.25)}
    env.spec = spec
    again = gymnasium.envs.registration.EnvSpec.from_json(env.spec.to_json())
    assert again.kwargs["map"] == [str(tmp_path / "a.xodr")] and again.kwargs["dt"] == 0.25


@pytest.mark.parametrize("id", IDS)
def test_make_vec_without_settings_makes_one_row(id: str) -> None:
    env = gymnasium.make_vec(id, map="riverside", num_threads=1)
    assert env.num_envs == 1
    assert env.reset(seed=1)[0].shape == env.observation_space.shape


@pytest.mark.parametrize("id", IDS)
def test_gymnasiums_checker_passes_the_single_form(id: str) -> None:
    env = gymnasium.make(id, agents_per_world=4, **SMALL)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped, skip_render_check=True)


@pytest.mark.parametrize("id", IDS)
def test_the_single_form_ends_and_tells_its_metrics(id: str) -> None:
    # Not max_episode_steps: `gymnasium.make` keeps it for a wrapper that knows no metrics.
    env = gymnasium.make(id, agents_per_world=4, horizon=9.0, **SMALL)
    env.reset(seed=2)
    env.action_space.seed(2)
    total, done, steps = 0.0, False, 0
    while not done:
        _, reward, terminated, truncated, info = env.step(env.action_space.sample())
        total += float(reward)
        steps += 1
        done = terminated or truncated
    assert info["length"] == steps <= 30
    terms = sum(value for name, value in info.items() if name.startswith("reward_"))
    assert terms == pytest.approx(total, abs=1e-4)


@pytest.mark.parametrize("mode", ["SameStep", "NextStep"])
def test_record_episode_statistics_counts_what_the_metrics_count(mode: str) -> None:
    env = RecordEpisodeStatistics(make(IDS[0], 12, agents_per_world=4, autoreset_mode=mode))
    env.reset(seed=4)
    env.action_space.seed(4)
    ends = 0
    for _ in range(80):
        *_, terminated, truncated, infos = env.step(env.action_space.sample())
        done = terminated | truncated
        ends += int(done.sum())
        if not done.any():
            continue
        own = infos["final_info"] if mode == "SameStep" else infos
        np.testing.assert_array_equal(infos["_episode"], done)
        np.testing.assert_array_equal(infos["episode"]["l"][done], own["length"][done])
        terms = sum(value for name, value in own.items() if name.startswith("reward_"))
        np.testing.assert_allclose(infos["episode"]["r"][done], terms[done], atol=1e-4)
    assert ends > 10


def test_normalize_observation_works_where_gymnasium_allows_it() -> None:
    env = NormalizeObservation(make(IDS[1], 4, agents_per_world=4, autoreset_mode="NextStep"))
    env.reset(seed=4)
    env.action_space.seed(4)
    for _ in range(40):
        assert np.isfinite(env.step(env.action_space.sample())[0]).all()


@pytest.mark.parametrize("mode", MODES)
def test_numpy_to_torch_works_through_episode_ends(mode: str) -> None:
    torch = pytest.importorskip("torch")
    from gymnasium.wrappers.vector import NumpyToTorch

    env = NumpyToTorch(make(IDS[0], 8, agents_per_world=4, autoreset_mode=mode), device="cpu")
    env.reset(seed=4)
    env.action_space.seed(4)
    ends = 0
    for step in range(40):
        actions = torch.arange(8) + step % 5
        observation, reward, terminated, truncated, infos = env.step(actions)
        assert observation.dtype == reward.dtype == torch.float32
        done = terminated | truncated
        ends += int(done.sum())
        if mode == "SameStep" and done.any():
            assert infos["final_obs"].shape == observation.shape
        if mode == "Disabled" and done.any():
            env.reset(options={"reset_mask": done.numpy()})
    assert ends > 0
