"""The innermost writes of an observation as vector instructions.

The plain functions say what is computed and run where kernels are interpreted; compiled code takes
the same operations in the same order, four numbers at a time, and gives the same bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.extending import intrinsic, overload
from numba.core.target_extension import current_target

from selfdrive_env.compiler.structs import array_of
from selfdrive_env.compiler.vectors import (
    absolute,
    bottom,
    constants,
    join,
    join_parts,
    pack,
    place_of,
    shuffle,
)
from selfdrive_env.config.observation import WIDTHS, scale_of
from selfdrive_env.state.road import UNREACHABLE

__all__ = ["BOUNDARY_FLOATS", "GOAL_DISTANCE", "GOAL_GAIN", "INLINED", "LANE_FLOATS", "NEAR",
    "prefetch", "way_ahead", "write_lane_pair", "write_lane_point", "write_mover",
    "write_point", "write_point_pair", "write_squashed"]  # fmt: skip

NEAR = np.float32(scale_of("lane_points", "x"))
"""Of coordinates, the same in every group [m]."""

GOAL_DISTANCE = np.float32(scale_of("lane_points", "goal_distance"))
GOAL_GAIN = np.float32(scale_of("lane_points", "goal_gain"))
SPEED = np.float32(scale_of("agents", "speed_along"))
"""Along and across [m/s]."""

LANE_FLOATS, BOUNDARY_FLOATS = WIDTHS["lane_points"], WIDTHS["boundary_points"]
ZERO = np.float32(0.0)
ONE = np.float32(1.0)
FARTHEST = np.float32(UNREACHABLE)
UNIT = np.float32(1.000001)
"""Divisor of cosines and sines: what rounding adds to them must not lead out of [-1, 1]."""


def prefetch(array, index):
    """Asks for the cache line where entry or row `index` of an array begins; computes nothing."""


def squashed(value, scale):
    """Returns value / (scale + |value|)."""
    return value / (scale + abs(value))


def write_point(row, offset, table, index, x, y, cos, sin):
    """Writes a point, a row (x, y, cos, sin, ...) of `table`, in the frame of the pose given.

    Args:
        row: Receives x / (20 + |x|), y / (20 + |y|), cos, sin from `offset` on.
        offset: Place in the row.
        table: Points, [N, 4 or more].
        index: Which point.
        x: Origin of the frame [m].
        y: Likewise [m].
        cos: Heading of the frame.
        sin: Likewise.
    """
    dx = table[index, 0] - x
    dy = table[index, 1] - y
    row[offset] = squashed(dx * cos + dy * sin, NEAR)
    row[offset + 1] = squashed(dy * cos - dx * sin, NEAR)
    row[offset + 2] = (table[index, 2] * cos + table[index, 3] * sin) / UNIT
    row[offset + 3] = (table[index, 3] * cos - table[index, 2] * sin) / UNIT


def write_squashed(row, offset, a, b, scale_a, scale_b):
    """Writes a / (scale_a + |a|) and b / (scale_b + |b|) from `offset` on."""
    row[offset] = squashed(a, scale_a)
    row[offset + 1] = squashed(b, scale_b)


def write_lane_point(row, offset, table, index, x, y, cos, sin, distance, gain):
    """Writes seven numbers: a point as `write_point` does, its way to the goal, and 1.

    It may overwrite the eighth number with 0.

    Args:
        row: Receives the numbers from `offset` on; has eight left.
        offset: Likewise.
        table: As for `write_point`, like the next five.
        index: Likewise.
        x: Likewise.
        y: Likewise.
        cos: Likewise.
        sin: Likewise.
        distance: To the goal, written as d / (100 + |d|) [m].
        gain: The distance less the agent's own, written as g / (20 + |g|) [m].
    """
    write_point(row, offset, table, index, x, y, cos, sin)
    row[offset + 4] = squashed(distance, GOAL_DISTANCE)
    row[offset + 5] = squashed(gain, GOAL_GAIN)
    row[offset + 6] = ONE


def write_point_pair(row, offset, table, index, x, y, cos, sin):
    """Writes two points that follow one another in a table [N, 4], each with 1 behind it.

    Ten numbers from `offset` on, the points as `write_point` does.
    """
    for number in range(2):
        place = offset + BOUNDARY_FLOATS * number
        write_point(row, place, table, index + number, x, y, cos, sin)
        row[place + 4] = ONE


def way_ahead(way, goal_s, slack, cycle):
    """Returns the way to goal_s on the goal's lane, `way` from the start of that lane [m]."""
    distance = way + goal_s
    distance += cycle if distance < -slack else ZERO
    return min(max(distance, ZERO), FARTHEST)


