"""Reward weights and bodies by name, and the tables from which agents draw them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from selfdrive_env.config.checks import as_table, check_choice, check_number, suggestion
from selfdrive_env.state.arrays import F32
from selfdrive_env.state.rewards import NUM_WEIGHTS, REWARDS, TRAINING_RANGE, WEIGHTS
from selfdrive_env.state.world import BODY_COLUMNS

__all__ = ["BODY_TYPES", "PRESETS", "TRAINING_RANGE"]

_DEFAULTS = {row.name: row.default for row in REWARDS}

PRESETS: dict[str, dict[str, float | tuple[float, float]]] = {
    "train": {**_DEFAULTS, **TRAINING_RANGE, "overspeed": 0.0},
    "eval": dict(_DEFAULTS),
    "cautious": {**_DEFAULTS, "comfort": 0.1, "lane_centre": 7.5e-3, "overspeed": 0.05},
    "aggressive": {
        **_DEFAULTS,
        "collision": 1.0,
        "offroad": 1.0,
        "comfort": 0.0,
        "lane_centre": 2.5e-4,
        "stop_line": 0.2,
    },
}
"""Reward weight -> number, or range from which each agent draws at each placing."""

PRESET_MEANINGS = {
    "train": "ranges from which each agent draws its weights",
    "eval": "fixed weights, crashes dear",
    "cautious": "as eval, comfort and the middle of the lane dearer, speeding costs",
    "aggressive": "as eval, crashes and red lights cheaper, comfort free",
}
"""What each of them is."""

BODY_TYPES: dict[str, tuple[float, ...]] = {
    "random": (0.0, 0.8, 7.0, 0.8, 3.0, 1.0, 1.0, 1.0, 1.0),
    "car": (0.74, 4.0, 4.8, 1.7, 1.9, 1.0, 1.0, 1.0, 1.0),
    "van": (0.10, 5.0, 6.0, 1.9, 2.1, 0.9, 1.0, 0.8, 0.9),
    "truck": (0.05, 6.5, 8.5, 2.2, 2.4, 0.8, 0.9, 0.6, 0.8),
    "bus": (0.03, 10.0, 12.0, 2.5, 2.55, 0.8, 0.9, 0.6, 0.7),
    "motorcycle": (0.05, 2.0, 2.3, 0.8, 0.9, 1.1, 1.0, 1.2, 1.0),
    "bicycle": (0.03, 1.7, 1.9, 0.6, 0.7, 1.0, 1.0, 0.5, 0.3),
    "pedestrian": (0.0, 0.8, 0.8, 0.8, 0.8, 1.0, 1.0, 0.6, 0.08),
}
"""Type -> default share, length low and high, width low and high [m], mean of C_throttle, C_steer,
C_acc, C_vel. "random" is the paper's one body with random size."""


MAGNITUDES = tuple(row.name for row in REWARDS if row.magnitude)
"""Reward weights that may not be below 0."""

FREE = tuple(row.name for row in REWARDS if not row.magnitude and row.name != "goal_radius")
"""Reward weights of either sign."""


def weight_ranges(preset: str, reward: Mapping[str, Any]) -> F32:
    """Returns low and high of every reward weight, [NUM_WEIGHTS, 2]."""
    values: dict[str, Any] = {**PRESETS[preset]}
    for name, value in as_table("reward", reward).items():
        if name not in WEIGHTS:
            raise ValueError(
                f"reward has no weight {name!r}{suggestion(name, WEIGHTS, 'reward')}; weights are "
                f"{', '.join(WEIGHTS)}"
            )
        values[name] = value
    table = np.zeros((NUM_WEIGHTS, 2), np.float32)
    for row, name in enumerate(WEIGHTS):
        value = values[name]
        pair = tuple(value) if isinstance(value, Sequence) else (value, value)
        if len(pair) != 2:
            raise ValueError(f"reward[{name!r}] must be a number or [low, high], got {value!r}")
        low = 0.1 if name == "goal_radius" else -1000.0
        table[row] = [check_number(f"reward[{name!r}]", v, low, 1000.0) for v in pair]
        if name in MAGNITUDES and table[row, 0] < 0.0:
            raise ValueError(
                f"reward[{name!r}] is the magnitude of a penalty and at least 0, got {value!r}: "
                f"below 0 it would pay for what it is to prevent; free in sign are "
                f"{', '.join(FREE)}"
            )
        if table[row, 1] < table[row, 0]:
            raise ValueError(f"reward[{name!r}] must rise from low to high, got {value!r}")
    return table


def body_table(bodies: str | Mapping[str, float]) -> F32:
    """Returns the rows of `Draws.body` in the order of `BODY_TYPES`, [types, BODY_COLUMNS]."""
    table = np.array(list(BODY_TYPES.values()), np.float32)
    names = list(BODY_TYPES)
    if isinstance(bodies, str):
        check_choice("bodies", bodies, ("random", "typed"))
        if bodies == "random":
            table[:, 0] = 0.0
            table[0, 0] = 1.0
    else:
        table[:, 0] = 0.0
        for name, share in as_table("bodies", bodies).items():
            if name not in names:
                raise ValueError(f"bodies has no type {name!r}; types are {', '.join(names)}")
            table[names.index(name), 0] = check_number(f"bodies[{name!r}]", share, 0.0, 1.0e6)
        if table[:, 0].sum() <= 0.0:
            raise ValueError(f"bodies needs a positive share, got {dict(bodies)!r}")
    assert table.shape[1] == BODY_COLUMNS
    return table
