"""Rollouts on the CPU and on a device, step by step; as a module it stores those of the CPU.

Compiled code and Numba's CUDA simulator do not run in one process.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

import selfdrive_env  # noqa: F401
from selfdrive_env.images.scenery.pool import scenery_of
from selfdrive_env.maps import RoadNetwork, load
from selfdrive_env.maps.procedural import FAMILIES
from tests.maps.commonroad import files
from tests.maps.lanelet2 import osm
from tests.maps.sumo import nets
from tests.maps.sumo.test_signals import program

BASE: dict[str, Any] = {
    "map": "riverside",
    "agents_per_world": 5,
    "layout": "lean",
    "copy": False,
    "horizon": 2.4,
}


def of_each_format() -> list[RoadNetwork]:
    """A small map of each format besides OpenDRIVE, with its programs of lights and its rules."""
    lights = program((4, "GGgrrrGGgrrr"), (2, "yyyrrryyyrrr"), (4, "rrrGGgrrrGGg"))
    texts = {
        "small.net.xml": nets.crossing("traffic_light", lights=True, head=lights),
        "small.osm": osm.crossing().text(),
        "small.xml": files.document(*files.crossing()),
    }
    with tempfile.TemporaryDirectory() as folder:
        for name, text in texts.items():
            Path(folder, name).write_text(text)
        return [load(Path(folder, name)) for name in texts]


CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "full layout": {"layout": "full", "copy": True},
    "next step": {"autoreset_mode": "NextStep"},
    "half precision": {"obs_dtype": "float16"},
    "continuous, noise, dropout": {
        "action_type": "continuous",
        "observation_noise": 0.5,
        "lane_dropout": 0.3,
        "boundary_dropout": 0.3,
        "blind_share": 0.5,
        "braking_share": 0.5,
    },
    "varying worlds": {
        "agents_per_world": (2, 5),
        "on_collision": "stop",
        "on_goal": "new_route",
        "map": ["riverside", "hillcrest"],
    },
    "reversing": {"reverse": "allowed", "initial_speed": 0.0, "jerk_long": [-4.0, -2.0, 0.0, 2.0]},
    "bicycle, chosen": {"dynamics": "bicycle", "action_bins": [4, 3], "on_offroad": "ignore"},
    **{
        f"{name}, continuous": {"dynamics": name, "action_type": "continuous", "reverse": reverse}
        for name, reverse in (
            *(("classic", "allowed"), ("delta_local", "never"), ("delta_global", "allowed")),
            ("state", "never"),
        )
    },
    "standing": {"standing_share": 0.6, "driver": "idm", "bodies": "typed"},
    "scripted": {"driver": "idm", "bodies": "typed"},
    "maps by seed": {
        "map": [f"{family}:3" for family in FAMILIES if family != "town"],
        "agents_per_world": 1,
        "driver": "idm",
    },
    "pictures": {
        "observation": {"kind": "bev", "size": 12, "span": 120.0, "history": 2},
        "agents_per_world": 2,
    },
    "pictures, next step": {
        "observation": {"kind": "bev", "size": [8, 12], "span": 120.0, "dtype": "float32"},
        "agents_per_world": 2,
        "autoreset_mode": "NextStep",
    },
    "camera": {
        "observation": {"kind": "camera", "size": [10, 16]},
        "agents_per_world": 2,
        "horizon": 0.8,
        "rows": 4,
        "steps": 6,
    },
    "cameras, next step": {
        "observation": {
            "front": {
                **{"kind": "camera", "size": [8, 12], "history": 2, "channels_first": True},
                **{"dtype": "float32", "fog": [0.0, 0.05], "noise": 5.0},
            },
            "rear": {"kind": "camera", "size": 8, "yaw": 180.0, "colour": "gray"},
            "labelled": {"kind": "camera", "size": [8, 12], "labels": True, "colour": "classes"},
        },
        "agents_per_world": 2,
        "bodies": "typed",
        "autoreset_mode": "NextStep",
        "horizon": 0.8,
        "rows": 2,
        "steps": 6,
    },
    "camera in the hills": {
        "observation": {"kind": "camera", "size": [8, 12]},
        "map": "hillcrest",
        "agents_per_world": 2,
        "horizon": 0.2,
        "rows": 2,
        "steps": 1,
    },
    "map formats": {"map": of_each_format, "agents_per_world": 1, "driver": "idm"},
    "cycles of lights, several threads": {
        "map": lambda: of_each_format()[:1],
        "agents_per_world": 2,
        "layout": {"lane_points": 8, "boundary_points": 8},
        "driver": "idm",
    },
}

NIGHTLY = ("plain", "maps by seed", "map formats", "pictures, next step")
"""Cases of which each part is in another one; `--full` compares them too."""

ROWS, STEPS = 10, 12


def host(value: Any) -> np.ndarray:
    """A copy in host memory of an array or a tensor."""
    return np.array(value.cpu().numpy() if hasattr(value, "cpu") else value)


def parts(name: str, observation: Any) -> dict[str, np.ndarray]:
    """An observation by name, of several kinds each."""
    if isinstance(observation, dict):
        return {f"{name} {kind}": host(one) for kind, one in observation.items()}
    return {name: host(observation)}


def rollout(
    convert: Any = None, steps: int = STEPS, rows: int = ROWS, **settings: Any
) -> dict[str, np.ndarray]:
    """Everything that steps with random actions return, and the state behind them, by name."""
    settings = BASE | settings
    if callable(settings["map"]):
        settings["map"] = settings["map"]()
    env = gymnasium.make_vec("selfdrive_env/SelfPlay-v0", num_envs=rows, **settings)
    env = env.unwrapped
    random = np.random.default_rng(0)
    actions = random.integers(0, 12, (steps, rows))
    if settings.get("action_type") == "continuous":
        columns = env.single_action_space.shape
        actions = random.uniform(-1, 1, (steps, rows, *columns)).astype(np.float32)
    out = parts("reset", env.reset(seed=5)[0])
    for step in range(steps):
        action = actions[step] if convert is None else convert(actions[step])
        observation, reward, terminated, truncated, infos = env.step(action)
        out |= parts(f"{step} observation", observation)
        out |= {
            f"{step} reward": host(reward),
            f"{step} terminated": host(terminated),
            f"{step} truncated": host(truncated),
            f"{step} valid": host(infos["valid"]),
            f"{step} learn": host(infos["learn"]),
        }
        done = host(terminated) | host(truncated)
        if env.settings.autoreset_mode == "SameStep" and done.any():
            out[f"{step} final_obs"] = host(infos["final_obs"])[done]
            for name, values in infos["final_info"].items():
                if not name.startswith("_"):
                    out[f"{step} {name}"] = host(values)[done].astype(np.float64)
    out |= {f"state {name}": value for name, value in env.get_state().items()}
    for view in env.engine.views.all:
        shots = view.parts.get("shots")
        for name in ("kind", "agent", "depth", "box") if shots is not None else ():
            out[f"{view.name} {name}"] = host(getattr(shots, name))
    env.close()
    return out


def keep_scenery(path: Path) -> None:
    """Stores what cameras draw of the maps of cases, which plain Python would bake for hours."""
    kept = {}
    for name in ("riverside", "hillcrest"):
        env: Any = gymnasium.make_vec(
            "selfdrive_env/SelfPlay-v0", num_envs=1, agents_per_world=1, layout="lean", map=name
        )
        for one in env.unwrapped.engine.pool.maps:
            kept[one.digest] = scenery_of(one)
        env.close()
    path.write_bytes(pickle.dumps(kept))


def compiled(module: str, *words: str) -> None:
    """Runs a module of this folder in a process of its own, without the simulator."""
    environment = {k: v for k, v in os.environ.items() if k != "NUMBA_ENABLE_CUDASIM"}
    done = subprocess.run(
        [sys.executable, "-m", f"tests.engine.{module}", *words],
        cwd=Path(__file__).parents[2], env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def assert_equal(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> None:
    assert found.keys() == wanted.keys()
    for name, values in wanted.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)


if __name__ == "__main__":
    if sys.argv[1] == "scenery":
        keep_scenery(Path(sys.argv[2]))
    for one in sys.argv[2:] if sys.argv[1] != "scenery" else ():
        found = rollout(num_threads=1, **CASES[one])
        np.savez(Path(sys.argv[1], f"{list(CASES).index(one)}.npz"), **found)
