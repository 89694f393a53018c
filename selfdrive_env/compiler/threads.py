"""Who works on a world: a block of threads on CUDA, a block of one thread on the CPU.

Stages share out their agents, `for agent in range(thread_index(), agents, block_size())`, and what
is written for one agent its entries, `for entry in range(warp_lane(), entries, warp_size())`. On
the CPU these are the plain loops: every function here is a constant there, and barriers are none.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.cpu import CPUContext
from numba.core.extending import intrinsic, overload
from numba.core.target_extension import current_target
from numba.np.arrayobj import make_array

__all__ = [
    "SIMULATED",
    "any_thread",
    "barrier",
    "block_index",
    "block_size",
    "num_warps",
    "on_cpu",
    "on_cpu_alone",
    "shared_row",
    "stages_rows",
    "thread_index",
    "warp_barrier",
    "warp_index",
    "warp_lane",
    "warp_size",
]

WARP = 32
SIMULATED = bool(getattr(numba.config, "ENABLE_CUDASIM", False))
"""Whether kernels run as plain Python, in Numba's CUDA simulator."""


def on_cpu(context: Any) -> bool:
    """Whether code is generated for the CPU."""
    return isinstance(context, CPUContext)


def on_cpu_alone(kernel: Any) -> Any:
    """Returns a function of four arguments that calls a kernel, and does nothing on CUDA."""

    def call(a, b, c, d):
        kernel(a, b, c, d)

    def nothing(a, b, c, d):
        pass

    @overload(call, jit_options={"forceinline": True})
    def _compiled_call(a, b, c, d):
        return call_kernel if current_target() != "cuda" else nothing

    def call_kernel(a, b, c, d):
        kernel(a, b, c, d)

    return call


def _special_register(builder: Any, name: str) -> Any:
    """Returns a special register of a CUDA thread as a word."""
    kind = ir.FunctionType(ir.IntType(32), [])
    name = f"llvm.nvvm.read.ptx.sreg.{name}"
    function = cgutils.get_or_insert_function(builder.module, kind, name)
    return builder.zext(builder.call(function, []), ir.IntType(64))


def _number(on_one_thread: int, on_cuda: Callable[[Any], Any]) -> Any:
    """Returns an intrinsic that is a constant on the CPU."""

    @intrinsic
    def number(typing_context: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            if on_cpu(context):
                return ir.Constant(ir.IntType(64), on_one_thread)
            return on_cuda(builder)

        return types.int64(), generate

    return number


def _call(builder: Any, name: str, *arguments: Any) -> None:
    kind = ir.FunctionType(ir.VoidType(), [argument.type for argument in arguments])
    builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)


def _wait(on_cuda: Callable[[Any], None]) -> Any:
    """Returns an intrinsic that does nothing on the CPU."""

    @intrinsic
    def wait(typing_context: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            if not on_cpu(context):
                on_cuda(builder)
            return context.get_dummy_value()

        return types.void(), generate

    return wait


def _constant(value: int) -> Any:
    return ir.Constant(ir.IntType(64), value)


@intrinsic
def _any_thread(typing_context: Any, flag: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if on_cpu(context):
            return arguments[0]
        word = ir.IntType(32)
        kind = ir.FunctionType(word, [word])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.nvvm.barrier0.or")
        found = builder.call(function, [builder.zext(arguments[0], word)])
        return builder.icmp_signed("!=", found, ir.Constant(word, 0))

    return types.boolean(types.boolean), generate


@intrinsic
def _shared_row(typing_context: Any, row: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if on_cpu(context):
            return arguments[0]
        array = make_array(row)(context, builder, arguments[0])
        floats = ir.ArrayType(ir.FloatType(), 0)
        name = "selfdrive_env_rows"
        if name not in builder.module.globals:
            memory = cgutils.add_global_variable(builder.module, floats, name, addrspace=3)
            memory.linkage = "external"
            memory.align = 16
        memory = builder.module.globals[name]
        first = builder.addrspacecast(memory, floats.as_pointer())
        first = builder.bitcast(first, ir.FloatType().as_pointer())
        warp = builder.udiv(_special_register(builder, "tid.x"), _constant(WARP))
        length = builder.extract_value(array.shape, 0)
        array.data = builder.gep(first, [builder.mul(warp, length)])
        return array._getvalue()

    return row(row), generate


def _simulated() -> Any:
    """Returns the thread of the simulator that calls; a plain one is a block of one."""
    thread = threading.current_thread()
    return thread if hasattr(thread, "thread_id") else None


def _simulated_index() -> int:
    thread = _simulated()
    return 0 if thread is None else int(thread.threadIdx.x)


def _simulated_block() -> int:
    thread = _simulated()
    return 0 if thread is None else int(thread.blockIdx.x)


def _simulated_size() -> int:
    thread = _simulated()
    return 1 if thread is None else int(thread._manager._block_dim[0])


def _simulated_barrier() -> None:
    thread = _simulated()
    if thread is not None:
        thread.syncthreads()


def _simulated_any(flag: Any) -> bool:
    thread = _simulated()
    return bool(flag) if thread is None else bool(thread.syncthreads_or(bool(flag)))


if SIMULATED:  # a block is one warp there
    thread_index: Any = _simulated_index
    block_size: Any = _simulated_size
    block_index: Any = _simulated_block
    warp_lane: Any = _simulated_index
    warp_size: Any = _simulated_size
    warp_index: Any = lambda: 0  # noqa: E731
    num_warps: Any = lambda: 1  # noqa: E731
    stages_rows: Any = lambda: 1  # noqa: E731
    barrier: Any = _simulated_barrier
    warp_barrier: Any = _simulated_barrier
    any_thread: Any = _simulated_any
    shared_row: Any = lambda row: row  # noqa: E731
else:
    thread_index = _number(0, lambda builder: _special_register(builder, "tid.x"))
    block_index = _number(0, lambda builder: _special_register(builder, "ctaid.x"))
    block_size = _number(1, lambda builder: _special_register(builder, "ntid.x"))
    warp_lane = _number(
        0, lambda builder: builder.and_(_special_register(builder, "tid.x"), _constant(WARP - 1))
    )
    warp_size = _number(1, lambda builder: _constant(WARP))
    warp_index = _number(
        0, lambda builder: builder.udiv(_special_register(builder, "tid.x"), _constant(WARP))
    )
    num_warps = _number(
        1, lambda builder: builder.udiv(_special_register(builder, "ntid.x"), _constant(WARP))
    )
    stages_rows = _number(0, lambda builder: _constant(1))
    barrier = _wait(lambda builder: _call(builder, "llvm.nvvm.barrier0"))
    warp_barrier = _wait(
        lambda builder: _call(
            builder, "llvm.nvvm.bar.warp.sync", ir.Constant(ir.IntType(32), 0xFFFFFFFF)
        )
    )
    any_thread = _any_thread
    shared_row = _shared_row
