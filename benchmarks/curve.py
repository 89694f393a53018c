"""How driving grows with experience: evaluates the checkpoints of runs, one after the other.

    python benchmarks/curve.py RUN [RUN...] [--seen riverside] [--unseen harbour] -o curve.png

Each checkpoint drives the same seeds on a town of the training and on one that was not in it (or a
map file), preset `eval`, nothing ends an episode; see docs/evaluation.md for what is counted. A run
that started from another (`start_from`) is given after it, and its transitions are added. Runs need
`keep_checkpoints` large enough. Writes a picture and, beside it, a JSON file with all figures;
checkpoints that the JSON file has already are not driven again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from selfdrive_env.evaluation.policies import load
from selfdrive_env.evaluation.results.curve import draw
from selfdrive_env.evaluation.run import evaluate
from selfdrive_env.training.checkpoint import read_file

SEEDS, DT = (100, 101, 102, 103), 0.3


def checkpoints(runs: list[Path]) -> Iterator[tuple[Path, int]]:
    """Yields the checkpoints of runs with the transitions up to them, those of runs before too."""
    before = 0
    for run in runs:
        folders = sorted(p for p in (run / "checkpoints").iterdir() if p.name.isdigit())
        if not folders:
            raise ValueError(f"{run} has no checkpoints")
        steps = before
        for folder in folders:
            steps = before + int(json.loads(read_file(folder, "state.json"))["steps"])
            yield folder, steps
        before = steps


def measure(folder: Path, town: str, minutes: float) -> dict[str, Any]:
    """Returns how the policy of a checkpoint drives a town."""
    policy = load(str(folder))
    settings = {"dt": DT, "bodies": "typed"}
    found = evaluate(policy, map=town, minutes=minutes, seeds=SEEDS, settings=settings)
    km = found.km_between()
    return {
        "goals_per_hour": found.goal_rate or 0.0,
        "km": float(found.km.sum()),
        "km_between": [km.mean, km.low, km.high],
        "incidents": found.by_cause,
        "driving_score": found.driving_score,
    }


def drawn(rows: list[dict[str, Any]], towns: list[str]) -> list[dict[str, Any]]:
    """Returns figures as `evaluation.results.curve.draw` takes them."""
    found = []
    for row, town in ((row, town) for row in rows for town in towns):
        mean, low, high = ("" if value is None else value for value in row[town]["km_between"])
        found.append({
            "transitions": row["steps"], "map": town, "km_between": mean, "km_between_low": low,
            "km_between_high": high, "goals_per_hour": row[town]["goals_per_hour"],
        })  # fmt: skip
    return found


def main() -> None:
    """Drives what is missing, prints a table, draws."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--seen", default="riverside")
    parser.add_argument("--unseen", default="harbour")
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("-o", "--out", type=Path, default=Path("curve.png"))
    options = parser.parse_args()

    towns = [options.seen, options.unseen]
    file = options.out.with_suffix(".json")
    known = {row["steps"]: row for row in json.loads(file.read_text())} if file.exists() else {}
    rows = []
    print("| million transitions | town | goals/h | km between incidents (95 %) | red/km | score |")
    print("|---|---|---|---|---|---|")
    for folder, steps in checkpoints(options.runs):
        row = known.get(steps) or {"steps": steps}
        for town in towns:
            row[town] = row.get(town) or measure(folder, town, options.minutes)
            one = row[town]
            mean, low, high = (f"{v:.2f}" if v else "open" for v in one["km_between"])
            score = one["driving_score"]
            print(
                f"| {steps / 1e6:.1f} | {Path(town).stem} | {one['goals_per_hour']:.0f} "
                f"| {mean} ({low} to {high}) | {one['incidents']['red_light'] / one['km']:.2f} "
                f"| {'-' if score is None else round(score)} |",
                flush=True,
            )
        rows.append(row)
        file.write_text(json.dumps(rows, indent=1))
    draw(drawn(rows, towns), options.out)
    print(f"wrote {options.out} and {file}")


if __name__ == "__main__":
    main()
