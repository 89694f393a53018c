"""Two policies on the same worlds, seed by seed: differences and ratios with their intervals."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.evaluation.incidents import CRASHES
from selfdrive_env.evaluation.results.evaluation import ROUTE_SUMS, Evaluation
from selfdrive_env.evaluation.statistics import Interval, paired_difference, paired_ratio

__all__ = ["compare", "ratios"]


def compare(first: Evaluation, second: Evaluation) -> dict[str, Interval]:
    """Returns first - second, seed by seed, with intervals of Student's t.

    Args:
        first: One policy.
        second: Another with the same seeds.

    Returns:
        Differences of `incidents_per_km`, `goal_rate` (per agent-hour) and `driving_score`.
    """
    _check_worlds(first, second)
    return {
        name: paired_difference(values(first).tolist(), values(second).tolist())
        for name, values in {
            "incidents_per_km": _incidents,
            "goal_rate": _goals,
            "driving_score": _scores,
        }.items()
    }


def ratios(first: Evaluation, second: Evaluation) -> dict[str, Interval]:
    """Returns the mean over seeds of first over that of second, with Fieller's intervals.

    Args:
        first: One policy.
        second: Another with the same seeds.

    Returns:
        Ratios of `goal_rate` (per agent-hour) and of `speed` (kilometres per agent-hour).
    """
    _check_worlds(first, second)
    return {
        name: paired_ratio(values(first).tolist(), values(second).tolist())
        for name, values in {"goal_rate": _goals, "speed": _speeds}.items()
    }


def _check_worlds(first: Evaluation, second: Evaluation) -> None:
    """Raises a ValueError unless both drove the same worlds."""
    if (first.seeds, first.maps) != (second.seeds, second.maps):
        raise ValueError(f"need the same seeds for both, got {first.seeds} and {second.seeds}")


def _incidents(evaluation: Evaluation) -> NDArray[np.float64]:
    """Returns the incidents a kilometre of each world."""
    counts = evaluation.counts[:, :CRASHES].sum(1)
    return np.asarray(counts / np.maximum(evaluation.km, 1e-9), np.float64)


def _goals(evaluation: Evaluation) -> NDArray[np.float64]:
    """Returns the goals per agent-hour of each world."""
    return np.asarray(evaluation.goals / np.maximum(evaluation.hours, 1e-9), np.float64)


def _speeds(evaluation: Evaluation) -> NDArray[np.float64]:
    """Returns the kilometres per agent-hour of each world."""
    return np.asarray(evaluation.km / np.maximum(evaluation.hours, 1e-9), np.float64)


def _scores(evaluation: Evaluation) -> NDArray[np.float64]:
    """Returns the driving score of each world, 0 where no route ended."""
    ended, scores = (evaluation.route_sums[:, ROUTE_SUMS.index(n)] for n in ("ended", "score"))
    return np.asarray(100.0 * scores / np.maximum(ended, 1.0), np.float64)
