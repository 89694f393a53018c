"""The structs of pictures that agents observe, each field declared once with axes, type and unit.

Axes: V rows of the caller (learners), K frames of the history, C channels. A view is one picture of
each row. Its frames are what is drawn; a picture is what the caller gets: the last K frames, each
in C channels.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

import numpy as np

from selfdrive_env.state.arrays import F32, I32, I64, U8, U32

__all__ = ["PICTURE_STAGES", "TILE", "Frames", "Ground", "Lens", "View"]

TILE = 128
"""Texels along the edge of a tile."""

PICTURE_STAGES = ("ground", "route", "lights", "agents", "store")
"""Columns of `Frames.cycles`."""


class Ground(NamedTuple):
    """The ground of a pool of maps as seen from above, in square tiles kept where there is road.

    Texel (i, j) of map m covers origin[m] + texel[m] * [i, i+1) x [j, j+1), counted to the east and
    north. Its tile is tile_at[shape[m, 2] + (layer * shape[m, 1] + j // TILE) * shape[m, 0] + i //
    TILE]: a layer has tiles of its own only where it differs from layer 0. Tile 0 is empty.
    """

    texel: Annotated[F32, "map"]
    """Edge of a texel [m]."""

    origin: Annotated[F32, "map 2"]
    """[m]"""

    shape: Annotated[I32, "map 4"]
    """Tiles along x, tiles along y, offset into `tile_at`, number of layers; 0 tiles of maps that
    are not baked yet."""

    tile_at: Annotated[I32, "entry"]
    tile: Annotated[U8, "tile texel"]
    """Codes of the ground, rows from the south: a class, or two mixed (`images.codes`)."""


class Lens(NamedTuple):
    """How a view looks at the world, as scalars."""

    width: int
    """[pixels]"""

    height: int
    """[pixels]"""

    pixel: np.float32
    """Edge of a pixel on the ground [m]."""

    ahead: np.float32
    """Of the middle of the picture from the middle of the ego's box, along its heading [m]."""

    left: np.float32
    """[m]"""

    heading_up: int
    """1: the picture turns with the ego; 0: north is up."""

    learners: int
    """Rows of the caller in each world: its first agents."""

    first: int
    """1: channels before rows and columns."""


class Frames(NamedTuple):
    """What a view has drawn, and the pictures that the caller gets of it."""

    code: Annotated[U8, "view_row frame code_byte"]
    """The last frames of each row, a ring: for a view from above one code a pixel, rows from the
    top."""

    newest: Annotated[I32, "view_row"]
    """Place of the newest frame in the ring."""

    age: Annotated[I32, "view_row"]
    """`Agents.age` when it was drawn."""

    picture: Annotated[U8, "byte_row value"]
    """Pictures of whole numbers, none where they are floats: oldest frame first."""

    number: Annotated[F32, "float_row value"]
    """Pictures of floats, from 0 to 1."""

    final_picture: Annotated[U8, "final_byte_row value"]
    """Last pictures of episodes that ended, where the next ones show new episodes."""

    final_number: Annotated[F32, "final_float_row value"]
    tint: Annotated[U8, "channel code"]
    """Value of each code in each channel."""

    shade: Annotated[F32, "channel code"]
    """The same of floats."""

    word: Annotated[U32, "code"]
    """The first channels of a code in one word, the first in its lowest byte."""

    cycles: Annotated[I64, "worker picture_stage"]
    """Processor cycles spent in each stage since the buffers were made."""


class View(NamedTuple):
    """All that the kernel of a view from above gets beside `Model` and `Data`."""

    lens: Lens
    ground: Ground
    frames: Frames
