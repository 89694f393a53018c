"""Films of scenes: what was recorded, or how somebody drives in their place in Scenes-v0."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from selfdrive_env.compiler.progress import Count
from selfdrive_env.envs.scenes.environment import ScenesVectorEnv
from selfdrive_env.envs.scenes.light_records import recorded_lights
from selfdrive_env.envs.scenes.poses import poses_of
from selfdrive_env.envs.scenes.tables import OTHERS, order_of
from selfdrive_env.evaluation.policies import Candidate, fitting_layout, load
from selfdrive_env.evaluation.results.recorded import RULES, with_recorded_ego
from selfdrive_env.rendering import write_video
from selfdrive_env.rendering.canvas import import_pillow
from selfdrive_env.rendering.video import import_av
from selfdrive_env.scenes import Scene, Tracks
from selfdrive_env.scenes.plot import frames
from selfdrive_env.scenes.readers import load as load_scene
from selfdrive_env.scenes.tracks import KINDS

__all__ = ["driven", "run"]

SUFFIXES = (".gif", ".mp4", ".png")
STILL = 0
"""Any action: nobody heeds it where a script drives the ego."""


def driven(
    scene: Scene, *, driver: str = "replay", traffic: str | None = None, seed: int = 0
) -> Scene:
    """Returns a scene whose tracks are those of whoever drives it, from its present moment on.

    Nothing ends it before its last moment.

    Args:
        scene: With an ego, or a recorded vehicle that stands in for it.
        driver: Of the ego: a script such as "replay" or "idm_log", or a policy.
        traffic: Who drives the others, as for `ScenesVectorEnv`.
        seed: Of all that is drawn.

    Raises:
        SceneError: It cannot be driven.
        ValueError: There is no such driver or policy.
    """
    if scene.ego < 0:
        scene = with_recorded_ego(scene)
    settings, policy = _drives(driver, traffic, seed)
    envs = ScenesVectorEnv(
        1, scene=scene, traffic=traffic, autoreset_mode="NextStep", on_goal="new_route",
        num_threads=1, **RULES, **settings,
    )  # fmt: skip
    observations, _ = envs.reset(seed=seed)
    poses, colours = [poses_of(envs.engine)], [envs.engine.lights.line_colour[0].copy()]
    for _ in range(int(envs.engine.scenes.horizon[0])):
        act = np.full(1, STILL) if policy is None else policy.act(observations)
        observations, _, terminated, truncated, _ = envs.step(act)
        poses.append(poses_of(envs.engine))
        colours.append(envs.engine.lights.line_colour[0].copy())
        if truncated[0] and not terminated[0]:
            poses[-1].there[0, 0] = poses[-2].there[0, 0]  # who learns leaves with the last moment
        if terminated[0] or truncated[0]:
            break
    road = envs.engine.maps[0]
    envs.close()
    lights = scene.lights
    if scene.map is not None:
        lights = recorded_lights(road, np.stack(colours, 1))
    elif lights is not None:
        lights = replace(lights, state=lights.state[:, scene.current :][:, : len(poses)])
    slots = np.argsort(order_of(scene, "ego"))
    columns = [np.stack(column, 2)[0, slots] for column in zip(*poses, strict=True)]
    came = np.flatnonzero(columns[-1].any(axis=1))  # the others had left before the present moment
    scene = scene.only(*[scene.agents[number].id for number in came])
    tracks = _tracks(scene, [column[came] for column in columns])
    return replace(scene, tracks=tracks, steps=len(poses), current=0, lights=lights)


def _drives(driver: str, traffic: str | None, seed: int) -> tuple[dict[str, Any], Candidate | None]:
    """Returns settings that go with who drives the ego, and its policy, None for a script."""
    if driver in OTHERS:
        lean = traffic is None or traffic in OTHERS
        return {"driver": driver} | ({"layout": "lean"} if lean else {}), None
    policy = load(driver, seed=seed)
    return {"layout": fitting_layout(policy), **policy.under()}, policy


def _tracks(scene: Scene, columns: list[Any]) -> Tracks:
    """Returns the tracks of a scene's agents."""
    x, y, z, heading, vx, vy, there = columns
    agents, valid = scene.agents, there.astype(np.bool_)

    def of(name: str) -> Any:
        return np.array([getattr(agent, name) for agent in agents], np.float32)

    def series(value: Any, kind: Any) -> Any:
        return np.where(valid, value, 0.0).astype(kind)

    return Tracks(
        id=np.array([agent.id for agent in agents], np.int64),
        kind=np.array([KINDS.index(agent.kind) for agent in agents], np.uint8),
        length=of("length"),
        width=of("width"),
        height=of("height"),
        x=series(x, np.float64),
        y=series(y, np.float64),
        z=series(z, np.float64),
        heading=series(heading, np.float32),
        vx=series(vx, np.float32),
        vy=series(vy, np.float32),
        valid=valid,
    )


def run(parsed: argparse.Namespace) -> int:
    """Writes the film of a scene; returns 0."""
    path = Path(parsed.output)
    if path.suffix not in SUFFIXES:
        raise ValueError(f"--output must end in {', '.join(SUFFIXES)}, got {str(path)!r}")
    if not path.parent.is_dir():
        raise ValueError(f"--output: there is no folder {str(path.parent)!r}")
    import_pillow()
    if path.suffix == ".mp4":
        import_av()
    scene = record = load_scene(parsed.source, record=parsed.record)
    if parsed.driver is not None or parsed.traffic is not None:
        driver = "replay" if parsed.driver is None else parsed.driver
        scene = driven(scene, driver=driver, traffic=parsed.traffic, seed=parsed.seed)
    pictures = frames(scene, size=parsed.size, span=parsed.span, record=record)
    count = Count("filming", scene.steps)

    def told() -> Any:
        for number, picture in enumerate(pictures, 1):
            count.tell(number)
            yield picture

    write_video(told(), path, 1.0 / scene.dt)
    print(f"{path}: {scene.steps} moments of {scene.name or scene.source}")
    return 0
