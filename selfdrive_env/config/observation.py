"""What each column of an observation row holds: the one table that kernels, docs and tests read.

A row is the groups of `OBSERVATION` one after the other; a group with several slots repeats its
columns for each of them, nearest first, empty slots all zero. Everything is in the ego frame
(origin in the middle of the ego's box, x along its heading, y to its left).
"""

from __future__ import annotations

import math
from enum import Enum
from typing import Any, NamedTuple

import numpy as np

from selfdrive_env.state.arrays import F32
from selfdrive_env.state.params import Counts
from selfdrive_env.state.rewards import NUM_CONDITIONS, WEIGHTS
from selfdrive_env.state.world import MAX_STEERING

__all__ = ["OBSERVATION", "OBSERVATION_VERSION", "WIDTHS", "Column", "Scale", "decode",
    "row_length", "scale_of", "slices", "slots"]  # fmt: skip

OBSERVATION_VERSION = 1
"""Raised with every change of the columns or of what one means: older policies are refused then."""

NEARLY_ONE = 1.0 - 1.0e-6


class Kind(Enum):
    """How a quantity v is brought into [-1, 1], c the size of its scale."""

    PLAIN = "as it is"
    SQUASHED = "squash {c}"
    """v / (c + |v|): near things are told apart best."""

    DIVIDED = "/ {c}"
    CLIPPED = "/ {c}, clipped"
    """The quotient, at most 1."""

    RELATIVE = "- {c}, clipped"
    """The difference, at most 1."""

    TRAINED = "training range to [-1, 1], clipped"


class Scale(NamedTuple):
    """How a quantity is brought into [-1, 1]."""

    kind: Kind
    size: float = 1.0
    """In the unit of the quantity."""

    def __str__(self) -> str:
        """Returns the scale in words, as pages and recordings have it."""
        return self.kind.value.format(c="pi" if self.size == math.pi else f"{self.size:g}")

    def restored(self, value: F32) -> F32:
        """Returns the quantity of a scaled value; what was clipped comes back at its bound."""
        if self.kind is Kind.SQUASHED:
            bounded = np.clip(value, -NEARLY_ONE, NEARLY_ONE)
            return (self.size * bounded / (1.0 - np.abs(bounded))).astype(np.float32)
        if self.kind in (Kind.DIVIDED, Kind.CLIPPED):
            return value * np.float32(self.size)
        return value + np.float32(self.size) if self.kind is Kind.RELATIVE else value


class Column(NamedTuple):
    """One column of a group."""

    name: str
    meaning: str
    unit: str = ""
    """Of what the column tells; "" for a number without one."""

    scale: Scale = Scale(Kind.PLAIN)

    @property
    def text(self) -> str:
        """The meaning, with the unit where there is one."""
        return f"{self.meaning} [{self.unit}]" if self.unit else self.meaning


def squash(size: float) -> Scale:
    """Returns the scale v / (size + |v|)."""
    return Scale(Kind.SQUASHED, size)


NEAR, SPEED, COEFFICIENT = squash(20.0), squash(10.0), Scale(Kind.RELATIVE, 1.0)

POINT = (
    Column("x", "ahead", "m", NEAR),
    Column("y", "to the left", "m", NEAR),
    Column("cos", "of its heading against the ego's"),
    Column("sin", "of its heading against the ego's"),
)
SIZE = (
    Column("length", "of the body", "m", squash(5.0)),
    Column("width", "of the body", "m", squash(2.0)),
)
VALID = Column("valid", "1 in slots that are in use")

