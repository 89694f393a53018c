"""Runs a script of CleanRL as it is on Gymnasium 1, whatever environment it makes.

    python examples/run_cleanrl.py dqn.py --env-id selfdrive_env:selfdrive_env/Drive-v0

CleanRL's scripts are written for Gymnasium 0.29. Since then a vector environment resets a step
later, names the last observation `final_obs` and gives infos as arrays, and `TransformObservation`
asks for a space. A script that is run through this file finds these as they were.
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym


class OldVectorEnv(gym.vector.SyncVectorEnv):
    """Resets within the step that ends an episode, and tells of the end as Gymnasium 0.29 did."""

    def __init__(self, env_fns: Sequence[Callable[[], gym.Env]]) -> None:
        super().__init__(env_fns, autoreset_mode=gym.vector.AutoresetMode.SAME_STEP)

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        observations, rewards, terminated, truncated, infos = super().step(actions)
        done = terminated | truncated
        if done.any():
            infos["final_observation"] = infos.pop("final_obs")
            episode = infos["final_info"]["episode"]
            infos["final_info"] = [
                {"episode": {key: episode[key][row] for key in "rlt"}} if over else None
                for row, over in enumerate(done)
            ]
        return observations, rewards, terminated, truncated, infos


class OldTransformObservation(gym.wrappers.TransformObservation):
    """Takes two arguments: the observation space stays as it was."""

    def __init__(self, env: gym.Env, func: Callable[[Any], Any]) -> None:
        super().__init__(env, func, env.observation_space)


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit(f"usage: {Path(sys.argv[0]).name} SCRIPT [OPTION ...]")
    script = Path(sys.argv[1])
    gym.vector.SyncVectorEnv = OldVectorEnv
    gym.wrappers.TransformObservation = OldTransformObservation
    sys.argv = sys.argv[1:]
    sys.path.insert(0, str(script.parent))
    runpy.run_path(str(script), run_name="__main__")


if __name__ == "__main__":
    main()
