"""Films run in real time: the rate that an environment names, and what wrappers make of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import selfdrive_env  # noqa: F401

SMALL: dict[str, Any] = {
    "map": "riverside", "layout": "lean", "num_threads": 1, "render_mode": "rgb_array",
    "render_size": 64,
}  # fmt: skip


@pytest.mark.parametrize("dt", [0.1, 0.3])
@pytest.mark.parametrize("name", ["Drive-v0", "SelfPlayContinuous-v0"])
def test_frames_a_second_follow_from_the_step(name: str, dt: float) -> None:
    single = gym.make(f"selfdrive_env/{name}", dt=dt)
    vector = gym.make_vec(f"selfdrive_env/{name}", num_envs=2, dt=dt)
    for env in (single, vector):
        assert env.metadata["render_fps"] == pytest.approx(1.0 / dt)
        env.close()


def test_the_class_knows_the_rate_of_the_default_step() -> None:
    from selfdrive_env.config.settings import Settings
    from selfdrive_env.envs.single import DrivingEnv

    assert DrivingEnv.metadata["render_fps"] == pytest.approx(1.0 / Settings().dt)


def test_adapters_pass_the_rate_on() -> None:
    sb3 = pytest.importorskip("selfdrive_env.adapters.sb3", exc_type=ImportError)
    envs = sb3.SB3VecEnv("selfdrive_env/SelfPlay-v0", num_envs=2, dt=0.1)
    assert envs.metadata["render_fps"] == pytest.approx(10.0)
    envs.close()


def test_pixels_are_without_speed_and_time_unless_asked_for() -> None:
    pytest.importorskip("PIL")
    frames = {}
    for hud in (None, False, True):
        env = gym.make("selfdrive_env/Drive-v0", render_hud=hud, **SMALL)
        env.reset(seed=0)
        frames[hud] = env.render()
        own = env.unwrapped.frame
        np.testing.assert_array_equal(own(hud=True), own(hud=True))
        assert not np.array_equal(own(hud=True), own(hud=False))
        np.testing.assert_array_equal(own(), own(hud=bool(hud)))
        env.close()
    np.testing.assert_array_equal(frames[None], frames[False])
    assert not np.array_equal(frames[None], frames[True])


def test_heading_up_is_a_setting_of_frames() -> None:
    pytest.importorskip("PIL")
    frames = []
    for up in (False, True):
        env = gym.make("selfdrive_env/Drive-v0", render_heading_up=up, **SMALL)
        env.reset(seed=1)
        frames.append(env.render())
        env.close()
    assert frames[0].shape == frames[1].shape == (64, 64, 3)
    assert not np.array_equal(*frames)


def film_length(path: Path) -> tuple[int, float]:
    """Frames of a film, and its length [s]."""
    av = pytest.importorskip("av")
    with av.open(str(path)) as film:
        stream = film.streams.video[0]
        frames = sum(1 for _ in film.decode(stream))
        return frames, frames / float(stream.average_rate)


def test_a_recorded_episode_lasts_as_long_as_it_did(tmp_path: Path) -> None:
    pytest.importorskip("moviepy")
    pytest.importorskip("PIL")
    from gymnasium.wrappers import RecordVideo

    env = gym.make("selfdrive_env/Drive-v0", horizon=6.0, driver="idm", **SMALL)
    env = RecordVideo(env, str(tmp_path / "films"))
    env.reset(seed=0)
    steps, over = 0, False
    while not over:
        _, _, terminated, truncated, _ = env.step(env.action_space.sample())
        steps, over = steps + 1, terminated or truncated
    env.close()
    (path,) = tmp_path.glob("films/*.mp4")
    frames, seconds = film_length(path)
    assert abs(frames - steps) <= 1
    assert seconds == pytest.approx(0.3 * steps, abs=0.6)


def test_rows_of_a_vector_environment_are_recorded(tmp_path: Path) -> None:
    pytest.importorskip("moviepy")
    pytest.importorskip("PIL")
    from gymnasium.wrappers.vector import RecordVideo

    envs: Any = gym.make_vec(
        "selfdrive_env/SelfPlay-v0", num_envs=4, autoreset_mode="NextStep", **SMALL
    )
    first = dict(episode_trigger=lambda episode: episode == 0, video_length=10)
    envs = RecordVideo(envs, str(tmp_path / "films"), **first)
    envs.reset(seed=0)
    for _ in range(12):
        envs.step(np.zeros(4, np.int64))
    envs.close()
    (path,) = tmp_path.glob("films/*.mp4")
    frames, seconds = film_length(path)
    assert frames == 10
    assert seconds == pytest.approx(3.0, abs=0.3)


def test_a_recorder_of_stable_baselines_films_rows(tmp_path: Path) -> None:
    pytest.importorskip("moviepy")
    recorders = pytest.importorskip("stable_baselines3.common.vec_env")
    from selfdrive_env.adapters.sb3 import SB3VecEnv

    envs = SB3VecEnv("selfdrive_env/SelfPlay-v0", num_envs=2, driver="idm", **SMALL)
    envs = recorders.VecVideoRecorder(
        envs, str(tmp_path / "films"), lambda step: step == 0, video_length=10
    )
    envs.reset()
    for _ in range(12):
        envs.step(np.zeros(2, np.int64))
    envs.close()
    (path,) = tmp_path.glob("films/*.mp4")
    frames, seconds = film_length(path)
    assert frames == 10
    assert seconds == pytest.approx(3.0, abs=0.3)
