"""How the ego's way is drawn, with its goals, and how the trails of all agents."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from selfdrive_env.rendering.bodies import colour_of
from selfdrive_env.rendering.canvas import View, draw_disc, flat, import_pillow
from selfdrive_env.rendering.palette import Colour
from selfdrive_env.state.arrays import F32
from selfdrive_env.state.world import ABSENT

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

    from selfdrive_env.rendering.painter import Scene

__all__ = ["draw_trails", "draw_way"]

FRESH = 150
"""Opacity of the latest part of a trail, from 0 to 255; it falls to 0 along the trail."""


def draw_way(
    image: Image, view: View, route: F32 | None, goals: F32 | None, colour: Colour
) -> None:
    """Draws a route and its goals.

    Args:
        image: Drawn on.
        view: The part of the plane shown.
        route: x, y, [N, 2] [m].
        goals: x, y, radius, [G, 3] [m].
        colour: Red, green, blue.
    """
    if route is not None and len(route) > 1:
        _draw_line(image, view, route, colour)
    pen = import_pillow()[1].Draw(image, "RGBA")
    for x, y, radius in [] if goals is None else goals.tolist():
        centre = view.pixels(x, y)
        draw_disc(pen, centre, max(8.0, radius * view.scale), (*colour, 60), colour, 4)
        draw_disc(pen, centre, 4.0, colour)


def draw_trails(pen: ImageDraw, scene: Scene, view: View) -> None:
    """Draws where bodies have been, fainter with time."""
    if scene.trails is None:
        return
    trails = np.asarray(scene.trails, np.float64)
    points = view.pixels(trails[..., 0], trails[..., 1])
    width, pieces = max(2, round(0.5 * view.scale)), points.shape[1] - 1
    for agent in np.flatnonzero(scene.status != ABSENT).tolist():
        colour = colour_of(scene, agent)
        for k in np.flatnonzero(view.holds(points[agent], 20.0)[1:]).tolist():
            if np.isfinite(points[agent, k : k + 2]).all():
                fill = (*colour[:3], FRESH * (k + 1) // pieces)
                pen.line(flat(points[agent, k : k + 2]), fill=fill, width=width)


def _draw_line(image: Image, view: View, route: F32, colour: Colour) -> None:
    """Draws a translucent line, as a mask first: where its pieces meet, it would be darker."""
    points = view.pixels(route[:, 0], route[:, 1])
    width = max(4, round(1.2 * view.scale))
    low = np.maximum(np.floor(points.min(0)) - width, 0).astype(int)
    high = np.minimum(np.ceil(points.max(0)) + width, view.edge).astype(int)
    if (high <= low).any():
        return
    size = int(high[0] - low[0]), int(high[1] - low[1])
    mask = import_pillow()[0].new("L", size)
    import_pillow()[1].Draw(mask).line(flat(points - low), 130, width, joint="curve")
    image.paste(colour, (int(low[0]), int(low[1])), mask)
