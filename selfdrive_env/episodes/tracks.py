"""What an episode holds: every array declared once, with axes, element type, meaning and scale.

Axes: agent (slot of the world), frame (the first state and that after each step), term and feature
(of reward and observation), observed (agents whose observation is kept), track (what an agent
keeps from one placing or new route to the next), route_leg (way to one goal), way and point (places
along these and along outlines), outline (one polyline of the map), line (stop line). Time is the
last axis wherever there is one: differences along it are small, so that they pack well.

A whole number stands for itself times the scale in its annotation; 1 where there is none.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, NamedTuple, get_args, get_type_hints

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.state.arrays import F16, I16, I32, U8, axes

__all__ = ["ASPHALT", "CENTRE_LINE", "CROSSWALK", "EDGE", "GIVE_WAY", "LANE_LINE", "OUTLINES",
    "SCHEMA", "TERMINATED", "TRUNCATED", "Field", "Tracks", "as_numbers", "as_whole"]  # fmt: skip

CM = 0.01
ANGLE = math.pi / 32768.0
FEATURE = 0.0005
"""Scales of places and speeds, headings, and columns of an observation."""

OUTLINES = ("asphalt", "edge", "lane_line", "centre_line", "crosswalk", "give_way")
ASPHALT, EDGE, LANE_LINE, CENTRE_LINE, CROSSWALK, GIVE_WAY = range(len(OUTLINES))
"""Kinds of outline: a closed piece of road; its edge; lines between lanes of the same direction,
and of opposite directions; a closed stripe of a crosswalk; a dash of a line where one gives way."""

# Tracks.ended, bits
TERMINATED, TRUNCATED = 1, 2


class Tracks(NamedTuple):
    """The arrays of an episode."""

    x: Annotated[I32, "agent frame", CM]
    """Middle of the body, east [m]."""

    y: Annotated[I32, "agent frame", CM]
    """North [m]."""

    heading: Annotated[I16, "agent frame", ANGLE]
    """Counter-clockwise from +x [rad]."""

    speed: Annotated[I16, "agent frame", CM]
    """Along the heading, negative in reverse [m/s]."""

    acceleration: Annotated[I16, "agent frame", CM]
    """Along the heading [m/s^2]."""

    steering: Annotated[I16, "agent frame", 0.001]
    """Steering angle, positive to the left [rad]."""

    status: Annotated[U8, "agent frame"]
    """`state.ABSENT`, `PRESENT` or `HALTED`, which also stands for `STANDING`."""

    event: Annotated[U8, "agent frame"]
    """EVENT bits of the step that led here."""

    ended: Annotated[U8, "agent frame"]
    """Whether that step ended the agent's episode: `TERMINATED` and `TRUNCATED` bits."""

    goal_distance: Annotated[I32, "agent frame", 0.1]
    """Along the lane graph to the next goal [m]."""

    reward: Annotated[F16, "term agent frame"]
    """Weighted terms of the reward of the step that led here."""

    track: Annotated[I32, "agent frame"]
    """Row of the fields `track_*`, `goal_*` and `left_*`, -1 while absent."""

    route_leg: Annotated[I32, "agent frame"]
    """Row of the fields `route_leg_*`, -1 without a goal."""

    light: Annotated[U8, "line frame"]
    """Colour of each stop line: `state.NO_LIGHT`, `GREEN`, `YELLOW`, `RED` or `STOP_SIGN`."""

    observed_agent: Annotated[I32, "observed"]
    """Slot of each agent whose observation is kept."""

    observation: Annotated[I16, "observed feature frame", FEATURE]
    """Its rows, from -1 to 1."""

    track_agent: Annotated[I32, "track"]
    track_frame: Annotated[I32, "track"]
    """First frame."""

    track_placed: Annotated[U8, "track"]
    """1 if it begins with a placing, 0 if the agent drove on with another route."""

    track_length: Annotated[I16, "track", CM]
    track_width: Annotated[I16, "track", CM]
    """Of the body [m]."""

    track_type: Annotated[U8, "track"]
    """Row of the table `body_types`."""

    track_driver: Annotated[U8, "track"]
    """`state.EXTERNAL`, `IDM`, `CONSTANT` or `STILL`."""

    track_learner: Annotated[U8, "track"]
    track_goals: Annotated[U8, "track"]
    """Number of goals."""

    goal_x: Annotated[I32, "track goal", CM]
    goal_y: Annotated[I32, "track goal", CM]
    """Place of each goal [m]."""

    goal_radius: Annotated[I16, "track", CM]
    """[m]"""

    left_frame: Annotated[I32, "track"]
    """Frame in which the agent was elsewhere: its episode had ended; -1 if it was not."""

    left_x: Annotated[I32, "track", CM]
    left_y: Annotated[I32, "track", CM]
    left_heading: Annotated[I16, "track", ANGLE]
    """Where it was at that time, before it was placed anew [m], [rad]."""

    route_leg_track: Annotated[I32, "route_leg"]
    route_leg_goal: Annotated[U8, "route_leg"]
    """Which of the track's goals."""

    route_leg_first: Annotated[I32, "route_leg+1"]
    """Places of leg l, as the way was when it began: route_leg_x[first[l]:first[l + 1]]."""

    route_leg_x: Annotated[I32, "way", CM]
    route_leg_y: Annotated[I32, "way", CM]
    """[m]"""

    line_x: Annotated[I32, "line 2", CM]
    line_y: Annotated[I32, "line 2", CM]
    """Inner end and kerb end of each stop line [m]."""

    outline_kind: Annotated[U8, "outline"]
    """Place in `OUTLINES`."""

    outline_first: Annotated[I32, "outline+1"]
    outline_x: Annotated[I32, "point", CM]
    outline_y: Annotated[I32, "point", CM]
    """Points of outline o: outline_x[outline_first[o]:outline_first[o + 1]] [m]."""


class Field(NamedTuple):
    """How one array of `Tracks` is declared."""

    name: str
    axes: tuple[str, ...]
    dtype: np.dtype[Any]
    scale: float


def _schema() -> dict[str, Field]:
    hints = get_type_hints(Tracks, include_extras=True)
    return {
        name: Field(name, names, element, (*get_args(hints[name])[2:], 1.0)[0])
        for name, (names, element) in axes(Tracks).items()
    }


SCHEMA = _schema()
"""Name -> declaration, in the order of the file."""


def as_whole(name: str, values: Any) -> NDArray[Any]:
    """Returns numbers as an array of `Tracks` holds them, cut to what its type can hold."""
    field = SCHEMA[name]
    if field.dtype.kind == "f":
        largest = float(np.finfo(field.dtype).max)
        return np.clip(values, -largest, largest).astype(field.dtype)
    whole = np.rint(np.asarray(values, np.float64) / field.scale)
    if field.scale == ANGLE:  # a full turn is 2**16
        return whole.astype(np.int64).astype(field.dtype)
    limits = np.iinfo(field.dtype)
    return np.clip(whole, limits.min, limits.max).astype(field.dtype)


def as_numbers(name: str, array: NDArray[Any]) -> NDArray[Any]:
    """Returns an array of `Tracks` in the units of its declaration, float64 where it has a scale.

    Args:
        name: Of the field.
        array: The array, or a part of it.
    """
    field = SCHEMA[name]
    if field.dtype.kind == "f":
        return array.astype(np.float64)
    return array if field.scale == 1.0 else array * field.scale
