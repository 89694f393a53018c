"""Compiles every kernel once, so that the first environment of a process starts from the cache."""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import numpy as np

__all__ = ["run", "warm_up"]


def warm_up(device: str = "cpu") -> dict[str, Any]:
    """Runs what compiles kernels: the map compiler, a reset, a step, a policy's networks.

    What is kept already is only read.

    Args:
        device: Whose kernels are compiled besides those of the processor: "cuda" or "cuda:1".

    Returns:
        `folder` of the kernels; names of the functions `compiled` now and of those `present`;
        `seconds` in all.

    Raises:
        ImportError: If a package for the device is missing.
        ValueError: If compiling is switched off, or there is no such device.
        OSError: If what was compiled cannot be kept.
    """
    start = time.perf_counter()
    launcher = None if device == "cpu" else _launcher(device)
    from selfdrive_env.engine.cpu import compiled_worlds

    worlds = compiled_worlds()
    entries = {"kernels.run_worlds": worlds}
    if launcher is not None:
        entries |= {f"engine.launch.{name}": one for name, one in launcher.kernels().items()}
    functions = _functions(entries)
    before = {name: f.stats.cache_misses.total() for name, f in functions.items()}

    _use()
    if launcher is not None:
        launcher.compile_all()

    unkept = [name for name, function in entries.items() if not function._cache.kept]
    if unkept:
        raise OSError(
            f"{' and '.join(unkept)} cannot be kept in {worlds.stats.cache_path}; set "
            "SELFDRIVE_CACHE to a writable folder"
        )
    compiled = [n for n, f in functions.items() if f.stats.cache_misses.total() > before[n]]
    return {
        "folder": worlds.stats.cache_path,
        "compiled": compiled,
        "present": [n for n, f in functions.items() if f.signatures and n not in compiled],
        "seconds": round(time.perf_counter() - start, 3),
    }


def _functions(entries: dict[str, Any]) -> dict[str, Any]:
    """Returns all that is compiled, by name."""
    from selfdrive_env.maps.compile import near, routes
    from selfdrive_env.policies import deep_sets as sets
    from selfdrive_env.training.gradients import kernels as learner

    functions = dict(entries)
    for module in (routes, near):
        for name, function in vars(module).items():
            functions[f"{module.__name__.split('.', 1)[1]}.{name}"] = function
    for module in (sets, learner):
        place = module.__name__.split(".", 1)[1]
        functions |= {f"{place}.{name}": one for name, one in module.kernels().items()}
    functions = {name: f for name, f in functions.items() if hasattr(f, "stats")}
    if not functions:
        raise ValueError("nothing to compile: NUMBA_DISABLE_JIT is set")
    return functions


def _use() -> None:
    """Calls each of them once on the processor."""
    from selfdrive_env.envs.make import make_self_play
    from selfdrive_env.maps import load
    from selfdrive_env.maps.compile.compiled_map import compile_map
    from selfdrive_env.policies import deep_sets as sets
    from selfdrive_env.training.gradients import kernels as learner

    compile_map(load("riverside"), lane_points=1, boundary_points=1, stop_lines=1)
    env = make_self_play(1, num_threads=1)
    env.reset(seed=0)
    env.step(np.zeros(1, np.int64))
    env.close()
    sets.compile_all()
    learner.compile_all()


def _launcher(device: str) -> Any:
    """Returns what has the kernels of a CUDA device."""
    from selfdrive_env.compiler.threads import SIMULATED
    from selfdrive_env.engine.devices import choose_device

    if SIMULATED:
        raise ValueError("nothing to compile: NUMBA_ENABLE_CUDASIM is set")
    try:
        chosen = choose_device(device)
    except RuntimeError as error:
        raise ValueError(f"device={device!r}: {error}") from None
    from selfdrive_env.engine.launch import Launcher

    return Launcher(int(chosen.partition(":")[2]))


def run(arguments: argparse.Namespace) -> int:
    """Fills the cache and prints what was compiled."""
    if not arguments.json:
        print("filling the kernel cache", flush=True)
    figures = warm_up(arguments.device)
    if arguments.json:
        print(json.dumps(figures))
        return 0
    for what in ("compiled", "present"):
        for name in figures[what]:
            print(f"{what:9} {name}")
    new = len(figures["compiled"])
    done = f"{new} functions compiled" if new else "all was there already"
    print(f"{figures['folder']}: {done}, {figures['seconds']:.1f} s")
    return 0
