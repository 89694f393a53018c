"""What each column of an observation row holds: the one table that kernels, docs and tests read.

A row is the groups of `OBSERVATION` one after the other. A group lies in planes, [columns, slots]:
its first column of all slots, then the second, and so on. Slots are filled from the front, nearest
first, those of `route` by their distance; empty slots are all zero. Everything is in the ego frame
(origin in the middle of the ego's box, x along its heading, y to its left).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, NamedTuple

import numpy as np

from selfdrive_env.state.arrays import F32
from selfdrive_env.state.params import Counts
from selfdrive_env.state.rewards import NUM_CONDITIONS, WEIGHTS

__all__ = ["OBSERVATION", "OBSERVATION_VERSION", "ROUTE_DISTANCES", "WIDTHS", "Column", "Scale",
    "check_length", "decode", "earlier_layout", "encode", "plane_of", "planes", "row_length",
    "scale_of", "slices", "slots"]  # fmt: skip

OBSERVATION_VERSION = 2
"""Raised with every change of the columns or of what one means: older policies are refused then."""

ROUTE_DISTANCES = (2.5, 5.0, 7.5, 12.5, 17.5, 25.0, 35.0, 50.0)
"""Where on the way to the goals the slots of `route` lie, from the middle of the own box [m]."""

NEARLY_ONE = 1.0 - 1.0e-6


class Kind(Enum):
    """How a quantity v is brought into [-1, 1], c the size and o the offset of its scale."""

    PLAIN = "as it is"
    SQUASHED = "squash {c}"
    """o + (1 - o) v / (c + |v|), at least -1: near things are told apart best. An offset below 0
    gives quantities that are seldom or never negative more of the range; 0 becomes o."""

    CLIPPED = "/ {c}, clipped"
    """(v - o) / c, at least -1 and at most 1."""

    TRAINED = "training range to [-1, 1], clipped"


class Scale(NamedTuple):
    """How a quantity is brought into [-1, 1]."""

    kind: Kind
    size: float = 1.0
    """In the unit of the quantity."""

    offset: float = 0.0
    """See `Kind`."""

    def __str__(self) -> str:
        """Returns the scale in words, as pages and recordings have it."""
        text = self.kind.value.format(c=f"{self.size:g}")
        if not self.offset:
            return text
        squashed = self.kind is Kind.SQUASHED
        return f"{text}, 0 at {self.offset:g}" if squashed else f"- {self.offset:g}, {text}"

    def scaled(self, quantity: F32) -> F32:
        """Returns what a row holds of a quantity."""
        found = np.asarray(quantity, np.float64)
        if self.kind is Kind.SQUASHED:
            found = self.offset + (1.0 - self.offset) * found / (self.size + np.abs(found))
        elif self.kind is Kind.CLIPPED:
            found = (found - self.offset) / self.size
        return np.clip(found, -1.0, 1.0).astype(np.float32)

    def restored(self, value: F32) -> F32:
        """Returns the quantity of a scaled value; what was clipped comes back at its bound."""
        if self.kind is Kind.SQUASHED:
            found = (np.asarray(value, np.float64) - self.offset) / (1.0 - self.offset)
            found = np.clip(found, -NEARLY_ONE, NEARLY_ONE)
            return (self.size * found / (1.0 - np.abs(found))).astype(np.float32)
        if self.kind is Kind.CLIPPED:
            return value * np.float32(self.size) + np.float32(self.offset)
        return value


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


def balance(size: float) -> Scale:
    """Returns the scale (v - size) / (v + size), for what is never negative."""
    return Scale(Kind.SQUASHED, size, -1.0)


def clip(size: float, offset: float = 0.0) -> Scale:
    """Returns the scale (v - offset) / size, clipped."""
    return Scale(Kind.CLIPPED, size, offset)


NEAR, FAR, GAP, LIMIT = squash(10.0), squash(30.0), balance(10.0), balance(10.0)
SPEED, CLOSING = Scale(Kind.SQUASHED, 6.0, -0.5), squash(3.0)
COEFFICIENT, JERK_COEFFICIENT = clip(1.0, 1.0), clip(0.4, 1.0)
ROOM = clip(1.0, 0.75)


def place(scale: Scale) -> tuple[Column, Column]:
    """Returns the columns of a position."""
    return Column("x", "ahead", "m", scale), Column("y", "to the left", "m", scale)


HEADING = (
    Column("cos", "of its heading against the ego's"),
    Column("sin", "of its heading against the ego's"),
)
SIZE = (
    Column("length", "of the body", "m", clip(6.0, 6.0)),
    Column("width", "of the body", "m", clip(1.2, 1.8)),
)
COLOURS = (
    Column("red", "1 if the light is red"),
    Column("yellow", "1 if the light is yellow"),
    Column("green", "1 if the light is green"),
    Column("stop_sign", "1 at a stop sign"),
)
VALID = Column("valid", "1 in slots that are in use")


def on_the_way(where: str) -> tuple[Column, ...]:
    """Returns the columns of the body next to the ego on its way."""
    return (
        Column("gap", f"between the bumpers, along the {where}", "m", GAP),
        Column("speed", f"of that body along the {where}", "m/s", SPEED),
        Column("closing_speed", "by which the gap shrinks", "m/s", CLOSING),
        VALID,
    )


OBSERVATION: dict[str, tuple[Column, ...]] = {
    "ego": (
        Column("lateral_offset", "from the lane centre, positive left", "m", squash(0.15)),
        Column("angle", "between heading and lane, positive left", "rad", squash(0.1)),
        Column("lane_curvature", "positive left", "1/m", squash(0.02)),
        Column("speed", "negative in reverse", "m/s", SPEED),
        Column("speed_limit", "of the lane", "m/s", LIMIT),
        Column("steering", "angle, positive left", "rad", squash(0.1)),
        Column("acceleration", "along the heading", "m/s^2", squash(2.0)),
        Column("lateral_acceleration", "positive left", "m/s^2", squash(1.0)),
        Column("jerk_scale", "coefficient C_throttle", scale=JERK_COEFFICIENT),
        Column("lateral_jerk_scale", "coefficient C_steer", scale=JERK_COEFFICIENT),
        Column("acceleration_scale", "coefficient C_acc", scale=COEFFICIENT),
        Column("speed_scale", "coefficient C_vel", scale=COEFFICIENT),
        *SIZE,
        Column("goal_distance", "to the next goal along the lane graph", "m", balance(100.0)),
        Column("step_length", "dt", "s", balance(0.1)),
        Column("reverse", "1 if the ego may drive backwards"),
    ),
    "goals": (*place(squash(50.0)), VALID),
    "conditions": tuple(
        Column(name, "reward weight of this agent", scale=Scale(Kind.TRAINED))
        for name in WEIGHTS[:NUM_CONDITIONS]
    ),
    "route": (
        Column("x", "ahead", "m", NEAR),
        Column("y", "to the left", "m", squash(5.0)),
        *HEADING,
        Column("room_left", "beside a body of the own width in its lane", "m", ROOM),
        Column("room_right", "beside a body of the own width in its lane", "m", ROOM),
        Column("speed_limit", "of the lane there", "m/s", LIMIT),
        VALID,
    ),
    "own_line": (
        Column("gap", "from the own front to the next line on the way", "m", balance(15.0)),
        *COLOURS,
        Column("served", "1 where the ego has stood at the line"),
        Column("gives_way", "1 where the junction behind it is entered by giving way"),
        Column(
            "elapsed",
            "since its light shows the colour, or the ego stood at the sign",
            "s",
            balance(3.0),
        ),
        VALID,
    ),
    "leader": on_the_way("way ahead"),
    "follower": on_the_way("lanes behind"),
    "lane_points": (
        *place(NEAR),
        *HEADING,
        Column(
            "goal_gain", "way from there to the next goal less that of the ego", "m", squash(20.0)
        ),
        VALID,
    ),
    "boundary_points": (*place(NEAR), *HEADING, VALID),
    "stop_lines": (
        *place(squash(20.0)),
        *HEADING,
        *COLOURS,
        Column("on_route", "1 if it lies on the way, ahead of the own front"),
        VALID,
    ),
    "agents": (
        *place(FAR),
        Column("x_near", "the same, finer", "m", clip(10.0)),
        Column("y_near", "the same, finer", "m", clip(10.0)),
        *HEADING,
        Column("speed_along", "velocity along the ego's heading", "m/s", squash(10.0)),
        Column("speed_across", "velocity to the ego's left", "m/s", squash(10.0)),
        Column("gap", "between the two boxes", "m", GAP),
        Column("closing_speed", "by which the middles come nearer", "m/s", CLOSING),
        *SIZE,
        Column("height", "elevation above the ego's", "m", clip(10.0)),
        Column("on_route", "1 if its box reaches into the way ahead"),
        Column("kind", "0 a motor vehicle, 0.5 a two-wheeler, 1 a pedestrian"),
        VALID,
    ),
}
"""Group -> its columns, in the order of the row."""

WIDTHS = {name: len(columns) for name, columns in OBSERVATION.items()}
"""Group -> columns of one of its slots."""

EARLIER_LENGTHS = {437: "lean", 1233: "full"}
"""Columns of the rows of observation version 1."""

FIXED = {"route": len(ROUTE_DISTANCES)}
"""Slots of groups that have more than one and are no part of a layout."""


def scale_of(group: str, name: str) -> Scale:
    """Returns the scale of a column."""
    return {column.name: column.scale for column in OBSERVATION[group]}[name]


def plane_of(group: str, name: str) -> int:
    """Returns the number of a column in its group."""
    return [column.name for column in OBSERVATION[group]].index(name)


def slots(counts: Counts) -> dict[str, int]:
    """Returns how often each group repeats its columns."""
    return {name: getattr(counts, name, FIXED.get(name, 1)) for name in OBSERVATION}


def slices(counts: Counts) -> dict[str, slice]:
    """Returns where each group lies in a row.

    Args:
        counts: Slots of the layout.

    Returns:
        Group -> slice of the last axis; reshaped to [columns, slots] it is the group's planes.
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


