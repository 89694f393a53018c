"""Acting, and the gradients of the loss, on the CPU with networks behind one encoder."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import torch
from torch import Tensor

from selfdrive_env.policies.encoder import Encoder
from selfdrive_env.training.gradients.kernels import add_loss, choose
from selfdrive_env.training.gradients.layers import PIECE, Layers, Linear, Shared, linear
from selfdrive_env.training.gradients.loss import Learnt, Weights
from selfdrive_env.training.network import Networks

__all__ = ["Acts", "OnePass"]

LEAST = 64
"""Rows below which a thread of its own is not worth waking."""


class Acts(NamedTuple):
    """Where what is done in a step goes to, [B] each."""

    actions: Tensor
    log_probabilities: Tensor
    values: Tensor


class OnePass:
    """Both networks without a pass for each layer, each thread with a part of the rows.

    Torch uses one thread until `close`: threads of its own would wait for each other after every
    product, which costs more than it saves where rows are few or the cores are shared.

    Args:
        networks: Actor and critic; their gradients are tensors of this object from now on.
    """

    def __init__(self, networks: Networks) -> None:
        self.networks = networks
        self.shared = Shared(networks)
        self._threads = torch.get_num_threads()
        torch.set_num_threads(1)
        self.layers = [Layers(self.shared) for _ in range(self._threads)]
        others = self._threads - 1
        self._pool = (
            ThreadPoolExecutor(others, "selfdrive_env_learner", torch.set_num_threads, (1,))
            if others
            else None
        )
        self._give_gradients()

    @staticmethod
    def fits(networks: Networks, device: torch.device) -> bool:
        """Returns whether these networks are of the kind that this is made for."""
        encoder = networks.encoders[0]
        alone = len(networks.encoders) == 1 and len(networks.actor.trunk) > 0
        return (
            device.type == "cpu" and alone and isinstance(encoder, Encoder) and encoder.in_one_pass
        )

    def close(self) -> None:
        """Ends the threads, and gives torch those that it had."""
        if self._pool is not None:
            self._pool.shutdown()
        torch.set_num_threads(self._threads)

    def _give_gradients(self) -> None:
        """Makes the parameters' gradients parts of the first thread's vector, where they can be."""
        networks, own = self.networks, self.layers[0]
        encoder = self.shared.encoder
        for parameter in encoder.elements.parameters():
            parameter.grad = torch.zeros_like(parameter)
        pairs = [(linear(encoder.scalar), own.scalar.gradients)]
        heads = (networks.actor, networks.critic)
        for head, part, trunk in zip(heads, self.shared.parts, own.trunks, strict=True):
            first = own.first.gradients
            layers = [linear(one) for one in (*head.trunk, head.head)]
            parts = [Linear(*(one[part] for one in first)), *(dense.gradients for dense in trunk)]
            pairs += zip(layers, parts, strict=True)
        for layer, gradients in pairs:
            layer.weight.grad, layer.bias.grad = gradients

    def load(self) -> None:
        """Takes over the weights of the networks; to be called after each change of them."""
        self.shared.load()

    def _shares(self, count: int) -> int:
        """Returns among how many threads so many rows are divided."""
        return max(min(self._threads, count // LEAST), 1)

    def _over(self, count: int, work: Callable[[Layers, slice], Any]) -> None:
        """Lets each thread do its part of so many rows, in pieces."""
        shares = self._shares(count)
        ends = [count * number // shares for number in range(shares + 1)]

        def part(number: int) -> None:
            with torch.no_grad():
                for begin in range(ends[number], ends[number + 1], PIECE):
                    work(self.layers[number], slice(begin, min(begin + PIECE, ends[number + 1])))

        if self._pool is None or shares == 1:
            part(0)
            return
        others = [self._pool.submit(part, number) for number in range(1, shares)]
        part(0)
        for other in others:
            other.result()

    def act(self, rows: Tensor, draws: Tensor, acts: Acts) -> None:
        """Draws actions of the policy.

        Args:
            rows: Observations, [B, features].
            draws: Uniform in [0, 1), [B].
            acts: Receives actions, the logarithms of their chances and the rows' values.
        """
        rows, networks = rows.float(), self.networks

        def work(layers: Layers, piece: slice) -> None:
            logits, values = layers.forward(rows[piece])
            given = (draws[piece], acts.actions[piece], acts.log_probabilities[piece])
            choose(logits.numpy(), *(one.numpy() for one in given))
            unit = networks.value_scale
            torch.addcmul(networks.value_mean, values[:, 0], unit, out=acts.values[piece])

        self._over(len(rows), work)

    def learn(self, learnt: Learnt, index: Tensor, weights: Weights, size: int) -> Tensor:
        """Leaves the gradients of the loss in the parameters.

        Args:
            learnt: What is learnt from.
            index: Transitions of the minibatch, int64 [B].
            weights: Of the loss.
            size: By which it is divided.

        Returns:
            Sums of policy loss, value loss, entropy and divergence, float64 [4].
        """
        self.load()
        settings = torch.tensor((1.0 / size, *weights))
        common = [one.numpy() for one in (learnt.actions, learnt.figures, settings)]
        used = self.layers[: self._shares(len(index))]
        sums = torch.zeros(len(used), 4, dtype=torch.float64)
        sums_of = {id(own): line.numpy() for own, line in zip(used, sums, strict=True)}
        for own in used:
            own.vector.zero_()

        def work(layers: Layers, piece: slice) -> None:
            chosen = index[piece]
            rows = layers.rows[: len(chosen)]
            if learnt.observations.dtype == rows.dtype:
                torch.index_select(learnt.observations, 0, chosen, out=rows)
            else:
                rows.copy_(learnt.observations[chosen])
            out = [one.numpy() for one in layers.forward(rows)]
            pulls = [trunk[-1].d_out[: len(rows)].numpy() for trunk in layers.trunks]
            add_loss(*out, chosen.numpy(), *common, *pulls, sums_of[id(layers)])
            layers.backward(rows)

        self._over(len(index), work)
        for own in used[1:]:
            self.layers[0].vector.add_(own.vector)
        self._hand_out()
        return sums.sum(0)

    def _hand_out(self) -> None:
        """Copies the gradients of the sets' networks, which are turned here, to the parameters."""
        base, own, encoder = 0, self.layers[0], self.shared.encoder
        columns = encoder.plan[:, 2].tolist()
        for number, name in enumerate(encoder.sets):
            end = base + columns[number]
            turned = (own.inner[base:end].t(), own.outer[number].t())
            for place, gradient in enumerate(turned):
                parameter = encoder.get_parameter(f"elements.{name}.{place}.weight")
                assert parameter.grad is not None
                parameter.grad.copy_(gradient)
            base = end
