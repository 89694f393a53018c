"""A metric of traffic, one value an agent and step, and what is made of it: means and shares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Metric"]


@dataclass(frozen=True, eq=False)
class Metric:
    """Values and where they mean something; what is not valid is 0.

    Raises:
        ValueError: Value and validity differ in shape.
    """

    value: NDArray[np.float64]
    """[agent, step], or [agent] where a metric is summed up over steps."""

    valid: NDArray[np.bool_]
    """Likewise."""

    def __post_init__(self) -> None:
        if self.value.shape != self.valid.shape:
            raise ValueError(f"metric: value {self.value.shape} and valid {self.valid.shape}")

    @classmethod
    def of(cls, value: NDArray[np.generic], valid: NDArray[np.bool_]) -> Metric:
        """Returns values as a metric, 0 where they are not valid.

        Args:
            value: Numbers or truth values.
            valid: Of the same shape.
        """
        return cls(np.where(valid, value, 0.0).astype(np.float64), valid)

    def steps(self, start: int = 0, stop: int | None = None) -> Metric:
        """Returns a part of the steps, for example those after a warm-up.

        Args:
            start: First step.
            stop: Step after the last one, None for all that follow.
        """
        return Metric(self.value[:, start:stop], self.valid[:, start:stop])

    def agents(self, which: NDArray[np.generic] | list[int]) -> Metric:
        """Returns some of the agents.

        Args:
            which: Indices, or a mask.
        """
        return Metric(self.value[which], self.valid[which])

    def among(self, which: Sequence[int], count: int) -> Metric:
        """Returns the same agents among others, of whom nothing is known.

        Args:
            which: Where each of them goes.
            count: Of all agents.
        """
        value = np.zeros((count, *self.value.shape[1:]))
        valid = np.zeros(value.shape, np.bool_)
        value[list(which)], valid[list(which)] = self.value, self.valid
        return Metric(value, valid)

    def above(self, limit: float) -> Metric:
        """Returns 1 where the value is above a limit, 0 elsewhere.

        Args:
            limit: In the metric's unit.
        """
        return Metric.of(self.value > limit, self.valid)

    def mean(self) -> float | None:
        """Returns the mean of all that is valid, None where nothing is."""
        return float(self.value[self.valid].mean()) if self.valid.any() else None

    def share(self, limit: float) -> float | None:
        """Returns the share of agents with a valid step that are above a limit at some step.

        Args:
            limit: In the metric's unit.
        """
        return self.above(limit).most().mean()

    def by_agent(self) -> Metric:
        """Returns the mean of each agent over its valid steps, [agent]: of divergences the ADE."""
        count = self.valid.sum(axis=1)
        total = np.where(self.valid, self.value, 0.0).sum(axis=1)
        return Metric.of(total / np.maximum(count, 1), count > 0)

    def most(self) -> Metric:
        """Returns the largest value of each agent, [agent]."""
        lowest = np.where(self.valid, self.value, -np.inf)
        valid = np.asarray(self.valid.any(axis=1))
        return Metric.of(lowest.max(axis=1, initial=-np.inf), valid)

    def least(self) -> Metric:
        """Returns the smallest value of each agent, [agent]."""
        most = Metric(-self.value, self.valid).most()
        return Metric(-most.value, most.valid)

    def last(self) -> Metric:
        """Returns the value of each agent at its last valid step, [agent]: the FDE."""
        valid = np.asarray(self.valid.any(axis=1))
        if not self.value.shape[1]:
            return Metric(np.zeros(len(valid)), valid)
        step = self.valid.shape[1] - 1 - np.argmax(self.valid[:, ::-1], axis=1)
        return Metric.of(self.value[np.arange(len(step)), step], valid)
