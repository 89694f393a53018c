"""Reading the processor's cycle counter inside kernels: how long each stage takes."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core.extending import intrinsic

from selfdrive_env.kernels.compiling import njit

__all__ = ["STAGES", "cycles", "stamp"]

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
