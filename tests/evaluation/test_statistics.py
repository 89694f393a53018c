from __future__ import annotations

import math

import pytest

from selfdrive_env.evaluation.statistics import (
    event_rate,
    km_between,
    paired_difference,
    paired_ratio,
    poisson_interval,
    student_quantile,
)


# From tables of the exact Poisson interval (Garwood 1936) and of Student's t.
@pytest.mark.parametrize(
    ("count", "low", "high"),
    [
        (0, 0.0, 3.6889),
        (1, 0.0253, 5.5716),
        (2, 0.2422, 7.2247),
        (5, 1.6235, 11.6683),
        (10, 4.7954, 18.3904),
        (100, 81.3640, 121.6268),
    ],
)
def test_poisson_interval_is_that_of_the_tables(count: int, low: float, high: float) -> None:
    assert poisson_interval(count) == pytest.approx((low, high), abs=6e-5)


def test_poisson_interval_of_many_is_nearly_normal() -> None:
    count = 40_000
    low, high = poisson_interval(count)
    reach = 1.959964 * math.sqrt(count)
    assert low == pytest.approx(count - reach, abs=3.0)
    assert high == pytest.approx(count + reach, abs=3.0)


def test_a_higher_confidence_gives_a_wider_interval() -> None:
    narrow, wide = poisson_interval(7, 0.9), poisson_interval(7, 0.99)
    assert wide[0] < narrow[0] < 7 < narrow[1] < wide[1]


def test_km_between_incidents_turns_the_rate_round() -> None:
    assert km_between(5, 100.0) == pytest.approx((20.0, 100.0 / 11.6683, 100.0 / 1.6235), rel=1e-4)


def test_without_incidents_the_upper_end_is_open() -> None:
    between = km_between(0, 100.0)
    assert between.mean is None
    assert between.high is None
    assert between.low == pytest.approx(100.0 / 3.6889, rel=1e-4)


def test_a_rate_is_that_of_the_tables_over_the_exposure() -> None:
    assert event_rate(5, 2.0) == pytest.approx((2.5, 1.6235 / 2, 11.6683 / 2), rel=1e-4)
    assert event_rate(0, 2.0) == pytest.approx((0.0, 0.0, 3.6889 / 2), rel=1e-4)
    assert event_rate(0, 0.0) == (None, None, None)


@pytest.mark.parametrize(
    ("freedom", "value"), [(1, 12.7062), (3, 3.18245), (10, 2.22814), (30, 2.04227)]
)
def test_student_quantile_is_that_of_the_tables(freedom: int, value: float) -> None:
    assert student_quantile(0.975, freedom) == pytest.approx(value, rel=1e-5)


def test_paired_difference_by_hand() -> None:
    difference = paired_difference([1.0, 2.0, 6.0], [0.0, 0.0, 3.0])  # 1, 2, 3
    reach = 4.30265 / math.sqrt(3.0)
    assert difference == pytest.approx((2.0, 2.0 - reach, 2.0 + reach), rel=1e-5)


def test_one_pair_has_no_interval() -> None:
    assert paired_difference([3.0], [1.0]) == (2.0, None, None)


def test_pairs_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="same seeds"):
        paired_difference([1.0], [1.0, 2.0])


FIRST, SECOND = [8.0, 9.5, 7.0, 10.0], [10.0, 11.0, 9.0, 10.5]


def test_at_the_ends_of_a_ratio_the_difference_may_just_be_none() -> None:
    """Which is how Fieller's interval is defined."""
    ratio = paired_ratio(FIRST, SECOND)
    assert ratio.mean == pytest.approx(sum(FIRST) / sum(SECOND))
    assert ratio.low < ratio.mean < ratio.high  # type: ignore[operator]
    low, high = (
        paired_difference(FIRST, [end * value for value in SECOND])  # type: ignore[operator]
        for end in ratio[1:]
    )
    assert low.low == pytest.approx(0.0, abs=1e-9)
    assert high.high == pytest.approx(0.0, abs=1e-9)


def test_a_ratio_of_proportional_pairs_is_certain() -> None:
    assert paired_ratio([9.0, 10.0, 8.0], [18.0, 20.0, 16.0]) == pytest.approx((0.5,) * 3)


def test_a_ratio_has_open_ends_where_its_divisor_may_be_none() -> None:
    assert paired_ratio([1.0, 2.0], [0.1, 5.0]) == (pytest.approx(3.0 / 5.1), None, None)
    assert paired_ratio([3.0], [2.0]) == (1.5, None, None)
    assert paired_ratio([3.0, 1.0], [0.0, 0.0]) == (None, None, None)
    with pytest.raises(ValueError, match="same seeds"):
        paired_ratio([1.0], [1.0, 2.0])


@pytest.mark.parametrize("values", [(-1, 0.95), (1, 0.0), (1, 1.0)])
def test_impossible_counts_are_refused(values: tuple[int, float]) -> None:
    with pytest.raises(ValueError, match="count"):
        poisson_interval(*values)
