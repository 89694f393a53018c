"""A trained policy that drives on the CPU with NumPy alone."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.policies.choice import lateral_choices, likeliest
from selfdrive_env.policies.deep_sets import (
    SIMD_WIDTH,
    SetWeights,
    dense,
    encode,
    scalars_of,
    set_plan,
)
from selfdrive_env.policies.files import PolicyFile
from selfdrive_env.state.arrays import F32, I64

__all__ = ["NumpyPolicy", "load_policy"]

Layer = tuple[F32, F32]
"""Weights [outputs, inputs] and bias [outputs]."""


class NumpyPolicy:
    """The actor of a policy file: Deep Sets, then a perceptron.

    Args:
        file: What was read.
        threads: Number of threads.
    """

    def __init__(self, file: PolicyFile, threads: int = 1) -> None:
        self.description, self.layout, self.path = file.description, file.layout, file.path
        self.features = file.layout.width
        self.threads = threads
        sizes = file.description["sizes"]
        names, self._plan = set_plan(file.layout)
        self._scalars = scalars_of(file.layout)

        def linear(name: str, inputs: int, outputs: int) -> Layer:
            weight = file.weight(f"{name}.weight", outputs, inputs)
            return weight, file.weight(f"{name}.bias", outputs)

        self._scalar = linear("encoders.0.scalar", self._scalars.stop, sizes["scalar_width"])
        self._elements = []
        for name, (_, _, columns) in zip(names, self._plan.tolist(), strict=True):
            element, widths = f"encoders.0.elements.{name}", [columns, *sizes["set_widths"]]
            self._elements.append(
                [
                    file.weight(f"{element}.{place}.weight", widths[place + 1], inputs)
                    for place, inputs in enumerate(widths[:-1])
                ]
            )
        widths = [sizes["scalar_width"] + len(names) * sizes["set_widths"][-1]]
        widths += sizes["trunk_widths"]
        self._trunk = [
            linear(f"actor.trunk.{place}", inputs, widths[place + 1])
            for place, inputs in enumerate(widths[:-1])
        ]
        self._trunk.append(linear("actor.head", widths[-1], file.description["actions"]))
        self._sets = self._in_one_pass()
        self._laterals = lateral_choices(file.description["actions"], file.description.get("env"))
        self._random = np.random.default_rng(0)

    def _in_one_pass(self) -> SetWeights | None:
        """Returns the weights as `encode` takes them, None if it does not take such networks."""
        if not self._elements or any(
            len(layers) != 2 or any(len(weight) % SIMD_WIDTH for weight in layers)
            for layers in self._elements
        ):
            return None
        inner = np.concatenate([first.T for first, _ in self._elements])
        outer = np.stack([second.T for _, second in self._elements])
        return SetWeights(self._plan, inner, np.ascontiguousarray(outer))

    def logits(self, observations: Any) -> F32:
        """Returns the logarithms of the actions' chances up to a constant, float32 [B, actions].

        Args:
            observations: Rows of this policy's layout, [B, features].
        """
        if isinstance(observations, Mapping) or np.ndim(observations) > 2:
            raise ValueError(
                f"observations must be rows of {self.features} columns, by which this policy "
                "drives, got pictures: it needs observation='state'"
            )
        rows = np.ascontiguousarray(observations, np.float32)
        if rows.ndim != 2 or rows.shape[1] != self.features:
            raise ValueError(
                f"observations must be rows of {self.features} columns ({self.layout}), got shape "
                f"{rows.shape}"
            )
        weight, bias = self._scalar
        parts = [np.maximum(self._product(rows[:, self._scalars], weight) + bias, 0.0)]
        if self._sets is not None:
            found = encode(rows, self._sets, self.threads)[0]
            parts.append(found.reshape(len(rows), math.prod(found.shape[1:])))
        else:
            parts += [self._largest(rows, place) for place in range(len(self._elements))]
        x: F32 = np.concatenate(parts, 1)
        for weight, bias in self._trunk[:-1]:
            x = np.maximum(self._product(x, weight) + bias, 0.0)
        weight, bias = self._trunk[-1]
        out: F32 = self._product(x, weight) + bias
        return out

    def _largest(self, rows: F32, number: int) -> F32:
        """Returns what a set comes to, for networks of any shape."""
        first, slots, columns = self._plan[number].tolist()
        planes = rows[:, first : first + slots * columns].reshape(len(rows), columns, slots)
        x = planes.transpose(0, 2, 1).reshape(-1, columns)
        for weight in self._elements[number]:
            x = np.maximum(self._product(x, weight), 0.0)
        largest: F32 = x.reshape(len(rows), slots, x.shape[1]).max(1)
        return largest

    def _product(self, x: F32, weight: F32) -> F32:
        return dense(x, weight.T, self.threads)

    def act(self, observations: Any, *, deterministic: bool = True) -> I64:
        """Returns an action for each row, int64 [B].

        Args:
            observations: Rows of this policy's layout, [B, features].
            deterministic: Whether to take the likeliest longitudinal jerk and the likeliest lateral
                one with it, or draw an action.
        """
        logits = self.logits(observations)
        if deterministic:
            return likeliest(logits, self._laterals)
        # The largest of logits plus Gumbel noise is a sample.
        logits = logits + self._random.gumbel(size=logits.shape).astype(np.float32)
        actions: NDArray[np.int64] = logits.argmax(1)
        return actions

    def seed(self, seed: int) -> None:
        """Starts the random numbers of `act` anew."""
        self._random = np.random.default_rng(seed)


Policy = NumpyPolicy
"""The earlier name."""


def load_policy(name: str | os.PathLike[str], *, threads: int = 1) -> NumpyPolicy:
    """Returns a trained policy to drive with on the CPU; it needs no torch.

    Args:
        name: "selfplay" (comes with the package), the folder of a run, one of its checkpoints, or
            a policy file that ends in .safetensors.
        threads: Number of threads.

    Raises:
        ValueError: If there is no such file, or it is damaged, none of ours, of another version or
            of another observation layout.
    """
    return NumpyPolicy(PolicyFile.read(name), threads)
