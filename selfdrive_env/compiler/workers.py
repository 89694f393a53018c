"""Running kernels on worlds with several threads, and timing what each of them does.

Nothing else in the package knows threads. A pool is a caller and its helpers, who share control
words: a little memory from which each takes one world after the other, so that nobody waits for a
helper that comes late. After a task helpers spin on these words for a while, without Python's lock,
and then sleep. Numba's own layers do not survive a fork and abort on concurrent callers.
"""

from __future__ import annotations

import _thread
import atexit
import functools
import os
import platform
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.extending import intrinsic
from numba.np.arrayobj import make_array

from selfdrive_env.compiler.njit import entry, njit
from selfdrive_env.compiler.threads import SIMULATED, on_cpu, thread_index
from selfdrive_env.state.arrays import I64

__all__ = ["ARGUMENTS", "address_of", "call_at", "counter_rate", "cycles", "finish", "run", "stamp",
    "take"]  # fmt: skip

# Control words; those that several threads write have cache lines of their own.
WORLDS, PENDING, POSTED, SPINS, ARGUMENTS = 16, 48, 80, 81, 82
CONTROL_WORDS = 128

FIRST = 1 << 32
LAST = FIRST - 1
"""`WORLDS` holds first * FIRST + last: the worlds that nobody has taken."""

FEW_SPINS, MANY_SPINS = 1000, 8000
"""Looks at the control words before one gives up, of 30 to 50 ns each on x86."""

TIGHT_LOOP = 200e-6
"""Helpers spin longer where the task before ended less than this ago [s]: the next may, too."""

SLEEP = 50e-6
"""Where a helper has lost its core in the middle of a world, the caller sleeps so long [s]."""


