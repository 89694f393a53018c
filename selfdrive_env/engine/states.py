"""Whether the arrays of a state can harm kernels: each alone, then those that belong together.

Kernels look nothing over: an index that points beyond an array ends the process. Worlds also go on
in another engine from their state, where its pool has their maps in other places.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.config.presets import BODY_TYPES
from selfdrive_env.state.bounds import BOUNDS, default_bound
from selfdrive_env.state.params import NO_SCENES
from selfdrive_env.state.world import ABSENT

__all__ = ["as_array", "check_maps", "check_values", "limits_of"]

Arrays = Mapping[str, NDArray[Any]]

HEADING_SLACK = 0.02
"""By how much the length of a heading's vector may differ from 1."""


def as_array(name: str, value: Any) -> NDArray[Any]:
    """Returns an entry of a state as an array, a ValueError that names it for what is none."""
    try:
        return np.asarray(value)
    except Exception as error:  # whatever its type makes of it
        raise ValueError(f"state entry {name!r} is no array: {error}") from None


COUNTED = {
    "agents.segment": "segment",
    "agents.stopped_at": "line",
    "agents.front_junction": "junction",
    "bodies.goal_lane": "lane",
}
"""Field of a state -> what its entries count over the pool; below 0 it is none."""


def limits_of(engine: Any) -> dict[str, float]:
    """Returns what the names in `state.bounds` stand for, in a batch.

    Args:
        engine: Of the batch.
    """
    return {
        "map": len(engine.maps) - 1,
        "segment": len(engine.lanes.segment) - 1,
        "lane": len(engine.lanes.length) - 1,
        "line": len(engine.signs.line) - 1,
        "type": len(BODY_TYPES) - 1,
        "slots": engine.num_slots,
        "scene": len(engine.scenes.map) - 1,
        "last_slot": engine.num_slots - 1,
        "horizon": engine.params.horizon,
        "horizon_low": _shortest(engine),
        "dt": float(engine.params.dt),
        "dt_high": float(engine.params.dt_high),
        "dt_ns": engine.params.dt_ns,
        "dt_ns_high": max(engine.params.dt_ns, math.ceil(float(engine.params.dt_high) * 1e9)),
        "lane_length": float(engine.lanes.length.max()) + 1.0,
    }


def _shortest(engine: Any) -> int:
    """Returns the steps of the shortest episode."""
    if engine.params.scene_order != NO_SCENES:
        return int(engine.scenes.horizon.min())
    steps: int = engine.settings.steps
    return steps - (steps < engine.params.horizon)


def check_maps(engine: Any, maps: NDArray[Any]) -> None:
    """Refuses maps of worlds that the pool does not have.

    Args:
        engine: Of the batch that they are for.
        maps: `Worlds.map`, [W].

    Raises:
        ValueError: As `check_values` does; that needs the lanes of these maps.
    """
    high = len(engine.maps) - 1
    _refuse("worlds.map", maps, (maps < 0) | (maps > high), f"from 0 to {high}")


def check_values(engine: Any, arrays: Arrays, rows: NDArray[Any]) -> None:
    """Refuses arrays of a state whose values kernels must not meet.

    Args:
        engine: Of the batch that they are for.
        arrays: By "struct.field", of the right types and shapes; all those that make up a state.
        rows: `Bodies.row` of the batch.

    Raises:
        ValueError: Names the array, the value and what is allowed.
    """
    limits = limits_of(engine)
    absent = arrays["agents.status"] == ABSENT
    for name, array in arrays.items():
        bound = BOUNDS.get(name, default_bound(array.dtype))
        low, high = (limits[one] if isinstance(one, str) else one for one in bound[:2])
        bad = ~((array >= low) & (array <= high))  # also what is no number
        if bound.absent:
            bad &= ~(absent & (array == 0))
        _refuse(name, array, bad, f"from {low:.9g} to {high:.9g}")
    name = "bodies.row"
    _refuse(name, arrays[name], arrays[name] != rows, "what these settings give")
    _check_turns(engine, arrays["worlds.map"], arrays["lights.turn"])
    _check_agents(engine, arrays, ~absent)
    if engine.params.scene_order != NO_SCENES:
        scene, maps = arrays["worlds.scene"], arrays["worlds.map"]
        bad = (scene < 0) | (engine.scenes.map[scene] != maps)
        _refuse("worlds.scene", scene, bad, "a scene on the world's map")


