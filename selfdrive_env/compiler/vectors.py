"""Vectors of floats in code that is generated: what the intrinsics of other modules are made of.

`multiply_tile` and `add_scaled` are the innermost loops of matrix products.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.extending import intrinsic
from numba.np.arrayobj import make_array

__all__ = [
    "SIMD_WIDTH",
    "TILE",
    "absolute",
    "add_scaled",
    "constants",
    "multiply_tile",
    "place_of",
]

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
    kind = ir.FunctionType(vector.type, [vector.type])
    name = f"llvm.fabs.v{vector.type.count}f32"
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [vector])


def place_of(builder: Any, data: Any, index: Any, length: int) -> Any:
    """Returns a pointer to `length` floats from entry `index` of a flat array on."""
    return builder.bitcast(builder.gep(data, [index]), _vector(length).as_pointer())


def _spread(builder: Any, value: Any) -> Any:
    """Returns a vector with a number in every place."""
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
                left = _spread(builder, builder.load(builder.gep(x, [at])))
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
        wide = _spread(builder, scale)
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
