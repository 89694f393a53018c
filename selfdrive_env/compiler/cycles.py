"""Reading the processor's cycle counter inside kernels: how long each stage takes."""

from __future__ import annotations

import functools
import time
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.extending import intrinsic

from selfdrive_env.compiler.njit import entry, njit
from selfdrive_env.compiler.threads import SIMULATED, on_cpu, thread_index

__all__ = ["counter_rate", "cycles", "stamp"]


@intrinsic
def _cycles(typing_context: Any) -> Any:
    """Returns the cycle counter of this core, or multiprocessor."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        name = "llvm.readcyclecounter" if on_cpu(context) else "llvm.nvvm.read.ptx.sreg.clock64"
        kind = ir.FunctionType(ir.IntType(64), [])
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [])

    return types.int64(), generate


cycles: Any = time.perf_counter_ns if SIMULATED else _cycles


@njit
def stamp(scratch, worker, stage, since):
    """Adds the cycles since `since` to a stage; returns the counter."""
    now = cycles()
    if thread_index() == 0:
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
