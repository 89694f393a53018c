"""The examples run from start to end, shortened."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import PATIENCE

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
        timeout=PATIENCE,
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


@pytest.mark.slow
def test_the_torchrl_example_learns_something() -> None:
    pytest.importorskip("torchrl", reason='needs pip install "selfdrive_env[libraries]"')
    printed = run("ppo_torchrl.py", "--steps", "16384", "--num-worlds", "2", "--num-steps", "32")
    entropies = [float(line.split("entropy ")[1].split()[0]) for line in printed.splitlines()]
    assert len(entropies) == 8
    assert entropies[-1] < entropies[0] < 2.49  # ln 12 = 2.48 is that of an untrained policy


@pytest.mark.slow
def test_the_skrl_example_leaves_an_agent(tmp_path: Path) -> None:
    pytest.importorskip("skrl", reason='needs pip install "selfdrive_env[libraries]"')
    printed = run("ppo_skrl.py", "--steps", "16384", "--num-envs", "64", "--out", str(tmp_path))
    assert "16,384 steps" in printed and "SPS" in printed
    assert (tmp_path / "agent.pt").stat().st_size > 10_000


@pytest.mark.slow
def test_the_rllib_example_leaves_a_checkpoint(tmp_path: Path) -> None:
    pytest.importorskip(
        "ray", reason='needs pip install "ray[rllib]", in an environment of its own'
    )
    arguments = ("--steps", "4096", "--num-envs", "32", "--num-steps", "64")
    printed = run("ppo_rllib.py", *arguments, "--out", str(tmp_path))
    assert "return" in printed and "SPS" in printed
    assert (tmp_path / "rllib_checkpoint.json").exists()