def _place(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Returns a pointer to a control word."""
    control = make_array(signature.args[0])(context, builder, arguments[0])
    return builder.gep(control.data, [arguments[1]])


@intrinsic
def look(typing_context: Any, control: Any, word: Any) -> Any:
    """Returns a control word; what was written before it is seen."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = _place(context, builder, signature, arguments)
        return builder.load_atomic(place, "acquire", 8)

    return types.int64(control, types.int64), generate


@intrinsic
def add(typing_context: Any, control: Any, word: Any, value: Any) -> Any:
    """Adds to a control word, after all that was written before; returns what it was."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = _place(context, builder, signature, arguments)
        return builder.atomic_rmw("add", place, arguments[2], "acq_rel")

    return types.int64(control, types.int64, types.int64), generate


@intrinsic
def swap(typing_context: Any, control: Any, word: Any, old: Any, new: Any) -> Any:
    """Puts `new` in the place of a control word if that is `old`; returns whether it was."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = _place(context, builder, signature, arguments)
        found = builder.cmpxchg(place, arguments[2], arguments[3], "acq_rel", "acquire")
        return builder.extract_value(found, 1)

    return types.boolean(control, types.int64, types.int64, types.int64), generate


@intrinsic
def pause(typing_context: Any) -> Any:
    """Lets an x86 processor rest for 30 to 50 ns; others go on at once."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if platform.machine() in ("x86_64", "AMD64"):
            kind = ir.FunctionType(ir.VoidType(), [])
            builder.call(builder.module.declare_intrinsic("llvm.x86.sse2.pause", fnty=kind), [])
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def _call_at(
    typing_context: Any, address: Any, a: Any, b: Any, c: Any, d: Any, e: Any, f: Any, g: Any
) -> Any:
    """Calls a compiled function of seven integers, whose address `address_of` gives."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word, nothing = ir.IntType(64), ir.IntType(8).as_pointer()
        kind = ir.FunctionType(nothing, [word] * HOOK_ARGUMENTS)
        builder.call(builder.inttoptr(arguments[0], kind.as_pointer()), arguments[1:])
        return context.get_dummy_value()

    return types.void(*[types.int64] * (1 + HOOK_ARGUMENTS)), generate


HOOK_ARGUMENTS = 7
_simulated_hooks: dict[int, Any] = {}


def _simulated_call_at(address: int, *arguments: int) -> None:
    _simulated_hooks[address](*arguments)


call_at: Any = _simulated_call_at if SIMULATED else _call_at
"""Calls the function at an address, given (address, seven integers)."""


def address_of(function: Any) -> int:
    """Returns where the code of a function of seven integers lies, compiled if need be.

    Args:
        function: An `entry` that returns nothing, `cached` or not; it must be kept.
    """
    if SIMULATED:
        _simulated_hooks[id(function)] = function
        return id(function)
    kinds = (types.int64,) * HOOK_ARGUMENTS
    function.compile(kinds)
    compiled = function.overloads[kinds]
    name = compiled.fndesc.llvm_cfunc_wrapper_name
    return int(compiled.library.get_pointer_to_function(name))


@njit
def take(control, worker):
    """Takes a world of the task; the caller takes from the front, helpers from the back.

    Args:
        control: Control words of the pool.
        worker: 0 is the caller.

    Returns:
        The world, or -1: for the caller once all are finished, or when others take long over
        theirs; for helpers when there has been none for a while.
    """
    if worker == 0 and control[POSTED] != 0:
        add(control, WORLDS, control[POSTED])
        control[POSTED] = 0
    spins, most = 0, MANY_SPINS if worker == 0 else control[SPINS]
    while spins < most:
        worlds = look(control, WORLDS)
        first, last = worlds >> 32, worlds & LAST
        if first < last:
            world = first if worker == 0 else last - 1
            if swap(control, WORLDS, worlds, worlds + (FIRST if worker == 0 else -1)):
                return world
            continue
        if worker == 0 and look(control, PENDING) == 0:
            return -1
        pause()
        spins += 1
    return -1


@njit
def finish(control):
    """Tells that a world that was taken is finished."""
    add(control, PENDING, -1)


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


class ThreadPool:
    """A caller and its helpers: threads that end with the process."""

    def __init__(self, stage: Callable[..., None], num_threads: int) -> None:
        self._stage = stage
        self._control: I64 = np.zeros(CONTROL_WORDS, np.int64)
        self._ended: float | None = None
        self._open = True
        self._sleeps = [threading.Lock() for _ in range(num_threads - 1)]
        self._ends = [threading.Lock() for _ in self._sleeps]
        for worker, locks in enumerate(zip(self._sleeps, self._ends, strict=True), 1):
            for lock in locks:
                lock.acquire()
            # No Thread: it breaks where the handler of a signal raises in the middle of its start.
            _thread.start_new_thread(self._help, (worker, *locks))

    def _help(self, worker: int, sleep: threading.Lock, end: threading.Lock) -> None:
        """What a helper does: works while there is work, then waits until its lock is released."""
        try:
            while sleep.acquire() and self._open:
                self._stage(self._control, worker)
        finally:
            end.release()

    def _wake(self) -> None:
        """Makes sure that every helper looks at the control words once more."""
        for sleep in self._sleeps:
            if sleep.locked():
                sleep.release()

    def work(self, count: int, arguments: I64) -> None:
        """Has a task done, all of it whatever interrupts the caller: helpers might have begun."""
        control, first, interrupt = self._control, self._ended is None, None
        try:
            control[ARGUMENTS : ARGUMENTS + len(arguments)] = arguments
            control[WORLDS] = 0
            control[PENDING] = control[POSTED] = count
            if self._ended is not None:
                tight = time.perf_counter() - self._ended < TIGHT_LOOP
                control[SPINS] = MANY_SPINS if tight else FEW_SPINS
                self._wake()
        except BaseException as error:
            interrupt = error
        while control[PENDING]:
            try:
                self._stage(control, 0)
                if control[PENDING]:
                    time.sleep(SLEEP)
            except BaseException as error:
                # In the first task the stage may fail to compile; helpers are asleep.
                if first and control[POSTED]:
                    control[PENDING] = control[POSTED] = 0
                interrupt = error
        if interrupt is not None:
            raise interrupt
        self._ended = time.perf_counter()

    @property
    def rests(self) -> bool:
        """Whether nobody works, which two interrupts at once might have left otherwise."""
        return bool(self._control[PENDING] == self._control[POSTED])

    def dismiss(self) -> None:
        """Ends the helpers."""
        self._open = False
        self._wake()
        for end in self._ends:
            end.acquire(timeout=1.0)


_idle: dict[tuple[Any, ...], list[ThreadPool]] = {}


def run(stage: Callable[..., None], count: int, num_threads: int, arguments: I64) -> None:
    """Has a stage done for worlds 0 to count - 1.

    Args:
        stage: A compiled function `stage(control, worker)` that releases the GIL: it works on
            worlds as it gets them from `take`, with `control[ARGUMENTS:]`, and tells each with
            `finish`.
        count: Number of worlds.
        num_threads: Threads, this one included; at most one a world.
        arguments: Copied to the control words.
    """
    size = max(1, min(num_threads, count))
    # A fork sees another process id: it makes pools of its own. So does a caller who finds none.
    pools = _idle.setdefault((os.getpid(), stage, size), [])
    try:
        pool = pools.pop()
    except IndexError:
        pool = ThreadPool(stage, size)
    try:
        pool.work(count, arguments)
    finally:
        if pool.rests:
            pools.append(pool)


@atexit.register
def _dismiss_all() -> None:
    """Ends the threads of this process before the interpreter does."""
    for (process, *_), pools in _idle.items():
        if process == os.getpid():
            for pool in pools:
                pool.dismiss()
