"""`demo`: a short film, and its figures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from selfdrive_env.__main__ import main

SHORT = ["--seconds", "3", "--agents", "12", "--size", "128"]


def test_it_writes_a_film_and_prints_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = pytest.importorskip("PIL.Image", reason="needs the extra render")
    path = tmp_path / "a.gif"
    assert main(["demo", "-o", str(path), *SHORT, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["film"] == str(path)
    assert figures["policy"] == "selfplay"
    hours = 12 * 3 / 3600
    assert figures["mean_speed_km_h"] == pytest.approx(figures["km"] / hours, abs=0.6)
    assert 5.0 < figures["mean_speed_km_h"] < 72.0
    with image.open(path) as film:
        assert film.size == (128, 128)
        assert film.n_frames > 30
    assert [one.name for one in tmp_path.iterdir()] == ["a.gif"]


def test_the_same_seed_gives_the_same_drive(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("PIL", reason="needs the extra render")
    seen = []
    for name in ("a.gif", "b.gif"):
        assert main(["demo", "-o", str(tmp_path / name), *SHORT, "--seconds", "1", "--json"]) == 0
        figures = json.loads(capsys.readouterr().out)
        seen.append({k: v for k, v in figures.items() if k not in ("film", "wall_seconds")})
    assert seen[0] == seen[1]
    assert (tmp_path / "a.gif").read_bytes() == (tmp_path / "b.gif").read_bytes()


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["-o", "a.avi"], "--output must end in .mp4 or .gif, got 'a.avi'"),
        (["-o", "/nonexistent/a.mp4"], "there is no folder '/nonexistent'"),
        (["--size", "5"], "--size must be a whole number from 64 to 2048, got 5"),
        (["--map", "harbor"], "did you mean 'harbour'"),
        (["--agents", "100000"], "is more than map 'harbour' holds"),
    ],
)
def test_mistakes_are_told(
    words: list[str], error: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    pytest.importorskip("av", reason="needs the extra render")
    monkeypatch.chdir(tmp_path)
    assert main(["demo", *words]) == 2
    assert error in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
