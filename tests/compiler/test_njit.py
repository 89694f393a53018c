"""The package's own target: Numba stays as it is, and kernels are compiled once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest

from selfdrive_env.compiler.njit import entry, host, inline, njit
from tests import PATIENCE

ROOT = Path(__file__).parents[2]

# Functions of Numba's modules and classes, before and after a kernel was compiled.
PROGRAM = """
import gc, sys
from types import FunctionType
import numba
from numba.core import codegen, compiler, cpu, dispatcher, registry, typeinfer
from numba.core.typing import context, templates

def functions():
    found = {}
    for module in [m for n, m in sys.modules.items() if n.split(".")[0] in ("numba", "llvmlite")]:
        for name, value in list(vars(module).items()):
            found[module.__name__, name] = value if isinstance(value, FunctionType) else None
            if isinstance(value, type) and value.__module__ == module.__name__:
                for key, part in list(vars(value).items()):
                    if isinstance(part, FunctionType | classmethod | staticmethod | property):
                        found[module.__name__, name, key] = part
    return found

before = functions()
from selfdrive_env.compiler import half, workers
from selfdrive_env.compiler.njit import entry, njit
from selfdrive_env.compiler.simd import load, put

@njit
def add(x, y):
    return max(x, y) + abs(y)

@entry
def kernel(x):
    larger = add(x[0], x[1])
    put(x, 0, 0, 2, load(x, 0) + larger)
    return larger

import numpy as np
collected = []
gc.callbacks.append(lambda phase, about: collected.append(phase))
assert kernel(np.array([2.0, 3.0, *[0.0] * 6], np.float32)) == 6.0
assert collected and gc.isenabled()
after = functions()
print(*[name for name, value in before.items() if after.get(name) is not value])
added = set(after) - set(before)
print(*[name for name in added if len(name) == 3 and (*name[:2],) in before])
"""

pytestmark = pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="compiling is switched off")


def test_nothing_of_numba_is_patched():
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_numbas_own_functions_and_ours_do_not_disturb_each_other():
    """Both type the same built-in functions for the same types, in turns."""

    def largest(x):
        return max(x[0], x[1]) + np.floor(x[1]) + len(x)

    kinds = [entry, numba.njit, host, numba.njit, entry]
    for kind, element in [(kind, element) for element in "fdi" for kind in kinds]:
        assert kind(largest)(np.array([2, 3], element)) == 8


def test_literals_and_widths_of_integers_make_no_variants():
    @njit
    def double(number):
        return number + number

    @inline
    def half_of(number):
        return number // 2

    @entry
    def kernel(x):
        return double(x[0]) + double(3) + double(np.int16(5)) + half_of(x[0]) + half_of(8)

    assert kernel(np.array([7], np.int32)) == 14 + 6 + 10 + 3 + 4
    assert list(double.overloads) == [(numba.int64,)]
    assert list(half_of.overloads) == [(numba.int64,)]


def test_kernels_cannot_be_called_from_python():
    @njit
    def double(number):
        return number + number

    with pytest.raises(TypeError):
        double(3)


def test_host_functions_may_allocate_and_raise():
    @host
    def ramp(count):
        if count < 0:
            raise ValueError("count")
        return np.arange(count) * 2

    assert ramp(3).tolist() == [0, 2, 4]
    with pytest.raises(ValueError, match="count"):
        ramp(-1)
