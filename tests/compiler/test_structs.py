"""Structs by address read like the named tuples that they are made of."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import numpy as np
import pytest

from selfdrive_env.compiler.njit import entry
from selfdrive_env.compiler.simd import prefetch
from selfdrive_env.compiler.structs import Table, struct_at
from selfdrive_env.state.arrays import F32, I64, U8, Record


class Mixed(NamedTuple):
    values: Annotated[F32, "world agent"]
    share: np.float32
    flags: Annotated[U8, "world"]
    count: int
    deep: Annotated[I64, "world agent point 4"]


def example():
    return Mixed(
        values=np.arange(6, dtype=np.float32).reshape(2, 3),
        share=np.float32(0.25),
        flags=np.array([1, 0], np.uint8),
        count=-7,
        deep=np.arange(48, dtype=np.int64).reshape(2, 3, 2, 4),
    )


@entry
def read(address, out):
    mixed = struct_at(Mixed, address)
    out[0] = mixed.values[1, 2]
    out[1] = mixed.share
    out[2] = mixed.flags[0]
    out[3] = mixed.count
    out[4] = mixed.deep[1, 2, 1, 3]
    out[5] = mixed.values.shape[1]
    row = mixed.values[0]
    row[1] = np.float32(9.0)
    mixed.flags[1] += np.uint8(5)


def test_fields_are_read_and_written():
    struct = example()
    table, out = Table(struct), np.zeros(6, np.float32)
    read(table.address, out)
    np.testing.assert_array_equal(out, [5.0, 0.25, 1.0, -7.0, 47.0, 3.0])
    assert struct.values[0, 1] == 9.0
    assert struct.flags[1] == 5


def test_a_field_may_point_elsewhere():
    struct = example()
    table, out = Table(struct), np.zeros(6, np.float32)
    other = np.full((4, 5), np.float32(3.0))
    table.point("values", other)
    read(table.address, out)
    np.testing.assert_array_equal(out[[0, 5]], [3.0, 5.0])
    assert other[0, 1] == 9.0
    assert struct.values[0, 1] == 1.0


def test_arrays_that_are_not_contiguous_are_refused():
    struct = example()._replace(values=np.zeros((3, 2), np.float32).T)
    with pytest.raises(ValueError, match=r"values.*contiguous"):
        Table(struct)


def test_arrays_of_another_type_are_refused():
    with pytest.raises(ValueError, match=r"values.*float32.*float64"):
        Table(example()._replace(values=np.zeros((2, 3))))
    with pytest.raises(ValueError, match=r"deep.*4 axes"):
        Table(example()._replace(deep=np.zeros((2, 3), np.int64)))


def test_an_unknown_field_does_not_compile():
    @entry
    def wrong(address):
        return struct_at(Mixed, address).missing

    with pytest.raises(Exception, match="missing"):
        wrong(Table(example()).address)


class Whole(NamedTuple):
    first: Mixed
    second: Mixed


@entry
def read_whole(address, out):
    whole = struct_at(Whole, address)
    out[0] = whole.first.count
    out[1] = whole.second.count
    second = whole.second
    out[2] = second.values[1, 2]
    whole.first.flags[0] = np.uint8(7)


def test_a_struct_may_hold_structs():
    first, second = example(), example()._replace(count=5)
    table, out = Table(Whole(first, second)), np.zeros(3, np.float32)
    read_whole(table.address, out)
    np.testing.assert_array_equal(out, [-7.0, 5.0, 5.0])
    assert first.flags[0] == 7
    table["second"].point("values", np.full((2, 3), np.float32(4.0)))
    read_whole(table.address, out)
    assert out[2] == 4.0


ROW = Record("row", 32)


class Together(NamedTuple):
    first: Annotated[I64, "entry", ROW]
    pair: Annotated[F32, "entry 2", ROW]
    flag: Annotated[U8, "entry", ROW]
    alone: Annotated[F32, "entry"]


def together(rows=5):
    table = np.zeros((rows, ROW.nbytes), np.uint8)
    struct = Together(
        first=table[:, :8].view(np.int64)[:, 0],
        pair=table[:, 8:16].view(np.float32),
        flag=table[:, 16],
        alone=np.arange(rows, dtype=np.float32),
    )
    struct.first[:] = np.arange(rows) * 10**10
    struct.pair[:] = np.arange(2 * rows).reshape(rows, 2)
    struct.flag[:] = 200 + np.arange(rows)
    return struct


@entry
def read_together(address, out):
    struct = struct_at(Together, address)
    prefetch(struct.pair, 3)
    prefetch(struct.first, 3)
    out[0] = struct.first[3]
    out[1] = struct.pair[3, 1]
    out[2] = struct.flag[3]
    out[3] = struct.alone[3]
    out[4] = struct.pair.shape[0]
    row = struct.pair[2]
    row[1] = np.float32(-1.0)
    out[5] = row[0]
    struct.flag[4] = np.uint8(7)
    struct.pair[4, 0] = np.float32(8.0)


def test_fields_of_a_record_are_read_and_written_where_they_lie():
    struct = together()
    table, out = Table(struct), np.zeros(6)
    read_together(table.address, out)
    np.testing.assert_array_equal(out, [3e10, 7.0, 203.0, 3.0, 5.0, 4.0])
    assert struct.pair[2, 1] == -1.0
    assert struct.flag[4] == 7
    assert struct.pair[4, 0] == 8.0


def test_a_field_of_a_record_has_to_lie_in_one():
    struct = together()
    for name in ("first", "pair", "flag"):
        alone = np.ascontiguousarray(getattr(struct, name))
        with pytest.raises(ValueError, match=rf"{name} must be.*rows of"):
            Table(struct._replace(**{name: alone}))
