"""Changes of lane from the step at which a body leaves its lane to that at which it is in one.

nuPlan's statistics on them: how many there are, how long they take, and how many fail. One fails
that ends in the lane in which it began; a drive is fine if fewer than `MOST_FAILED` of them do.
"""

from __future__ import annotations

from collections.abc import Container
from typing import NamedTuple

import numpy as np

from selfdrive_env.metrics.case import Case
from selfdrive_env.metrics.metric import Metric
from selfdrive_env.metrics.road import Road
from selfdrive_env.metrics.rules.lanes import in_one_lane
from selfdrive_env.scenes.tracks import Tracks

__all__ = ["MOST_FAILED", "LaneChange", "failed_lane_changes", "lane_change_statistics",
    "lane_changes_of"]  # fmt: skip

MOST_FAILED = 0.3
"""From this share of failed changes on a drive is not fine (nuPlan)."""


class LaneChange(NamedTuple):
    """A body that leaves a lane and is wholly in one again."""

    agent: int
    start: int
    """Last step wholly in the lane."""

    end: int
    """First step wholly in a lane again."""

    failed: bool
    """Whether that is the lane it left, or one that follows it."""


def lane_changes_of(case: Case) -> list[LaneChange]:
    """Returns the changes of lane of all agents, in order.

    Those that lead through a junction, where lanes fork and cross, or on which a body is not seen
    all the time, are none; nor are those that have not ended.

    Args:
        case: The traffic.
    """
    road, line, valid = case.known_road, case.own_lane.line, case.tracks.valid
    driven = np.flatnonzero(road.drivable)
    follows = set(map(tuple, road.successors.tolist()))
    within = in_one_lane(case)
    out = []
    for agent in range(len(valid)):
        inside = np.flatnonzero(within[agent])
        for start, end in zip(inside[:-1].tolist(), inside[1:].tolist(), strict=True):
            steps = slice(start, end + 1)
            if end == start + 1 or not valid[agent, steps].all() or (line[agent, steps] < 0).any():
                continue
            lanes = driven[line[agent, steps]].tolist()
            if road.junction[lanes].any():
                continue
            out.append(LaneChange(agent, start, end, _ends_at_home(lanes, follows)))
    return out


def _ends_at_home(lanes: list[int], follows: Container[tuple[int, int]]) -> bool:
    """Whether the last lane of a way is the first one, or what follows it."""
    home = lanes[0]
    for lane in lanes[1:]:
        home = lane if (home, lane) in follows else home
    return lanes[-1] == home


def failed_lane_changes(case: Case) -> Metric:
    """Returns 1 where a body is back in the lane that it had begun to leave."""
    value = np.zeros(case.tracks.valid.shape)
    for change in lane_changes_of(case):
        value[change.agent, change.end] = change.failed
    return Metric.of(value, case.tracks.valid & case.own_lane.found)


def lane_change_statistics(simulated: Tracks, *, dt: float, road: Road) -> dict[str, Metric]:
    """Returns nuPlan's figures on changes of lane, each [agent].

    Args:
        simulated: What is measured.
        dt: Between steps [s].
        road: What it drove on.

    Returns:
        "number"; "longest" and "mean" duration [s] and "failed", the share of changes that failed,
        valid for agents with one or more; "fine", 1 where fewer than `MOST_FAILED` failed, valid
        for agents that were seen.
    """
    changes = lane_changes_of(Case(simulated, dt, None, road))
    agents = simulated.num_agents
    agent = np.array([one.agent for one in changes], np.int64)
    duration = dt * np.array([one.end - one.start for one in changes], np.float64)
    number = np.bincount(agent, minlength=agents).astype(np.float64)
    some, count = number > 0, np.maximum(number, 1.0)
    longest = np.zeros(agents)
    np.maximum.at(longest, agent, duration)
    failed = np.array([one.failed for one in changes], np.float64)
    share = np.bincount(agent, weights=failed, minlength=agents) / count
    seen = np.asarray(simulated.valid.any(axis=1))
    return {
        "number": Metric.of(number, seen),
        "longest": Metric.of(longest, some),
        "mean": Metric.of(np.bincount(agent, weights=duration, minlength=agents) / count, some),
        "failed": Metric.of(share, some),
        "fine": Metric.of(share < MOST_FAILED, seen),
    }
