"""The CUDA kernels as code, without a device: what they are made of and what they compile to."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from types import FunctionType
from typing import Any, NamedTuple

import numba
import pytest
from numba.core.typing.templates import builtin_registry

from selfdrive_env.compiler import cache
from selfdrive_env.compiler.threads import SIMULATED
from selfdrive_env.compiler.workers import finish, take
from selfdrive_env.engine import launch as kernels_cuda
from selfdrive_env.engine.launch import KERNELS, SIGNATURES, compiled_kernel
from selfdrive_env.kernels import step as world
from selfdrive_env.kernels.images.bev import draw_birds_eye
from selfdrive_env.kernels.images.camera.picture import draw_camera
from tests.compiler.offline import PACKAGE, compile_now, pretended_device, reachable

QUICK = ("begin_reset", "observe", "draw_bev")
"""Kernels that take half a minute together: the smallest, rows and pictures; all take minutes, and
--full compiles them."""

MOST_LOCAL = 512
MOST_REGISTERS = 255

SPACES = {"global", "shared", "param", "const", "local"}
MEMORY = {"ld", "ldu", "st", "atom", "red", "prefetch"}

ON_CUDA = {
    "call": "nothing",
    "half_bits": "bits",
    "prefetch": "_prefetch_nothing",
    "write_halves": "_write_halves_singly",
}
"""What CUDA compiles instead of a function that has instructions of its own on the CPU; of all
others it compiles the plain function, which says what is computed. Drivers that scenes alone have
are left out (`on_cpu_alone`)."""


class Code(NamedTuple):
    """One kernel as it would be launched."""

    ptx: str
    registers: int
    local: int
    """Stack and local memory of a thread [bytes]."""

    shared: int
    """Of a block without what a launch adds, 1024 of it the system's [bytes]."""

    relinked: bool
    """Whether linking optimises once more: then it contracts what NVVM was told to leave apart."""

    seconds: float

    @property
    def instructions(self) -> set[str]:
        """Names of all instructions with their modifiers, "mul.rn.f32"."""
        return set(re.findall(r"^\s+(?:@!?%\w+\s+)?([a-z][\w.:]*)[^;{}]*;", self.ptx, re.MULTILINE))


def number(pattern: str, text: str) -> int:
    """Returns the largest number that a pattern finds, 0 if there is none."""
    return max(map(int, re.findall(pattern, text)), default=0)


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(QUICK, id="quick"),
        pytest.param(tuple(KERNELS), id="all", marks=pytest.mark.full),
    ],
)
def codes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Code]]:
    """Kernels, compiled in an empty cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SELFDRIVE_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(cache, "_told", set())
        found = {}
        for name in request.param:
            start = time.perf_counter()
            _, code = compile_now(name)
            seconds = time.perf_counter() - start
            with pretended_device():
                ptx = code.library.get_asm_str()
            (log,) = code.library._linkerinfo_cache.values()
            found[name] = Code(
                ptx,
                registers=number(r"[Uu]sed (\d+) registers", log),
                local=number(r"(\d+) bytes stack frame", log) + number(r"(\d+) bytes lmem", log),
                shared=number(r"(\d+) bytes smem", log),
                relinked=code.library._lto,
                seconds=seconds,
            )
        yield found


@pytest.mark.ptx
def test_kernels_fit_a_device(codes, capsys):
    with capsys.disabled():
        print(f"\n{'sm_90a':14}registers  local  shared  PTX kB  seconds")
        for name, code in codes.items():
            print(
                f"{name:14}{code.registers:9}{code.local:7}{code.shared:8}"
                f"{len(code.ptx) / 1e3:8.0f}{code.seconds:9.1f}"
            )
    assert set(codes) in (set(QUICK), set(KERNELS))
    for code in codes.values():
        assert ".target sm_90a" in code.ptx
        assert 0 < code.registers <= MOST_REGISTERS
        assert code.local <= MOST_LOCAL


@pytest.mark.ptx
def test_kernels_compute_no_double(codes):
    for code in codes.values():
        assert "mul.lo.s64" in code.instructions  # the pattern finds instructions
        assert ".f64" not in code.ptx


@pytest.mark.ptx
def test_arithmetic_is_exact_as_on_the_cpu(codes):
    """Nothing is contracted, flushed to zero or approximated, and the assembler may not either."""
    for code in codes.values():
        assert not code.relinked
        for instruction in code.instructions:
            parts = instruction.split(".")
            assert not {"fma", "approx", "full", "ftz"} & set(parts), instruction
            assert parts[0] != "mad" or "f32" not in parts, instruction
            if parts[0] in ("add", "sub", "mul", "div", "rcp", "sqrt") and "f32" in parts:
                assert "rn" in parts, instruction


@pytest.mark.ptx
def test_all_calls_are_inlined(codes):
    for code in codes.values():
        assert not any(name.split(".")[0] == "call" for name in code.instructions)
        assert ".func" not in code.ptx


@pytest.mark.ptx
def test_memory_is_addressed_by_its_kind(codes):
    for code in codes.values():
        places = [name.split(".") for name in code.instructions]
        places = [parts for parts in places if parts[0] in MEMORY]
        assert ["st", "global", "f32"] in places or ["st", "global", "u32"] in places
        assert [".".join(parts) for parts in places if not SPACES & set(parts)] == []


@pytest.mark.ptx
def test_a_launch_finds_what_was_compiled_ahead():
    """The addresses of the tables are integers of Python's."""
    kernel = compiled_kernel("settle_reset", (9, 0))
    tables = (2**40, 2**41)
    kinds = tuple(kernel.typeof_pyval(value) for value in (*tables, 1))
    assert kinds == SIGNATURES["settle_reset"].args


