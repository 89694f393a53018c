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


DRIVERS = ["trained", "idm", "constant:10", "random", "brake"]


def read_table(path: Path) -> dict[str, dict[str, float]]:
    lines = path.read_text().splitlines()
    head, _, *rows = ([cell.strip() for cell in line.split("|")] for line in lines)
    return {name: dict(zip(head[1:], map(float, cells), strict=True)) for name, *cells in rows}


@pytest.mark.full
def test_the_quick_sb3_example_soon_drives_better_than_chance_and_constants(tmp_path: Path) -> None:
    run("ppo_sb3.py", "--quick", "--steps", "500000", "--out", str(tmp_path))
    rates = read_table(tmp_path / "table.md")
    incidents = {name: row["collisions/km"] + row["off-road/km"] for name, row in rates.items()}
    for other in ("constant:10", "random", "brake"):
        assert rates["trained"]["goals/h"] > rates[other]["goals/h"]
        assert incidents["trained"] < 0.5 * incidents[other]
    assert len((tmp_path / "progress.csv").read_text().splitlines()) >= 30


@pytest.mark.slow
def test_the_quick_sb3_example_leaves_table_curve_and_film(tmp_path: Path) -> None:
    printed = run("ppo_sb3.py", "--quick", "--steps", "17000", "--out", str(tmp_path))
    rows = (tmp_path / "table.md").read_text().splitlines()
    assert list(read_table(tmp_path / "table.md")) == DRIVERS
    assert all(row in printed for row in rows)
    assert (tmp_path / "model.zip").stat().st_size > 10_000
    assert len((tmp_path / "progress.csv").read_text().splitlines()) >= 3
    assert list(tmp_path.glob("events.out.tfevents.*"))
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    films = list(tmp_path.glob("drive.*"))
    assert [path.stat().st_size > 1000 for path in films] == [True]

    for path in (tmp_path / "table.md", tmp_path / "curve.png", *films):
        path.unlink()
    run("ppo_sb3.py", "--quick", "--redraw", "--out", str(tmp_path))
    assert (tmp_path / "table.md").read_text().splitlines() == rows
    assert all(path.exists() for path in (tmp_path / "curve.png", *films))


@pytest.mark.slow
def test_the_example_on_scenes_measures_what_it_learnt(tmp_path: Path) -> None:
    run("ppo_scenes.py", "--scenes", "2", "--steps", "8192", "--out", str(tmp_path))
    figures = read_table(tmp_path / "table-replay.md")
    assert list(figures) == ["expert", "constant", "idm", "selfplay", "ppo"]
    assert figures["expert"]["ADE"] < 0.01 < figures["ppo"]["ADE"]
    assert figures["ppo"]["scenes"] == len(list((tmp_path / "unseen").glob("*.scene"))) == 1


@pytest.mark.slow
def test_the_cleanrl_example_prints_its_speed_and_returns(tmp_path: Path) -> None:
    printed = run("ppo_cleanrl.py", "--steps", "16384", "--num-envs", "64", "--out", str(tmp_path))
    assert "SPS" in printed
    assert "return" in printed
    assert (tmp_path / "agent.pt").exists()


@pytest.mark.slow
def test_the_pixels_example_leaves_a_model_a_table_and_what_cars_see(tmp_path: Path) -> None:
    arguments = ("--steps", "16000", "--seconds", "6", "--out", str(tmp_path))
    printed = run("ppo_pixels.py", *arguments)
    assert "trained on 16,384 steps" in printed
    rates = read_table(tmp_path / "table.md")
    assert list(rates) == ["trained", "likeliest", "constant:10", "random"]
    assert all(row["km"] > 0.0 for row in rates.values())
    assert (tmp_path / "model.zip").stat().st_size > 10_000
    assert (tmp_path / "seen.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_the_distillation_example_measures_its_students_beside_the_teacher(tmp_path: Path) -> None:
    run("distill_camera.py", "--quick", "--out", str(tmp_path))
    head, _, *rows = (tmp_path / "table.md").read_text().splitlines()
    names = [cell.strip() for cell in head.strip("|").split("|")]
    found = {}
    for row in rows:
        cells = dict(zip(names, (one.strip() for one in row.strip("|").split("|")), strict=True))
        found[cells["driver"]] = cells
    assert list(found) == ["student by cameras", "student by rows", "selfplay"]
    assert all(float(one["km"]) > 0.0 for one in found.values())
    assert int(found["selfplay"]["off-road"]) == 0
    progress = (tmp_path / "progress.csv").read_text().splitlines()
    assert {line.split(",")[0] for line in progress[1:]} == {"rows", "cameras"}
    for name in ("curve.png", "seen.png", "drive.gif", "by_cameras.safetensors"):
        assert (tmp_path / name).stat().st_size > 1000


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


# How CleanRL's scripts read a vector environment, in short.
OLD_SCRIPT = """
import sys

import gymnasium as gym
import numpy as np


def make():
    env = gym.make(sys.argv[1], map="riverside", horizon=1.5)
    env = gym.wrappers.RecordEpisodeStatistics(env)
    return gym.wrappers.TransformObservation(env, lambda row: np.clip(row, -0.5, 0.5))


envs = gym.vector.SyncVectorEnv([make, make])
envs.reset(seed=1)
for _ in range(20):
    following, _, terminations, truncations, infos = envs.step(envs.action_space.sample())
    last = following.copy()
    for row, over in enumerate(truncations):
        if over:
            last[row] = infos["final_observation"][row]
    assert (last != following).any() == truncations.any()
    if "final_info" in infos:
        for info in infos["final_info"]:
            if info is not None:
                print("length", int(info["episode"]["l"]), "return", float(info["episode"]["r"]))
"""


@pytest.mark.slow
def test_a_script_of_old_infos_runs_unmodified(tmp_path: Path) -> None:
    script = tmp_path / "old.py"
    script.write_text(OLD_SCRIPT)
    printed = run("run_cleanrl.py", str(script), "selfdrive_env:selfdrive_env/Drive-v0")
    lengths = [int(line.split()[1]) for line in printed.splitlines()]
    assert 4 <= len(lengths) <= 40 and max(lengths) == 5
