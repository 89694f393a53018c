"""Eight numbers at a time in kernels: what a warp is on CUDA, a vector is on the CPU.

Code that is written once for one number runs on the CPU for `WIDE` neighbours together, in vector
registers, and on CUDA for one number a thread. A loop over the places of a plane is

    for turn in range(wide_lane(), slots, wide_size()):
        at = wide_place(turn, slots)
        put(row, plane + at, at, count, load(x, at) * scale)

and numbers and vectors mix in `+ - * /`, `abs` and the functions below. Every operation is done on
each number as it would be alone, so that all forms give the same bits. On the CPU the loop runs
from the last places to the first: what `put` writes behind the end of a plane is written again when
planes, and groups of them, are written in their order.

Where a thread of CUDA works for itself, a loop over an array of `padded` length is

    for at in range(0, count, alone_size()):
        found = bits_of(load(x, at) - limit)
"""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel import models
from numba.core.extending import intrinsic, overload, register_model
from numba.core.target_extension import current_target

from selfdrive_env.compiler.structs import array_of
from selfdrive_env.compiler.threads import SIMULATED, on_cpu, warp_lane, warp_size
from selfdrive_env.compiler.vectors import (
    absolute,
    ask_for,
    constants,
    place_of,
    root_of,
    rows_at,
    spread,
    spread_words,
    store_some,
    transposed,
)

__all__ = ["INLINED", "WIDE", "alone_size", "below", "bits_of", "columns_of", "first_bit",
    "flags_of", "least", "load", "most", "padded", "prefetch", "put", "root", "store", "wide_lane",
    "wide_place", "wide_size"]  # fmt: skip

WIDE = 8
"""Numbers that are computed together on the CPU; arrays that `load` reads are as long as their
plane rounded up to a multiple of it."""

ZERO, ONE = np.float32(0.0), np.float32(1.0)
FLOAT, WORD = ir.FloatType(), ir.IntType(64)
INLINED: Any = {"forceinline": True, "error_model": "numpy"}