@pytest.mark.ptx
def test_compiled_functions_are_those_of_the_cpu(codes):
    reached = reachable(*(KERNELS[name] for name in codes))
    compiled = 0
    for kernel in dispatchers():
        twin = kernel.on_device
        assert twin.py_func is kernel.py_func
        if twin.overloads:
            compiled += 1
            assert twin.py_func in reached
    assert compiled > (100 if len(codes) == len(KERNELS) else 30)


def dispatchers() -> list[Any]:
    """All functions of kernels that Numba compiles for the CPU."""
    modules = [module for name, module in list(sys.modules.items()) if name.startswith(PACKAGE)]
    found = [value for module in modules for value in vars(module).values()]
    return [value for value in found if isinstance(value, numba.core.dispatcher.Dispatcher)]


def test_there_is_no_second_copy_of_a_rule():
    hooks = draw_birds_eye, draw_camera  # called by their addresses
    on_cpu = reachable(world.run_worlds, *hooks) - reachable(take, finish)
    on_cuda = reachable(*KERNELS.values())
    wrappers = {f for f in on_cuda if f.__module__ == kernels_cuda.__name__}
    assert wrappers == set(KERNELS.values())
    assert sorted(f.__qualname__ for f in on_cuda - wrappers - on_cpu) == []
    entries = {f.__qualname__ for f in on_cpu - on_cuda}
    assert entries == {"run_worlds", "draw_birds_eye", "draw_camera"}
    assert len(on_cuda) > 100


def overloads() -> list[tuple[FunctionType, FunctionType]]:
    """Functions that have instructions of their own on the CPU, with what makes these."""
    found = []
    for function, kind in builtin_registry.globals:
        if isinstance(function, FunctionType) and function.__module__.startswith(PACKAGE):
            (template,) = kind.templates
            found.append((function, template._overload_func))
    return found


@pytest.mark.skipif(SIMULATED, reason="nothing is compiled")
def test_cuda_runs_the_plain_functions_but_for_declared_ones(monkeypatch):
    other = {}
    for function, make in overloads():
        if "current_target" in make.__globals__:
            monkeypatch.setitem(make.__globals__, "current_target", lambda: "cuda")
        made = make(*[None] * make.__code__.co_argcount)
        if made is not function:
            other[function.__name__] = made.__name__
    names = {"below", "bits_of", "call", "columns_of", "first_bit", "flags_of", "half_bits",
        "least", "load", "most", "prefetch", "put", "root", "store", "write_halves"}  # fmt: skip
    assert {function.__name__ for function, _ in overloads()} == names
    assert other == ON_CUDA
