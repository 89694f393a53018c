"""Which maps the next draws of worlds give: the numbers of `kernels.spawn.draw_world`, foreseen.

A draw depends on a world's seed, number and tick alone, so the host knows before a step or a reset
which maps it needs, and fills in those that are missing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.kernels.math.random import DRAW_WORLD, EIGHT, LOW, M0, M1, SHIFT, TO_UNIT, W0, W1
from selfdrive_env.state.params import NEXT_STEP, SAME_STEP, Params
from selfdrive_env.state.world import Worlds

__all__ = ["due_worlds", "maps_drawn", "steps_to_go"]

ROUNDS = 10
"""Of Philox."""

NEVER = 2**62
"""Steps."""


def maps_drawn(worlds: Worlds, chosen: NDArray[Any], num_maps: int) -> NDArray[np.int64]:
    """Returns on which maps worlds would be if they were drawn in the next step or reset.

    Args:
        worlds: The batch.
        chosen: Which worlds, indices or bool [W].
        num_maps: Of the pool.

    Returns:
        Place in the pool of each chosen world.
    """
    number, tick = worlds.stream[chosen], worlds.tick[chosen] + np.uint32(1)
    key0, key1 = worlds.key[chosen, 0], worlds.key[chosen, 1]
    c0, c1, c2 = np.zeros_like(number), number, tick
    c3 = np.full_like(number, DRAW_WORLD << 16)
    for _ in range(ROUNDS):
        p0, p1 = M0 * c0.astype(np.uint64), M1 * c2.astype(np.uint64)
        high0, low0 = ((p0 >> SHIFT).astype(np.uint32), (p0 & LOW).astype(np.uint32))
        high1, low1 = ((p1 >> SHIFT).astype(np.uint32), (p1 & LOW).astype(np.uint32))
        c0, c1, c2, c3 = high1 ^ c1 ^ key0, low1, high0 ^ c3 ^ key1, low0
        key0, key1 = key0 + W0, key1 + W1
    pick = (c0 >> EIGHT).astype(np.float32) * TO_UNIT
    return np.minimum((pick * np.float32(num_maps)).astype(np.int64), num_maps - 1)


def due_worlds(worlds: Worlds, params: Params) -> NDArray[np.int64]:
    """Returns which worlds the next step draws anew.

    Args:
        worlds: The batch.
        params: Of the batch.
    """
    if params.autoreset == SAME_STEP:
        return np.flatnonzero(worlds.clock + 1 >= worlds.horizon)
    return np.flatnonzero(worlds.ended) if params.autoreset == NEXT_STEP else np.zeros(0, np.int64)


def steps_to_go(worlds: Worlds, params: Params) -> int:
    """Returns how many steps draw no world anew for sure, counted from the one after the next.

    Args:
        worlds: The batch.
        params: Of the batch.
    """
    if params.autoreset not in (SAME_STEP, NEXT_STEP):
        return NEVER
    return max(int((worlds.horizon - worlds.clock).min()) - 2, 0)
