"""The encoder of this package's policies for torch: Deep Sets over the slots of a row.

Zaheer et al. 2017: every element of a set goes through one small network, the maximum over the
elements stands for the set. These networks have no biases and `valid` is a column of each element,
so an empty slot, all zero, gives zeros after the rectifier and has no influence.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd import Function

from selfdrive_env.config.layouts import ObservationLayout
from selfdrive_env.policies.deep_sets import (
    SIMD_WIDTH,
    SetWeights,
    backward,
    encode,
    scalars_of,
    set_plan,
)

__all__ = ["Encoder", "Sizes", "linear"]


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
        self.scalars = scalars_of(layout)
        self.scalar = linear(self.scalars.stop, sizes.scalar_width, generator)
        self.elements = nn.ModuleDict()
        for name, (_, _, columns) in zip(self.sets, self.plan.tolist(), strict=True):
            self.elements[name] = nn.ModuleList(
                linear(a, b, generator, bias=False)
                for a, b in pairwise((columns, *sizes.set_widths))
            )
        self.layers = range(len(sizes.set_widths))
        self.width = sizes.scalar_width + len(self.sets) * sizes.set_widths[-1]
        fits = len(sizes.set_widths) == 2 and all(w % SIMD_WIDTH == 0 for w in sizes.set_widths)
        self.in_one_pass = fits and bool(self.sets)

    def forward(self, rows: Tensor) -> Tensor:
        """Returns [B, width] for observation rows [B, features]."""
        mixed = torch.is_autocast_enabled(rows.device.type)
        if not mixed:
            rows = rows.to(self.scalar.weight.dtype)
        scalar = torch.relu(self.scalar(rows[:, self.scalars]))
        single = rows.dtype == torch.float32
        if self.in_one_pass and not mixed and rows.device.type == "cpu" and single:
            largest = _LargestOfSets.apply(rows.contiguous(), *self.stacked(), self.plan)
            return torch.cat([scalar, largest.flatten(1)], 1)
        parts = [scalar]
        for name, (first, slots, columns) in zip(self.sets, self.plan.tolist(), strict=True):
            x = rows[:, first : first + slots * columns].unflatten(1, (columns, slots))
            layers = [self.get_parameter(f"elements.{name}.{n}.weight") for n in self.layers]
            for weight in layers[:-1]:
                x = torch.relu(torch.matmul(weight, x))
            # The rectifier commutes with the maximum and is cheaper after it.
            parts.append(torch.relu(torch.matmul(layers[-1], x).amax(2)))
        return torch.cat(parts, 1)

    def stacked(self) -> tuple[Tensor, Tensor]:
        """Returns the weights as `SetWeights` has them."""
        inner = [self.get_parameter(f"elements.{name}.0.weight").t() for name in self.sets]
        outer = [self.get_parameter(f"elements.{name}.1.weight").t() for name in self.sets]
        return torch.cat(inner), torch.stack(outer).contiguous()


def linear(
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
