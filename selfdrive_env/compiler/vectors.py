"""Vectors of floats in code that is generated: what the intrinsics of other modules are made of.

`multiply_tile` and `add_scaled` are the innermost loops of matrix products.
"""

from __future__ import annotations

import platform
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.extending import intrinsic
from numba.np.arrayobj import make_array

from selfdrive_env.compiler.structs import array_of
from selfdrive_env.compiler.threads import SIMULATED, on_cpu

__all__ = ["LINE_WORDS", "SIMD_WIDTH", "TILE", "X86", "absolute", "add_scaled", "ask_for",
    "constants", "copy_past_cache", "multiply_tile", "place_of", "put_three", "root_of", "rows_at",
    "see_copies", "spread", "spread_words", "store_some", "transposed"]  # fmt: skip

X86 = platform.machine() in ("x86_64", "AMD64")

LINE_WORDS = 16
"""Floats in a cache line."""

SIMD_WIDTH = 16
"""Columns of a matrix that go through a product together."""

TILE = 4
"""Rows that do so."""


def _vector(length: int) -> Any:
    return ir.VectorType(ir.FloatType(), length)


def constants(*values: float) -> Any:
    """Returns a constant vector."""
    return ir.Constant(_vector(len(values)), [ir.Constant(ir.FloatType(), v) for v in values])


def absolute(builder: Any, vector: Any) -> Any:
    """Returns the absolute values of a vector."""
    return _of_each(builder, "fabs", vector)


def root_of(builder: Any, vector: Any) -> Any:
    """Returns the square roots of a vector."""
    return _of_each(builder, "sqrt", vector)


def _of_each(builder: Any, name: str, vector: Any) -> Any:
    kind = ir.FunctionType(vector.type, [vector.type])
    name = f"llvm.{name}.v{vector.type.count}f32"
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [vector])


def place_of(builder: Any, data: Any, index: Any, length: int) -> Any:
    """Returns a pointer to `length` floats from entry `index` of a flat array on."""
    return builder.bitcast(builder.gep(data, [index]), _vector(length).as_pointer())


def transposed(builder: Any, rows: list[Any]) -> list[Any]:
    """Returns the columns of eight vectors of eight numbers, a vector each."""

    def mixed(a: Any, b: Any, *places: int) -> Any:
        word = ir.IntType(32)
        mask = ir.Constant(ir.VectorType(word, 8), [word(place) for place in places])
        return builder.shuffle_vector(a, b, mask)

    pairs = [
        mixed(rows[n], rows[n + 1], *places)
        for n in (0, 2, 4, 6)
        for places in ((0, 8, 1, 9, 4, 12, 5, 13), (2, 10, 3, 11, 6, 14, 7, 15))
    ]
    fours = [
        mixed(pairs[n], pairs[n + 2], *places)
        for n in (0, 1, 4, 5)
        for places in ((0, 1, 8, 9, 4, 5, 12, 13), (2, 3, 10, 11, 6, 7, 14, 15))
    ]
    halves = (0, 1, 2, 3, 8, 9, 10, 11), (4, 5, 6, 7, 12, 13, 14, 15)
    return [mixed(fours[n], fours[n + 4], *places) for places in halves for n in range(4)]


def rows_at(builder: Any, table: Any, entries: Any, mask: Any, at: Any, length: int) -> list[Any]:
    """Returns the rows of a table, of `length` floats, that as many entries name, 1 the first."""
    word, rows = ir.IntType(64), []
    for number in range(length):
        place = builder.add(at, word(number))
        entry = builder.sext(builder.load(builder.gep(entries, [place])), word)
        row = builder.sub(builder.and_(entry, mask), word(1))
        row = builder.select(builder.icmp_signed(">", row, word(0)), row, word(0))
        first = place_of(builder, table, builder.mul(row, word(length)), length)
        rows.append(builder.load(first, align=4))
    return rows


def spread_words(builder: Any, number: Any, length: int) -> Any:
    """Returns a vector of short integers, each the number."""
    short = ir.IntType(32)
    kind = ir.VectorType(short, length)
    vector = ir.Constant(kind, ir.Undefined)
    vector = builder.insert_element(vector, builder.trunc(number, short), short(0))
    return builder.shuffle_vector(vector, vector, ir.Constant(kind, [0] * length))


