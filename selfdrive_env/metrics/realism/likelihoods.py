"""How likely recorded values are among simulated ones: histograms with smoothing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.state.arrays import F64

__all__ = ["SMOOTHING", "bins_of", "histogram_likelihood"]

SMOOTHING = 0.1
"""Added to the count of each bin."""

Bools = NDArray[np.bool_]


def histogram_likelihood(
    recorded: F64,
    recorded_valid: Bools,
    simulated: F64,
    simulated_valid: Bools,
    bounds: tuple[float, float],
    num_bins: int,
) -> F64:
    """Returns the logarithm of the likelihood of each recorded value.

    Each agent has one histogram, of its values at all steps of all rollouts: steps count as
    independent. p = (count + 0.1) / (sum of counts + 0.1 bins).

    Args:
        recorded: [agent, step]
        recorded_valid: [agent, step]
        simulated: [rollout, agent, step]
        simulated_valid: [rollout, agent, step]
        bounds: Of the bins; what is beyond counts in the outermost.
        num_bins: Equal ones between the bounds.

    Returns:
        [agent, step], 0 where it is not valid.
    """
    agents = len(recorded)
    place = bins_of(simulated, bounds, num_bins) + num_bins * np.arange(agents)[:, None]
    count = np.bincount(place[simulated_valid], minlength=agents * num_bins)
    smooth = count.reshape(agents, num_bins) + SMOOTHING
    share = np.log(smooth / smooth.sum(axis=1, keepdims=True))
    found = np.take_along_axis(share, bins_of(recorded, bounds, num_bins), axis=1)
    return np.where(recorded_valid, found, 0.0)


def bins_of(value: F64, bounds: tuple[float, float], num_bins: int) -> NDArray[np.int64]:
    """Returns the bin of each value.

    Args:
        value: Of any shape.
        bounds: Of the bins.
        num_bins: Equal ones between them.
    """
    low, high = bounds
    share = (np.clip(value, low, high) - low) / (high - low)
    return np.minimum((share * num_bins).astype(np.int64), num_bins - 1)
