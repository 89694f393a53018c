"""The models by which actions move bodies: the one table that kernels, settings and pages read.

An action of a model is one number a column. `kernels.dynamics` has the equations.
"""

from __future__ import annotations

import math
from enum import IntEnum
from typing import NamedTuple

from selfdrive_env.state.world import MAX_STEERING

__all__ = ["DYNAMICS", "LARGEST_SET", "ActionColumn", "Dynamics"]

LARGEST_SET = 1.0e6
"""What is set in units is at most so much to either side, as coordinates are [m], [rad], [m/s]."""


class Dynamics(IntEnum):
    """`Params.dynamics`: how the actions of a caller move a body."""

    JERK = 0
    """By the jerks of the settings; scripted drivers always do."""

    BICYCLE = 1
    CLASSIC = 2
    DELTA_LOCAL = 3
    DELTA_GLOBAL = 4
    STATE = 5


class ActionColumn(NamedTuple):
    """A number of an action."""

    name: str
    meaning: str
    unit: str
    size: float
    """The largest to either side, in its unit; infinite where there is none."""


_ACCELERATION = ActionColumn("acceleration", "along the heading", "m/s^2", 6.0)
_TURN = ActionColumn("turn", "of the heading, positive left", "rad", math.pi)

DYNAMICS: dict[Dynamics, tuple[ActionColumn, ...]] = {
    Dynamics.JERK: (
        ActionColumn("jerk_long", "along the heading, see the setting", "m/s^3", math.inf),
        ActionColumn("jerk_lat", "to the left, see the setting", "m/s^3", math.inf),
    ),
    Dynamics.BICYCLE: (
        _ACCELERATION,
        ActionColumn("curvature", "of the way, positive left", "1/m", 0.3),
    ),
    Dynamics.CLASSIC: (
        _ACCELERATION,
        ActionColumn("steering", "angle of the front wheels, positive left", "rad", MAX_STEERING),
    ),
    Dynamics.DELTA_LOCAL: (
        ActionColumn("ahead", "along the heading", "m", 6.0),
        ActionColumn("aside", "to the left", "m", 6.0),
        _TURN,
    ),
    Dynamics.DELTA_GLOBAL: (
        ActionColumn("east", "displacement", "m", 6.0),
        ActionColumn("north", "displacement", "m", 6.0),
        _TURN,
    ),
    Dynamics.STATE: (
        ActionColumn("x", "of the next moment, east", "m", math.inf),
        ActionColumn("y", "of the next moment, north", "m", math.inf),
        ActionColumn("heading", "of the next moment", "rad", math.inf),
        ActionColumn("vx", "of the next moment, east", "m/s", math.inf),
        ActionColumn("vy", "of the next moment, north", "m/s", math.inf),
    ),
}
"""Columns of each model's actions. Ranges as Waymax has them; the steering is that of all bodies
here. A model with an infinite size has actions in their units and none to choose from."""
