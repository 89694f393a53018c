"""The kernels that CUDA launches: each is one part of a step or reset, one block a world.

They call the functions that the CPU calls. What differs is here: compiled without contracting
multiplications and additions, so that both give the same bits, and literals do not make variants.
"""

from __future__ import annotations

import functools
import sys
import warnings
from typing import Any

import numba
import numpy as np
from numba import cuda, types

from selfdrive_env.compiler.cache import cached_on_device
from selfdrive_env.compiler.njit import plain_type
from selfdrive_env.compiler.structs import struct_at
from selfdrive_env.compiler.threads import SIMULATED
from selfdrive_env.kernels.observation.rows import observe_wanted
from selfdrive_env.kernels.step import advance_world, begin_reset, settle_reset, settle_world
from selfdrive_env.state.model import Data, Model

__all__ = ["KERNELS", "SIGNATURES", "Launcher", "compiled_kernel", "prepare"]


def advance_kernel(model, data):
    """First part of a step."""
    world = np.int64(cuda.blockIdx.x)
    advance_world(struct_at(Model, model), struct_at(Data, data), world, world)


def observe_kernel(model, data):
    """Writes the rows that the part before it wants."""
    world = np.int64(cuda.blockIdx.x)
    observe_wanted(struct_at(Model, model), struct_at(Data, data), world, world)


def settle_kernel(model, data):
    """Last part of a step but the observation."""
    world = np.int64(cuda.blockIdx.x)
    settle_world(struct_at(Model, model), struct_at(Data, data), world, world)


def begin_reset_kernel(model, data):
    """First part of a reset."""
    world = np.int64(cuda.blockIdx.x)
    begin_reset(struct_at(Model, model), struct_at(Data, data), world, world)


def settle_reset_kernel(model, data, staggered):
    """Last part of a reset but the observation."""
    world = np.int64(cuda.blockIdx.x)
    settle_reset(struct_at(Model, model), struct_at(Data, data), staggered != 0, world, world)


NVVM_OPTIONS = {"fma": 0}
"""Of NVVM: multiplications and additions stay apart."""

_TWIN = "_CUDATypingContext__dispatcher"  # where Numba keeps the device function of a kernel

KERNELS = {
    "advance": advance_kernel,
    "observe": observe_kernel,
    "settle": settle_kernel,
    "begin_reset": begin_reset_kernel,
    "settle_reset": settle_reset_kernel,
}
"""Functions to launch by name; a step is advance, observe, settle, observe."""

SIGNATURES: dict[str, Any] = {
    name: types.void(*[types.int64] * function.__code__.co_argcount)
    for name, function in KERNELS.items()
}
"""Of each kernel: the addresses of the tables of `Model` and `Data`, and what else it takes."""


@functools.cache
def prepare() -> None:
    """Makes the device functions of all kernels, those that CUDA compiles in their place.

    Numba would take the options of the CPU's and make a variant for each literal. Multiplications
    and additions stay apart in what is launched, as they are on the CPU.
    """
    from numba.cuda import dispatcher
    from numba.cuda.dispatcher import CUDADispatcher

    compile_any = dispatcher.compile_cuda

    def compile_uncontracted(
        function: Any, *args: Any, nvvm_options: Any = None, **kws: Any
    ) -> Any:
        if function in KERNELS.values():
            nvvm_options = {**(nvvm_options or {}), **NVVM_OPTIONS}
        return compile_any(function, *args, nvvm_options=nvvm_options, **kws)

    dispatcher.compile_cuda = compile_uncontracted
    options = {"device": True, "debug": False, "lineinfo": False, "opt": True}
    options |= {"fastmath": False, "forceinline": True}
    for name, module in list(sys.modules.items()):
        if not name.startswith("selfdrive_env.kernels."):
            continue
        for kernel in list(vars(module).values()):
            if not isinstance(kernel, numba.core.dispatcher.Dispatcher):
                continue
            if hasattr(kernel, _TWIN):
                continue
            device = CUDADispatcher(kernel.py_func, dict(options))
            _take_plain_types(device)
            setattr(kernel, _TWIN, device)


def _take_plain_types(device: Any) -> None:
    """Lets a device function see integers as `njit` of compiling.py does."""
    find = device.get_call_template

    def get_call_template(args: Any, kws: Any) -> Any:
        return find(
            [plain_type(kind) for kind in args],
            {name: plain_type(kind) for name, kind in kws.items()},
        )

    device.get_call_template = get_call_template


class Launcher:
    """The kernels of one device, compiled when first launched."""

    def __init__(self, device: int) -> None:
        """Compiles nothing yet.

        Args:
            device: Number of the device.
        """
        self._device = device
        self._kernels: dict[str, Any] = {}
        self._streams: dict[int, Any] = {}
        self._launches: dict[tuple[Any, ...], Any] = {}

    def launch(
        self, name: str, worlds: int, threads: int, shared: int, stream: int, *arguments: Any
    ) -> None:
        """Starts a kernel on a block for each world.

        Args:
            name: Of `KERNELS`.
            worlds: Number of blocks.
            threads: Of each block.
            shared: Shared memory of a block [bytes].
            stream: Handle of the stream.
            *arguments: Of the kernel.
        """
        if SIMULATED:
            self._kernel(name)[worlds, threads](*arguments)
            return
        with cuda.gpus[self._device]:
            key = (name, worlds, threads, stream, shared)
            if key not in self._launches:
                with warnings.catch_warnings():  # Numba warns of few worlds
                    warnings.simplefilter("ignore")
                    stream, kernel = self._stream(stream), self._kernel(name)
                    self._launches[key] = kernel[worlds, threads, stream, shared]
            self._launches[key](*arguments)

    def has_launched(self, name: str) -> bool:
        """Whether a kernel is compiled and loaded."""
        return any(key[0] == name for key in self._launches)

    def kernels(self) -> dict[str, Any]:
        """Returns all kernels by name, compiled or not."""
        with cuda.gpus[self._device]:
            return {name: self._kernel(name) for name in KERNELS}

    def compile_all(self) -> None:
        """Compiles all kernels, or reads them from the cache."""
        for name, kernel in self.kernels().items():
            with cuda.gpus[self._device]:
                kernel.compile(SIGNATURES[name].args)

    def _kernel(self, name: str) -> Any:
        """Returns a kernel for the device that is current."""
        if name not in self._kernels:
            capability = None if SIMULATED else cuda.get_current_device().compute_capability
            self._kernels[name] = compiled_kernel(name, capability)
        return self._kernels[name]

    def _stream(self, handle: int) -> Any:
        if handle == 0:
            return 0
        if handle not in self._streams:
            from cuda.core import Stream

            self._streams[handle] = Stream.from_handle(handle)
        return self._streams[handle]


@functools.cache
def compiled_kernel(name: str, capability: tuple[int, int] | None) -> Any:
    """Returns a kernel that can be launched; it is compiled, or read from disk, when it first is.

    Args:
        name: Of `KERNELS`.
        capability: Compute capability of the devices that launch it.
    """
    if SIMULATED:
        return cuda.jit(KERNELS[name])
    prepare()
    return cached_on_device(cuda.jit(lto=False)(KERNELS[name]), **NVVM_OPTIONS)
