"""The clipped loss of PPO (Schulman et al. 2017), for autograd."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from selfdrive_env.training.network import Networks

__all__ = ["Learnt", "Weights", "loss_of"]


class Learnt(NamedTuple):
    """What the loss needs of all transitions of a rollout, [N] each."""

    observations: Tensor
    """[N, features]"""

    actions: Tensor
    figures: Tensor
    """Logarithm of the action's chance when it was taken, the normalised advantage, and the target
    in units of the critic's last layer, [3, N]."""


class Weights(NamedTuple):
    """Numbers of the loss, see `TrainConfig`."""

    clip: float
    entropy: float
    value: float


def loss_of(
    both: Callable[[Tensor], tuple[Tensor, Tensor]],
    networks: Networks,
    learnt: Learnt,
    index: Tensor,
    weights: Weights,
) -> tuple[Tensor, Tensor]:
    """Returns the loss of a minibatch and its terms, summed over transitions.

    Args:
        both: `Networks.both`, or what was compiled of it.
        networks: Actor and critic.
        learnt: What is known of all transitions.
        index: Transitions of the minibatch, [B].
        weights: Of the loss.

    Returns:
        The loss, and without gradients policy loss, value loss, entropy and divergence, float64
        [4].
    """
    log_probabilities, values = both(learnt.observations[index])
    old, advantage, target = learnt.figures[:, index]
    new = log_probabilities.gather(1, learnt.actions[index, None])[:, 0]
    change = new - old
    ratio = change.exp()
    clipped = ratio.clamp(1.0 - weights.clip, 1.0 + weights.clip)
    policy = -torch.min(advantage * ratio, advantage * clipped).sum()
    entropy = -(log_probabilities.exp() * log_probabilities).sum()
    errors = (values - networks.value_mean) / networks.value_scale - target
    value = 0.5 * errors.square().sum()
    loss = policy - weights.entropy * entropy + weights.value * value
    divergence = (ratio - 1.0 - change).sum()
    return loss, torch.stack([policy, value, entropy, divergence]).detach().double()
