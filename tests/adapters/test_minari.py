"""Datasets: what Minari reads back is what happened in the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

pytest.importorskip("minari", reason='needs pip install "selfdrive_env[minari]"')
pytest.importorskip("h5py", reason='needs pip install "selfdrive_env[minari]"')

import minari

from selfdrive_env.adapters.minari import EpisodeRecorder

SMALL: dict[str, Any] = dict(
    num_envs=8, map="riverside", agents_per_world=4, layout="lean", num_threads=1, horizon=6.0
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    return tmp_path


def make(id: str = "selfdrive_env/SelfPlay-v0", **settings: Any) -> EpisodeRecorder:
    return EpisodeRecorder(gymnasium.make_vec(id, **{**SMALL, **settings}))


def write(recorder: EpisodeRecorder, name: str = "selfdrive/random-v0") -> Any:
    return recorder.write(
        name,
        algorithm_name="random",
        author="tests",
        author_email="tests@example.org",
        code_permalink="https://example.org",
        description="random actions",
        eval_env="selfdrive_env/Drive-v0",
    )


@pytest.mark.parametrize("copy", [True, False])
def test_a_dataset_read_back_holds_every_step_of_the_episodes_that_ended(copy: bool) -> None:
    recorder, other = make(copy=copy), gymnasium.make_vec("selfdrive_env/SelfPlay-v0", **SMALL)
    rows, _ = other.reset(seed=0)
    recorder.reset(seed=0)
    open_: list[list[Any]] = [[] for _ in range(8)]
    wanted = []
    rng = np.random.default_rng(0)
    for _ in range(50):
        actions = rng.integers(0, 12, 8)
        recorder.step(actions)
        after, reward, terminated, truncated, infos = other.step(actions)
        for row in range(8):
            open_[row].append((rows[row], actions[row], reward[row]))
            if terminated[row] or truncated[row]:
                end = terminated[row], truncated[row], infos["final_obs"][row]
                wanted.append((open_[row], end))
                open_[row] = []
        rows = after
    write(recorder)
    assert recorder.episodes == []

    dataset = minari.load_dataset("selfdrive/random-v0")
    assert dataset.total_episodes == len(wanted) > 8
    assert dataset.observation_space == recorder.single_observation_space
    for episode, (steps, (terminated, truncated, last)) in zip(dataset, wanted, strict=True):
        seen, actions, rewards = zip(*steps, strict=True)
        np.testing.assert_array_equal(episode.observations, [*seen, last])
        np.testing.assert_array_equal(episode.actions, actions)
        np.testing.assert_array_equal(episode.rewards, np.array(rewards, np.float32))
        assert not episode.terminations[:-1].any() and not episode.truncations[:-1].any()
        assert (episode.terminations[-1], episode.truncations[-1]) == (terminated, truncated)


def test_continuous_actions_are_read_back() -> None:
    recorder = make(action_type="continuous")
    recorder.action_space.seed(0)
    recorder.reset(seed=0)
    for _ in range(25):
        recorder.step(recorder.action_space.sample())
    write(recorder)
    episode = minari.load_dataset("selfdrive/random-v0")[0]
    assert episode.actions.shape == (len(episode.rewards), 2)


def test_a_reset_ends_running_episodes_as_truncated() -> None:
    endless = dict(on_collision="ignore", on_offroad="ignore", on_goal="new_route")
    recorder = make(horizon=60.0, stagger=False, **endless)
    recorder.reset(seed=0)
    for _ in range(3):
        recorder.step(np.full(8, 7))
    mask = np.arange(8) < 4
    recorder.reset(options={"reset_mask": mask})
    cut = recorder.episodes
    assert [len(one.rewards) for one in cut] == [3] * 4
    assert all(one.truncations[-1] and not one.terminations[-1] for one in cut)
    assert all(len(one.observations) == len(one.rewards) + 1 for one in cut)


def test_slots_without_an_agent_and_steps_already_written_are_not_kept() -> None:
    recorder = make(num_envs=32, agents_per_world=[1, 4])
    _, infos = recorder.reset(seed=0)
    agents = int(infos["valid"].sum())
    assert agents < 32
    for _ in range(20):
        recorder.step(np.full(32, 7))
        assert len(recorder._steps) <= 20
    assert all(np.abs(one.observations).max() > 0 for one in recorder.episodes)
    recorder.step(np.full(32, 7))
    assert len(recorder._steps) < 21


def test_what_cannot_be_recorded_is_refused() -> None:
    with pytest.raises(ValueError, match="'NextStep'"):
        make(autoreset_mode="NextStep")
    with pytest.raises(ValueError, match="'idm' ignores the actions"):
        make(driver="idm")
    recorder = make()
    recorder.reset()
    with pytest.raises(ValueError, match="no episode has ended"):
        recorder.write("selfdrive/nothing-v0")


@pytest.mark.filterwarnings("ignore")
def test_minaris_own_collector_takes_the_single_form() -> None:
    pytest.importorskip("jax", reason='needs pip install "minari[create]"')
    settings = {name: SMALL[name] for name in SMALL if name not in ("num_envs", "num_threads")}
    env = minari.DataCollector(gymnasium.make("selfdrive_env/Drive-v0", **settings))
    env.action_space.seed(0)
    steps = 0
    for seed in range(2):
        env.reset(seed=seed)
        done = False
        while not done:
            _, _, terminated, truncated, _ = env.step(env.action_space.sample())
            done = terminated or truncated
            steps += 1
    env.create_dataset("selfdrive/single-v0")
    dataset = minari.load_dataset("selfdrive/single-v0")
    assert dataset.total_steps == steps
    again = dataset.recover_environment()
    again.reset(seed=0)
    assert again.spec is not None and again.spec.kwargs["layout"] == "lean"
