"""Episodes as scenes: what drove in an environment becomes recorded traffic."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.compiler.progress import Count
from selfdrive_env.config.checks import check_number
from selfdrive_env.config.presets import BODY_TYPES
from selfdrive_env.envs.scenes.light_records import recorded_lights
from selfdrive_env.envs.scenes.poses import poses_of
from selfdrive_env.envs.vector import DrivingVectorEnv
from selfdrive_env.maps import load
from selfdrive_env.maps.compile.compiled_map import CompiledMap
from selfdrive_env.maps.pool.kept_map import KeptMap
from selfdrive_env.maps.road_network import RoadNetwork
from selfdrive_env.scenes import Scene, Tracks
from selfdrive_env.scenes.tracks import BICYCLE, PEDESTRIAN, VEHICLE

__all__ = ["record", "run"]

Act = Callable[[NDArray[Any]], NDArray[Any]]

MIN_STEPS = 2
"""Moments of a track; an agent that was seen more briefly is left out."""

CALM, HISTORY = 3.0, 1.0
"""Before the command records, in which traffic spreads; before what it calls present [s]."""

MOVING, MEAN_SPEED = 1.0, 2.0
"""An ego that is drawn is faster at present, and on the whole [m/s]."""


class Frame(NamedTuple):
    """The agents of all worlds at one moment, each [world, agent]."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    z: NDArray[np.float64]
    heading: NDArray[np.float64]
    vx: NDArray[np.float64]
    vy: NDArray[np.float64]
    there: NDArray[np.bool_]
    new: NDArray[np.bool_]
    """Placed since the frame before."""

    length: NDArray[np.float32]
    width: NDArray[np.float32]
    kind: NDArray[np.uint8]
    line_colour: NDArray[np.uint8]
    """[world, line]"""


def record(
    envs: DrivingVectorEnv,
    act: Act,
    *,
    steps: int,
    current: int = 0,
    draw_ego: np.random.Generator | None = None,
) -> list[Scene]:
    """Drives on from the present state and returns one scene a world.

    Where worlds are drawn anew meanwhile, the scene ends before.

    Args:
        envs: On the CPU, reset; settings such as `horizon` as they should be.
        act: From observations [num_envs, features] to actions.
        steps: Moments of a scene, the present one included.
        current: Index of the moment that the scene calls present.
        draw_ego: Draws the ego from those that drive, among agents that are there at all moments;
            without it the ego is the one that drives farthest of them.

    Returns:
        Scenes, by world; of worlds that hold no track for longer than `current` there is none.
    """
    frames, worlds = [_frame(envs, None)], envs.engine.worlds
    clock, ended_at = worlds.clock.copy(), np.full(envs.num_worlds, steps)
    maps = worlds.map.copy()
    observations = envs.backend.observations()
    for moment in range(1, steps):
        observations = envs.step(act(observations))[0]
        ended_at = np.where(worlds.clock < clock, np.minimum(ended_at, moment), ended_at)
        clock = worlds.clock.copy()
        frames.append(_frame(envs, frames[-1]))
    found = (
        _scene(envs, frames[:end], world, int(maps[world]), current, draw_ego)
        for world, end in enumerate(ended_at.tolist())
        if end > current + 1
    )
    return [scene for scene in found if scene is not None]


def _frame(envs: DrivingVectorEnv, before: Frame | None) -> Frame:
    """Returns where everybody is now."""
    engine, poses = envs.engine, poses_of(envs.engine)
    names = list(BODY_TYPES)
    kinds = {"bicycle": BICYCLE, "pedestrian": PEDESTRIAN}
    kind_of = np.array([kinds.get(name, VEHICLE) for name in names], np.uint8)
    there = poses.there
    new = np.zeros_like(there) if before is None else (engine.agents.age == 0) | ~before.there
    return Frame(
        *poses,
        new=new & there,
        length=engine.bodies.length.copy(),
        width=engine.bodies.width.copy(),
        kind=kind_of[engine.bodies.type],
        line_colour=engine.lights.line_colour.copy(),
    )


