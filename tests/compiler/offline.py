"""CUDA kernels without a device: compiled but not launched."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
from collections.abc import Iterator
from functools import partial
from types import FunctionType, ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import patch

from selfdrive_env.engine.launch import SIGNATURES, compiled_kernel

PACKAGE = ("selfdrive_env.kernels.", "selfdrive_env.compiler.")


@contextlib.contextmanager
def pretended_device(capability: tuple[int, int] = (9, 0)) -> Iterator[None]:
    """Lets numba-cuda compile for a compute capability, and its linker say what comes of it."""
    from numba import cuda
    from numba.cuda.cudadrv import devices, driver
    from numba.cuda.dispatcher import _Kernel

    context = SimpleNamespace(device=SimpleNamespace(id=0, compute_capability=capability))
    with (
        patch.object(devices._runtime, "get_or_create_context", lambda number: context),
        patch.object(_Kernel, "bind", lambda kernel: kernel.library.get_cubin()),
        patch.object(driver, "LinkerOptions", partial(driver.LinkerOptions, verbose=True)),
        patch.object(cuda, "gpus", [contextlib.nullcontext()]),
    ):
        yield


def compile_now(name: str, capability: tuple[int, int] = (9, 0)) -> tuple[Any, Any]:
    """Returns a kernel, new to this process, and what compiling or reading it gave."""
    with pretended_device(capability):
        kernel = compiled_kernel.__wrapped__(name, capability)
        return kernel, kernel.compile(SIGNATURES[name].args)


def digest(code: Any) -> str:
    """Returns a digest of the machine code of a kernel."""
    with pretended_device():
        return hashlib.sha256(code.library.get_cubin().code).hexdigest()


def reachable(*functions: Any) -> set[FunctionType]:
    """Returns the functions of the kernels' modules that the given ones name, directly or not.

    Of a compiled function it is the one that it was compiled from.
    """
    found: set[FunctionType] = set()
    left = [getattr(function, "py_func", function) for function in functions]
    while left:
        function = left.pop()
        if function in found:
            continue
        found.add(function)
        for name in names_in(function.__code__):
            value = function.__globals__.get(name)
            assert not is_module_of_kernels(value), f"{function.__qualname__} names a module"
            value = getattr(value, "py_func", value)
            if isinstance(value, FunctionType) and value.__module__.startswith(PACKAGE):
                left.append(value)
    return found


def is_module_of_kernels(value: Any) -> bool:
    return isinstance(value, ModuleType) and value.__name__.startswith(PACKAGE)


def names_in(code: Any) -> set[str]:
    """Returns the names that code and the functions within it look up."""
    names = set(code.co_names)
    for constant in code.co_consts:
        if hasattr(constant, "co_names"):
            names |= names_in(constant)
    return names


if __name__ == "__main__":  # prints name -> how often it was compiled, digest of its code
    figures = {}
    for word in sys.argv[1:]:
        kernel, code = compile_now(word)
        figures[word] = kernel.stats.cache_misses.total(), digest(code)
    print(json.dumps(figures))
