"""Shapes and textures of bodies, lights and signs: a few boxes each, with roles for texels."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from selfdrive_env.config.presets import BODY_TYPES
from selfdrive_env.state.arrays import F32, I32, U8
from selfdrive_env.state.camera.scenery import (
    MOST_PARTS,
    PART_COLUMNS,
    ROLE_BOX,
    ROLE_BRAKE,
    ROLE_CLOTH,
    ROLE_CONCRETE,
    ROLE_DARK,
    ROLE_GLASS,
    ROLE_GREEN,
    ROLE_HEADLIGHT,
    ROLE_NONE,
    ROLE_PAINT,
    ROLE_PLATE,
    ROLE_POLE,
    ROLE_RED,
    ROLE_RIM,
    ROLE_SIGN,
    ROLE_SKIN,
    ROLE_TAIL,
    ROLE_TRIM,
    ROLE_TROUSERS,
    ROLE_YELLOW,
    ROLES,
    ImageClass,
)

__all__ = ["Shapes", "body_heights", "make_shapes"]

ROWS, COLUMNS = 16, 32
"""Of a texture."""

HEIGHTS = {
    "random": 1.5, "car": 1.5, "van": 2.1, "truck": 3.3, "bus": 3.1, "motorcycle": 1.6,
    "bicycle": 1.75, "pedestrian": 1.75,
}  # fmt: skip
"""Of types of bodies, which have none in the engine [m]."""

CLASSES = {
    "random": ImageClass.CAR,
    **{name: ImageClass[name.upper()] for name in BODY_TYPES if name != "random"},
}

ROLE_COLOURS = {
    ROLE_GLASS: (38, 46, 58),
    ROLE_DARK: (24, 24, 26),
    ROLE_HEADLIGHT: (250, 248, 226),
    ROLE_TAIL: (128, 22, 24),
    ROLE_BRAKE: (255, 48, 40),
    ROLE_TRIM: (70, 72, 76),
    ROLE_PLATE: (226, 226, 214),
    ROLE_SKIN: (206, 160, 130),
    ROLE_CLOTH: (150, 62, 54),
    ROLE_TROUSERS: (48, 54, 78),
    ROLE_RIM: (158, 160, 164),
    ROLE_BOX: (214, 214, 210),
    ROLE_RED: (255, 40, 36),
    ROLE_YELLOW: (255, 200, 40),
    ROLE_GREEN: (40, 240, 110),
    ROLE_POLE: (96, 100, 104),
    ROLE_CONCRETE: (150, 148, 142),
    ROLE_SIGN: (206, 24, 32),
}

PAINTS = (
    (232, 232, 230), (28, 30, 34), (176, 178, 182), (110, 114, 120), (150, 26, 30),
    (30, 62, 118), (62, 92, 74), (204, 190, 162), (88, 116, 148), (198, 92, 34),
)  # fmt: skip
"""Common colours of cars."""


class Shapes(NamedTuple):
    """Fields of `Scenery` of these names."""

    part: F32
    part_texture: I32
    body_height: F32
    body_class: U8
    texture: U8
    role: U8
    paint: U8


class _Atlas:
    """Textures by name, in the order in which they were drawn."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.pictures: list[U8] = []

    def add(self, name: str, base: int, *rectangles: tuple[int, float, float, float, float]) -> U8:
        """Draws a texture: a role all over, then (role, left, right, bottom, top) in shares."""
        picture = np.full((ROWS, COLUMNS), base, np.uint8)
        for role, left, right, bottom, top in rectangles:
            rows = slice(round(bottom * ROWS), max(round(top * ROWS), round(bottom * ROWS) + 1))
            columns = slice(
                round(left * COLUMNS), max(round(right * COLUMNS), round(left * COLUMNS) + 1)
            )
            picture[rows, columns] = role
        self.names.append(name)
        self.pictures.append(picture)
        return picture


def _disc(picture: U8, role: int, u: float, v: float, wide: float, high: float) -> None:
    """Draws an ellipse with its middle at (u, v), in shares of the texture."""
    y, x = np.mgrid[0:ROWS, 0:COLUMNS]
    inside = ((x + 0.5) / COLUMNS - u) ** 2 / wide**2 + ((y + 0.5) / ROWS - v) ** 2 / high**2 <= 1.0
    picture[inside] = role


def _wheels(picture: U8, places: tuple[float, ...], wide: float, high: float) -> None:
    """Draws wheels at shares of the length, standing at the bottom."""
    for place in places:
        _disc(picture, ROLE_DARK, place, 0.75 * high, wide, 1.1 * high)
        _disc(picture, ROLE_RIM, place, 0.75 * high, 0.5 * wide, 0.5 * high)


