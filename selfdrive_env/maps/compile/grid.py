"""The spatial hash of a map: which segments and surface edges touch each cell, and what is inside.

Cells are found by separating axes (the two of the grid, the two of the shape) with a margin of a
millimetre, so a shape that only touches a cell is listed in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.maps.compile.segments import Strips
from selfdrive_env.maps.road_network import MapError
from selfdrive_env.state.arrays import F32, F64, I32, I64, U8
from selfdrive_env.state.road import BLOCK_CELLS, CELL

__all__ = ["Cells", "Frame", "compile_cells", "frame_of", "segment_pairs", "split_edges"]

MARGIN = 1e-3
"""How far from a cell a shape still touches it [m]."""

GRID_MARGIN = 64.0
"""Free space around the road within the grid [m]."""

SHIFT = np.array([140.0, 324.0]) / 1024.0
"""Keeps cell centres off the round coordinates that drawn roads have, exact in float32 [m]."""

MAX_PAIRS = 1e7
"""Most pairs of a lane segment and a cell; 700 km of lanes have a fifth of it."""

CLEAR = 2e-4
"""Edges closer to the centre of a cell are moved, lest rounding puts the centre beyond them [m]."""

DILATION = 4
"""Observation cells around the road that have a block and a near row (about 25 m)."""

BLOCK = CELL * BLOCK_CELLS
CELLS_PER_BLOCK = BLOCK_CELLS * BLOCK_CELLS
OBSERVATION_CELL = 2.0 * CELL

Mask = NDArray[np.bool_]
Pairs = tuple[I64, I64, I64]


@dataclass(frozen=True, slots=True)
class Frame:
    """Where the grid of one map lies."""

    origin: F64
    """[2] [m]"""

    blocks_x: int
    blocks_y: int

    @property
    def cells_x(self) -> int:
        """Cells along x."""
        return self.blocks_x * BLOCK_CELLS

    @property
    def cells_y(self) -> int:
        """Cells along y."""
        return self.blocks_y * BLOCK_CELLS


class Level(NamedTuple):
    """What one layer has in the cells."""

    edges: F64
    """Edges of its surface after cutting, [N, 4] [m]."""

    hits: Pairs
    """(edge, column, row)"""

    inside: Mask
    """Whether the centre of each cell is on the surface, [rows, columns]."""

    present: Mask
    """Whether the layer has each segment, [Q]."""


@dataclass(frozen=True, slots=True)
class Cells:
    """The part of `Grid` that says what lies in the cells."""

    block: I32
    """Block of each entry of the tables, all layers one after the other, -1 for "no road"."""

    place: I32
    """Column, row and layer of each block, [B, 3]."""

    segment_first: I32
    segment: I32
    edge_first: I32
    edge: F32
    inside: U8
    near: I32
    """Row of each observation cell, -1 more than about 25 m from the road."""

    def observation_centres(self, frame: Frame) -> tuple[F64, I32]:
        """Returns the centre [N, 2] [m] and the layer of the observation cells that have a row."""
        half = BLOCK_CELLS // 2
        number = np.flatnonzero(self.near >= 0)
        block, inner = np.divmod(number, half * half)
        place = self.place[block]
        i = place[:, 0] * half + inner % half
        j = place[:, 1] * half + inner // half
        centre = frame.origin + OBSERVATION_CELL * (np.stack([i, j], axis=1) + 0.5)
        return centre, place[:, 2]


def frame_of(points: F64) -> Frame:
    """Returns the grid around `points`, [N, 2] [m]."""
    origin = np.floor(points.min(axis=0)) - GRID_MARGIN - SHIFT
    blocks = np.ceil((points.max(axis=0) + GRID_MARGIN - origin) / BLOCK).astype(int)
    return Frame(origin, int(blocks[0]), int(blocks[1]))


def segment_pairs(strips: Strips, frame: Frame) -> Pairs:
    """Returns (segment, cell column, cell row) wherever a segment overlaps a cell.

    Raises:
        MapError: There are more than `MAX_PAIRS`, of lanes far wider than a road.
    """
    quads = strips.quads
    spans = (quads.max(axis=1) - quads.min(axis=1)) / CELL + 1.0
    pairs = float(spans.prod(axis=1).sum())
    if pairs > MAX_PAIRS:
        widest = np.hypot(*(strips.left - strips.right).T).max()
        raise MapError(
            f"its lanes, up to {widest:.0f} m wide, touch about {pairs:.2g} cells of {CELL:g} m; "
            f"they may touch at most {MAX_PAIRS:.2g}"
        )
    return _touched(
        quads, strips.centre[strips.start + 1, :2] - strips.centre[strips.start, :2], frame
    )


def split_edges(edges: F64, frame: Frame) -> F64:
    """Returns the edges [N, 4] cut where they cross the middles of cells, in float32 steps [m].

    Cuts lie at the same places however long the edge was, so that equal parts of two surfaces
    have equal edges. Each part touches few cells.
    """
    edges = edges.astype(np.float32).astype(np.float64)
    a, b = edges[:, :2], edges[:, 2:]
    axis = np.argmax(np.abs(b - a), axis=1)
    every = np.arange(len(edges))
    # In units of cells along the longer axis, the middles of cells at whole numbers.
    start, end = (((p - frame.origin) / CELL - 0.5)[every, axis] for p in (a, b))
    low, high = np.minimum(start, end), np.maximum(start, end)
    first = np.floor(low + 1e-3) + 1.0
    cuts = np.maximum(np.ceil(high - 1e-3) - first, 0.0).astype(np.int64)
    owner = np.repeat(every, cuts)
    k = np.arange(len(owner)) - np.repeat(np.cumsum(cuts) - cuts, cuts)
    forward = (end > start)[owner]
    line = first[owner] + np.where(forward, k, cuts[owner] - 1 - k)
    t = (line - start[owner]) / (end - start)[owner]
    points = a[owner] + t[:, None] * (b - a)[owner]
    points = points.astype(np.float32).astype(np.float64)
    after = np.cumsum(cuts)
    starts = np.insert(points, after - cuts, a, axis=0)
    ends = np.insert(points, after, b, axis=0)
    return _clear_of_centres(np.concatenate([starts, ends], axis=1), frame)


def compile_cells(frame: Frame, pairs: Pairs, surfaces: list[F64], removal: I32) -> Cells:
    """Returns what lies in the cells.

    Args:
        frame: The grid.
        pairs: (segment, column, row) from `segment_pairs`.
        surfaces: Edges of each layer's surface, surface on the left, closed rings, [N, 4] [m].
        removal: The only layer that has a segment, -1 for all of them, [Q].
    """
    touched = np.zeros((frame.cells_y, frame.cells_x), bool)
    touched[pairs[2], pairs[1]] = True
    layers = []
    for layer, edges in enumerate(surfaces):
        split = split_edges(edges, frame)
        hits = _touched(split.reshape(-1, 2, 2), split[:, 2:] - split[:, :2], frame)
        inside = _inside(split, frame)
        touched[hits[2], hits[1]] = True
        touched |= inside
        layers.append(Level(split, hits, inside, (removal < 0) | (removal == layer)))

    observed = _dilated(_any_of(touched, 2), DILATION)
    half = BLOCK_CELLS // 2
    kept = _any_of(observed, half)
    table, place = _tables(kept, layers, pairs)

    segment_first, segment, edge_first, edge, inside_parts, near_parts = [], [], [], [], [], []
    for layer, level in enumerate(layers):
        own = np.full(kept.shape, -1, np.int64)
        mine = np.flatnonzero(place[:, 2] == layer)
        own[place[mine, 1], place[mine, 0]] = np.arange(len(mine))
        first, item = _rows(_chosen(pairs, level.present), own)
        segment_first.append(first)
        segment.append(item)
        first, item = _rows(level.hits, own)
        edge_first.append(first)
        edge.append(level.edges[item].astype(np.float32))
        inside_parts.append(_by_block(level.inside, place[mine], BLOCK_CELLS))
        near_parts.append(_by_block(observed, place[mine], half))

    near_mask = np.concatenate(near_parts).reshape(-1)
    near = np.where(near_mask, np.cumsum(near_mask) - 1, -1)
    return Cells(
        block=table.reshape(-1).astype(np.int32),
        place=place.astype(np.int32),
        segment_first=_join_first(segment_first),
        segment=np.concatenate(segment).astype(np.int32),
        edge_first=_join_first(edge_first),
        edge=np.concatenate(edge),
        inside=np.concatenate(inside_parts).reshape(-1).astype(np.uint8),
        near=near.astype(np.int32),
    )


def _clear_of_centres(edges: F64, frame: Frame) -> F64:
    """Returns the edges, bent outwards by a millimetre where they meet the centre of a cell.

    A point is on the surface if the way from it to the centre of its cell crosses an even number of
    edges and the centre is inside, or an odd number and it is not; that needs a clear centre.
    """
    for _ in range(4):
        a, step = edges[:, :2], edges[:, 2:] - edges[:, :2]
        edge, column, row = _touched(edges.reshape(-1, 2, 2), step, frame)
        centre = frame.origin + CELL * (np.stack([column, row], axis=1) + 0.5)
        square = np.maximum((step * step).sum(axis=1), 1e-12)
        t = np.clip(((centre - a[edge]) * step[edge]).sum(axis=1) / square[edge], 0.0, 1.0)
        gap = np.hypot(*(a[edge] + t[:, None] * step[edge] - centre).T)
        close = np.flatnonzero(gap < CLEAR)
        if not len(close):
            break
        for i in close.tolist():
            edges = _bent(edges, int(edge[i]), float(t[i]))
    return edges


def _bent(edges: F64, edge: int, t: float) -> F64:
    """Returns the edges with the point of one edge at fraction `t` moved to the right."""
    a, b = edges[edge, :2].copy(), edges[edge, 2:].copy()
    length = np.hypot(*(b - a))
    point = a + t * (b - a)
    moved = point + np.array([b[1] - a[1], a[0] - b[0]]) * (1e-3 / length)
    moved = moved.astype(np.float32).astype(np.float64)
    if 0.01 < t * length < length - 0.01:
        edges = np.concatenate([edges, [[*moved, *b]]])
        edges[edge, 2:] = moved
        return edges
    vertex = a if t < 0.5 else b
    for ends in (slice(0, 2), slice(2, 4)):
        edges[(edges[:, ends] == vertex).all(axis=1), ends] = moved
    return edges


def _touched(points: F64, direction: F64, frame: Frame) -> Pairs:
    """Returns (shape, column, row) for shapes with corners [N, K, 2] and a direction [N, 2]."""
    local = points - frame.origin
    low = np.floor((local.min(axis=1) - MARGIN) / CELL).astype(np.int64)
    high = np.floor((local.max(axis=1) + MARGIN) / CELL).astype(np.int64)
    span = high - low + 1
    count = span[:, 0] * span[:, 1]
    shape = np.repeat(np.arange(len(points)), count)
    k = np.arange(len(shape)) - np.repeat(np.cumsum(count) - count, count)
    row, column = np.divmod(k, span[shape, 0])
    column += low[shape, 0]
    row += low[shape, 1]

    norm = np.maximum(np.hypot(*direction.T), 1e-12)
    ux, uy = direction[:, 0] / norm, direction[:, 1] / norm
    x, y = (column + 0.5) * CELL, (row + 0.5) * CELL
    hit = np.ones(len(shape), bool)
    for ax, ay in ((ux, uy), (-uy, ux)):
        along = local[..., 0] * ax[:, None] + local[..., 1] * ay[:, None]
        reach = (np.abs(ax) + np.abs(ay)) * (0.5 * CELL) + MARGIN
        centre = x * ax[shape] + y * ay[shape]
        hit &= centre >= (along.min(axis=1) - reach)[shape]
        hit &= centre <= (along.max(axis=1) + reach)[shape]
    return shape[hit], column[hit], row[hit]


def _inside(edges: F64, frame: Frame) -> Mask:
    """Returns whether each cell's centre lies on the surface, [rows, columns], by scan lines."""
    x0, y0, x1, y1 = edges.T
    # Row j has its line at origin + (j + 0.5) cells; an edge holds its lower end, not its upper.
    low = np.ceil((np.minimum(y0, y1) - frame.origin[1]) / CELL - 0.5).astype(np.int64)
    high = np.ceil((np.maximum(y0, y1) - frame.origin[1]) / CELL - 0.5).astype(np.int64)
    count = high - low
    edge = np.repeat(np.arange(len(edges)), count)
    row = low[edge] + np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count)
    y = frame.origin[1] + (row + 0.5) * CELL
    x = x0[edge] + (y - y0[edge]) * ((x1 - x0)[edge] / (y1 - y0)[edge])
    column = np.ceil((x - frame.origin[0]) / CELL - 0.5).astype(np.int64)
    # One byte a cell: counts of eight would be most of the memory of a large map.
    cell, crossings = np.unique(row * frame.cells_x + column, return_counts=True)
    parity = np.zeros((frame.cells_y, frame.cells_x), np.uint8)
    parity.reshape(-1)[cell] = crossings % 2
    inside: Mask = np.cumsum(parity, axis=1, dtype=np.uint8) % 2 == 1
    return inside


