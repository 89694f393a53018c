"""Films of scenes: as recorded, and as somebody drives them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from selfdrive_env.__main__ import main
from selfdrive_env.evaluation import scene_films
from selfdrive_env.evaluation.scene_films import driven
from selfdrive_env.rendering.palette import EGO
from selfdrive_env.scenes import Agent, Goal, Scene, SceneError, Tracks
from selfdrive_env.scenes.plot import frames

Image = pytest.importorskip("PIL.Image")

STEPS = 12


@pytest.fixture(scope="module")
def scene() -> Scene:
    """Three cars in a row on riverside: the last one comes late, and leaves early."""
    time = 0.1 * np.arange(STEPS)
    x = np.array([[-330.0], [-300.0], [-280.0]]) + np.array([[8.0], [6.0], [6.0]]) * time
    full, still = np.ones(3, np.float32), np.zeros(x.shape)
    valid = np.ones(x.shape, np.bool_)
    valid[2, :5] = valid[2, 9:] = False
    log = Tracks(
        id=np.array([7, 8, 9]), kind=np.zeros(3, np.uint8), length=4.5 * full, width=1.8 * full,
        height=1.5 * full, x=x, y=3.6 + still, z=still, heading=still.astype(np.float32),
        vx=np.gradient(x, 0.1, axis=1).astype(np.float32), vy=still.astype(np.float32),
        valid=valid,
    )  # fmt: skip
    return Scene.recorded(log, current=2, ego=0, map="riverside", name="row", goals=False)


def test_a_film_of_the_record_shows_bodies_where_they_were(scene: Scene) -> None:
    pictures = list(frames(scene, size=400, span=80.0))
    assert len(pictures) == STEPS and {one.shape for one in pictures} == {(400, 400, 3)}
    for picture in pictures:  # followed: the ego is in the middle of each
        assert tuple(picture[200, 200]) == EGO
    whole = [one.astype(int) for one in frames(scene, size=400)]
    places = [np.argwhere((np.abs(one - EGO) < 3).all(2)).mean(0) for one in whole]
    moved = np.diff([place[1] for place in places])
    assert (moved > 0.0).all()  # to the east
    metres = np.ptp([place[1] for place in places]) / (8.0 * 0.1 * (STEPS - 1))
    assert metres == pytest.approx(400 / _width(scene), rel=0.1)


def _width(scene: Scene) -> float:
    assert scene.tracks is not None
    seen = scene.tracks.x[scene.tracks.valid]
    return float(np.ptp(seen)) + 50.0


def test_who_replays_drives_as_recorded(scene: Scene) -> None:
    found, log = driven(scene), scene.tracks
    assert found.tracks is not None and log is not None
    assert found.current == 0 and found.steps == STEPS - 2
    valid = log.valid[:, 2:]
    assert (found.tracks.valid == valid).all()
    for name in ("x", "y", "heading"):
        wanted = np.where(valid, getattr(log, name)[:, 2:], 0.0)
        assert np.allclose(getattr(found.tracks, name), wanted, atol=1e-3)
    assert found.lights is not None and found.lights.state.shape[1] == found.steps


def test_scripts_drive_the_ego_and_the_others(scene: Scene) -> None:
    found = driven(scene, driver="still", traffic="constant").tracks
    assert found is not None and scene.tracks is not None
    assert np.ptp(found.x[0]) < np.ptp(scene.tracks.x[0, 2:]) - 1.0
    assert found.x[1, -1] == pytest.approx(scene.tracks.x[1, -1], abs=0.3)


def test_who_had_left_before_the_present_moment_is_not_in_the_film(scene: Scene) -> None:
    gone = scene.tracks
    assert gone is not None
    valid = gone.valid.copy()
    valid[1] = np.arange(STEPS) < 2
    log = replace(gone, valid=valid)
    found = driven(Scene.recorded(log, current=2, ego=0, map="riverside", name="row"))
    assert [agent.id for agent in found.agents] == [7, 9]
    assert found.tracks is not None and found.tracks.valid.any(axis=1).all()


def test_what_nobody_recorded_is_filmed_once_somebody_drives_it() -> None:
    ego = Agent(0, x=-300.0, y=3.6, speed=8.0, driver="learner", goals=(Goal(-190.0, 3.6),))
    scene = Scene((ego,), map="riverside", steps=5, ego=0, name="alone")
    with pytest.raises(SceneError, match="'alone' has no record"):
        next(frames(scene))
    assert len(list(frames(driven(scene, driver="idm"), size=100))) == 5


def test_the_command_writes_a_film(
    scene: Scene, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene.save(tmp_path / "row.scene")
    film = tmp_path / "row.gif"
    words = ["scenes", "film", str(tmp_path / "row.scene"), "-o", str(film), "--size", "120"]
    assert main(words) == 0
    assert f"{STEPS} moments of row" in capsys.readouterr().out
    with Image.open(film) as found:
        assert (found.n_frames, max(found.size)) == (STEPS, 120)
    assert main([*words, "--driver", "idm", "--traffic", "idm_log", "--span", "50"]) == 0
    with Image.open(film) as found:
        assert (found.n_frames, found.size) == (STEPS - 2, (120, 120))


@pytest.mark.parametrize(
    "words, told",
    [
        (["-o", "film.avi"], "must end in .gif"),
        (["-o", "absent/film.gif"], "no folder"),
        (["-o", "film.gif", "--record", "3"], "there is no record 3"),
        (["-o", "film.gif", "--driver", "nobody"], "unknown policy 'nobody'"),
        (["-o", "film.gif", "--traffic", "nobody"], "nobody"),
        (["-o", "film.gif", "--span", "1"], "span must be"),
        (["-o", "film.gif", "--size", "9"], "size must be"),
    ],
)
def test_what_cannot_be_filmed_is_refused_in_one_line(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], words: list[str], told: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    scene.save("row.scene")
    assert main(["scenes", "film", "row.scene", *words]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and told in lines[0], lines
    assert not Path("film.gif").exists()


def test_an_mp4_needs_its_library(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def missing() -> None:
        raise ImportError("writing .mp4 needs PyAV")

    scene.save(tmp_path / "row.scene")
    monkeypatch.setattr(scene_films, "import_av", missing)
    words = ["scenes", "film", str(tmp_path / "row.scene"), "-o", str(tmp_path / "row.mp4")]
    assert main(words) == 2
    assert "needs PyAV" in capsys.readouterr().err
