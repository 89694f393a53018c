"""Shows how the cost of an agent-step grows with agents, worlds, maps and threads.

    python benchmarks/scale.py [--map FILE] [--small FILE] [--large FILE] [--json OUT]

Each row compares two settings, run by run in turn, so that both meet the same noise. The ratio is
that of the best runs; that of the medians stands beside it. What two threads can reach on a machine
is what two processes of one thread reach together, each on a core of its own: the last row.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from selfdrive_env.commands.bench import processor
from selfdrive_env.envs import DrivingVectorEnv, make_self_play

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

    def close(self) -> None:
        self.env.close()


class Processes:
    """Cases of one thread in processes of their own, each on one core; they run together."""

    def __init__(self, cores: list[int], **case: Any) -> None:
        self.runs: list[float] = []
        self._ends = []
        context = multiprocessing.get_context("spawn")
        for core in cores:
            own, other = context.Pipe()
            context.Process(target=serve, args=(other, core, case), daemon=True).start()
            self._ends.append(own)
        for end in self._ends:
            end.recv()

    def run(self) -> None:
        """Times one run of all, in nanoseconds for an agent-step."""
        self.runs.append(statistics.mean(self.together(self._ends)) / len(self._ends))

    def alone(self) -> float:
        """Returns the mean time of an agent-step of runs that nobody else runs beside [ns]."""
        return statistics.mean(self.together([end])[0] for end in self._ends)

    def together(self, ends: list[Any]) -> list[float]:
        for end in ends:
            end.send(True)
        return [end.recv() for end in ends]

    def close(self) -> None:
        for end in self._ends:
            end.send(False)


def serve(end: Any, core: int, settings: dict[str, Any]) -> None:
    """Runs a case on one core as often as it is asked to."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
    case = Case(**settings)
    end.send(True)
    while end.recv():
        case.run()
        end.send(case.runs[-1])


class Alone:
    """The same processes one by one."""

    def __init__(self, processes: Processes) -> None:
        self.processes = processes
        self.runs: list[float] = []

    def run(self) -> None:
        self.runs.append(self.processes.alone())


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
    take_turns(cases, repeats)
    row = cases[1].env.engine.observations
    memory = cases[1].memory / cases[1].rows - row.itemsize * row.shape[1]
    for case in cases:
        case.close()
    return {**figures(name, *cases), "bytes_beside_row": memory}


def compare_threads(usual: dict[str, Any], repeats: int) -> list[Any]:
    """Runs one thread, two, and two processes in turn; returns two rows of figures."""
    one, two = Case(**usual), Case(**usual, threads=2)
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0, 1]
    both = Processes(cores[:2], **usual)
    alone = Alone(both)
    take_turns((one, two, both, alone), repeats)
    for case in (one, two, both):
        case.close()
    return [
        figures("2 threads -> 1 thread", two, one),
        figures("2 processes together -> 1 alone", both, alone),
    ]


def take_turns(cases: Sequence[Any], repeats: int) -> None:
    for _ in range(repeats):
        for case in cases:
            case.run()


def figures(name: str, first: Any, second: Any) -> dict[str, Any]:
    """Returns the times of two cases and their ratio."""
    best = [min(case.runs) for case in (first, second)]
    median = [statistics.median(case.runs) for case in (first, second)]
    return {
        "name": name,
        "best_ns": best,
        "median_ns": median,
        "ratio_best": best[1] / best[0],
        "ratio_median": median[1] / median[0],
    }


def show(row: dict[str, Any]) -> None:
    """Prints a row of the table."""
    best, memory = row["best_ns"], row.get("bytes_beside_row")
    print(
        f"| {row['name']} | {best[0]:,.0f} -> {best[1]:,.0f} | {row['ratio_best']:.2f} "
        f"| {row['ratio_median']:.2f} | {'' if memory is None else f'{memory / 1000:.1f}'} |",
        flush=True,
    )


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
    )
    places = f"{options.map}; small {options.small}, large {options.large}"
    print(f"{processor()}; {places}; layout full, copy=False")
    print(
        "| from -> to | ns an agent-step, best | ratio | of medians | kB an agent beside its row |"
    )
    print("|---|---|---|---|---|")
    found = []
    for name, first, second in pairs:
        found.append(compare(name, first, second, options.repeats))
        show(found[-1])
    for row in compare_threads(usual, options.repeats):
        found.append(row)
        show(row)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(found, file)


if __name__ == "__main__":
    main()
