"""`selfdrive scenes`, and pictures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from selfdrive_env.__main__ import main
from selfdrive_env.rendering.palette import ASPHALT, EGO, WALKER
from selfdrive_env.scenes import load
from selfdrive_env.scenes.readers.womd.crc32c import crc32c
from tests.scenes import builders as made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Recordings of several formats, one of them damaged."""
    folder = tmp_path / "recorded"
    (folder / "deep").mkdir(parents=True)
    records = (made.scenario(), made.example())
    content = bytearray(made.tfrecord(*records, checksum=crc32c))
    (folder / "a.tfrecord").write_bytes(content)
    content[-20] ^= 1
    (folder / "b.tfrecord").write_bytes(content)
    (folder / "deep" / "c.json").write_text(json.dumps(made.gpudrive()))
    (folder / "d.npz").write_bytes(b"none")
    return folder


def names(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_folder_is_converted_with_a_report(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], jobs: int
) -> None:
    out = tmp_path / "out"
    words = ["scenes", "convert", str(folder), "-o", str(out), "--jobs", str(jobs)]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert f"{out}: 4 scenes kept, 0 already there, 2 refused" in printed
    assert "b.tfrecord, record 1: the record was altered" in printed
    scenes = ["a.tfrecord-00000", "a.tfrecord-00001", "b.tfrecord-00000", "deep/c"]
    assert names(out) == sorted([*(f"{name}.scene" for name in scenes), "conversion.json"])
    assert load(out / "a.tfrecord-00000.scene") == load(folder / "a.tfrecord")
    assert load(out / "deep/c.scene") == load(folder / "deep/c.json")
    if jobs > 1:
        return
    times = {name: (out / name).stat().st_mtime_ns for name in names(out)}
    (out / "deep/c.scene").unlink()
    assert main([*words, "--resume", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["kept"], report["already_there"], len(report["refused"])) == (1, 3, 2)
    assert report["refused"][0]["record"] == "00001"
    assert (out / "a.tfrecord-00000.scene").stat().st_mtime_ns == times["a.tfrecord-00000.scene"]
    assert json.loads((out / "conversion.json").read_text()) == report
    # What was made is found again, the report is none of the scenes.
    assert main(["scenes", "info", str(out)]) == 0
    table = capsys.readouterr().out
    assert "4 scenes, 0 refused" in table and table.count("made ") == 4


def test_nothing_to_convert_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    words = ["scenes", "convert", str(tmp_path / "in"), "-o", str(tmp_path / "out")]
    assert main(words) == 2
    assert "there is no file that is read" in capsys.readouterr().err
    (tmp_path / "in" / "a.json").write_text("{}")
    assert main(words) == 1
    assert main(["scenes", "convert", str(tmp_path / "absent"), "-o", str(tmp_path / "out")]) == 2


def test_figures_of_one_scene_and_of_several(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["scenes", "info", str(folder / "deep")]) == 0
    text = capsys.readouterr().out
    assert "agents       4\n" in text and "lanes        3\n" in text and "lights       1\n" in text
    assert main(["scenes", "info", str(folder), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert sum("refused" in one for one in found) == 2
    (figures, *_) = [one for one in found if one["source"].endswith("a.tfrecord#0")]
    assert (figures["kinds"], figures["ego"], figures["seconds"]) == (
        {"vehicle": 2, "pedestrian": 1, "bicycle": 1}, 11, 1.9,
    )  # fmt: skip


def test_a_picture_shows_lanes_and_bodies(folder: Path, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image", reason="pictures need pillow")
    path = tmp_path / "scene.png"
    words = ["scenes", "plot", str(folder / "a.tfrecord"), "-o", str(path), "--size", "600"]
    assert main(words) == 0
    picture = np.asarray(image.open(path))
    assert max(picture.shape) == 600
    shown = {tuple(colour) for colour in picture.reshape(-1, 3).tolist()}
    assert {ASPHALT, EGO, WALKER} <= shown
    found = load(folder / "a.tfrecord")
    assert np.array_equal(found.plot(size=600), picture)
    # The ego is where it is: mirrored it is as far below as it was above.
    rows, _ = np.nonzero((picture == EGO).all(axis=-1))
    mirrored = found.mirrored().plot(size=600)
    below, _ = np.nonzero((mirrored == EGO).all(axis=-1))
    height = picture.shape[0]
    assert abs(rows.mean() + below.mean() - height) < 0.1 * height
    assert main(["scenes", "plot", str(folder / "a.tfrecord"), "-o", str(path), "--size", "5"]) == 2


def test_a_scene_on_a_map_is_drawn_with_it() -> None:
    pytest.importorskip("PIL", reason="pictures need pillow")
    from selfdrive_env.scenes import Agent, Scene

    picture = Scene((Agent(1, 0.0, 0.0),), map="riverside", ego=0).plot(size=300)
    shown = {tuple(colour) for colour in picture.reshape(-1, 3).tolist()}
    assert {ASPHALT, EGO} <= shown
