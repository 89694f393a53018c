"""How far a body gets along its path before it touches another."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import pytest

from selfdrive_env.compiler.njit import entry
from selfdrive_env.kernels.drivers.conflicts import Box
from selfdrive_env.kernels.drivers.recorded.leaders import free_way
from tests.reference.recorded import along, depth

POINTS, LOOK = 20, 14.0
FINE = 0.02


@functools.cache
def loop() -> Any:
    """`free_way` over many cases."""

    @entry
    def run(path, count, s, look, half, box, out):  # type: ignore[no-untyped-def]
        for case in range(path.shape[0]):
            b = box[case]
            other = Box(b[0], b[1], b[2], b[3], b[4], b[5], b[6])
            out[case] = free_way(
                path[case], count, s[case], look, half[case, 0], half[case, 1], other
            )

    return run


def found(path: Any, s: Any, half: Any, box: Any, look: float = LOOK) -> np.ndarray:
    arrays = [np.ascontiguousarray(one, np.float32) for one in (path, s, half, box)]
    out = np.zeros(len(path), np.float32)
    count = np.int64(path.shape[1])
    loop()(arrays[0], count, arrays[1], np.float32(look), arrays[2], arrays[3], out)
    return out.astype(np.float64)


def paths(random: np.random.Generator, cases: int) -> np.ndarray:
    """Bent ways of points about a metre apart."""
    step = random.uniform(0.8, 1.4, (cases, POINTS - 1))
    bend = random.uniform(-0.15, 0.15, (cases, 1)) + random.normal(0.0, 0.02, step.shape)
    heading = random.uniform(-np.pi, np.pi, (cases, 1))
    heading = np.concatenate([heading, heading + np.cumsum(bend * step, 1)], 1)
    path = np.zeros((cases, POINTS, 7))
    path[:, 0, :2] = random.uniform(-200.0, 200.0, (cases, 2))
    middle = 0.5 * (heading[:, 1:] + heading[:, :-1])
    path[:, 1:, 0] = path[:, :1, 0] + np.cumsum(step * np.cos(middle), 1)
    path[:, 1:, 1] = path[:, :1, 1] + np.cumsum(step * np.sin(middle), 1)
    path[:, :, 3], path[:, :, 4] = np.cos(heading), np.sin(heading)
    path[:, 1:, 5] = np.cumsum(step, 1)
    return path.astype(np.float32).astype(np.float64)


def cases(seed: int, count: int) -> tuple[np.ndarray, ...]:
    """Bodies on paths and boxes near them; in half of the cases just beside where they drive."""
    random = np.random.default_rng(seed)
    path, s = paths(random, count), random.uniform(0.0, 6.0, count)
    half = random.uniform([0.3, 0.3], [4.0, 1.3], (count, 2))
    size = random.uniform([0.3, 0.3], [4.0, 1.3], (count, 2))
    ahead = random.uniform(3.0, LOOK, count)
    at = np.array([along(path[c], s[c] + ahead[c])[:7] for c in range(count)])
    turn = random.uniform(-np.pi, np.pi, count)
    turn[: count // 4] = random.normal(0.0, 0.02, count // 4)
    reach = size[:, 0] * np.abs(np.sin(turn)) + size[:, 1] * np.abs(np.cos(turn))
    aside = random.uniform(-6.0, 6.0, count)
    near = half[:, 1] + reach + random.normal(0.0, 0.05, count)
    aside[: count // 2] = (near * random.choice([-1.0, 1.0], count))[: count // 2]
    heading = np.arctan2(at[:, 6], at[:, 5]) + turn
    x, y = at[:, 0] - aside * at[:, 6], at[:, 1] + aside * at[:, 5]
    box = np.stack([x, y, np.zeros(count), np.cos(heading), np.sin(heading), *size.T], 1)
    return path, s, half, box.astype(np.float32).astype(np.float64)


def overlaps(path: np.ndarray, s: float, half: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Depth by which a body overlaps a box after each `FINE` metres."""
    way = np.arange(0.0, LOOK, FINE)
    x, y, _, cos, sin, *_ = along(path, s + way)
    one = (x, y, cos, sin, np.full(len(way), half[0]), np.full(len(way), half[1]))
    two = tuple(np.full(len(way), box[c]) for c in (0, 1, 3, 4, 5, 6))
    return depth(one, two)


@pytest.mark.parametrize("count", [3_000, pytest.param(12_000, marks=pytest.mark.full)])
def test_the_way_to_a_body_is_that_of_small_steps(count: int) -> None:
    path, s, half, box = cases(1, count)
    kernel = found(path, s, half, box)
    touching = 0
    for case in range(count):
        deep = overlaps(path[case], s[case], half[case], box[case])
        meets = np.flatnonzero(deep > -0.002)  # single precision, and corners between two steps
        plainly = np.flatnonzero(deep > 0.03)  # what lies between two looks is no more
        first = meets[0] * FINE if meets.size else LOOK
        last = plainly[0] * FINE if plainly.size else LOOK
        touching += bool(meets.size)
        assert first - 0.12 - FINE < kernel[case] <= last + FINE, case
    assert 0.4 * count < touching < 0.9 * count


def test_bodies_on_another_level_are_nobody() -> None:
    path, s, half, box = (one[:500] for one in cases(2, 2_000))
    below = found(path, s, half, box)
    assert (below < LOOK).sum() > 150
    box[:, 2] = 2.49
    np.testing.assert_array_equal(found(path, s, half, box), below)
    box[:, 2] = 2.51
    assert (found(path, s, half, box) == np.float32(LOOK)).all()


def test_a_path_goes_on_straight_past_its_end() -> None:
    path = np.zeros((1, 2, 7))
    path[0, 1, :2], path[0, :, 3], path[0, :, 4] = (0.6, 0.8), 0.6, 0.8
    path[0, 1, 5] = 1.0
    box = np.array([[0.6 * 100.0, 0.8 * 100.0, 0.0, 0.6, 0.8, 2.0, 1.0]])
    gap = found(path, np.zeros(1), np.array([[2.5, 1.0]]), box, look=150.0)[0]
    assert gap == pytest.approx(100.0 - 4.5, abs=0.11)
    assert gap <= 95.5 + 1e-3
    assert math.isclose(found(path, np.zeros(1), np.array([[2.5, 1.0]]), box, look=90.0)[0], 90.0)
