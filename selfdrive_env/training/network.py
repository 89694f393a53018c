"""Actor and critic: Deep Sets (Zaheer et al. 2017) over the slots of an observation row.

Every element of a set goes through one small network, the maximum over the elements stands for the
set. These networks have no biases and `valid` is a column of each element, so an empty slot, all
zero, gives zeros after the rectifier and has no influence.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd import Function

from selfdrive_env.config.layouts import ObservationLayout
from selfdrive_env.config.observation import OBSERVATION
from selfdrive_env.policies.deep_sets import (
    SETS,
    SIMD_WIDTH,
    SetWeights,
    backward,
    encode,
    set_plan,
)

__all__ = ["Encoder", "Networks", "Sizes"]


class Sizes(NamedTuple):
    """Widths of the layers, as in `TrainConfig`."""

    set_widths: tuple[int, ...]
    scalar_width: int
    trunk_widths: tuple[int, ...]
    shared_sets: bool = False


class _LargestOfSets(Function):
    """`policies.sets.encode` and its derivative for torch; the rows themselves get no gradient."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, inner: Tensor, outer: Tensor, plan: Any) -> Tensor:
        weights = SetWeights(plan, inner.detach().numpy(), outer.detach().numpy())
        out, best = encode(rows.numpy(), weights, torch.get_num_threads())
        ctx.rows, ctx.weights, ctx.best = rows, weights, best
        return torch.from_numpy(out)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        grad_output = grads[0].contiguous().numpy()
        threads = torch.get_num_threads()
        found = backward(ctx.rows.numpy(), ctx.weights, ctx.best, grad_output, threads)
        return None, torch.from_numpy(found[0]), torch.from_numpy(found[1]), None


class Encoder(nn.Module):
    """What a row says, after a rectifier: one layer over its scalars, and each of its sets.

    Args:
        layout: Slots of a row.
        sizes: Widths of the layers.
        generator: Draws the weights.
    """

    def __init__(self, layout: ObservationLayout, sizes: Sizes, generator: torch.Generator) -> None:
        super().__init__()
        self.sets, self.plan = set_plan(layout)
        place = layout.slices
        self.scalars = [place[name] for name in OBSERVATION if name not in SETS]
        width = sum(one.stop - one.start for one in self.scalars)
        self.scalar = _linear(width, sizes.scalar_width, generator)
        self.elements = nn.ModuleDict()
        for name, (_, _, columns) in zip(self.sets, self.plan.tolist(), strict=True):
            self.elements[name] = nn.ModuleList(
                _linear(a, b, generator, bias=False)
                for a, b in pairwise((columns, *sizes.set_widths))
            )
        self.width = sizes.scalar_width + len(self.sets) * sizes.set_widths[-1]
        fits = len(sizes.set_widths) == 2 and all(w % SIMD_WIDTH == 0 for w in sizes.set_widths)
        self.in_one_pass = fits and bool(self.sets)

    def forward(self, rows: Tensor) -> Tensor:
        """Returns [B, width] for observation rows [B, features]."""
        mixed = torch.is_autocast_enabled(rows.device.type)
        if not mixed:
            rows = rows.to(self.scalar.weight.dtype)
        scalar = torch.relu(self.scalar(torch.cat([rows[:, one] for one in self.scalars], 1)))
        single = rows.dtype == torch.float32
        if self.in_one_pass and not mixed and rows.device.type == "cpu" and single:
            largest = _LargestOfSets.apply(rows.contiguous(), *self._stacked(), self.plan)
            return torch.cat([scalar, largest.flatten(1)], 1)
        parts = [scalar]
        for name, (first, slots, columns) in zip(self.sets, self.plan.tolist(), strict=True):
            x = rows[:, first : first + slots * columns].unflatten(1, (slots, columns))
            layers: list[nn.Module] = list(self.elements[name].children())
            for layer in layers[:-1]:
                x = torch.relu(layer(x))
            # The rectifier commutes with the maximum and is cheaper after it.
            parts.append(torch.relu(layers[-1](x).amax(1)))
        return torch.cat(parts, 1)

    def _stacked(self) -> tuple[Tensor, Tensor]:
        """Returns the weights as `SetWeights` has them."""
        inner = [self.get_parameter(f"elements.{name}.0.weight").t() for name in self.sets]
        outer = [self.get_parameter(f"elements.{name}.1.weight").t() for name in self.sets]
        return torch.cat(inner), torch.stack(outer).contiguous()


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
        self.trunk = nn.ModuleList(_linear(a, b, generator) for a, b in pairwise(sizes))
        self.head = _linear(sizes[-1], outputs, generator, scale=scale)

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
    def set_value_scale(self, mean: float, scale: float) -> None:
        """Changes the unit of the critic's last layer and leaves its values as they are.

        PopArt (van Hasselt et al. 2016, equations 8 and 9).
        """
        last, old_mean, old_scale = self.critic.head, self.value_mean, self.value_scale
        last.bias.copy_((old_scale * last.bias + old_mean - mean) / scale)
        last.weight.mul_(old_scale / scale)
        self.value_mean.fill_(mean)
        self.value_scale.fill_(scale)


def _linear(
    inputs: int,
    outputs: int,
    generator: torch.Generator,
    *,
    bias: bool = True,
    scale: float = math.sqrt(2.0),
) -> nn.Linear:
    """Returns a layer with orthogonal weights."""
    layer = nn.Linear(inputs, outputs, bias=bias)
    nn.init.orthogonal_(layer.weight, scale, generator=generator)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer
