"""Sets in one pass against the plain layers of torch, on rows of the environment and odd shapes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from selfdrive_env.envs import make_self_play
from selfdrive_env.policies.deep_sets import CHUNK, SetWeights, backward, encode
from selfdrive_env.state.arrays import F32


def by_torch(rows: F32, weights: SetWeights, grad_output: F32) -> tuple[F32, F32, F32]:
    """What the sets come to and both gradients, layer by layer."""
    inner = torch.tensor(weights.inner, requires_grad=True)
    outer = torch.tensor(weights.outer, requires_grad=True)
    parts, base = [], 0
    for number, (first, slots, columns) in enumerate(weights.plan.tolist()):
        x = torch.from_numpy(rows[:, first : first + slots * columns]).reshape(-1, columns, slots)
        x = x.transpose(1, 2)
        hidden = torch.relu(x @ inner[base : base + columns])
        parts.append(torch.relu((hidden @ outer[number]).amax(1)))
        base += columns
    out = torch.stack(parts, 1)
    out.backward(torch.from_numpy(grad_output))
    assert inner.grad is not None and outer.grad is not None
    return out.detach().numpy(), inner.grad.numpy(), outer.grad.numpy()


def random_case(
    seed: int, sets: list[tuple[int, int]], widths: tuple[int, int], rows: int, used: float
) -> tuple[F32, SetWeights, F32]:
    """Rows of sets (slots, columns) one behind the other, some slots empty."""
    random = np.random.default_rng(seed)
    plan, parts, first = [], [np.ones((rows, 3), np.float32)], 3
    for slots, columns in sets:
        table = random.normal(size=(rows, slots, columns)).astype(np.float32)
        table[..., -1] = 1.0
        table[random.random((rows, slots)) >= used] = 0.0
        plan.append((first, slots, columns))
        parts.append(table.transpose(0, 2, 1).reshape(rows, -1))
        first += slots * columns
    inner = random.normal(size=(sum(c for _, c in sets), widths[0])).astype(np.float32)
    outer = random.normal(size=(len(sets), *widths)).astype(np.float32)
    grad_output = random.normal(size=(rows, len(sets), widths[1])).astype(np.float32)
    return np.concatenate(parts, 1), SetWeights(np.array(plan), inner, outer), grad_output


def assert_alike(found: Any, wanted: Any) -> None:
    np.testing.assert_allclose(found, wanted, rtol=2e-4, atol=2e-4 * max(np.abs(wanted).max(), 1))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    sets=st.lists(st.tuples(st.integers(1, 11), st.integers(1, 12)), min_size=1, max_size=3),
    widths=st.tuples(st.sampled_from((16, 32, 48)), st.sampled_from((16, 32))),
    rows=st.integers(1, 40),
    used=st.sampled_from((0.0, 0.3, 1.0)),
)
def test_values_and_gradients_are_those_of_plain_layers(
    seed: int, sets: list[tuple[int, int]], widths: tuple[int, int], rows: int, used: float
) -> None:
    observations, weights, grad_output = random_case(seed, sets, widths, rows, used)
    out, best = encode(observations, weights)
    wanted = by_torch(observations, weights, grad_output)
    assert_alike(out, wanted[0])
    assert ((best < 0) == (out == 0)).all()
    for found, gradient in zip(
        backward(observations, weights, best, grad_output), wanted[1:], strict=True
    ):
        assert_alike(found, gradient)


def test_rows_of_the_environment() -> None:
    from selfdrive_env.policies.deep_sets import set_plan

    env = make_self_play(64, map="riverside", layout="lean", num_threads=1)
    rows = env.reset(seed=3)[0]
    for step in range(20):
        rows = env.step(np.full(64, step % 12))[0]
    plan = set_plan(env.layout)[1]
    random = np.random.default_rng(0)
    inner = random.normal(size=(plan[:, 2].sum(), 32)).astype(np.float32)
    weights = SetWeights(plan, inner, random.normal(size=(len(plan), 32, 16)).astype(np.float32))
    grad_output = random.normal(size=(64, len(plan), 16)).astype(np.float32)
    out, best = encode(rows, weights)
    wanted = by_torch(rows, weights, grad_output)
    assert_alike(out, wanted[0])
    for found, gradient in zip(backward(rows, weights, best, grad_output), wanted[1:], strict=True):
        assert_alike(found, gradient)
    assert len(np.unique(best)) > 5
    env.close()


@pytest.mark.parametrize("rows", (1, CHUNK, 3 * CHUNK + 7))
def test_threads_change_no_bit(rows: int) -> None:
    observations, weights, grad_output = random_case(5, [(6, 7), (4, 5)], (32, 16), rows, 0.7)
    out, best = encode(observations, weights)
    gradients = backward(observations, weights, best, grad_output)
    for threads in (2, 3):
        again, where = encode(observations, weights, threads)
        assert np.array_equal(out, again) and np.array_equal(best, where)
        for a, b in zip(
            gradients, backward(observations, weights, best, grad_output, threads), strict=True
        ):
            assert np.array_equal(a, b)


def test_rows_without_a_set_in_use_have_no_gradient() -> None:
    observations, weights, grad_output = random_case(1, [(3, 4)], (16, 16), 5, 0.0)
    out, best = encode(observations, weights)
    inner, outer = backward(observations, weights, best, grad_output)
    assert not out.any() and (best == -1).all() and not inner.any() and not outer.any()
