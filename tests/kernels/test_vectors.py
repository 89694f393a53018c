"""The vector forms of the innermost writes give the bits of the plain ones."""

from __future__ import annotations

import numpy as np
import pytest

from selfdrive_env.kernels import vectors
from selfdrive_env.kernels.compiling import entry
from selfdrive_env.kernels.vectors import (
    write_lane_point,
    write_mover,
    write_point,
    write_squashed,
)

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


CASES = {
    "write_point": (point, 4, 4, 0),
    "write_lane_point": (lane_point, 7, 8, 2),
    "write_mover": (mover, 8, 8, 3),
}


@pytest.mark.parametrize("columns", [4, 9])
@pytest.mark.parametrize("name", CASES)
def test_vectors_give_the_same_bits(name, columns):
    compiled, floats, touched, extra = CASES[name]
    random = np.random.default_rng(0)
    heading = random.uniform(-np.pi, np.pi, 50)
    table = random.normal(0, 100, (50, columns)).astype(F)
    table[:, 2], table[:, 3] = np.cos(heading), np.sin(heading)
    for index in range(50):
        turn = random.uniform(-np.pi, np.pi)
        frame = [F(v) for v in (*random.normal(0, 100, 2), np.cos(turn), np.sin(turn))]
        rest = [F(v) for v in random.normal(0, 100, extra)]
        offset = int(random.integers(0, 5))
        wanted, found = np.full((2, 16), F(7.0))
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
