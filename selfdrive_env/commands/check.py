"""A report of the installation, and the conformance kit for an environment of the user's choice."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from typing import Any

from selfdrive_env.config.choices import ENVIRONMENTS, SCENE_ENVIRONMENTS
from selfdrive_env.config.installation import installed_version, usable_cores

__all__ = ["factory", "installation", "run"]

OWN = "selfdrive_env/"

ALONE: dict[str, dict[str, Any]] = {
    "make_self_play": {"agents_per_world": 1},
    "make_drive": {"agents_per_world": 8},
}
"""Rows must not influence one another: settings that give each its own world, by what makes it."""

LEFT_OUT = ("later_episodes",)
"""An episode's random numbers hang on the tick of its start, which our modes place differently."""

QUICK = {"horizon": 9.0, "render_size": 64, "num_threads": 1}
"""Settings of our own environments: episodes end within the steps of a run."""

QUICK_SCENES = {"max_episode_steps": 30, "render_size": 64, "num_threads": 1}
"""Of those whose worlds are scenes."""

EXTRAS: dict[str, dict[str, str]] = {
    "render": {"pillow": "PIL", "av": "av", "matplotlib": "matplotlib", "moviepy": "moviepy"},
    "play": {"pygame-ce": "pygame", "pillow": "PIL"},
    "train": {"torch": "torch", "tensorboard": "tensorboard"},
    "sb3": {
        **{"stable-baselines3": "stable_baselines3", "torch": "torch", "matplotlib": "matplotlib"},
        **{"rich": "rich", "tensorboard": "tensorboard", "tqdm": "tqdm"},
    },
    "notebooks": {"ipykernel": "ipykernel", "jupytext": "jupytext", "nbclient": "nbclient"},
    "pettingzoo": {"pettingzoo": "pettingzoo"},
    "minari": {"minari": "minari"},
    "onnx": {"onnx": "onnx"},
    "scenes": {"pyarrow": "pyarrow"},
    "libraries": {
        **{"rl-games": "rl_games", "rsl-rl-lib": "rsl_rl", "skrl": "skrl", "torch": "torch"},
        **{"torchrl": "torchrl"},
    },
    "cuda12": {"numba-cuda": "numba_cuda", "torch": "torch"},
    "cuda13": {"numba-cuda": "numba_cuda", "torch": "torch"},
}
"""Extra of users -> its packages, and the module that each brings."""


def installation() -> dict[str, Any]:
    """Returns what is installed and what works, as JSON can hold it."""
    names = ("selfdrive_env", "gymnasium", "numba", "llvmlite", "numpy", "shapely", "safetensors")
    extras = {
        extra: [package for package, module in packages.items() if not _is_there(module)]
        for extra, packages in EXTRAS.items()
    }
    return {
        "versions": {
            "python": platform.python_version(),
            **{n: installed_version(n) for n in names},
        },
        "system": platform.platform(),
        "cores": usable_cores(),
        "cache": _cache(),
        "device": _device(),
        "extras": {extra: {"missing": missing} for extra, missing in extras.items()},
        "first_step": _first_step(),
    }


