"""A rollout, its advantages, and which of them are learnt from. Axes: T steps of it, R rows."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from selfdrive_env.training.distributed import Ranks

__all__ = ["Rollout", "estimate_advantages", "filter_advantages", "moments"]


class Rollout(NamedTuple):
    """What all rows of this process did, [T, R] each."""

    observations: Tensor
    """[T, R, features]"""

    actions: Tensor
    log_probabilities: Tensor
    """Of the actions taken, when they were taken."""

    rewards: Tensor
    """With the discounted value of the last observation where an episode was cut."""

    done: Tensor
    learn: Tensor
    """Whether the transition may be learnt from."""

    values: Tensor

    discounts: Tensor
    """Of what comes after the step: `gamma` for each 0.3 s."""

    trace: Tensor
    """`discounts` times `gae_lambda` for each 0.3 s."""


def estimate_advantages(
    rewards: Tensor,
    values: Tensor,
    done: Tensor,
    next_values: Tensor,
    discounts: Tensor,
    trace: Tensor,
) -> Tensor:
    """Returns generalised advantages (Schulman et al. 2016), [T, R].

    delta_t = r_t + gamma_t V_{t+1} - V_t,  A_t = delta_t + gamma_t lambda_t A_{t+1}; both sums end
    where an episode does.

    Args:
        rewards: [T, R].
        values: Of the rows acted on, [T, R].
        done: Whether the episode ended with the step, [T, R].
        next_values: Of the rows after the last step, [R].
        discounts: gamma_t, [T, R].
        trace: gamma_t lambda_t, of which lambda_t weighs longer estimates, [T, R].
    """
    advantages = torch.empty_like(rewards)
    goes_on = (~done).to(rewards.dtype)
    discounts, trace = discounts * goes_on, trace * goes_on
    advantage = torch.zeros_like(next_values)
    for step in reversed(range(len(rewards))):
        delta = rewards[step] + discounts[step] * next_values - values[step]
        advantage = delta + trace[step] * advantage
        advantages[step] = advantage
        next_values = values[step]
    return advantages


def filter_advantages(
    advantages: Tensor,
    learn: Tensor,
    filter_level: float | None,
    share: float,
    rate: float,
    ranks: Ranks,
) -> tuple[Tensor, float]:
    """Chooses the transitions whose advantage is large enough to learn from.

    level <- rate max|A| + (1 - rate) level;  kept are those with |A| >= share level.

    Args:
        advantages: Raw ones, [T, R].
        learn: Transitions that may be learnt from, [T, R].
        filter_level: Running largest advantage, None before the first rollout.
        share: Of the level that an advantage must reach; 0 keeps all.
        rate: Weight of the newest rollout in the level.
        ranks: The processes, over all of which the largest is taken.

    Returns:
        Which are kept, bool [T, R], and the new level, NaN if an advantage is not finite.
    """
    sizes = torch.where(learn, advantages.abs(), 0.0)
    largest = float(sizes.max())
    if ranks.any(not math.isfinite(largest)):  # a maximum over processes may lose a NaN
        return torch.zeros_like(learn), math.nan
    largest = float(ranks.max(sizes.max()))
    if filter_level is not None:
        largest = rate * largest + (1.0 - rate) * filter_level
    return learn & (sizes >= share * largest), largest


def moments(values: Tensor, ranks: Ranks) -> tuple[int, float, float]:
    """Returns number, mean and standard deviation over all processes."""
    doubles = values.double()
    number = torch.tensor(float(len(values)), dtype=torch.float64, device=values.device)
    count, total = ranks.sum(torch.stack([number, doubles.sum()])).tolist()
    mean = total / max(count, 1.0)
    variance = float(ranks.sum((doubles - mean).square().sum())) / max(count, 1.0)
    return int(count), mean, math.sqrt(variance)
