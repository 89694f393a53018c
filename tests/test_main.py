from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from selfdrive_env.__main__ import main


def test_map_info_prints_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["map", "info", "hillcrest", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert set(figures) == {
        "roads", "junctions", "driving_lane_km", "traffic_lights", "connectivity", "z_min", "z_max",
        "problems",
    }  # fmt: skip


def test_map_info_prints_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["map", "info", "riverside"]) == 0
    text = capsys.readouterr().out
    assert "driving_lane_km" in text
    assert "problems         0" in text


def test_map_plot_writes_a_png(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    assert main(["map", "plot", "harbour", "-o", str(tmp_path / "a.png"), "--size", "300"]) == 0
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "words",
    [
        ["map", "info", "harbor"],
        ["map", "info", "missing.xodr", "--json"],
        ["map", "plot", "harbour", "-o", "/nonexistent/a.png"],
        ["map", "plot", "harbour", "-o", "a.png", "--size", "0"],
    ],
)
def test_mistakes_give_one_line_and_exit_code_2(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert "Traceback" not in captured.err


@pytest.mark.parametrize(
    "words", [[], ["map"], ["fly"], ["map", "info"], ["map", "plot", "harbour"]]
)
def test_wrong_usage_exits_with_2(words: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 2


def test_module_runs_as_a_program() -> None:
    command = [sys.executable, "-m", "selfdrive_env", "map", "info", "nowhere"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "nowhere" in done.stderr
