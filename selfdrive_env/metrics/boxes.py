"""Boxes of bodies: their corners, and which of them overlap at the same step."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.kernels.math.geometry import boxes_gap
from selfdrive_env.metrics.lines.search import compiled
from selfdrive_env.scenes.tracks import Tracks
from selfdrive_env.state.arrays import F64, I64
from selfdrive_env.state.road import LEVEL_HEIGHT

__all__ = ["FRONT_LEFT", "FRONT_RIGHT", "REAR_LEFT", "REAR_RIGHT", "Contacts", "contacts",
    "corners"]  # fmt: skip

TOUCH = 1e-6
"""Boxes that share no more than this are only touching [m]."""

FRONT_LEFT, FRONT_RIGHT, REAR_RIGHT, REAR_LEFT = range(4)
"""Corners, clockwise."""


class Contacts(NamedTuple):
    """Pairs of bodies that overlap, each in both orders, by step."""

    step: I64
    agent: I64
    other: I64


def corners(tracks: Tracks) -> tuple[F64, F64]:
    """Returns x and y of the four corners of each box, [agent, step, 4] [m].

    Args:
        tracks: Of the bodies.
    """
    heading = tracks.heading.astype(np.float64)[..., None]
    ahead = 0.5 * tracks.length.astype(np.float64)[:, None, None] * np.array([1.0, 1.0, -1.0, -1.0])
    left = 0.5 * tracks.width.astype(np.float64)[:, None, None] * np.array([1.0, -1.0, -1.0, 1.0])
    cos, sin = np.cos(heading), np.sin(heading)
    x = tracks.x[..., None] + ahead * cos - left * sin
    y = tracks.y[..., None] + ahead * sin + left * cos
    return x, y


def contacts(tracks: Tracks, *, ignore_height: bool = False, world: I64 | None = None) -> Contacts:
    """Returns which boxes overlap; touching is no overlap.

    Bodies whose elevations differ by `LEVEL_HEIGHT` or more are on different levels of a road.

    Args:
        tracks: Of the bodies.
        ignore_height: Whether levels do not matter.
        world: Of each body, in rising order; None: all are in one.
    """
    heading = tracks.heading.T.astype(np.float64)
    body = np.stack([tracks.x.T, tracks.y.T, tracks.z.T, np.cos(heading), np.sin(heading)], axis=-1)
    half = 0.5 * np.stack([tracks.length, tracks.width], axis=1).astype(np.float64)
    level = np.inf if ignore_height else LEVEL_HEIGHT
    valid = np.ascontiguousarray(tracks.valid.T)
    own = np.zeros(tracks.num_agents, np.int64) if world is None else world
    room = 4 * tracks.num_agents + 64
    while True:
        pairs = np.zeros((room, 3), np.int64)
        count = _contacts(body, half, valid, level, own, pairs)
        if count <= room:
            break
        room = count
    found = pairs[:count]
    both = np.concatenate([found, found[:, [0, 2, 1]]])
    both = both[np.lexsort(both.T[::-1])]
    return Contacts(*both.T)


@compiled
def _contacts(
    body: F64, half: F64, valid: NDArray[np.bool_], level: float, world: I64, pairs: I64
) -> Any:
    """Writes step and both bodies of each overlap as far as there is room; returns the number."""
    steps, agents = valid.shape
    near = np.empty((agents, 4))
    place = np.empty(agents, np.int64)
    found = 0
    for step in range(steps):
        count = 0
        for agent in range(agents):
            if valid[step, agent]:
                near[count, 0], near[count, 1] = body[step, agent, 0], body[step, agent, 1]
                near[count, 2] = body[step, agent, 2]
                near[count, 3] = np.sqrt(half[agent, 0] ** 2 + half[agent, 1] ** 2)
                place[count] = agent
                count += 1
        for i in range(count):
            x, y, z, radius = near[i]
            for j in range(i + 1, count):
                if world[place[j]] != world[place[i]]:
                    break
                dx, dy = near[j, 0] - x, near[j, 1] - y
                reach = radius + near[j, 3]
                if dx * dx + dy * dy >= reach * reach or abs(near[j, 2] - z) >= level:
                    continue
                a, b = place[i], place[j]
                gap = boxes_gap(
                    dx,
                    dy,
                    body[step, a, 3],
                    body[step, a, 4],
                    half[a, 0],
                    half[a, 1],
                    body[step, b, 3],
                    body[step, b, 4],
                    half[b, 0],
                    half[b, 1],
                )
                if gap < -TOUCH:
                    if found < len(pairs):
                        pairs[found, 0], pairs[found, 1], pairs[found, 2] = step, a, b
                    found += 1
    return found
