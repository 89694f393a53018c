"""Actor and critic: perceptrons behind an encoder each, or one for both."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from selfdrive_env.config.layouts import ObservationLayout
from selfdrive_env.policies.encoder import Encoder, Sizes, linear

__all__ = ["Networks"]


class Head(nn.Module):
    """A perceptron behind an encoder.

    Args:
        inputs: Width of the encoder.
        widths: Of the hidden layers.
        outputs: Length of the result.
        scale: Of the last layer's weights at the start.
        generator: Draws the weights.
    """

    def __init__(
        self, inputs: int, widths: tuple[int, ...], outputs: int, scale: float,
        generator: torch.Generator,
    ) -> None:  # fmt: skip
        super().__init__()
        sizes = (inputs, *widths)
        self.trunk = nn.ModuleList(linear(a, b, generator) for a, b in pairwise(sizes))
        self.head = linear(sizes[-1], outputs, generator, scale=scale)

    def forward(self, x: Tensor) -> Tensor:
        """Returns [B, outputs] for what the encoder gave."""
        for layer in self.trunk:
            x = torch.relu(layer(x))
        out: Tensor = self.head(x)
        return out


class Networks(nn.Module):
    """Actor and critic of the same shape, with an encoder each or one for both.

    Args:
        layout: Slots of a row.
        sizes: Widths of the layers.
        actions: Number of discrete actions.
        seed: Of the weights at the start.
    """

    value_mean: Tensor
    value_scale: Tensor

    def __init__(
        self, layout: ObservationLayout, sizes: Sizes, actions: int, seed: int = 0
    ) -> None:
        super().__init__()
        self.sizes = sizes
        generator = torch.Generator().manual_seed(seed)
        encoders = [Encoder(layout, sizes, generator) for _ in range(2 - sizes.shared_sets)]
        self.encoders = nn.ModuleList(encoders)
        width = encoders[0].width
        self.actor = Head(width, sizes.trunk_widths, actions, 0.01, generator)
        self.critic = Head(width, sizes.trunk_widths, 1, 1.0, generator)
        self.register_buffer("value_mean", torch.zeros(()))
        self.register_buffer("value_scale", torch.ones(()))

    def parts(self) -> list[list[nn.Parameter]]:
        """Returns the parameters of the actor, of the critic, and of what both share if they do."""
        actor, critic = list(self.actor.parameters()), list(self.critic.parameters())
        codes = [list(encoder.parameters()) for encoder in self.encoders]
        if len(codes) == 1:
            return [actor, critic, *codes]
        return [actor + codes[0], critic + codes[1]]

    def log_probabilities(self, rows: Tensor) -> Tensor:
        """Returns the logarithm of each action's probability, float32 [B, actions]."""
        return torch.log_softmax(self.actor(self.encoders[0](rows)).float(), 1)

    def values(self, rows: Tensor) -> Tensor:
        """Returns the expected discounted return of each row, float32 [B]."""
        return self._values(self.encoders[-1](rows))

    def both(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Returns `log_probabilities` and `values`."""
        code = self.encoders[0](rows)
        other = code if len(self.encoders) == 1 else self.encoders[1](rows)
        return torch.log_softmax(self.actor(code).float(), 1), self._values(other)

    def _values(self, code: Tensor) -> Tensor:
        out: Tensor = self.critic(code).float().squeeze(1)
        return out * self.value_scale + self.value_mean

    @torch.no_grad()
    def take(self, other: Networks) -> None:
        """Takes the weights of networks like these, whose trunks may be narrower.

        What they give stays: their units get nothing from those that are new here, which keep the
        weights that were drawn for what they get (widening as in Net2Net, Chen et al. 2016, with
        zeros in place of copies).
        """
        theirs = other.state_dict()
        for name, own in self.state_dict().items():
            old = theirs[name]
            if own.ndim == 2:
                own[: old.shape[0]] = 0.0
            own[tuple(slice(length) for length in old.shape)] = old

    @torch.no_grad()
    def set_value_scale(self, mean: float, scale: float) -> None:
        """Changes the unit of the critic's last layer and leaves its values as they are.

        PopArt (van Hasselt et al. 2016, equations 8 and 9).
        """
        last, old_mean, old_scale = self.critic.head, self.value_mean, self.value_scale
        last.bias.copy_((old_scale * last.bias + old_mean - mean) / scale)
        last.weight.mul_(old_scale / scale)
        self.value_mean.fill_(mean)
        self.value_scale.fill_(scale)
