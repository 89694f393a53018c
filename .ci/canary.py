"""The smallest kernel, with the Numba that is installed: does `selfdrive_env/compiler/` fit it?

It uses what leans most on Numba's inside: the target with its two contexts, code that is only
linked, structs by address, vectors of floats, control words, and the cache. CONTRIBUTING.md says
what to do where it fails.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from typing import Annotated, NamedTuple

import numba
import numpy as np

from selfdrive_env.compiler.cache import cached
from selfdrive_env.compiler.njit import entry, njit
from selfdrive_env.compiler.simd import load, put
from selfdrive_env.compiler.structs import Table, struct_at
from selfdrive_env.compiler.workers import ARGUMENTS, finish, run, take
from selfdrive_env.state.arrays import F32

TWO = np.float32(2.0)


class Cells(NamedTuple):
    """What the kernel works on."""

    value: Annotated[F32, "world 8"]


@njit
def write(cells, world):
    """Writes a row."""
    larger = max(TWO * np.float32(world), TWO)
    row = cells.value[world]
    put(row, 0, 0, 3, load(row, 0) / (TWO + larger))


@entry
def work(control, worker):
    """Writes one row after the other."""
    while True:
        world = take(control, worker)
        if world < 0:
            return
        write(struct_at(Cells, control[ARGUMENTS]), world)
        finish(control)


def main(expected: int) -> None:
    """Runs the kernel on two threads.

    Args:
        expected: How often it has to be compiled.
    """
    before = np.arange(40, dtype=np.float32).reshape(5, 8)
    cells = Cells(before.copy())
    table = Table(cells)
    kernel = cached(work)
    run(kernel, len(cells.value), 2, np.array([table.address], np.int64))
    larger = np.maximum(TWO * np.arange(5, dtype=np.float32), TWO)
    wanted = np.where(np.arange(8) < 3, before / (TWO + larger[:, None]), np.float32(0.0))
    assert (cells.value == wanted).all(), cells.value
    misses = kernel.stats.cache_misses.total()
    assert misses == expected, f"compiled {misses} times instead of {expected}"
    print(f"numba {numba.__version__}: right results, compiled {misses} times")


if __name__ == "__main__":
    if sys.argv[1:]:
        main(int(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as folder:
            environment = {**os.environ, "SELFDRIVE_CACHE": folder}
            for times in "10":  # a process that compiles, and one that reads
                command = [sys.executable, __file__, times]
                subprocess.run(command, check=True, env=environment)