def _draw_textures() -> _Atlas:
    atlas = _Atlas()
    dark = (ROLE_DARK, 0.0, 1.0, 0.0, 0.16)
    atlas.add("concrete", ROLE_CONCRETE, (ROLE_TRIM, 0.0, 1.0, 0.9, 1.0))
    atlas.add("dark", ROLE_DARK)
    atlas.add("paint", ROLE_PAINT)
    atlas.add("box", ROLE_BOX)
    atlas.add(
        "car front", ROLE_PAINT, dark, (ROLE_TRIM, 0.0, 1.0, 0.16, 0.34),
        (ROLE_DARK, 0.3, 0.7, 0.42, 0.66), (ROLE_PLATE, 0.38, 0.62, 0.22, 0.36),
        (ROLE_HEADLIGHT, 0.02, 0.24, 0.56, 0.82), (ROLE_HEADLIGHT, 0.76, 0.98, 0.56, 0.82),
    )  # fmt: skip
    atlas.add(
        "car rear", ROLE_PAINT, dark, (ROLE_TRIM, 0.0, 1.0, 0.16, 0.32),
        (ROLE_PLATE, 0.36, 0.64, 0.42, 0.58), (ROLE_TAIL, 0.0, 0.22, 0.58, 0.88),
        (ROLE_TAIL, 0.78, 1.0, 0.58, 0.88),
    )  # fmt: skip
    side = atlas.add("car side", ROLE_PAINT, dark, (ROLE_TRIM, 0.34, 0.36, 0.3, 0.95),
        (ROLE_TRIM, 0.58, 0.6, 0.3, 0.95), (ROLE_HEADLIGHT, 0.97, 1.0, 0.6, 0.8),
        (ROLE_TAIL, 0.0, 0.03, 0.6, 0.85))  # fmt: skip
    _wheels(side, (0.19, 0.81), 0.085, 0.3)
    atlas.add("windscreen", ROLE_GLASS, (ROLE_PAINT, 0.0, 0.06, 0.0, 1.0),
        (ROLE_PAINT, 0.94, 1.0, 0.0, 1.0), (ROLE_PAINT, 0.0, 1.0, 0.94, 1.0))  # fmt: skip
    atlas.add("cabin side", ROLE_GLASS, (ROLE_PAINT, 0.0, 0.1, 0.0, 1.0),
        (ROLE_PAINT, 0.48, 0.53, 0.0, 1.0), (ROLE_PAINT, 0.92, 1.0, 0.0, 1.0),
        (ROLE_PAINT, 0.0, 1.0, 0.9, 1.0))  # fmt: skip
    atlas.add(
        "van front", ROLE_PAINT, (ROLE_DARK, 0.0, 1.0, 0.0, 0.1),
        (ROLE_TRIM, 0.0, 1.0, 0.1, 0.22), (ROLE_DARK, 0.28, 0.72, 0.24, 0.36),
        (ROLE_HEADLIGHT, 0.02, 0.22, 0.3, 0.44), (ROLE_HEADLIGHT, 0.78, 0.98, 0.3, 0.44),
        (ROLE_GLASS, 0.06, 0.94, 0.54, 0.9),
    )  # fmt: skip
    atlas.add(
        "van rear", ROLE_PAINT, (ROLE_DARK, 0.0, 1.0, 0.0, 0.1),
        (ROLE_TRIM, 0.0, 1.0, 0.1, 0.2), (ROLE_TAIL, 0.0, 0.12, 0.3, 0.55),
        (ROLE_TAIL, 0.88, 1.0, 0.3, 0.55), (ROLE_GLASS, 0.08, 0.46, 0.58, 0.88),
        (ROLE_GLASS, 0.54, 0.92, 0.58, 0.88), (ROLE_PLATE, 0.36, 0.6, 0.24, 0.34),
    )  # fmt: skip
    side = atlas.add("van side", ROLE_PAINT, (ROLE_DARK, 0.0, 1.0, 0.0, 0.1),
        (ROLE_GLASS, 0.74, 0.93, 0.54, 0.88), (ROLE_TRIM, 0.5, 0.52, 0.15, 0.9),
        (ROLE_TAIL, 0.0, 0.02, 0.3, 0.55))  # fmt: skip
    _wheels(side, (0.18, 0.82), 0.07, 0.22)
    atlas.add(
        "lorry rear", ROLE_BOX, (ROLE_DARK, 0.0, 1.0, 0.0, 0.18),
        (ROLE_TAIL, 0.02, 0.16, 0.16, 0.26), (ROLE_TAIL, 0.84, 0.98, 0.16, 0.26),
        (ROLE_TRIM, 0.49, 0.51, 0.26, 1.0), (ROLE_PLATE, 0.4, 0.6, 0.16, 0.24),
    )  # fmt: skip
    side = atlas.add("lorry side", ROLE_BOX, (ROLE_DARK, 0.0, 1.0, 0.0, 0.22),
        (ROLE_PAINT, 0.1, 0.9, 0.5, 0.62))  # fmt: skip
    _wheels(side, (0.16, 0.3), 0.065, 0.17)
    side = atlas.add("cab side", ROLE_PAINT, (ROLE_DARK, 0.0, 1.0, 0.0, 0.16),
        (ROLE_GLASS, 0.35, 0.9, 0.55, 0.88))  # fmt: skip
    _wheels(side, (0.5,), 0.28, 0.22)
    atlas.add(
        "bus front", ROLE_PAINT, (ROLE_DARK, 0.0, 1.0, 0.0, 0.1),
        (ROLE_GLASS, 0.04, 0.96, 0.36, 0.84), (ROLE_YELLOW, 0.25, 0.75, 0.88, 0.96),
        (ROLE_HEADLIGHT, 0.04, 0.2, 0.16, 0.26), (ROLE_HEADLIGHT, 0.8, 0.96, 0.16, 0.26),
    )  # fmt: skip
    atlas.add(
        "bus rear", ROLE_PAINT, (ROLE_DARK, 0.0, 1.0, 0.0, 0.1), (ROLE_GLASS, 0.1, 0.9, 0.56, 0.86),
        (ROLE_TRIM, 0.2, 0.8, 0.16, 0.4), (ROLE_TAIL, 0.0, 0.12, 0.2, 0.45),
        (ROLE_TAIL, 0.88, 1.0, 0.2, 0.45),
    )  # fmt: skip
    windows = tuple((ROLE_GLASS, 0.03 + 0.12 * n, 0.13 + 0.12 * n, 0.42, 0.84) for n in range(8))
    side = atlas.add("bus side", ROLE_PAINT, (ROLE_DARK, 0.0, 1.0, 0.0, 0.09), *windows,
        (ROLE_GLASS, 0.84, 0.9, 0.1, 0.84), (ROLE_TAIL, 0.0, 0.012, 0.2, 0.4))  # fmt: skip
    _wheels(side, (0.24, 0.76), 0.05, 0.17)
    for name in ("bike side", "motorcycle side"):
        frame = atlas.add(name, ROLE_NONE)
        heavy = name == "motorcycle side"
        for u in (0.2, 0.8):
            _disc(frame, ROLE_DARK, u, 0.46, 0.2, 0.46)
            _disc(frame, ROLE_RIM if heavy else ROLE_NONE, u, 0.46, 0.13, 0.3)
        frame[6 : 14 if heavy else 10, 8:24] = ROLE_PAINT
        if heavy:
            frame[10:13, 0:3] = ROLE_TAIL
            frame[11:15, 28:31] = ROLE_HEADLIGHT
        else:
            frame[8:10, 10:22] = ROLE_PAINT
            frame[3:9, 15:17] = ROLE_PAINT
    atlas.add("wheel end", ROLE_DARK, (ROLE_TAIL, 0.2, 0.8, 0.8, 1.0))
    atlas.add("torso", ROLE_PAINT)
    atlas.add("legs", ROLE_TROUSERS, (ROLE_DARK, 0.0, 1.0, 0.0, 0.1),
        (ROLE_DARK, 0.48, 0.52, 0.0, 0.9))  # fmt: skip
    atlas.add("face", ROLE_SKIN, (ROLE_DARK, 0.0, 1.0, 0.75, 1.0))
    atlas.add("hair", ROLE_DARK, (ROLE_SKIN, 0.0, 1.0, 0.0, 0.3))
    atlas.add("helmet", ROLE_CLOTH, (ROLE_GLASS, 0.2, 0.8, 0.3, 0.6))
    atlas.add("pole", ROLE_POLE)
    head = atlas.add("light front", ROLE_DARK)
    for role, v in ((ROLE_RED, 0.82), (ROLE_YELLOW, 0.5), (ROLE_GREEN, 0.18)):
        _disc(head, role, 0.5, v, 0.4, 0.15)
    sign = atlas.add("sign front", ROLE_NONE)
    y, x = (np.mgrid[0:ROWS, 0:COLUMNS] + 0.5) * np.array([1 / ROWS, 1 / COLUMNS])[:, None, None]
    x, y = abs(2.0 * x - 1.0), abs(2.0 * y - 1.0)
    reach = np.maximum(np.maximum(x, y), (x + y) / 2.0**0.5)
    sign[reach <= 1.0] = ROLE_PLATE
    sign[reach <= 0.86] = ROLE_SIGN
    sign[7:10, 5:27:2] = ROLE_PLATE
    back = atlas.add("sign rear", ROLE_NONE)
    back[reach <= 1.0] = ROLE_POLE
    atlas.add("none", ROLE_NONE)
    return atlas