def _scene(
    envs: DrivingVectorEnv,
    frames: list[Frame],
    world: int,
    map_index: int,
    current: int,
    draw_ego: np.random.Generator | None,
) -> Scene | None:
    """Returns the scene of a world, None where nobody is seen from the present moment on."""
    of_world = ([array[world] for array in frame] for frame in frames)
    stacked = Frame(*(np.stack(arrays, 1) for arrays in zip(*of_world, strict=True)))
    placing = np.cumsum(stacked.new, 1)
    rows = [
        (slot, stacked.there[slot] & (placing[slot] == number))
        for slot in range(len(placing))
        for number in range(int(placing[slot].max()) + 1)
    ]
    rows = [(slot, valid) for slot, valid in rows if valid.sum() >= MIN_STEPS]
    slots = np.array([slot for slot, _ in rows], np.int64)
    valid = np.array([valid for _, valid in rows]).reshape(len(rows), len(frames))

    def series(name: str, kind: Any) -> NDArray[Any]:
        return np.where(valid, getattr(stacked, name)[slots], 0.0).astype(kind)

    def once(name: str) -> NDArray[Any]:
        first = valid.argmax(1) if len(rows) else slots
        values: NDArray[Any] = getattr(stacked, name)[slots, first]
        return values

    if not valid[:, current:].any():
        return None
    tracks = Tracks(
        id=np.arange(len(rows)),
        kind=once("kind"),
        length=once("length"),
        width=once("width"),
        height=np.zeros(len(rows), np.float32),
        x=series("x", np.float64),
        y=series("y", np.float64),
        z=series("z", np.float64),
        heading=series("heading", np.float32),
        vx=series("vx", np.float32),
        vy=series("vy", np.float32),
        valid=valid,
    )
    ego = _ego(tracks, current, draw_ego)
    source = _map_of(envs, map_index)
    name = source.name if isinstance(source, RoadNetwork) else source
    return Scene.recorded(
        tracks,
        current=current,
        ego=ego,
        map=source,
        lights=recorded_lights(_compiled(envs.engine.maps[map_index]), stacked.line_colour),
        dt=round(float(envs.engine.worlds.dt[world]), 6),
        name=f"{Path(name).stem}/{world}",
    )


def _ego(tracks: Tracks, current: int, draw: np.random.Generator | None) -> int:
    """Returns an agent that is there at all moments, see `record`; -1 where there is none."""
    speed = np.hypot(tracks.vx, tracks.vy)
    there = tracks.valid.all(1)
    if draw is None:
        driven = np.where(there, speed.sum(1), -1.0)
        return int(driven.argmax()) if driven.max() >= 0.0 else -1
    moving = np.flatnonzero(there & (speed[:, current] > MOVING) & (speed.mean(1) > MEAN_SPEED))
    return int(draw.choice(moving)) if len(moving) else -1


def _map_of(envs: DrivingVectorEnv, map_index: int) -> str | RoadNetwork:
    """Returns the map of a world as a scene names it; a variant as the network it is."""
    settings = envs.settings
    number, variant = divmod(map_index, settings.map_variants)
    source = settings.maps[number]
    return load(source).varied(variant) if variant else source


def _compiled(one: Any) -> CompiledMap:
    """Returns a map of a pool with its arrays."""
    return one.load() if isinstance(one, KeptMap) else one


def run(parsed: argparse.Namespace) -> int:
    """Records scenes of self-play traffic into a folder; returns 0."""
    from selfdrive_env.policies.numpy_policy import load_policy

    dt = check_number("--dt", parsed.dt, 0.02, 1.0)
    seconds = check_number("--seconds", parsed.seconds, 2.0 * HISTORY, 300.0)
    folder = Path(parsed.output)
    folder.mkdir(parents=True, exist_ok=True)
    settings: dict[str, Any] = {"num_threads": 1, "bodies": "typed", "dt": dt, "layout": "lean"}
    if parsed.traffic == "idm":
        settings["driver"] = "idm"
    policy = None if parsed.traffic == "idm" else load_policy(parsed.traffic)
    if policy is not None:
        settings["layout"] = dict(vars(policy.layout))
    worlds = min(parsed.number, parsed.worlds)
    rows = worlds * parsed.agents
    settings |= {"map": parsed.map, "agents_per_world": parsed.agents}
    envs = DrivingVectorEnv(rows, learners="all", **settings)
    still = np.zeros(envs.num_envs, np.int64)
    act: Act = (lambda _: still) if policy is None else policy.act
    count, kept, seed = Count("recording scenes", parsed.number), 0, parsed.seed
    steps, current = round(seconds / dt) + 1, round(HISTORY / dt)
    while kept < parsed.number:
        observations, _ = envs.reset(seed=seed)
        for _ in range(round(CALM / dt)):
            observations = envs.step(act(observations))[0]
        draw = np.random.default_rng(seed) if parsed.ego == "any" else None
        for scene in record(envs, act, steps=steps, current=current, draw_ego=draw):
            if kept == parsed.number or scene.ego < 0:
                continue
            scene.save(folder / f"{scene.name.replace('/', '-').replace(':', '-')}-{seed}.scene")
            kept += 1
            count.tell(kept)
        seed += 1
    print(f"{folder}: {kept} scenes of {(steps - 1) * dt:.0f} s")
    return 0
