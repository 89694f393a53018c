"""How well each agent drove a scene, 0 to 1: gates times a weighted mean (nuPlan, V-Max)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from selfdrive_env.metrics.case import Case
from selfdrive_env.metrics.metric import Metric
from selfdrive_env.metrics.road import Road, Route
from selfdrive_env.metrics.routes import travelled
from selfdrive_env.metrics.rules.comfort import uncomfortable
from selfdrive_env.metrics.rules.faults import faults
from selfdrive_env.metrics.rules.lanes import driving_direction, lane_excess, speeding
from selfdrive_env.metrics.rules.lights import red_light
from selfdrive_env.metrics.rules.time_to_collision import LEAST_TIME, time_to_collision
from selfdrive_env.metrics.surroundings import offroad
from selfdrive_env.scenes.tracks import OTHER, Tracks
from selfdrive_env.state.arrays import F64

__all__ = ["NUPLAN", "VMAX", "Score", "nuplan_score", "vmax_score"]

INFRINGEMENT = 0.3
"""Corners may be so far off the road [m]."""

LEAST_PROGRESS = 0.2
"""Share of the expert's progress that is some."""

SHORTEST = 0.1
"""Less progress counts as so much [m]."""

OVERSPEED = 2.23
"""Faster than the limit by so much all the time is worth 0 [m/s]."""

SLIGHT, GRAVE = 2.0, 6.0
"""So far against the traffic within a second is worth 1/2, and 0 beyond the second [m]."""


class Score(NamedTuple):
    """Parts of a score by name."""

    gates: tuple[str, ...]
    """Each multiplies the score."""

    weights: dict[str, float]
    """Of the rest, in their mean."""


NUPLAN = Score(
    ("no_collision_at_fault", "drivable_area", "making_progress", "driving_direction"),
    {"progress": 5.0, "time_to_collision": 5.0, "speed_limit": 4.0, "comfort": 2.0},
)
VMAX = Score(
    ("no_collision", "on_road", "no_red_light", "making_progress", "driving_direction"),
    {
        "time_to_collision": 5.0,
        "progress": 5.0,
        "speed_limit": 4.0,
        "one_lane": 3.0,
        "comfort": 2.0,
    },
)


def nuplan_score(
    simulated: Tracks, *, dt: float, log: Tracks, road: Road, routes: Iterable[Route]
) -> dict[str, Metric]:
    """Returns nuPlan's score of the closed loop and all its parts, each [agent].

    Valid for agents with a route that were seen and whose route was recorded.

    Args:
        simulated: What is scored.
        dt: Between steps [s].
        log: What the expert did.
        road: What it drove on.
        routes: Of the agents to score, such as `logged_routes` gives.
    """
    return _score(NUPLAN, Case(simulated, dt, log, road, tuple(routes)))


def vmax_score(
    simulated: Tracks, *, dt: float, log: Tracks, road: Road, routes: Iterable[Route]
) -> dict[str, Metric]:
    """Returns V-Max's score and all its parts, each [agent].

    Its gates are 0 for any collision at fault, any corner off the road and any red light;
    `one_lane` is the share of steps wholly in one lane. Else as `nuplan_score`.

    Args:
        simulated: What is scored.
        dt: Between steps [s].
        log: What the expert did.
        road: What it drove on.
        routes: Of the agents to score.
    """
    return _score(VMAX, Case(simulated, dt, log, road, tuple(routes)))


def _score(score: Score, case: Case) -> dict[str, Metric]:
    """Returns a score and its parts; what needs no others is computed of the scored alone."""
    count, agents = case.tracks.num_agents, [route.agent for route in case.routes or ()]
    alone = case.only(agents)
    parts = {
        name: PARTS[name](case) if name in WITH_OTHERS else PARTS[name](alone).among(agents, count)
        for name in (*score.gates, *score.weights)
    }
    valid = np.ones(count, np.bool_)
    for part in parts.values():
        valid &= part.valid
    total = np.zeros(len(valid))
    for name, weight in score.weights.items():
        total = total + weight * parts[name].value
    total /= sum(score.weights.values())
    for name in score.gates:
        total = total * parts[name].value
    found = {"score": total, **{name: part.value for name, part in parts.items()}}
    return {name: Metric.of(value, valid) for name, value in found.items()}


