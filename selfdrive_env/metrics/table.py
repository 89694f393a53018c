"""All metrics in one table, which documentation and tests read, and their computation by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from selfdrive_env.config.checks import suggestion
from selfdrive_env.metrics.case import Case
from selfdrive_env.metrics.divergence import kinematic_infeasibility, log_divergence
from selfdrive_env.metrics.lines.ways import Ways
from selfdrive_env.metrics.metric import Metric
from selfdrive_env.metrics.road import Road, Route
from selfdrive_env.metrics.routes import off_route, progression
from selfdrive_env.metrics.rules.comfort import uncomfortable
from selfdrive_env.metrics.rules.faults import collision_at_fault
from selfdrive_env.metrics.rules.lane_changes import failed_lane_changes
from selfdrive_env.metrics.rules.lanes import (
    driving_direction,
    lane_changes,
    lane_excess,
    speeding,
)
from selfdrive_env.metrics.rules.lights import red_light
from selfdrive_env.metrics.rules.time_to_collision import time_to_collision
from selfdrive_env.metrics.surroundings import offroad, overlap, wrong_way
from selfdrive_env.scenes.tracks import Tracks
from selfdrive_env.state.arrays import I64

__all__ = ["BY_NAME", "METRICS", "WAYMAX", "Definition", "check_names", "compute"]


class Definition(NamedTuple):
    """A metric by definition."""

    name: str
    unit: str
    meaning: str
    source: str
    """Whose definition it follows."""

    function: Callable[[Case], Metric]
    needs: tuple[str, ...] = ()
    """Beside the simulated tracks: "log", "edges", "lanes", "stop lines", "routes"."""

    limit: float | None = None
    """Above it something is wrong, None where no value is."""

    history: float = 0.0
    """How much of the time before a step its value depends on [s]; infinite: all of it."""

    of_episode: str = "most"
    """Method of `Metric` that makes one value of an episode: most, least, last or by_agent."""

    others: bool = False
    """Whether it depends on what the others do."""

    pays: str = "value"
    """What a reward takes of it: "above", -1 where it is above the limit; "value", less its value;
    "rise", by how much it rose in the step; "short", what it lacks to 3, as a share, negative."""


STEP = 1e-9
"""A history of one step, however long that is [s]."""

METRICS = (
    Definition(
        "log_divergence", "m", "distance from the recorded position at the same step", "Waymax",
        log_divergence, ("log",), of_episode="by_agent",
    ),
    Definition(
        "overlap", "1", "1 where the box overlaps another body's on the same level", "Waymax",
        overlap, (), 0.0, others=True, pays="above",
    ),
    Definition(
        "offroad", "m", "how far the outermost corner is beyond the edge, negative on the road",
        "Waymax", offroad, ("edges",), 0.0, pays="above",
    ),
    Definition(
        "kinematic_infeasibility", "1",
        "1 where the step takes over 10.4 m/s² or a curvature over 0.3 1/m", "Waymax",
        kinematic_infeasibility, (), 0.0, STEP, pays="above",
    ),
    Definition(
        "wrong_way", "m", "distance from the nearest lane for cars where above 3.5 m, else 0",
        "Waymax", wrong_way, ("lanes",), 0.0, pays="above",
    ),
    Definition(
        "off_route", "m",
        "distance from the route where above 5 m, or 2 m more than from a way off it, else 0",
        "Waymax", off_route, ("routes",), 0.0, pays="above",
    ),
    Definition(
        "progression", "1", "way along the route as a share of the recorded one", "Waymax",
        progression, ("log", "routes"), None, 0.0, "last", pays="rise",
    ),
    Definition(
        "collision_at_fault", "1",
        "1 where a collision begins that the agent should have prevented", "nuPlan",
        collision_at_fault, ("lanes",), 0.0, math.inf, others=True,
        pays="above",
    ),
    Definition(
        "time_to_collision", "s",
        "when it meets one ahead if both keep their velocity; 3 where it does not", "nuPlan",
        time_to_collision, ("lanes",), of_episode="least", others=True,
        pays="short",
    ),
    Definition(
        "red_light", "1", "1 where its front passes a stop line on red", "V-Max", red_light,
        ("stop lines",), 0.0, STEP, pays="above",
    ),
    Definition(
        "speeding", "m/s", "speed above the limit of its lane", "nuPlan", speeding, ("lanes",), 0.0,
        pays="above",
    ),
    Definition(
        "uncomfortable", "1", "1 where an acceleration, jerk or rate of turn is beyond its bound",
        "nuPlan", uncomfortable, (), 0.0, 3.0, pays="above",
    ),
    Definition(
        "driving_direction", "m", "way driven against the traffic within the last second", "nuPlan",
        driving_direction, ("lanes",), 2.0, 1.0, pays="above",
    ),
    Definition(
        "lane_excess", "m", "how far the outermost corner is beyond its lane, negative within it",
        "V-Max", lane_excess, ("lanes",), 0.0, pays="above",
    ),
    Definition(
        "lane_changes", "1", "1 where its lane is another one, outside junctions", "nuPlan",
        lane_changes, ("lanes",), None, STEP,
    ),
    Definition(
        "failed_lane_changes", "1", "1 where it is back in the lane that it had begun to leave",
        "nuPlan", failed_lane_changes, ("lanes",), 0.0,
    ),
)  # fmt: skip
"""Metrics of an agent and step, by name, in the order of the documentation."""

BY_NAME = {metric.name: metric for metric in METRICS}

WAYMAX = tuple(metric.name for metric in METRICS if metric.source == "Waymax")
"""Names of the seven metrics of Waymax."""

_ARGUMENT = {"log": "log", "routes": "routes"}
"""What gives a need; all others are parts of the road."""


def compute(
    names: Iterable[str],
    simulated: Tracks,
    *,
    dt: float,
    log: Tracks | None = None,
    road: Road | None = None,
    routes: Iterable[Route] | Ways | None = None,
    ignore_height: bool = False,
    world: I64 | None = None,
    agents: Sequence[int] | None = None,
) -> dict[str, Metric]:
    """Returns metrics of simulated (or recorded) traffic by name.

    Args:
        names: Of `METRICS`.
        simulated: What is measured.
        dt: Between steps [s].
        log: What was recorded of the same agents at the same steps.
        road: What it drove on, in the same coordinates.
        routes: Of the agents that have one, or `Ways` with a place for each agent in the order of
            the tracks; metrics of routes are valid for no others.
        ignore_height: Whether bodies on different levels of a road overlap, too.
        world: Of each agent, in rising order, where several worlds on one road are measured at
            once: agents of different ones do not meet; None: all are in one.
        agents: Whose metrics are wanted, which is faster than those of all; None for all.

    Raises:
        ValueError: A name that there is none of, something that a metric needs is not given, or
            parts do not fit each other.
    """
    wanted = check_names(names)
    own = routes if isinstance(routes, Ways) else None
    ways = None if routes is None or isinstance(routes, Ways) else tuple(routes)
    case = Case(simulated, dt, log, road, ways, ignore_height, world, own)
    for name in wanted:
        for need in BY_NAME[name].needs:
            argument = _ARGUMENT.get(need, "road")
            if {"log": log, "road": road, "routes": routes}[argument] is None:
                raise ValueError(f"metric {name!r} needs {need}: give {argument}=")
    if agents is None:
        return {name: BY_NAME[name].function(case) for name in wanted}
    alone, rows = case.only(agents), list(agents)
    return {
        name: one.function(case).agents(rows) if one.others else one.function(alone)
        for name, one in ((name, BY_NAME[name]) for name in wanted)
    }


def check_names(names: Iterable[str]) -> list[str]:
    """Returns names of metrics as a list, or raises a ValueError for one that there is none of."""
    wanted = [names] if isinstance(names, str) else list(names)
    for name in wanted:
        if name not in BY_NAME:
            raise ValueError(
                f"metric {name!r} is unknown{suggestion(name, BY_NAME, '')}; "
                f"there are {', '.join(BY_NAME)}"
            )
    return wanted
