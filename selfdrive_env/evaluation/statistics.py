"""Intervals for what an evaluation counts: rates of rare events, and paired differences.

A number n of incidents over L kilometres is taken as Poisson with mean rate * L. The interval of
the rate is the exact one (Garwood, "Fiducial limits for the Poisson distribution", Biometrika 28,
1936): its ends are quantiles of Gamma distributions, found here by bisection. Differences between
policies are taken seed by seed, with Student's t, and ratios with Fieller's interval ("Some
problems in interval estimation", Journal of the Royal Statistical Society B 16, 1954).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    *("Interval", "event_rate", "km_between", "paired_difference", "paired_ratio"),
    *("poisson_interval", "student_quantile"),
]

CONFIDENCE = 0.95
BISECTIONS = 200
PANELS = 2000


class Interval(NamedTuple):
    """An estimate with the ends of its interval; None stands for an end that is open."""

    mean: float | None
    low: float | None
    high: float | None


def _tails(count: int, mean: float) -> tuple[float, float]:
    """Returns P(N <= count) and P(N >= count) of a Poisson number."""
    if mean <= 0.0:
        return 1.0, float(count == 0)
    spread = 12.0 * math.sqrt(mean + count + 1.0) + 40.0

    def total(first: float, last: float) -> float:
        numbers = np.arange(max(0, math.floor(first)), math.floor(last) + 1)
        if not len(numbers):
            return 0.0
        logs = numbers * math.log(mean) - mean - _log_factorials(numbers)
        return float(np.exp(logs).sum())

    below = total(min(count, mean) - spread, count)
    above = total(count, max(count, mean) + spread)
    return below, above


def _log_factorials(numbers: NDArray[Any]) -> NDArray[Any]:
    """Returns log(n!) of consecutive numbers."""
    first = int(numbers[0])
    logs = np.concatenate([[math.lgamma(first + 1.0)], np.log(numbers[1:])])
    return np.cumsum(logs)


def _root(rises: Callable[[float], bool], high: float) -> float:
    """Returns where a condition that fails at 0 and holds at `high` begins to hold."""
    low = 0.0
    for _ in range(BISECTIONS):
        middle = 0.5 * (low + high)
        if middle in (low, high):
            break
        low, high = (low, middle) if rises(middle) else (middle, high)
    return high


def poisson_interval(count: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Returns the exact interval of the mean of a Poisson number that came out as `count`.

    low solves P(N >= count | low) = (1 - confidence) / 2, high solves P(N <= count | high) = same;
    low is 0 for a count of 0.

    Args:
        count: Events seen.
        confidence: Between 0 and 1.
    """
    if count < 0 or not 0.0 < confidence < 1.0:
        raise ValueError(f"need count >= 0 and 0 < confidence < 1, got {count}, {confidence}")
    tail = 0.5 * (1.0 - confidence)
    limit = count + 20.0 * math.sqrt(count + 1.0) + 20.0 - math.log(tail)
    low = 0.0
    if count > 0:
        low = _root(lambda mean: _tails(count, mean)[1] >= tail, float(count))
    return low, _root(lambda mean: _tails(count, mean)[0] <= tail, limit)


def km_between(count: int, km: float, confidence: float = CONFIDENCE) -> Interval:
    """Returns the kilometres between events, with the exact Poisson interval of their rate.

    Args:
        count: Events seen.
        km: Driven [km].
        confidence: Between 0 and 1.

    Returns:
        mean = km / count [km]; without events mean and upper end are open (None).
    """
    fewest, most = poisson_interval(count, confidence)
    if count == 0:
        return Interval(None, km / most, None)
    return Interval(km / count, km / most, km / fewest)


def event_rate(count: int, exposure: float, confidence: float = CONFIDENCE) -> Interval:
    """Returns events per unit of exposure, such as per agent-hour, with the exact interval.

    Args:
        count: Events seen.
        exposure: Over which they were counted; without any, all is open (None).
        confidence: Between 0 and 1.
    """
    fewest, most = poisson_interval(count, confidence)
    if exposure <= 0.0:
        return Interval(None, None, None)
    return Interval(count / exposure, fewest / exposure, most / exposure)


def student_quantile(probability: float, freedom: int) -> float:
    """Returns the quantile of Student's t for a probability above one half.

    With x = tan(u) sqrt(freedom) the distribution is an integral of cos(u)^(freedom - 1), taken by
    Simpson's rule.

    Args:
        probability: From 0.5 to below 1.
        freedom: Degrees of freedom, at least 1.
    """
    if not 0.5 <= probability < 1.0 or freedom < 1:
        raise ValueError(
            f"need 0.5 <= probability < 1 and freedom >= 1, got {probability}, {freedom}"
        )
    scale = math.exp(math.lgamma(0.5 * (freedom + 1)) - math.lgamma(0.5 * freedom))
    scale /= math.sqrt(math.pi)

    def reached(angle: float) -> bool:
        u = np.linspace(0.0, angle, 2 * PANELS + 1)
        weight = np.ones_like(u)
        weight[1:-1:2], weight[2:-1:2] = 4.0, 2.0
        integral = angle / (6.0 * PANELS) * float((weight * np.cos(u) ** (freedom - 1)).sum())
        return 0.5 + scale * integral >= probability

    return math.tan(_root(reached, 0.5 * math.pi)) * math.sqrt(freedom)


def paired_difference(
    first: Sequence[float], second: Sequence[float], confidence: float = CONFIDENCE
) -> Interval:
    """Returns the mean of first - second over pairs with the interval of Student's t.

    Args:
        first: One value a seed.
        second: Values of the same seeds.
        confidence: Between 0 and 1.

    Returns:
        The mean difference; with a single pair both ends are open (None).
    """
    if len(first) != len(second) or not len(first):
        raise ValueError(f"need the same seeds for both, got {len(first)} and {len(second)}")
    difference = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    mean = float(difference.mean())
    if len(difference) == 1:
        return Interval(mean, None, None)
    error = float(difference.std(ddof=1)) / math.sqrt(len(difference))
    reach = student_quantile(0.5 * (1.0 + confidence), len(difference) - 1) * error
    return Interval(mean, mean - reach, mean + reach)


def paired_ratio(
    first: Sequence[float], second: Sequence[float], confidence: float = CONFIDENCE
) -> Interval:
    """Returns mean(first) / mean(second) over pairs with Fieller's interval.

    It holds the ratios rho for which first - rho * second has, by Student's t, a mean that may be
    0; it is exact where the pairs are normal.

    Args:
        first: One value a seed.
        second: Values of the same seeds.
        confidence: Between 0 and 1.

    Returns:
        The ratio, None where the divisor is 0; both ends are open (None) with a single pair, and
        where the divisor itself may be 0.
    """
    if len(first) != len(second) or not len(first):
        raise ValueError(f"need the same seeds for both, got {len(first)} and {len(second)}")
    pairs = np.array([first, second], np.float64)
    (over, under), number = pairs.mean(1).tolist(), pairs.shape[1]
    if under == 0.0:
        return Interval(None, None, None)
    if number == 1:
        return Interval(over / under, None, None)
    quantile = student_quantile(0.5 * (1.0 + confidence), number - 1)
    spread = quantile**2 / number * np.cov(pairs)
    square = under**2 - float(spread[1, 1])
    if square <= 0.0:
        return Interval(over / under, None, None)
    middle = over * under - float(spread[0, 1])
    root = math.sqrt(max(middle**2 - square * (over**2 - float(spread[0, 0])), 0.0))
    return Interval(over / under, (middle - root) / square, (middle + root) / square)