def padded(length: int) -> int:
    """Returns how long an array has to be so that `load` may read a plane of `length` numbers."""
    return max(-(-length // WIDE), 1) * WIDE


class Wide(types.Type):
    """Numba type of eight numbers."""

    def __init__(self) -> None:
        super().__init__(name="Wide")


WIDE_TYPE = Wide()


@register_model(Wide)
class _WideModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, ir.VectorType(FLOAT, WIDE))


# What is computed: the plain functions run where kernels are interpreted, and on CUDA.


def prefetch(array, index):
    """Asks for the cache line where entry or row `index` of an array begins; computes nothing."""


def _prefetch_nothing(array, index):
    pass


def load(plane, at):
    """Returns entry `at` of a flat array, on the CPU with those that follow it."""
    return plane[at]


def put(row, place, at, count, value):
    """Writes to entry `place` of a row, which is place `at` of its plane: 0 from `count` on.

    Args:
        row: The row.
        place: Where in it.
        at: Where in the plane.
        count: Places of the plane that are in use.
        value: What is written there, a number for all of them or several.
    """
    row[place] = value if at < count else ZERO


def store(plane, at, value):
    """Writes to entry `at` of a flat array, on the CPU to those that follow it as well."""
    plane[at] = value


def columns_of(table, entries, mask, at):
    """Returns the eight columns of a row of a table, on the CPU of eight rows.

    Args:
        table: [N, 8].
        entries: Numbers of rows + 1, in the bits of `mask`; 0 stands for row 0 as well.
        mask: Likewise.
        at: Which entry; on the CPU those that follow it, too.
    """
    row = max((np.int64(entries[at]) & mask) - 1, 0)
    return (
        table[row, 0], table[row, 1], table[row, 2], table[row, 3],
        table[row, 4], table[row, 5], table[row, 6], table[row, 7],
    )  # fmt: skip


def flags_of(entries, bit, at):
    """Returns 1 if a bit of an entry is set, else 0; on the CPU of those that follow it, too."""
    return ONE if np.int64(entries[at]) & bit else ZERO


def bits_of(value):
    """Returns a number with a bit set for each value that is not negative, the first the lowest."""
    return np.int64(value >= ZERO)


def first_bit(bits):
    """Returns the number of the lowest bit that is set; one is."""
    place = np.int64(0)
    while not (bits >> place) & 1:
        place += 1
    return place


def least(a, b):
    """Returns the smaller of two numbers."""
    return min(a, b)


def most(a, b):
    """Returns the larger of two numbers."""
    return max(a, b)


def root(value):
    """Returns the square root."""
    return math.sqrt(value)


def below(a, b, x, y):
    """Returns x where a < b, else y."""
    return x if a < b else y


def _on_cpu() -> bool:
    """Whether code is typed for the CPU."""
    return current_target() != "cuda"


if SIMULATED:
    wide_lane: Any = warp_lane
    wide_size: Any = warp_size

    def wide_place(turn, slots):
        """Returns the place that a turn of the loop over the places of a plane is for."""
        return turn

    def alone_size():
        """By how many entries a turn of a loop advances that a thread does by itself."""
        return 1

else:

    @intrinsic
    def alone_size(typing_context: Any) -> Any:
        """By how many entries a turn of a loop advances that a thread does by itself."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return WORD(WIDE if on_cpu(context) else 1)

        return types.int64(), generate

    @intrinsic
    def wide_lane(typing_context: Any) -> Any:
        """Where a loop over places begins: 0, on CUDA the number of the thread in its warp."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            if on_cpu(context):
                return WORD(0)
            thread = ir.FunctionType(ir.IntType(32), [])
            name = "llvm.nvvm.read.ptx.sreg.tid.x"
            function = cgutils.get_or_insert_function(builder.module, thread, name)
            index = builder.zext(builder.call(function, []), WORD)
            return builder.and_(index, WORD(31))

        return types.int64(), generate

    @intrinsic
    def wide_size(typing_context: Any) -> Any:
        """By how many places a turn of the loop advances."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return WORD(WIDE if on_cpu(context) else 32)

        return types.int64(), generate

    @intrinsic
    def wide_place(typing_context: Any, turn: Any, slots: Any) -> Any:
        """Returns the place that a turn of the loop over the places of a plane is for."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            turn, slots = arguments
            if not on_cpu(context):
                return turn
            last = builder.and_(builder.sub(slots, WORD(1)), WORD(-WIDE))
            return builder.sub(last, turn)

        return types.int64(types.int64, types.int64), generate


# Vectors.


def _as_float(kind: Any) -> Any:
    return kind if isinstance(kind, Wide) else types.float32


def _two(instruction: str) -> Any:
    """Returns an intrinsic that does an instruction to two vectors, or to a vector and a number."""

    @intrinsic
    def compute(typing_context: Any, a: Any, b: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return getattr(builder, instruction)(*[spread(builder, one) for one in arguments])

        return WIDE_TYPE(_as_float(a), _as_float(b)), generate

    return compute


def _any_wide(*kinds: Any) -> bool:
    return any(isinstance(kind, Wide) for kind in kinds)


def _operate(function: Any, instruction: str) -> None:
    compute = _two(instruction)

    @overload(function, jit_options=INLINED)
    def _compiled(a, b):
        if not _any_wide(a, b):
            return None

        def of_wide(a, b):
            return compute(a, b)

        return of_wide


for _function, _instruction in (
    (operator.add, "fadd"), (operator.sub, "fsub"), (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):  # fmt: skip
    _operate(_function, _instruction)


@intrinsic
def _chosen(typing_context: Any, a: Any, b: Any, x: Any, y: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        a, b, x, y = (spread(builder, one) for one in arguments)
        return builder.select(builder.fcmp_ordered("<", a, b), x, y)

    return WIDE_TYPE(*[_as_float(kind) for kind in (a, b, x, y)]), generate


@intrinsic
def _absolute(typing_context: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return absolute(builder, arguments[0])

    return WIDE_TYPE(value), generate


@intrinsic
def _root(typing_context: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return root_of(builder, arguments[0])

    return WIDE_TYPE(value), generate


@intrinsic
def _load(typing_context: Any, plane: Any, at: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = array_of(context, builder, signature.args[0], arguments[0])
        return builder.load(place_of(builder, array.data, arguments[1], WIDE), align=4)

    return WIDE_TYPE(plane, types.int64), generate


@intrinsic
def _store(typing_context: Any, plane: Any, at: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = array_of(context, builder, signature.args[0], arguments[0])
        place = place_of(builder, array.data, arguments[1], WIDE)
        builder.store(spread(builder, arguments[2]), place, align=4)
        return context.get_dummy_value()

    return types.void(plane, types.int64, _as_float(value)), generate


@intrinsic
def _columns_of(typing_context: Any, table: Any, entries: Any, mask: Any, at: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        table = array_of(context, builder, signature.args[0], arguments[0])
        entries = array_of(context, builder, signature.args[1], arguments[1])
        rows = rows_at(builder, table.data, entries.data, arguments[2], arguments[3], WIDE)
        return context.make_tuple(builder, signature.return_type, transposed(builder, rows))

    word = types.int64
    return types.UniTuple(WIDE_TYPE, WIDE)(table, entries, word, word), generate


@intrinsic
def _flags_of(typing_context: Any, entries: Any, bit: Any, at: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        entries = array_of(context, builder, signature.args[0], arguments[0])
        bits = spread_words(builder, arguments[1], WIDE)
        first = builder.bitcast(builder.gep(entries.data, [arguments[2]]), bits.type.as_pointer())
        found = builder.and_(builder.load(first, align=4), bits)
        is_set = builder.icmp_signed("==", found, bits)
        return builder.select(is_set, constants(*[1.0] * WIDE), constants(*[0.0] * WIDE))

    return WIDE_TYPE(entries, types.int64, types.int64), generate


@intrinsic
def _bits_of(typing_context: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        flags = builder.fcmp_ordered(">=", arguments[0], constants(*[0.0] * WIDE))
        return builder.zext(builder.bitcast(flags, ir.IntType(WIDE)), WORD)

    return types.int64(value), generate


@intrinsic
def _first_bit(typing_context: Any, bits: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.IntType(1)(1))

    return types.int64(types.int64), generate


@intrinsic
def _put(typing_context: Any, row: Any, place: Any, at: Any, count: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        row, place, at, count, value = arguments
        row = array_of(context, builder, signature.args[0], row)
        left = builder.sub(count, at)
        most_left = builder.select(builder.icmp_signed("<", left, WORD(WIDE)), left, WORD(WIDE))
        left32 = spread_words(builder, most_left, WIDE)
        numbers = ir.Constant(left32.type, list(range(WIDE)))
        used = builder.icmp_signed("<", numbers, left32)
        value = builder.select(used, spread(builder, value), constants(*[0.0] * WIDE))
        length = builder.extract_value(row.shape, 0)
        room = builder.sub(length, place)
        fits = builder.icmp_signed(">=", room, WORD(WIDE))
        with builder.if_else(fits, likely=True) as (whole, part):
            with whole:
                builder.store(value, place_of(builder, row.data, place, WIDE), align=4)
            with part:  # the end of the row
                inside = builder.icmp_signed("<", numbers, spread_words(builder, room, WIDE))
                store_some(builder, value, place_of(builder, row.data, place, WIDE), inside)
        return context.get_dummy_value()

    word = types.int64
    return types.void(row, word, word, word, _as_float(value)), generate


@overload(load, jit_options=INLINED)
def _compiled_load(plane, at):
    def of_wide(plane, at):
        return _load(plane, at)

    return of_wide if _on_cpu() else load


@overload(store, jit_options=INLINED)
def _compiled_store(plane, at, value):
    def of_wide(plane, at, value):
        _store(plane, at, value)

    return of_wide if _on_cpu() else store


@overload(columns_of, jit_options=INLINED)
def _compiled_columns_of(table, entries, mask, at):
    def of_wide(table, entries, mask, at):
        return _columns_of(table, entries, mask, at)

    return of_wide if _on_cpu() else columns_of


@overload(flags_of, jit_options=INLINED)
def _compiled_flags_of(entries, bit, at):
    def of_wide(entries, bit, at):
        return _flags_of(entries, bit, at)

    return of_wide if _on_cpu() else flags_of


@overload(bits_of, jit_options=INLINED)
def _compiled_bits_of(value):
    def of_wide(value):
        return _bits_of(value)

    return of_wide if _any_wide(value) else bits_of


@overload(first_bit, jit_options=INLINED)
def _compiled_first_bit(bits):
    def of_wide(bits):
        return _first_bit(bits)

    return of_wide if _on_cpu() else first_bit


@overload(put, jit_options=INLINED)
def _compiled_put(row, place, at, count, value):
    def of_wide(row, place, at, count, value):
        _put(row, place, at, count, value)

    return of_wide if _on_cpu() else put


@overload(abs, jit_options=INLINED)
def _compiled_abs(value):
    def of_wide(value):
        return _absolute(value)

    return of_wide if _any_wide(value) else None


@overload(root, jit_options=INLINED)
def _compiled_root(value):
    def of_wide(value):
        return _root(value)

    return of_wide if _any_wide(value) else root


@overload(least, jit_options=INLINED)
def _compiled_least(a, b):
    def of_wide(a, b):
        return _chosen(b, a, b, a)

    return of_wide if _any_wide(a, b) else least


@overload(most, jit_options=INLINED)
def _compiled_most(a, b):
    def of_wide(a, b):
        return _chosen(a, b, b, a)

    return of_wide if _any_wide(a, b) else most


@overload(below, jit_options=INLINED)
def _compiled_below(a, b, x, y):
    def of_wide(a, b, x, y):
        return _chosen(a, b, x, y)

    return of_wide if _any_wide(a, b, x, y) else below


@overload(prefetch, jit_options=INLINED)
def _compiled_prefetch(array, index):
    def write(array, index):
        ask_for(array, index)

    return write if _on_cpu() else _prefetch_nothing