def _is_there(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _cache() -> dict[str, Any]:
    from selfdrive_env.engine.cpu import compiled_worlds

    path = getattr(compiled_worlds().stats, "cache_path", None)
    there = path is not None and os.path.isdir(path)
    kernels = [n for n in os.listdir(path) if n.endswith(".nbc")] if there else []
    return {"folder": path, "kernels": len(kernels)}


def _device() -> dict[str, Any]:
    """Returns whether a CUDA device can be used, and why not."""
    from selfdrive_env.engine.devices import choose_device

    try:
        return {"cuda": choose_device("cuda"), "why_not": None}
    except (ImportError, RuntimeError, ValueError) as error:
        return {"cuda": None, "why_not": str(error)}


def _first_step() -> dict[str, Any]:
    """Returns how long it takes to the first step; compiles if nothing was kept."""
    import numpy as np

    from selfdrive_env.envs.make import make_drive

    start = time.perf_counter()
    env = make_drive(1, agents_per_world=8, num_threads=1, horizon=30.0)
    env.reset(seed=0)
    env.step(np.zeros(1, np.int64))
    env.close()
    return {"seconds": round(time.perf_counter() - start, 3)}


def factory(name: str, settings: dict[str, Any]) -> Callable[..., Any]:
    """Returns what makes the environment that a name means.

    Args:
        name: An id of Gymnasium, or module:factory; the factory gets `num_envs` and
            `autoreset_mode`.
        settings: Further keywords.

    Raises:
        ValueError: If there is no such thing.
    """
    import gymnasium

    module, colon, function = name.partition(":")
    if colon and "/" not in function and "-v" not in function:
        sys.path.insert(0, os.getcwd())
        try:
            found = getattr(importlib.import_module(module), function, None)
        except ModuleNotFoundError as error:
            raise ValueError(f"there is no module {error.name!r} for {name!r}") from None
        finally:
            sys.path.remove(os.getcwd())
        if not callable(found):
            raise ValueError(f"module {module!r} has no function {function!r}")
        make: Callable[..., Any] = found
        return lambda **keywords: make(**{**settings, **keywords})
    try:
        spec = gymnasium.spec(name)
    except (gymnasium.error.Error, ModuleNotFoundError) as error:
        raise ValueError(f"{error}; it must be an id or module:factory") from None
    own = {f"{OWN}{one.name}": {**QUICK, **ALONE[one.vector]} for one in ENVIRONMENTS}.get(name, {})
    for one in SCENE_ENVIRONMENTS:
        if name == f"{OWN}{one.name}":
            own = {**QUICK_SCENES, **({"num_seeds": 8} if "task" in one.keywords else {})}
    settings = {**own, **settings}
    if spec.vector_entry_point is None:
        raise ValueError(f"{name} has no vector_entry_point, only vector environments are checked")
    return lambda **keywords: gymnasium.make_vec(
        name, vectorization_mode="vector_entry_point", **{**settings, **keywords}
    )


def _conformance(parsed: argparse.Namespace) -> dict[str, Any]:
    """Runs the kit check by check."""
    from selfdrive_env.config.checks import read_pairs
    from selfdrive_env.testing import CHECKS, ContractError, check_vector_env

    if parsed.num_envs < 2:
        raise ValueError(f"--num-envs must be at least 2, got {parsed.num_envs}")
    make = factory(parsed.env, read_pairs(parsed.set))
    unknown = sorted(set(parsed.skip) - set(CHECKS))
    if unknown:
        raise ValueError(f"--skip has no check {unknown[0]!r}; checks are {', '.join(CHECKS)}")
    skipped = {*parsed.skip, *(LEFT_OUT if parsed.env.startswith(OWN) else ())}
    try:
        make(num_envs=parsed.num_envs, autoreset_mode=parsed.modes[0]).close()
    except Exception as error:  # whatever an environment of someone else raises
        raise ValueError(
            f"cannot make {parsed.env} with num_envs={parsed.num_envs} and "
            f"autoreset_mode={parsed.modes[0]!r}: {error}"
        ) from None
    results: dict[str, str | None] = {}
    for name in CHECKS:
        if name in skipped:
            if not parsed.json:
                print(f"  {name:16} left out")
            continue
        try:
            check_vector_env(
                make,
                num_envs=parsed.num_envs,
                steps=parsed.steps,
                seed=parsed.seed,
                modes=parsed.modes,
                skip=set(CHECKS) - {name},
            )
            results[name] = None
        except ContractError as error:
            results[name] = str(error)
        except Exception as error:  # whatever an environment of someone else raises
            results[name] = f"{type(error).__name__}: {error}"
        if not parsed.json:
            fault = results[name]
            print(f"  {name:16} {'kept' if fault is None else fault}", flush=True)
    return {
        "env": parsed.env,
        "left_out": [name for name in CHECKS if name in skipped],
        "kept": [name for name, fault in results.items() if fault is None],
        "broken": {name: fault for name, fault in results.items() if fault is not None},
    }


def run(parsed: argparse.Namespace) -> int:
    """Prints the report, and the result of the kit.

    Returns:
        1 if a promise is broken, else 0.
    """
    report: dict[str, Any] = {"installation": installation()}
    if not parsed.json:
        print(_text(report["installation"]), flush=True)
    if parsed.env is not None:
        if not parsed.json:
            print(f"vector contract of {parsed.env}")
        report["conformance"] = _conformance(parsed)
    if parsed.json:
        print(json.dumps(report))
    broken = report.get("conformance", {}).get("broken", {})
    if broken and not parsed.json:
        print(f"{len(broken)} of {len(broken) + len(report['conformance']['kept'])} broken")
    return 1 if broken else 0


def _text(report: dict[str, Any]) -> str:
    """Returns the report as lines for people."""
    device, cache = report["device"], report["cache"]
    lines = ["installation"]
    lines += [f"  {name:16} {text or 'missing'}" for name, text in report["versions"].items()]
    lines += [
        f"  {'system':16} {report['system']}",
        f"  {'cores':16} {report['cores']}",
        f"  {'kernel cache':16} {cache['folder'] or '-'} ({cache['kernels']} kernels)",
        f"  {'CUDA device':16} {device['cuda'] or device['why_not']}",
        f"  {'first step':16} after {report['first_step']['seconds']:.1f} s",
    ]
    for extra, one in report["extras"].items():
        missing = ", ".join(one["missing"])
        hint = f'misses {missing}: pip install "selfdrive_env[{extra}]"' if missing else "there"
        lines.append(f"  {'extra ' + extra:16} {hint}")
    return "\n".join(lines)
