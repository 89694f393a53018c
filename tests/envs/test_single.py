"""The single form speaks of itself: of reset(), of one action, of its own options and pictures."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.error import ResetNeeded
from gymnasium.spaces import Box
from hypothesis import given, settings
from hypothesis import strategies as st

import selfdrive_env

SMALL: dict[str, Any] = {
    "map": "riverside",
    "agents_per_world": 2,
    "layout": "lean",
    "render_size": 32,
}


FREE = {name: "ignore" for name in ("on_collision", "on_offroad", "on_red_light")}


def make(id: str = "selfdrive_env/Drive-v0", **settings: Any) -> Any:
    return gymnasium.make(id, disable_env_checker=True, **SMALL, **settings).unwrapped


def test_a_step_outside_an_episode_asks_for_a_reset() -> None:
    env = make(horizon=1.0)
    with pytest.raises(ResetNeeded, match=r"^no episode is running: call reset\(\)$"):
        env.step(0)
    env.reset(seed=0)
    while not any(env.step(0)[2:4]):
        pass
    with pytest.raises(ResetNeeded, match=r"^no episode is running: call reset\(\)$"):
        env.step(0)
    env.reset()
    env.step(0)


def test_a_wrong_action_is_one_action() -> None:
    env = make()
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"^action must be from 0 to 11, got 12$"):
        env.step(12)
    with pytest.raises(ValueError, match=r"^action must be an integer, got int64 of shape \(1,\)"):
        env.step(np.zeros(1, int))


def test_options_are_refused() -> None:
    with pytest.raises(ValueError, match=r"reset\(\) knows no option 'foo'; there are none here"):
        make().reset(options={"foo": 1})


def test_the_vector_form_knows_one_option() -> None:
    envs = gymnasium.make_vec("selfdrive_env/Drive-v0", num_envs=2, **SMALL)
    with pytest.raises(ValueError, match=r"'foo'; the only one is reset_mask"):
        envs.reset(options={"foo": 1})
    with pytest.raises(ValueError, match=r"did you mean 'reset_mask'"):
        envs.reset(options={"reset_maks": np.ones(2, bool)})
    envs.reset(options={"reset_mask": np.ones(2, bool)})


def test_render_without_a_mode_warns_as_gymnasium_does() -> None:
    words = r'without specifying any render mode.*gym.make\("selfdrive_env/Drive-v0", render_mode='
    env = make()
    env.reset(seed=0)
    with pytest.warns(UserWarning, match=words):
        assert env.render() is None
    envs = gymnasium.make_vec("selfdrive_env/SelfPlay-v0", num_envs=2, **SMALL)
    with pytest.warns(UserWarning, match=r'gym.make_vec\("selfdrive_env/SelfPlay-v0"'):
        assert envs.render() is None


def test_a_picture_needs_a_reset() -> None:
    pytest.importorskip("PIL", reason="needs the extra render")
    env = make(render_mode="rgb_array")
    with pytest.raises(ResetNeeded, match=r"call reset\(\) before render\(\)"):
        env.render()
    env.reset(seed=0)
    assert env.render().shape == (32, 32, 3)


@pytest.mark.parametrize("one", selfdrive_env.ENVIRONMENTS, ids=lambda one: one.name)
def test_an_id_stands_for_its_settings(one: Any) -> None:
    id = f"selfdrive_env/{one.name}"
    continuous = "Continuous" in one.name
    for env in (make(id), gymnasium.make_vec(id, num_envs=2, **SMALL)):
        space = getattr(env, "single_action_space", env.action_space)
        assert isinstance(space, Box) == continuous
        for name, value in one.keywords.items():
            assert env.spec.kwargs[name] == value
    assert isinstance(make(id, action_type="continuous").action_space, Box)


def steps_to_the_ends(env: Any, episodes: int) -> list[tuple[int, bool, bool]]:
    """Length of some episodes, and how each ended."""
    env.action_space.seed(1)
    ends = []
    for episode in range(episodes):
        env.reset(seed=episode)
        done, steps = (False, False), 0
        while not any(done):
            _, _, *done, _ = env.step(env.action_space.sample())
            steps += 1
        ends.append((steps, *done))
    return ends


def test_the_spec_has_the_horizon_as_its_limit() -> None:
    id = "selfdrive_env/Drive-v0"
    env = gymnasium.make(id, horizon=3.0, **SMALL)
    assert env.spec.max_episode_steps == env.unwrapped.spec.max_episode_steps == 10
    again = gymnasium.make(env.spec)
    assert again.spec.max_episode_steps == 10
    ends = steps_to_the_ends(env, 6)
    assert (10, False, True) in ends and any(terminated for _, terminated, _ in ends)
    assert any(steps == 10 and terminated for steps, terminated, _ in ends)
    assert steps_to_the_ends(again, 6) == ends
    third = gymnasium.make(EnvSpec.from_json(again.spec.to_json()))
    assert third.spec.max_episode_steps == 10 and steps_to_the_ends(third, 6) == ends
    longer = gymnasium.make(env.spec, horizon=300.0, **FREE)
    assert steps_to_the_ends(longer, 1)[0][0] > 10
    assert gymnasium.make_vec(env.spec, num_envs=2).settings.horizon == 3.0
    assert gymnasium.make(id, max_episode_steps=4, **SMALL).spec.max_episode_steps == 4


@settings(max_examples=12)
@given(
    dt=st.sampled_from([0.05, 1 / 15, 0.1, 0.25, 0.3, 0.4]),
    horizon=st.floats(0.4, 4.0),
    vector=st.booleans(),
    id=st.sampled_from(["Drive-v0", "SelfPlay-v0", "DriveContinuous-v0"]),
)
def test_a_spec_has_the_steps_of_its_horizon_and_makes_the_same_again(dt, horizon, vector, id):
    """By the spec and by its JSON; no second limit acts, also where one ends in its last step."""
    maker = functools.partial(gymnasium.make_vec, num_envs=2) if vector else gymnasium.make
    env = maker(f"selfdrive_env/{id}", dt=dt, horizon=horizon, **SMALL, **FREE)
    steps = env.unwrapped.settings.steps
    assert abs(steps - horizon / dt) < 1.0
    for spec in (env.spec, EnvSpec.from_json(env.spec.to_json())):
        again = maker(spec)
        assert again.spec.max_episode_steps == env.spec.max_episode_steps == steps
        again.reset(seed=0)
        again.action_space.seed(0)
        ended, since = False, 0
        while not ended:
            *_, terminated, truncated, _ = again.step(again.action_space.sample())
            ended, since = bool(np.any(terminated) or np.any(truncated)), since + 1
            assert not np.any(np.logical_and(terminated, truncated))
        assert since <= steps
        longer = maker(again.spec, horizon=2.0 * horizon)
        assert longer.unwrapped.settings.horizon == pytest.approx(2.0 * horizon)
        assert longer.spec.max_episode_steps == longer.unwrapped.settings.steps > steps
        longer.close()
        again.close()
    env.close()


def test_time_is_observed_by_gymnasiums_wrapper() -> None:
    env = gymnasium.make("selfdrive_env/Drive-v0", dt=0.1, horizon=3.0, **SMALL)
    timed = gymnasium.wrappers.TimeAwareObservation(env, normalize_time=True)
    observation, _ = timed.reset(seed=0)
    assert observation[-1] == 0.0
    assert timed.step(0)[0][-1] == np.float32(1.0 / 30.0)


@pytest.mark.parametrize("vector", [False, True])
def test_a_spec_with_paths_and_numpy_scalars_in_tables_survives_json(vector: bool) -> None:
    maker = functools.partial(gymnasium.make_vec, num_envs=2) if vector else gymnasium.make
    values = {**SMALL, "map": [Path("riverside"), "harbour"], "dt": np.float32(0.25)}
    tables = {
        "reward": {"collision": np.float64(2.0), "goal": [np.float32(0.5), 1]},
        "layout": {"agents": np.int64(3)},
        "first_goal": (np.float32(30.0), np.int32(60)),
    }
    env = maker("selfdrive_env/Drive-v0", **{**values, **tables})
    again = EnvSpec.from_json(env.spec.to_json())
    assert again.kwargs["map"] == ["riverside", "harbour"]
    assert again.kwargs["reward"] == {"collision": 2.0, "goal": [0.5, 1]}
    copy = maker(again)
    assert copy.observation_space == env.observation_space
    assert copy.unwrapped.settings == env.unwrapped.settings


@pytest.mark.parametrize("traffic", [{}, [], None, 3, np.zeros(2), "no/such"])
@pytest.mark.parametrize("maker", [gymnasium.make, gymnasium.make_vec])
def test_other_traffic_is_named(maker: Any, traffic: Any) -> None:
    with pytest.raises(ValueError, match=r"traffic must be idm, constant, .* got"):
        maker("selfdrive_env/Drive-v0", traffic=traffic, **SMALL)