def _no_collision_at_fault(case: Case) -> Metric:
    """Returns 0 with a collision at fault; 1/2 if it is only one, with an object."""
    _, agent, other = faults(case)
    objects = case.tracks.kind[other] == OTHER
    with_object = np.bincount(agent[objects], minlength=case.tracks.num_agents)
    with_road_user = np.bincount(agent[~objects], minlength=case.tracks.num_agents)
    value = np.select([(with_road_user > 0) | (with_object > 1), with_object == 1], [0.0, 0.5], 1.0)
    return Metric.of(value, np.asarray(case.tracks.valid.any(axis=1)))


def _no_collision(case: Case) -> Metric:
    part = _no_collision_at_fault(case)
    return Metric.of(part.value == 1.0, part.valid)


def _never(metric: Metric, limit: float) -> Metric:
    """Returns 1 for agents that are never above a limit; so are those of whom nothing is known."""
    most = metric.most()
    return Metric(np.where(most.valid & (most.value > limit), 0.0, 1.0), np.ones_like(most.valid))


def _drivable_area(case: Case) -> Metric:
    return _never(offroad(case), INFRINGEMENT)


def _on_road(case: Case) -> Metric:
    return _never(offroad(case), 0.0)


def _no_red_light(case: Case) -> Metric:
    return _never(red_light(case), 0.0)


def _progress(case: Case) -> Metric:
    """Returns progress along the route as a share of the expert's, at most 1."""
    assert case.log is not None
    value = np.zeros(case.tracks.num_agents)
    valid = np.zeros(case.tracks.num_agents, np.bool_)
    for route in case.routes or ():
        ways: list[F64] = []
        for tracks in (case.tracks, case.log):
            arc, known = travelled(route, tracks)
            ways.append(arc[known])
        if not all(len(arc) for arc in ways):
            continue
        own, expert = (float(arc[-1] - arc[0]) for arc in ways)
        ratio = max(own, SHORTEST) / max(expert, SHORTEST)
        value[route.agent] = 0.0 if own < -SHORTEST else min(ratio, 1.0)
        valid[route.agent] = True
    return Metric(value, valid)


def _making_progress(case: Case) -> Metric:
    part = _progress(case)
    return Metric.of(part.value > LEAST_PROGRESS, part.valid)


def _driving_direction(case: Case) -> Metric:
    worst = driving_direction(case).most().value
    value = np.select([worst > GRAVE, worst > SLIGHT], [0.0, 0.5], 1.0)
    return Metric(value, np.ones(len(value), np.bool_))


def _time_to_collision(case: Case) -> Metric:
    found = time_to_collision(case)
    soon = Metric.of(-found.value, found.valid)
    return _never(soon, -LEAST_TIME - 1e-9)


def _speed_limit(case: Case) -> Metric:
    """Returns 1 less the mean excess of speed as a share of `OVERSPEED`."""
    part = speeding(case).by_agent()
    return Metric(np.maximum(1.0 - part.value / OVERSPEED, 0.0), np.ones_like(part.valid))


def _one_lane(case: Case) -> Metric:
    part = lane_excess(case).above(0.0).by_agent()
    return Metric(1.0 - part.value, np.ones_like(part.valid))


def _comfort(case: Case) -> Metric:
    return _never(uncomfortable(case), 0.0)


WITH_OTHERS = ("no_collision_at_fault", "no_collision", "time_to_collision")

PARTS: dict[str, Callable[[Case], Metric]] = {
    "no_collision_at_fault": _no_collision_at_fault,
    "no_collision": _no_collision,
    "drivable_area": _drivable_area,
    "on_road": _on_road,
    "no_red_light": _no_red_light,
    "making_progress": _making_progress,
    "driving_direction": _driving_direction,
    "progress": _progress,
    "time_to_collision": _time_to_collision,
    "speed_limit": _speed_limit,
    "one_lane": _one_lane,
    "comfort": _comfort,
}
"""Of scores, each 0 to 1 an agent."""
