"""Times a transition of the learner, simulation included, in this tree and in another in turn.

    python benchmarks/learner.py --against ../other --kept 0.4 0.25
    python benchmarks/learner.py --threads 2 --set num_worlds=16 minibatch=4096

Preset "cpu" with one epoch, from the policy that comes with the package. Of each rollout the given
share is kept, those with the largest advantages, so that trees are compared at the same share. Each
run is a process of its own; the first updates, which compile and fill caches, are left out. Time is
that of the processor over all threads, in brackets of the clock: where cores are shared only the
first tells. A run's figures are medians over its updates, the table's over the runs; the ratio is
the median over the rounds. The best update of all runs is what other work disturbed least.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from selfdrive_env.commands.bench import processor

ROOT = Path(__file__).parents[1]
WARM = 3
"""Updates of a run that are not counted."""

PARTS = ("simulate", "infer", "learn")

CHILD = """
import json, sys, time
import torch
from selfdrive_env.training import ppo
from selfdrive_env.training.config import load_config
from selfdrive_env.training.distributed import Ranks
from selfdrive_env.training.progress import Stopwatch

kept, updates, words = float(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])
plain = ppo.filter_advantages

def largest(advantages, learn, *rest):
    keep, level = plain(advantages, learn, *rest)
    sizes = torch.where(learn, advantages.abs(), -1.0).flatten()
    number = max(round(kept * int(learn.sum())), 1)
    chosen = torch.zeros_like(sizes, dtype=torch.bool)
    chosen[sizes.topk(number).indices] = True
    return chosen.view_as(learn) & learn, level

ppo.filter_advantages = largest

class Watch(Stopwatch):
    def __call__(self, part):
        return Timed(self, part)

class Timed:
    def __init__(self, watch, part):
        self.watch, self.part = watch, part
    def __enter__(self):
        self.begun = time.process_time()
    def __exit__(self, *error):
        self.watch._add(self.part, time.process_time() - self.begun)

config = load_config("cpu", None, words)
torch.set_num_threads(config.torch_threads)
trainer = ppo.Trainer(config, Ranks("cpu"))
trainer.watch = Watch(trainer.device)
trainer.start(False)
rows = []
for _ in range(updates):
    clock, processor = time.perf_counter(), time.process_time()
    found = trainer.update()
    row = {name: found[name] for name in ("simulate", "infer", "learn")}
    row |= {"all": time.process_time() - processor, "clock": time.perf_counter() - clock}
    rows.append({name: 1e6 * value / config.batch for name, value in row.items()})
    rows[-1]["kept"] = found["kept"]
trainer.close()
print("FIGURES", json.dumps(rows))
"""


def measure(tree: Path, kept: float, options: argparse.Namespace, seed: int) -> dict[str, float]:
    """Returns medians and the best of the updates of one run of a tree [us a transition]."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["epochs=1", "start_from=selfplay", f"seed={seed}", f"out_dir={folder}/run"]
        words += [f"torch_threads={options.threads}", f"env.num_threads={options.threads}"]
        words += [*options.set, "minutes=60"]
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                CHILD,
                str(kept),
                str(WARM + options.updates),
                json.dumps(words),
            ],
            env={
                **os.environ,
                "PYTHONPATH": str(tree),
                "OMP_NUM_THREADS": str(options.threads),
                "OMP_WAIT_POLICY": "passive",
            },
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
    lines = [line for line in done.stdout.splitlines() if line.startswith("FIGURES ")]
    if done.returncode or not lines:
        raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr else "no figures")
    rows = json.loads(lines[-1].removeprefix("FIGURES "))[WARM:]
    medians = {name: statistics.median(row[name] for row in rows) for name in rows[0]}
    return {**medians, "best": min(row["all"] for row in rows)}


def row_of(name: str, runs: list[dict[str, float]], ratio: float | None) -> str:
    """Returns the row of a tree and a share."""
    median = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
    cells = [
        name,
        f"{100 * median['kept']:.0f} %",
        *(f"{median[part]:.2f}" for part in PARTS),
        f"{median['all']:.2f} ({median['clock']:.2f})",
        f"{1e6 / median['all']:,.0f}",
        f"{1e6 / min(run['best'] for run in runs):,.0f}",
        "" if ratio is None else f"{ratio:.2f}",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> int:
    """Runs the trees in turn and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--against", type=Path, metavar="TREE", help="another checkout")
    parser.add_argument("--kept", type=float, nargs="+", default=[1.0, 0.4, 0.25])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--updates", type=int, default=8, help="counted, of each run")
    parser.add_argument("--threads", type=int, default=1, help="of the learner and the simulator")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="for all")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    if not all(0.0 < kept <= 1.0 for kept in options.kept):
        parser.error(f"--kept must be above 0 and at most 1, got {options.kept}")

    trees = {"this tree": ROOT}
    if options.against is not None:
        trees = {"the other": options.against.resolve(), **trees}
    found: dict[str, dict[str, list[dict[str, float]]]] = {}
    for turn in range(options.rounds):
        for kept in options.kept:
            for name, tree in trees.items():
                runs = found.setdefault(str(kept), {}).setdefault(name, [])
                runs.append(measure(tree, kept, options, turn))

    print(f"{processor()}, {options.threads} threads, {options.rounds} rounds, us a transition")
    print("| tree | kept | simulate | infer | learn | all (clock) | a second | best | ratio |")
    print("|---|---|---|---|---|---|---|---|---|")
    for runs_of in found.values():
        for name, runs in runs_of.items():
            others = runs_of.get("the other", runs)
            ratios = [a["all"] / b["all"] for a, b in zip(others, runs, strict=True)]
            print(row_of(name, runs, None if runs is others else statistics.median(ratios)))
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
