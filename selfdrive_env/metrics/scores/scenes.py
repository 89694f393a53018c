"""Gigaflow's score for Waymax, over many scenes: progress times success."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from selfdrive_env.metrics.case import Case
from selfdrive_env.metrics.road import Road, Route
from selfdrive_env.metrics.routes import travelled
from selfdrive_env.metrics.surroundings import offroad, overlap
from selfdrive_env.scenes.tracks import Tracks

__all__ = ["Outcome", "outcomes", "waymax_score"]


class Outcome(NamedTuple):
    """What became of one agent in one scene."""

    driven: float
    """Along its route [m]."""

    expert: float
    """Likewise by what was recorded [m]."""

    collision: bool
    """Whether it overlapped another body at some step."""

    departure: bool
    """Whether a corner was off the road at some step."""


def outcomes(
    simulated: Tracks, *, dt: float, log: Tracks, road: Road, routes: Iterable[Route]
) -> list[Outcome]:
    """Returns what became of each agent that has a route: in Waymax of one a scene.

    Args:
        simulated: What is scored.
        dt: Between steps [s].
        log: What was recorded of the same agents.
        road: What they drove on.
        routes: Of the agents to score; who was never seen, or is far from any route, is left out.
    """
    case = Case(simulated, dt, log, road, tuple(routes))
    touches = overlap(case).above(0.0).most()
    leaves = offroad(case.only([route.agent for route in case.routes or ()])).above(0.0).most()
    out = []
    for number, route in enumerate(case.routes or ()):
        ways = []
        for tracks in (simulated, log):
            arc, known = travelled(route, tracks)
            ways.append(arc[known])
        if not all(len(arc) for arc in ways):
            continue
        driven, expert = (max(float(arc[-1] - arc[0]), 0.0) for arc in ways)
        collision = bool(touches.value[route.agent])
        out.append(Outcome(driven, expert, collision, bool(leaves.value[number])))
    return out


def waymax_score(found: Iterable[Outcome]) -> dict[str, float]:
    """Returns Gigaflow's score for Waymax: progress x success, each 0 to 1.

    Progress is the way driven in all scenes as a share of the experts', at most 1; success the
    share of scenes without a collision or departure.

    Args:
        found: Outcomes of all scenes.

    Returns:
        "progress", "success" and "score".

    Raises:
        ValueError: No outcome.
    """
    scenes = list(found)
    if not scenes:
        raise ValueError("a score needs the outcome of one scene or more")
    expert = sum(scene.expert for scene in scenes)
    progress = min(sum(scene.driven for scene in scenes) / expert, 1.0) if expert > 0.0 else 1.0
    failed = [scene.collision or scene.departure for scene in scenes]
    success = 1.0 - float(np.mean(failed))
    return {"progress": progress, "success": success, "score": progress * success}
