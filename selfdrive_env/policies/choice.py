"""Which action a policy takes: a longitudinal jerk, then a lateral one with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.config.settings import Settings
from selfdrive_env.state.arrays import I64

__all__ = ["lateral_choices", "likeliest"]


def lateral_choices(actions: int, env: Any) -> int:
    """Returns how many lateral jerks the actions of a policy pair with each longitudinal one.

    Args:
        actions: Number of its actions.
        env: Settings that it was trained with, as its file says. Where they do not make that
            number of pairs, all its actions count as lateral ones.
    """
    table = env if isinstance(env, Mapping) else {}
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
