"""TorchRL: its `GymWrapper`, and worlds with a group of agents as a native `EnvBase`."""

from __future__ import annotations

import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("torchrl", reason='needs pip install "torchrl>=0.14"')
    import torch
    from torchrl.envs import GymWrapper
    from torchrl.envs.utils import check_env_specs

from selfdrive_env.adapters.torchrl import DrivingEnvBase

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

SELF_PLAY = "selfdrive_env/SelfPlay-v0"
SMALL: dict[str, Any] = dict(
    num_envs=8, map="riverside", agents_per_world=4, layout="lean", num_threads=1, horizon=6.0
)
torch.set_num_threads(1)


def make(id: str = SELF_PLAY, **settings: Any) -> DrivingEnvBase:
    return DrivingEnvBase(id, **{"seed": 0, **SMALL, **settings})


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"action_type": "continuous"},
        {"obs_dtype": "float16"},
        {"agents_per_world": [2, 4]},
        {"id": "selfdrive_env/Drive-v0"},
    ],
    ids=lambda settings: next(iter(settings), "plain"),
)
def test_torchrls_checker_passes(settings: dict[str, Any]) -> None:
    check_env_specs(make(**settings))


def test_a_rollout_equals_the_steps_of_the_vector_environment() -> None:
    env = make()
    vector = gymnasium.make_vec(SELF_PLAY, **SMALL)
    rows, _ = vector.reset(seed=0)
    torch.manual_seed(0)
    found = env.rollout(60, break_when_any_done=False)
    ends = np.zeros(2, np.int64)
    for step in range(60):
        agents, after = found[:, step]["agents"], found[:, step]["next", "agents"]
        np.testing.assert_array_equal(agents["observation"].flatten(0, 1), rows)
        action = agents["action"].flatten().numpy()
        rows, reward, terminated, truncated, infos = vector.step(action)
        np.testing.assert_array_equal(after["reward"].flatten(), reward)
        np.testing.assert_array_equal(after["terminated"].flatten(), terminated)
        np.testing.assert_array_equal(after["truncated"].flatten(), truncated)
        done = terminated | truncated
        np.testing.assert_array_equal(after["done"].flatten(), done)
        last = np.where(done[:, None], infos["final_obs"], rows) if done.any() else rows
        np.testing.assert_array_equal(after["observation"].flatten(0, 1), last)
        assert after["mask"].all()
        ends += terminated.sum(), truncated.sum()
    assert ends.min() > 0


def test_a_partial_reset_of_rows_that_run_places_just_these_again() -> None:
    env = make(horizon=60.0)
    state = env.reset()
    before = state["agents", "observation"].clone()
    chosen = torch.zeros(2, 4, 1, dtype=torch.bool)
    chosen[1, 2:] = True
    state["agents", "_reset"] = chosen
    after = env.reset(state)["agents", "observation"]
    changed = (after != before).any(-1)
    np.testing.assert_array_equal(changed, chosen[..., 0])


def test_slots_without_an_agent_are_masked() -> None:
    env = make(agents_per_world=[1, 4], num_envs=32, horizon=60.0)
    found = env.rollout(3, break_when_any_done=False)["agents"]
    mask = found["mask"]
    assert mask.any() and not mask.all()
    assert not found["observation"][~mask].any()


def test_a_seed_gives_the_same_rollout_again() -> None:
    env = make()
    rollouts = []
    for _ in range(2):
        env.set_seed(7)
        torch.manual_seed(7)
        rollouts.append(env.rollout(10, break_when_any_done=False))
    assert (rollouts[0] == rollouts[1]).all()
    again = env.rollout(10, break_when_any_done=False)
    assert not (again["agents", "observation"] == rollouts[0]["agents", "observation"]).all()


def test_settings_that_the_adapter_chooses_are_refused() -> None:
    with pytest.raises(TypeError, match="autoreset_mode is chosen"):
        make(autoreset_mode="NextStep")


@pytest.mark.parametrize("mode", ["SameStep", "Disabled"])
def test_gym_wrapper_gives_the_last_observation_in_next(mode: str) -> None:
    def rows() -> Any:
        return gymnasium.make_vec(SELF_PLAY, **SMALL, autoreset_mode=mode)

    env = GymWrapper(rows(), categorical_action_encoding=True)
    env.set_seed(0)
    torch.manual_seed(0)
    found = env.rollout(60, break_when_any_done=False)
    assert found.shape == (8, 60)
    vector = rows()
    vector.reset(seed=0)  # which GymWrapper does in `set_seed`
    seen, _ = vector.reset()
    ends = 0
    for step in range(60):
        np.testing.assert_array_equal(found[:, step]["observation"], seen)
        action = found[:, step]["action"].numpy()
        seen, reward, terminated, truncated, infos = vector.step(action)
        done = terminated | truncated
        np.testing.assert_array_equal(found[:, step]["next", "reward"][:, 0], reward)
        np.testing.assert_array_equal(found[:, step]["next", "done"][:, 0], done)
        last = infos["final_obs"] if mode == "SameStep" and done.any() else seen
        np.testing.assert_array_equal(found[:, step]["next", "observation"][done], last[done])
        if mode == "Disabled" and done.any():
            seen, _ = vector.reset(options={"reset_mask": done})
        ends += int(done.sum())
    assert ends > 8


def test_gym_wrapper_refuses_next_step() -> None:
    with pytest.raises(RuntimeError, match=r"(?i)next.?step"):
        GymWrapper(gymnasium.make_vec(SELF_PLAY, **SMALL, autoreset_mode="NextStep"))


def test_pictures_are_observations_of_their_own_form() -> None:
    view = {"kind": "bev", "size": 16}
    env = make(observation=view)
    seen = env.reset()["agents", "observation"]
    assert seen.shape[2:] == (16, 16, 3) and seen.dtype == torch.uint8
    check_env_specs(env)
    with pytest.raises(ValueError, match="observation must be of one kind"):
        make(observation={"road": view, "row": "state"})
