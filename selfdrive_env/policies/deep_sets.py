"""Deep Sets (Zaheer et al. 2017) on the CPU: what a set comes to, and its derivative, in one pass.

Every element x of a set goes through W2 relu(W1 x); the largest of each of its outputs, and of 0,
stand for the set. Only the elements that gave a largest output have a gradient, a few of them, and
empty slots cost nothing; a learner that treats the layers one by one computes all.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.core.extending import intrinsic
from numba.np.arrayobj import make_array

from selfdrive_env.compiler.cache import cached
from selfdrive_env.config.layouts import ObservationLayout
from selfdrive_env.config.observation import OBSERVATION, slots
from selfdrive_env.state.arrays import F32, I32, I64

__all__ = [
    "LANES",
    "SETS",
    "SetWeights",
    "backward",
    "compile_all",
    "dense",
    "encode",
    "kernels",
    "set_plan",
]

SETS = ("lane_points", "boundary_points", "stop_lines", "agents")
"""Groups whose slots have no order that matters; the goals do have one."""

LANES = 16
"""Widths of the layers are multiples of this."""

TILE = 4
"""Elements that go through a layer together."""

CHUNK = 256
"""Rows whose gradients are summed apart, so that they do not depend on the number of threads."""

SOURCES = ("policies/deep_sets.py", "compiler")
ZERO = np.float32(0.0)


class SetWeights(NamedTuple):
    """The networks of the elements, one a set."""

    plan: I64
    """Where a set lies in a row: first column, slots, columns of a slot; [S, 3]. The last column
    of a slot tells that it is in use."""

    inner: F32
    """W1 of all sets one below the other, [sum of columns, H1]."""

    outer: F32
    """W2, [S, H1, H2]."""


_EIGHT = ir.VectorType(ir.FloatType(), 8)


def _spread(builder: Any, value: Any) -> Any:
    """Returns a vector with a number in every place."""
    wide = ir.Constant(_EIGHT, ir.Undefined)
    wide = builder.insert_element(wide, value, ir.Constant(ir.IntType(32), 0))
    mask = ir.Constant(ir.VectorType(ir.IntType(32), 8), [0] * 8)
    return builder.shuffle_vector(wide, wide, mask)


def _vector_at(builder: Any, data: Any, index: Any) -> Any:
    """Returns a pointer to eight numbers from entry `index` of a flat array on."""
    return builder.bitcast(builder.gep(data, [index]), _EIGHT.as_pointer())


def _multiply_add(builder: Any) -> Any:
    kind = ir.FunctionType(_EIGHT, [_EIGHT, _EIGHT, _EIGHT])
    return cgutils.get_or_insert_function(builder.module, kind, "llvm.fmuladd.v8f32")


@intrinsic
def multiply_tile(
    typing_context: Any, x: Any, first: Any, depth: Any, weights: Any, column: Any, width: Any,
    out: Any, place: Any,
) -> Any:  # fmt: skip
    """Writes products of TILE rows of `depth` numbers and LANES columns of a matrix.

    out[place + r width + c] = sum over f of x[first + r depth + f] weights[column + f width + c]
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def data(number: int) -> Any:
            return make_array(signature.args[number])(context, builder, arguments[number]).data

        _, first, depth, _, column, width, _, place = arguments
        x, weights, out = data(0), data(3), data(6)
        word, halves = ir.IntType(64), LANES // 8
        zero = ir.Constant(_EIGHT, [0.0] * 8)
        sums = [cgutils.alloca_once_value(builder, zero) for _ in range(TILE * halves)]
        for one in sums:
            builder.store(zero, one)
        with cgutils.for_range(builder, depth) as loop:
            line = builder.add(column, builder.mul(loop.index, width))
            right = [
                builder.load(_vector_at(builder, weights, at), align=4)
                for at in (builder.add(line, ir.Constant(word, 8 * half)) for half in range(halves))
            ]
            at = builder.add(first, loop.index)
            for row in range(TILE):
                left = _spread(builder, builder.load(builder.gep(x, [at])))
                at = builder.add(at, depth)
                for half in range(halves):
                    cell = sums[row * halves + half]
                    value = [left, right[half], builder.load(cell)]
                    builder.store(builder.call(_multiply_add(builder), value), cell)
        for row in range(TILE):
            for half in range(halves):
                to = _vector_at(builder, out, builder.add(place, ir.Constant(word, 8 * half)))
                builder.store(builder.load(sums[row * halves + half]), to, align=4)
            place = builder.add(place, width)
        return context.get_dummy_value()

    word = types.int64
    return types.void(x, word, word, weights, word, word, out, word), generate


