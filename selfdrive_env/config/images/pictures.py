"""Pictures that rows observe: size, form and what of the world they show, checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from selfdrive_env.config.checks import (
    as_list,
    check_choice,
    check_integer,
    check_number,
    is_list,
)
from selfdrive_env.state.images import CHANNEL_CLASSES

__all__ = ["BirdsEye", "Picture"]

LARGEST = 2048
"""Edge of a picture [pixels]."""

FINEST = 0.01
"""Edge of a pixel of a picture from above, at least [m]: its ground is kept as fine as that."""

COLOURS = ("rgb", "gray", "classes")
DTYPES = ("uint8", "float32")


@dataclass(frozen=True)
class Picture:
    """What pictures of every kind have."""

    kind: ClassVar[str]
    """Its name in settings."""

    size: int | tuple[int, int] = 84
    """Edge, or height and width [pixels]."""

    history: int = 1
    """So many frames one after the other, the newest last; at the start of an episode the first
    stands for those before."""

    colour: str = "rgb"
    """ "rgb", "gray" (one channel), or "classes" (one channel a class, how much of a pixel it
    covers)."""

    dtype: str = "uint8"
    """ "uint8" (0 to 255) or "float32" (0 to 1)."""

    channels_first: bool = False
    """Whether channels come before rows and columns."""

    def __post_init__(self) -> None:
        """Checks every value and brings the size into one form."""
        many = is_list(self.size)
        edges: tuple[Any, ...] = as_list("size", self.size) if many else (self.size, self.size)
        if len(edges) != 2:
            raise ValueError(f"size must be a number of pixels or [height, width], got {edges}")
        self._set("size", tuple(check_integer("size", one, 8, LARGEST) for one in edges))
        self._set("history", check_integer("history", self.history, 1, 64))
        check_choice("colour", self.colour, COLOURS)
        check_choice("dtype", self.dtype, DTYPES)
        self._check_switch("channels_first")

    def _check_switch(self, name: str) -> None:
        if not isinstance(getattr(self, name), bool):
            raise ValueError(f"{name} must be True or False, got {getattr(self, name)!r}")

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    @property
    def height(self) -> int:
        """Of a frame [pixels]."""
        height, _ = self.size  # type: ignore[misc]
        return height

    @property
    def width(self) -> int:
        """Of a frame [pixels]."""
        _, width = self.size  # type: ignore[misc]
        return width

    @property
    def channels(self) -> int:
        """Channels of a frame."""
        return {"rgb": 3, "gray": 1, "classes": len(CHANNEL_CLASSES)}[self.colour]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of a picture: channels, those of the oldest frame first, are the first or last axis."""
        channels = self.history * self.channels
        if self.channels_first:
            return channels, self.height, self.width
        return self.height, self.width, channels

    @property
    def element(self) -> np.dtype[Any]:
        """Type of its numbers."""
        return np.dtype(self.dtype)

    @property
    def high(self) -> float:
        """Its largest number."""
        return 255 if self.dtype == "uint8" else 1.0

    @property
    def frame_bytes(self) -> int:
        """What a frame takes while it is kept for the history."""
        return self.height * self.width

    @property
    def nbytes(self) -> int:
        """What a picture takes."""
        return int(np.prod(self.shape)) * self.element.itemsize

    @property
    def label_bytes(self) -> int:
        """What the labels of a picture take."""
        return 0


@dataclass(frozen=True)
class BirdsEye(Picture):
    """The road from above: ground, own route, lights, goals and bodies."""

    kind: ClassVar[str] = "bev"

    span: float = 64.0
    """Across the picture, at least 1 cm a pixel [m]."""

    heading_up: bool = True
    """Whether the picture turns with the ego; else north is up."""

    offset: tuple[float, float] | None = None
    """By how much the middle of the picture lies ahead and to the left of the ego, or to the north
    and west of it where north is up; None: a quarter of its height ahead where the ego heads up,
    else nothing [m]."""

    def __post_init__(self) -> None:
        """Checks every value."""
        super().__post_init__()
        self._set("span", check_number("span", self.span, 1.0, 4000.0))
        if self.pixel < FINEST * (1.0 - 1e-9):
            raise ValueError(
                f"span must be at least {FINEST * self.width:g} m in a picture {self.width} pixels "
                f"wide, {FINEST:g} m a pixel, got {self.span:g}"
            )
        self._check_switch("heading_up")
        if self.offset is not None:
            pair = tuple(check_number("offset", one, -2000.0, 2000.0)
                         for one in as_list("offset", self.offset))  # fmt: skip
            if len(pair) != 2:
                raise ValueError(f"offset must be [ahead, left] in metres, got {list(pair)}")
            self._set("offset", pair)

    @property
    def pixel(self) -> float:
        """Edge of a pixel on the ground [m]."""
        return self.span / self.width

    @property
    def middle(self) -> tuple[float, float]:
        """How far up and to the left in the picture its middle lies from the ego [m]."""
        if self.offset is not None:
            return self.offset
        return (0.25 * self.height * self.pixel if self.heading_up else 0.0), 0.0