def write_lane_pair(
    row, offset, table, index, x, y, cos, sin, way, goal_s, slack, cycle, own_distance
):
    """Writes two points that follow one another in a table [N, 4], as `write_lane_point` does.

    Fourteen numbers from `offset` on; it may overwrite the fifteenth with 0. Both share a division:
    a / A and b / B are a (B r) and b (A r) with r = 1 / (A B). Their distances to the goal are
    `way_ahead` of entries `index` and `index` + 1 of `way`.
    """
    ax = table[index, 0] - x
    ay = table[index, 1] - y
    bx = table[index + 1, 0] - x
    by = table[index + 1, 1] - y
    share_division(row, offset, ax * cos + ay * sin, bx * cos + by * sin, NEAR, ONE)
    share_division(row, offset + 1, ay * cos - ax * sin, by * cos - bx * sin, NEAR, ONE)
    ax = table[index, 2]
    ay = table[index, 3]
    bx = table[index + 1, 2]
    by = table[index + 1, 3]
    share_division(row, offset + 2, ax * cos + ay * sin, bx * cos + by * sin, UNIT, ZERO)
    share_division(row, offset + 3, ay * cos - ax * sin, by * cos - bx * sin, UNIT, ZERO)
    a = way_ahead(way[index], goal_s, slack, cycle)
    b = way_ahead(way[index + 1], goal_s, slack, cycle)
    share_division(row, offset + 4, a, b, GOAL_DISTANCE, ONE)
    share_division(row, offset + 5, a - own_distance, b - own_distance, GOAL_GAIN, ONE)
    row[offset + 6] = ONE
    row[offset + LANE_FLOATS + 6] = ONE


def share_division(row, offset, a, b, scale, share):
    """Writes a / (scale + share |a|) at `offset`, that of b a lane point on, with one division."""
    bottom_a = scale + share * abs(a)
    bottom_b = scale + share * abs(b)
    both = ONE / (bottom_a * bottom_b)
    row[offset] = a * (bottom_b * both)
    row[offset + LANE_FLOATS] = b * (bottom_a * both)


def write_mover(row, offset, table, index, x, y, cos, sin, speed, length_part, width_part):
    """Writes eight numbers: a point as `write_point` does, its velocity, and its size.

    Args:
        row: As for `write_point`, like the next seven.
        offset: Likewise.
        table: Likewise.
        index: Likewise.
        x: Likewise.
        y: Likewise.
        cos: Likewise.
        sin: Likewise.
        speed: Along its heading; along and across the frame v / (10 + |v|) is written [m/s].
        length_part: Written as it is.
        width_part: Likewise.
    """
    write_point(row, offset, table, index, x, y, cos, sin)
    row[offset + 4] = squashed(speed * (table[index, 2] * cos + table[index, 3] * sin), SPEED)
    row[offset + 5] = squashed(speed * (table[index, 3] * cos - table[index, 2] * sin), SPEED)
    row[offset + 6] = length_part
    row[offset + 7] = width_part


# What CUDA runs instead: a thread writes no vectors, and single points.


def _prefetch_nothing(array, index):
    pass


def _write_no_point_pair(row, offset, table, index, x, y, cos, sin):
    pass


def _turned(context: Any, builder: Any, kinds: Any, arguments: Any) -> Any:
    """Returns a point (x, y, cos, sin) in a frame; the arguments are those of `write_point`."""
    _, _, table, index, x, y, cos, sin = arguments
    table = array_of(context, builder, kinds[2], table)
    columns = builder.extract_value(table.shape, 1)
    at = place_of(builder, table.data, builder.mul(index, columns), 4)
    zero = ir.Constant(ir.FloatType(), 0.0)
    moved = builder.fsub(builder.load(at, align=4), pack(builder, [x, y, zero, zero]))
    minus = builder.fneg(sin)
    return builder.fadd(
        builder.fmul(moved, pack(builder, [cos, cos, cos, cos])),
        builder.fmul(shuffle(builder, moved, 1, 0, 3, 2), pack(builder, [sin, minus, sin, minus])),
    )


