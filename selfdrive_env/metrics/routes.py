"""Where agents are along the ways that they were to follow."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.metrics.case import Case
from selfdrive_env.metrics.lines.polylines import Polylines
from selfdrive_env.metrics.lines.ways import Ways
from selfdrive_env.metrics.metric import Metric
from selfdrive_env.metrics.road import Route
from selfdrive_env.scenes.tracks import Tracks
from selfdrive_env.state.arrays import F64

__all__ = ["logged_arcs", "logged_routes", "off_route", "progression", "travelled"]

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
    tracks, own = case.tracks, case.along
    off = own.distance > FAR
    if len(case.other_ways.row):
        other = case.other_ways.nearest(tracks.x, tracks.y, tracks.z, tracks.valid)
        off |= other.found & (own.distance > other.distance + OTHER)
    return Metric.of(np.where(off, own.distance, 0.0), own.found)


def progression(case: Case) -> Metric:
    """Returns how much of the way that was recorded an agent has driven along its route.

    Arc lengths count from where the log starts; 1 where it ends there. More than 1 is possible.
    """
    assert case.log is not None
    logged = logged_arcs(case.ways, case.log) if case.ways.logged is None else case.ways.logged
    start, length = logged[:, :1], logged[:, 1:] - logged[:, :1]
    moves = length > 0.0
    share = (case.along.arc - start) / np.where(moves, length, 1.0)
    return Metric.of(np.where(moves, share, 1.0), case.along.found & np.isfinite(start))


def logged_arcs(ways: Ways, log: Tracks) -> F64:
    """Returns arc lengths where agents were recorded first and last, [agent, 2]; NaN: nowhere [m].

    Args:
        ways: Of the agents.
        log: What was recorded of them.
    """
    agent, seen = np.arange(log.num_agents)[:, None], np.asarray(log.valid.any(axis=1))
    out = np.full((log.num_agents, 2), np.nan)
    if not seen.any():
        return out
    last = log.num_steps - 1 - np.argmax(log.valid[:, ::-1], axis=1)
    place = agent, np.stack([np.argmax(log.valid, axis=1), last], axis=1)
    found = ways.nearest(log.x[place], log.y[place], log.z[place], log.valid[place])
    return np.where(seen[:, None] & found.found, found.arc, out)


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
