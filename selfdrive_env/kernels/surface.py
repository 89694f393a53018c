"""The grid of a map and its drivable surface: which cell, on the road or off it.

A box lies wholly on the surface exactly if its centre does and no edge of the surface meets it.
"""

from __future__ import annotations

import numpy as np

from selfdrive_env.compiler.njit import inline, njit
from selfdrive_env.kernels.dynamics.jerk_bicycle import pose_at, sub_steps
from selfdrive_env.kernels.math.geometry import HALF, ZERO, box_cuts_edge, segments_cross
from selfdrive_env.state.road import CELL

__all__ = ["box_offroad", "cell_at", "observation_cell", "point_on_surface"]

INVERSE_CELL = np.float32(1.0 / CELL)  # [1/m]
CELL_EDGE = np.float32(CELL)  # [m]
MAX_SWEEP_PARTS = 32
CLEAR_MARGIN = np.float32(0.01)  # [m]


@njit
def cell_at(grid, x, y, layer, map_index):
    """Returns the number of the grid cell that holds (x, y) on a layer, -1 away from roads."""
    along = (x - grid.origin[map_index, 0]) * INVERSE_CELL
    up = (y - grid.origin[map_index, 1]) * INVERSE_CELL
    if not (along >= ZERO and up >= ZERO):
        return np.int64(-1)
    i = np.int64(along)
    j = np.int64(up)
    blocks_x = np.int64(grid.shape[map_index, 0])
    blocks_y = np.int64(grid.shape[map_index, 1])
    block_i = i >> 4
    block_j = j >> 4
    if block_i >= blocks_x or block_j >= blocks_y:
        return np.int64(-1)
    start = np.int64(grid.shape[map_index, 2])
    block = np.int64(grid.block[start + (layer * blocks_y + block_j) * blocks_x + block_i])
    if block < 0:
        return np.int64(-1)
    return block * 256 + ((j & 15) << 4) + (i & 15)


@inline
def cell_range(grid, low_x, high_x, low_y, high_y, map_index):
    """Returns the first and last column and row of cells that a rectangle meets."""
    x = grid.origin[map_index, 0]
    y = grid.origin[map_index, 1]
    columns = np.int64(grid.shape[map_index, 0]) << 4
    rows = np.int64(grid.shape[map_index, 1]) << 4
    left = np.int64(max((low_x - x) * INVERSE_CELL, ZERO))
    right = min(np.int64((high_x - x) * INVERSE_CELL), columns - 1)
    bottom = np.int64(max((low_y - y) * INVERSE_CELL, ZERO))
    top = min(np.int64((high_y - y) * INVERSE_CELL), rows - 1)
    return left, right, bottom, top


@inline
def row_cells(grid, i, last, j, layer, map_index):
    """Returns the numbers of the cells from column i to `last` of row j, within one block.

    Such cells are numbered one after the other, and so are their entries. Without a block the first
    number is negative.
    """
    blocks_x = np.int64(grid.shape[map_index, 0])
    blocks_y = np.int64(grid.shape[map_index, 1])
    line = np.int64(grid.shape[map_index, 2]) + (layer * blocks_y + (j >> 4)) * blocks_x
    base = np.int64(grid.block[line + (i >> 4)]) * 256 + ((j & 15) << 4)
    return base + (i & 15), base + min(last - (i & ~15), 15)


@njit
def observation_cell(cell):
    """Returns the number of the observation cell that holds a grid cell."""
    return (cell >> 8) * 64 + (((cell >> 4) & 15) >> 1) * 8 + ((cell & 15) >> 1)


@njit
def on_surface(grid, x, y, cell, map_index, i, j):
    """Whether (x, y), which lies in a cell with corner indices (i, j), is on the surface.

    The way from the point to the cell's centre stays in the cell, so the number of the cell's
    edges that it crosses tells whether both are on the same side.
    """
    centre_x = grid.origin[map_index, 0] + (np.float32(i) + HALF) * CELL_EDGE
    centre_y = grid.origin[map_index, 1] + (np.float32(j) + HALF) * CELL_EDGE
    result = grid.inside[cell] != 0
    for entry in range(grid.edge_first[cell], grid.edge_first[cell + 1]):
        crosses = segments_cross(
            x - centre_x,
            y - centre_y,
            ZERO,
            ZERO,
            grid.edge[entry, 0] - centre_x,
            grid.edge[entry, 1] - centre_y,
            grid.edge[entry, 2] - centre_x,
            grid.edge[entry, 3] - centre_y,
        )
        result = result != crosses
    return result


@njit
def point_on_surface(grid, x, y, layer, map_index):
    """Whether a point lies on the drivable surface of a layer."""
    cell = cell_at(grid, x, y, layer, map_index)
    if cell < 0:
        return False
    if grid.edge_first[cell] == grid.edge_first[cell + 1]:
        return grid.inside[cell] != 0
    i = np.int64((x - grid.origin[map_index, 0]) * INVERSE_CELL)
    j = np.int64((y - grid.origin[map_index, 1]) * INVERSE_CELL)
    return on_surface(grid, x, y, cell, map_index, i, j)


