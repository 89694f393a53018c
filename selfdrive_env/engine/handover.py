"""Worlds that go on in another engine, whose pool has their maps in other places."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["hand_over"]

COUNTED = {
    "agents.segment": "segment",
    "agents.stopped_at": "line",
    "agents.front_junction": "junction",
    "bodies.goal_lane": "lane",
}
"""Field of a state -> what its entries count over the pool; below 0 it is none."""


def hand_over(old: Any, new: Any, maps: Mapping[int, int], scenes: Mapping[int, int]) -> None:
    """Puts the worlds of one engine into another, which goes on where the first one stopped.

    Args:
        old: On the CPU.
        new: Of the same settings, worlds and slots; its pool has the maps that worlds are on.
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
        moved = [
            new.pool.offset(int(there), what) - old.pool.offset(int(here), what)
            for here, there in zip(before, after, strict=True)
        ]
        array = arrays[name]
        by_world = np.array(moved, array.dtype).reshape(-1, *[1] * (array.ndim - 1))
        arrays[name] = np.where(array < 0, array, array + by_world)
    arrays["worlds.map"] = after
    numbers = arrays["worlds.scene"]
    arrays["worlds.scene"] = np.array(
        [scenes.get(number, -1) for number in numbers.tolist()], numbers.dtype
    )
    new.pool.load(np.unique(after).tolist())
    new.restore(arrays)
