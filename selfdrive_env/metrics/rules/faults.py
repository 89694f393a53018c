"""Collisions that somebody should have prevented, by nuPlan's five kinds of collision."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.metrics.boxes import FRONT_LEFT, FRONT_RIGHT
from selfdrive_env.metrics.case import Case
from selfdrive_env.metrics.metric import Metric
from selfdrive_env.metrics.rules.lanes import in_one_lane
from selfdrive_env.scenes.tracks import Tracks
from selfdrive_env.state.arrays import F64, I64

__all__ = ["STOPPED", "begun_collisions", "collision_at_fault", "faults", "is_behind"]

STOPPED = 0.05
"""Who is not faster stands [m/s]."""

BEHIND_COSINE = -np.cos(np.pi / 6.0)
"""Of the angle between a heading and the way to one that is behind: above 150 degrees."""

Bools = NDArray[np.bool_]


def collision_at_fault(case: Case) -> Metric:
    """Returns 1 where a collision begins that the agent should have prevented.

    It is not at fault if it stands, or is hit by one behind it. It is if the other one stands, or
    its own front bumper lies in the other's box; else, where the two touch at their sides, if it is
    not wholly in one lane. The first contact of two bodies counts, and none of two that overlap
    when they are first seen together.
    """
    step, agent, _ = faults(case)
    out = np.zeros(case.tracks.valid.shape, np.bool_)
    out[agent, step] = True
    return Metric.of(out, case.tracks.valid)


def faults(case: Case) -> tuple[I64, I64, I64]:
    """Returns step, agent and the other one of each collision that an agent is at fault for.

    Args:
        case: The traffic.
    """
    step, agent, other = begun_collisions(case)
    stands = case.speed <= STOPPED
    guilty = ~stands[agent, step] & (
        stands[other, step]
        | (
            ~is_behind(case.tracks, step, agent, other)
            & (front_hits(case, step, agent, other) | ~in_one_lane(case)[agent, step])
        )
    )
    return step[guilty], agent[guilty], other[guilty]


def begun_collisions(case: Case) -> tuple[I64, I64, I64]:
    """Returns step, agent and other one where two bodies touch for the first time.

    Args:
        case: The traffic.
    """
    found = case.contacts
    pair = found.agent * case.tracks.num_agents + found.other
    first = np.unique(pair, return_index=True)[1]  # sorted by step: the earliest of each pair
    step, agent, other = found.step[first], found.agent[first], found.other[first]
    together = case.tracks.valid[agent] & case.tracks.valid[other]
    begun = step > together.argmax(axis=1)
    return step[begun], agent[begun], other[begun]


def is_behind(tracks: Tracks, step: I64, agent: I64, other: I64) -> Bools:
    """Returns whether others are behind agents: within 30 degrees of straight back.

    Args:
        tracks: Of all.
        step: [N]
        agent: [N]
        other: [N]
    """
    dx = tracks.x[other, step] - tracks.x[agent, step]
    dy = tracks.y[other, step] - tracks.y[agent, step]
    heading = tracks.heading[agent, step].astype(np.float64)
    along = dx * np.cos(heading) + dy * np.sin(heading)
    behind: Bools = along < BEHIND_COSINE * np.hypot(dx, dy)
    return behind


def front_hits(case: Case, step: I64, agent: I64, other: I64) -> Bools:
    """Returns whether the front bumpers of agents meet the boxes of others."""
    tracks = case.tracks
    heading = tracks.heading[other, step].astype(np.float64)
    cos, sin = np.cos(heading), np.sin(heading)
    ends: list[tuple[F64, F64]] = []
    for corner in (FRONT_LEFT, FRONT_RIGHT):
        dx = case.corners[0][agent, step, corner] - tracks.x[other, step]
        dy = case.corners[1][agent, step, corner] - tracks.y[other, step]
        ends.append((dx * cos + dy * sin, dy * cos - dx * sin))
    half = 0.5 * tracks.length[other].astype(np.float64), 0.5 * tracks.width[other]
    low, high = np.zeros(len(step)), np.ones(len(step))
    for axis in (0, 1):  # the part of the bumper within the box, as shares of it
        start, way = ends[0][axis], ends[1][axis] - ends[0][axis]
        flat = np.abs(way) < 1e-12
        safe = np.where(flat, 1.0, way)
        a, b = (-half[axis] - start) / safe, (half[axis] - start) / safe
        inside = np.abs(start) <= half[axis]
        low = np.maximum(low, np.where(flat, np.where(inside, 0.0, 2.0), np.minimum(a, b)))
        high = np.minimum(high, np.where(flat, 1.0, np.maximum(a, b)))
    hits: Bools = low <= high
    return hits
