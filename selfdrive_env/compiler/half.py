"""Rows in half precision: float16 by vector instructions, bfloat16 by rounding bits."""

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
from selfdrive_env.compiler.threads import warp_lane, warp_size
from selfdrive_env.compiler.vectors import place_of

__all__ = ["half_bits", "write_half", "write_halves"]

WIDE = 8
SIXTEEN, HALF_STEP = np.uint32(16), np.uint32(0x7FFF)


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


@intrinsic
def _half_bits(typing_context: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        half = builder.fptrunc(arguments[0], ir.HalfType())
        return builder.bitcast(half, ir.IntType(16))

    return types.uint16(types.float32), generate


@intrinsic
def _write_halves(typing_context: Any, table: Any, number: Any, row: Any, place: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        table, number, row, place = arguments
        table = array_of(context, builder, signature.args[0], table)
        row = array_of(context, builder, signature.args[2], row)
        value = builder.load(place_of(builder, row.data, place, 8), align=4)
        value = builder.fptrunc(value, ir.VectorType(ir.HalfType(), 8))
        value = builder.bitcast(value, ir.VectorType(ir.IntType(16), 8))
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
