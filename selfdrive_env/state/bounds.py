"""What the arrays of a state may hold, one line a field: kernels index, loop and divide by them.

A field that has no line may hold what `default_bound` says. Limits are far wider than what a run
reaches: they keep kernels from harm, and tell nobody how to drive.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from selfdrive_env.state.road import UNREACHABLE
from selfdrive_env.state.world import (
    MAX_GOALS,
    MAX_STEERING,
    Colour,
    Contact,
    Driver,
    Erratic,
    Hold,
    LightMode,
    Phase,
    Status,
)

__all__ = ["BOUNDS", "Bound", "default_bound"]

FAR = 1.0e9
"""Bodies that leave the road may drive on for as long as an episode is, which is 1e6 s [m]."""

MANY = 2**30
"""What is counted stays below the largest number of its type."""


class Bound(NamedTuple):
    """The least and the largest value of a field; a name stands for what the batch has."""

    low: float | str
    high: float | str
    """A number, or one of: "map", "scene", "segment", "lane", "line", "type", "last_slot" (the last
    of them), "slots" (of a world), "horizon" (most steps), "lane_length" (of the longest lane [m]),
    and what worlds may draw: "dt" and "dt_high" [s], the same with "_ns", "horizon_low" (steps)."""

    absent: bool = False
    """Whether it may also be 0, for agents that are not in the world."""


FLAG = Bound(0, 1)
UNIT = Bound(-1.01, 1.01)
SCALE = Bound(0.01, 10.0, absent=True)

BOUNDS: dict[str, Bound] = {
    "agents.cos": UNIT,
    "agents.sin": UNIT,
    "agents.speed": Bound(-100.0, 100.0),  # [m/s]
    "agents.acceleration": Bound(-100.0, 100.0),  # [m/s^2]
    "agents.lateral_acceleration": Bound(-100.0, 100.0),  # [m/s^2]
    "agents.steering": Bound(-MAX_STEERING - 0.01, MAX_STEERING + 0.01),  # [rad]
    "agents.segment": Bound(0, "segment"),
    "agents.s": Bound(-1.0, "lane_length"),  # [m]
    "agents.angle_cos": UNIT,
    "agents.angle_sin": UNIT,
    "agents.goal": Bound(0, MAX_GOALS - 1),
    "agents.goal_distance": Bound(-FAR, FAR + UNREACHABLE),  # [m]
    "agents.age": Bound(0, MANY),
    "agents.status": Bound(0, max(Status)),
    "agents.contact": Bound(0, sum(Contact)),
    "agents.stopped_at": Bound(-1, "line"),
    "agents.front_junction": Bound(-1, MANY),
    "agents.brake_until": Bound(-(2**31), 2**31 - 1),
    "agents.standing_time": Bound(0.0, FAR),  # [s]
    "agents.hold": Bound(0, max(Hold)),
    "agents.blocker": Bound(-1, "last_slot"),
    "agents.let_in_until": Bound(0.0, 2.0 * FAR),  # [m]
    "agents.let_in_tick": Bound(-(2**31), 2**31 - 1),
    "agents.path_s": Bound(0.0, 2.0 * FAR),  # [m]
    "bodies.length": Bound(0.1, 100.0, absent=True),  # [m]
    "bodies.width": Bound(0.1, 20.0, absent=True),  # [m]
    "bodies.wheelbase": Bound(0.05, 100.0, absent=True),  # [m]
    "bodies.max_curvature": Bound(0.0, 1000.0),  # [1/m]
    "bodies.jerk_scale": SCALE,
    "bodies.lateral_jerk_scale": SCALE,
    "bodies.acceleration_scale": SCALE,
    "bodies.speed_scale": SCALE,
    "bodies.type": Bound(0, "type"),
    "bodies.driver": Bound(0, max(Driver)),
    "bodies.learner": FLAG,
    "bodies.erratic": Bound(0, sum(Erratic)),
    "bodies.weight": Bound(-1001.0, 1001.0),
    "bodies.goal_lane": Bound(-1, "lane"),
    "bodies.goal_s": Bound(-1.0, "lane_length"),  # [m]
    "bodies.num_goals": Bound(0, MAX_GOALS),
    "lights.phase": Bound(0, max(Phase)),
    "lights.turn": Bound(0, MANY),
    "lights.remaining": Bound(-1.0, 1000.0),  # [s]
    "lights.group_colour": Bound(0, max(Colour)),
    "lights.group_dark": FLAG,
    "lights.line_colour": Bound(0, max(Colour)),
    "lights.line_dark": FLAG,
    "worlds.scene": Bound(-1, "scene"),
    "worlds.map": Bound(0, "map"),
    "worlds.dt": Bound("dt", "dt_high"),  # [s]
    "worlds.dt_ns": Bound("dt_ns", "dt_ns_high"),
    "worlds.horizon": Bound("horizon_low", "horizon"),
    "worlds.clock": Bound(0, "horizon"),
    "worlds.light_mode": Bound(0, max(LightMode)),
    "worlds.light_start": Bound(0, MANY),  # [ms]
    "worlds.num_agents": Bound(1, "slots"),
    "worlds.ended": FLAG,
    "tallies.term": Bound(-1.0e30, 1.0e30),
    "tallies.count": Bound(0, MANY),
    "tallies.distance": Bound(0.0, FAR),  # [m]
    "output.terminated": FLAG,
    "output.truncated": FLAG,
    "output.awaiting_reset": FLAG,
    "rows.observation": UNIT,
    "rows.terminated": FLAG,
    "rows.truncated": FLAG,
    "rows.valid": FLAG,
    "rows.learn": FLAG,
}
"""By "struct.field"."""


def default_bound(kind: np.dtype[Any]) -> Bound:
    """Returns the limits of a field that has no line: numbers in reach, -1 for none, any bits.

    Args:
        kind: Type of its elements.
    """
    if kind.kind == "f":
        return Bound(-FAR, FAR)
    if kind.kind == "u":
        return Bound(0, int(np.iinfo(kind).max))
    return Bound(-1, MANY)
