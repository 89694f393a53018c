"""Merge-v0 and the other tasks: worlds are scenes of one task, each made from another seed."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.config.checks import check_choice, check_integer, check_number
from selfdrive_env.envs.infos import Infos, StepResult
from selfdrive_env.envs.scenes.environment import ScenesVectorEnv
from selfdrive_env.scenes import Scene
from selfdrive_env.scenes.tasks.table import DT, DT_RANGE, LAST_SEED, TASKS, Task, task_scene

__all__ = ["NUM_SEEDS", "REFERENCE", "TaskVectorEnv"]

NUM_SEEDS = 256
"""Scenes of which an episode is one, unless a caller says otherwise."""

MOST_SEEDS = 100_000
REFERENCE = "reference"
"""Driver of the rows: IDM, to which the task tells its waypoints."""


class TaskVectorEnv(ScenesVectorEnv):
    """Worlds that are scenes of a task, and whether it was solved.

    Args:
        num_envs: Rows.
        task: One of `TASKS`.
        first_seed: Of the scenes.
        num_seeds: How many there are, of consecutive seeds.
        dt: Length of a step [s].
        driver: As for `ScenesVectorEnv`, or "reference": IDM with the waypoints of the task.
        **settings: As for `ScenesVectorEnv`, but `scene`; lights are off unless they say otherwise.

    Raises:
        ValueError: For a value out of range, named with what is allowed.
        TypeError: For a setting that the task decides.
    """

    def __init__(
        self,
        num_envs: int = 1,
        *,
        task: str = "merge",
        first_seed: int = 0,
        num_seeds: int = NUM_SEEDS,
        dt: float = DT,
        driver: str = "external",
        **settings: Any,
    ) -> None:
        check_choice("task", task, tuple(TASKS))
        count = check_integer("num_seeds", num_seeds, 1, MOST_SEEDS)
        first = check_integer("first_seed", first_seed, 0, LAST_SEED - count + 1)
        step = check_number("dt", dt, *DT_RANGE)
        if "scene" in settings:
            raise TypeError(f"scene is decided by task={task!r}: leave it out")
        self.task = TASKS[task]
        scenes = list(_scenes(task, first, count, step))
        if driver == REFERENCE:
            driver, told = "idm", self.task.told
            scenes = scenes if told is None else [told(scene) for scene in scenes]
        settings.setdefault("lights_off", 1.0)
        super().__init__(num_envs, scene=scenes, driver=driver, **settings)

    def step(self, actions: Any) -> StepResult:
        """Does what `DrivingVectorEnv.step` does; metrics of ends have `solved` as well."""
        results = super().step(actions)
        self._judge(results[-1])
        return results

    def step_wait(self) -> StepResult:
        """Does what `DrivingVectorEnv.step_wait` does, likewise."""
        results = super().step_wait()
        self._judge(results[-1])
        return results

    def _judge(self, infos: Infos) -> None:
        """Adds whether episodes that ended solved the task to their metrics."""
        finals = infos.get("final_info", infos)
        if "last_goal" not in finals:
            return
        finals["solved"] = is_solved(self.task, finals)
        finals["_solved"] = finals["_last_goal"]


@functools.lru_cache(maxsize=16)
def _scenes(task: str, first: int, count: int, dt: float) -> tuple[Scene, ...]:
    """Returns the scenes of consecutive seeds; environments of one task share them."""
    return tuple(task_scene(task, first + k, dt=dt) for k in range(count))


def is_solved(task: Task, finals: Infos) -> NDArray[np.bool_]:
    """Returns which rows reached their last goal, touched nobody and stayed on the road.

    Where there is no goal to reach they drove `Task.distance` instead.

    Args:
        task: Whether stop signs count is its `stops`.
        finals: Metrics of episodes that ended, by name.
    """
    faults = finals["collisions"] + finals["offroad"]
    if task.stops:
        faults = faults + finals["stop_signs"]
    came = finals["last_goal"] > 0
    if task.distance > 0.0:
        came = 1000.0 * finals["km"] >= task.distance
    solved: NDArray[np.bool_] = came & (faults == 0)
    return solved
