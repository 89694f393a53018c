"""The examples run from start to end, shortened."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("stable_baselines3")
pytest.importorskip("matplotlib")
pytest.importorskip("PIL")

ROOT = Path(__file__).parents[1]


def run(example: str, *arguments: str) -> str:
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    result = subprocess.run(
        [sys.executable, str(ROOT / "examples" / example), *arguments],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=540,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    return result.stdout


@pytest.mark.slow
def test_the_sb3_example_leaves_model_logs_table_curve_and_film(tmp_path: Path) -> None:
    printed = run("ppo_sb3.py", "--quick", "--steps", "32768", "--out", str(tmp_path))
    rows = (tmp_path / "table.md").read_text().splitlines()
    assert [row.split("|")[0].strip() for row in rows[2:]] == ["trained", "idm", "random", "brake"]
    assert all(row in printed for row in rows)
    assert (tmp_path / "model.zip").stat().st_size > 10_000
    assert len((tmp_path / "progress.csv").read_text().splitlines()) >= 2
    assert list(tmp_path.glob("events.out.tfevents.*"))
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert [path.stat().st_size > 1000 for path in tmp_path.glob("drive.*")] == [True]


@pytest.mark.slow
def test_the_cleanrl_example_prints_its_speed_and_returns(tmp_path: Path) -> None:
    printed = run("ppo_cleanrl.py", "--steps", "16384", "--num-envs", "64", "--out", str(tmp_path))
    assert "SPS" in printed
    assert "return" in printed
    assert (tmp_path / "agent.pt").exists()