Part = tuple[tuple[float, ...], tuple[str, str, str, str]]
"""Columns `PART_*`, and textures of front, rear, sides and top."""


def _parts() -> dict[str, list[Part]]:
    """Returns the boxes of each kind, in shares of its size."""
    car: list[Part] = [
        ((-0.5, 0.5, -0.5, 0.48, 0.5, 0.48, 0.0, 0.56),
         ("car front", "car rear", "car side", "paint")),
        ((-0.42, 0.24, -0.3, 0.06, 0.46, 0.36, 0.56, 1.0),
         ("windscreen", "windscreen", "cabin side", "paint")),
    ]  # fmt: skip
    pedestrian: list[Part] = [
        ((-0.18, 0.18, -0.16, 0.16, 0.22, 0.22, 0.0, 0.48), ("legs", "legs", "legs", "legs")),
        ((-0.16, 0.16, -0.18, 0.18, 0.26, 0.3, 0.48, 0.84), ("torso",) * 4),
        ((-0.13, 0.13, -0.13, 0.13, 0.14, 0.13, 0.86, 1.0), ("face", "hair", "hair", "dark")),
    ]
    rider = ((-0.16, 0.06, -0.06, 0.12, 0.3, 0.34, 0.55, 0.87), ("torso",) * 4)
    head = ((-0.02, 0.12, -0.02, 0.12, 0.17, 0.15, 0.87, 1.0),
        ("face", "helmet", "helmet", "helmet"))  # fmt: skip
    legs = ((-0.12, 0.12, -0.12, 0.1, 0.24, 0.24, 0.2, 0.56), ("legs", "legs", "legs", "legs"))
    return {
        "random": car,
        "car": car,
        "van": [
            ((-0.5, 0.5, -0.49, 0.36, 0.5, 0.46, 0.0, 1.0),
             ("van front", "van rear", "van side", "paint")),
        ],
        "truck": [
            ((-0.5, 0.2, -0.5, 0.2, 0.5, 0.5, 0.0, 1.0),
             ("dark", "lorry rear", "lorry side", "box")),
            ((0.22, 0.5, 0.22, 0.46, 0.47, 0.45, 0.0, 0.78),
             ("van front", "dark", "cab side", "paint")),
        ],
        "bus": [
            ((-0.5, 0.5, -0.5, 0.48, 0.5, 0.48, 0.0, 1.0),
             ("bus front", "bus rear", "bus side", "paint")),
        ],
        "motorcycle": [
            ((-0.5, 0.5, -0.5, 0.5, 0.13, 0.13, 0.0, 0.56),
             ("wheel end", "wheel end", "motorcycle side", "dark")),
            legs, rider, head,
        ],
        "bicycle": [
            ((-0.5, 0.5, -0.5, 0.5, 0.06, 0.06, 0.0, 0.5),
             ("wheel end", "wheel end", "bike side", "none")),
            legs, rider, head,
        ],
        "pedestrian": pedestrian,
        "light": [
            ((-0.2, 0.2, -0.2, 0.2, 0.2, 0.2, 0.0, 0.67), ("pole",) * 4),
            ((-0.4, 0.4, -0.4, 0.4, 0.5, 0.5, 0.67, 1.0), ("light front", "dark", "dark", "dark")),
        ],
        "sign": [
            ((-0.05, 0.04, -0.05, 0.04, 0.05, 0.05, 0.0, 0.95), ("pole",) * 4),
            ((0.05, 0.06, 0.05, 0.06, 0.5, 0.5, 0.72, 1.0),
             ("sign front", "sign rear", "none", "none")),
        ],
    }  # fmt: skip


