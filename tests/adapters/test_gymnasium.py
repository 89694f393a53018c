"""Gymnasium's own vector wrappers, and its recorder of films, for few rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.wrappers.vector import (
    ClipReward,
    DictInfoToList,
    NormalizeObservation,
    NormalizeReward,
    RecordEpisodeStatistics,
    TransformObservation,
)

SMALL: dict[str, Any] = dict(
    num_envs=8, map="riverside", agents_per_world=4, layout="lean", num_threads=1, horizon=6.0
)
MODES = ["SameStep", "NextStep", "Disabled"]


def make(mode: str = "SameStep", **settings: Any) -> Any:
    settings = {**SMALL, **settings}
    return gymnasium.make_vec("selfdrive_env/SelfPlay-v0", autoreset_mode=mode, **settings)


def drive(env: Any, steps: int = 60) -> Any:
    """Yields each step; in Disabled mode rows that ended are reset after it."""
    rng = np.random.default_rng(0)
    env.reset(seed=0)
    for _ in range(steps):
        result = env.step(rng.integers(0, 12, env.num_envs))
        yield result
        done = result[2] | result[3]
        if done.any() and env.metadata["autoreset_mode"].value == "Disabled":
            env.reset(options={"reset_mask": done})


@pytest.mark.parametrize("mode", MODES)
def test_episode_statistics_agree_with_the_metrics(mode: str) -> None:
    env = RecordEpisodeStatistics(make(mode))
    episodes = 0
    for *_, terminated, truncated, infos in drive(env):
        done = terminated | truncated
        if not done.any():
            assert "episode" not in infos
            continue
        metrics = infos["final_info"] if mode == "SameStep" else infos
        np.testing.assert_array_equal(infos["episode"]["l"][done], metrics["length"][done])
        terms = sum(metrics[name] for name in metrics if name.startswith("reward_"))
        np.testing.assert_allclose(infos["episode"]["r"][done], terms[done], atol=1e-4)
        episodes += int(done.sum())
    assert episodes > 8


@pytest.mark.parametrize("mode", ["NextStep", "Disabled"])
def test_observation_wrappers_take_the_modes_without_a_last_observation(mode: str) -> None:
    env = TransformObservation(make(mode), lambda rows: rows / 2.0)
    rows = [result[0] for result in drive(env)]
    assert np.abs(rows).max() == 0.5


def test_observations_are_normalised_in_next_step_mode() -> None:
    rows = [result[0] for result in drive(NormalizeObservation(make("NextStep")))]
    assert np.isfinite(rows[-1]).all() and rows[-1].dtype == np.float32


@pytest.mark.parametrize("mode", ["SameStep", "Disabled"])
def test_normalising_observations_refuses_other_modes(mode: str) -> None:
    with pytest.raises(ValueError, match=r"(?i)autoreset_mode"):
        NormalizeObservation(make(mode))


def test_observation_wrappers_refuse_same_step() -> None:
    with pytest.raises(ValueError, match=r"(?i)autoreset"):
        TransformObservation(make(), lambda rows: rows)


@pytest.mark.parametrize("mode", MODES)
def test_reward_and_info_wrappers_take_every_mode(mode: str) -> None:
    env = DictInfoToList(ClipReward(NormalizeReward(make(mode)), -0.5, 0.5))
    lowest, told = 0.0, 0
    for _, reward, terminated, truncated, infos in drive(env):
        lowest = min(lowest, float(reward.min()))
        assert len(infos) == 8
        for row in np.flatnonzero(terminated | truncated):
            metrics = infos[row]["final_info"] if mode == "SameStep" else infos[row]
            assert metrics["length"] > 0
            told += 1
    assert lowest == -0.5 and told > 8


@pytest.mark.parametrize("mode", MODES)
def test_rows_become_torch_tensors_also_where_episodes_end(mode: str) -> None:
    pytest.importorskip("array_api_compat")
    torch = pytest.importorskip("torch")
    from gymnasium.wrappers.vector import NumpyToTorch

    env = NumpyToTorch(make(mode))
    env.reset(seed=0)
    ended = 0
    for _ in range(60):
        rows, _, terminated, truncated, infos = env.step(torch.randint(0, 12, (8,)))
        assert isinstance(rows, torch.Tensor)
        done = terminated | truncated
        ended += int(done.sum())
        if done.any() and mode == "SameStep":
            assert infos["final_obs"].shape == rows.shape
        if done.any() and mode == "Disabled":
            env.reset(options={"reset_mask": done.numpy()})
    assert ended > 8


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("mode", ["SameStep", "NextStep"])
def test_record_video_films_few_rows(mode: str, tmp_path: Path) -> None:
    pytest.importorskip("moviepy", reason='needs pip install moviepy "pillow<12"')
    from gymnasium.wrappers.vector import RecordVideo

    env = RecordVideo(
        make(mode, num_envs=4, render_mode="rgb_array", render_size=64),
        str(tmp_path),
        step_trigger=lambda step: step == 0,
        video_length=10,
    )
    for _ in drive(env, 15):
        pass
    env.close()
    (film,) = tmp_path.glob("*.mp4")
    assert film.stat().st_size > 1000


@pytest.mark.filterwarnings("ignore")
def test_record_video_films_the_single_form(tmp_path: Path) -> None:
    pytest.importorskip("moviepy", reason='needs pip install moviepy "pillow<12"')
    from gymnasium.wrappers import RecordVideo

    settings = dict(map="riverside", agents_per_world=4, render_mode="rgb_array", render_size=64)
    env = RecordVideo(gymnasium.make("selfdrive_env/Drive-v0", **settings), str(tmp_path))
    env.reset(seed=0)
    for _ in range(5):
        env.step(7)
    env.close()
    assert next(tmp_path.glob("*.mp4")).stat().st_size > 1000


def test_a_wrapped_environment_hides_its_attributes_and_unwrapped_shows_them() -> None:
    env = RecordEpisodeStatistics(make())
    with pytest.raises(AttributeError):
        _ = env.autoreset_mode  # type: ignore[attr-defined]
    assert env.unwrapped.autoreset_mode.value == "SameStep"
