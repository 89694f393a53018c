"""Labels of a camera picture: class, agent and depth of each pixel, and what is seen of agents.

A warp shares out the pixels; its first thread finds the boxes.
"""

from __future__ import annotations

import numpy as np

from selfdrive_env.compiler.njit import njit
from selfdrive_env.compiler.threads import warp_barrier, warp_lane, warp_size
from selfdrive_env.state.camera.shots import (
    BOX_ALONE,
    BOX_BOTTOM,
    BOX_LEFT,
    BOX_RIGHT,
    BOX_TOP,
    BOX_VISIBLE,
)

__all__ = ["clear_labels", "write_labels"]

ONE = np.float32(1.0)


@njit
def write_labels(kind, agent, depth, box, nearness, owner, far):
    """Writes the labels of a row.

    Args:
        kind: Class of each pixel, [H, W].
        agent: Slot of its agent + 1, or 0, [H, W].
        depth: [H, W] [m].
        box: Of all agents, columns `BOX_*`; how many pixels each has alone is there already.
        nearness: 1 / depth, [H W] [1/m].
        owner: Class and 256 times the slot + 1, [H W].
        far: Largest depth [m].
    """
    rows, columns = kind.shape
    for row in range(rows):
        for column in range(warp_lane(), columns, warp_size()):
            pixel = row * columns + column
            code, close = np.int64(owner[pixel]), nearness[pixel]
            kind[row, column] = np.uint8(code & 255)
            agent[row, column] = np.int32(code >> 8)
            depth[row, column] = far if close * far <= ONE else ONE / close
    if warp_lane() == 0:
        bound_agents(box, owner, rows, columns)
    warp_barrier()


@njit
def bound_agents(box, owner, rows, columns):
    """Finds first and last row and column of each agent, and how many of its pixels are seen."""
    for other in range(box.shape[0]):
        for column in range(BOX_VISIBLE):
            box[other, column] = -1
        box[other, BOX_VISIBLE] = 0
    for row in range(rows):
        for column in range(columns):
            other = (np.int64(owner[row * columns + column]) >> 8) - 1
            if other < 0:
                continue
            if box[other, BOX_VISIBLE] == 0:
                box[other, BOX_LEFT] = column
                box[other, BOX_TOP] = row
            box[other, BOX_LEFT] = min(np.int64(box[other, BOX_LEFT]), column)
            box[other, BOX_RIGHT] = max(np.int64(box[other, BOX_RIGHT]), column)
            box[other, BOX_BOTTOM] = row
            box[other, BOX_VISIBLE] += 1


@njit
def clear_labels(shots, row, far):
    """Empties the labels of a row without an agent."""
    for line in range(shots.kind.shape[1]):
        for column in range(warp_lane(), shots.kind.shape[2], warp_size()):
            shots.kind[row, line, column] = 0
            shots.agent[row, line, column] = 0
            shots.depth[row, line, column] = far
    for other in range(warp_lane(), shots.box.shape[1], warp_size()):
        for column in range(BOX_VISIBLE):
            shots.box[row, other, column] = -1
        shots.box[row, other, BOX_VISIBLE] = 0
        shots.box[row, other, BOX_ALONE] = 0
