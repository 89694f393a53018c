"""Where agents are along the ways that they were to follow."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.metrics.case import Case
from selfdrive_env.metrics.lines.polylines import Polylines
from selfdrive_env.metrics.metric import Metric
from selfdrive_env.metrics.road import Route
from selfdrive_env.scenes.tracks import Tracks
from selfdrive_env.state.arrays import F64

__all__ = ["logged_routes", "off_route", "progression", "travelled"]

Mask = NDArray[np.bool_]

FAR = 5.0
"""Further from the route is off it [m]."""

OTHER = 2.0
"""So much further from the route than from another way is off it, too [m]."""

SPACING = 0.5
"""Least distance between points of a route that is made of a log [m]."""


def logged_routes(log: Tracks, agents: Iterable[int]) -> tuple[Route, ...]:
    """Returns the ways that agents were recorded on as their routes.

    Args:
        log: What was recorded.
        agents: Rows of it; those that were never seen have no route.
    """
    out = []
    for agent in agents:
        seen = np.flatnonzero(log.valid[agent])
        if not len(seen):
            continue
        point = np.stack([log.x[agent, seen], log.y[agent, seen], log.z[agent, seen]], axis=1)
        kept = [0]
        for number in range(1, len(point)):
            if np.hypot(*(point[number] - point[kept[-1]])[:2]) >= SPACING:
                kept.append(number)
        if kept[-1] != len(point) - 1:
            kept.append(len(point) - 1)
        out.append(Route(agent, Polylines.of([point[kept]])))
    return tuple(out)


def off_route(case: Case) -> Metric:
    """Returns the distance from the route where an agent is off it, else 0 [m].

    Off it is further than 5 m, or more than 2 m further than from a way that it might have taken
    instead.
    """
    value, valid = np.zeros(case.tracks.valid.shape), np.zeros(case.tracks.valid.shape, np.bool_)
    for route in case.routes or ():
        x, y, z, here = _row(case.tracks, route.agent)
        found = route.lines.nearest(x, y, z, here)
        others = route.others.nearest(x, y, z, here)
        distance = np.abs(found.distance)
        off = (distance > FAR) | (others.found & (distance > np.abs(others.distance) + OTHER))
        value[route.agent] = np.where(off, distance, 0.0)
        valid[route.agent] = here & found.found
    return Metric.of(value, valid)


def progression(case: Case) -> Metric:
    """Returns how much of the way that was recorded an agent has driven along its route.

    Arc lengths count from where the log starts; 1 where it ends there. More than 1 is possible.
    """
    assert case.log is not None
    value, valid = np.zeros(case.tracks.valid.shape), np.zeros(case.tracks.valid.shape, np.bool_)
    for route in case.routes or ():
        seen = np.flatnonzero(case.log.valid[route.agent])
        ends, _ = travelled(route, case.log)
        here, known = travelled(route, case.tracks)
        if not len(seen):
            continue
        start, end = ends[seen[[0, -1]]]
        length = end - start
        value[route.agent] = (here - start) / length if length > 0.0 else 1.0
        valid[route.agent] = known
    return Metric.of(value, valid)


def travelled(route: Route, tracks: Tracks) -> tuple[F64, Mask]:
    """Returns the arc length of the nearest place on the route at each step [m], and validity.

    Args:
        route: Of one agent.
        tracks: Of all.
    """
    found = route.lines.nearest(*_row(tracks, route.agent))
    return found.arc, found.found


def _row(tracks: Tracks, agent: int) -> tuple[F64, F64, F64, Mask]:
    """Returns where an agent is, and whether it is there, each [step]."""
    return tracks.x[agent], tracks.y[agent], tracks.z[agent], tracks.valid[agent]
