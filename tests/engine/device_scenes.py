"""Recorded scenes on the CPU and on a device, step by step; as a module it stores those of the CPU.

Compiled code and Numba's CUDA simulator do not run in one process.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

import selfdrive_env  # noqa: F401
from selfdrive_env.envs import make_self_play
from selfdrive_env.envs.scenes.recording import record
from selfdrive_env.scenes import Scene, Tracks
from tests.engine.device_rollouts import host

AGENTS, MOMENTS, STEPS = 4, 9, 11
RULES: dict[str, Any] = {
    **dict.fromkeys(("on_collision", "on_offroad", "on_red_light"), "ignore"),
    "on_goal": "new_route",
}
BASE: dict[str, Any] = {"layout": "lean", "scene_order": "sequence"}

CASES: dict[str, dict[str, Any]] = {
    "replay": {"traffic": "replay", "autoreset_mode": "NextStep"},
    "idm": {"traffic": "idm", **RULES},
    "constant and still, all learn": {
        "learners": "all",
        "traffic": "constant",
        "scene_order": "random",
        "copy": False,
        "dynamics": "bicycle",
        "action_bins": [4, 3],
    },
    "rows repeat their record": {"learners": "valid", "driver": "replay", **RULES},
    "metrics and their rewards": {
        "metrics": ["overlap", "log_divergence", "red_light"],
        "reward": {"progression": 1.0, "metric.offroad": 0.5},
        "on_collision": "ignore",
    },
    "preset of metrics alone": {"preset": "waymax", "traffic": "still"},
    "stream": {"window": 2, "scene_agents": AGENTS, "traffic": "replay", **RULES},
    "policy drives the others": {"traffic": "selfplay", "layout": None, **RULES},
    "task": {"id": "Merge-v0", "num_seeds": 2, "max_episode_steps": 6},
}


def write_scenes(folder: Path) -> None:
    """Records three scenes of scripted traffic at lights, in which somebody comes and goes."""
    envs = make_self_play(
        3 * AGENTS, map="riverside", agents_per_world=AGENTS, driver="idm", dt=0.1, bodies="typed",
        layout="lean", num_threads=1,
    )  # fmt: skip
    envs.reset(seed=3)
    for _ in range(20):
        envs.step(np.zeros(3 * AGENTS, np.int64))
    scenes = record(envs, lambda _: np.zeros(3 * AGENTS, np.int64), steps=MOMENTS + 1)
    for number, scene in enumerate(scenes):
        assert scene.tracks is not None and scene.lights is not None
        valid = scene.tracks.valid.copy()
        others = [one for one in range(len(valid)) if one != scene.ego]
        valid[others[0], : 3 + number], valid[others[1], 5:] = False, False
        values = {one.name: getattr(scene.tracks, one.name) for one in dataclasses.fields(Tracks)}
        cut = Scene.recorded(
            Tracks(**{**values, "valid": valid}), current=0, ego=scene.ego, map="riverside",
            lights=scene.lights, dt=scene.dt, name=f"scene {number}",
        )  # fmt: skip
        cut.shortened(MOMENTS - number).save(folder / f"{number}.scene")


def make(case: str, folder: Path, **more: Any) -> Any:
    """The environment of a case: two worlds, or as many rows as two worlds have."""
    settings = {**BASE, **CASES[case], **more}
    name = settings.pop("id", "Scenes-v0")
    if name == "Scenes-v0":
        settings["scene"] = str(folder / "*.scene")
    if settings["layout"] is None:
        del settings["layout"]
    rows = {"all": AGENTS - 1, "valid": AGENTS - 1}.get(settings.get("learners", "ego"), 1)
    env: Any = gymnasium.make_vec(f"selfdrive_env/{name}", num_envs=2 * rows, **settings).unwrapped
    if env.co_drivers is not None:  # whose kernels are none for the simulator
        env.co_drivers.policy.act = lambda rows: (1000.0 * abs(rows).max(1)).astype(np.int64) % 12
    return env


def rollout(case: str, folder: Path, convert: Any = None, **more: Any) -> dict[str, np.ndarray]:
    """Everything that steps with random actions return, and the state behind them, by name."""
    env = make(case, folder, **more)
    random = np.random.default_rng(0)
    actions = random.integers(0, 12, (STEPS, env.num_envs))
    observation, infos = env.reset(seed=5)
    out = {"reset": host(observation)} | told_of("reset", infos, env)
    for step in range(STEPS):
        action = actions[step] if convert is None else convert(actions[step])
        observation, reward, terminated, truncated, infos = env.step(action)
        done = host(terminated) | host(truncated)
        out |= {f"{step} observation": host(observation), f"{step} reward": host(reward)}
        out |= {f"{step} terminated": host(terminated), f"{step} truncated": host(truncated)}
        out |= told_of(str(step), infos, env)
        finals = infos.get("final_info", infos)
        if not done.any():
            continue
        if "final_obs" in infos:
            out[f"{step} final_obs"] = host(infos["final_obs"])[done]
        for name in ("last_goal", "km", "collisions", "solved"):
            if name in finals:
                out[f"{step} {name}"] = host(finals[name])[done].astype(np.float64)
        for name, values in finals.get("episode_metrics", {}).items():
            out[f"{step} metric {name}"] = host(values)[done]
    out |= {f"state {name}": value for name, value in env.get_state().items()}
    env.close()
    return out


def told_of(step: str, infos: Any, env: Any) -> dict[str, np.ndarray]:
    """The masks of infos, the agents of rows, and the names of their scenes."""
    out = {f"{step} {name}": host(infos[name]) for name in ("valid", "learn", "agent", "_agent")}
    scene = infos["scene"]
    if env.settings.output == "torch":
        scene = [env.scenes[number].name or env.scenes[number].source for number in scene.tolist()]
    out[f"{step} scene"] = np.array(scene, str)
    return out


if __name__ == "__main__":
    write_scenes(Path(sys.argv[1]))
    for place, one in enumerate(CASES):
        found = rollout(one, Path(sys.argv[1]), num_threads=1)
        np.savez(Path(sys.argv[1], f"{place}.npz"), **found)