def _refuse(name: str, array: NDArray[Any], bad: Any, allowed: str) -> None:
    """Raises a ValueError that tells of the first bad element, if there is one."""
    if not bad.any():
        return
    place = tuple(np.argwhere(bad)[0].tolist())
    raise ValueError(
        f"state entry {name!r} is damaged: it must be {allowed}, got {array[place]} at "
        f"{list(place)}"
    )


def _check_turns(engine: Any, maps: NDArray[Any], turns: NDArray[Any]) -> None:
    """Refuses turns of lights that the programs of a world's map do not have."""
    signs = engine.signs
    program = signs.map_program_first[maps][:, None] + np.arange(turns.shape[1])
    used = program < signs.map_program_first[maps + 1][:, None]
    groups = np.append(np.diff(signs.program_first), 0)
    groups = groups[np.minimum(program, len(groups) - 1)]
    for world, place in np.argwhere(used & ((turns < 0) | (turns >= groups)))[:1].tolist():
        raise ValueError(
            f"state entry 'lights.turn' is damaged: a program of {engine.maps[maps[world]].name} "
            f"must have one from 0 to {groups[world, place] - 1}, got {turns[world, place]}"
        )


def _check_agents(engine: Any, arrays: Arrays, present: NDArray[np.bool_]) -> None:
    """Refuses agents in a world that are on another map, have no goal or no heading."""
    lanes, maps = engine.lanes, arrays["worlds.map"]
    low, high = (lanes.map_lane_first[maps + one][:, None] for one in (0, 1))
    lane = lanes.segment_lane[arrays["agents.segment"]]
    name = "agents.segment"
    bad = present & ((lane < low) | (lane >= high))
    _refuse(name, arrays[name], bad, "a segment of the world's map")

    goal, count = arrays["agents.goal"], arrays["bodies.num_goals"]
    _refuse("bodies.num_goals", count, present & (count < 1), "at least 1 for who is in the world")
    _refuse("agents.goal", goal, present & (goal >= count), "below bodies.num_goals")
    target = arrays["bodies.goal_lane"]
    in_use = present[..., None] & (np.arange(target.shape[2]) < count[..., None])
    bad = in_use & ((target < low[..., None]) | (target >= high[..., None]))
    _refuse("bodies.goal_lane", target, bad, "a lane of the world's map")

    norm = np.hypot(arrays["agents.cos"], arrays["agents.sin"])
    bad = present & (np.abs(norm - 1.0) > HEADING_SLACK)
    _refuse("agents.cos", arrays["agents.cos"], bad, "the cosine to the sine of agents.sin")


def hand_over(old: Any, new: Any, maps: Mapping[int, int], scenes: Mapping[int, int]) -> None:
    """Puts the worlds of one engine into another, which goes on where the first one stopped.

    Args:
        old: On the CPU or a device.
        new: There, of the same settings, worlds and slots; its pool has the maps of the worlds.
        maps: Place of a map in the old pool -> in the new one.
        scenes: Place of a scene in the old table -> in the new one.
    """
    arrays = {**new.state(), **new.shown()}
    for name, value in {**old.state(), **old.shown()}.items():
        if value.shape == arrays[name].shape:
            arrays[name] = value
            continue
        common = tuple(map(slice, np.minimum(value.shape, arrays[name].shape)))
        arrays[name][...] = 0
        arrays[name][common] = value[common]
    before = arrays["worlds.map"]
    after = np.array([maps[place] for place in before.tolist()], before.dtype)
    for name, what in COUNTED.items():
        array = arrays[name]
        low, high, first = (
            np.array([ask(int(place), what) for place in places], array.dtype).reshape(
                -1, *[1] * (array.ndim - 1)
            )
            for ask, places in (
                (old.pool.offset, before), (old.pool.end, before), (new.pool.offset, after),
            )
        )  # fmt: skip
        # Slots that nobody is in may have kept what belonged to the map of an earlier scene.
        none = first if name == "agents.segment" else -1
        here = (array >= low) & (array < high)
        arrays[name] = np.where(here, array - low + first, none).astype(array.dtype)
    arrays["worlds.map"] = after
    numbers = arrays["worlds.scene"]
    arrays["worlds.scene"] = np.array(
        [scenes.get(number, -1) for number in numbers.tolist()], numbers.dtype
    )
    new.pool.load(np.unique(after).tolist())
    new.restore(arrays)
