"""What is computed several numbers at a time has the bits of one number at a time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfdrive_env.compiler import simd
from selfdrive_env.compiler.njit import entry, inline
from selfdrive_env.compiler.simd import (
    WIDE,
    alone_size,
    below,
    bits_of,
    columns_of,
    first_bit,
    flags_of,
    least,
    load,
    most,
    padded,
    put,
    root,
    store,
    wide_lane,
    wide_place,
    wide_size,
)
from selfdrive_env.compiler.threads import SIMULATED
from selfdrive_env.compiler.vectors import LINE_WORDS, copy_past_cache, see_copies

F = np.float32
SCALE, LOW = F(2.5), F(-0.5)


@inline
def formulas(a, b, c):
    """All operations, with numbers on either side."""
    return (
        (a - c) / (SCALE + abs(a)) * b + c,
        c - a * b,
        root(abs(a * b)),
        most(least(a, c), LOW),
        least(c, most(a, b)),
        below(a, b, c, a),
        below(c, a, a + b, SCALE),
        SCALE / (c + a),
    )


PLANES = 9


@entry
def write(row, offset, slots, count, a, b, c):
    for turn in range(wide_lane(), slots, wide_size()):
        at = wide_place(turn, slots)
        found = formulas(load(a, at), load(b, at), c)
        to = offset + at
        put(row, to, at, count, found[0])
        put(row, to + slots, at, count, found[1])
        put(row, to + 2 * slots, at, count, found[2])
        put(row, to + 3 * slots, at, count, found[3])
        put(row, to + 4 * slots, at, count, found[4])
        put(row, to + 5 * slots, at, count, found[5])
        put(row, to + 6 * slots, at, count, found[6])
        put(row, to + 7 * slots, at, count, found[7])
        put(row, to + 8 * slots, at, count, SCALE)


def one_by_one(slots, count, a, b, c):
    wanted = np.zeros((PLANES, slots), F)
    for at in range(count):
        wanted[:8, at] = formulas.py_func(a[at], b[at], c)
        wanted[8, at] = SCALE
    return wanted


@pytest.mark.skipif(SIMULATED, reason="nothing is compiled")
@settings(max_examples=60, deadline=None)
@given(
    slots=st.integers(1, 3 * WIDE + 3), share=st.floats(0.0, 1.0), seed=st.integers(0, 2**32),
    offset=st.integers(0, 9),
)  # fmt: skip
def test_planes_have_the_bits_of_single_numbers(slots, share, seed, offset):
    random = np.random.default_rng(seed)
    a, b = random.normal(0.0, 30.0, (2, padded(slots))).astype(F)
    count, c = round(share * slots), F(random.normal())
    whole = np.full(offset + PLANES * slots + WIDE, F(7.0))
    row = whole[: offset + PLANES * slots]
    write(row, offset, slots, count, a, b, c)
    with np.errstate(all="ignore"):
        wanted = one_by_one(slots, count, a, b, c)
    np.testing.assert_array_equal(row[offset:].reshape(PLANES, slots), wanted)
    assert (row[:offset] == 7.0).all() and (whole[len(row) :] == 7.0).all()


@entry
def copy_rows(row, table, first, end):
    for number in range(first, end):
        copy_past_cache(row, table, number)
    see_copies()


@pytest.mark.skipif(SIMULATED, reason="nothing is compiled")
@settings(max_examples=60, deadline=None)
@given(
    columns=st.integers(1, 5 * LINE_WORDS), rows=st.integers(1, 5), first=st.integers(0, 4),
    offset=st.integers(0, LINE_WORDS),
)  # fmt: skip
def test_rows_copied_past_the_caches_arrive_whole_and_alone(columns, rows, first, offset):
    whole = np.full(offset + rows * columns + LINE_WORDS, F(7.0))
    table = whole[offset : offset + rows * columns].reshape(rows, columns)
    row = np.arange(columns, dtype=F) - F(columns)
    copy_rows(row, table, min(first, rows), rows)
    wanted = np.full_like(whole, F(7.0))
    end = offset + rows * columns
    wanted[offset + min(first, rows) * columns : end] = np.tile(row, rows - min(first, rows))
    np.testing.assert_array_equal(whole, wanted)


MASK, FLAG = 0xFFFF, 1 << 20


@entry
def look_up(table, entries, out, flags):
    for at in range(0, entries.shape[0], alone_size()):
        found = columns_of(table, entries, MASK, at)
        store(out[0], at, found[0])
        store(out[1], at, found[1])
        store(out[2], at, found[2])
        store(out[3], at, found[3])
        store(out[4], at, found[4])
        store(out[5], at, found[5])
        store(out[6], at, found[6])
        store(out[7], at, found[7])
        store(flags, at, flags_of(entries, FLAG, at))


@entry
def places_of(values, limit, places):
    count = 0
    for at in range(0, values.shape[0], alone_size()):
        bits = bits_of(load(values, at) - limit)
        while bits != 0:
            places[count] = at + first_bit(bits)
            bits &= bits - 1
            count += 1
    return count


def test_rows_of_a_table_come_as_columns():
    random = np.random.default_rng(0)
    table = random.normal(size=(40, 8)).astype(F)
    rows = random.integers(-1, 40, 3 * WIDE)
    is_set = random.integers(0, 2, len(rows))
    entries = ((rows + 1) | np.where(is_set, FLAG, 0)).astype(np.int32)
    out, flags = np.zeros((8, len(rows)), F), np.zeros(len(rows), F)
    look_up(table, entries, out, flags)
    np.testing.assert_array_equal(out, table[np.maximum(rows, 0)].T)
    np.testing.assert_array_equal(flags, is_set)


def test_bits_tell_what_is_not_negative():
    values = np.random.default_rng(1).integers(-3, 4, 4 * WIDE).astype(F)
    for limit in (F(-9.0), F(1.0), F(9.0)):
        places = np.full(len(values), -1)
        count = places_of(values, limit, places)
        assert places[:count].tolist() == np.flatnonzero(values >= limit).tolist()


def test_arrays_are_padded_to_whole_vectors():
    assert [padded(length) for length in (0, 1, 8, 9, 80)] == [8, 8, 8, 16, 80]


def test_the_plain_functions_say_what_is_computed():
    row = np.full(3, F(7.0))
    simd.put(row, 1, 0, 1, F(2.0))
    simd.put(row, 2, 1, 1, F(2.0))
    assert row.tolist() == [7.0, 2.0, 0.0]
    assert simd.load(np.arange(3), 2) == 2
    assert (simd.least(1, 2), simd.most(1, 2), simd.root(9.0)) == (1, 2, 3.0)
    assert (simd.below(1, 2, 3, 4), simd.below(2, 2, 3, 4)) == (3, 4)
