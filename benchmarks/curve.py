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


def draw(rows: list[dict[str, Any]], towns: list[str], path: Path) -> None:
    """Draws kilometres between incidents and goals over transitions."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9.0, 3.4), layout="constrained")
    for number, town in enumerate(towns):
        colour = f"C{number}"
        x = [row["steps"] / 1e6 for row in rows]
        spans = [row[town]["km_between"] for row in rows]
        means = [span[0] if span[0] else float("nan") for span in spans]
        left.plot(x, means, "o-", color=colour, label=town, markersize=3)
        lows = [span[1] for span in spans]
        highs = [span[2] if span[2] else float("nan") for span in spans]
        left.fill_between(x, lows, highs, color=colour, alpha=0.2, linewidth=0)
        goals = [row[town]["goals_per_hour"] for row in rows]
        right.plot(x, goals, "o-", color=colour, label=town, markersize=3)
    left.set(xlabel="transitions [million]", ylabel="km between incidents", yscale="log")
    right.set(xlabel="transitions [million]", ylabel="goals per agent-hour", ylim=(0, None))
    for axes in (left, right):
        axes.grid(alpha=0.3)
    left.legend()
    figure.savefig(path, dpi=120)


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
    draw(rows, towns, options.out)
    print(f"wrote {options.out} and {file}")


if __name__ == "__main__":
    main()
