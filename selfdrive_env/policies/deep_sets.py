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

from selfdrive_env.compiler.cache import cached
from selfdrive_env.compiler.njit import host, njit
from selfdrive_env.compiler.vectors import SIMD_WIDTH, TILE, add_scaled, multiply_tile
from selfdrive_env.config.layouts import ObservationLayout
from selfdrive_env.config.observation import OBSERVATION, slots
from selfdrive_env.state.arrays import F32, I32, I64

__all__ = [
    "SETS",
    "SIMD_WIDTH",
    "SetWeights",
    "backward",
    "backward_from",
    "compile_all",
    "dense",
    "encode",
    "encode_into",
    "kernels",
    "scalars_of",
    "set_plan",
]

SETS = ("lane_points", "boundary_points", "stop_lines", "agents")
"""Groups whose slots have no order that matters, the last of a row; the goals do have one."""

CHUNK = 256
"""Rows whose gradients are summed apart, so that they do not depend on the number of threads."""

SOURCES = ("policies/deep_sets.py", "compiler")
ZERO = np.float32(0.0)


class SetWeights(NamedTuple):
    """The networks of the elements, one a set."""

    plan: I64
    """Where a set lies in a row: first entry, slots, columns of a slot; [S, 3]. It lies in planes,
    [columns, slots]; the last column of a slot tells that it is in use."""

    inner: F32
    """W1 of all sets one below the other, [sum of columns, H1]."""

    outer: F32
    """W2, [S, H1, H2]."""


def scalars_of(layout: ObservationLayout) -> slice:
    """Returns the part of a row before the sets."""
    return slice(0, layout.slices[SETS[0]].start)


def set_plan(layout: ObservationLayout) -> tuple[list[str], I64]:
    """Returns the sets that a layout has slots for, and where they lie: `SetWeights.plan`."""
    repeats = slots(layout.counts)
    names = [name for name in SETS if repeats[name]]
    rows = [(layout.slices[name].start, repeats[name], len(OBSERVATION[name])) for name in names]
    return names, np.array(rows, np.int64).reshape(-1, 3)


@njit
def multiply(x, count, depth, weights, base, width, out):
    """out[r] = x[r] W for the first `count` rows and up to TILE - 1 more; all flat."""
    for first in range(0, count, TILE):
        for column in range(0, width, SIMD_WIDTH):
            multiply_tile(
                x, first * depth, depth, 1, depth, weights, base + column, width, out,
                first * width + column,
            )  # fmt: skip


@njit
def multiply_planes(row, first, slots, count, columns, weights, base, width, out, x):
    """out[r] = x[r] W for the first `count` slots of a set in planes, all flat.

    Args:
        row: Observation.
        first: Where the set begins.
        slots: Of the set, from one plane to the next.
        count: Of them, in use.
        columns: Of a slot.
        weights: W, [columns, width] from `base` on.
        base: See `weights`.
        width: See `weights`.
        out: Receives [count, width] and up to TILE - 1 rows more.
        x: Room for TILE slots, which sets of fewer are copied to.
    """
    if slots < TILE:
        for slot in range(TILE):
            for column in range(columns):
                inside = slot < slots
                x[slot * columns + column] = row[first + column * slots + slot] if inside else ZERO
        multiply(x, count, columns, weights, base, width, out)
        return
    for tile in range(0, count, TILE):
        slot = min(tile, slots - TILE)  # the last ones once more, nothing behind the plane
        for column in range(0, width, SIMD_WIDTH):
            multiply_tile(
                row, first + slot, 1, slots, columns, weights, base + column, width, out,
                slot * width + column,
            )  # fmt: skip


@njit
def slots_in_use(row, first, slots, columns):
    """Returns the number of the last slot of a set that is in use, plus 1."""
    valid = first + (columns - 1) * slots
    count = slots
    while count > 0 and row[valid + count - 1] == ZERO:
        count -= 1
    return count