def _store_scaled(
    context: Any, builder: Any, kind: Any, row: Any, offset: Any, value: Any, scale: Any, share: Any
) -> None:
    """Stores value / (scale + share |value|), vectors, shares 0 or 1, from an offset of a row."""
    row = array_of(context, builder, kind, row)
    length = value.type.count
    value = builder.fdiv(value, bottom(builder, value, scale, share))
    builder.store(value, place_of(builder, row.data, offset, length), align=4)


POINT_SCALE = (float(NEAR), float(NEAR), float(UNIT), float(UNIT))
POINT_SHARE = (1.0, 1.0, 0.0, 0.0)


@intrinsic
def _write_point(
    typing_context: Any, row: Any, offset: Any, table: Any, index: Any, x: Any, y: Any, cos: Any,
    sin: Any,
) -> Any:  # fmt: skip
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value = _turned(context, builder, signature.args, arguments)
        row, offset, *_ = arguments
        _store_scaled(
            context, builder, signature.args[0], row, offset, value, POINT_SCALE, POINT_SHARE
        )
        return context.get_dummy_value()

    word, number = types.int64, types.float32
    return types.void(row, word, table, word, number, number, number, number), generate


@intrinsic
def _write_lane_point(
    typing_context: Any, row: Any, offset: Any, table: Any, index: Any, x: Any, y: Any, cos: Any,
    sin: Any, distance: Any, gain: Any,
) -> Any:  # fmt: skip
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        point = _turned(context, builder, signature.args, arguments[:8])
        one = ir.Constant(ir.FloatType(), 1.0)
        zero = ir.Constant(ir.FloatType(), 0.0)
        rest = pack(builder, [*arguments[8:], one, zero])
        _store_scaled(
            context, builder, signature.args[0], arguments[0], arguments[1],
            join(builder, point, rest),
            (*POINT_SCALE, float(GOAL_DISTANCE), float(GOAL_GAIN), 1.0, 1.0),
            (*POINT_SHARE, 1.0, 1.0, 0.0, 0.0),
        )  # fmt: skip
        return context.get_dummy_value()

    word, number = types.int64, types.float32
    return types.void(row, word, table, word, *[number] * 6), generate


def _turned_pair(context: Any, builder: Any, kinds: Any, arguments: Any) -> Any:
    """Returns two points one after the other, as `_turned` does one."""
    _, _, table, index, x, y, cos, sin = arguments
    table = array_of(context, builder, kinds[2], table)
    four = ir.Constant(ir.IntType(64), 4)
    at = place_of(builder, table.data, builder.mul(index, four), 8)
    zero = ir.Constant(ir.FloatType(), 0.0)
    moved = builder.fsub(builder.load(at, align=4), pack(builder, [x, y, zero, zero] * 2))
    minus = builder.fneg(sin)
    swapped = shuffle(builder, moved, 1, 0, 3, 2, 5, 4, 7, 6)
    return builder.fadd(
        builder.fmul(moved, pack(builder, [cos] * 8)),
        builder.fmul(swapped, pack(builder, [sin, minus] * 4)),
    )


@intrinsic
def _write_point_pair(
    typing_context: Any, row: Any, offset: Any, table: Any, index: Any, x: Any, y: Any, cos: Any,
    sin: Any,
) -> Any:  # fmt: skip
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value = _turned_pair(context, builder, signature.args, arguments)
        value = builder.fdiv(value, bottom(builder, value, POINT_SCALE * 2, POINT_SHARE * 2))
        data = array_of(context, builder, signature.args[0], arguments[0]).data
        one = ir.Constant(ir.FloatType(), 1.0)
        for half, order in enumerate(((0, 1, 2, 3), (4, 5, 6, 7))):
            first = builder.add(arguments[1], ir.Constant(ir.IntType(64), BOUNDARY_FLOATS * half))
            part = shuffle(builder, value, *order)
            builder.store(part, place_of(builder, data, first, 4), align=4)
            builder.store(
                one, builder.gep(data, [builder.add(first, ir.Constant(ir.IntType(64), 4))])
            )
        return context.get_dummy_value()

    word, number = types.int64, types.float32
    return types.void(row, word, table, word, number, number, number, number), generate


