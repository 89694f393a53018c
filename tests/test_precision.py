"""No kernel computes in double precision: the typed code of every function is walked."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]

# The engine is taken without its cache, whose entries hold no types.
PROGRAM = """
from numba import types

from selfdrive_env.engine import cpu
from selfdrive_env.kernels.images.bev import draw_birds_eye
from selfdrive_env.kernels.images.camera.picture import draw_camera, draw_one
from selfdrive_env.scenes import experts
from tests.test_precision import dispatchers, double_precision, infer, without_machine_code

cpu.cached = lambda function: function
cpu.run = lambda stage, count, threads, control: infer(stage, control, 0)
without_machine_code()
from tests.kernels.conftest import no_jerk, town_engine

small = town_engine(agents_per_world=2)
small.step(no_jerk(small))
infer(draw_birds_eye, *[0] * 7)
infer(draw_camera, *[0] * 7)
infer(draw_one, *[0] * 5)
host = experts.host(experts.drive_again)
kinds = [types.Array(*one) for one in (
    (types.float32, 3, "C"), (types.boolean, 2, "C"), (types.float32, 1, "C"),
    (types.float32, 3, "C"))]
host.compile((types.int64, *kinds[:3], types.float32, kinds[3], kinds[0]))
functions = dispatchers()
print("walked", *[f.__name__ for f in functions if f.overloads])
print(*[line for f in functions for line in double_precision(f)], sep="\\n")
"""


def without_machine_code() -> None:
    """Makes Numba infer types and stop there: what it compiles can no longer be called."""
    from numba.core import compiler, funcdesc, typed_passes

    def lower(self: Any, state: Any) -> bool:
        descriptor = funcdesc.PythonFunctionDescriptor.from_specialized_function(
            state.func_ir,
            state.typemap,
            state.return_type,
            state.calltypes,
            mangler=state.targetctx.mangler,
            inline=False,
            noalias=False,
            abi_tags=(),
        )
        state.library = state.targetctx.codegen().create_library(state.func_id.func_qualname)
        state["cr"] = compiler._LowerResult(descriptor, None, cfunc=len, env=None)
        return True

    typed_passes.BaseNativeLowering.run_pass = lower


def infer(stage: Any, *arguments: Any) -> None:
    """Infers the types of a stage and of all that it calls."""
    import numba

    stage.compile(tuple(numba.typeof(argument) for argument in arguments))


def is_double(kind: Any) -> bool:
    """Whether a type of Numba's is, or holds, a float64 or complex number."""
    from numba import types

    if isinstance(kind, types.Complex):
        return True
    if isinstance(kind, types.Float):
        return bool(kind.bitwidth == 64)
    if isinstance(kind, types.Array):
        return is_double(kind.dtype)
    if isinstance(kind, types.BaseTuple):
        return any(is_double(part) for part in kind)
    return False


def double_precision(function: Any) -> list[str]:
    """What a compiled function and its arguments have of double precision.

    A literal under `np.float32(...)` is exempt: it is converted when the code is compiled.
    """
    from numba.core import ir

    found = []
    for signature, overload in function.overloads.items():
        notes = overload.type_annotation
        assert not isinstance(notes, str), f"{function.__name__} came from a cache"
        if any(is_double(kind) for kind in signature):
            found.append(f"{function.__name__}: arguments {signature}")
        for expression, called in notes.calltypes.items():
            if called is None or not hasattr(called, "args"):
                continue
            kinds = [called.return_type, *called.args]
            if not any(is_double(kind) for kind in kinds if kind is not None):
                continue
            if is_cast_of_literal(expression, notes, ir):
                continue
            line = getattr(getattr(expression, "loc", None), "line", "?")
            found.append(f"{function.__name__}:{line}: {called}")
        found += [
            f"{function.__name__}: array {name}: {kind}"
            for name, kind in notes.typemap.items()
            if not name.startswith("$") and hasattr(kind, "dtype") and is_double(kind)
        ]
    return found


def is_cast_of_literal(expression: Any, notes: Any, ir: Any) -> bool:
    """Whether an expression is np.float32(number) with a number written there."""
    from numba import types

    if getattr(expression, "op", None) != "call" or len(expression.args) != 1:
        return False
    callee = notes.typemap[expression.func.name]
    cast = isinstance(callee, types.NumberClass) and callee.dtype == types.float32
    return cast and expression.args[0].name in literals(notes, ir)


def literals(notes: Any, ir: Any) -> set[str]:
    """Names of variables that hold a number written in the source."""
    return {
        statement.target.name
        for block in notes.blocks.values()
        for statement in block.body
        if isinstance(statement, ir.Assign) and isinstance(statement.value, ir.Const)
    }


def dispatchers() -> list[Any]:
    """Every compiled function of the kernels and of what they are made with."""
    import importlib

    from numba.core.dispatcher import Dispatcher

    package = ROOT / "selfdrive_env"
    paths = [
        path for part in ("kernels", "compiler") for path in (package / part).rglob("[!_]*.py")
    ]
    found = {}
    for path in sorted(paths):
        name = ".".join(path.relative_to(package).with_suffix("").parts)
        module = importlib.import_module(f"selfdrive_env.{name}")
        for value in vars(module).values():
            if isinstance(value, Dispatcher) and value.__module__ == module.__name__:
                found[f"{name}.{value.__name__}"] = value
    return list(found.values())


def test_no_kernel_computes_in_double_precision():
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, env=environment, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    walked, _, found = done.stdout.partition("\n")
    assert not found.strip(), found
    names = set(walked.split()) - {"walked"}
    missing = {f.__name__ for f in dispatchers()} - names
    assert not missing, f"never compiled by a step: {sorted(missing)}"
    assert len(names) > 80


def test_planted_double_precision_is_caught():
    from selfdrive_env.compiler.njit import entry

    half, one = np.float32(0.5), np.float32(1.0)

    def multiplies(x):
        return x * 0.5

    def divides(x):
        return x / 2

    def compares(x):
        return x > 0.0

    def mixes(x):
        return x * len((x, x))

    def hides(x):
        y = np.float64(x)
        return np.float32(y)

    def fine(x):
        return max(x * half + np.float32(3.25), one)

    for function in (multiplies, divides, compares, mixes, hides):
        compiled = entry(function)
        compiled(np.float32(2.0))
        assert double_precision(compiled), function.__name__
    compiled = entry(fine)
    compiled(np.float32(2.0))
    assert double_precision(compiled) == []
    compiled(2.0)
    assert double_precision(compiled) != []  # a Python float as argument
