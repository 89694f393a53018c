"""Tests of the kernels one by one."""

from __future__ import annotations

from types import FunctionType
from typing import Any

import numpy as np

from selfdrive_env.compiler.njit import entry, njit
from selfdrive_env.compiler.structs import struct_at
from selfdrive_env.state.model import Data, Model


def from_python(kernel: Any) -> Any:
    """Returns a kernel that Python may call; the package compiles them without wrappers."""
    return entry(getattr(kernel, "py_func", kernel))


def of_tables(stage: Any) -> Any:
    """Returns a stage that takes the addresses of the tables of `Model` and `Data`."""
    kernel = stage if hasattr(stage, "py_func") else njit(stage)

    @entry
    def run(model, data, worker, world):  # type: ignore[no-untyped-def]
        kernel(struct_at(Model, model), struct_at(Data, data), worker, world)

    return run


def plain(kernel: Any) -> FunctionType:
    """Returns a kernel, and all that it calls, as plain Python."""
    function = getattr(kernel, "py_func", kernel)
    scope = dict(function.__globals__)
    for name in function.__code__.co_names:
        if hasattr(scope.get(name), "py_func"):
            scope[name] = plain(scope[name])
    return FunctionType(function.__code__, scope)


def bits(found: Any) -> list[int]:
    """Returns the bits of a kernel's results, which must be of single precision."""
    values = found if isinstance(found, tuple) else (found,)
    assert all(isinstance(value, np.float32) for value in values)
    return [int(value.view(np.int32)) for value in values]