def _any_of(mask: Mask, edge: int) -> Mask:
    """Returns for each square of `edge` x `edge` cells whether any of them is set."""
    rows, columns = mask.shape[0] // edge, mask.shape[1] // edge
    out: Mask = np.logical_or.reduce(mask.reshape(rows, edge, columns, edge), axis=(1, 3))
    return out


def _dilated(mask: Mask, radius: int) -> Mask:
    """Returns the mask grown by a disc; its outer `radius` rows and columns are free."""
    out = mask.copy()
    for dy in range(-radius, radius + 1):
        for dx in range(-radius, radius + 1):
            if 0 < dx * dx + dy * dy <= radius * radius:
                out |= np.roll(mask, (dy, dx), axis=(0, 1))
    return out


def _tables(kept: Mask, layers: list[Level], pairs: Pairs) -> tuple[I64, I64]:
    """Returns the block tables [layer, row, column] and column, row, layer of every block.

    A layer shares the blocks of layer 0 wherever the two are the same.
    """
    table = np.full((len(layers), *kept.shape), -1, np.int64)
    rows, columns = np.nonzero(kept)
    table[0, rows, columns] = np.arange(len(rows))
    places = [np.stack([columns, rows, np.zeros_like(rows)], axis=1)]
    total = len(rows)
    for layer in range(1, len(layers)):
        table[layer] = table[0]
        rows, columns = np.nonzero(_differs(layers[0], layers[layer], pairs) & kept)
        table[layer, rows, columns] = total + np.arange(len(rows))
        places.append(np.stack([columns, rows, np.full_like(rows, layer)], axis=1))
        total += len(rows)
    return table, np.concatenate(places)


