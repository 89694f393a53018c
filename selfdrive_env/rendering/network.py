"""A picture of a whole map from above: what `map plot` writes.

The ground is the painter's; what a compiled map does not hold any more (signs, lanes that are not
driven on) comes from the road network.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from selfdrive_env.maps import RoadNetwork
from selfdrive_env.maps.compile.compiled_map import compile_map
from selfdrive_env.maps.compile.outline import stop_line_ends
from selfdrive_env.rendering.canvas import OVERSAMPLING, View, flat, import_pillow
from selfdrive_env.rendering.ground import COARSE, FINE, Ground, lane_places
from selfdrive_env.rendering.painter import draw_head
from selfdrive_env.rendering.palette import (
    ARROW,
    GRASS,
    LIGHT_COLOURS,
    OUTLINE,
    PLATE,
    VERGE,
    WARNING,
    Colour,
)
from selfdrive_env.state.arrays import F64, U8
from selfdrive_env.state.road import SEG_COS, SEG_SIN, SEG_X, SEG_Y
from selfdrive_env.state.world import GREEN, RED, STOP_SIGN

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

__all__ = ["draw_network", "draw_sheet"]

MARGIN = 10.0
"""Ground around the map [m]."""

SIZES = (100, 20_000)
"""Shortest and longest longer side of a picture [pixels]."""

PIECE = 1024
"""Edge of the squares that a picture is drawn in [pixels]."""

ARROW_SPACING = 40.0
"""One arrow for so much of a lane where the ground shows none [m]."""


def draw_network(network: RoadNetwork, *, size: int = 1600) -> U8:
    """Returns a top-down picture of a map, north up: road edges, lane lines, signs, crosswalks.

    Args:
        network: The map.
        size: Longer side [pixels].

    Returns:
        RGB, [H, W, 3].
    """
    if not SIZES[0] <= size <= SIZES[1]:
        raise ValueError(f"size is {size}, allowed are {SIZES[0]} to {SIZES[1]} pixels")
    import_pillow()
    low, high = _bounds(network)
    scale = size / float((high - low).max())
    width, height = (max(1, round(extent * scale)) for extent in high - low)
    sheet = _Sheet(network, OVERSAMPLING * scale)
    left, top = (round(OVERSAMPLING * scale * side) for side in (low[0], -high[1]))
    out = np.empty((height, width, 3), np.uint8)
    for y in range(0, height, PIECE):
        for x in range(0, width, PIECE):
            piece = sheet.piece(left + OVERSAMPLING * x, top + OVERSAMPLING * y)
            part = out[y : y + PIECE, x : x + PIECE]
            part[...] = piece[: part.shape[0], : part.shape[1]]
    return out


def draw_sheet(networks: Iterable[RoadNetwork], count: int, *, size: int = 1600) -> U8:
    """Returns top-down pictures of several maps beside and below each other, with their names.

    Args:
        networks: The maps; each is drawn before the next is asked for.
        count: How many there are.
        size: Longer side of the sheet [pixels].

    Returns:
        RGB, [H, W, 3].
    """
    columns = math.ceil(math.sqrt(count))
    tile = size // columns
    if size > SIZES[1] or tile < SIZES[0]:
        raise ValueError(
            f"size is {size}; a sheet of {count} maps needs {columns * SIZES[0]} to {SIZES[1]} "
            "pixels"
        )
    image_module, draw_module, font_module = import_pillow()[:3]
    font = font_module.load_default(max(10, tile // 24))
    sheet = image_module.new("RGB", (columns * tile, -(-count // columns) * tile), GRASS)
    pen = draw_module.Draw(sheet)
    for place, network in enumerate(networks):
        x, y = place % columns * tile, place // columns * tile
        picture = image_module.fromarray(draw_network(network, size=tile))
        sheet.paste(picture, (x + (tile - picture.width) // 2, y + (tile - picture.height) // 2))
        pen.text((x + 6, y + 4), network.name, OUTLINE, font)
        pen.rectangle((x, y, x + tile - 1, y + tile - 1), outline=OUTLINE)
    return np.asarray(sheet)


def _bounds(network: RoadNetwork) -> tuple[F64, F64]:
    """Lower left and upper right corner of the picture, each [2] [m]."""
    edges = [edge[:, :2] for lane in network.lanes for edge in (lane.left, lane.right)]
    points = np.concatenate(edges) if edges else np.zeros((1, 2))
    low, high = points.min(0) - MARGIN, points.max(0) + MARGIN
    # Narrow maps get some ground around them, so that no side of the picture vanishes.
    missing = np.maximum(0.0, 0.2 * (high - low).max() - (high - low))
    return low - 0.5 * missing, high + 0.5 * missing


class _Sheet:
    """Draws pieces of one picture.

    Args:
        network: The map.
        scale: Drawn pixels per metre.
    """

    def __init__(self, network: RoadNetwork, scale: float) -> None:
        compiled = compile_map(network, lane_points=1, boundary_points=1, stop_lines=1)
        self._network, self._scale = network, scale
        self._ground = Ground(compiled.lanes, compiled.grid, [compiled.paint])
        self._stop_lines = stop_line_ends(compiled.signs.line)
        arrows = compiled.lanes.segment[lane_places(compiled.lanes, ARROW_SPACING)]
        self._arrows = arrows[:, [SEG_X, SEG_Y, SEG_COS, SEG_SIN]].astype(np.float64)

    def piece(self, left: int, top: int) -> U8:
        """Returns a piece, [PIECE, PIECE, 3]; its corner in drawn pixels."""
        image_module, draw_module = import_pillow()[:2]
        view = View(left, top, self._scale, PIECE * OVERSAMPLING)
        image = image_module.new("RGB", (view.edge, view.edge), GRASS)
        self._ground.paste(image, 0, view)
        image = self._with_verges(image, view)
        pen = draw_module.Draw(image, "RGBA")
        if COARSE <= view.scale < FINE:
            self._draw_lanes(pen, view)
        self._draw_signs(pen, view)
        return np.array(image.reduce(OVERSAMPLING), np.uint8)

    def _with_verges(self, image: Image, view: View) -> Image:
        """Returns the picture with the lanes that are not driven on, where there is no road."""
        image_module, draw_module = import_pillow()[:2]
        mask = image_module.new("L", image.size, 0)
        pen = draw_module.Draw(mask)
        for lane in self._network.lanes:
            if not lane.drivable and lane.type != "none":
                outline = np.concatenate([lane.left, lane.right[::-1]])
                if _shows(view, outline):
                    pen.polygon(flat(view.pixels(outline[:, 0], outline[:, 1])), fill=255)
        pixels = np.array(image)
        pixels[(np.asarray(mask) > 0) & (pixels == GRASS).all(axis=-1)] = VERGE
        out: Image = image_module.fromarray(pixels)
        return out

    def _draw_lanes(self, pen: ImageDraw, view: View) -> None:
        """Draws lines between lanes, and arrows, where the ground is too coarse for its own."""
        for lane in self._network.lanes:
            if lane.left_neighbour >= 0 and _shows(view, lane.left):
                points = view.pixels(lane.left[:, 0], lane.left[:, 1])
                pen.line(flat(points), fill=ARROW, width=1)
        at = view.pixels(self._arrows[:, 0], self._arrows[:, 1])
        for (x, y), (cos, sin) in zip(at.tolist(), self._arrows[:, 2:].tolist(), strict=True):
            shape = ((-4.0, 3.0), (2.0, 0.0), (-4.0, -3.0))
            ends = [n for a, b in shape for n in (x + a * cos - b * sin, y - a * sin - b * cos)]
            pen.line(ends, fill=ARROW, width=2)

    def _draw_signs(self, pen: ImageDraw, view: View) -> None:
        """Draws stop lines, then the lights and signs where they stand."""
        width = max(3, round(0.55 * view.scale))
        for line, ends in zip(self._network.stop_lines, self._stop_lines, strict=True):
            colour = LIGHT_COLOURS[STOP_SIGN if line.kind == "stop_sign" else RED]
            if _shows(view, ends):
                pen.line(flat(view.pixels(ends[:, 0], ends[:, 1])), fill=colour, width=width)
        radius = max(6.0, 0.9 * view.scale)
        for signal in self._network.signals:
            if _shows(view, signal.position[None]):
                _draw_sign(pen, signal.kind, view.pixels(*signal.position[:2]), radius)


def _shows(view: View, points: F64) -> bool:
    """Whether a piece may show something between points, [N, 2 or 3] [m]."""
    return view.touches(view.pixels(points[:, 0], points[:, 1]), 20.0 + view.scale)


def _draw_sign(pen: ImageDraw, kind: str, at: F64, radius: float) -> None:
    """Draws a disc for a light, and signs in their own shapes."""
    if kind in ("traffic_light", "stop_sign"):
        draw_head(pen, STOP_SIGN if kind == "stop_sign" else GREEN, at, radius)
        return
    shapes: dict[str, tuple[int, float, float, Colour]] = {
        "yield_sign": (3, math.pi / 2.0, 1.6, WARNING),
        "priority_sign": (4, 0.0, 1.2, WARNING),
        "speed_limit": (4, math.pi / 4.0, 1.2, PLATE),
    }
    corners, turn, larger, colour = shapes.get(kind, (4, 0.0, 1.0, OUTLINE))
    angles = turn + 2.0 * math.pi / corners * np.arange(corners)
    shape = at + larger * radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    pen.polygon(flat(shape), fill=colour, outline=OUTLINE)