def _ways_ahead(builder: Any, data: Any, index: Any, arguments: Any) -> Any:
    """Returns the distances and gains of two lane points as (d, g, 1, 0, d', g', 1, 0)."""
    goal_s, slack, cycle, own = arguments
    zero = ir.Constant(ir.FloatType(), 0.0)
    way = builder.load(place_of(builder, data, index, 2), align=4)
    way = builder.fadd(shuffle(builder, way, 0, 0, 1, 1), pack(builder, [goal_s] * 4))
    behind = builder.fcmp_ordered("<", way, pack(builder, [builder.fneg(slack)] * 4))
    none = constants(*[0.0] * 4)
    way = builder.fadd(way, builder.select(behind, pack(builder, [cycle] * 4), none))
    way = builder.select(builder.fcmp_ordered(">", way, none), way, none)
    most = constants(*[float(FARTHEST)] * 4)
    way = builder.select(builder.fcmp_ordered("<", way, most), way, most)
    way = builder.fsub(way, pack(builder, [zero, own, zero, own]))
    mask = ir.Constant(
        ir.VectorType(ir.IntType(32), 8),
        [ir.Constant(ir.IntType(32), place) for place in (0, 1, 4, 5, 2, 3, 6, 7)],
    )
    return builder.shuffle_vector(way, constants(1.0, 0.0, 1.0, 0.0), mask)


@intrinsic
def _write_lane_pair(
    typing_context: Any, row: Any, offset: Any, table: Any, index: Any, x: Any, y: Any, cos: Any,
    sin: Any, way: Any, goal_s: Any, slack: Any, cycle: Any, own_distance: Any,
) -> Any:  # fmt: skip
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        points = _turned_pair(context, builder, signature.args, arguments[:8])
        data = array_of(context, builder, signature.args[8], arguments[8]).data
        ways = _ways_ahead(builder, data, arguments[3], arguments[9:])
        scale = (*POINT_SCALE, float(GOAL_DISTANCE), float(GOAL_GAIN), 1.0, 1.0)
        share = (*POINT_SHARE, 1.0, 1.0, 0.0, 0.0)
        tops, bottoms = [], []
        for order in ((0, 1, 2, 3), (4, 5, 6, 7)):
            tops.append(join_parts(builder, points, ways, order))
            bottoms.append(bottom(builder, tops[-1], scale, share))
        both = builder.fdiv(constants(*[1.0] * 8), builder.fmul(*bottoms))
        data = array_of(context, builder, signature.args[0], arguments[0]).data
        for half in range(2):
            value = builder.fmul(tops[half], builder.fmul(bottoms[1 - half], both))
            first = builder.add(arguments[1], ir.Constant(ir.IntType(64), LANE_FLOATS * half))
            builder.store(value, place_of(builder, data, first, 8), align=4)
        return context.get_dummy_value()

    word, number = types.int64, types.float32
    return types.void(row, word, table, word, *[number] * 4, way, *[number] * 4), generate


@intrinsic
def _write_mover(
    typing_context: Any, row: Any, offset: Any, table: Any, index: Any, x: Any, y: Any, cos: Any,
    sin: Any, speed: Any, length_part: Any, width_part: Any,
) -> Any:  # fmt: skip
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        point = _turned(context, builder, signature.args, arguments[:8])
        speed, *parts = arguments[8:]
        one = ir.Constant(ir.FloatType(), 1.0)
        faster = shuffle(builder, point, 2, 3, 2, 3)
        faster = builder.fmul(faster, pack(builder, [speed, speed, one, one]))
        faster = builder.shuffle_vector(
            faster, pack(builder, [*parts, *parts]),
            ir.Constant(ir.VectorType(ir.IntType(32), 4), [0, 1, 4, 5]),
        )  # fmt: skip
        _store_scaled(
            context, builder, signature.args[0], arguments[0], arguments[1],
            join(builder, point, faster),
            (*POINT_SCALE, float(SPEED), float(SPEED), 1.0, 1.0),
            (*POINT_SHARE, 1.0, 1.0, 0.0, 0.0),
        )  # fmt: skip
        return context.get_dummy_value()

    word, number = types.int64, types.float32
    return types.void(row, word, table, word, *[number] * 7), generate


