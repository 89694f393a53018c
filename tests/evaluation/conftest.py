"""Small scenes made by hand."""

from __future__ import annotations

from typing import Any

from selfdrive_env.evaluation.scenes import SceneEnv


def scene(road: str, agents: int = 2, **settings: Any) -> SceneEnv:
    """One world in which everybody keeps speed and direction."""
    usual: dict[str, Any] = dict(
        agents_per_world=agents, bodies={"car": 1.0}, driver="constant", traffic="constant",
        layout="lean", on_collision="ignore", on_offroad="ignore", on_goal="new_route", dt=0.1,
        stagger=False, lights_off=1.0, num_threads=1,
    )  # fmt: skip
    env = SceneEnv(road, 1, **{**usual, **settings})
    env.reset(seed=[1])
    env.clear()
    return env
