"""Agent-steps per second, end to end through `step`, beside the store bandwidth of the machine."""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from typing import Any

import numpy as np

from selfdrive_env.config.installation import installed_version

__all__ = ["benchmark", "run", "store_bandwidth"]

PACKAGES = ("selfdrive_env", "gymnasium", "numba", "numpy")
"""Whose versions belong to a figure."""

STORE_BYTES = 256 * 2**20


def store_bandwidth(repeats: int = 5) -> float:
    """Returns how fast one thread fills a buffer of 256 MB, the best of some tries [GB/s]."""
    buffer = np.ones(STORE_BYTES // 4, np.float32)
    best = 0.0
    for turn in range(repeats):
        start = time.perf_counter()
        buffer.fill(turn)
        best = max(best, STORE_BYTES / (time.perf_counter() - start) / 1e9)
    return best


def compute_rate(repeats: int = 5) -> float:
    """Returns how many square roots one thread takes in the first-level cache, best [M/s].

    Nothing is read or written beyond the cache, so it tells how fast the processor runs just now.
    """
    numbers = np.linspace(1.0, 2.0, 4096, dtype=np.float32)
    out = np.empty_like(numbers)
    best = 0.0
    for _ in range(repeats):
        start = time.perf_counter()
        for _ in range(1000):
            np.sqrt(numbers, out=out)
        best = max(best, 1000 * len(numbers) / (time.perf_counter() - start) / 1e6)
    return best


def processor() -> str:
    """Returns the name of the processor as the system gives it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def benchmark(
    *,
    map: str = "riverside",
    worlds: int = 32,
    agents: int = 32,
    threads: int = 1,
    layout: str = "full",
    steps: int = 100,
    repeats: int = 9,
) -> dict[str, Any]:
    """Steps self-play worlds with random actions, episode ends and re-placing included.

    Args:
        map: Built-in town or file.
        worlds: Number of worlds.
        agents: Agents of each world.
        threads: CPU threads.
        layout: Observation layout.
        steps: Steps of one run.
        repeats: Runs; the median counts.

    Returns:
        The figures by name; `agent_steps_per_s` is the median of `runs`.
    """
    from selfdrive_env.envs.make import make_self_play

    rows = worlds * agents
    env = make_self_play(
        rows, map=map, agents_per_world=agents, num_threads=threads, layout=layout, copy=False
    )
    random = np.random.default_rng(0)
    actions = random.integers(0, len(env.engine.draws.action), (64, rows))
    start = time.perf_counter()
    env.reset(seed=0)
    env.step(actions[0])
    compile_s = time.perf_counter() - start
    for step in range(50):  # past the first, synchronous steps of all agents
        env.step(actions[step % 64])
    runs, stages = _timed(env, actions, steps, repeats, threads)
    floats = env.single_observation_space.shape[0]  # type: ignore[index]
    env.close()
    return {
        **_speed(runs, 4 * floats),
        "runs": runs,
        "worlds": worlds,
        "agents_per_world": agents,
        "threads": threads,
        "layout": layout,
        "obs_floats": floats,
        "row_bytes": 4 * floats,
        "compute_m_per_s": compute_rate(),
        "stages_ns": stages,
        "compile_s": compile_s,
        "processor": processor(),
        "map": map,
        "versions": {
            "python": platform.python_version(),
            **{name: installed_version(name) for name in PACKAGES},
        },
    }


def _speed(runs: list[float], row_bytes: int) -> dict[str, float]:
    """Returns the speed of runs, and its share of how fast memory could take their rows."""
    median, store = statistics.median(runs), store_bandwidth()
    return {
        "agent_steps_per_s": median,
        "best_agent_steps_per_s": max(runs),
        "store_gb_per_s": store,
        "share_of_store_bandwidth": median * row_bytes / (store * 1e9),
        "best_share_of_store_bandwidth": max(runs) * row_bytes / (store * 1e9),
    }


def _timed(
    env: Any, actions: Any, steps: int, repeats: int, threads: int
) -> tuple[list[float], dict[str, float]]:
    """Returns agent-steps per second of each run, and the time of each stage [ns]."""
    rows, runs = env.num_envs, []
    cycles = env.engine.scratch.cycles
    cycles[:] = 0
    begin = time.perf_counter()
    for _ in range(repeats):
        start = time.perf_counter()
        for step in range(steps):
            env.step(actions[step % len(actions)])
        runs.append(rows * steps / (time.perf_counter() - start))
    spent = time.perf_counter() - begin
    return runs, _stage_times(cycles.sum(0), spent * threads, rows * steps * repeats)


def _stage_times(cycles: Any, seconds: float, agent_steps: int) -> dict[str, float]:
    """Returns the time of each stage for one agent-step [ns].

    Stages are timed by the processor's own counter, whose rate is taken from the whole run: what
    kernels do not account for, the Python side of a step, comes last.
    """
    from selfdrive_env.compiler.workers import counter_rate
    from selfdrive_env.kernels.step import STAGES

    rate = counter_rate()
    found = {
        name: float(count) / rate / agent_steps * 1e9
        for name, count in zip(STAGES, cycles, strict=True)
    }
    found["outside kernels"] = max(seconds / agent_steps * 1e9 - sum(found.values()), 0.0)
    return found


def run(arguments: argparse.Namespace) -> int:
    """Runs the benchmark and prints its figures."""
    figures = benchmark(
        map=arguments.map,
        worlds=arguments.worlds,
        agents=arguments.agents,
        threads=arguments.threads,
        layout=arguments.layout,
        steps=arguments.steps,
        repeats=arguments.repeats,
    )
    if arguments.json:
        print(json.dumps(figures))
        return 0
    print(
        f"{figures['agent_steps_per_s']:,.0f} agent-steps/s (median of {arguments.repeats}; "
        f"best {figures['best_agent_steps_per_s']:,.0f})\n"
        f"{figures['worlds']} worlds x {figures['agents_per_world']} agents on {figures['map']}, "
        f"{figures['threads']} thread(s), layout {figures['layout']}: "
        f"{figures['row_bytes']:,} bytes a row\n"
        f"store bandwidth {figures['store_gb_per_s']:.1f} GB/s, of which rows take "
        f"{100 * figures['share_of_store_bandwidth']:.1f} % "
        f"(best {100 * figures['best_share_of_store_bandwidth']:.1f} %); "
        f"{figures['compute_m_per_s']:,.0f} M square roots/s\n"
        f"first reset and step {figures['compile_s']:.1f} s (compiling, or reading the cache); "
        f"{figures['processor']}"
    )
    if arguments.stages:
        print("\nstage              ns per agent-step")
        for name, spent in figures["stages_ns"].items():
            print(f"{name:18} {spent:8.1f}")
    return 0
