"""The codes of frames: what each stands for, in colours, in grey and in channels of classes.

A texel of the ground that two classes share has a code of its own for each fifth, so that edges and
thin lines are smooth although a frame has one byte a pixel.
"""

from __future__ import annotations

import itertools

import numpy as np

from selfdrive_env.rendering.palette import (
    ASPHALT,
    CENTRE_LINE,
    CYCLIST,
    DASH,
    EGO,
    GRASS,
    LEARNER,
    LIGHT_COLOURS,
    OBSERVED,
    PAINT,
    WALKER,
    Colour,
)
from selfdrive_env.state.arrays import F32, I32, U8, U32
from selfdrive_env.state.images import (
    CHANNEL_CLASSES,
    CODES,
    EMPTY,
    GROUND_CLASSES,
    Code,
    GroundClass,
)
from selfdrive_env.state.world import GREEN, RED, YELLOW

__all__ = [
    "GREY_TONES",
    "PARTS",
    "class_of_codes",
    "colours",
    "mixed_code",
    "mixtures",
    "tables_of",
]

PARTS = 5
"""A mixture is told in so many parts; an odd number, so that one class has more."""

GREY = (0.299, 0.587, 0.114)
"""Shares of red, green and blue in grey (ITU-R BT.601)."""

GROUND_COLOURS: dict[GroundClass, Colour] = {
    GroundClass.NOTHING: GRASS,
    GroundClass.ROAD: ASPHALT,
    GroundClass.LANE_LINE: DASH,
    GroundClass.CENTRE_LINE: CENTRE_LINE,
    GroundClass.CROSSWALK: PAINT,
    GroundClass.STOP_LINE: (150, 154, 160),
}

ROUTE_COLOUR = (176, 104, 52)
SIGN_COLOUR = (255, 255, 255)

SHADE = 0.4
"""Of the front of a body, as a share of its colour."""

BODY_COLOURS: dict[Code, Colour] = {
    Code.VEHICLE: LEARNER,
    Code.CYCLIST: CYCLIST,
    Code.PEDESTRIAN: WALKER,
    Code.EGO: EGO,
}

CODE_COLOURS: dict[Code, Colour] = {
    Code.ROUTE: ROUTE_COLOUR,
    Code.GOAL: OBSERVED,
    Code.GREEN: LIGHT_COLOURS[GREEN],
    Code.YELLOW: LIGHT_COLOURS[YELLOW],
    Code.RED: LIGHT_COLOURS[RED],
    Code.STOP_SIGN: SIGN_COLOUR,
    **BODY_COLOURS,
    **{
        Code[f"{body.name}_FRONT"]: tuple(round(SHADE * one) for one in colour)
        for body, colour in BODY_COLOURS.items()
    },
}

GREY_TONES: dict[Code, int] = {
    Code.ROUTE: 30,
    Code.GOAL: 245,
    Code.GREEN: 250,
    Code.YELLOW: 130,
    Code.RED: 5,
    Code.STOP_SIGN: 190,
}
"""Of what only its hue tells from the road, or from one another; the rest is as bright as it is."""

PAIRS = list(itertools.combinations(range(GROUND_CLASSES), 2))


def mixtures() -> I32:
    """Returns the code of two classes by fifths of the second, [class, class, PARTS + 1]."""
    table = np.zeros((GROUND_CLASSES, GROUND_CLASSES, PARTS + 1), np.int32)
    for one in range(GROUND_CLASSES):
        table[one, :, 0] = one
        table[:, one, PARTS] = one
        table[one, one] = one
    for number, (low, high) in enumerate(PAIRS):
        for part in range(1, PARTS):
            code = GROUND_CLASSES + number * (PARTS - 1) + part - 1
            table[low, high, part] = table[high, low, PARTS - part] = code
    return table


def mixed_code(first: GroundClass, second: GroundClass, parts: int) -> int:
    """Returns the code of ground of which some fifths are of the second class."""
    return int(mixtures()[first, second, parts])


def shares() -> F32:
    """Returns how much of each class of the ground is in each code, [CODES, classes]."""
    table = np.zeros((CODES, GROUND_CLASSES), np.float32)
    codes = mixtures()
    for first, second in itertools.product(range(GROUND_CLASSES), repeat=2):
        for part in range(PARTS + 1):
            row = table[codes[first, second, part]]
            row[:] = 0.0
            row[second] = part / PARTS
            row[first] += 1.0 - part / PARTS
    return table


def class_of_codes() -> U8:
    """Returns the class of each code of the ground: [CODES]."""
    found = shares()
    last = GROUND_CLASSES - 1 - np.argmax(found[:, ::-1], axis=1)
    return last.astype(np.uint8)


def colours() -> F32:
    """Returns red, green and blue of each code, from 0 to 255, [CODES, 3]."""
    ground = np.array([GROUND_COLOURS[one] for one in GroundClass], np.float32)
    table: F32 = shares() @ ground
    for code, colour in CODE_COLOURS.items():
        table[code] = colour[:3]
    table[EMPTY] = 0.0
    return table


def classes() -> F32:
    """Returns how much of each of `CHANNEL_CLASSES` is in each code, from 0 to 1, [CODES, C]."""
    table = np.zeros((CODES, len(CHANNEL_CLASSES)), np.float32)
    table[:, : GROUND_CLASSES - 1] = shares()[:, 1:]
    for code in Code:
        for name in code.name.lower().split("_") if "FRONT" in code.name else [code.name.lower()]:
            table[code, CHANNEL_CLASSES.index(name)] = 1.0
    return table


def tables_of(colour: str) -> dict[str, U8 | F32 | U32]:
    """Returns what turns codes into the channels of a picture: fields of `Frames`.

    Args:
        colour: "rgb", "gray" or "classes".
    """
    if colour == "classes":
        values = 255.0 * classes().T
    else:
        values = colours().T
        if colour == "gray":
            values = np.array([GREY], np.float32) @ values
            for code, tone in GREY_TONES.items():
                values[0, code] = tone
    tint = np.rint(values).astype(np.uint8)
    word = np.zeros(CODES, np.uint32)
    for channel, one in enumerate(tint[:3]):
        word |= one.astype(np.uint32) << np.uint32(8 * channel)
    return {
        "tint": np.ascontiguousarray(tint),
        "shade": np.ascontiguousarray(values / 255.0, np.float32),
        "word": word,
    }
