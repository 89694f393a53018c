"""What a camera on an agent of an episode sees: against the pictures of the run itself."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import re
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

import selfdrive_env  # noqa: F401
from selfdrive_env.__main__ import main
from selfdrive_env.config.images import Camera
from selfdrive_env.episodes import Episode, Recorder, camera
from selfdrive_env.episodes.camera import SIZE, film_of
from selfdrive_env.episodes.file import EpisodeError
from selfdrive_env.episodes.page import page
from selfdrive_env.images.render import CameraFrames
from selfdrive_env.rendering.canvas import import_pillow
from selfdrive_env.state.world import ABSENT

AGENTS, FOCUS, STEPS = 12, 4, 6


@pytest.fixture(scope="module")
def run() -> tuple[Episode, list[np.ndarray]]:
    """An episode in the hills, and what its agent saw meanwhile."""
    envs: Any = gymnasium.make_vec(
        "selfdrive_env/SelfPlay-v0", num_envs=AGENTS, agents_per_world=AGENTS, map="hillcrest",
        driver="idm", bodies="typed", layout="lean", dt=0.2, num_threads=1, stagger=False,
    )  # fmt: skip
    envs.reset(seed=3)
    recorder = Recorder(envs, focus=FOCUS, observed=[])
    frames = CameraFrames(envs.engine, Camera(size=SIZE))
    seen = []
    for step in range(STEPS):
        if step:
            envs.step(np.zeros(AGENTS, int))
        recorder.record()
        seen.append(frames.draw(0, FOCUS))
    episode = Episode.from_bytes(recorder.episode().to_bytes(), "hills.episode")
    envs.close()
    return episode, seen


def likeness(one: np.ndarray, two: np.ndarray) -> float:
    """Share of the pixels that have about the same colour."""
    return float((np.abs(one.astype(int) - two).max(axis=-1) <= 20).mean())


def decoded(frame: bytes) -> np.ndarray:
    return np.asarray(import_pillow()[0].open(io.BytesIO(frame)))


def test_pictures_are_those_of_the_run(run: Any) -> None:
    episode, seen = run
    film = film_of(episode, FOCUS)
    assert len(film.frames) == STEPS and (film.height, film.width) == SIZE
    for frame, wanted in zip(film.frames, seen, strict=True):
        assert likeness(decoded(frame), wanted) > 0.95
        sky = np.s_[:20]  # the sun of the run
        assert abs(decoded(frame)[sky].mean() - wanted[sky].mean()) < 1.0
    assert likeness(decoded(film_of(episode, FOCUS + 1).frames[0]), seen[0]) < 0.9


def test_nothing_is_seen_by_who_is_absent(run: Any) -> None:
    episode, _ = run
    status = episode.tracks.status.copy()
    status[FOCUS, 2:4] = ABSENT
    gone = dataclasses.replace(episode, tracks=episode.tracks._replace(status=status))
    film = film_of(gone, FOCUS)
    assert [bool(frame) for frame in film.frames] == [True, True, False, False, True, True]


def test_a_page_holds_the_pictures(run: Any, tmp_path: Path, capsys: Any) -> None:
    episode, seen = run
    episode.save(tmp_path / "a.episode")
    assert main(["replay", str(tmp_path / "a.episode"), "--camera", str(FOCUS)]) == 0
    text = (tmp_path / "a.html").read_text()
    (held,) = re.findall(r'<script type="application/json" id="film">(.*?)</script>', text)
    film = json.loads(held)
    assert film["agent"] == FOCUS and len(film["frames"]) == STEPS
    assert likeness(decoded(base64.b64decode(film["frames"][-1])), seen[-1]) > 0.95
    told = capsys.readouterr().out
    size = sum(len(base64.b64decode(frame)) for frame in film["frames"])
    assert f"camera of agent {FOCUS}: {STEPS} pictures of 320 x 180, {size / 1e6:.2f} MB" in told
    assert b'id="film">null</script>' in page(episode)


def test_what_no_page_can_hold_is_refused(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    episode, _ = run
    with pytest.raises(ValueError, match=f"camera must be from 0 to {AGENTS - 1}|camera"):
        film_of(episode, AGENTS)
    other = dataclasses.replace(episode, about={**episode.about, "map_digest": "0" * 16})
    with pytest.raises(EpisodeError, match="camera needs map 'hillcrest' as the episode was rec"):
        film_of(other, FOCUS)
    monkeypatch.setattr(camera, "MOST_BYTES", 20_000)
    with pytest.raises(ValueError, match=r"camera takes more than .* MB of pictures, the first"):
        film_of(episode, FOCUS)
    monkeypatch.setattr(camera, "MOST_FRAMES", 4)
    with pytest.raises(ValueError, match="camera shows at most 4 frames, the episode has 6"):
        film_of(episode, FOCUS)
