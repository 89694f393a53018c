"""Rewards that are made of metrics: which of the weights are theirs, and what a metric pays."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.metrics.table import BY_NAME
from selfdrive_env.state.arrays import F64

__all__ = ["WAYMAX", "paid", "split_rewards"]

PREFIX = "metric."
"""Before the name of a metric in the setting `reward`, where a term of the reward has it too."""

WAYMAX = "waymax"
"""Preset whose reward has metrics alone."""

WAYMAX_REWARD = {"overlap": 1.0, "offroad": 1.0}
"""Their weights."""

SHORTEST_TIME = 3.0
"""A time to collision that is not shorter costs nothing [s]."""


def split_rewards(
    preset: str, reward: Mapping[str, Any], terms: Iterable[str]
) -> tuple[dict[str, Any], dict[str, float]]:
    """Returns the weights of the terms of a reward, and those of metrics in it.

    Args:
        preset: "waymax" stands for no terms and `WAYMAX_REWARD`.
        reward: Name -> weight; a metric that is called like a term has `PREFIX` before its name.
        terms: Names of all weights of terms.

    Raises:
        ValueError: The weight of a metric is no number of at least 0: it is the magnitude of a
            penalty, as elsewhere.
    """
    own, weights = {}, dict(WAYMAX_REWARD) if preset == WAYMAX else {}
    for name, value in reward.items():
        plain = str(name).removeprefix(PREFIX)
        if plain not in BY_NAME or (plain == name and name in set(terms)):
            own[name] = value
            continue
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not (number and math.isfinite(value) and value >= 0.0):
            raise ValueError(
                f"reward[{name!r}] is the weight of a metric, a number of at least 0, got {value!r}"
            )
        weights[plain] = float(value)
    return own, weights


def paid(name: str, value: F64, valid: NDArray[np.bool_], before: F64) -> F64:
    """Returns what a weight of 1 pays for a metric of a step, shaped as all of these.

    Args:
        name: Of the metric.
        value: Of the step.
        valid: Where it means something.
        before: What it was at the step before.
    """
    kind, limit = BY_NAME[name].pays, BY_NAME[name].limit
    if kind == "above":
        assert limit is not None
        out = -(value > limit).astype(np.float64)
    elif kind == "rise":
        out = value - before
    elif kind == "short":
        out = np.minimum(value / SHORTEST_TIME - 1.0, 0.0)
    else:
        out = -value
    return np.where(valid, out, 0.0)
