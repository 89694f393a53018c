"""Which action a policy takes: a longitudinal jerk, then a lateral one with it.

Under other dynamics the value of the first column, then those of the others with it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.config.choices import bins_of, check_bins
from selfdrive_env.config.settings import Settings
from selfdrive_env.state.arrays import I64

__all__ = ["dynamics_difference", "lateral_choices", "likeliest"]


def dynamics_difference(env: Any, settings: Settings) -> str | None:
    """Returns what keeps a policy from driving in an environment: other dynamics, or other bins.

    Args:
        env: Settings that the policy was trained with, as its file says.
        settings: Of the environment.

    Returns:
        The policy's and the environment's, in words; None where they are the same.
    """
    there = Settings.as_recorded(env if isinstance(env, Mapping) else {})
    if there["dynamics"] != settings.dynamics:
        return f"dynamics={there['dynamics']!r}, the environment has {settings.dynamics!r}"
    if settings.dynamics == "jerk":
        return None
    found = [list(bins_of(settings.dynamics, one)) for one in
        (there["action_bins"], settings.action_bins)]  # fmt: skip
    if found[0] == found[1]:
        return None
    return f"action_bins={found[0]}, the environment has {found[1]}"


def _bins(env: Mapping[str, Any]) -> tuple[int, ...]:
    """Returns how many values each column has; of tables that say nothing sound of it, none."""
    there = Settings.as_recorded(env)
    try:
        check_bins(there["dynamics"], "discrete", there["action_bins"])
    except (AttributeError, KeyError, TypeError, ValueError):
        return ()
    return bins_of(there["dynamics"], there["action_bins"])


def lateral_choices(actions: int, env: Any) -> int:
    """Returns how many lateral jerks the actions of a policy pair with each longitudinal one.

    Under other dynamics it is how many actions have the same value in their first column.

    Args:
        actions: Number of its actions.
        env: Settings that it was trained with, as its file says. Where they do not make that
            number of pairs, all its actions count as lateral ones.
    """
    table = env if isinstance(env, Mapping) else {}
    if table.get("dynamics", "jerk") != "jerk":
        first, *others = _bins(table) or (1, actions)
        laterals = math.prod(others)
        return laterals if first * laterals == actions else actions
    lengths = []
    for name in ("jerk_long", "jerk_lat"):
        jerks = table.get(name, getattr(Settings, name))
        lengths.append(len(jerks) if isinstance(jerks, list | tuple) else 0)
    return lengths[1] if lengths[0] * lengths[1] == actions else actions


def likeliest(logits: NDArray[Any], laterals: int) -> I64:
    """Returns the likeliest longitudinal jerk, and the likeliest lateral one with it, int64 [B].

    The likeliest pair may be another: braking that is spread over several lateral jerks loses to
    going on with one of them.

    Args:
        logits: Logarithms of the actions' chances up to a constant, [B, actions]; an action is the
            number of its longitudinal jerk times `laterals` plus that of its lateral one.
        laterals: Number of lateral jerks.
    """
    rows, actions = logits.shape
    pairs = logits.reshape(rows, actions // laterals, laterals).astype(np.float64)
    chances = np.exp(pairs - pairs.max((1, 2), keepdims=True))
    longitudinal = chances.sum(2).argmax(1)
    lateral = pairs[np.arange(rows), longitudinal].argmax(1)
    chosen: NDArray[np.int64] = longitudinal * laterals + lateral
    return chosen