def store_some(builder: Any, vector: Any, place: Any, chosen: Any) -> None:
    """Stores those numbers of a vector that are chosen."""
    short, length = ir.IntType(32), vector.type.count
    kind = ir.FunctionType(ir.VoidType(), [vector.type, place.type, short, chosen.type])
    name = f"llvm.masked.store.v{length}f32.p0v{length}f32"
    function = cgutils.get_or_insert_function(builder.module, kind, name)
    builder.call(function, [vector, place, short(4), chosen])


@intrinsic
def ask_for(typing_context: Any, array: Any, index: Any) -> Any:
    """Asks for the cache line where entry or row `index` of an array begins."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = array_of(context, builder, signature.args[0], arguments[0])
        place = builder.mul(arguments[1], builder.extract_value(array.strides, 0))
        word, byte = ir.IntType(32), ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        at = builder.gep(builder.bitcast(array.data, byte), [place])
        builder.call(function, [at, word(0), word(3), word(1)])
        return context.get_dummy_value()

    return types.void(array, types.int64), generate


def _copy_words(builder: Any, source: Any, target: Any, first: Any, end: Any) -> None:
    """Copies words `first` to `end` - 1 one by one."""
    with cgutils.for_range(builder, builder.sub(end, first)) as loop:
        at = builder.add(first, loop.index)
        builder.store(builder.load(builder.gep(source, [at])), builder.gep(target, [at]))


def _copy_lines(builder: Any, source: Any, target: Any, first: Any, lines: Any) -> None:
    """Copies whole cache lines of the target from word `first` on, past the caches."""
    word = ir.IntType(64)
    hint = builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)])
    with cgutils.for_range(builder, lines) as loop:
        line = builder.add(first, builder.mul(loop.index, word(LINE_WORDS)))
        for place in range(0, LINE_WORDS, 8):
            at = builder.add(line, word(place))
            value = builder.load(place_of(builder, source, at, 8), align=4)
            store = builder.store(value, place_of(builder, target, at, 8), align=32)
            store.set_metadata("nontemporal", hint)


@intrinsic
def copy_past_cache(typing_context: Any, row: Any, table: Any, number: Any) -> Any:
    """Copies a row to row `number` of a table, past the caches; does nothing on CUDA.

    The lines that it shares with its neighbours go through the caches. Other threads see the others
    after `see_copies`.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if not on_cpu(context):
            return context.get_dummy_value()
        word = ir.IntType(64)
        row = array_of(context, builder, signature.args[0], arguments[0])
        table = array_of(context, builder, signature.args[1], arguments[1])
        length = builder.extract_value(row.shape, 0)
        columns = builder.extract_value(table.shape, 1)
        target = builder.gep(table.data, [builder.mul(arguments[2], columns)])
        place = builder.lshr(builder.ptrtoint(target, word), word(2))
        before = builder.and_(builder.neg(place), word(LINE_WORDS - 1))
        fits = builder.icmp_unsigned("<", before, length)
        before = builder.select(fits, before, length)
        lines = builder.udiv(builder.sub(length, before), word(LINE_WORDS))
        behind = builder.add(before, builder.mul(lines, word(LINE_WORDS)))
        _copy_words(builder, row.data, target, word(0), before)
        _copy_lines(builder, row.data, target, before, lines)
        _copy_words(builder, row.data, target, behind, length)
        return context.get_dummy_value()

    return types.void(row, table, types.int64), generate


