"""Small scenes and pairs of bodies made by hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from selfdrive_env.evaluation.causes.pairs import Pair
from selfdrive_env.evaluation.incidents import Incident, Watch
from tests.evaluation.placed import PlacedEnv


def scene(road: str, agents: int = 2, **settings: Any) -> PlacedEnv:
    """One world in which everybody keeps speed and direction."""
    usual: dict[str, Any] = dict(
        agents_per_world=agents, bodies={"car": 1.0}, driver="constant", traffic="constant",
        layout="lean", on_collision="ignore", on_offroad="ignore", on_goal="new_route", dt=0.1,
        stagger=False, lights_off=1.0, num_threads=1,
    )  # fmt: skip
    env = PlacedEnv(road, 1, **{**usual, **settings})
    env.reset(seed=[1])
    env.clear()
    return env


def run(env: PlacedEnv, seconds: float) -> list[Incident]:
    """What happens in a scene with steps of 0.1 s."""
    watch, found = Watch(env.engine), []
    for step in range(round(seconds / 0.1)):
        watch.before_step()
        env.step(np.zeros(1, np.int64))
        found += watch.after_step(step)
    env.close()
    return found


def pair(**values: Any) -> Pair:
    """Two cars on one lane, the other 5 m ahead and slower."""
    usual = {
        "dx": 5.0, "dy": 0.0, "cos": 1.0, "sin": 0.0, "half_length": 2.25, "half_width": 0.9,
        "other_half_length": 2.25, "other_half_width": 0.9, "speed": 10.0, "other_speed": 5.0,
        "beyond_lane": -0.8,
    }  # fmt: skip
    arrays = {name: np.array([values.get(name, usual[name])]) for name in usual}
    return Pair(**arrays, ran_light=np.array([values.get("ran_light", False)]))
