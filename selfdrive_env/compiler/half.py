"""Rows in half precision: float16 by vector instructions, bfloat16 by rounding bits.

Where an x86 processor has no such instructions (F16C) float16 comes of rounding bits as well: LLVM
would call a function that nothing here brings, and end the process.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core.extending import intrinsic, overload
from numba.core.target_extension import current_target

from selfdrive_env.compiler.njit import inline, njit
from selfdrive_env.compiler.simd import INLINED
from selfdrive_env.compiler.structs import array_of
from selfdrive_env.compiler.threads import on_cpu, warp_lane, warp_size
from selfdrive_env.compiler.vectors import place_of

__all__ = ["half_bits", "write_half", "write_halves"]

WIDE = 8
SIXTEEN, HALF_STEP = np.uint32(16), np.uint32(0x7FFF)

# Bits of single precision: where float16 ends, where its full precision begins, infinity.
TOO_LARGE, NORMAL, INFINITY = 0x47800000, 0x38800000, 0x7F800000
STEP_OF_HALF = 0x3F000000
"""Bits of 0.5, whose last place is worth as much as that of the small numbers of float16."""
REBIAS = (((15 - 127) << 23) + 0xFFF) & 0xFFFFFFFF
"""Added to a number's bits: its exponent as float16 has it, and all but the last bit of a half."""


def half_bits(value):
    """Returns the bits of a number in half precision."""
    return np.float16(value).view(np.uint16)


def write_halves(table, number, row, place):
    """Writes entries `place` to `place` + 7 of a row to a table in half precision.

    Args:
        table: Bits of float16 numbers, uint16 [N, as long as the row].
        number: Which row of the table.
        row: The numbers.
        place: The first of them.
    """
    table[number, place : place + 8] = row[place : place + 8].astype(np.float16).view(np.uint16)


def _write_halves_singly(table, number, row, place):
    """What CUDA runs instead."""
    for entry in range(place, place + 8):
        table[number, entry] = half_bits(row[entry])


def _shape(element: Any, like: Any) -> Any:
    """Returns a type of numbers with as many places as another, which may be one."""
    return ir.VectorType(element, like.count) if isinstance(like, ir.VectorType) else element


def _lacks_halves(context: Any) -> bool:
    """Whether code is generated for an x86 processor without instructions for float16."""
    if not on_cpu(context):
        return False
    triple, _, features = context.codegen().magic_tuple()
    return triple.startswith(("x86", "i386", "i686")) and "+f16c" not in features.split(",")


def _rounded(context: Any, builder: Any, value: Any) -> Any:
    """Returns the bits of numbers in float16: one or a vector, to the nearest, ties to even."""
    short = _shape(ir.IntType(16), value.type)
    if _lacks_halves(context):
        return builder.trunc(_rounded_by_bits(builder, value), short)
    return builder.bitcast(builder.fptrunc(value, _shape(ir.HalfType(), value.type)), short)


def _rounded_by_bits(builder: Any, value: Any) -> Any:
    """What `_rounded` does where the processor cannot; the bits are the same, also of NaN."""
    words = _shape(ir.IntType(32), value.type)

    def word(number: int) -> Any:
        count = getattr(words, "count", 0)
        one = ir.Constant(ir.IntType(32), number)
        return ir.Constant(words, [one] * count) if count else one

    bits = builder.bitcast(value, words)
    size = builder.and_(bits, word(0x7FFFFFFF))
    cut = builder.lshr(size, word(13))
    odd = builder.and_(cut, word(1))
    normal = builder.lshr(builder.add(builder.add(size, word(REBIAS)), odd), word(13))
    half = builder.bitcast(word(STEP_OF_HALF), value.type)
    sum_bits = builder.bitcast(builder.fadd(builder.bitcast(size, value.type), half), words)
    small = builder.sub(sum_bits, word(STEP_OF_HALF))
    quiet = builder.or_(word(0x7E00), builder.and_(cut, word(0x3FF)))
    is_number = builder.icmp_unsigned("<=", size, word(INFINITY))
    large = builder.select(is_number, word(0x7C00), quiet)
    found = builder.select(builder.icmp_unsigned("<", size, word(NORMAL)), small, normal)
    found = builder.select(builder.icmp_unsigned("<", size, word(TOO_LARGE)), found, large)
    sign = builder.and_(builder.lshr(bits, word(16)), word(0x8000))
    return builder.or_(found, sign)


@intrinsic
def _half_bits(typing_context: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _rounded(context, builder, arguments[0])

    return types.uint16(types.float32), generate


@intrinsic
def _write_halves(typing_context: Any, table: Any, number: Any, row: Any, place: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        table, number, row, place = arguments
        table = array_of(context, builder, signature.args[0], table)
        row = array_of(context, builder, signature.args[2], row)
        value = builder.load(place_of(builder, row.data, place, 8), align=4)
        value = _rounded(context, builder, value)
        columns = builder.extract_value(table.shape, 1)
        at = builder.gep(table.data, [builder.add(builder.mul(number, columns), place)])
        builder.store(value, builder.bitcast(at, value.type.as_pointer()), align=2)
        return context.get_dummy_value()

    return types.void(table, types.int64, row, types.int64), generate


@overload(half_bits, jit_options=INLINED)
def _compiled_bits(value):
    def bits(value):
        return _half_bits(value)

    return bits


@overload(write_halves, jit_options=INLINED)
def _compiled_write_halves(table, number, row, place):
    def write(table, number, row, place):
        _write_halves(table, number, row, place)

    return _write_halves_singly if current_target() == "cuda" else write


@inline
def brain_bits(value):
    """Returns the bits of a finite number in bfloat16, rounded to the nearest, ties to even."""
    bits = np.uint32(np.float32(value).view(np.int32))
    odd = (bits >> SIXTEEN) & np.uint32(1)
    return np.uint16((bits + HALF_STEP + odd) >> SIXTEEN)


@njit
def write_half(row, table, number, brain):
    """Writes a row in half precision, float16 or (`brain` not 0) bfloat16."""
    length = row.shape[0]
    if brain != 0:
        for entry in range(warp_lane(), length, warp_size()):
            table[number, entry] = brain_bits(row[entry])
        return
    place = warp_lane() * WIDE
    while place + WIDE <= length:
        write_halves(table, number, row, place)
        place += WIDE * warp_size()
    if warp_lane() == 0 and length % WIDE != 0 and length >= WIDE:
        write_halves(table, number, row, length - WIDE)
