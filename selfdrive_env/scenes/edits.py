"""Scenes made of scenes: each function returns a new one and leaves its own as it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.config.checks import check_integer, check_number
from selfdrive_env.scenes.agents import KINDS, Agent, SceneError
from selfdrive_env.scenes.tracks import SERIES, SIZES, Tracks

if TYPE_CHECKING:
    from selfdrive_env.scenes.scene import Scene

__all__ = [
    *(
        "added",
        "as_heading",
        "driven",
        "left_out",
        "mirrored",
        "moved",
        "picked",
        "shortened",
        "sped_up",
    ),
    "wrapped",
]

ROUNDING = 1e-6
"""So far beyond pi an angle in single precision may be [rad]."""

PLACE = ("x", "y", "z", "heading", "speed")


def wrapped(angle: Any) -> Any:
    """Returns angles from -pi to pi; those that are there already stay as they are, to the bit."""
    angle = np.asarray(angle, np.float64)
    turned = (angle + math.pi) % (2.0 * math.pi) - math.pi
    return np.where(np.abs(angle) <= math.pi + ROUNDING, angle, turned)


def as_heading(angle: Any) -> NDArray[np.float32]:
    """Returns angles from -pi to below pi in single precision, in which pi is above pi."""
    out = np.asarray(angle, np.float32)
    return np.where(out >= np.float32(math.pi), -np.float32(math.pi), out)


def picked(scene: Scene, ids: Sequence[int]) -> Scene:
    """Returns the scene with these agents alone, in this order."""
    rows = [scene.index(one) for one in ids]
    tracks = scene.tracks
    if tracks is not None:
        tracks = Tracks(**{f.name: getattr(tracks, f.name)[rows] for f in fields(tracks)})
    place = {row: number for number, row in enumerate(rows)}
    return replace(
        scene,
        agents=tuple(scene.agents[row] for row in rows),
        tracks=tracks,
        ego=place.get(scene.ego, -1),
        of_interest=tuple(place[row] for row in scene.of_interest if row in place),
    )


def left_out(scene: Scene, ids: Sequence[int]) -> Scene:
    """Returns the scene without these agents."""
    gone = {scene.agents[scene.index(one)].id for one in ids}
    return picked(scene, [agent.id for agent in scene.agents if agent.id not in gone])


def added(scene: Scene, agent: Agent) -> Scene:
    """Returns the scene with one more agent, which has no recorded track."""
    tracks = scene.tracks
    if tracks is not None:
        row: dict[str, Any] = {name: 0 for name in (*SERIES, "valid")}
        row |= {name: getattr(agent, name) for name in (*SIZES, "id")}
        row["kind"] = KINDS.index(agent.kind) if agent.kind in KINDS else 0
        parts = {}
        for field in fields(tracks):
            old = getattr(tracks, field.name)
            new = np.full((1, *old.shape[1:]), row[field.name], old.dtype)
            parts[field.name] = np.concatenate([old, new])
        tracks = Tracks(**parts)
    return replace(scene, agents=(*scene.agents, agent), tracks=tracks)


def moved(scene: Scene, id: int, place: dict[str, Any]) -> Scene:
    """Returns the scene with an agent elsewhere; its recorded track moves and turns with it."""
    number = scene.index(id)
    agents, old = list(scene.agents), scene.agents[number]
    for name in place:
        if name not in PLACE:
            raise SceneError(f"agent {id} can be moved in {', '.join(PLACE)}, not in {name!r}")
    new = agents[number] = replace(old, **place)
    tracks = scene.tracks
    if tracks is not None and tracks.valid[number].any():
        there, turn = tracks.valid[number], new.heading - old.heading
        cos, sin = math.cos(turn), math.sin(turn)
        values = {name: getattr(tracks, name).copy() for name in SERIES}
        x, y = values["x"][number] - old.x, values["y"][number] - old.y
        vx, vy = values["vx"][number].copy(), values["vy"][number].copy()
        rows = {
            "x": new.x + cos * x - sin * y,
            "y": new.y + sin * x + cos * y,
            "z": values["z"][number] + (new.z - old.z),
            "heading": wrapped(values["heading"][number] + turn),
            "vx": cos * vx - sin * vy,
            "vy": sin * vx + cos * vy,
        }
        for name, row in rows.items():
            values[name][number] = np.where(there, row, 0.0)
        tracks = _series(tracks, values)
    return replace(scene, agents=tuple(agents), tracks=tracks)


def driven(scene: Scene, driver: str, ids: Sequence[int]) -> Scene:
    """Returns the scene with another driver for these agents."""
    rows = {scene.index(one) for one in ids}
    return replace(
        scene,
        agents=tuple(
            replace(agent, driver=driver) if number in rows else agent
            for number, agent in enumerate(scene.agents)
        ),
    )


def shortened(scene: Scene, steps: int, start: int) -> Scene:
    """Returns `steps` moments of a scene from `start` on, without who is replayed in others."""
    check_integer("start", start, 0, scene.current)
    check_integer("steps", steps, scene.current - start + 1, scene.steps - start)
    part, span = slice(start, start + steps), start * scene.dt
    if scene.tracks is not None:
        there: NDArray[np.bool_] = np.asarray(scene.tracks.valid[:, part].any(axis=1))
        seen = [
            agent.id
            for agent, valid in zip(scene.agents, there.tolist(), strict=True)
            if valid or agent.driver != "replay"
        ]
        scene = picked(scene, seen)
    tracks, lights = scene.tracks, scene.lights
    if tracks is not None:
        names = (*SERIES, "valid")
        tracks = replace(tracks, **{name: getattr(tracks, name)[:, part] for name in names})
    if lights is not None:
        lights = replace(lights, state=lights.state[:, part])
    agents = tuple(
        replace(
            agent,
            goals=tuple(
                replace(goal, time=(goal.time[0] - span, goal.time[1] - span))
                for goal in agent.goals
            ),
        )
        for agent in scene.agents
    )
    current = scene.current - start
    return replace(scene, agents=agents, tracks=tracks, lights=lights, steps=steps, current=current)


def mirrored(scene: Scene) -> Scene:
    """Returns the scene reflected in the x axis; traffic changes its side."""
    tracks, network = scene.tracks, scene.map
    if tracks is not None:
        values = {name: getattr(tracks, name).copy() for name in SERIES}
        for name in ("y", "heading", "vy"):
            values[name] = -values[name]
        tracks = _series(tracks, values)
    if isinstance(network, str):
        network = scene.network()
    return replace(
        scene,
        agents=tuple(_mirrored_agent(agent) for agent in scene.agents),
        tracks=tracks,
        map=None if network is None else network.mirrored(),
        roads=None if scene.roads is None else scene.roads.mirrored(),
        lights=None if scene.lights is None else scene.lights.mirrored(),
        left_hand=not scene.left_hand,
    )


def _mirrored_agent(agent: Agent) -> Agent:
    goals = tuple(
        replace(
            goal,
            y=-goal.y,
            outline=tuple((x, -y) for x, y in goal.outline[::-1]),
            heading=(-goal.heading[1], -goal.heading[0]),
        )
        for goal in agent.goals
    )
    return replace(agent, y=-agent.y, heading=-agent.heading, goals=goals)


def sped_up(scene: Scene, factor: float, ids: Sequence[int]) -> Scene:
    """Returns the scene with agents that are faster by a factor, below 1 slower.

    Recorded tracks are run through faster from the present moment on: where one was after t
    seconds it is after t / factor. A track that ends in between is valid as long as it lasts.
    """
    check_number("factor", factor, 0.05, 20.0)
    rows = sorted({scene.index(one) for one in ids})
    agents = list(scene.agents)
    for row in rows:
        agents[row] = replace(agents[row], speed=agents[row].speed * factor)
    tracks = scene.tracks
    if tracks is not None and rows:
        values = {name: getattr(tracks, name).copy() for name in (*SERIES, "valid")}
        steps = np.arange(scene.steps, dtype=np.float64)
        when = scene.current + (steps - scene.current) * np.where(steps < scene.current, 1, factor)
        for row in rows:
            for name, value in _resampled(tracks, row, when).items():
                values[name][row] = value
            later = steps >= scene.current
            for name in ("vx", "vy"):
                values[name][row, later] *= factor
        tracks = replace(_series(tracks, values), valid=values["valid"])
    return replace(scene, agents=tuple(agents), tracks=tracks)


def _resampled(tracks: Tracks, row: int, when: NDArray[np.float64]) -> dict[str, Any]:
    """Returns the track of an agent at moments between its steps [steps], valid between valid."""
    last = tracks.num_steps - 1
    before = np.clip(np.floor(when).astype(np.int64), 0, last)
    after = np.clip(np.ceil(when).astype(np.int64), 0, last)
    valid = tracks.valid[row, before] & tracks.valid[row, after] & (when <= last)
    share = when - before
    out: dict[str, Any] = {"valid": valid}
    for name in SERIES:
        value = getattr(tracks, name)[row].astype(np.float64)
        change = value[after] - value[before]
        if name == "heading":
            change = wrapped(change)
        between = value[before] + share * change
        between = wrapped(between) if name == "heading" else between
        out[name] = np.where(valid, between, 0.0)
    return out


def _series(tracks: Tracks, values: dict[str, Any]) -> Tracks:
    """Returns the tracks with other places and speeds, of the types that they have."""
    values = {**values, "heading": as_heading(values["heading"])}
    return replace(
        tracks,
        **{
            name: np.ascontiguousarray(values[name], getattr(tracks, name).dtype) for name in SERIES
        },
    )
