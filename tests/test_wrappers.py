"""Wrappers for own reward, observation and termination, in both forms."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box

import selfdrive_env  # noqa: F401
from selfdrive_env import wrappers
from selfdrive_env.config.observation import decode
from selfdrive_env.envs.infos import FINALS
from selfdrive_env.wrappers import vector

SMALL: dict[str, Any] = {
    "map": "riverside",
    "layout": "lean",
    "agents_per_world": 6,
    "num_threads": 1,
}
SPACE = Box(-np.inf, np.inf, (2,), np.float32)


def single(**settings: Any) -> Any:
    return gymnasium.make("selfdrive_env/Drive-v0", **{**SMALL, **settings})


def many(num_envs: int = 12, **settings: Any) -> Any:
    keywords = {**SMALL, "step_info": True, **settings}
    return gymnasium.make_vec("selfdrive_env/SelfPlay-v0", num_envs=num_envs, **keywords)


def calm(observation: Any, reward: Any, info: Any) -> Any:
    """A reward that both forms can take."""
    return reward - 0.1 * abs(info["speed"] - 8.0)


def test_an_own_reward() -> None:
    env = wrappers.OwnReward(single(), calm)
    plain = single()
    env.reset(seed=1)
    plain.reset(seed=1)
    for _ in range(5):
        reward = env.step(7)[1]
        _, old, _, _, info = plain.step(7)
        assert reward == pytest.approx(old - 0.1 * abs(info["speed"] - 8.0))
    assert env.spec is not None and "OwnReward" in str(env.spec.additional_wrappers)


def test_an_own_observation() -> None:
    counts = single().unwrapped.layout.counts

    def short(observation: Any, info: Any) -> Any:
        speed = decode(observation, counts)["ego"][0, 3]
        return np.array([speed, info["distance_to_goal"]], np.float32)

    env = wrappers.OwnObservation(single(), short, SPACE)
    observation, info = env.reset(seed=1)
    assert observation.tolist() == pytest.approx([info["speed"], info["distance_to_goal"]], 1e-4)
    observation, _, _, _, info = env.step(7)
    assert env.observation_space.contains(observation)
    assert observation[0] == pytest.approx(info["speed"], abs=1e-3)


def test_an_own_end() -> None:
    slow = single(initial_speed=0.0)
    env = wrappers.OwnTermination(slow, lambda observation, info: info["speed"] > 6.0)
    env.reset(seed=1)
    terminated, steps = False, 0
    while not terminated:
        _, _, terminated, _, info = env.step(10)
        steps += 1
    assert info["speed"] > 6.0 and not slow.unwrapped.vector.engine.output.terminated[0, 0]
    assert info["length"] == steps and set(FINALS) <= set(info)
    env.reset()
    assert "length" not in env.step(7)[4]


def test_own_rewards_of_rows_are_of_the_end_of_the_step() -> None:
    env, plain = vector.OwnReward(many(), calm), many(autoreset_mode="Disabled")
    actions = np.random.default_rng(1).integers(0, 12, (300, 12))
    env.reset(seed=1)
    plain.reset(seed=1)
    for action in actions:
        rewards, terminated, truncated = env.step(action)[1:4]
        _, old, _, _, infos = plain.step(action)
        wanted = calm(None, old, infos)
        np.testing.assert_allclose(rewards, wanted, rtol=1e-5)
        assert rewards.dtype == np.float32
        if (terminated | truncated).any():
            break
    else:
        pytest.fail("no episode ended")


def test_own_observations_of_rows() -> None:
    env: Any = many()
    counts = env.unwrapped.layout.counts

    def short(observations: Any, infos: Any) -> Any:
        speed = decode(observations, counts)["ego"][:, 0, 3]
        return np.stack([speed, infos["distance_to_goal"]], 1)

    env = vector.OwnObservation(env, short, SPACE)
    observations, infos = env.reset(seed=1)
    assert env.observation_space.shape == observations.shape == (12, 2)
    env.action_space.seed(1)
    ended = 0
    for _ in range(100):
        observations, _, _, _, infos = env.step(env.action_space.sample())
        np.testing.assert_allclose(observations[:, 0], infos["speed"], atol=2e-3)
        if "final_obs" in infos:
            done = infos["_final_obs"]
            ended += int(done.sum())
            last = infos["final_info"]["speed"][done]
            np.testing.assert_allclose(infos["final_obs"][done, 0], last, atol=2e-3)
    assert ended > 0


def fast(observations: Any, infos: Any) -> Any:
    return infos["speed"] > 12.0


def test_own_ends_of_rows_start_anew_at_once() -> None:
    inner = many()
    env = vector.OwnTermination(inner, fast)
    env.reset(seed=1)
    env.action_space.seed(1)
    length, own = np.zeros(12, np.int64), 0
    for _ in range(150):
        observations, _, terminated, truncated, infos = env.step(env.action_space.sample())
        length += 1
        done = terminated | truncated
        assert done.any() == ("final_obs" in infos)
        if not done.any():
            continue
        np.testing.assert_array_equal(infos["_final_obs"], done)
        np.testing.assert_array_equal(infos["_final_info"], done)
        finals = infos["final_info"]
        np.testing.assert_array_equal(finals["_length"], done)
        np.testing.assert_array_equal(finals["length"][done], length[done])
        speed = decode(infos["final_obs"], inner.unwrapped.layout.counts)["ego"][:, 0, 3]
        np.testing.assert_allclose(speed[done], finals["speed"][done], atol=2e-3)
        own += int((finals["speed"][done] > 12.0).sum())
        np.testing.assert_array_equal(inner.unwrapped.engine.agents.age.ravel()[done], 0)
        np.testing.assert_array_equal(observations, inner.unwrapped.engine.observations)
        np.testing.assert_array_equal(infos["speed"], inner.unwrapped.state.agents.speed.ravel())
        length[done] = 0
    assert own > 3


def test_own_ends_of_rows_that_the_caller_resets() -> None:
    env = vector.OwnTermination(many(autoreset_mode="Disabled"), fast)
    env.reset(seed=1)
    for _ in range(60):
        _, _, terminated, truncated, infos = env.step(np.full(12, 10))
        done = terminated | truncated
        assert (terminated | ~(infos["speed"] > 12.0)).all()
        if done.any():
            assert infos["length"][done].min() > 0
            np.testing.assert_array_equal(infos["_length"], done)
            env.reset(options={"reset_mask": done})


def test_wrappers_say_what_they_need() -> None:
    with pytest.raises(ValueError, match="OwnReward needs the setting step_info=True"):
        vector.OwnReward(many(step_info=False), calm)
    with pytest.raises(ValueError, match="SameStep' or 'Disabled', got 'NextStep'"):
        vector.OwnTermination(many(autoreset_mode="NextStep"), fast)
    with pytest.raises(ValueError, match=r"must return rewards \[12\], got \(\)"):
        env = vector.OwnReward(many(), lambda observations, rewards, infos: 1.0)
        env.reset(seed=1)
        env.step(np.full(12, 7))


def test_tensors_are_refused() -> None:
    pytest.importorskip("torch")
    with pytest.raises(ValueError, match="needs output='numpy', got 'torch'"):
        vector.OwnReward(many(output="torch"), calm)