def _differs(a: Level, b: Level, pairs: Pairs) -> Mask:
    """Returns in which blocks two layers differ: in edges, insides of cells or segments."""
    cells = a.inside != b.inside
    for one, other in ((a, b), (b, a)):
        # In millimetres: the same edge cut from two surfaces may differ in its last bit.
        keys = (np.round(level.edges * 1e3).astype(np.int64) for level in (one, other))
        own, others = (np.ascontiguousarray(k).view("V32").ravel() for k in keys)
        _, columns, rows = _chosen(one.hits, ~np.isin(own, others))
        cells[rows, columns] = True
    _, columns, rows = _chosen(pairs, a.present != b.present)
    cells[rows, columns] = True
    return _any_of(cells, BLOCK_CELLS)


def _chosen(pairs: Pairs, mask: Mask) -> Pairs:
    """Returns the pairs of those items that the mask has."""
    chosen = mask[pairs[0]]
    return pairs[0][chosen], pairs[1][chosen], pairs[2][chosen]


def _rows(pairs: Pairs, block: I64) -> tuple[I64, I64]:
    """Returns first and item of the lists of all cells of the blocks numbered in `block`."""
    item, column, row = pairs
    number = block[row // BLOCK_CELLS, column // BLOCK_CELLS]
    cell = number * CELLS_PER_BLOCK + (row % BLOCK_CELLS) * BLOCK_CELLS + column % BLOCK_CELLS
    cell, item = cell[number >= 0], item[number >= 0]
    order = np.argsort(cell, kind="stable")
    count = np.bincount(cell, minlength=(int(block.max()) + 1) * CELLS_PER_BLOCK)
    return np.concatenate([[0], np.cumsum(count)]), item[order]


def _by_block(dense: Mask, place: I64, edge: int) -> Mask:
    """Returns the cells of a dense map block by block, [B, edge * edge]."""
    rows, columns = dense.shape[0] // edge, dense.shape[1] // edge
    blocks = dense.reshape(rows, edge, columns, edge).transpose(0, 2, 1, 3)
    return blocks[place[:, 1], place[:, 0]].reshape(len(place), edge * edge)


def _join_first(parts: list[I64]) -> I32:
    """Returns one array of list starts from those of successive groups of cells."""
    out, offset = [], 0
    for first in parts:
        out.append(first[:-1] + offset)
        offset += int(first[-1])
    out.append(np.array([offset]))
    return np.concatenate(out).astype(np.int32)
