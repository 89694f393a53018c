from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from selfdrive_env.__main__ import main
from selfdrive_env.engine import cpu, devices
from tests.maps.opendrive.test_reader import document, road


def test_map_info_prints_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["map", "info", "hillcrest", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert set(figures) == {
        "roads", "junctions", "driving_lane_km", "traffic_lights", "connectivity", "z_min", "z_max",
        "share_reached", "open_ends", "inferred", "dropped", "problems",
    }  # fmt: skip


def test_map_info_prints_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["map", "info", "riverside"]) == 0
    text = capsys.readouterr().out
    assert "driving_lane_km" in text
    assert "problems         0" in text


def test_map_info_tells_of_links_that_are_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Connectivity is 1 where the other lane starts some way off; the ends and the share tell."""
    path = tmp_path / "town.xodr"
    text = document(road("1"), road("2", x=100.0, hdg=0.5, y=-0.4), road("3", x=500.0),
                    road("4", x=600.0))  # fmt: skip
    path.write_text(text)
    assert main(["map", "info", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "connectivity     1.0" in lines
    assert "share_reached    0.25" in lines
    assert lines[lines.index("open_ends        1") + 1] == "  1/0/-1"
    assert main(["map", "info", str(path), "riverside"]) == 0
    head, row, *_ = capsys.readouterr().out.splitlines()
    figures = dict(zip(head.replace("open ends", "ends").split()[1:], row.split()[1:], strict=True))
    assert (figures["linked"], figures["reached"], figures["ends"]) == ("1.000", "0.250", "1")


def test_map_plot_writes_a_png(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    assert main(["map", "plot", "harbour", "-o", str(tmp_path / "a.png"), "--size", "300"]) == 0
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_map_export_writes_opendrive_and_tells_what_differs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "town.xodr"
    assert main(["map", "export", "riverside", "-o", str(path)]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith(f"{path}: 128 lanes, ") and len(told) == 2
    assert "reads back otherwise: 1 direct junctions" in told[1]
    assert main(["map", "info", str(path)]) == 0
    assert "problems         0" in capsys.readouterr().out


def test_warmup_compiles_nothing_twice(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["warmup"]) == 0
    assert "filling the kernel cache" in capsys.readouterr().out
    assert main(["warmup", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert set(figures) == {"folder", "compiled", "present", "seconds"}
    assert figures["compiled"] == []
    entries = {"kernels.run_worlds", "maps.compile.routes._search", "maps.compile.near._search"}
    entries |= {f"policies.deep_sets.{name}" for name in ("encode", "dense", "pull_back")}
    learner = ("choose", "add_loss", "rectify_back")
    entries |= {f"training.gradients.kernels.{name}" for name in learner}
    assert entries <= set(figures["present"])
    assert list(Path(figures["folder"]).glob("*.nbc"))
    assert main(["warmup"]) == 0
    assert "all was there already" in capsys.readouterr().out


def test_warmup_that_cannot_keep_kernels_is_a_mistake(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["warmup"])
    problem = OSError("read-only")
    monkeypatch.setattr(cpu.compiled_worlds()._cache, "_problem", problem)
    capsys.readouterr()
    assert main(["warmup"]) == 2
    assert "kernels.run_worlds cannot be kept" in (error := capsys.readouterr().err)
    assert "SELFDRIVE_CACHE" in error


def test_warmup_says_why_there_is_no_device(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def choose(device: str) -> str:
        raise RuntimeError("torch finds no CUDA device")

    monkeypatch.setattr(devices, "choose_device", choose)
    assert main(["warmup", "--device", "cuda:1"]) == 2
    assert "device='cuda:1': torch finds no CUDA device" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["warmup", "--device", "tpu"])


def test_training_without_a_device_is_a_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    monkeypatch.setattr(devices, "SIMULATED", False)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.version.cuda", "13.0")
    folder = tmp_path / "run"
    assert main(["train", "--preset", "gpu", "--out-dir", str(folder)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("selfdrive: device='cuda': torch finds no CUDA device: check that")
    assert said.count("\n") == 1
    assert not folder.exists()


@pytest.mark.parametrize(
    "words",
    [
        ["map", "info", "harbor"],
        ["map", "info", "missing.xodr", "--json"],
        ["map", "plot", "harbour", "-o", "/nonexistent/a.png"],
        ["map", "plot", "harbour", "-o", "a.png", "--size", "0"],
        ["map", "export", "harbor", "-o", "a.xodr"],
        ["map", "export", "harbour", "-o", "a.png"],
        ["map", "export", "harbour", "-o", "/nonexistent/a.xodr"],
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