def _encode(rows, plan, inner, outer, out, place, best, begin, end):
    """Writes what the sets of rows [begin, end) come to, and which slots it came from.

    Args:
        rows: [B, features].
        plan: See `SetWeights`, like the next two, which are flat.
        inner: Likewise.
        outer: Likewise.
        out: Its lines receive the largest outputs, from `place` on, [B, at least place + S H2].
        place: See `out`.
        best: Receives the slot of each, -1 where it is 0, [B, S, H2].
        begin: First row.
        end: Row after the last.
    """
    wide = best.shape[2]
    depth = outer.size // (plan.shape[0] * wide)
    most = plan[:, 1].max() + TILE
    x = np.empty(TILE * plan[:, 2].max(), np.float32)
    hidden = np.empty(most * depth, np.float32)
    result = np.empty(most * wide, np.float32)
    for row in range(begin, end):
        base = 0
        for one in range(plan.shape[0]):
            first, slots, columns = plan[one, 0], plan[one, 1], plan[one, 2]
            count = slots_in_use(rows[row], first, slots, columns)
            multiply_planes(rows[row], first, slots, count, columns, inner, base, depth, hidden, x)
            for at in range((count + TILE - 1) // TILE * TILE * depth):
                hidden[at] = max(hidden[at], ZERO)
            multiply(hidden, count, depth, outer, one * depth * wide, wide, result)
            largest = out[row, place + one * wide : place + (one + 1) * wide]
            where = best[row, one]
            for column in range(wide):
                largest[column] = ZERO
                where[column] = -1
            for number in range(count):
                for column in range(wide):
                    value = result[number * wide + column]
                    larger = value > largest[column]
                    where[column] = number if larger else where[column]
                    largest[column] = value if larger else largest[column]
            base += columns * depth


def _pull_back(rows, plan, inner, turned, best, pull, at_pull, d_inner, d_turned, begin, end):
    """Adds up the gradients of the weights over rows [begin, end); all but two arrays are flat.

    Args:
        rows: [B, features].
        plan: See `SetWeights`, [S, 3].
        inner: Likewise.
        turned: W2 of each set with its axes turned, [S, H2, H1].
        best: From `_encode`, [B, S, H2].
        pull: Its lines have the gradients of what the sets come to, from `at_pull` on, [B, width].
        at_pull: See `pull`.
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
            grows = pull[row, at_pull + one * wide : at_pull + (one + 1) * wide]
            for number in range(plan[one, 1]):
                element_of[number] = -1
            count = 0
            for column in range(wide):  # the slots that have a gradient, in the order found
                number = best[place + column]
                if number < 0 or grows[column] == ZERO or element_of[number] >= 0:
                    continue
                element_of[number] = count
                slot[count] = number
                for at in range(columns):
                    x[count * columns + at] = rows[row, first + at * plan[one, 1] + number]
                count += 1
            for at in range(count * columns, (count + TILE - 1) // TILE * TILE * columns):
                x[at] = ZERO
            multiply(x, count, columns, inner, base, depth, hidden)
            for at in range(count * depth):
                hidden[at] = max(hidden[at], ZERO)
                d_hidden[at] = ZERO
            for column in range(wide):
                number = best[place + column]
                grow = grows[column]
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

    Both begin and end are multiples of TILE, and the width one of SIMD_WIDTH.
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
        _compiled[function] = cached(host(function, contract=True), SOURCES)
    return _compiled[function]


def kernels() -> dict[str, Any]:
    """Returns name -> compiled function, of all there are."""
    return {one.__name__.strip("_"): _kernel(one) for one in (_encode, _dense, _pull_back)}


def compile_all() -> None:
    """Runs every kernel on one empty row, so that the cache has them."""
    plan = set_plan(ObservationLayout(1, 1, 1, 1, 1))[1]
    inner = np.zeros((int(plan[:, 2].sum()), SIMD_WIDTH), np.float32)
    weights = SetWeights(plan, inner, np.zeros((len(plan), SIMD_WIDTH, SIMD_WIDTH), np.float32))
    rows = np.zeros((1, int(plan[:, :2].sum(1).max() * plan[:, 2].max())), np.float32)
    out, best = encode(rows, weights)
    backward(rows, weights, best, out)
    dense(rows, np.zeros((rows.shape[1], SIMD_WIDTH), np.float32))


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
        weights: Of the elements' networks; H1 and H2 are multiples of `SIMD_WIDTH`.
        threads: Number of threads.

    Returns:
        The largest outputs float32 [B, S, H2], 0 where none is positive, and the slot that each
        came from, int32 [B, S, H2], -1 where none is positive.
    """
    shape = (len(rows), len(weights.plan), weights.outer.shape[2])
    out, best = np.empty(shape, np.float32), np.empty(shape, np.int32)
    flat = out.reshape(shape[0], shape[1] * shape[2])
    encode_into(flat, 0, best, rows, weights, threads)
    return out, best


def encode_into(
    out: F32, place: int, best: I32, rows: F32, weights: SetWeights, threads: int = 1
) -> None:
    """Writes what `encode` returns.

    Args:
        out: Receives the largest outputs from column `place` on, [B, at least place + S H2].
        place: See `out`.
        best: Receives the slots that they came from, [B, S, H2].
        rows: As for `encode`, like the rest.
        weights: Likewise.
        threads: Likewise.
    """
    flat = weights.inner.reshape(-1), weights.outer.reshape(-1)
    _over_rows(_encode, len(rows), threads, rows, weights.plan, *flat, out, place, best)


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
    padded = np.zeros((len(weights), -(-width // SIMD_WIDTH) * SIMD_WIDTH), np.float32)
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
    pull = grad_output.reshape(len(rows), -1)
    return backward_from(pull, 0, rows, weights, best, threads)


def backward_from(
    pull: F32, place: int, rows: F32, weights: SetWeights, best: I32, threads: int = 1
) -> tuple[F32, F32]:
    """Returns what `backward` does.

    Args:
        pull: Has the gradient of what the sets come to from column `place` on, [B, at least place +
            S H2].
        place: See `pull`.
        rows: As for `backward`, like the rest.
        weights: Likewise.
        best: Likewise.
        threads: Likewise.
    """
    chunks = -(-len(rows) // CHUNK)
    turned = np.ascontiguousarray(weights.outer.transpose(0, 2, 1))
    d_inner = np.zeros((chunks, weights.inner.size), np.float32)
    d_turned = np.zeros((chunks, *turned.shape), np.float32)
    flat = [array.reshape(-1) for array in (weights.inner, turned, best)]
    sums = d_inner.reshape(-1), d_turned.reshape(-1)
    arguments = (rows, weights.plan, *flat, pull, place, *sums)
    _over_rows(_pull_back, len(rows), threads, *arguments)
    total = d_turned.sum(0).transpose(0, 2, 1)
    return d_inner.sum(0).reshape(weights.inner.shape), np.ascontiguousarray(total)
