"""What comes with a step beside observations: masks of rows, and metrics of episodes that ended."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.kernels.events import METRICS
from selfdrive_env.state.arrays import F32
from selfdrive_env.state.rewards import REWARD_TERMS

__all__ = ["FINALS", "FINAL_MASKS", "Infos", "StepResult", "add_finals"]

FINALS = (
    "length",
    "km",
    *(metric.name for metric in METRICS),
    *(f"reward_{name}" for name in REWARD_TERMS),
)
"""Metrics of an episode that ended, by name."""

FINAL_MASKS = tuple(f"_{name}" for name in FINALS)

Infos = dict[str, Any]
StepResult = tuple[NDArray[Any], F32, NDArray[np.bool_], NDArray[np.bool_], Infos]


def add_finals(
    infos: Infos,
    done: NDArray[np.bool_],
    finals: tuple[NDArray[Any], ...],
    observations: NDArray[Any] | None,
    *,
    copies: bool,
) -> None:
    """Adds what ended episodes came to.

    Args:
        infos: Of the step.
        done: Which rows ended, [rows].
        finals: Length, km, counts by event and reward by term, [rows], [rows], [events, rows] and
            [terms, rows].
        observations: Last ones of the rows that ended, where the next ones are those of new
            episodes (SameStep), else None.
        copies: Whether the caller gets arrays of its own.
    """
    age, km, counts, terms = (one.copy("K") if copies else one for one in finals)
    masks = [done.copy() if copies else done for _ in FINALS]
    target: Infos = infos if observations is None else {}
    target.update(zip(FINALS, (age, km, *counts, *terms), strict=True))
    target.update(zip(FINAL_MASKS, masks, strict=True))
    if observations is None:
        return
    infos["final_obs"] = observations
    infos["_final_obs"] = done.copy()
    infos["final_info"] = target
    infos["_final_info"] = done.copy()
