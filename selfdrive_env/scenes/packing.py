"""Parts of a scene as named arrays, and back: what its file holds and its digest counts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.maps import columns
from selfdrive_env.maps.road_network import RoadNetwork
from selfdrive_env.scenes.agents import DRIVERS, KINDS, Agent, Goal
from selfdrive_env.scenes.roads import Lights, Roads
from selfdrive_env.scenes.tracks import Tracks

if TYPE_CHECKING:
    from selfdrive_env.scenes.scene import Scene

__all__ = ["pack", "unpack"]

NUMBERS = ("x", "y", "z", "heading", "speed", "length", "width", "height")
GOAL = ("x", "y", "z", "radius")
SPANS = ("time", "heading", "speed")

PARTS: dict[str, Any] = {"tracks": Tracks, "roads": Roads, "lights": Lights}
MAP = "map/"
"""What the names of a map's arrays begin with."""

ABOUT: dict[str, type] = {
    **{"name": str, "dt": float, "steps": int, "current": int, "ego": int, "left_hand": bool},
    **{"of_interest": list, "origin": list, "map": str},
}


def pack(scene: Scene) -> columns.Arrays:
    """Returns all of a scene but its source."""
    about = {
        "name": scene.name,
        "dt": float(scene.dt),
        "steps": int(scene.steps),
        "current": int(scene.current),
        "ego": int(scene.ego),
        "left_hand": bool(scene.left_hand),
        "of_interest": [int(number) for number in scene.of_interest],
        "origin": [float(value) for value in scene.origin],
        "map": scene.map if isinstance(scene.map, str) else "",
    }
    out = {"about": columns.to_text(about), **_pack_agents(scene.agents)}
    for name, kind in PARTS.items():
        part = getattr(scene, name)
        if part is not None:
            for field in fields(kind):
                out[f"{name}.{field.name}"] = getattr(part, field.name)
    if isinstance(scene.map, RoadNetwork):
        out |= {f"{MAP}{name}": array for name, array in scene.map.arrays().items()}
    return out


