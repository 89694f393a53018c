"""What each column of an observation row holds: the one table that docs and tests read.

A row is the groups of `OBSERVATION` one after the other; a group with several slots repeats its
columns for each of them, nearest first, empty slots all zero. Everything is in the ego frame
(origin in the middle of the ego's box, x along its heading, y to its left). "squash c" is
`v / (c + |v|)`.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from selfdrive_env.state.arrays import F32
from selfdrive_env.state.params import Counts
from selfdrive_env.state.rewards import NUM_CONDITIONS, WEIGHTS

__all__ = ["OBSERVATION", "Column", "decode", "slices", "slots"]

NEARLY_ONE = 1.0 - 1.0e-6


class Column(NamedTuple):
    """One column of a group."""

    name: str
    meaning: str
    scale: str
    """How the quantity is brought into [-1, 1]."""


POINT = (
    Column("x", "ahead [m]", "squash 20"),
    Column("y", "to the left [m]", "squash 20"),
    Column("cos", "of its heading against the ego's", "as it is"),
    Column("sin", "of its heading against the ego's", "as it is"),
)
VALID = Column("valid", "1 in slots that are in use", "as it is")

OBSERVATION: dict[str, tuple[Column, ...]] = {
    "ego": (
        Column("lateral_offset", "from the lane centre, positive left [m]", "squash 2"),
        Column("angle", "between heading and lane, positive left [rad]", "/ pi"),
        Column("lane_curvature", "positive left [1/m]", "squash 0.05"),
        Column("speed", "negative in reverse [m/s]", "squash 10"),
        Column("speed_limit", "of the lane [m/s]", "squash 10"),
        Column("steering", "angle, positive left [rad]", "/ 0.55"),
        Column("acceleration", "along the heading [m/s^2]", "/ 5, clipped"),
        Column("lateral_acceleration", "positive left [m/s^2]", "/ 4, clipped"),
        Column("throttle", "coefficient C_throttle", "- 1, clipped"),
        Column("steer", "coefficient C_steer", "- 1, clipped"),
        Column("pull", "coefficient C_acc", "- 1, clipped"),
        Column("pace", "coefficient C_vel", "- 1, clipped"),
        Column("length", "of the body [m]", "squash 5"),
        Column("width", "of the body [m]", "squash 2"),
    ),
    "goals": (*POINT[:2], VALID),
    "conditions": tuple(
        Column(name, "reward weight of this agent", "training range to [-1, 1], clipped")
        for name in WEIGHTS[:NUM_CONDITIONS]
    ),
    "lane_points": (
        *POINT,
        Column(
            "goal_distance", "from there to the next goal along the lane graph [m]", "squash 100"
        ),
        Column("goal_gain", "that distance less the ego's own [m]", "squash 20"),
        VALID,
    ),
    "boundary_points": (*POINT, VALID),
    "stop_lines": (
        *POINT,
        Column("red", "1 if the light is red", "as it is"),
        Column("yellow", "1 if the light is yellow", "as it is"),
        Column("green", "1 if the light is green", "as it is"),
        Column("stop_sign", "1 at a stop sign", "as it is"),
        VALID,
    ),
    "agents": (
        *POINT,
        Column("speed_along", "velocity along the ego's heading [m/s]", "squash 10"),
        Column("speed_across", "velocity to the ego's left [m/s]", "squash 10"),
        Column("length", "of the body [m]", "squash 5"),
        Column("width", "of the body [m]", "squash 2"),
        Column("height", "elevation above the ego's [m]", "/ 10, clipped"),
        VALID,
    ),
}
"""Group -> its columns, in the order of the row."""


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
        stop = start + repeats * len(OBSERVATION[name])
        found[name] = slice(start, stop)
        start = stop
    return found


def decode(row: Any, counts: Counts) -> dict[str, F32]:
    """Returns what one observation row tells, in the units of `OBSERVATION`.

    Clipped quantities come back at their bound, and `conditions` as they are: their range is a
    setting.

    Args:
        row: One row, [features].
        counts: Slots of the layout.

    Returns:
        Group -> float32 [slots, columns]; slots that are not in use are zero.
    """
    values = np.asarray(row, np.float32)
    width = max(one.stop for one in slices(counts).values())
    if values.shape != (width,):
        raise ValueError(f"row must be one row of {width} columns, got shape {values.shape}")
    return {
        name: np.stack(
            [
                _restored(part, column.scale)
                for part, column in zip(
                    values[where].reshape(-1, len(OBSERVATION[name])).T,
                    OBSERVATION[name],
                    strict=True,
                )
            ],
            1,
        )
        for name, where in slices(counts).items()
    }


def _restored(value: F32, scale: str) -> F32:
    """Undoes the scale of a column."""
    kind, _, rest = scale.partition(" ")
    number = rest.partition(",")[0]
    if kind == "squash":
        bounded = np.clip(value, -NEARLY_ONE, NEARLY_ONE)
        return (float(number) * bounded / (1.0 - np.abs(bounded))).astype(np.float32)
    if kind == "/":
        return value * np.float32(math.pi if number == "pi" else float(number))
    return value + np.float32(number) if kind == "-" else value
