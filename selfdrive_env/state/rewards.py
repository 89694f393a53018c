"""The terms and weights of the reward: the one table that kernels, settings and pages read.

A weight belongs to the term of its name, or is a parameter of another term. Terms follow one
another as in the table; weights too, those that an observation shows before the others.

Cusumano-Towner et al. 2025, table of reward terms. theta is the angle to the lane, d the lateral
offset of the box centre.
"""

from __future__ import annotations

from collections import namedtuple
from typing import Any, NamedTuple

__all__ = ["NUM_CONDITIONS", "NUM_TERMS", "NUM_WEIGHTS", "REWARDS", "REWARD_TERMS", "TERM",
    "TERM_WEIGHT", "TRAINING_RANGE", "WEIGHT", "WEIGHTS", "Reward"]  # fmt: skip

Range = tuple[float, float]


class Reward(NamedTuple):
    """A weight of the reward, and its term."""

    name: str
    default: float
    """In every preset that says nothing else."""

    formula: str | None = None
    """Of the term, w its weight; None for a parameter of another term."""

    observed: Range | None = None
    """What observations scale to [-1, 1], the same in every preset, and the preset "train" draws
    from; None for a weight that is not observed."""

    magnitude: bool = False
    """Whether it is one of a penalty: below 0 it would pay for what it is to prevent."""


REWARDS = (
    Reward("goal_radius", 10.0, observed=(2.0, 12.0)),
    Reward("goal", 1.0, "w per target reached"),
    Reward(
        "collision",
        3.0,
        "-(w + 0.1 |v|) when a contact begins, v at the start of the step",
        magnitude=True,
        observed=(0.0, 3.0),
    ),
    Reward(
        "offroad",
        3.0,
        "-w when the body leaves the drivable surface",
        magnitude=True,
        observed=(0.0, 3.0),
    ),
    Reward(
        "comfort",
        0.05,
        "-w (1[|a_long| > 3] + 1[|a_lat| > 3] + 1[any |jerk| > 5])",
        magnitude=True,
        observed=(0.0, 0.1),
    ),
    Reward(
        "lane_align",
        0.025,
        "w dt (min(cos theta, 0) + w_va min(v cos theta, 0) + 0.0025 (1 - |theta| / (pi/2)))",
        magnitude=True,
        observed=(2.5e-4, 2.5e-2),
    ),
    Reward("velocity_align", 1.0, magnitude=True, observed=(0.0, 1.0)),
    Reward(
        "lane_centre",
        3.8e-3,
        "-w dt (1[cos theta > 0.5] |d - b| - 0.05 exp(-(|d - b| - 0.5))), |d - b| <= 4",
        magnitude=True,
        observed=(2.5e-4, 7.5e-3),
    ),
    Reward("centre_bias", 0.0, observed=(-0.5, 0.5)),
    Reward("velocity", 2.5e-3, "w dt max(cos theta, 0) 1[|v| > 2.5]"),
    Reward("reverse", 5.0e-3, "-w dt 1[v < 0]", magnitude=True, observed=(2.5e-4, 7.5e-3)),
    Reward(
        "stop_line",
        1.0,
        "-w per red light or stop sign passed",
        magnitude=True,
        observed=(0.0, 1.0),
    ),
    Reward("timestep", 2.5e-5, "-w dt 1[|v| > 0 or |a| > 0]", magnitude=True),
    Reward("overspeed", 0.0, "-w dt max(v - limit, 0)", magnitude=True, observed=(0.0, 0.1)),
    Reward(
        "progress",
        0.0,
        "w times the metres by which the lane-graph distance to the next target shrank",
    ),
    Reward(
        "yield_violation",
        0.0,
        "-w per junction entered in the way of one with the right of way",
        magnitude=True,
    ),
    Reward(
        "blocked",
        0.0,
        "-w dt x, x the share by which a body broken down within 40 m is in the way",
        magnitude=True,
    ),
)

TRAINING_RANGE = {row.name: row.observed for row in REWARDS if row.observed is not None}
"""Range by which each observed weight is scaled to [-1, 1], the same in every preset."""

NUM_CONDITIONS = len(TRAINING_RANGE)
"""Observed weights, the first of `WEIGHTS`."""

WEIGHTS = (*TRAINING_RANGE, *(row.name for row in REWARDS if row.observed is None))
"""Columns of `Bodies.weight`."""

REWARD_TERMS = tuple(row.name for row in REWARDS if row.formula is not None)
"""The last axis of `Output.term` and `Tallies.term`."""

NUM_WEIGHTS, NUM_TERMS = len(WEIGHTS), len(REWARD_TERMS)

TERM_WEIGHT = tuple(WEIGHTS.index(name) for name in REWARD_TERMS)
"""Which weight each term is multiplied by."""


def numbered(title: str, names: tuple[str, ...]) -> Any:
    """Returns the column of each name: no enum, by which kernels for CUDA cannot index."""
    return namedtuple(title, names)(*range(len(names)))


TERM, WEIGHT = numbered("Term", REWARD_TERMS), numbered("Weight", WEIGHTS)
"""Column of a term, and of a weight, by its name: `TERM.goal`, `WEIGHT.goal_radius`."""
