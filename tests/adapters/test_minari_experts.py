"""Expert data: actions that drive recorded traffic again, with what it saw, as a Minari dataset."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("minari", reason='needs pip install "selfdrive_env[minari]"')
pytest.importorskip("h5py", reason='needs pip install "selfdrive_env[minari]"')

import minari

from selfdrive_env.__main__ import main
from selfdrive_env.envs import make_self_play
from selfdrive_env.envs.scenes.recording import record
from selfdrive_env.envs.scenes.records.experts import drive_experts, environment_for
from selfdrive_env.scenes import Agent, Scene, SceneError, Tracks
from selfdrive_env.scenes.experts import INVERTIBLE

STEPS = 41


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    """Two scenes of six scripted drivers on riverside; one of them is away for a while."""
    envs = make_self_play(
        12, map="riverside", agents_per_world=6, driver="idm", dt=0.1, layout="lean", num_threads=1
    )
    envs.reset(seed=3)
    one, two = record(envs, lambda _: np.zeros(12, np.int64), steps=STEPS)
    assert one.tracks is not None
    valid = one.tracks.valid.copy()
    valid[2, 20:25] = False
    values = {name: getattr(one.tracks, name) for name in one.tracks.__dataclass_fields__}
    cut = Tracks(**{**values, "valid": valid})
    return [Scene.recorded(cut, current=0, ego=one.ego, map="riverside", name="one"), two]


@pytest.fixture(scope="module")
def folder(scenes: list[Scene], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("scenes")
    for number, scene in enumerate(scenes):
        scene.save(path / f"{number}.scene")
    return path


@pytest.mark.parametrize("model", INVERTIBLE)
def test_an_episode_is_what_the_environment_gives_for_its_actions(
    model: str, scenes: list[Scene]
) -> None:
    found = list(drive_experts(scenes, dynamics=model, learners="ego", layout="lean"))
    assert [len(one) for one in found] == [1, 1]
    envs = environment_for(scenes, dynamics=model, learners="ego", layout="lean")
    observations, _ = envs.reset(seed=0)
    for step in range(STEPS - 1):
        actions = np.zeros((2, *envs.single_action_space.shape), np.float32)
        for row, (episode,) in enumerate(found):
            if step < len(episode.actions):
                actions[row] = episode.actions[step]
                np.testing.assert_array_equal(observations[row], episode.observations[step])
        observations, rewards, terminated, *_ = envs.step(actions)
        for row, (episode,) in enumerate(found):
            if step < len(episode.actions):
                assert envs.single_action_space.contains(episode.actions[step])
                assert rewards[row] == episode.rewards[step]
            if step == len(episode.actions) - 1:
                np.testing.assert_array_equal(observations[row], episode.observations[-1])
                assert terminated[row] == episode.terminated
    for (episode,) in found:
        assert len(episode.actions) > 10
        close = 0.05 if model in ("bicycle", "classic") else 0.002
        assert episode.position_error.max() < close
        assert np.degrees(episode.heading_error.max()) < 0.5


def test_everybody_is_an_expert_as_long_as_it_was_seen(scenes: list[Scene]) -> None:
    one, two = drive_experts(scenes, dynamics="delta_local", learners="all", layout="lean")
    assert len(one) == len(two) == 6
    tracks = scenes[0].tracks
    assert tracks is not None
    for episode in one:
        row = int(np.flatnonzero(tracks.id == episode.agent)[0])
        seen = tracks.valid[row]
        most = int(np.argmin(seen)) - 1 if not seen.all() else STEPS - 1
        assert 0 < len(episode.actions) <= most
        assert episode.terminated or len(episode.actions) == most
        assert len(episode.observations) == len(episode.actions) + 1


def test_a_dataset_is_written_and_goes_on(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    out = tmp_path / "data"
    words = ["scenes", "experts", "-o", str(out), "--learners", "all", "--layout", "lean"]
    assert main([*words, str(folder / "0.scene")]) == 0
    assert "6 episodes of 1 scenes" in capsys.readouterr().out
    broken = folder / "2.scene"
    broken.write_bytes((folder / "1.scene").read_bytes()[:500])
    try:
        assert main([*words, str(folder), "--resume", "--json"]) == 0
    finally:
        broken.unlink()
    report = json.loads(capsys.readouterr().out)
    assert [one["episodes"] for one in report["scenes"]] == [6, 6]
    assert len(report["refused"]) == 1 and "2.scene" in report["refused"][0]["file"]
    assert all(0.0 < one["position_most"] < 0.2 for one in report["scenes"])
    assert json.loads((out / "experts.json").read_text()) == report

    monkeypatch.setenv("MINARI_DATASETS_PATH", str(out))
    dataset = minari.load_dataset("selfdrive/experts-v0")
    steps = sum(one["steps"] for one in report["scenes"])
    assert (dataset.total_episodes, dataset.total_steps) == (12, steps)
    episode = dataset[7]
    assert episode.observations.shape == (len(episode.actions) + 1, 395)
    assert episode.actions.shape[1] == 2 and np.abs(episode.actions).max() <= 1.0
    assert bool(episode.terminations[-1]) != bool(episode.truncations[-1])
    assert not (episode.terminations | episode.truncations)[:-1].any()


def test_errors_say_what_to_do(folder: Path, tmp_path: Path, capsys: Any) -> None:
    words = ["scenes", "experts", str(folder / "1.scene"), "-o", str(tmp_path), "--layout", "lean"]
    assert main(words) == 0
    capsys.readouterr()
    cases = {
        (): "has a dataset already: --resume adds to it",
        ("--resume", "--dynamics", "state"): "was made with dynamics='bicycle', not 'state'",
        ("--dynamics", "jerk"): "dynamics must be one of bicycle, classic, delta_local",
        ("--learners", "egos"): "learners must be one of ego, all, valid, interest",
        ("--layout", "small"): "layout must be one of full, lean",
    }
    for more, message in cases.items():
        assert main([*words, *more]) != 0
        assert message in capsys.readouterr().err, more
    made_up = Scene((Agent(0, x=-300.0, y=3.6, driver="learner"),), map="riverside", steps=9, ego=0)
    with pytest.raises(SceneError, match="has no recorded tracks"):
        list(drive_experts([made_up], dynamics="bicycle"))