def set_plan(layout: ObservationLayout) -> tuple[list[str], I64]:
    """Returns the sets that a layout has slots for, and where they lie: `SetWeights.plan`."""
    repeats = slots(layout.counts)
    names = [name for name in SETS if repeats[name]]
    rows = [(layout.slices[name].start, repeats[name], len(OBSERVATION[name])) for name in names]
    return names, np.array(rows, np.int64).reshape(-1, 3)


@intrinsic
def add_scaled(
    typing_context: Any, out: Any, place: Any, scale: Any, x: Any, first: Any, count: Any
) -> Any:
    """Adds scale x[first + i] to out[place + i] for i below `count`, a multiple of LANES."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        out, place, scale, x, first, count = arguments
        out = make_array(signature.args[0])(context, builder, out).data
        x = make_array(signature.args[3])(context, builder, x).data
        word = ir.IntType(64)
        wide = _spread(builder, scale)
        blocks = builder.udiv(count, ir.Constant(word, 8))
        with cgutils.for_range(builder, blocks) as loop:
            at = builder.mul(loop.index, ir.Constant(word, 8))
            source = _vector_at(builder, x, builder.add(first, at))
            target = _vector_at(builder, out, builder.add(place, at))
            value = builder.load(source, align=4)
            old = builder.load(target, align=4)
            builder.store(builder.call(_multiply_add(builder), [wide, value, old]), target, align=4)
        return context.get_dummy_value()

    word = types.int64
    return types.void(out, word, types.float32, x, word, word), generate


@njit
def multiply(x, count, depth, weights, base, width, out):
    """out[r] = x[r] W for the first `count` rows and up to TILE - 1 more; all flat."""
    for first in range(0, count, TILE):
        for column in range(0, width, LANES):
            multiply_tile(
                x, first * depth, depth, weights, base + column, width, out, first * width + column
            )


@njit
def gather(row, first, slots, columns, x, slot):
    """Copies the slots that are in use, pads with zeros to whole tiles; returns their number."""
    count = 0
    for one in range(slots):
        at = first + one * columns
        if row[at + columns - 1] == ZERO:
            continue
        for column in range(columns):
            x[count * columns + column] = row[at + column]
        slot[count] = one
        count += 1
    for place in range(count * columns, (count + TILE - 1) // TILE * TILE * columns):
        x[place] = ZERO
    return count


def _encode(rows, plan, inner, outer, out, best, begin, end):
    """Writes what the sets of rows [begin, end) come to, and which slots it came from.

    Args:
        rows: [B, features].
        plan: See `SetWeights`, like the next two, which are flat.
        inner: Likewise.
        outer: Likewise.
        out: Receives the largest outputs, [B, S, H2].
        best: Receives the slot of each, -1 where it is 0, [B, S, H2].
        begin: First row.
        end: Row after the last.
    """
    wide = out.shape[2]
    depth = outer.size // (plan.shape[0] * wide)
    slots = plan[:, 1].max() + TILE
    x = np.empty(slots * plan[:, 2].max(), np.float32)
    hidden = np.empty(slots * depth, np.float32)
    result = np.empty(slots * wide, np.float32)
    slot = np.empty(slots, np.int32)
    for row in range(begin, end):
        base = 0
        for one in range(plan.shape[0]):
            columns = plan[one, 2]
            count = gather(rows[row], plan[one, 0], plan[one, 1], columns, x, slot)
            multiply(x, count, columns, inner, base, depth, hidden)
            for place in range((count + TILE - 1) // TILE * TILE * depth):
                hidden[place] = max(hidden[place], ZERO)
            multiply(hidden, count, depth, outer, one * depth * wide, wide, result)
            largest = out[row, one]
            where = best[row, one]
            for column in range(wide):
                largest[column] = ZERO
                where[column] = -1
            for element in range(count):
                number = slot[element]
                for column in range(wide):
                    value = result[element * wide + column]
                    larger = value > largest[column]
                    where[column] = number if larger else where[column]
                    largest[column] = value if larger else largest[column]
            base += columns * depth


def _pull_back(rows, plan, inner, turned, best, pull, d_inner, d_turned, begin, end):
    """Adds up the gradients of the weights over rows [begin, end); all but `rows` is flat.

    Args:
        rows: [B, features].
        plan: See `SetWeights`, [S, 3].
        inner: Likewise.
        turned: W2 of each set with its axes turned, [S, H2, H1].
        best: From `_encode`, [B, S, H2].
        pull: Gradient of what the sets come to, [B, S, H2].
        d_inner: Is added to, [chunks, size of inner].
        d_turned: Is added to, [chunks, S, H2, H1].
        begin: First row, a multiple of CHUNK.
        end: Row after the last.
    """
    sets = plan.shape[0]
    wide = best.size // (rows.shape[0] * sets)
    depth = turned.size // (sets * wide)
    slots = plan[:, 1].max() + TILE
    x = np.empty(slots * plan[:, 2].max(), np.float32)
    hidden = np.empty(slots * depth, np.float32)
    d_hidden = np.empty(slots * depth, np.float32)
    slot = np.empty(slots, np.int32)
    element_of = np.empty(slots, np.int32)
    for row in range(begin, end):
        chunk = row // CHUNK
        base = 0
        for one in range(sets):
            first = plan[one, 0]
            columns = plan[one, 2]
            place = (row * sets + one) * wide
            for number in range(plan[one, 1]):
                element_of[number] = -1
            count = 0
            for column in range(wide):  # the slots that have a gradient, in the order found
                number = best[place + column]
                if number < 0 or pull[place + column] == ZERO or element_of[number] >= 0:
                    continue
                element_of[number] = count
                slot[count] = number
                for at in range(columns):
                    x[count * columns + at] = rows[row, first + number * columns + at]
                count += 1
            for at in range(count * columns, (count + TILE - 1) // TILE * TILE * columns):
                x[at] = ZERO
            multiply(x, count, columns, inner, base, depth, hidden)
            for at in range(count * depth):
                hidden[at] = max(hidden[at], ZERO)
                d_hidden[at] = ZERO
            for column in range(wide):
                number = best[place + column]
                grow = pull[place + column]
                if number < 0 or grow == ZERO:
                    continue
                element = element_of[number] * depth
                weight = (one * wide + column) * depth
                add_scaled(d_turned, chunk * turned.size + weight, grow, hidden, element, depth)
                add_scaled(d_hidden, element, grow, turned, weight, depth)
            for at in range(count * depth):
                d_hidden[at] = d_hidden[at] if hidden[at] > ZERO else ZERO
            for element in range(count):
                line = chunk * inner.size + base
                for at in range(columns):
                    value = x[element * columns + at]
                    add_scaled(d_inner, line, value, d_hidden, element * depth, depth)
                    line += depth
            base += columns * depth


def _dense(x, weights, out, begin, end):
    """Writes rows [begin, end) of the product of x [B, depth] and weights [depth, width].

    Both begin and end are multiples of TILE, and the width one of LANES.
    """
    depth, width = weights.shape
    flat = weights.reshape(-1)
    multiply(
        x[begin:end].reshape(-1), end - begin, depth, flat, 0, width, out[begin:end].reshape(-1)
    )


_compiled: dict[Callable[..., None], Any] = {}


def _kernel(function: Callable[..., None]) -> Any:
    """Returns a function compiled, when it is first asked for."""
    if function not in _compiled:
        contract: Any = {"contract"}
        _compiled[function] = cached(njit(function, nogil=True, fastmath=contract), SOURCES)
    return _compiled[function]


def kernels() -> dict[str, Any]:
    """Returns name -> compiled function, of all there are."""
    return {one.__name__.strip("_"): _kernel(one) for one in (_encode, _dense, _pull_back)}


def compile_all() -> None:
    """Runs every kernel on one empty row, so that the cache has them."""
    plan = set_plan(ObservationLayout(1, 1, 1, 1, 1))[1]
    inner = np.zeros((int(plan[:, 2].sum()), LANES), np.float32)
    weights = SetWeights(plan, inner, np.zeros((len(plan), LANES, LANES), np.float32))
    rows = np.zeros((1, int(plan[:, :2].sum(1).max() * plan[:, 2].max())), np.float32)
    out, best = encode(rows, weights)
    backward(rows, weights, best, out)
    dense(rows, np.zeros((rows.shape[1], LANES), np.float32))


_pools: dict[tuple[int, int], ThreadPoolExecutor] = {}


def _over_rows(function: Callable[..., None], count: int, threads: int, *arguments: Any) -> None:
    """Runs a kernel over parts of the rows, each of whole chunks, in threads of its own."""
    kernel = _kernel(function)
    chunks = -(-count // CHUNK)
    parts = min(threads, chunks)
    ends = [min(chunks * part // parts * CHUNK, count) for part in range(1, parts + 1)]
    pieces = list(zip([0, *ends[:-1]], ends, strict=True)) if parts else []
    if len(pieces) < 2 or not kernel.signatures:  # one thread compiles
        for begin, end in pieces:
            kernel(*arguments, begin, end)
        return
    key = os.getpid(), parts - 1  # a fork has no threads but its own
    if key not in _pools:
        _pools[key] = ThreadPoolExecutor(parts - 1, thread_name_prefix="selfdrive_env_sets")
    others = [_pools[key].submit(kernel, *arguments, *piece) for piece in pieces[1:]]
    kernel(*arguments, *pieces[0])
    for other in others:
        other.result()


def encode(rows: F32, weights: SetWeights, threads: int = 1) -> tuple[F32, I32]:
    """Returns what the sets of each row come to.

    Args:
        rows: Observations, float32 [B, features].
        weights: Of the elements' networks; H1 and H2 are multiples of `LANES`.
        threads: Number of threads.

    Returns:
        The largest outputs float32 [B, S, H2], 0 where none is positive, and the slot that each
        came from, int32 [B, S, H2], -1 where none is positive.
    """
    shape = (len(rows), len(weights.plan), weights.outer.shape[2])
    out, best = np.empty(shape, np.float32), np.empty(shape, np.int32)
    flat = weights.inner.reshape(-1), weights.outer.reshape(-1)
    _over_rows(_encode, len(rows), threads, rows, weights.plan, *flat, out, best)
    return out, best


def dense(x: F32, weights: F32, threads: int = 1) -> F32:
    """Returns x W; a row's result depends neither on the other rows nor on the threads.

    The matrix products of NumPy add up in an order that changes with the number of rows.

    Args:
        x: [B, depth].
        weights: [depth, width].
        threads: Number of threads.
    """
    rows, width = len(x), weights.shape[1]
    whole = np.zeros((-(-rows // TILE) * TILE, x.shape[1]), np.float32)
    whole[:rows] = x
    padded = np.zeros((len(weights), -(-width // LANES) * LANES), np.float32)
    padded[:, :width] = weights
    out = np.empty((len(whole), padded.shape[1]), np.float32)
    _over_rows(_dense, len(whole), threads, whole, padded, out)
    return out[:rows, :width]


def backward(
    rows: F32, weights: SetWeights, best: I32, grad_output: F32, threads: int = 1
) -> tuple[F32, F32]:
    """Returns the gradients of the weights, `inner` and `outer`.

    Args:
        rows: As given to `encode`.
        weights: Likewise.
        best: From `encode`.
        grad_output: Gradient of what the sets come to, float32 [B, S, H2].
        threads: Number of threads; the result does not depend on it.
    """
    chunks = -(-len(rows) // CHUNK)
    turned = np.ascontiguousarray(weights.outer.transpose(0, 2, 1))
    d_inner = np.zeros((chunks, weights.inner.size), np.float32)
    d_turned = np.zeros((chunks, *turned.shape), np.float32)
    arrays = weights.inner, turned, best, grad_output, d_inner, d_turned
    flat = [array.reshape(-1) for array in arrays]
    arguments = (rows, weights.plan, *flat)
    _over_rows(_pull_back, len(rows), threads, *arguments)
    total = d_turned.sum(0).transpose(0, 2, 1)
    return d_inner.sum(0).reshape(weights.inner.shape), np.ascontiguousarray(total)
