"""What an environment shows beside rows of numbers: pictures, their kind, size and form, checked.

The setting `observation` is the name of a kind, a table of settings with its `kind`, or several
such tables by name: then observations are a table, too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np

from selfdrive_env.config.checks import (
    as_list,
    as_plain,
    check_choice,
    check_integer,
    check_number,
    is_list,
    suggestion,
)
from selfdrive_env.state.camera.scenery import ImageClass
from selfdrive_env.state.images import CHANNEL_CLASSES

__all__ = [
    *("KINDS", "STATE", "BirdsEye", "Camera", "Picture", "Views", "make_views"),
    "require_rows",
]

STATE = "state"
"""Kind of the rows of numbers, whose form the setting `layout` says."""

MOST_VIEWS = 8
LARGEST = 2048
"""Edge of a picture [pixels]."""

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


@dataclass(frozen=True)
class BirdsEye(Picture):
    """The road from above: ground, own route, lights, goals and bodies."""

    kind: ClassVar[str] = "bev"

    span: float = 64.0
    """Across the picture [m]."""

    heading_up: bool = True
    """Whether the picture turns with the ego; else north is up."""

    offset: tuple[float, float] | None = None
    """By how much the middle of the picture lies ahead and to the left of the ego; None: a quarter
    of its height ahead where the ego heads up, else nothing [m]."""

    def __post_init__(self) -> None:
        """Checks every value."""
        super().__post_init__()
        self._set("span", check_number("span", self.span, 1.0, 4000.0))
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
        """By how much the middle of the picture lies ahead and to the left of the ego [m]."""
        if self.offset is not None:
            return self.offset
        return (0.25 * self.height * self.pixel if self.heading_up else 0.0), 0.0


@dataclass(frozen=True)
class Camera(Picture):
    """A pinhole camera on the body: sky, ground, lights, signs and bodies.

    Sun and fog are drawn for each episode of a world, noise for each pixel, all by the seed.
    """

    kind: ClassVar[str] = "camera"

    size: int | tuple[int, int] = (90, 160)
    """Height and width [pixels]."""

    field_of_view: float = 90.0
    """Across the picture [deg]."""

    position: tuple[float, float, float] = (0.4, 0.0, 1.5)
    """Of the pinhole: ahead and to the left of the middle of the body, above the road [m]."""

    yaw: float = 0.0
    """Of the optical axis, positive to the left [deg]."""

    pitch: float = 0.0
    """Positive upward [deg]."""

    near: float = 0.3
    """What is nearer is not drawn [m]."""

    far: float = 300.0
    """What is farther is not drawn, but for ground and sky [m]."""

    sun: tuple[float, float] = (20.0, 70.0)
    """Elevation of the sun, drawn between [deg]."""

    fog: tuple[float, float] = (0.0, 0.0)
    """Extinction of the air, drawn between; 0.05 leaves about 60 m of sight [1/m]."""

    noise: float = 0.0
    """Standard deviation of the noise of a channel, of 255."""

    labels: bool = False
    """Whether classes, agents, depths and boxes are written, too; see `images.labels`."""

    def __post_init__(self) -> None:
        """Checks every value."""
        super().__post_init__()
        numbers = {
            "field_of_view": (10.0, 150.0),
            "yaw": (-180.0, 180.0),
            "pitch": (-90.0, 90.0),
            "near": (0.05, 10.0),
            "far": (20.0, 2000.0),
            "noise": (0.0, 100.0),
        }
        for name, (low, high) in numbers.items():
            self._set(name, check_number(name, getattr(self, name), low, high))
        place = as_list("position", self.position)
        if len(place) != 3:
            raise ValueError(f"position must be [ahead, left, up] in metres, got {list(place)}")
        ahead, left, up = place
        self._set(
            "position",
            (
                *(check_number("position", one, -50.0, 50.0) for one in (ahead, left)),
                check_number("position", up, 0.0, 200.0),
            ),
        )
        self._set("sun", self._range("sun", 2.0, 90.0))
        self._set("fog", self._range("fog", 0.0, 1.0))
        self._check_switch("labels")

    def _range(self, name: str, low: float, high: float) -> tuple[float, float]:
        value = getattr(self, name)
        pair = as_list(name, value) if is_list(value) else (value, value)
        if len(pair) != 2:
            raise ValueError(f"{name} must be a number or [low, high], got {list(pair)}")
        first, last = (check_number(name, one, low, high) for one in pair)
        if first > last:
            raise ValueError(f"{name} must rise from low to high, got {list(pair)}")
        return first, last

    @property
    def channels(self) -> int:
        """Channels of a frame."""
        return len(ImageClass) if self.colour == "classes" else super().channels

    @property
    def frame_bytes(self) -> int:
        """What a frame takes while it is kept for the history."""
        return super().frame_bytes * (3 if self.colour == "rgb" else 1)

    @property
    def nbytes(self) -> int:
        """What a picture and its labels take."""
        return super().nbytes + (self.height * self.width * 9 if self.labels else 0)

    @property
    def focal(self) -> float:
        """Focal length [pixels]."""
        return 0.5 * self.width / math.tan(math.radians(0.5 * self.field_of_view))


KINDS: dict[str, type[Picture]] = {"bev": BirdsEye, "camera": Camera}
"""Kinds of pictures by name."""


@dataclass(frozen=True)
class Views:
    """What observations are made of, checked."""

    pictures: dict[str, Picture]
    """By name, in the order of the setting."""

    state: str | None
    """Name of the rows of numbers, None where they are not shown."""

    names: tuple[str, ...]
    """Of all of them, in the order of the setting."""

    single: bool
    """Whether observations are one array, and no table by name."""

    @property
    def plain(self) -> bool:
        """Whether observations are rows of numbers alone."""
        return self.single and self.state is not None


def make_views(observation: Any) -> Views:
    """Returns what a setting `observation` stands for.

    Args:
        observation: Name of a kind, its settings with its `kind`, or several by name.

    Raises:
        ValueError: For a kind or a setting that there is not, or a value out of range.
    """
    if isinstance(observation, str):
        return _single(observation, {})
    if not isinstance(observation, Mapping):
        raise ValueError(
            f"observation must be {_known()}, or a table with its settings, got {observation!r}"
        )
    table: dict[str, Any] = as_plain(observation)
    if "kind" in table:
        kind = table.pop("kind")
        return _single(kind, table)
    if not 1 <= len(table) <= MOST_VIEWS:
        raise ValueError(f"observation must have 1 to {MOST_VIEWS} entries, got {len(table)}")
    pictures, state = {}, None
    for name, one in table.items():
        if not isinstance(name, str) or not name.isidentifier():
            raise ValueError(f"observation must name its entries like variables, got {name!r}")
        words = {"kind": one} if isinstance(one, str) else one
        if not isinstance(words, Mapping) or "kind" not in words:
            raise ValueError(
                f"observation[{name!r}] must be {_known()}, or a table of its settings with its "
                f"'kind', got {one!r}"
            )
        found = _view(f"observation[{name!r}]", dict(words))
        if found is not None:
            pictures[name] = found
        elif state is None:
            state = name
        else:
            raise ValueError(f"observation has {STATE!r} twice, as {state!r} and {name!r}")
    return Views(pictures, state, tuple(table), single=False)


def require_rows(observation: Any, what: str) -> None:
    """Refuses pictures where something reads rows of numbers alone.

    Args:
        observation: The setting.
        what: Reads them.

    Raises:
        ValueError: For observations of another kind.
    """
    if not make_views(observation).plain:
        raise ValueError(
            f"observation must be {STATE!r} for {what}, which reads rows of numbers, got "
            f"{observation!r}"
        )


def _single(kind: Any, settings: dict[str, Any]) -> Views:
    found = _view("observation", {"kind": kind, **settings})
    if found is None:
        return Views({}, STATE, (STATE,), single=True)
    return Views({found.kind: found}, None, (found.kind,), single=True)


def _view(where: str, words: dict[str, Any]) -> Picture | None:
    """Returns the view of a table of settings, None for the rows of numbers."""
    kind = words.pop("kind")
    if not isinstance(kind, str) or kind not in (STATE, *KINDS):
        hint = suggestion(kind, (STATE, *KINDS), "")
        raise ValueError(f"{where} must be {_known()}, got {kind!r}{hint}")
    names = [] if kind == STATE else [one.name for one in fields(KINDS[kind])]
    for name in words:
        if name not in names:
            allowed = ", ".join(names) or "none (the setting layout says its form)"
            raise ValueError(
                f"{where} of kind {kind!r} has no setting {name!r}; its settings are {allowed}"
            )
    if kind == STATE:
        return None
    try:
        return KINDS[kind](**words)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _known() -> str:
    return "one of " + ", ".join(repr(one) for one in (STATE, *KINDS))