@intrinsic
def see_copies(typing_context: Any) -> Any:
    """Has what `copy_past_cache` wrote seen before what is written next.

    Only x86 processors need it: elsewhere releasing a lock, or a word, does.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if on_cpu(context) and X86:
            kind = ir.FunctionType(ir.VoidType(), [])
            builder.call(builder.module.declare_intrinsic("llvm.x86.sse.sfence", fnty=kind), [])
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def _put_three(typing_context: Any, row: Any, place: Any, word: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        row = array_of(context, builder, signature.args[0], arguments[0])
        at, word, byte = builder.gep(row.data, [arguments[1]]), arguments[2], ir.IntType(8)
        if on_cpu(context):
            builder.store(word, builder.bitcast(at, word.type.as_pointer()), align=1)
            return context.get_dummy_value()
        for number in range(3):
            part = builder.lshr(word, word.type(8 * number))
            builder.store(builder.trunc(part, byte), builder.gep(at, [ir.IntType(64)(number)]))
        return context.get_dummy_value()

    return types.void(row, types.int64, types.uint32), generate


def _simulated_put_three(row: Any, place: int, word: Any) -> None:
    for number in range(3):
        row[place + number] = (int(word) >> 8 * number) & 255


put_three: Any = _simulated_put_three if SIMULATED else _put_three
"""Writes the three lowest bytes of a word at a place of a row of bytes; on the CPU the fourth, too:
there must be one, and what belongs there is written later."""


def spread(builder: Any, value: Any) -> Any:
    """Returns a vector of eight with a number in every place; a vector as it is."""
    if isinstance(value.type, ir.VectorType):
        return value
    wide = ir.Constant(_vector(8), ir.Undefined)
    wide = builder.insert_element(wide, value, ir.Constant(ir.IntType(32), 0))
    mask = ir.Constant(ir.VectorType(ir.IntType(32), 8), [0] * 8)
    return builder.shuffle_vector(wide, wide, mask)


def _multiply_add(builder: Any) -> Any:
    kind = ir.FunctionType(_vector(8), [_vector(8), _vector(8), _vector(8)])
    return cgutils.get_or_insert_function(builder.module, kind, "llvm.fmuladd.v8f32")


@intrinsic
def multiply_tile(
    typing_context: Any, x: Any, first: Any, row_step: Any, step: Any, depth: Any, weights: Any,
    column: Any, width: Any, out: Any, place: Any,
) -> Any:  # fmt: skip
    """Writes products of TILE rows of `depth` numbers and SIMD_WIDTH columns of a matrix.

    out[place + r width + c] =
        sum over f below depth of x[first + r row_step + f step] weights[column + f width + c]
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def data(number: int) -> Any:
            return make_array(signature.args[number])(context, builder, arguments[number]).data

        _, first, row_step, step, depth, _, column, width, _, place = arguments
        x, weights, out = data(0), data(5), data(8)
        word, halves = ir.IntType(64), SIMD_WIDTH // 8
        zero = ir.Constant(_vector(8), [0.0] * 8)
        sums = [cgutils.alloca_once_value(builder, zero) for _ in range(TILE * halves)]
        for one in sums:
            builder.store(zero, one)
        with cgutils.for_range(builder, depth) as loop:
            line = builder.add(column, builder.mul(loop.index, width))
            right = [
                builder.load(place_of(builder, weights, at, 8), align=4)
                for at in (builder.add(line, ir.Constant(word, 8 * half)) for half in range(halves))
            ]
            at = builder.add(first, builder.mul(loop.index, step))
            for row in range(TILE):
                left = spread(builder, builder.load(builder.gep(x, [at])))
                at = builder.add(at, row_step)
                for half in range(halves):
                    cell = sums[row * halves + half]
                    value = [left, right[half], builder.load(cell)]
                    builder.store(builder.call(_multiply_add(builder), value), cell)
        for row in range(TILE):
            for half in range(halves):
                to = place_of(builder, out, builder.add(place, ir.Constant(word, 8 * half)), 8)
                builder.store(builder.load(sums[row * halves + half]), to, align=4)
            place = builder.add(place, width)
        return context.get_dummy_value()

    word = types.int64
    return types.void(x, word, word, word, word, weights, word, word, out, word), generate


@intrinsic
def add_scaled(
    typing_context: Any, out: Any, place: Any, scale: Any, x: Any, first: Any, count: Any
) -> Any:
    """Adds scale x[first + i] to out[place + i] for i below `count`, a multiple of SIMD_WIDTH."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        out, place, scale, x, first, count = arguments
        out = make_array(signature.args[0])(context, builder, out).data
        x = make_array(signature.args[3])(context, builder, x).data
        word = ir.IntType(64)
        wide = spread(builder, scale)
        blocks = builder.udiv(count, ir.Constant(word, 8))
        with cgutils.for_range(builder, blocks) as loop:
            at = builder.mul(loop.index, ir.Constant(word, 8))
            source = place_of(builder, x, builder.add(first, at), 8)
            target = place_of(builder, out, builder.add(place, at), 8)
            value = builder.load(source, align=4)
            old = builder.load(target, align=4)
            builder.store(builder.call(_multiply_add(builder), [wide, value, old]), target, align=4)
        return context.get_dummy_value()

    word = types.int64
    return types.void(out, word, types.float32, x, word, word), generate
