"""The same rollouts on the CPU and on a CUDA device, compared by bits, for benchmarks/gpu.py.

As a program it stores one of the CPU: compiled code and Numba's simulator share no process.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from selfdrive_env.envs import make_self_play


def rollout(settings: dict[str, Any], steps: int) -> dict[str, np.ndarray]:
    """Returns what steps with random actions give, on whatever device the settings name."""
    settings = dict(settings)
    rows = settings.pop("rows")
    env = make_self_play(rows, copy=False, **settings)
    on_cpu = settings.get("device", "cpu") == "cpu"
    actions = np.random.default_rng(0).integers(0, len(env.engine.draws.jerk), (steps, rows))
    if not on_cpu:
        import torch

        actions = torch.from_numpy(actions).to(env.device)  # type: ignore[attr-defined]
    seen: list[dict[str, np.ndarray]] = []
    first = host(env.reset(seed=5)[0])
    for action in actions:
        observation, reward, terminated, truncated, infos = env.step(action)
        agents, done = env.engine.agents, host(terminated) | host(truncated)
        last = host(infos["final_obs"])[done] if done.any() and "final_obs" in infos else None
        seen.append(
            {
                "observation": host(observation),
                "last_observation": np.zeros((0, first.shape[1]), first.dtype)
                if last is None
                else last,
                "reward": host(reward),
                "terminated": host(terminated),
                "truncated": host(truncated),
                "event": env.engine.output.event.copy(),
                "position": np.stack([agents.x, agents.y], -1),
            }
        )
    out = {name: np.stack([one[name] for one in seen]) for name in seen[0] if "last" not in name}
    out["last_observation"] = np.concatenate([one["last_observation"] for one in seen])
    out["first"] = first
    env.close()
    return out


def host(value: Any) -> np.ndarray:
    return np.array(value.cpu().numpy() if hasattr(value, "cpu") else value)


def on_cpu(settings: dict[str, Any], steps: int) -> dict[str, np.ndarray]:
    """Returns a rollout on the CPU, from a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "cpu.npz")
        environment = {k: v for k, v in os.environ.items() if k != "NUMBA_ENABLE_CUDASIM"}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
        words = [json.dumps(settings), str(steps), path]
        done = subprocess.run(
            [sys.executable, __file__, *words], env=environment, capture_output=True, text=True
        )
        if done.returncode:
            raise RuntimeError(f"the rollout on the CPU failed: {done.stderr[-1000:]}")
        with np.load(path) as stored:
            return dict(stored)


def compare(wanted: dict[str, np.ndarray], found: dict[str, np.ndarray]) -> dict[str, Any]:
    """Returns where two rollouts differ; numbers are equal if their bits are."""
    steps = len(wanted["reward"])
    flags = {
        name: int(np.count_nonzero(wanted[name] != found[name]))
        for name in ("terminated", "truncated", "event")
    }
    largest, first_steps = {}, []
    rows = np.zeros(wanted["reward"].shape[1], np.bool_)
    for name in ("observation", "reward", "position", "first", "last_observation"):
        if wanted[name].shape != found[name].shape:
            largest[name] = math.inf
            continue
        unequal = _bits(wanted[name]) != _bits(found[name])
        away = np.abs(wanted[name].astype(np.float32) - found[name].astype(np.float32))
        largest[name] = float(np.nan_to_num(away, nan=np.inf).max(initial=0.0))
        if not unequal.any() and largest[name] == 0.0:
            continue
        largest[name] = max(largest[name], float(np.finfo(np.float32).tiny))
        if name in ("observation", "reward", "position"):
            first_steps.append(int(np.flatnonzero(unequal.reshape(steps, -1).any(1))[0]))
        if name in ("observation", "reward"):
            rows |= unequal.reshape(steps, len(rows), -1).any((0, 2))
    for name in ("terminated", "truncated", "event"):
        unequal = (wanted[name] != found[name]).reshape(steps, -1).any(1)
        first_steps += np.flatnonzero(unequal)[:1].tolist()
    return {
        "identical": not any(flags.values()) and not any(largest.values()),
        "steps": steps,
        "rows": len(rows),
        "episodes_ended": int((wanted["terminated"] | wanted["truncated"]).sum()),
        "flag_mismatches": flags,
        "largest_difference": largest,
        "rows_that_differ": int(rows.sum()),
        "first_step": min(first_steps, default=None),
    }


def _bits(values: np.ndarray) -> np.ndarray:
    return values.view({2: np.uint16, 4: np.uint32}[values.dtype.itemsize])


if __name__ == "__main__":
    np.savez(sys.argv[3], **rollout(json.loads(sys.argv[1]), int(sys.argv[2])))
