"""What the learner does with each row between the matrix products, compiled.

Torch takes a pass over memory and some microseconds for each of these operations; here a pass does
all that a row needs. A: actions, B: rows, N: transitions of a rollout.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from selfdrive_env.compiler.cache import cached
from selfdrive_env.compiler.njit import host, njit

__all__ = ["add_loss", "choose", "compile_all", "kernels", "rectify_back"]

SOURCES = ("training/gradients/kernels.py", "compiler")
ZERO, HALF, ONE = np.float32(0.0), np.float32(0.5), np.float32(1.0)


@njit
def softmax(logits, chances):
    """Writes the chances that logits [A] mean; returns what to subtract for their logarithms."""
    largest = logits[0]
    for action in range(1, len(logits)):
        largest = max(largest, logits[action])
    total = ZERO
    for action in range(len(logits)):
        chances[action] = np.float32(math.exp(logits[action] - largest))
        total += chances[action]
    for action in range(len(logits)):
        chances[action] /= total
    return largest + np.float32(math.log(total))


def _choose(logits, draws, actions, log_probabilities):
    """Takes of each row the action at which the cumulated probability passes its draw.

    Args:
        logits: [B, A].
        draws: Uniform in [0, 1), [B].
        actions: Receives them, int64 [B].
        log_probabilities: Receives the logarithms of their chances, [B].
    """
    chances = np.empty(logits.shape[1], np.float32)
    for row in range(len(logits)):
        shift = softmax(logits[row], chances)
        passed = ZERO
        action = 0
        for one in range(len(chances) - 1):
            passed += chances[one]
            if passed > draws[row]:
                break
            action = one + 1
        actions[row] = action
        log_probabilities[row] = logits[row, action] - shift


def _add_loss(logits, values, index, taken, learnt, settings, d_logits, d_values, sums):
    """Writes the gradients of the loss of each row, and adds up its terms.

    Args:
        logits: [B, A].
        values: What the critic's last layer gives, [B, 1].
        index: Which transitions the rows are, int64 [B].
        taken: Actions of all transitions, int64 [N].
        learnt: Of all transitions the logarithm of the action's chance when it was taken, the
            normalised advantage and what the critic's last layer should give, [3, N].
        settings: Weight of each row, clip, weight of the entropy, weight of the value loss, [4].
        d_logits: Receives gradients, [B, A].
        d_values: Likewise, [B, 1].
        sums: Policy loss, value loss, entropy and divergence are added to, float64 [4].
    """
    share, clip, entropy_weight, value_weight = settings[0], settings[1], settings[2], settings[3]
    for row in range(len(index)):
        one = index[row]
        action = taken[one]
        chances, line = d_logits[row], logits[row]
        shift = softmax(line, chances)
        change = line[action] - shift - learnt[0, one]
        ratio = np.float32(math.exp(change))
        clipped = min(max(ratio, ONE - clip), ONE + clip)
        gain, clipped_gain = learnt[1, one] * ratio, learnt[1, one] * clipped
        # Where the clipped gain is the smaller one it does not depend on the action's chance.
        rise = gain if gain <= clipped_gain or clipped == ratio else ZERO
        entropy = ZERO
        for other in range(len(line)):
            entropy -= chances[other] * (line[other] - shift)
        for other in range(len(line)):
            slope = rise + entropy_weight * (line[other] - shift + entropy)
            chances[other] *= share * slope
        chances[action] -= share * rise
        error = values[row, 0] - learnt[2, one]
        d_values[row, 0] = share * value_weight * error
        sums[0] -= min(gain, clipped_gain)
        sums[1] += HALF * error * error
        sums[2] += entropy
        sums[3] += ratio - ONE - change


def _rectify_back(gradient, outputs, columns, bias):
    """Takes gradients through a rectifier in place, and adds those of the bias before it.

    Args:
        gradient: Of the outputs, [B, width].
        outputs: Of the rectifier, [B, width].
        columns: Number of the first columns to do so for.
        bias: Its gradient is added to, [columns].
    """
    sums = np.zeros(columns, np.float32)
    for row in range(len(gradient)):
        line, out = gradient[row], outputs[row]
        for column in range(columns):
            value = line[column] if out[column] > ZERO else ZERO
            line[column] = value
            sums[column] += value
    for column in range(columns):
        bias[column] += sums[column]


_compiled: dict[str, Any] = {}


def _kernel(function: Callable[..., None]) -> Any:
    """Returns a function compiled, when it is first asked for."""
    name = function.__name__.strip("_")
    if name not in _compiled:
        _compiled[name] = cached(host(function, contract=True), SOURCES)
    return _compiled[name]


def kernels() -> dict[str, Any]:
    """Returns name -> compiled function, of all there are."""
    return {one.__name__.strip("_"): _kernel(one) for one in (_choose, _add_loss, _rectify_back)}


def compile_all() -> None:
    """Runs every kernel on one row, so that the cache has them."""
    row, one, action = np.zeros((1, 1), np.float32), np.zeros(1, np.float32), np.zeros(1, np.int64)
    choose(row, one, action, one.copy())
    add_loss(row, row, action, action, np.zeros((3, 1), np.float32), np.zeros(4, np.float32),
             row.copy(), row.copy(), np.zeros(4))  # fmt: skip
    rectify_back(row, row, 1, one)


def choose(*arguments: Any) -> None:
    """Calls `_choose`."""
    _kernel(_choose)(*arguments)


def add_loss(*arguments: Any) -> None:
    """Calls `_add_loss`."""
    _kernel(_add_loss)(*arguments)


def rectify_back(*arguments: Any) -> None:
    """Calls `_rectify_back`."""
    _kernel(_rectify_back)(*arguments)
