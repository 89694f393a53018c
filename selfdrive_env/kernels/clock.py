"""Reading the processor's cycle counter inside kernels: how long each stage takes."""

from __future__ import annotations

import functools
import time
from typing import Any

from llvmlite import ir
from numba import types
from numba.core.extending import intrinsic

from selfdrive_env.kernels.compiling import entry, njit

__all__ = ["STAGES", "counter_rate", "cycles", "stamp"]

STAGES = (
    "lights",
    "drivers",
    "dynamics",
    "road",
    "collision",
    "stop lines",
    "route",
    "metrics",
    "reward",
    "finished rows",
    "placing",
    "observation",
)
"""Columns of `Scratch.cycles`, in the order of a step."""


@intrinsic
def cycles(typing_context: Any) -> Any:
    """Returns the cycle counter of this core."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word = ir.IntType(64)
        counter = builder.module.declare_intrinsic(
            "llvm.readcyclecounter", fnty=ir.FunctionType(word, [])
        )
        return builder.call(counter, [])

    return types.int64(), generate


@njit
def stamp(scratch, worker, stage, since):
    """Adds the cycles since `since` to a stage; returns the counter."""
    now = cycles()
    scratch.cycles[worker, stage] += now - since
    return now


@functools.cache
def counter_rate() -> float:
    """Returns how often the cycle counter ticks in a second."""

    @entry
    def read():
        return cycles()

    read()
    begin, first = time.perf_counter(), read()
    time.sleep(0.2)
    last, end = read(), time.perf_counter()
    return float((last - first) / (end - begin))
