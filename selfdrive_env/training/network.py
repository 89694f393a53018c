"""Actor and critic: Deep Sets (Zaheer et al. 2017) over the slots of an observation row.

Every element of a set goes through one small network, the maximum over the elements stands for the
set. These networks have no biases and `valid` is a column of each element, so an empty slot, all
zero, gives zeros after the rectifier and has no influence.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from selfdrive_env.config import Layout
from selfdrive_env.layout import OBSERVATION, slots

__all__ = ["DeepSets", "Networks", "Sizes"]

SETS = ("lane_points", "boundary_points", "stop_lines", "agents")
"""Groups whose slots have no order that matters; the goals do have one."""


class Sizes(NamedTuple):
    """Widths of the layers, as in `TrainConfig`."""

    set_widths: tuple[int, ...]
    scalar_width: int
    trunk_widths: tuple[int, ...]


class DeepSets(nn.Module):
    """A pure function of an observation row.

    Args:
        layout: Slots of a row.
        sizes: Widths of the layers.
        outputs: Length of the result.
        scale: Of the last layer's weights at the start.
        generator: Draws the weights.
    """

    def __init__(
        self, layout: Layout, sizes: Sizes, outputs: int, scale: float, generator: torch.Generator
    ) -> None:
        super().__init__()
        repeats, place = slots(layout.counts), layout.slices
        self.sets = [name for name in SETS if repeats[name]]
        self.shapes = {name: (repeats[name], len(OBSERVATION[name])) for name in self.sets}
        self.slices = {name: place[name] for name in self.sets}
        self.scalars = [place[name] for name in OBSERVATION if name not in SETS]

        width = sum(one.stop - one.start for one in self.scalars)
        self.scalar = _linear(width, sizes.scalar_width, generator)
        self.elements = nn.ModuleDict()
        for name in self.sets:
            widths = (self.shapes[name][1], *sizes.set_widths)
            self.elements[name] = nn.ModuleList(
                _linear(a, b, generator, bias=False) for a, b in pairwise(widths)
            )
        widths = (sizes.scalar_width + len(self.sets) * sizes.set_widths[-1], *sizes.trunk_widths)
        self.trunk = nn.ModuleList(_linear(a, b, generator) for a, b in pairwise(widths))
        self.head = _linear(widths[-1], outputs, generator, scale=scale)

    def forward(self, rows: Tensor) -> Tensor:
        """Returns [B, outputs] for observation rows [B, features]."""
        if not torch.is_autocast_enabled(rows.device.type):
            rows = rows.to(self.head.weight.dtype)
        parts = [self.scalar(torch.cat([rows[:, one] for one in self.scalars], 1))]
        for name in self.sets:
            x = rows[:, self.slices[name]].unflatten(1, self.shapes[name])
            layers: list[nn.Module] = list(self.elements[name].children())
            for layer in layers[:-1]:
                x = torch.relu(layer(x))
            parts.append(layers[-1](x).amax(1))
        # The rectifier commutes with the maximum and is cheaper after it.
        x = torch.relu(torch.cat(parts, 1))
        for layer in self.trunk:
            x = torch.relu(layer(x))
        out: Tensor = self.head(x)
        return out


class Networks(nn.Module):
    """Separate actor and critic of the same shape.

    Args:
        layout: Slots of a row.
        sizes: Widths of the layers.
        actions: Number of discrete actions.
        seed: Of the weights at the start.
    """

    def __init__(self, layout: Layout, sizes: Sizes, actions: int, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.actor = DeepSets(layout, sizes, actions, 0.01, generator)
        self.critic = DeepSets(layout, sizes, 1, 1.0, generator)

    def log_probabilities(self, rows: Tensor) -> Tensor:
        """Returns the logarithm of each action's probability, float32 [B, actions]."""
        return torch.log_softmax(self.actor(rows).float(), 1)

    def values(self, rows: Tensor) -> Tensor:
        """Returns the expected discounted return of each row, float32 [B]."""
        out: Tensor = self.critic(rows).float().squeeze(1)
        return out


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
