"""What cameras see that stands still: the ground of maps, bridges, shapes of bodies and lights."""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated, NamedTuple

from selfdrive_env.state.arrays import F32, I32, I64, U8

__all__ = ["ImageClass", "Material", "Scenery"]

TEXEL = 0.125
"""Edge of the finest texels of the ground [m]."""

TILE_TEXELS = 128
"""Texels along the edge of a tile of the ground, at its finest level: 16 m."""

TEXTURE_LEVELS = 5
"""Each has texels twice as wide as the one before."""

NODE = 8.0
"""Distance of the nodes at which the elevation of the ground is known [m]."""

SHEETS = 2
"""Of the ground of a map: what lies on the ground, and what lies on bridges."""

CLEAR = 255
"""Code of texels that show what is behind them."""


class ImageClass(IntEnum):
    """What a pixel shows, in images of classes and in boxes."""

    SKY = 0
    TERRAIN = 1
    ROAD = 2
    MARKING = 3
    SIDEWALK = 4
    STRUCTURE = 5
    """Walls of bridges."""

    POLE = 6
    TRAFFIC_LIGHT = 7
    STOP_SIGN = 8
    CAR = 9
    VAN = 10
    TRUCK = 11
    BUS = 12
    MOTORCYCLE = 13
    BICYCLE = 14
    PEDESTRIAN = 15


class Material(IntEnum):
    """What the ground is made of; a code of a texel is one of them, or two mixed."""

    GRASS = 0
    ASPHALT = 1
    PAVEMENT = 2
    KERB = 3
    WHITE = 4
    YELLOW = 5
    GRAVEL = 6


# Columns of Scenery.layout.
(TILES_X, TILES_Y, TILE_ENTRY, NODES_X, NODES_Y, NODE_ENTRY, BLOCKS_X, BLOCKS_Y, BLOCK_ENTRY,
    SQUARE_ENTRY, FLAT) = range(11)  # fmt: skip
LAYOUT_COLUMNS = 11

SQUARE = 4
"""Cells between nodes along the edge of a square of them."""

# Columns of Scenery.quad: a corner, two edges from it [m].
QUAD_COLUMNS = 9

# Scenery.quad_kind
DECK, WALL = range(2)

# Columns of Scenery.part: ends along the body at the bottom and at the top, as shares of its length
# from its middle; half widths at the bottom and at the top, shares of its width; bottom and top,
# shares of its height.
(PART_REAR, PART_FRONT, PART_TOP_REAR, PART_TOP_FRONT, PART_WIDE, PART_TOP_WIDE, PART_LOW,
    PART_HIGH) = range(8)  # fmt: skip
PART_COLUMNS = 8
MOST_PARTS = 4

LIGHT_KIND, SIGN_KIND = 8, 9
"""Rows of `Scenery.part` after those of `config.BODY_TYPES`."""

# Columns of Scenery.part_texture.
FACE_FRONT, FACE_REAR, FACE_SIDE, FACE_TOP = range(4)

# Roles: what a texel of a body, light or sign is; 0 shows what is behind it. Lamps come last, which
# no sun lights.
(ROLE_NONE, ROLE_PAINT, ROLE_GLASS, ROLE_DARK, ROLE_TRIM, ROLE_PLATE, ROLE_SKIN, ROLE_CLOTH,
    ROLE_TROUSERS, ROLE_RIM, ROLE_BOX, ROLE_POLE, ROLE_CONCRETE, ROLE_SIGN, ROLE_HEADLIGHT,
    ROLE_TAIL, ROLE_BRAKE, ROLE_RED, ROLE_YELLOW, ROLE_GREEN) = range(20)  # fmt: skip
FIRST_LAMP = ROLE_TAIL
ROLES = 20


class Scenery(NamedTuple):
    """What stands still in pictures: the ground of a pool of maps, and the shapes of bodies.

    The finest texel (i, j) of map m covers origin[m] + TEXEL * [i, i + 1) x [j, j + 1). Its tile on
    sheet s is tile[layout[m, TILE_ENTRY] + (s * TILES_Y + j // 128) * TILES_X + i // 128].
    """

    origin: Annotated[F32, "map 2"]
    """[m]"""

    level: Annotated[F32, "map"]
    """Elevation of a map that is flat, and of the ground around one that is not [m]."""

    layout: Annotated[I32, "map layout_column"]
    """Columns `TILES_X` and so on: sizes, and offsets into the arrays below."""

    tile: Annotated[I32, "tile_entry"]
    """Number of each tile; 0 is grass all over, 1 is clear."""

    texel: Annotated[U8, "texel"]
    """Codes of all tiles, level after level: those of level k begin at `texel_first[k]`, 4^(7 - k)
    a tile, rows from the south."""

    texel_first: Annotated[I64, "texture_level"]
    colour: Annotated[U8, "code 3"]
    """Of each code in even light."""

    code_class: Annotated[U8, "code"]
    """`ImageClass` of each code."""

    height: Annotated[F32, "node"]
    """Elevation of the ground at each node, rows from the south [m]."""

    plain: Annotated[U8, "square"]
    """1 where a square of 4 x 4 cells between nodes is as good as plane, rows from the south."""

    quad: Annotated[F32, "quad quad_column"]
    """Decks and walls of bridges, by blocks of 64 m: a corner x, y, z, and two edges [m]."""

    quad_kind: Annotated[U8, "quad"]
    quad_first: Annotated[I32, "quad_block"]
    """Quads of block b of a map: quad_first[layout[m, BLOCK_ENTRY] + b] up to the next one's."""

    part: Annotated[F32, "body_kind part part_column"]
    part_texture: Annotated[I32, "body_kind part 4"]
    """Textures of front, rear, sides and top; -1 in the first place after the last part."""

    body_height: Annotated[F32, "body_kind"]
    """[m]"""

    body_class: Annotated[U8, "body_kind"]
    texture: Annotated[U8, "texture texture_row texture_column"]
    """Roles, rows from the bottom; columns from the left, of sides from the rear."""

    role: Annotated[U8, "role 3"]
    """Colour of each role in even light; that of `ROLE_PAINT` is drawn."""

    paint: Annotated[U8, "paint 3"]
    """Colours that bodies are drawn from."""
