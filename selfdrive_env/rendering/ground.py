"""The ground of a map: asphalt, road edges and lane markings, drawn once in square tiles."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.maps.compile.paint import GIVE_WAY_DASH, GUIDE_DASH, dashes, pieces_of, stripes
from selfdrive_env.rendering.canvas import View, draw_lines, flat, import_pillow
from selfdrive_env.rendering.palette import (
    ASPHALT,
    CENTRE_LINE,
    CHEVRON,
    DASH,
    EDGE,
    GRASS,
    PAINT,
    Colour,
)
from selfdrive_env.state.arrays import F32, F64, I32, I64
from selfdrive_env.state.places import cell_at
from selfdrive_env.state.road import (
    CELL,
    CROSSWALK,
    GIVE_WAY,
    GUIDE_LINE,
    SEG_COS,
    SEG_LEFT,
    SEG_LENGTH,
    SEG_RIGHT,
    SEG_S,
    SEG_SIN,
    SEG_X,
    SEG_Y,
    Grid,
    Lanes,
    Paint,
)

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

__all__ = ["Ground", "lane_places"]

Bools = NDArray[np.bool_]

TILE = 256
"""Edge of a tile [drawn pixels]."""

MAX_TILES = 400
"""Tiles kept, 0.2 MB each."""

FINE = 2.0
"""Drawn pixels per metre from which lane markings show."""

COARSE = 0.6
"""Drawn pixels per metre below which lanes are lines and road edges are left out."""

STRIPED = 3.0
"""Drawn pixels per metre from which crosswalks have stripes."""

ARROW_SPACING = 24.0
"""One arrow for so much of a lane [m]."""


class Ground:
    """Paints the roads of a pool of maps.

    Args:
        lanes: Lanes of the pool.
        grid: Its grid.
        paints: What is painted on each of its maps.
    """

    def __init__(self, lanes: Lanes, grid: Grid, paints: Sequence[Paint] = ()) -> None:
        self._lanes, self._grid = lanes, grid
        self._paints = paints
        self._painted: dict[int, _Painted] = {}
        self._arrows: dict[int, tuple[int, Bools]] = {}
        self._tiles: OrderedDict[tuple[int, float, int, int], Image] = OrderedDict()

    def paste(
        self, image: Image, map_index: int, view: View, *, patience: float | None = None
    ) -> None:
        """Fills `image` with the ground that `view` shows, making the tiles that are missing.

        Args:
            image: Drawn on.
            map_index: Position in the pool.
            view: The part of the plane shown.
            patience: Tiles are made for so long, from the middle outwards, and others are left out
                this time; None makes all [s].
        """
        end = math.inf if patience is None else time.perf_counter() + patience
        for i, j in self._places(view, 0):
            key = (map_index, view.scale, i, j)
            if key not in self._tiles:
                if time.perf_counter() > end:
                    continue
                self._add_tile(key)
            self._tiles.move_to_end(key)
            image.paste(self._tiles[key], (i * TILE - view.left, j * TILE - view.top))

    def _places(self, view: View, margin: int) -> list[tuple[int, int]]:
        """Tiles that a view touches and `margin` more around, the nearest to its middle first."""
        columns, rows = (
            range(first // TILE - margin, (first + view.edge - 1) // TILE + 1 + margin)
            for first in (view.left, view.top)
        )
        i0, j0 = ((first + 0.5 * view.edge) / TILE - 0.5 for first in (view.left, view.top))
        places = [(i, j) for i in columns for j in rows]
        return sorted(places, key=lambda place: math.hypot(place[0] - i0, place[1] - j0))

    def _add_tile(self, key: tuple[int, float, int, int]) -> None:
        self._tiles[key] = self._make_tile(*key)
        while len(self._tiles) > MAX_TILES:
            self._tiles.popitem(last=False)

    def prepare(self, map_index: int, view: View) -> bool:
        """Makes one of the tiles just outside a view, so that a camera on its way finds it.

        Returns:
            Whether one was missing.
        """
        for i, j in self._places(view, 1):
            key = (map_index, view.scale, i, j)
            if key not in self._tiles:
                self._add_tile(key)
                return True
        return False

    def _make_tile(self, map_index: int, scale: float, i: int, j: int) -> Image:
        """Returns the ground of one tile: asphalt, markings and road edges."""
        image_module, draw_module = import_pillow()[:2]
        view = View(i * TILE, j * TILE, scale, TILE)
        image: Image = image_module.new("RGB", (TILE, TILE), GRASS)
        layers = range(int(self._grid.shape[map_index, 3]))
        cells = [_cells_below(self._grid, map_index, layer, view) for layer in layers]
        if not any(len(below) for below in cells):
            return image
        pen = draw_module.Draw(image)
        listed = _listed(self._grid.segment_first, np.concatenate(cells))[0]
        index = np.unique(self._grid.segment[listed])
        if scale < COARSE:
            width = max(3, round(4.0 * scale))
            draw_lines(pen, _ends(self._lanes.segment[index], 0.0), view, ASPHALT, width)
            return image

        u: F64 = (np.arange(TILE, dtype=np.float64) + 0.5 + view.left) / scale
        v: F64 = -(np.arange(TILE, dtype=np.float64) + 0.5 + view.top) / scale
        asphalt = _asphalt(self._grid, map_index, u, v)
        image.paste(
            ASPHALT, mask=image_module.fromarray(np.where(asphalt, 255, 0).astype(np.uint8))
        )
        if scale >= FINE:
            outside = self._lanes.junction[self._lanes.segment_lane[index]] < 0
            self._draw_markings(pen, map_index, view, index[outside])
        draw_lines(pen, self._edges(map_index, view), view, EDGE, max(2, round(0.2 * scale)))
        painted = self._paint_of(map_index)
        if painted is not None:
            painted.draw(pen, view)
        return image

    def _paint_of(self, map_index: int) -> _Painted | None:
        """Returns what is painted on a map, made ready when it is first shown; None without any."""
        if map_index not in self._painted and map_index < len(self._paints):
            self._painted[map_index] = _Painted(self._paints[map_index])
        return self._painted.get(map_index)

    def _is_unmarked(self, map_index: int, lane: I32) -> Bools:
        """Whether there is no centre line beside each lane of a map."""
        painted = self._paint_of(map_index)
        if painted is None:
            return np.zeros(len(lane), bool)
        return np.isin(lane - self._lanes.map_lane_first[map_index], painted.unmarked)

    def _with_arrow(self, map_index: int, index: I32) -> Bools:
        """Whether each segment of a map has an arrow."""
        if map_index not in self._arrows:
            lane = self._lanes.map_lane_first[map_index : map_index + 2]
            first, last = self._lanes.segment_first[lane].tolist()
            places = lane_places(self._lanes, ARROW_SPACING, slice(first, last))
            self._arrows[map_index] = first, places
        first, places = self._arrows[map_index]
        return places[index - first]

    def _draw_markings(self, pen: ImageDraw, map_index: int, view: View, index: I32) -> None:
        """Draws the lines beside segments outside junctions, and arrows along them."""
        width = max(2, round(0.16 * view.scale))
        white, yellow = self.lane_lines(map_index, index)
        draw_lines(pen, white, view, DASH, width)
        draw_lines(pen, yellow, view, CENTRE_LINE, width)
        segment = self._lanes.segment[index]
        arrows = segment[self._with_arrow(map_index, index)]
        for x, y, cos, sin in arrows[:, [SEG_X, SEG_Y, SEG_COS, SEG_SIN]].tolist():
            shape = ((-0.9, 0.8), (0.9, 0.0), (-0.9, -0.8))
            corners = [(x + a * cos - b * sin, y + a * sin + b * cos) for a, b in shape]
            points = view.pixels(*zip(*corners, strict=True))
            pen.line(flat(points), fill=CHEVRON, width=2 * width)

    def lane_lines(self, map_index: int, index: I32) -> tuple[F64, F64]:
        """Returns what is painted beside lanes: dashes between lanes of one way, and centre lines.

        Args:
            map_index: Position in the pool.
            index: Segments outside junctions.

        Returns:
            Ends of the pieces of each, [N, 2, 2] [m].
        """
        segment, lane = self._lanes.segment[index], self._lanes.segment_lane[index]
        dashed = np.floor(segment[:, SEG_S]) % 6.0 < 3.0
        white, yellow = [], []
        for side, neighbour in ((1.0, self._lanes.left), (-1.0, self._lanes.right)):
            offset = side * segment[:, SEG_LEFT if side > 0 else SEG_RIGHT]
            beside = neighbour[lane] >= 0
            if side > 0:
                chosen = beside & dashed
                white.append(_ends(segment[chosen], offset[chosen]))
            other, along = self._lane_beyond(map_index, segment, index, offset + side * 0.5)
            opposing = ~beside & other & (along < 0.0) & ~self._is_unmarked(map_index, lane)
            inner = offset[opposing] - side * 0.12
            yellow.append(_ends(segment[opposing], inner))
            merging = ~beside & other & (along > 0.0) & dashed
            white.append(_ends(segment[merging], offset[merging]))
        return np.concatenate(white), np.concatenate(yellow)

    def _lane_beyond(
        self, map_index: int, segment: F32, index: I32, offset: F32
    ) -> tuple[Bools, F64]:
        """Whether a lane runs `offset` beside each segment, and the cosine between both."""
        middle = _ends(segment, offset).mean(axis=1)
        found = np.zeros(len(segment), bool)
        along = np.zeros(len(segment))
        for layer in range(int(self._grid.shape[map_index, 3])):
            row, other = self._segments_at(map_index, layer, middle)
            lane, beyond = self._lanes.segment_lane[other], self._lanes.segment[other]
            cosine = segment[row, SEG_COS] * beyond[:, SEG_COS]
            cosine += segment[row, SEG_SIN] * beyond[:, SEG_SIN]
            fit = (lane != self._lanes.segment_lane[index[row]]) & (self._lanes.junction[lane] < 0)
            fit &= np.abs(cosine) > 0.7
            found[row[fit]] = True
            along[row[fit]] = cosine[fit]
        return found, along

    def _segments_at(self, map_index: int, layer: int, points: F64) -> tuple[I64, I32]:
        """Pairs of a point, [N, 2] [m], and a segment that holds it."""
        cell = cell_at(self._grid, points[:, 0], points[:, 1], layer, map_index)
        row = np.flatnonzero(cell >= 0)
        listed, source = _listed(self._grid.segment_first, cell[row])
        row, index = row[source], self._grid.segment[listed]
        segment = self._lanes.segment[index]
        dx, dy = points[row, 0] - segment[:, SEG_X], points[row, 1] - segment[:, SEG_Y]
        s = dx * segment[:, SEG_COS] + dy * segment[:, SEG_SIN]
        d = dy * segment[:, SEG_COS] - dx * segment[:, SEG_SIN]
        inside = (s >= -0.1) & (s <= segment[:, SEG_LENGTH] + 0.1)
        inside &= (d <= segment[:, SEG_LEFT]) & (d >= -segment[:, SEG_RIGHT])
        return row[inside], index[inside]

    def _edges(self, map_index: int, view: View) -> F64:
        """Road edges that a view shows, without those where a layer was cut, [N, 2, 2] [m]."""
        edges = []
        num_layers = int(self._grid.shape[map_index, 3])
        for layer in range(num_layers):
            cells = _cells_below(self._grid, map_index, layer, view)
            listed = _listed(self._grid.edge_first, cells)[0]
            edge = self._grid.edge[listed].astype(np.float64).reshape(-1, 2, 2)
            if num_layers == 1:
                return edge
            # Beyond a cut the road goes on, and before it are lanes of another layer alone.
            middle, step = edge.mean(axis=1), edge[:, 1] - edge[:, 0]
            rightward = step[:, ::-1] * (0.3, -0.3) / np.hypot(*step.T)[:, None]
            beyond = middle + rightward
            cut = _on_surface(self._grid, map_index, beyond[:, 0], beyond[:, 1])
            row, segment = self._segments_at(map_index, layer, middle - rightward)
            cut[row[self._lanes.segment_layer[segment] == layer]] = False
            edges.append(edge[~cut])
        return np.concatenate(edges)


class _Painted:
    """Draws what is painted on one map."""

    def __init__(self, paint: Paint) -> None:
        self.unmarked = paint.unmarked
        self._areas = pieces_of(paint, CROSSWALK)
        self._stripes = [stripe for area in self._areas for stripe in stripes(area)]
        self._lines: list[tuple[Colour, float, list[F64]]] = [
            (colour, width, [one for line in pieces_of(paint, kind) for one in dashes(line, *dash)])
            for kind, colour, width, dash in (
                (GIVE_WAY, PAINT, 0.4, GIVE_WAY_DASH),
                (GUIDE_LINE, DASH, 0.16, GUIDE_DASH),
            )
        ]

    def draw(self, pen: ImageDraw, view: View) -> None:
        """Draws what a view shows: of a coarse picture the areas of crosswalks only."""
        for area in self._stripes if view.scale >= STRIPED else self._areas:
            points = view.pixels(area[:, 0], area[:, 1])
            if view.touches(points, 2.0):
                pen.polygon(flat(points), fill=PAINT)
        for colour, width, lines in self._lines if view.scale >= FINE else ():
            for line in lines:
                points = view.pixels(line[:, 0], line[:, 1])
                if view.touches(points, view.scale):
                    pen.line(flat(points), fill=colour, width=max(3, round(width * view.scale)))


def lane_places(lanes: Lanes, spacing: float, chosen: slice = slice(None)) -> Bools:
    """Returns which segments hold the middle of one of the pieces that lanes are cut into, [Q].

    Args:
        lanes: Lanes of a pool; those through junctions are left out.
        spacing: Length of a piece [m].
        chosen: Segments of whole lanes that are looked at.
    """
    lane = lanes.segment_lane[chosen]
    middle = np.minimum(0.5 * spacing, 0.5 * lanes.length)[lane]
    s = lanes.segment[chosen, SEG_S].astype(np.float64)
    before = np.floor((s - middle) / spacing)
    starts = np.diff(before, prepend=-2.0) > 0.0
    out: Bools = starts & (before >= 0.0) & (lanes.junction[lane] < 0)
    return out


def _ends(segment: F32, offset: float | F32) -> F64:
    """Ends of the lines `offset` to the left of each segment, [N, 2, 2] [m]."""
    cos, sin = segment[:, SEG_COS], segment[:, SEG_SIN]
    x, y = segment[:, SEG_X] - offset * sin, segment[:, SEG_Y] + offset * cos
    length = segment[:, SEG_LENGTH]
    ends = [np.stack([x, y], axis=1), np.stack([x + length * cos, y + length * sin], axis=1)]
    return np.stack(ends, axis=1).astype(np.float64)


def _asphalt(grid: Grid, map_index: int, u: F64, v: F64) -> Bools:
    """Whether the drivable surface covers each point of a raster, [V, U].

    Most cells hold no edge and are covered or not as a whole.

    Args:
        grid: Of the pool.
        map_index: Position in the pool.
        u: East, [U] [m].
        v: North, [V] [m].
    """
    covered = np.zeros((len(v), len(u)), bool)
    edged = np.zeros_like(covered)
    origin = grid.origin[map_index]
    columns, column = np.unique(np.floor((u - origin[0]) / CELL), return_inverse=True)
    rows, row = np.unique(np.floor((v - origin[1]) / CELL), return_inverse=True)
    x, y = np.meshgrid(origin[0] + CELL * (columns + 0.5), origin[1] + CELL * (rows + 0.5))
    for layer in range(int(grid.shape[map_index, 3])):
        cell = cell_at(grid, x, y, layer, map_index)
        known = cell >= 0
        cell = np.where(known, cell, 0)
        has_edge = known & (grid.edge_first[cell + 1] > grid.edge_first[cell])
        whole = known & ~has_edge & (grid.inside[cell] != 0)
        covered |= whole[row][:, column]
        edged |= has_edge[row][:, column]
    j, i = np.nonzero(edged & ~covered)
    covered[j, i] = _on_surface(grid, map_index, u[i], v[j])
    return covered


def _on_surface(grid: Grid, map_index: int, x: F64, y: F64) -> Bools:
    """Whether each point lies on the drivable surface of any layer.

    The way from the centre of its cell, whose side is known, crosses an edge once for each change.
    """
    out = np.zeros(len(x), bool)
    for layer in range(int(grid.shape[map_index, 3])):
        cell = cell_at(grid, x, y, layer, map_index)
        row = np.flatnonzero(cell >= 0)
        listed, source = _listed(grid.edge_first, cell[row])
        origin = grid.origin[map_index].astype(np.float64)
        px, py = x[row][source], y[row][source]
        cx = (np.floor((px - origin[0]) / CELL) + 0.5) * CELL + origin[0]
        cy = (np.floor((py - origin[1]) / CELL) + 0.5) * CELL + origin[1]
        x0, y0, x1, y1 = grid.edge[listed].T.astype(np.float64)
        dx, dy, ex, ey = cx - px, cy - py, x1 - x0, y1 - y0
        apart = (dx * (y0 - py) - dy * (x0 - px) >= 0.0) != (dx * (y1 - py) - dy * (x1 - px) >= 0.0)
        apart &= (ex * (py - y0) - ey * (px - x0) >= 0.0) != (
            ex * (cy - y0) - ey * (cx - x0) >= 0.0
        )
        crossings = np.bincount(source[apart], minlength=len(row))
        out[row] |= (grid.inside[cell[row]] != 0) ^ (crossings % 2 == 1)
    return out


def _cells_below(grid: Grid, map_index: int, layer: int, view: View) -> I64:
    """Cells of a layer that a view shows, and one around it."""
    origin = grid.origin[map_index]
    x = np.array([view.left, view.left + view.edge]) / view.scale
    y = -np.array([view.top + view.edge, view.top]) / view.scale
    i = np.arange(math.floor((x[0] - origin[0]) / CELL) - 1, (x[1] - origin[0]) / CELL + 1)
    j = np.arange(math.floor((y[0] - origin[1]) / CELL) - 1, (y[1] - origin[1]) / CELL + 1)
    i, j = (n.ravel() for n in np.meshgrid(i, j))
    at = origin[0] + CELL * (i + 0.5), origin[1] + CELL * (j + 0.5)
    cells = cell_at(grid, *at, layer, map_index)
    return cells[cells >= 0]


def _listed(first: NDArray[Any], rows: I64) -> tuple[I64, I64]:
    """Entries first[r]:first[r + 1] of all `rows`, and for each the position of its row."""
    count = (first[rows + 1] - first[rows]).astype(np.int64)
    source = np.repeat(np.arange(len(rows)), count)
    start = np.cumsum(count) - count
    return first[rows][source] + np.arange(len(source)) - start[source], source
