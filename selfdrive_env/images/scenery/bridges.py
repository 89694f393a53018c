"""Which parts of a map are bridges, how these look, and how high the ground is elsewhere."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from selfdrive_env.maps.compile.compiled_map import CompiledMap
from selfdrive_env.maps.compile.outline import quads
from selfdrive_env.state.arrays import F32, F64, I32, I64, U8
from selfdrive_env.state.camera.scenery import DECK, NODE, QUAD_COLUMNS, SQUARE, WALL
from selfdrive_env.state.places import cell_at
from selfdrive_env.state.road import (
    BLOCK_CELLS,
    CELL,
    LEVEL_HEIGHT,
    SEG_COS,
    SEG_LEFT,
    SEG_LENGTH,
    SEG_RIGHT,
    SEG_SIN,
    SEG_X,
    SEG_Y,
    SEG_Z,
)

__all__ = ["Quads", "bridge_quads", "deck_segments", "ground_heights", "plain_squares"]

Bools = npt.NDArray[np.bool_]

RAMP = 5
"""Cells that a bridge goes on before and behind what it crosses."""

RAMP_STEP = 1.2
"""Difference in elevation between pieces of one bridge [m]."""

ROUNDS = 400
"""Of spreading elevations over ground without roads."""

FLAT = 0.03
"""A map is flat if its ground is all within so much [m]."""

PLAIN = 0.04
"""How far nodes of a square may lie beside its plane [m]."""

DECK_LENGTH = 6.0
"""Of the pieces of a deck, about [m]."""

DECK_RISE = 0.03
"""By how much decks lie over the elevation of their lanes [m]."""

WALL_HIGH, WALL_LOW = 0.75, 1.0
"""Parapets above and girders below the deck [m]."""


class Quads(NamedTuple):
    """Decks and walls, sorted by block."""

    quad: F32
    kind: U8
    first: I32


def _middles(segment: F64) -> F64:
    """Returns x, y of the middles of segments, [Q, 2] [m]."""
    half = 0.5 * segment[:, [SEG_LENGTH]]
    middle: F64 = segment[:, [SEG_X, SEG_Y]] + half * segment[:, [SEG_COS, SEG_SIN]]
    return middle


def deck_segments(one: CompiledMap) -> Bools:
    """Returns which segments lie on bridges: those over others, and the road just beside, [Q]."""
    segment = one.lanes.segment.astype(np.float64)
    deck = np.zeros(len(segment), bool)
    if one.grid.shape[0, 3] < 2:
        return deck
    origin = one.grid.origin[0].astype(np.float64)
    wide, high = (one.grid.shape[0, :2] * BLOCK_CELLS).tolist()
    place = np.floor((_middles(segment) - origin) / CELL).astype(np.int64)
    sides = quads(segment).mean(axis=1)  # of all corners: on the lane for sure
    place = np.floor((sides - origin) / CELL).astype(np.int64)
    i, j = place.T.clip(0)
    low = np.full((high, wide), np.inf)
    z = segment[:, SEG_Z]
    np.minimum.at(low, (j, i), z)
    around = _around(low, 1, np.minimum)
    deck = z > around[j, i] + LEVEL_HEIGHT
    for _ in range(RAMP):
        top = np.full((high, wide), -np.inf)
        np.maximum.at(top, (j[deck], i[deck]), z[deck])
        deck |= np.abs(_around(top, 1, np.maximum)[j, i] - z) < RAMP_STEP
    return deck


def _around(values: F64, reach: int, reduce: np.ufunc) -> F64:
    """Returns the least or the largest of each entry and those around it."""
    out = values.copy()
    padded = np.pad(values, reach, mode="edge")
    rows, columns = values.shape
    for a in range(2 * reach + 1):
        for b in range(2 * reach + 1):
            reduce(out, padded[a : a + rows, b : b + columns], out=out)
    return out


def ground_heights(one: CompiledMap, deck: Bools) -> tuple[F32, float, bool]:
    """Returns how high the ground is.

    Args:
        one: The map.
        deck: Which segments lie on bridges.

    Returns:
        Elevation at each node, [rows, columns] [m]; that of the ground around, or of all of it [m];
        whether the map is flat.
    """
    blocks_x, blocks_y = one.grid.shape[0, :2].tolist()
    per_block = round(BLOCK_CELLS * CELL / NODE)
    shape = blocks_y * per_block + 1, blocks_x * per_block + 1
    segment = one.lanes.segment.astype(np.float64)[~deck]
    z = segment[:, SEG_Z]
    level = float(np.median(z)) if len(z) else 0.0
    if not len(z) or (z.max() - z.min() <= FLAT and not deck.any()):
        return np.full(shape, level, np.float32), level, True
    total, weight = np.zeros(shape), np.zeros(shape)
    origin = one.grid.origin[0].astype(np.float64)
    for offset in (0.0, segment[:, SEG_LEFT], -segment[:, SEG_RIGHT]):
        x = segment[:, SEG_X] - offset * segment[:, SEG_SIN] - origin[0]
        y = segment[:, SEG_Y] + offset * segment[:, SEG_COS] - origin[1]
        _scatter(total, weight, x / NODE, y / NODE, z)
    known = weight > 1e-3
    heights = np.where(known, total / np.where(known, weight, 1.0), level)
    return _spread(heights, known).astype(np.float32), level, False


def plain_squares(height: F32) -> U8:
    """Returns 1 for each square of cells whose nodes lie in one plane, [rows, columns].

    Args:
        height: At each node, [rows, columns] [m].
    """
    rows, columns = ((n - 1) // SQUARE for n in height.shape)
    worst = np.zeros((rows, columns))
    low = height[: rows * SQUARE : SQUARE, : columns * SQUARE : SQUARE].astype(np.float64)
    east = height[: rows * SQUARE : SQUARE, SQUARE : columns * SQUARE + 1 : SQUARE] - low
    north = height[SQUARE : rows * SQUARE + 1 : SQUARE, : columns * SQUARE : SQUARE] - low
    for a in range(SQUARE + 1):
        for b in range(SQUARE + 1):
            here = height[b : b + rows * SQUARE : SQUARE, a : a + columns * SQUARE : SQUARE]
            plane = low + a / SQUARE * east + b / SQUARE * north
            worst = np.maximum(worst, np.abs(here - plane))
    return (worst <= PLAIN).astype(np.uint8)


def _scatter(total: F64, weight: F64, u: F64, v: F64, z: F64) -> None:
    """Adds elevations to the four nodes around each place, by how near these are."""
    i, j = np.floor(u).astype(np.int64), np.floor(v).astype(np.int64)
    for a in (0, 1):
        for b in (0, 1):
            share = np.abs(1 - a - (u - i)) * np.abs(1 - b - (v - j))
            share = share**2
            at = (j + b).clip(0, total.shape[0] - 1), (i + a).clip(0, total.shape[1] - 1)
            np.add.at(total, at, share * z)
            np.add.at(weight, at, share)


def _spread(heights: F64, known: Bools) -> F64:
    """Fills in unknown elevations, smoothly between the known ones."""
    filled = known.copy()
    while not filled.all():  # outwards from the roads, then smoothed
        padded, mask = np.pad(heights * filled, 1), np.pad(filled, 1)
        total = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
        count = mask[:-2, 1:-1].astype(int) + mask[2:, 1:-1] + mask[1:-1, :-2] + mask[1:-1, 2:]
        new = ~filled & (count > 0)
        heights = np.where(new, total / np.maximum(count, 1), heights)
        filled |= new
    for _ in range(ROUNDS):
        padded = np.pad(heights, 1, mode="edge")
        mean = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
        heights = np.where(known, heights, 0.25 * mean)
    return heights


def bridge_quads(one: CompiledMap, deck: Bools) -> Quads:
    """Returns the decks of bridges and the walls along them."""
    blocks_x, blocks_y = one.grid.shape[0, :2].tolist()
    if not deck.any():
        none = np.zeros((0, QUAD_COLUMNS), np.float32)
        return Quads(none, np.zeros(0, np.uint8), np.zeros(blocks_x * blocks_y + 1, np.int32))
    decks, walls = _decks(one, deck), _walls(one, deck)
    both = np.concatenate([decks, walls])
    kind = np.repeat([DECK, WALL], [len(decks), len(walls)])
    origin = one.grid.origin[0].astype(np.float64)
    edge = BLOCK_CELLS * CELL
    i, j = np.floor((both[:, :2] - origin) / edge).astype(np.int64).T
    block = j.clip(0, blocks_y - 1) * blocks_x + i.clip(0, blocks_x - 1)
    order = np.argsort(block, kind="stable")
    first = np.searchsorted(block[order], np.arange(blocks_x * blocks_y + 1))
    return Quads(
        both[order].astype(np.float32), kind[order].astype(np.uint8), first.astype(np.int32)
    )


def _decks(one: CompiledMap, deck: Bools) -> F64:
    """Returns pieces of the lanes on bridges as parallelograms, [N, QUAD_COLUMNS]."""
    segment, lane = one.lanes.segment.astype(np.float64), one.lanes.segment_lane
    corners = quads(segment)
    rows = np.flatnonzero(deck)
    breaks = (np.diff(rows) > 1) | (np.diff(lane[rows]) != 0)
    out = []
    for run in np.split(rows, np.flatnonzero(breaks) + 1):
        pieces = max(1, round(segment[run, SEG_LENGTH].sum() / DECK_LENGTH))
        for piece in np.array_split(run, pieces):
            out.append(_parallelogram(segment, corners, piece))
    return np.array(out)


def _parallelogram(segment: F64, corners: F64, piece: I64) -> F64:
    """Returns the corner and the edges of one that covers some segments in a row."""
    first, last = piece[0], piece[-1]
    right, left = corners[first, 1], corners[first, 0]
    ahead = 0.5 * (corners[last, 3] + corners[last, 2]) - 0.5 * (left + right)
    across = left - right
    z = segment[first, SEG_Z] + DECK_RISE
    after = min(last + 1, len(segment) - 1)
    rise = segment[after, SEG_Z] - segment[first, SEG_Z]
    if abs(rise) > RAMP_STEP:  # that segment belongs to another lane
        rise = segment[last, SEG_Z] - segment[first, SEG_Z]
    longer = 1.02 + 0.1 / max(float(np.hypot(*ahead)), 0.1)
    return np.array([*right, z, *(longer * ahead), longer * rise, *across, 0.0])


def _walls(one: CompiledMap, deck: Bools) -> F64:
    """Returns walls along the edges of the road where it lies on a bridge, [N, QUAD_COLUMNS]."""
    grid, segment = one.grid, one.lanes.segment.astype(np.float64)
    middle = _middles(segment)
    edges = []
    for layer in range(int(grid.shape[0, 3])):
        cells = np.unique(cell_at(grid, middle[deck, 0], middle[deck, 1], layer, 0))
        for cell in cells[cells >= 0].tolist():
            edges.append(grid.edge[grid.edge_first[cell] : grid.edge_first[cell + 1]])
    found = np.unique(np.concatenate([np.zeros((0, 4)), *edges]), axis=0).astype(np.float64)
    if not len(found):
        return np.zeros((0, QUAD_COLUMNS))
    step = found[:, 2:] - found[:, :2]
    length = np.maximum(np.hypot(*step.T), 1e-6)
    mid = 0.5 * (found[:, :2] + found[:, 2:])
    inward = np.stack([-step[:, 1], step[:, 0]], 1) / length[:, None]
    own, there = _deck_at(segment, deck, mid + 0.3 * inward)
    _, beyond = _deck_at(segment, deck, mid - 0.4 * inward)
    chosen = there & ~beyond & (length > 0.05)
    out = np.zeros((int(chosen.sum()), QUAD_COLUMNS))
    out[:, :2], out[:, 3:5] = found[chosen, :2], step[chosen]
    out[:, 2] = segment[own[chosen], SEG_Z] - WALL_LOW
    out[:, 8] = WALL_LOW + WALL_HIGH
    return out


def _deck_at(segment: F64, deck: Bools, points: F64) -> tuple[I64, Bools]:
    """Returns a segment on a bridge that holds each point, and whether there is one."""
    rows = np.flatnonzero(deck)
    own, there = np.zeros(len(points), np.int64), np.zeros(len(points), bool)
    for number, point in enumerate(points):
        dx, dy = (point - segment[rows][:, [SEG_X, SEG_Y]]).T
        cos, sin = segment[rows, SEG_COS], segment[rows, SEG_SIN]
        along, aside = dx * cos + dy * sin, dy * cos - dx * sin
        inside = (along >= -0.1) & (along <= segment[rows, SEG_LENGTH] + 0.1)
        inside &= (aside <= segment[rows, SEG_LEFT] + 0.1) & (
            aside >= -segment[rows, SEG_RIGHT] - 0.1
        )
        hits = np.flatnonzero(inside)
        if len(hits):
            own[number], there[number] = rows[hits[0]], True
    return own, there