def body_heights() -> F32:
    """Returns the height of each type of body, in the order of `BODY_TYPES` [m]."""
    return np.array([HEIGHTS[name] for name in BODY_TYPES], np.float32)


def make_shapes() -> Shapes:
    """Returns all shapes: those of `BODY_TYPES`, then of a traffic light and of a stop sign."""
    atlas = _draw_textures()
    kinds = _parts()
    assert list(kinds)[: len(BODY_TYPES)] == list(BODY_TYPES)
    part = np.zeros((len(kinds), MOST_PARTS, PART_COLUMNS), np.float32)
    texture = np.full((len(kinds), MOST_PARTS, 4), -1, np.int32)
    for kind, parts in enumerate(kinds.values()):
        for number, (columns, names) in enumerate(parts):
            part[kind, number] = columns
            texture[kind, number] = [atlas.names.index(name) for name in names]
    roles: Any = np.zeros((ROLES, 3), np.uint8)
    for role, colour in ROLE_COLOURS.items():
        roles[role] = colour
    return Shapes(
        part=part,
        part_texture=texture,
        body_height=body_heights(),
        body_class=np.array([CLASSES[name] for name in BODY_TYPES], np.uint8),
        texture=np.stack(atlas.pictures),
        role=roles,
        paint=np.array(PAINTS, np.uint8),
    )