@njit
def sweep_cuts_edge(x0, y0, x1, y1, sweep):
    """Whether the edge (x0, y0)-(x1, y1) meets the box at one of the poses of its sweep."""
    length = abs(sweep.travel)
    if sweep.slip_sin != ZERO:  # who is not on wheels may turn much on a short way
        length += abs(sweep.travel * sweep.curvature) * (sweep.ahead + sweep.half_length)
    parts = sub_steps(length, MAX_SWEEP_PARTS)
    for part in range(1, parts + 1):
        x, y, cos, sin = pose_at(sweep, np.float32(part) / np.float32(parts))
        ax = x0 - x
        ay = y0 - y
        bx = x1 - x
        by = y1 - y
        if box_cuts_edge(
            ax * cos + ay * sin,
            ay * cos - ax * sin,
            bx * cos + by * sin,
            by * cos - bx * sin,
            sweep.half_length,
            sweep.half_width,
        ):
            return True
    return False


@njit
def edge_is_clear(x0, y0, x1, y1, sweep):
    """Whether an edge stays clear of everything that a box covers on its arc (conservative).

    In the frame of the pose at the start the arc lies within |ds| ahead (or behind) and
    |ds| (|dtheta| + |sin(slip)|) to either side, and the corners move by at most reach |dtheta|
    more.
    """
    cos, sin, half_length = sweep.cos, sweep.sin, sweep.half_length
    turn = sweep.travel * sweep.curvature
    reach = abs(sweep.travel) + sweep.ahead + half_length + sweep.half_width
    bend = abs(turn) * reach + CLEAR_MARGIN + abs(sweep.travel * sweep.slip_sin)
    front = sweep.ahead + half_length + max(sweep.travel, ZERO) + bend
    back = sweep.ahead - half_length + min(sweep.travel, ZERO) - bend
    side = sweep.half_width + bend
    ax = x0 - sweep.x
    ay = y0 - sweep.y
    bx = x1 - sweep.x
    by = y1 - sweep.y
    u0 = ax * cos + ay * sin
    u1 = bx * cos + by * sin
    v0 = ay * cos - ax * sin
    v1 = by * cos - bx * sin
    before = (max(u0, u1) < back) | (min(u0, u1) > front)
    return before | (max(v0, v1) < -side) | (min(v0, v1) > side)


@njit
def box_offroad(grid, sweep, end_x, end_y, end_cos, end_sin, layer, map_index):
    """Whether a box leaves the drivable surface anywhere on its arc.

    The box lies wholly on the surface exactly if its centre does and no edge of the surface meets
    it. The arc is cut into equal parts of at most one metre and the box tested at the end of each.

    Args:
        grid: Cells and edges.
        sweep: The box and its arc, a `Sweep`.
        end_x: Rear axle at the end of the arc, east [m].
        end_y: Rear axle at the end of the arc, north [m].
        end_cos: Cosine of the heading at the end.
        end_sin: Sine of the heading at the end.
        layer: Surface the agent drives on.
        map_index: Map of the world.
    """
    edge_first, edge = grid.edge_first, grid.edge
    cos, sin = sweep.cos, sweep.sin
    half_length, half_width = sweep.half_length, sweep.half_width
    start_x = sweep.x + sweep.ahead * cos
    start_y = sweep.y + sweep.ahead * sin
    centre_x = end_x + sweep.ahead * end_cos
    centre_y = end_y + sweep.ahead * end_sin
    if not point_on_surface(grid, centre_x, centre_y, layer, map_index):
        return True

    # What the sweep covers, along the axes: both ends, and how far the turn carries it beyond.
    turn = sweep.travel * sweep.curvature
    bend = abs(turn) * (abs(sweep.travel) + sweep.ahead + half_length + half_width)
    reach_x = half_length * max(abs(cos), abs(end_cos)) + half_width * max(abs(sin), abs(end_sin))
    reach_y = half_length * max(abs(sin), abs(end_sin)) + half_width * max(abs(cos), abs(end_cos))
    low_x = min(start_x, centre_x) - reach_x - bend
    high_x = max(start_x, centre_x) + reach_x + bend
    low_y = min(start_y, centre_y) - reach_y - bend
    high_y = max(start_y, centre_y) + reach_y + bend

    left, right, bottom, top = cell_range(grid, low_x, high_x, low_y, high_y, map_index)
    for j in range(bottom, top + 1):
        i = left
        while i <= right:
            first, last = row_cells(grid, i, right, j, layer, map_index)
            i = (i | 15) + 1
            if first < 0:
                continue
            for entry in range(edge_first[first], edge_first[last + 1]):
                x0 = edge[entry, 0]
                y0 = edge[entry, 1]
                x1 = edge[entry, 2]
                y1 = edge[entry, 3]
                beside = (max(x0, x1) < low_x) | (min(x0, x1) > high_x)
                if beside | (max(y0, y1) < low_y) | (min(y0, y1) > high_y):
                    continue
                if edge_is_clear(x0, y0, x1, y1, sweep):
                    continue
                if sweep_cuts_edge(x0, y0, x1, y1, sweep):
                    return True
    return False
