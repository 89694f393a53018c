"""The vector forms of the innermost writes give the bits of the plain ones."""

from __future__ import annotations

import numpy as np
import pytest

from selfdrive_env.compiler import simd as vectors
from selfdrive_env.compiler.njit import entry
from selfdrive_env.compiler.simd import (
    write_lane_pair,
    write_lane_point,
    write_mover,
    write_point,
    write_point_pair,
    write_squashed,
)
from selfdrive_env.config.observation import WIDTHS

F = np.float32


@entry
def squashed(row, offset, a, b, scale_a, scale_b):
    write_squashed(row, offset, a, b, scale_a, scale_b)


@entry
def point(row, offset, table, index, x, y, cos, sin):
    write_point(row, offset, table, index, x, y, cos, sin)


@entry
def lane_point(row, offset, table, index, x, y, cos, sin, distance, gain):
    write_lane_point(row, offset, table, index, x, y, cos, sin, distance, gain)


@entry
def mover(row, offset, table, index, x, y, cos, sin, speed, length_part, width_part):
    write_mover(row, offset, table, index, x, y, cos, sin, speed, length_part, width_part)


@entry
def point_pair(row, offset, table, index, x, y, cos, sin):
    write_point_pair(row, offset, table, index, x, y, cos, sin)


@entry
def lane_pair(row, offset, table, index, x, y, cos, sin, way, goal_s, slack, cycle, own):
    write_lane_pair(row, offset, table, index, x, y, cos, sin, way, goal_s, slack, cycle, own)


LANE, BOUNDARY = WIDTHS["lane_points"], WIDTHS["boundary_points"]
PAIRS = {
    "write_point_pair": (point_pair, 2 * BOUNDARY, 2 * BOUNDARY, 0),
    "write_lane_pair": (lane_pair, 2 * LANE, 2 * LANE + 1, 5),
}

WAYS = np.array([-60.0, -3.0, 0.0, 0.5, 40.0, 3e3, 1e9], F)

CASES = {
    "write_point": (point, 4, 4, 0),
    "write_lane_point": (lane_point, LANE, 8, 2),
    "write_mover": (mover, 8, 8, 3),
}


@pytest.mark.parametrize(
    ("name", "columns"),
    [*((name, columns) for name in CASES for columns in (4, 9)), *((name, 4) for name in PAIRS)],
)
def test_vectors_give_the_same_bits(name, columns):
    compiled, floats, touched, extra = {**CASES, **PAIRS}[name]
    random = np.random.default_rng(0)
    heading = random.uniform(-np.pi, np.pi, 50)
    table = random.normal(0, 100, (50, columns)).astype(F)
    table[:, 2], table[:, 3] = np.cos(heading), np.sin(heading)
    for index in range(49):
        turn = random.uniform(-np.pi, np.pi)
        frame = [F(v) for v in (*random.normal(0, 100, 2), np.cos(turn), np.sin(turn))]
        rest: list[object] = [F(v) for v in random.normal(0, 100, extra)]
        if name == "write_lane_pair":
            rest[0] = random.choice(WAYS, 50)
        offset = int(random.integers(0, 5))
        wanted, found = np.full((2, 24), F(7.0))
        getattr(vectors, name)(wanted, offset, table, index, *frame, *rest)
        compiled(found, offset, table, index, *frame, *rest)
        used = slice(offset, offset + floats)
        np.testing.assert_array_equal(found[used], wanted[used])
        assert (np.delete(found, np.arange(offset, offset + touched)) == 7.0).all()


def test_squashed_pairs_give_the_same_bits():
    random = np.random.default_rng(1)
    for _ in range(200):
        values = [F(v) for v in (*random.normal(0, 1e3, 2), *random.uniform(0.1, 100, 2))]
        wanted, found = np.zeros((2, 4), F)
        vectors.write_squashed(wanted, 1, *values)
        squashed(found, 1, *values)
        np.testing.assert_array_equal(found, wanted)


def test_pairs_are_two_points():
    random = np.random.default_rng(3)
    for _ in range(200):
        table = random.normal(0, 50, (2, 4)).astype(F)
        turn = random.uniform(-np.pi, np.pi, 2)
        table[:, 2], table[:, 3] = np.cos(turn), np.sin(turn)
        frame = [F(v) for v in (*random.normal(0, 50, 2), 0.8, 0.6)]
        goal_s, slack, cycle, own = (F(v) for v in random.uniform(0, 50, 4))
        ways = random.choice(WAYS, 2)
        pair, single = np.zeros((2, 24), F)
        lane_pair(pair, 0, table, 0, *frame, ways, goal_s, slack, cycle, own)
        for number in range(2):
            distance = vectors.way_ahead(ways[number], goal_s, slack, cycle)
            lane_point(single, 7 * number, table, number, *frame, distance, distance - own)
        np.testing.assert_allclose(pair, single, atol=3e-7)
        assert np.abs(pair).max() <= 1.0


def test_headings_stay_within_the_box():
    """Rounding adds to cosines and sines; what is written never leaves [-1, 1]."""
    random = np.random.default_rng(2)
    turns = random.uniform(-np.pi, np.pi, 20_000)
    table = np.zeros((len(turns), 4), F)
    table[:, 2], table[:, 3] = np.cos(turns), np.sin(turns)
    row = np.zeros(4, F)
    for index in range(len(turns)):
        other = turns[index] + np.pi / 2 * random.integers(4)
        point(row, 0, table, index, F(0), F(0), F(np.cos(other)), F(np.sin(other)))
        assert np.abs(row).max() <= 1.0
