"""The ground of maps, baked once into tiles of texels where there is road, by layers.

Every layer has what it shows over all others: under a bridge the road below, on it the bridge. A
texel is the mean of an area as large as a pixel and, where that does not take too much memory, a
third of a pixel from its neighbours: so a frame at any angle meets each thin line.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.compiler.structs import Table
from selfdrive_env.images.codes import mixtures
from selfdrive_env.images.raster import SAMPLES, fill_tiles, tiles_touched
from selfdrive_env.maps.compile.outline import stop_line_ends
from selfdrive_env.maps.compile.paint import (
    GIVE_WAY_DASH,
    GUIDE_DASH,
    dashes,
    pieces_of,
    stripes,
)
from selfdrive_env.maps.pool.map_pool import MapPool
from selfdrive_env.rendering.ground import Ground as PaintedGround
from selfdrive_env.state.arrays import F64, I32, I64, U8
from selfdrive_env.state.images import TILE, Ground, GroundClass
from selfdrive_env.state.road import (
    CROSSWALK,
    GAP,
    GIVE_WAY,
    GUIDE_LINE,
    SEG_COS,
    SEG_LEFT,
    SEG_LENGTH,
    SEG_RIGHT,
    SEG_SIN,
    SEG_X,
    SEG_Y,
)

__all__ = ["STOP_LINE_WIDTH", "GroundTiles", "Shape", "shapes_of"]

FEW_BYTES, MOST_BYTES = 10 * 2**20, 64 * 2**20
"""Tiles of a map take at most the first where texels are finer than pixels, the second where they
are as large."""

FINER = (1.0 / 3.0, 1.0 / 2.0)
"""Texels finer than pixels [pixels]."""

MARGIN = 4.0
"""Of the tiles round the road [m]."""

LINE_WIDTH = 0.15
"""Of painted lines [m]; in a picture they are at least `LEAST_WIDTH` wide."""

LEAST_WIDTH = 0.75
"""[pixels]"""

GIVE_WAY_WIDTH = 0.4
"""[m]"""

STOP_LINE_WIDTH = 0.8
"""[m]"""


class Shape(NamedTuple):
    """A polygon of the ground."""

    value: GroundClass
    points: F64
    """[N, 2] [m]"""


class GroundTiles:
    """The ground of the maps of a pool, for views of one scale; each is baked when it is needed.

    Args:
        pixel: Edge of a pixel of the views [m].
    """

    def __init__(self, pixel: float) -> None:
        self._pixel = pixel
        self._tiles: U8 = np.zeros((1, TILE * TILE), np.uint8)
        self._used = 1
        self._index: list[I32] = []
        self.ground = Ground(
            texel=np.ones(1, np.float32),
            origin=np.zeros((1, 2), np.float32),
            shape=np.zeros((1, 4), np.int32),
            tile_at=np.zeros(1, np.int32),
            tile=self._tiles,
        )
        self._baked: NDArray[np.bool_] = np.zeros(0, np.bool_)

    def prepare(self, pool: MapPool, table: Table) -> None:
        """Bakes the maps of a pool that are filled in and are not baked yet.

        Args:
            pool: Always the same.
            table: Of the struct with a field `ground`, which is pointed to the arrays.
        """
        if not len(self._baked):
            num = len(pool.maps)
            self._baked = np.zeros(num, np.bool_)
            self.ground = self.ground._replace(
                texel=np.ones(num, np.float32),
                origin=np.zeros((num, 2), np.float32),
                shape=np.zeros((num, 4), np.int32),
            )
        wanted = np.flatnonzero(~pool.missing & ~self._baked)
        if len(wanted):
            painted = PaintedGround(pool.lanes, pool.grid, pool.paints)
            for map_index in wanted.tolist():
                self._bake(pool, painted, map_index)
            index = np.concatenate([np.zeros(1, np.int32), *self._index])
            self.ground = self.ground._replace(tile_at=index, tile=self._tiles)
        for name, array in self.ground._asdict().items():
            table["ground"].point(name, array)

    def _bake(self, pool: MapPool, painted: PaintedGround, map_index: int) -> None:
        """Adds the tiles of a map."""
        layers = int(pool.grid.shape[map_index, 3])
        drawings = [
            list(shapes_of(pool, painted, map_index, layer, self._pixel)) for layer in range(layers)
        ]
        points = np.concatenate([np.zeros((0, 2)), *(shape.points for shape in drawings[0])])
        if not len(points):
            points = np.zeros((1, 2))
        low, high = points.min(0) - MARGIN, points.max(0) + MARGIN
        texel = self._texel(drawings[0], low, high)
        columns, rows = (int(n) for n in np.ceil((high - low) / (texel * TILE)))
        origin = np.asarray(low, np.float32)
        base, first = None, 1 + sum(map(len, self._index))
        per_texel = min(round(SAMPLES * texel / self._pixel), SAMPLES)
        for drawing in drawings:
            tiles, codes = _filled(drawing, origin, texel, columns, rows, per_texel)
            if base is not None:  # only what differs from the first layer
                known = base[tiles]
                same = (known > 0) & (self._tiles[known] == codes).all(1)
                tiles, codes = tiles[~same], codes[~same]
            index = np.zeros(columns * rows, np.int32) if base is None else base.copy()
            index[tiles] = self._add(codes) + np.arange(len(tiles))
            base = index if base is None else base
            self._index.append(index)
        self.ground.texel[map_index] = texel
        self.ground.origin[map_index] = origin
        self.ground.shape[map_index] = columns, rows, first, layers
        self._baked[map_index] = True

    def _texel(self, drawing: Sequence[Shape], low: F64, high: F64) -> float:
        """Returns how large texels of a map are: a third of a pixel, or more for much road [m]."""
        for share in (*FINER, *(2.0**power for power in range(32))):
            texel = share * self._pixel
            columns, rows = (int(n) for n in np.ceil((high - low) / (texel * TILE)))
            most = FEW_BYTES if share < 1.0 else MOST_BYTES
            if columns * rows * TILE**2 <= most:
                break
            first, point = _joined(drawing, low, texel)
            entries = tiles_touched(first, point, columns, rows, 0)[0]
            listed = tiles_touched(first, point, columns, rows, entries)[1]
            if len(np.unique(listed[:, 0])) * TILE**2 <= most:
                break
        return texel

    def _add(self, codes: U8) -> int:
        """Puts tiles behind those there are; returns the number of the first."""
        first, end = self._used, self._used + len(codes)
        if end > len(self._tiles):
            room = np.zeros((max(end, 3 * len(self._tiles) // 2), TILE * TILE), np.uint8)
            room[:first] = self._tiles[:first]
            self._tiles = room
        self._tiles[first:end] = codes
        self._used = end
        return first


def shapes_of(
    pool: MapPool, painted: PaintedGround, map_index: int, layer: int, pixel: float
) -> Iterator[Shape]:
    """Yields what the ground of a layer is made of; later shapes lie over earlier ones.

    Args:
        pool: Of the map, which is filled in.
        painted: Knows where lines are.
        map_index: Position in the pool.
        layer: Shown over the others.
        pixel: Edge of a pixel, which lines must fill to be seen [m].
    """
    paint, lanes = pool.paints[map_index], pool.lanes
    least = LEAST_WIDTH * pixel
    for area in pieces_of(paint, GAP):
        yield Shape(GroundClass.ROAD, area)
    for index in _by_level(pool, map_index, layer):
        for quad in _quads(pool, index):
            yield Shape(GroundClass.ROAD, quad)
        outside = index[lanes.junction[lanes.segment_lane[index]] < 0]
        lines = painted.lane_lines(map_index, outside)
        values = GroundClass.LANE_LINE, GroundClass.CENTRE_LINE
        for value, ends in zip(values, lines, strict=True):
            for quad in _strips(ends, max(LINE_WIDTH, least)):
                yield Shape(value, quad)
    for kind, dash, width in (
        (GIVE_WAY, GIVE_WAY_DASH, GIVE_WAY_WIDTH),
        (GUIDE_LINE, GUIDE_DASH, LINE_WIDTH),
    ):
        for line in pieces_of(paint, kind):
            for piece in dashes(line, *dash):
                ends = np.stack([piece[:-1], piece[1:]], 1)
                for quad in _strips(ends, max(width, least)):
                    yield Shape(GroundClass.LANE_LINE, quad)
    for area in pieces_of(paint, CROSSWALK):
        for stripe in stripes(area):
            yield Shape(GroundClass.CROSSWALK, stripe)
    first, last = pool.signs.map_line_first[map_index : map_index + 2]
    for quad in _strips(stop_line_ends(pool.signs.line[first:last]), max(STOP_LINE_WIDTH, least)):
        yield Shape(GroundClass.STOP_LINE, quad)


def _by_level(pool: MapPool, map_index: int, layer: int) -> list[I32]:
    """Returns the segments of a map that a layer lacks, and those that it has."""
    lanes, grid = pool.lanes, pool.grid
    lane = lanes.map_lane_first[map_index : map_index + 2]
    first, last = lanes.segment_first[lane].tolist()
    every = np.arange(first, last, dtype=np.int32)
    columns, rows, offset, layers = grid.shape[map_index].tolist()
    if layers == 1:
        return [every]
    blocks = grid.block[offset + layer * columns * rows :][: columns * rows]
    cells = (blocks[blocks >= 0, None].astype(np.int64) * 256 + np.arange(256)).ravel()
    begin, end = grid.segment_first[cells], grid.segment_first[cells + 1]
    there = np.zeros(last - first, np.bool_)
    for one, other in zip(begin.tolist(), end.tolist(), strict=True):
        there[grid.segment[one:other] - first] = True
    return [every[~there], every[there]]


def _quads(pool: MapPool, index: I32) -> F64:
    """Returns the corners of segments, whose ends are the starts of the next, [N, 4, 2] [m]."""
    lanes = pool.lanes
    segment = lanes.segment[index].astype(np.float64)
    lane = lanes.segment_lane[index]
    has_next = index + 1 < lanes.segment_first[lane + 1]
    after = lanes.segment[np.where(has_next, index + 1, index)].astype(np.float64)
    step = np.where(has_next, 0.0, segment[:, SEG_LENGTH])
    after[:, SEG_X] += step * segment[:, SEG_COS]
    after[:, SEG_Y] += step * segment[:, SEG_SIN]
    corners = [
        np.stack([one[:, SEG_X] - d * one[:, SEG_SIN], one[:, SEG_Y] + d * one[:, SEG_COS]], axis=1)
        for one, d in (
            (segment, segment[:, SEG_LEFT]),
            (segment, -segment[:, SEG_RIGHT]),
            (after, -after[:, SEG_RIGHT]),
            (after, after[:, SEG_LEFT]),
        )
    ]
    return np.stack(corners, axis=1)


def _strips(ends: F64, width: float) -> F64:
    """Returns the corners of straight lines, [N, 4, 2] [m].

    Args:
        ends: [N, 2, 2] [m].
        width: [m]
    """
    along = ends[:, 1] - ends[:, 0]
    length = np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-9)[:, None]
    aside = 0.5 * width * np.stack([-along[:, 1], along[:, 0]], axis=1) / length
    a, b = ends[:, 0], ends[:, 1]
    return np.stack([a + aside, a - aside, b - aside, b + aside], axis=1)


def _joined(drawing: Sequence[Shape], origin: Any, texel: float) -> tuple[I64, F64]:
    """Returns where each polygon begins, and all points [texels]."""
    first = np.cumsum([0, *(len(shape.points) for shape in drawing)]).astype(np.int64)
    points = [np.zeros((0, 2)), *(shape.points for shape in drawing)]
    return first, (np.concatenate(points) - origin) / texel


def _filled(
    drawing: Sequence[Shape], origin: Any, texel: float, columns: int, rows: int, per_texel: int
) -> tuple[I64, U8]:
    """Returns which tiles (row * columns + column) polygons touch, and their codes."""
    if not drawing:
        return np.zeros(0, np.int64), np.zeros((0, TILE * TILE), np.uint8)
    first, point = _joined(drawing, np.asarray(origin, np.float64), texel)
    value = np.array([shape.value for shape in drawing], np.uint8)
    entries = tiles_touched(first, point, columns, rows, 0)[0]
    listed = tiles_touched(first, point, columns, rows, entries)[1]
    listed = listed[np.argsort(listed[:, 0], kind="stable")]
    tiles, begin = np.unique(listed[:, 0], return_index=True)
    place = np.stack([tiles % columns, tiles // columns], axis=1)
    entry_first = np.append(begin, len(listed)).astype(np.int64)
    entry = np.ascontiguousarray(listed[:, 1])
    codes = fill_tiles(first, point, value, place, entry_first, entry, per_texel, mixtures())
    return tiles, codes
