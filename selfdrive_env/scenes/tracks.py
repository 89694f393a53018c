"""Where bodies were, step by step: what a data set records, and what a simulation gives back."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

__all__ = ["BICYCLE", "KINDS", "OTHER", "PEDESTRIAN", "VEHICLE", "Tracks"]

KINDS = ("vehicle", "pedestrian", "bicycle", "other")
VEHICLE, PEDESTRIAN, BICYCLE, OTHER = range(len(KINDS))
"""Kinds of road user."""

SERIES = ("x", "y", "z", "heading", "vx", "vy")
SIZES = ("length", "width", "height")


@dataclass(frozen=True, eq=False)
class Tracks:
    """Poses and speeds of bodies at equal steps of time; what is not valid is 0.

    Raises:
        ValueError: Arrays whose shapes do not fit each other, or numbers that are not finite.
    """

    id: NDArray[np.int64]
    """[agent], each once; what the source calls them."""

    kind: NDArray[np.uint8]
    """[agent], index into `KINDS`."""

    length: NDArray[np.float32]
    """[agent], along the heading [m]."""

    width: NDArray[np.float32]
    """[agent] [m]."""

    height: NDArray[np.float32]
    """[agent], 0 where it is not known [m]."""

    x: NDArray[np.float64]
    """[agent, step], middle of the box, east [m]."""

    y: NDArray[np.float64]
    """[agent, step], north [m]."""

    z: NDArray[np.float64]
    """[agent, step], of the ground below [m]."""

    heading: NDArray[np.float32]
    """[agent, step], counter-clockwise from +x, in [-pi, pi) [rad]."""

    vx: NDArray[np.float32]
    """[agent, step], velocity to the east [m/s]."""

    vy: NDArray[np.float32]
    """[agent, step], velocity to the north [m/s]."""

    valid: NDArray[np.bool_]
    """[agent, step], whether the body was there, and seen."""

    def __post_init__(self) -> None:
        if self.valid.ndim != 2:
            raise ValueError(f"tracks.valid: shape {self.valid.shape}, wanted [agent, step]")
        for field in fields(self):
            value = getattr(self, field.name)
            shape = self.valid.shape if field.name in (*SERIES, "valid") else self.valid.shape[:1]
            if value.shape != shape:
                raise ValueError(f"tracks.{field.name}: shape {value.shape}, wanted {shape}")
            if not np.isfinite(value).all():
                raise ValueError(f"tracks.{field.name}: numbers that are not finite")
        if len(np.unique(self.id)) != len(self.id):
            raise ValueError("tracks.id: one that stands more than once")
        if self.kind.size and self.kind.max() >= len(KINDS):
            raise ValueError(f"tracks.kind: {self.kind.max()}, wanted 0 to {len(KINDS) - 1}")
        if (self.length <= 0).any() or (self.width <= 0).any():
            raise ValueError("tracks: a length or width that is not positive")

    @property
    def num_agents(self) -> int:
        """How many bodies there are."""
        return int(self.valid.shape[0])

    @property
    def num_steps(self) -> int:
        """How many moments there are."""
        return int(self.valid.shape[1])