def planes(rows: Any, counts: Counts, group: str) -> Any:
    """Returns a group of rows as planes: a view, of an array or of a tensor.

    Args:
        rows: One row, [features], or many, [..., features].
        counts: Slots of the layout.
        group: A key of `OBSERVATION`.

    Returns:
        [..., columns, slots], scaled as the rows are.
    """
    part = rows[..., slices(counts)[group]]
    return part.reshape(*part.shape[:-1], WIDTHS[group], slots(counts)[group])


def earlier_layout(length: int) -> str:
    """Returns what an error adds of rows that were of a layout of version 1, "" for others."""
    name = EARLIER_LENGTHS.get(length)
    if name is None:
        return ""
    return (
        f": {length} columns had the layout {name!r} in observation version 1; record or train "
        "anew (docs/changes-of-rows.md)"
    )


def check_length(name: str, shape: tuple[int, ...], counts: Counts) -> None:
    """Refuses what is no row of a layout, one or many.

    Args:
        name: Of the argument, for the error.
        shape: Of what it is.
        counts: Slots of the layout.
    """
    width = row_length(counts)
    if shape and shape[-1] == width:
        return
    raise ValueError(
        f"{name} must be one of {width} columns, or many, got shape {tuple(shape)}"
        f"{earlier_layout(shape[-1] if shape else 0)}"
    )


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
    check_length("row", values.shape, counts)
    found = {}
    for name, columns in OBSERVATION.items():
        part = planes(values, counts, name)
        table = np.stack([c.scale.restored(part[..., i, :]) for i, c in enumerate(columns)], -1)
        if columns[-1] is VALID:
            table[part[..., -1, :] < 0.5] = 0.0
        found[name] = table
    return found


def encode(tables: Mapping[str, Any], counts: Counts) -> F32:
    """Returns the rows that tell what tables do: `decode` backwards.

    Args:
        tables: Group -> [..., slots, columns], of every group, in the units of `OBSERVATION`.
        counts: Slots of the layout.

    Returns:
        float32 [..., features].
    """
    parts = []
    for name, columns in OBSERVATION.items():
        if name not in tables:
            raise ValueError(f"tables lack the group {name!r}; groups are {', '.join(OBSERVATION)}")
        table = np.asarray(tables[name], np.float32)
        shape = (slots(counts)[name], len(columns))
        if table.shape[-2:] != shape:
            raise ValueError(f"tables[{name!r}] must end in {shape}, got shape {table.shape}")
        part = np.stack([c.scale.scaled(table[..., i]) for i, c in enumerate(columns)], -2)
        if columns[-1] is VALID:
            part = np.where(table[..., None, :, -1] < 0.5, np.float32(0.0), part)
        parts.append(part.reshape(*part.shape[:-2], -1))
    return np.concatenate(parts, -1)