@intrinsic
def _write_squashed(
    typing_context: Any, row: Any, offset: Any, a: Any, b: Any, scale_a: Any, scale_b: Any
) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        row, offset, a, b, scale_a, scale_b = arguments
        row = array_of(context, builder, signature.args[0], row)
        value = pack(builder, [a, b])
        scale = pack(builder, [scale_a, scale_b])
        value = builder.fdiv(value, builder.fadd(scale, absolute(builder, value)))
        builder.store(value, place_of(builder, row.data, offset, 2), align=4)
        return context.get_dummy_value()

    word, number = types.int64, types.float32
    return types.void(row, word, number, number, number, number), generate


@intrinsic
def _prefetch(typing_context: Any, array: Any, index: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = array_of(context, builder, signature.args[0], arguments[0])
        index = arguments[1]
        for axis in range(1, signature.args[0].ndim):
            index = builder.mul(index, builder.extract_value(array.shape, axis))
        word, byte = ir.IntType(32), ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        at = builder.bitcast(builder.gep(array.data, [index]), byte)
        builder.call(function, [at, word(0), word(3), word(1)])
        return context.get_dummy_value()

    return types.void(array, types.int64), generate


INLINED: Any = {"forceinline": True, "error_model": "numpy"}


@overload(squashed, jit_options=INLINED)
def _compiled_squash(value, scale):
    return squashed


@overload(way_ahead, jit_options=INLINED)
def _compiled_way_ahead(way, goal_s, slack, cycle):
    return way_ahead


@overload(share_division, jit_options=INLINED)
def _compiled_share_division(row, offset, a, b, scale, share):
    return share_division


@overload(prefetch, jit_options=INLINED)
def _compiled_prefetch(array, index):
    def write(array, index):
        _prefetch(array, index)

    return _prefetch_nothing if current_target() == "cuda" else write


@overload(write_point, jit_options=INLINED)
def _compiled_write_point(row, offset, table, index, x, y, cos, sin):
    def write(row, offset, table, index, x, y, cos, sin):
        _write_point(row, offset, table, index, x, y, cos, sin)

    return write_point if current_target() == "cuda" else write


@overload(write_lane_point, jit_options=INLINED)
def _compiled_write_lane_point(row, offset, table, index, x, y, cos, sin, distance, gain):
    def write(row, offset, table, index, x, y, cos, sin, distance, gain):
        _write_lane_point(row, offset, table, index, x, y, cos, sin, distance, gain)

    return write_lane_point if current_target() == "cuda" else write


@overload(write_point_pair, jit_options=INLINED)
def _compiled_write_point_pair(row, offset, table, index, x, y, cos, sin):
    def write(row, offset, table, index, x, y, cos, sin):
        _write_point_pair(row, offset, table, index, x, y, cos, sin)

    return _write_no_point_pair if current_target() == "cuda" else write


@overload(write_lane_pair, jit_options=INLINED)
def _compiled_write_lane_pair(
    row, offset, table, index, x, y, cos, sin, way, goal_s, slack, cycle, own_distance
):
    def write(row, offset, table, index, x, y, cos, sin, way, goal_s, slack, cycle, own_distance):
        _write_lane_pair(
            row, offset, table, index, x, y, cos, sin, way, goal_s, slack, cycle, own_distance
        )

    return write_lane_pair if current_target() == "cuda" else write


@overload(write_mover, jit_options=INLINED)
def _compiled_write_mover(
    row, offset, table, index, x, y, cos, sin, speed, length_part, width_part
):
    def write(row, offset, table, index, x, y, cos, sin, speed, length_part, width_part):
        _write_mover(row, offset, table, index, x, y, cos, sin, speed, length_part, width_part)

    return write_mover if current_target() == "cuda" else write


@overload(write_squashed, jit_options=INLINED)
def _compiled_write_squashed(row, offset, a, b, scale_a, scale_b):
    def write(row, offset, a, b, scale_a, scale_b):
        _write_squashed(row, offset, a, b, scale_a, scale_b)

    return write_squashed if current_target() == "cuda" else write
