"""`render_view="camera"`: frames of what an agent sees ahead."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest

import selfdrive_env  # noqa: F401

SMALL = {"map": "riverside", "agents_per_world": 8, "render_view": "camera", "render_size": 64}


@pytest.mark.parametrize("observation", ["state", "camera"])
def test_frames_show_what_the_ego_sees(observation: str) -> None:
    view = {"kind": "camera", "size": [64, 64]} if observation == "camera" else "state"
    env = gym.make(
        "selfdrive_env/Drive-v0", render_mode="rgb_array", observation=view, num_threads=1, **SMALL
    )
    shown, _ = env.reset(seed=3)
    frame = env.render()
    assert frame.shape == (64, 64, 3) and frame.dtype == np.uint8
    sky, road = frame[:20].reshape(-1, 3).mean(0), frame[44:].reshape(-1, 3).mean(0)
    assert sky[2] > sky[0] + 20.0  # blue above
    assert np.ptp(road) < 40.0  # grey below
    assert np.array_equal(frame, env.render())
    if observation == "camera":
        assert np.array_equal(frame, shown)
    env.step(env.action_space.sample())
    assert not np.array_equal(frame, env.render())
    env.close()
