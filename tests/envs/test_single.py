"""The single form speaks of itself: of reset(), of one action, of its own options and pictures."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.spaces import Box

import selfdrive_env

SMALL: dict[str, Any] = {
    "map": "riverside",
    "agents_per_world": 2,
    "layout": "lean",
    "render_size": 32,
}


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
