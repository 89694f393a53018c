"""Times pictures on one core: frames a second through `step`, and what each stage of a frame takes.

    python benchmarks/pixels.py [--map FILE] [--worlds 32] [--agents 32] [--rounds 40]

All rows observe; random actions, episode ends included. The cases are stepped in turn, one step
each, and the best of some rounds counts beside the median: on a machine that others use, too, most
steps are interrupted. "state" is the same environment without pictures, with layout "full"; where
there are pictures nobody reads rows of numbers, and none are written.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import numpy as np

from selfdrive_env.commands.bench import compute_rate, processor, store_bandwidth
from selfdrive_env.compiler.workers import counter_rate
from selfdrive_env.envs.make import make_self_play
from selfdrive_env.state.camera.shots import CAMERA_STAGES
from selfdrive_env.state.images import PICTURE_STAGES

CASES: dict[str, Any] = {
    "state": "state",
    "bev, 84 x 84 x 3": {"kind": "bev"},
    "bev, grey, 4 frames": {
        "kind": "bev", "colour": "gray", "history": 4, "channels_first": True,
    },
    "bev, 16 classes": {"kind": "bev", "colour": "classes", "channels_first": True},
    "bev, floats": {"kind": "bev", "dtype": "float32"},
    "camera, 160 x 90 x 3": {"kind": "camera"},
    "camera, fog and noise": {"kind": "camera", "fog": 0.02, "noise": 4.0},
    "camera, labels": {"kind": "camera", "labels": True},
}  # fmt: skip


def counts_of(view: Any) -> Any:
    """Returns the cycles of the stages of a view, [workers, stages]."""
    shots = view.parts.get("shots")
    return view.frames.cycles if shots is None else shots.cycles


def main() -> None:
    """Parses the options, steps the cases in turn, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--map", default="riverside", help="built-in town or file (%(default)s)")
    parser.add_argument("--worlds", type=int, default=32, help="(%(default)s)")
    parser.add_argument("--agents", type=int, default=32, help="of each world (%(default)s)")
    parser.add_argument("--rounds", type=int, default=40, help="(%(default)s)")
    parser.add_argument("--cases", default=",".join(map(str, range(len(CASES)))), help="numbers")
    parsed = parser.parse_args()
    names = [list(CASES)[int(number)] for number in parsed.cases.split(",")]
    rows = parsed.worlds * parsed.agents
    actions = np.random.default_rng(0).integers(0, 12, (64, rows))
    envs = {
        name: make_self_play(
            rows, map=parsed.map, agents_per_world=parsed.agents, num_threads=1, copy=False,
            observation=CASES[name], layout="full" if name == "state" else "lean",
        )
        for name in names
    }  # fmt: skip
    for env in envs.values():
        env.reset(seed=0)
        for step in range(10):
            env.step(actions[step])
    times: dict[str, list[float]] = {name: [] for name in envs}
    stages: dict[str, Any] = {}
    for number in range(parsed.rounds):
        for name, env in envs.items():
            views = env.engine.views.all
            for view in views:
                counts_of(view)[:] = 0
            start = time.perf_counter()
            env.step(actions[number % 64])
            times[name].append(time.perf_counter() - start)
            if views:
                spent = sum(counts_of(view).sum(0) for view in views)
                stages[name] = np.minimum(stages.get(name, np.inf), spent)

    print(
        f"{processor()}; {parsed.map}, {parsed.worlds} x {parsed.agents} agents, one thread; store "
        f"bandwidth {store_bandwidth():.1f} GB/s, {compute_rate():,.0f} M square roots/s\n"
    )
    print(f"stages of the view from above: {', '.join(PICTURE_STAGES)}")
    print(f"stages of cameras: {', '.join(CAMERA_STAGES)}\n")
    numbers = [f"stage {number + 1}" for number in range(len(PICTURE_STAGES))]
    head = ["case", "best", "median", "frames/s, best", *numbers, "bytes"]
    print(" | ".join(head))
    print(" | ".join("---" for _ in head))
    rate = counter_rate()
    for name, spent in times.items():
        best, middle = min(spent) / rows, statistics.median(spent) / rows
        parts = stages.get(name, np.zeros(len(PICTURE_STAGES))) / rate / rows
        cells = [name, f"{best * 1e6:.1f}", f"{middle * 1e6:.1f}", f"{1.0 / best:,.0f}"]
        size = envs[name].single_observation_space
        cells += [f"{part * 1e6:.2f}" for part in parts]
        cells.append(f"{int(np.prod(size.shape)) * size.dtype.itemsize:,}")
        print(" | ".join(cells))
    print("\n[us] a row, stages at their best")


if __name__ == "__main__":
    main()
