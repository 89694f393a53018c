"""Compares what the preset `cpu` and the Stable-Baselines3 example learn in equal time.

    python benchmarks/learners.py [--minutes 3 5 10] [--seeds 0 1 2] [--out DIR]

Each trains alone on the machine, on the same towns; then each drives a town that neither has seen
(`selfdrive_env.evaluation`, steps of 0.3 s as in training, the same seeds for all). A policy whose
file lies in DIR already is not trained again. IDM, random and constant drivers stand beside them.
"""

from __future__ import annotations

import argparse
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

from selfdrive_env.commands.bench import processor
from selfdrive_env.evaluation.policies import load
from selfdrive_env.evaluation.run import evaluate
from selfdrive_env.training.config import PRESETS

ROOT = Path(__file__).resolve().parents[1]
TOWN, SEEDS, MINUTES, DT = "harbour", (100, 101, 102, 103), 5.0, 0.3
BESIDE = ("idm", "random", "constant:7", "constant:10")

EXAMPLE = """
import argparse, runpy, sys, time
from pathlib import Path
example = runpy.run_path(sys.argv[1], run_name="example")
options = argparse.Namespace(
    minutes=float(sys.argv[2]), seed=int(sys.argv[3]), out=Path(sys.argv[4]), steps=10**9,
    start=None,
)
options.out.mkdir(parents=True, exist_ok=True)
model = example["train"](options)
print("transitions", model.num_timesteps)
"""
"""Trains as the example does, and leaves out its own evaluation and film."""


def train_ours(folder: Path, minutes: float, seed: int) -> None:
    """Trains the preset for so many minutes."""
    words = (f"out_dir={folder}", f"minutes={minutes}", f"seed={seed}", "checkpoint_minutes=100")
    sets = [word for setting in words for word in ("--set", setting)]
    run([sys.executable, "-m", "selfdrive_env", "train", "--preset", "cpu", *sets], folder)


def train_example(folder: Path, minutes: float, seed: int) -> None:
    """Trains the example for so many minutes."""
    example = ROOT / "examples" / "ppo_sb3.py"
    words = [str(example), str(minutes), str(seed), str(folder)]
    run([sys.executable, "-c", EXAMPLE, *words], folder)


def run(command: list[str], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with open(folder / "log.txt", "w") as log:
        subprocess.run(command, check=True, stdout=log, stderr=log, cwd=ROOT, env=environment)


def measure(name: str, reward: Any) -> dict[str, Any]:
    """Returns how a policy drives the town, under the reward weights that it observed before."""
    settings = {"dt": DT, "bodies": "typed", "reward": reward}
    found = evaluate(load(name), map=TOWN, minutes=MINUTES, seeds=SEEDS, settings=settings)
    km = found.km_between()
    return {
        "policy": name,
        "km": float(found.km.sum()),
        "goals_per_hour": found.goal_rate,
        "incidents_per_km": 1.0 / km.mean if km.mean else 0.0,
        "route_completion": found.route_completion,
        "driving_score": found.driving_score,
        "metres_per_second": float(found.km.sum() / found.hours.sum() / 3.6),
        "incidents": found.by_cause,
    }


def show(name: str, minutes: str, seed: str, row: dict[str, Any]) -> None:
    print(
        f"| {name} | {minutes} | {seed} | {row['goals_per_hour'] or 0.0:.0f} "
        f"| {row['incidents_per_km']:.2f} | {row['incidents']['red_light'] / row['km']:.2f} "
        f"| {row['metres_per_second']:.1f} | {row['driving_score'] or 0.0:.0f} |",
        flush=True,
    )


def main() -> None:
    """Trains what is missing, drives with all, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, nargs="+", default=[3.0, 5.0, 10.0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("runs/learners"))
    options = parser.parse_args()

    example = runpy.run_path(str(ROOT / "examples" / "ppo_sb3.py"), run_name="example")
    learners = (
        ("preset cpu", "ours", train_ours, "policy.safetensors", PRESETS["cpu"]["env"]["reward"]),
        ("SB3 example", "sb3", train_example, "model.zip", example["SETTINGS"]["reward"]),
    )
    for minutes in options.minutes:
        for seed in options.seeds:
            for _, short, train, file, _ in learners:
                folder = options.out.absolute() / f"{short}-{minutes:g}-{seed}"
                if not (folder / file).exists():
                    train(folder, minutes, seed)
    print(f"{processor()}; {TOWN}, {len(SEEDS)} worlds of 50 agents, {MINUTES:g} min each, {DT} s")
    print("| driver | minutes | seed | goals/h | incidents/km | red lights/km | m/s | score |")
    print("|---|---|---|---|---|---|---|---|")
    found = []
    for name in BESIDE:
        row = measure(name, {})
        show(name, "", "", row)
        found.append(row)
    for minutes in options.minutes:
        for name, short, _, file, reward in learners:
            for seed in options.seeds:
                place = options.out.absolute() / f"{short}-{minutes:g}-{seed}"
                row = {**measure(str(place / file), reward), "learner": name, "minutes": minutes}
                show(name, f"{minutes:g}", str(seed), row)
                found.append({**row, "seed": seed})
    (options.out / "learners.json").write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
