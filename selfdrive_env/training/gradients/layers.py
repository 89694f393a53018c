"""All layers of both networks for one thread: forward, and gradients without autograd.

The same sums as in `training.network`, in another order: rows go through in pieces that stay in the
cache, buffers are made once, the first layers of both trunks are one product, and what lies between
products is compiled.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from selfdrive_env.policies.deep_sets import SetWeights, backward_from, encode_into
from selfdrive_env.policies.encoder import Encoder
from selfdrive_env.training.gradients.kernels import rectify_back
from selfdrive_env.training.network import Networks

__all__ = ["PIECE", "Layers", "Linear", "Shared", "linear"]

PIECE = 512
"""Rows that go through all layers together."""


class Linear(NamedTuple):
    """Weights of a layer, or their gradients."""

    weight: Tensor
    """[outputs, inputs]"""

    bias: Tensor


class Shared:
    """The weights, which all threads read: those of the networks, and copies of what is stacked.

    Args:
        networks: Actor and critic behind one encoder.
    """

    def __init__(self, networks: Networks) -> None:
        encoder = networks.encoders[0]
        assert isinstance(encoder, Encoder)
        self.encoder = encoder
        heads = (networks.actor, networks.critic)
        trunks = [[_weights(one) for one in (*head.trunk, head.head)] for head in heads]
        self.firsts = [trunk[0] for trunk in trunks]
        self.behind = [trunk[1:] for trunk in trunks]
        self.scalar = _weights(encoder.scalar)
        self.first = Linear(*(torch.cat(pair) for pair in zip(*self.firsts, strict=True)))
        self.sets = self._sets()
        self.size = sum(parameter.numel() for parameter in networks.parameters())

    def _sets(self) -> SetWeights:
        inner, outer = (one.detach().numpy() for one in self.encoder.stacked())
        return SetWeights(self.encoder.plan, inner, outer)

    def load(self) -> None:
        """Takes over the weights of the networks; to be called after each change of them."""
        self.sets = self._sets()
        for pair, to in zip(zip(*self.firsts, strict=True), self.first, strict=True):
            torch.cat(pair, out=to)

    @property
    def parts(self) -> tuple[slice, slice]:
        """Which columns behind the first layers are the actor's, and which the critic's."""
        width = len(self.firsts[0].bias)
        return slice(0, width), slice(width, None)


class Dense:
    """A layer with buffers, and a rectifier behind it or none.

    Args:
        weights: Of the layer.
        gradients: Are added to.
        lines: Receives what the layer gives in its first columns, [PIECE, at least outputs].
        rectified: Whether a rectifier follows.
    """

    def __init__(
        self, weights: Linear, gradients: Linear, lines: Tensor, *, rectified: bool
    ) -> None:
        self.weights, self.gradients, self.rectified = weights, gradients, rectified
        self.lines, self.d_lines = lines, torch.empty_like(lines)
        self.columns = len(weights.bias)
        self.out, self.d_out = (one[:, : self.columns] for one in (self.lines, self.d_lines))
        self._turned = weights.weight.t()
        self._arrays = self.d_lines.numpy(), self.lines.numpy()
        self._d_bias = gradients.bias.numpy()

    def forward(self, x: Tensor) -> Tensor:
        """Returns what the layer gives for rows x [B, inputs]."""
        out = torch.addmm(self.weights.bias, x, self._turned, out=self.out[: len(x)])
        return out.relu_() if self.rectified else out

    def backward(self, x: Tensor, d_x: Tensor | None = None) -> None:
        """Adds up gradients from those in `d_out`.

        Args:
            x: As for `forward`.
            d_x: Receives its gradient.
        """
        count = len(x)
        d_out = self.d_out[:count]
        if self.rectified:
            rectify_back(*(one[:count] for one in self._arrays), self.columns, self._d_bias)
        else:
            self.gradients.bias.add_(d_out.sum(0))
        self.gradients.weight.addmm_(d_out.t(), x)
        if d_x is not None:
            torch.mm(d_out, self.weights.weight, out=d_x)


class Layers:
    """All layers of both networks, with buffers for a piece of rows and a vector of gradients.

    Args:
        shared: The weights.
    """

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        plan, self._scalars = shared.encoder.plan, shared.encoder.scalars
        self.vector = torch.zeros(shared.size)
        """All gradients, of this thread."""

        self._taken = 0
        outer = shared.sets.outer
        self.inner, self.outer = (self._take(*one.shape) for one in (shared.sets.inner, outer))
        self.scalar = self._dense(shared.scalar, width=shared.encoder.width)
        self.first = self._dense(shared.first)
        self.trunks = [
            [*(self._dense(one) for one in trunk[:-1]), self._dense(trunk[-1], rectified=False)]
            for trunk in shared.behind
        ]
        self.rows = torch.empty(PIECE, int((plan[:, 0] + plan[:, 1] * plan[:, 2]).max()))
        self._best = np.empty((PIECE, len(plan), outer.shape[2]), np.int32)

    def _take(self, *shape: int) -> Tensor:
        """Returns the next part of the vector of gradients."""
        begin = self._taken
        self._taken += int(np.prod(shape))
        return self.vector[begin : self._taken].view(shape)

    def _dense(self, weights: Linear, width: int | None = None, *, rectified: bool = True) -> Dense:
        gradients = Linear(*(self._take(*one.shape) for one in weights))
        lines = torch.empty(PIECE, len(weights.bias) if width is None else width)
        return Dense(weights, gradients, lines, rectified=rectified)

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Returns logits [B, actions] and what the critic's last layer gives [B, 1].

        Args:
            rows: Contiguous float32 [B, features], at most PIECE.
        """
        count, sets = len(rows), self.shared.sets
        self.scalar.forward(rows[:, self._scalars])
        code = self.scalar.lines[:count]
        encode_into(code.numpy(), self.scalar.columns, self._best[:count], rows.numpy(), sets)
        x = self.first.forward(code)
        out = [x[:, part] for part in self.shared.parts]
        for number, trunk in enumerate(self.trunks):
            for layer in trunk:
                out[number] = layer.forward(out[number])
        return out[0], out[1]

    def backward(self, rows: Tensor) -> None:
        """Adds up all gradients, from those in the buffers of the last layers.

        Args:
            rows: As in the last call of `forward`.
        """
        count, first = len(rows), self.first
        for trunk, part in zip(self.trunks, self.shared.parts, strict=True):
            inputs = [first.out[:count, part], *(one.out[:count] for one in trunk[:-1])]
            pulls = [first.d_out[:count, part], *(one.d_out[:count] for one in trunk[:-1])]
            for layer, x, d_x in zip(trunk[::-1], inputs[::-1], pulls[::-1], strict=True):
                layer.backward(x, d_x)
        d_code = self.scalar.d_lines[:count]
        first.backward(self.scalar.lines[:count], d_code)
        self.scalar.backward(rows[:, self._scalars])
        place, sets = self.scalar.columns, self.shared.sets
        found = backward_from(d_code.numpy(), place, rows.numpy(), sets, self._best[:count])
        self.inner += torch.from_numpy(found[0])
        self.outer += torch.from_numpy(found[1])


def linear(layer: nn.Module) -> nn.Linear:
    """Returns a layer, which is known to be a linear one."""
    assert isinstance(layer, nn.Linear)
    return layer


def _weights(layer: nn.Module) -> Linear:
    parameters = (linear(layer).weight, linear(layer).bias)
    return Linear(*(one.detach() for one in parameters))
