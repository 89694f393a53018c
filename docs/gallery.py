"""Draws maps by seed for the page on them: `python docs/gallery.py docs/images/towns.png`."""

from __future__ import annotations

import sys

from PIL import Image, ImageDraw

from selfdrive_env.maps import load
from selfdrive_env.rendering import draw_network

NAMES = (
    *("city:7", "city:13", "village:8", "village:12"),
    *("roundabouts:2", "grid:10", "hills:11", "motorway:17"),
)
COLUMNS, EDGE, COLOURS = 4, 480, 24


def main() -> None:
    """Writes the picture to the path that the command line names."""
    rows = -(-len(NAMES) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * EDGE, rows * EDGE), (205, 215, 195))
    pen = ImageDraw.Draw(sheet)
    for k, name in enumerate(NAMES):
        x, y = EDGE * (k % COLUMNS), EDGE * (k // COLUMNS)
        picture = Image.fromarray(draw_network(load(name), size=EDGE - 30))
        sheet.paste(picture, (x + (EDGE - picture.width) // 2, y + (EDGE - picture.height) // 2))
        pen.text((x + 8, y + 6), name, fill=(40, 40, 40))
    sheet.quantize(COLOURS).save(sys.argv[1], optimize=True)


if __name__ == "__main__":
    main()
