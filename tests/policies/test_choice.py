"""Which action a policy takes, against a slow oracle; in NumPy and in torch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfdrive_env.policies.choice import lateral_choices, likeliest
from selfdrive_env.policies.numpy_policy import load_policy


def oracle(logits: list[float], laterals: int) -> int:
    """Sums of chances, one after the other."""
    chances = [math.exp(one - max(logits)) for one in logits]
    rows = [chances[first : first + laterals] for first in range(0, len(chances), laterals)]
    longitudinal = max(range(len(rows)), key=lambda n: (math.fsum(rows[n]), -n))
    lateral = max(range(laterals), key=lambda n: (rows[longitudinal][n], -n))
    return longitudinal * laterals + lateral


@st.composite
def rows(draw: Any) -> tuple[np.ndarray, int]:
    """Logits of 1 to 4 rows that have no two sums too near to tell apart, and their laterals."""
    laterals = draw(st.integers(1, 4))
    longs = draw(st.integers(1, 4))
    value = st.integers(-600, 200).map(lambda one: one / 16)
    row = st.lists(value, min_size=longs * laterals, max_size=longs * laterals)
    return np.array(draw(st.lists(row, min_size=1, max_size=4)), np.float32), laterals


@settings(deadline=None, max_examples=300)
@given(drawn=rows())
def test_the_choice_is_that_of_an_oracle(drawn: tuple[np.ndarray, int]) -> None:
    logits, laterals = drawn
    chances = np.exp(logits.astype(np.float64)).reshape(len(logits), -1, laterals).sum(2)
    found = likeliest(logits, laterals)
    assert found.dtype == np.int64
    for row, action, sums in zip(logits.tolist(), found.tolist(), chances, strict=True):
        first, second = [*sorted(sums, reverse=True), 0.0][:2]
        if first > second * (1.0 + 1e-9):
            assert action == oracle(row, laterals)


def test_braking_that_is_spread_over_lateral_jerks_is_chosen() -> None:
    chances = np.array([[0.25, 0.25, 0.2, 0.1, 0.1, 0.1], [0.0, 0.3, 0.0, 0.7, 0.0, 0.0]]) + 1e-9
    braking = np.array([[0.2, 0.22, 0.2, 0.38, 0.0, 0.0]]) + 1e-9
    assert likeliest(np.log(chances), 3).tolist() == [0, 3]
    assert np.log(braking).argmax(1).tolist() == [3]
    assert likeliest(np.log(braking), 3).tolist() == [1]
    assert likeliest(np.log(braking), 6).tolist() == [3]
    assert likeliest(np.zeros((0, 6), np.float32), 3).shape == (0,)


@pytest.mark.parametrize(
    ("actions", "env", "laterals"),
    [
        (12, {}, 3),
        (12, None, 3),
        (20, {"jerk_lat": [-4, -1, 0, 1, 4]}, 5),
        (6, {"jerk_long": [-4, 4]}, 3),
        (7, {}, 7),
        (12, {"jerk_lat": 3}, 12),
        (12, {"jerk_lat": []}, 12),
        (4, {"jerk_lat": [0.0]}, 1),
        (81, {"dynamics": "bicycle"}, 9),
        (15, {"dynamics": "bicycle", "action_bins": [3, 5]}, 5),
        (24, {"dynamics": "delta_local", "action_bins": [2, 3, 4]}, 12),
        (12, {"dynamics": "bicycle", "action_bins": 5}, 12),
        (12, {"dynamics": "hovercraft", "action_bins": 3}, 12),
        (12, {"dynamics": 7}, 12),
        (9, {"dynamics": "bicycle", "action_bins": "3"}, 9),
    ],
)
def test_how_many_lateral_jerks_there_are(actions: int, env: Any, laterals: int) -> None:
    assert lateral_choices(actions, env) == laterals


def test_the_shipped_policy_takes_the_likeliest_jerks_and_draws_on_request() -> None:
    policy = load_policy("selfplay")
    random = np.random.default_rng(1)
    # Rows in the middle of the range, in which it is not sure of everything.
    observations = random.uniform(-0.2, 0.2, (400, policy.features)).astype(np.float32)
    logits = policy.logits(observations)
    actions = policy.act(observations)
    assert actions.tolist() == [oracle(row, 3) for row in logits.tolist()]
    assert (actions != logits.argmax(1)).any()
    drawn = policy.act(observations[:1].repeat(4000, 0), deterministic=False)
    chances = np.exp(logits[0] - logits[0].max())
    shares = np.bincount(drawn, minlength=12) / 4000.0
    np.testing.assert_allclose(shares, chances / chances.sum(), atol=0.04)


def test_torch_and_numpy_choose_alike() -> None:
    torch = pytest.importorskip("torch")
    from selfdrive_env.training.policy import likeliest as of_tensors

    random = np.random.default_rng(2)
    logits = random.normal(0.0, 2.0, (2000, 12)).astype(np.float32)
    found = of_tensors(torch.log_softmax(torch.from_numpy(logits), 1), 3)
    assert found.dtype == torch.int64
    np.testing.assert_array_equal(found.numpy(), likeliest(logits, 3))
    assert of_tensors(torch.zeros((0, 12)), 3).shape == (0,)