OBSERVATION: dict[str, tuple[Column, ...]] = {
    "ego": (
        Column("lateral_offset", "from the lane centre, positive left", "m", squash(2.0)),
        Column(
            "angle", "between heading and lane, positive left", "rad", Scale(Kind.DIVIDED, math.pi)
        ),
        Column("lane_curvature", "positive left", "1/m", squash(0.05)),
        Column("speed", "negative in reverse", "m/s", SPEED),
        Column("speed_limit", "of the lane", "m/s", SPEED),
        Column("steering", "angle, positive left", "rad", Scale(Kind.DIVIDED, MAX_STEERING)),
        Column("acceleration", "along the heading", "m/s^2", Scale(Kind.CLIPPED, 5.0)),
        Column("lateral_acceleration", "positive left", "m/s^2", Scale(Kind.CLIPPED, 4.0)),
        Column("jerk_scale", "coefficient C_throttle", scale=COEFFICIENT),
        Column("lateral_jerk_scale", "coefficient C_steer", scale=COEFFICIENT),
        Column("acceleration_scale", "coefficient C_acc", scale=COEFFICIENT),
        Column("speed_scale", "coefficient C_vel", scale=COEFFICIENT),
        *SIZE,
    ),
    "goals": (*POINT[:2], VALID),
    "conditions": tuple(
        Column(name, "reward weight of this agent", scale=Scale(Kind.TRAINED))
        for name in WEIGHTS[:NUM_CONDITIONS]
    ),
    "lane_points": (
        *POINT,
        Column(
            "goal_distance", "from there to the next goal along the lane graph", "m", squash(100.0)
        ),
        Column("goal_gain", "that distance less the ego's own", "m", squash(20.0)),
        VALID,
    ),
    "boundary_points": (*POINT, VALID),
    "stop_lines": (
        *POINT,
        Column("red", "1 if the light is red"),
        Column("yellow", "1 if the light is yellow"),
        Column("green", "1 if the light is green"),
        Column("stop_sign", "1 at a stop sign"),
        VALID,
    ),
    "agents": (
        *POINT,
        Column("speed_along", "velocity along the ego's heading", "m/s", SPEED),
        Column("speed_across", "velocity to the ego's left", "m/s", SPEED),
        *SIZE,
        Column("height", "elevation above the ego's", "m", Scale(Kind.CLIPPED, 10.0)),
        VALID,
    ),
}
"""Group -> its columns, in the order of the row."""

WIDTHS = {name: len(columns) for name, columns in OBSERVATION.items()}
"""Group -> columns of one of its slots."""


def scale_of(group: str, name: str) -> float:
    """Returns the size of a column's scale, in the unit of its quantity."""
    return {column.name: column.scale.size for column in OBSERVATION[group]}[name]


def slots(counts: Counts) -> dict[str, int]:
    """Returns how often each group repeats its columns."""
    return {name: getattr(counts, name, 1) for name in OBSERVATION}


def slices(counts: Counts) -> dict[str, slice]:
    """Returns where each group lies in a row.

    Args:
        counts: Slots of the layout.

    Returns:
        Group -> slice of the last axis; reshaped to [slots, columns] it is the group's table.
    """
    found, start = {}, 0
    for name, repeats in slots(counts).items():
        stop = start + repeats * WIDTHS[name]
        found[name] = slice(start, stop)
        start = stop
    return found


def row_length(counts: Counts) -> int:
    """Returns the columns of a row."""
    return sum(repeats * WIDTHS[name] for name, repeats in slots(counts).items())


def decode(row: Any, counts: Counts) -> dict[str, F32]:
    """Returns what observation rows tell, in the units of `OBSERVATION`.

    Clipped quantities come back at their bound, and `conditions` as they are: their range is a
    setting.

    Args:
        row: One row, [features], or many, [..., features].
        counts: Slots of the layout.

    Returns:
        Group -> float32 [..., slots, columns]; slots that are not in use are zero.
    """
    values = np.asarray(row, np.float32)
    width = row_length(counts)
    if values.ndim == 0 or values.shape[-1] != width:
        raise ValueError(f"row must be one of {width} columns, or many, got shape {values.shape}")
    found, repeats = {}, slots(counts)
    for name, where in slices(counts).items():
        table = values[..., where].reshape(*values.shape[:-1], repeats[name], WIDTHS[name])
        columns = enumerate(OBSERVATION[name])
        found[name] = np.stack([c.scale.restored(table[..., i]) for i, c in columns], -1)
    return found
