"""Times the learner, simulation included, under settings that differ from a preset.

    python benchmarks/learning.py                                    # preset cpu
    python benchmarks/learning.py --preset gpu --json learning.json  # on a CUDA device

Each case is a run in a process of its own, with another seed in each round; the first updates,
which compile and fill caches, are left out. Cases take turns, so that other work on the machine
meets all of them; figures are medians over rounds, ratios are to the first case.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from selfdrive_env.commands.bench import processor
from selfdrive_env.training.config import PRESETS, load_config

WARM = 2
"""Updates of a run that are not counted."""

PARTS = ("simulate", "infer", "learn")

CASES: dict[str, dict[str, tuple[str, ...]]] = {
    "cpu": {
        "the preset": (),
        "an encoder each": ("shared_sets=false",),
        "sets 64, 64": ("set_widths=[64,64]",),
        "trunk 64, 64": ("trunk_widths=[64,64]",),
        "trunk 256, 256": ("trunk_widths=[256,256]",),
        "paper's network": (
            "set_widths=[64,128]",
            "scalar_width=128",
            "trunk_widths=[1024,1024,1024]",
            "shared_sets=false",
        ),
        "layout full": ('env.layout="full"',),
        "16 worlds, minibatch 4,096": ("num_worlds=16", "minibatch=4096"),
        "8 agents a world": ("num_worlds=32", "env.agents_per_world=8"),
        "one epoch": ("epochs=1",),
        "rows in half precision": ('env.obs_dtype="float16"',),
    },
    "gpu": {
        "the preset": (),
        "float32": ("precision=float32",),
        "torch.compile": ("compile=true",),
        "shared encoder": ("shared_sets=true",),
        "trunk 512, 512": ("trunk_widths=[512,512]", "shared_sets=true"),
        "trunk 256, 256": ("trunk_widths=[256,256]", "shared_sets=true", "set_widths=[32,64]"),
        "filter off": ("filter=0.0",),
        "layout lean": ('env.layout="lean"',),
        "one epoch": ("epochs=1",),
        "1,024 worlds": ("num_worlds=1024",),
    },
}
"""Preset -> name of a case -> what it changes."""

CHILD = """
import json, sys
from selfdrive_env.training.config import load_config
from selfdrive_env.training.ppo import Trainer
from selfdrive_env.engine.devices import choose_device
from selfdrive_env.training.distributed import Ranks
import torch
config = load_config(sys.argv[1], None, json.loads(sys.argv[2]))
if config.torch_threads is not None:
    torch.set_num_threads(config.torch_threads)
trainer = Trainer(config, Ranks(choose_device(config.device)))
trainer.start(False)
names = ("steps_per_second", "simulate", "infer", "learn", "kept")
rows = [trainer.update() for _ in range(int(sys.argv[3]))]
parameters = sum(value.numel() for value in trainer.parameters)
peak = torch.cuda.max_memory_allocated() if trainer.device.type == "cuda" else 0
print("FIGURES", json.dumps({
    "rows": [{name: row[name] for name in names} for row in rows],
    "parameters": parameters, "peak_bytes": peak,
}))
"""


def measure(preset: str, words: list[str], updates: int) -> dict[str, Any]:
    """Returns medians over the updates of one run."""
    with tempfile.TemporaryDirectory() as folder:
        changes = [*words, f"out_dir={folder}/run", "minutes=60"]
        load_config(preset, None, changes)  # a mistake is told here, in words
        done = subprocess.run(
            [sys.executable, "-c", CHILD, preset, json.dumps(changes), str(WARM + updates)],
            capture_output=True,
            text=True,
            check=False,
        )
    lines = [line for line in done.stdout.splitlines() if line.startswith("FIGURES ")]
    if done.returncode or not lines:
        raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr else "no figures")
    found = json.loads(lines[-1].removeprefix("FIGURES "))
    rows = found.pop("rows")[WARM:]
    return {**found, **{name: statistics.median(row[name] for row in rows) for name in rows[0]}}


def device_name(preset: str) -> str:
    """Returns what the preset runs on."""
    if load_config(preset).device == "cpu":
        return processor()
    import torch

    return torch.cuda.get_device_name()


def row_of(name: str, runs: list[dict[str, Any]], firsts: list[dict[str, Any]]) -> str:
    """Returns a case's row of the table, from its runs and those of the first case."""
    median = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
    rate = "steps_per_second"
    ratios = [own[rate] / other[rate] for own, other in zip(runs, firsts, strict=False)]
    spent = sum(median[part] for part in PARTS)
    cells = [
        name,
        f"{median['parameters']:,.0f}",
        f"{median[rate]:,.0f}",
        f"{statistics.median(ratios):.2f}" if ratios else "-",
        *(f"{100 * median[part] / spent:.0f} %" for part in PARTS),
        f"{100 * median['kept']:.0f} %",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> int:
    """Runs the cases in turn and prints a table; 1 if one of them failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", choices=tuple(PRESETS), default="cpu")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--updates", type=int, default=4, help="counted, of each run")
    parser.add_argument("--only", nargs="+", metavar="CASE", help="beside the first one")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="for all")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()

    cases = CASES[options.preset]
    first = next(iter(cases))
    if options.only:
        missing = sorted(set(options.only) - set(cases))
        if missing:
            parser.error(f"--only must be of {', '.join(cases)}, got {missing[0]!r}")
        cases = {name: cases[name] for name in cases if name in (first, *options.only)}
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in cases}
    failed: dict[str, str] = {}
    for turn in range(options.rounds):
        for name, changes in cases.items():
            if name in failed:
                continue
            try:
                words = [*options.set, *changes, f"seed={turn}"]
                found[name].append(measure(options.preset, words, options.updates))
            except RuntimeError as error:
                failed[name] = str(error)
                print(f"{name}: {error}", file=sys.stderr, flush=True)

    print(f"{device_name(options.preset)}, preset {options.preset}, {options.rounds} rounds")
    print("| case | parameters | transitions/s | to the first | simulate | infer | learn | kept |")
    print("|---|---|---|---|---|---|---|---|")
    for name in cases:
        if name in failed:
            print(f"| {name} | | failed: {failed[name]} | | | | | |")
        else:
            print(row_of(name, found[name], found[first] if first not in failed else []))
    if options.json is not None:
        table = {"preset": options.preset, "cases": found, "failed": failed}
        options.json.write_text(json.dumps(table, indent=1))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
