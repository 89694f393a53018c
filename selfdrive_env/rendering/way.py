"""How the ego's way is drawn, with its goals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from selfdrive_env.arrays import F32
from selfdrive_env.rendering.canvas import Colour, View, draw_disc, flat, import_pillow

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["draw_way"]


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
        # Drawn as a mask first: where pieces of a translucent line meet, it would be darker.
        mask = import_pillow()[0].new("L", image.size)
        points = view.pixels(route[:, 0], route[:, 1])
        width = max(4, round(1.2 * view.scale))
        import_pillow()[1].Draw(mask).line(flat(points), 130, width, joint="curve")
        image.paste(colour, mask=mask)
    pen = import_pillow()[1].Draw(image, "RGBA")
    for x, y, radius in [] if goals is None else goals.tolist():
        centre = view.pixels(x, y)
        draw_disc(pen, centre, max(8.0, radius * view.scale), (*colour, 60), colour, 4)
        draw_disc(pen, centre, 4.0, colour)
