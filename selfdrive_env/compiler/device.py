"""CUDA kernels: compiled without contracting, kept on disk, and bound to devices and streams.

What a kernel calls is compiled from the functions that the CPU runs (`Kernel` says how).
Multiplications and additions stay apart in what is launched, so that both give the same bits.
"""

from __future__ import annotations

import contextlib
import functools
import os
import pickle
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from importlib import metadata
from typing import Any

from numba import cuda, types

from selfdrive_env.compiler.cache import Kind, cached
from selfdrive_env.compiler.threads import SIMULATED

__all__ = [
    "NVVM_OPTIONS",
    "compute_capability",
    "on_device",
    "signature",
    "stream",
    "to_launch",
    "toolkit_versions",
]

NVVM_OPTIONS: dict[str, Any] = {"fma": 0}
"""Of NVVM, besides those that Numba gives."""

_TOOLKIT = (
    *("numba-cuda", "cuda-core", "nvidia-nvvm", "nvidia-cuda-nvcc", "nvidia-cuda-nvcc-cu12"),
    *("nvidia-nvjitlink", "nvidia-nvjitlink-cu12"),
)
"""Packages that turn kernels into code for a device, those of CUDA 12 and of 13."""


def signature(numbers: int) -> Any:
    """Returns the signature of a kernel that takes so many integers."""
    return types.void(*[types.int64] * numbers)


def on_device(number: int) -> AbstractContextManager[Any]:
    """Returns a context in which a device is the current one."""
    found: AbstractContextManager[Any] = cuda.gpus[number]
    return found


def compute_capability() -> tuple[int, int] | None:
    """Returns that of the current device, None in the simulator."""
    return None if SIMULATED else cuda.get_current_device().compute_capability


def stream(handle: int) -> Any:
    """Returns a stream by its handle, as a launch takes it; 0 is the default one."""
    if handle == 0:
        return 0
    from cuda.core import Stream

    return Stream.from_handle(handle)


def to_launch(function: Callable[..., Any], together: Iterable[Callable[..., Any]] = ()) -> Any:
    """Returns a function as a kernel; it is compiled, or read from disk, when first launched.

    Args:
        function: What to launch.
        together: All that are launched in turn: the user is told how many of them are compiled.
    """
    if SIMULATED:
        return cuda.jit(function)
    options = cuda.jit(function, lto=False).targetoptions
    return _cached(_launched()(function, options), tuple(together))


@functools.cache
def _launched() -> Any:
    """Returns the class of kernels: numba-cuda's, but for how one is compiled."""
    from numba.cuda.core.compiler_lock import global_compiler_lock
    from numba.cuda.core.sigutils import normalize_signature
    from numba.cuda.dispatcher import CUDADispatcher

    class Launched(CUDADispatcher):
        def compile(self, sig: Any) -> Any:
            """Compiles a kernel for a signature, or reads it."""
            arguments, _ = normalize_signature(sig)
            with global_compiler_lock:
                if arguments in self.overloads:
                    return self.overloads[arguments]
                kernel = self._cache.load_overload(sig, self.targetctx)
                if kernel is not None:
                    self._cache_hits[sig] += 1
                else:
                    self._cache_misses[sig] += 1
                    kernel = _compile(self.py_func, arguments)
                    kernel.bind()  # makes the machine code, so that there is some to keep
                    self._cache.save_overload(sig, kernel)
                self.add_overload(kernel, arguments)
                return kernel

    return Launched


def _compile(function: Callable[..., Any], arguments: Any) -> Any:
    """Compiles a kernel for the current device with `NVVM_OPTIONS`, which `cuda.jit` cannot."""
    from numba.cuda import types as device_types
    from numba.cuda.compiler import compile_cuda, kernel_fixup
    from numba.cuda.dispatcher import _Kernel

    result = compile_cuda(
        function,
        device_types.void,
        arguments,
        nvvm_options={"fastmath": False, "opt": 3, **NVVM_OPTIONS},
        cc=cuda.get_current_device().compute_capability,
    )
    library, name = result.library, result.fndesc.llvm_func_name
    library._entry_name = name
    kernel_fixup(library.get_function(name), False)
    kernel = _Kernel._rebuild(
        cooperative=library.use_cooperative,
        name=name,
        signature=result.signature,
        codelibrary=library,
        debug=False,
        lineinfo=False,
        call_helper=result.call_helper,
        extensions=[],
    )
    kernel.target_context = result.target_context
    return kernel


def _pack(kernel: Any) -> bytes:
    """Returns what launching a CUDA kernel takes: machine code, without what it was made from."""
    from numba.cuda.serialize import dumps

    library = kernel.library
    states = library._reduce_states() | {"llvm_strs": [], "ptx_cache": {}}
    code = {"codelibrary": type(library)._rebuild(**states)}
    return bytes(dumps(kernel._reduce_states() | code))


def _unpack(target: Any, data: bytes) -> Any:
    from numba.cuda.dispatcher import _Kernel

    return _Kernel._rebuild(**pickle.loads(data))


def toolkit_versions() -> list[tuple[str, str]]:
    """Returns names and versions of all that turns kernels into code for a device."""
    found = []
    for name in _TOOLKIT:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found.append((name, metadata.version(name)))
    if not any(name.startswith(("nvidia-nvvm", "nvidia-cuda-nvcc")) for name, _ in found):
        from numba.cuda.cuda_paths import get_cuda_paths

        library = os.stat(get_cuda_paths()["nvvm"].info)  # a toolkit from elsewhere
        found.append(("nvvm", f"{library.st_size} {library.st_mtime_ns}"))
    return found


def _cached(kernel: Any, together: tuple[Callable[..., Any], ...]) -> Any:
    """Gives a kernel the on-disk cache; its files serve devices of one capability only."""

    def machine(codegen: Any) -> Any:
        jit = sorted((name, repr(value)) for name, value in kernel.targetoptions.items())
        return codegen.magic_tuple(), toolkit_versions(), jit, sorted(NVVM_OPTIONS.items())

    kind = Kind("kernels for the GPU", machine, _pack, _unpack, together)
    return cached(kernel, kind=kind)
