"""Settings of cameras on bodies, checked: where one is, what it sees, and the weather."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from selfdrive_env.config.checks import as_list, check_number, is_list
from selfdrive_env.config.images.pictures import Picture
from selfdrive_env.state.camera.scenery import ImageClass

__all__ = ["Camera"]


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
    """Of the pinhole: ahead and to the left of the middle of the body, above the road [m]. From
    less than 0.2 m above it level ground is drawn as it is seen from there."""

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
    def labelled(self) -> bool:
        """Whether classes of pixels are found: also where they are all that is shown."""
        return self.labels or self.colour == "classes"

    @property
    def label_bytes(self) -> int:
        """What the labels of a picture take."""
        return self.height * self.width * 9 if self.labelled else 0

    @property
    def focal(self) -> float:
        """Focal length [pixels]."""
        return 0.5 * self.width / math.tan(math.radians(0.5 * self.field_of_view))
