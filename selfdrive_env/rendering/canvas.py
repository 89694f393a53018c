"""What every layer of a picture draws with: pillow, the view, lines and discs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.rendering.palette import Colour
from selfdrive_env.state.arrays import F32, F64

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

__all__ = [
    "OVERSAMPLING",
    "View",
    "draw_disc",
    "draw_lines",
    "draw_words",
    "flat",
    "import_pillow",
]

OVERSAMPLING = 2
"""Drawn pixels along an edge of a picture's pixel."""


class View(NamedTuple):
    """The part of the plane that a picture shows, at twice its size."""

    left: int
    """Drawn pixels from x = 0 to the left edge."""

    top: int
    """Drawn pixels from y = 0 down to the upper edge."""

    scale: float
    """Drawn pixels per metre."""

    edge: int
    """Drawn pixels along an edge."""

    def pixels(self, x: Any, y: Any) -> F64:
        """Positions [m] in the picture, [..., 2] [drawn pixels]."""
        return np.stack(
            [
                np.multiply(x, self.scale, dtype=np.float64) - self.left,
                -np.multiply(y, self.scale, dtype=np.float64) - self.top,
            ],
            axis=-1,
        )

    def touches(self, points: F64, margin: float) -> bool:
        """Whether the box around points [N, 2] comes as near as `margin` [drawn pixels]."""
        low, high = points.min(0), points.max(0)
        return bool((high > -margin).all() and (low < self.edge + margin).all())

    def holds(self, points: F64, margin: float) -> NDArray[np.bool_]:
        """Whether points [N, 2] lie in the picture or at most `margin` outside [drawn pixels]."""
        inside = (points > -margin) & (points < self.edge + margin)
        return np.asarray(inside.all(axis=1), np.bool_)


def import_pillow() -> tuple[Any, Any, Any]:
    """Returns pillow's `Image`, `ImageDraw` and `ImageFont`."""
    try:
        from PIL import Image, ImageDraw, ImageFont
    except ImportError as error:
        raise ImportError('drawing needs pillow: pip install "selfdrive_env[render]"') from error
    return Image, ImageDraw, ImageFont


def draw_lines(pen: ImageDraw, ends: F32 | F64, view: View, fill: Colour, width: int) -> None:
    """Draws lines given by their ends, [N, 2, 2] [m]; `width` in drawn pixels."""
    for line in view.pixels(ends[..., 0], ends[..., 1]).reshape(-1, 4).tolist():
        pen.line(line, fill, width)


def draw_disc(
    pen: ImageDraw,
    centre: F64,
    radius: float,
    fill: Colour,
    outline: Colour | None = None,
    width: int = 1,
) -> None:
    """Draws a disc; `radius` and `width` of its rim in drawn pixels."""
    x, y = centre.tolist()
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill, outline, width)


def draw_words(pen: ImageDraw, words: Sequence[str], size: int, bottom_edge: int) -> None:
    """Writes words into the lower left corner, if there are any.

    Args:
        pen: Of the picture in its final size.
        words: Written beside each other.
        size: Longer side, by which letters are as large as they are [pixels].
        bottom_edge: Height of the picture [pixels].
    """
    if not words:
        return
    font = import_pillow()[2].load_default(max(10, size // 30))
    text = "   ".join(words)
    left, top, right, bottom = pen.textbbox((0, 0), text, font)
    pad = size // 80 + 1
    x, y = pad, bottom_edge - pad - bottom - 2 * pad
    box = (x, y + top - pad, x + right - left + 2 * pad, y + bottom + pad)
    pen.rounded_rectangle(box, pad, (24, 28, 34, 190))
    pen.text((x + pad - left, y), text, (250, 250, 250), font)


def flat(points: F64) -> list[float]:
    """Returns [N, 2] points as the list x0, y0, x1, y1, ... that pillow takes fastest."""
    out: list[float] = points.ravel().tolist()
    return out