def unpack(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """Returns the fields of the scene that `pack` was given; a ValueError for other arrays."""
    about = columns.from_text(arrays, "about")
    if not isinstance(about, dict) or about.keys() != ABOUT.keys():
        raise ValueError(f"about has not the entries {', '.join(ABOUT)}")
    for name, kind in ABOUT.items():
        if type(about[name]) is not kind:
            raise ValueError(f"{name} is {str(about[name])[:40]!r}, which is no {kind.__name__}")
    if [type(value) for value in about["origin"]] != [float] * 3:
        raise ValueError(f"origin is {str(about['origin'])[:80]}, not three numbers")
    if not all(math.isfinite(value) for value in about["origin"]):
        raise ValueError(f"origin is {about['origin']}, not three finite numbers")
    if not all(type(number) is int for number in about["of_interest"]):
        raise ValueError("of_interest holds what is no whole number")
    out: dict[str, Any] = {**about, "origin": tuple(about["origin"])}
    out["of_interest"] = tuple(about["of_interest"])
    out["agents"] = _unpack_agents(arrays)
    for name, kind in PARTS.items():
        if any(key.startswith(f"{name}.") for key in arrays):
            out[name] = _unpack_part(arrays, name, kind)
    network = {k.removeprefix(MAP): a for k, a in arrays.items() if k.startswith(MAP)}
    out["map"] = RoadNetwork.from_arrays(network) if network else about["map"] or None
    if network:
        out["map"].check()
    return out


def _unpack_part(arrays: Mapping[str, NDArray[Any]], name: str, kind: Any) -> Any:
    """Returns tracks, roads or lights, each array of the type that it is declared with."""
    values = {}
    for field in fields(kind):
        declared = str(field.type).partition("np.")[2].removesuffix("]").removesuffix("_")
        values[field.name] = _array(arrays, f"{name}.{field.name}", declared)
    return kind(**values)


def _array(
    arrays: Mapping[str, NDArray[Any]], name: str, kind: str, shape: tuple[int, ...] | None = None
) -> NDArray[Any]:
    array = arrays.get(name)
    if array is None:
        raise ValueError(f"{name} is missing")
    if array.dtype != np.dtype(kind) or shape not in (None, array.shape):
        wanted = kind if shape is None else f"{kind} of shape {shape}"
        raise ValueError(f"{name} is {array.dtype} of shape {array.shape}, wanted {wanted}")
    return array


def _pack_agents(agents: Sequence[Agent]) -> columns.Arrays:
    goals = [goal for agent in agents for goal in agent.goals]
    texts = [name for agent in agents for name in agent.route]
    texts += [name for goal in goals for name in goal.lanes]
    outline = [point for goal in goals for point in goal.outline]
    out: columns.Arrays = {
        "agents.id": np.array([agent.id for agent in agents], np.int64),
        "agents.kind": np.array([KINDS.index(agent.kind) for agent in agents], np.uint8),
        "agents.driver": np.array([DRIVERS.index(agent.driver) for agent in agents], np.uint8),
        "agents.number": np.array([[getattr(a, n) for n in NUMBERS] for a in agents], np.float64),
        "agents.route": np.array([len(agent.route) for agent in agents], np.int64),
        "agents.goals": np.array([len(agent.goals) for agent in agents], np.int64),
    }
    if goals:
        numbers = [
            [*(getattr(goal, n) for n in GOAL), *(v for n in SPANS for v in getattr(goal, n))]
            for goal in goals
        ]
        out["goals.number"] = np.array(numbers, np.float64)
        out["goals.lanes"] = np.array([len(goal.lanes) for goal in goals], np.int64)
        out["goals.corners"] = np.array([len(goal.outline) for goal in goals], np.int64)
        out["goals.outline"] = np.array(outline, np.float64).reshape(-1, 2)
    if texts:
        out["lanes"] = columns.to_text(texts)
    return out


def _unpack_agents(arrays: Mapping[str, NDArray[Any]]) -> tuple[Agent, ...]:
    ids = _array(arrays, "agents.id", "int64")
    num = len(ids)
    kinds = _codes(arrays, "agents.kind", num, KINDS)
    drivers = _codes(arrays, "agents.driver", num, DRIVERS)
    numbers = _array(arrays, "agents.number", "float64", (num, len(NUMBERS))).tolist()
    texts = columns.from_text(arrays, "lanes") if "lanes" in arrays else []
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ValueError("lanes is no list of names")
    counts = _array(arrays, "agents.route", "int64", (num,))
    num_texts = int(counts.sum()) if "goals.number" in arrays else len(texts)
    routes = _split(texts[:num_texts], counts, "agents.route")
    goals = _split(
        _unpack_goals(arrays, texts[num_texts:]),
        _array(arrays, "agents.goals", "int64", (num,)),
        "agents.goals",
    )
    return tuple(
        Agent(
            id=name,
            kind=kind,
            driver=driver,
            route=tuple(route),
            goals=tuple(own),
            **dict(zip(NUMBERS, row, strict=True)),
        )
        for name, kind, driver, route, own, row in zip(
            ids.tolist(), kinds, drivers, routes, goals, numbers, strict=True
        )
    )


def _unpack_goals(arrays: Mapping[str, NDArray[Any]], texts: list[str]) -> list[Goal]:
    if "goals.number" not in arrays:
        return []
    numbers = _array(arrays, "goals.number", "float64")
    num, width = len(numbers), len(GOAL) + 2 * len(SPANS)
    numbers = _array(arrays, "goals.number", "float64", (num, width))
    lanes = _split(texts, _array(arrays, "goals.lanes", "int64", (num,)), "goals.lanes")
    points = _array(arrays, "goals.outline", "float64")
    if points.shape != (len(points), 2):
        raise ValueError(f"goals.outline has shape {points.shape}, wanted pairs")
    corners = _array(arrays, "goals.corners", "int64", (num,))
    outlines = _split([tuple(point) for point in points.tolist()], corners, "goals.corners")
    out = []
    for row, names, outline in zip(numbers.tolist(), lanes, outlines, strict=True):
        spans: dict[str, Any] = {
            name: tuple(row[4 + 2 * i : 6 + 2 * i]) for i, name in enumerate(SPANS)
        }
        place = dict(zip(GOAL, row, strict=False))
        out.append(Goal(**place, **spans, outline=tuple(outline), lanes=tuple(names)))
    return out


def _codes(
    arrays: Mapping[str, NDArray[Any]], name: str, num: int, words: Sequence[str]
) -> list[str]:
    codes = _array(arrays, name, "uint8", (num,))
    if codes.size and codes.max() >= len(words):
        raise ValueError(f"{name} has the code {codes.max()}, known are 0 to {len(words) - 1}")
    return [words[code] for code in codes.tolist()]


def _split(items: list[Any], counts: NDArray[Any], name: str) -> list[list[Any]]:
    """Returns lists of lengths that are counted."""
    if (counts < 0).any() or (counts > len(items)).any() or counts.sum() != len(items):
        raise ValueError(f"{name} counts other than the {len(items)} that there are")
    ends = np.cumsum(counts).tolist()
    return [items[end - count : end] for end, count in zip(ends, counts.tolist(), strict=True)]
