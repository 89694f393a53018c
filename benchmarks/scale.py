"""Shows how the cost of an agent-step grows with agents, worlds, maps and threads.

    python benchmarks/scale.py [--map FILE] [--small FILE] [--large FILE] [--json OUT]

Each row compares two settings in one process, step by step in turn, so that both meet the same
noise. The ratio is that of the best runs; that of the medians stands beside it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from typing import Any

import numpy as np

from selfdrive_env.bench import processor
from selfdrive_env.env import DrivingVectorEnv, make_self_play

WORK = 40_000
"""Agent-steps of one run."""


class Case:
    """One environment that is stepped with random actions."""

    def __init__(self, *, worlds: int, agents: int, place: str, threads: int = 1) -> None:
        rows = worlds * agents
        before = resident()
        self.env: DrivingVectorEnv = make_self_play(
            rows, map=place, agents_per_world=agents, num_threads=threads, layout="full", copy=False
        )
        self.rows = rows
        self.steps = max(WORK // rows, 3)
        self.actions = np.random.default_rng(0).integers(0, 12, (64, rows))
        self.turn = 0
        self.env.reset(seed=0)
        for _ in range(12):
            self.step()
        self.memory = resident() - before
        self.runs: list[float] = []

    def step(self) -> None:
        self.env.step(self.actions[self.turn % 64])
        self.turn += 1

    def run(self) -> None:
        """Times one run, in nanoseconds for an agent-step."""
        start = time.perf_counter()
        for _ in range(self.steps):
            self.step()
        self.runs.append((time.perf_counter() - start) / (self.steps * self.rows) * 1e9)


def resident() -> int:
    """Returns the memory that this process has [bytes], 0 where the system does not tell."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * 4096
    except OSError:
        return 0


def compare(name: str, first: dict[str, Any], second: dict[str, Any], repeats: int) -> Any:
    """Runs two cases in turn and returns their figures."""
    cases = (Case(**first), Case(**second))
    for _ in range(repeats):
        for case in cases:
            case.run()
    best = [min(case.runs) for case in cases]
    median = [statistics.median(case.runs) for case in cases]
    row_bytes = (
        cases[1].env.engine.observations.itemsize * cases[1].env.engine.observations.shape[1]
    )
    figures = {
        "name": name,
        "best_ns": best,
        "median_ns": median,
        "ratio_best": best[1] / best[0],
        "ratio_median": median[1] / median[0],
        "bytes_beside_row": cases[1].memory / cases[1].rows - row_bytes,
    }
    for case in cases:
        case.env.close()
    return figures


def main() -> None:
    """Parses the options, runs the pairs, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--map", default="riverside", help="built-in town or file")
    parser.add_argument("--small", default="riverside", help="a small map")
    parser.add_argument("--large", default="harbour", help="a larger map")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--json", help="also write every figure to this file")
    options = parser.parse_args()

    usual = {"worlds": 32, "agents": 32, "place": options.map}
    pairs = (
        ("32 x 32 agents -> 7 x 150", usual, {**usual, "worlds": 7, "agents": 150}),
        ("4,096 -> 65,536 agents", {**usual, "worlds": 128}, {**usual, "worlds": 2048}),
        (
            "small -> large map",
            {**usual, "place": options.small},
            {**usual, "place": options.large},
        ),
        ("2 threads -> 1 thread", {**usual, "threads": 2}, usual),
    )
    places = f"{options.map}; small {options.small}, large {options.large}"
    print(f"{processor()}; {places}; layout full, copy=False")
    print(
        "| from -> to | ns an agent-step, best | ratio | of medians | kB an agent beside its row |"
    )
    print("|---|---|---|---|---|")
    found = []
    for name, first, second in pairs:
        figures = compare(name, first, second, options.repeats)
        found.append(figures)
        best = figures["best_ns"]
        print(
            f"| {name} | {best[0]:,.0f} -> {best[1]:,.0f} | {figures['ratio_best']:.2f} "
            f"| {figures['ratio_median']:.2f} | {figures['bytes_beside_row'] / 1000:.1f} |",
            flush=True,
        )
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(found, file)


if __name__ == "__main__":
    main()
