"""Places on the host by the kernels' formulas: bodies on their arcs, cells of the grid.

These work on whole arrays, in double precision where the kernels use single; tests compare both.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from selfdrive_env.state.arrays import F64, I64
from selfdrive_env.state.road import BLOCK_CELLS, CELL, Grid

__all__ = ["along_arc", "along_way", "box_centre", "cell_at", "observation_cell"]


def along_arc(
    x: Any, y: Any, cos: Any, sin: Any, travel: Any, curvature: Any
) -> tuple[F64, F64, F64, F64]:
    """Moves poses along circular arcs: `kernels.math.geometry.along_arc`.

    dx = ds sinc(dtheta), dy = ds sinc(dtheta / 2) sin(dtheta / 2) in the frame of the old heading.

    Args:
        x: East; all arguments broadcast against each other [m].
        y: North [m].
        cos: Heading.
        sin: Heading.
        travel: Arc length ds, negative backwards [m].
        curvature: Positive to the left [1/m].

    Returns:
        x, y, cos, sin at the end of the arcs.
    """
    travel, cos, sin = (np.asarray(one, np.float64) for one in (travel, cos, sin))
    turn = travel * curvature
    ahead = travel * np.sinc(turn / np.pi)
    left = travel * np.sinc(0.5 * turn / np.pi) * np.sin(0.5 * turn)
    return (
        x + ahead * cos - left * sin,
        y + ahead * sin + left * cos,
        cos * np.cos(turn) - sin * np.sin(turn),
        sin * np.cos(turn) + cos * np.sin(turn),
    )


def along_way(motion: Any, at: Any, share: Any = 1.0) -> tuple[F64, F64, F64, F64]:
    """Returns x, y of rear axles, cos and sin of headings in a step: on the arcs that they drove.

    Args:
        motion: `Motion`.
        at: Index of its arrays.
        share: Of the step.
    """
    cos, sin, slip_cos, slip_sin = (
        getattr(motion, name)[at].astype(np.float64)
        for name in ("cos", "sin", "slip_cos", "slip_sin")
    )
    way = cos * slip_cos - sin * slip_sin, sin * slip_cos + cos * slip_sin
    travel, curvature = motion.travel[at], motion.curvature[at]
    x, y, cos, sin = along_arc(motion.x[at], motion.y[at], *way, travel * share, curvature)
    return x, y, cos * slip_cos + sin * slip_sin, sin * slip_cos - cos * slip_sin


def box_centre(x: Any, y: Any, cos: Any, sin: Any, wheelbase: Any) -> tuple[Any, Any]:
    """Returns the centres of bodies: half a wheelbase ahead of their rear axles [m].

    Args:
        x: Middle of the rear axle, east; all arguments broadcast against each other [m].
        y: North [m].
        cos: Heading.
        sin: Heading.
        wheelbase: [m]

    Returns:
        x, y in the precision of the arguments.
    """
    half = 0.5 * wheelbase
    return x + half * cos, y + half * sin


def cell_at(grid: Grid, x: Any, y: Any, layer: int, map_index: int) -> I64:
    """Returns the number of the cell that holds each point, -1 away from roads.

    The same as `kernels.surface.cell_at`.

    Args:
        grid: Of the pool.
        x: East [m].
        y: North [m].
        layer: Surface of the map.
        map_index: Position in the pool.
    """
    blocks_x, blocks_y, offset, _ = (int(n) for n in grid.shape[map_index])
    i = np.floor((x - grid.origin[map_index, 0]) / CELL).astype(np.int64)
    j = np.floor((y - grid.origin[map_index, 1]) / CELL).astype(np.int64)
    known = (i >= 0) & (j >= 0) & (i < blocks_x * BLOCK_CELLS) & (j < blocks_y * BLOCK_CELLS)
    i, j = np.where(known, i, 0), np.where(known, j, 0)
    entry = offset + (layer * blocks_y + j // BLOCK_CELLS) * blocks_x + i // BLOCK_CELLS
    block = np.where(known, grid.block[entry], -1).astype(np.int64)
    cell = block * BLOCK_CELLS**2 + j % BLOCK_CELLS * BLOCK_CELLS + i % BLOCK_CELLS
    return np.where(block >= 0, cell, -1)


def observation_cell(cell: Any) -> Any:
    """Returns the numbers of the observation cells that hold cells of the grid (not -1)."""
    block, place = cell // BLOCK_CELLS**2, cell % BLOCK_CELLS**2
    edge = BLOCK_CELLS // 2
    return block * edge**2 + place // BLOCK_CELLS // 2 * edge + place % BLOCK_CELLS // 2
