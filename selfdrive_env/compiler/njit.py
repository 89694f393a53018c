"""Numba's decorator with this package's options, and a compiler that does each thing once.

Numba compiles every function to machine code of its own and links it into its callers, which are
optimised with it all over again, level by level. Functions that only kernels call need none of
that: here they stay as they come from the front end, and what Python calls (`entry`) is optimised
once, with everything in it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
from numba import types
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import AnalysisPass, register_pass
from numba.core.typed_passes import (
    AnnotateTypes,
    DumpParforDiagnostics,
    InlineOverloads,
    NativeLowering,
    NopythonRewrites,
)
from numba.core.untyped_passes import (
    DeadBranchPrune,
    FindLiterallyCalls,
    InlineClosureLikes,
    InlineInlinables,
    LiteralPropagationSubPipelinePass,
    LiteralUnroll,
    MakeFunctionToJitFunction,
    RewriteDynamicRaises,
    RewriteSemanticConstants,
    WithLifting,
)

from selfdrive_env.compiler.signatures import remembered_signatures
from selfdrive_env.compiler.threads import SIMULATED

__all__ = ["entry", "inline", "njit", "plain_type"]


class _LinkedLibrary(JITCodeLibrary):
    """Code that is only linked into other code: neither optimised nor translated by itself."""

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        self._ensure_finalized()
        return 0


@register_pass(mutates_CFG=False, analysis_only=True)
class _LinkOnly(AnalysisPass):
    _name = "link_only"

    def __init__(self) -> None:
        AnalysisPass.__init__(self)

    def run_pass(self, state: Any) -> bool:
        state.library = _LinkedLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
        state.flags.no_compile = True
        return False


@register_pass(mutates_CFG=False, analysis_only=True)
class _NotFromPython(AnalysisPass):
    """Registers the code for other kernels, under a built-in method of an object of its own.

    It raises a TypeError when Python calls it: the arguments are not strings.
    """

    _name = "not_from_python"

    def __init__(self) -> None:
        AnalysisPass.__init__(self)

    def run_pass(self, state: Any) -> bool:
        own = f"{state.func_id.func_qualname} at {id(state)}"
        lowered = state["cr"]._replace(cfunc=own.join)
        state.targetctx.insert_user_function(lowered.cfunc, lowered.fndesc, [state.library])
        state.reload_init.extend(state.library._reload_init)
        state["cr"] = lowered
        return False


_UNUSED = {
    WithLifting, InlineClosureLikes, RewriteSemanticConstants, DeadBranchPrune,
    RewriteDynamicRaises, MakeFunctionToJitFunction, InlineInlinables, FindLiterallyCalls,
    LiteralUnroll, LiteralPropagationSubPipelinePass, InlineOverloads, NopythonRewrites,
    DumpParforDiagnostics,
}  # fmt: skip
"""Steps of Numba's compiler for what no kernel contains: closures, `with`, array expressions."""


class _KernelCompiler(CompilerBase):
    """Numba's compiler for functions that end up in others."""

    def define_pipelines(self) -> list[Any]:
        passes = DefaultPassBuilder.define_nopython_pipeline(self.state)
        passes.passes = [step for step in passes.passes if step[0] not in _UNUSED]
        passes.add_pass_after(_LinkOnly, AnnotateTypes)
        passes.add_pass_after(_NotFromPython, NativeLowering)
        passes.finalize()
        passes._ENFORCING = False  # no analysis after each step, only where one asks for it
        return [passes]


# Kernels allocate nothing, so none counts references: each access to an array would pay for it.
_OPTIONS: Any = {"error_model": "numpy", "nogil": True, "_nrt": False}
_LINKED: Any = {
    **_OPTIONS,
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
    "pipeline_class": _KernelCompiler,
}


def plain_type(kind: Any) -> Any:
    """Returns the one type that stands for literals and for all short signed integers."""
    kind = types.unliteral(kind)
    short = isinstance(kind, types.Integer) and getattr(kind, "signed", False)
    return types.int64 if short else kind


def _compiled(function: Callable[..., Any], **options: Any) -> Any:
    """Compiles a function once where Numba would do so for each literal and width of integers."""
    if SIMULATED:
        return function
    kernel = numba.njit(function, **_LINKED, **options)
    if not hasattr(kernel, "get_call_template"):
        return kernel  # JIT is switched off
    find = kernel.get_call_template

    def get_call_template(args: Any, kws: Any) -> Any:
        return find(
            [plain_type(kind) for kind in args],
            {name: plain_type(kind) for name, kind in kws.items()},
        )

    kernel.get_call_template = get_call_template
    return kernel


def njit(function: Callable[..., Any]) -> Any:
    """Compiles a function that only kernels call."""
    return _compiled(function)


def inline(function: Callable[..., Any]) -> Any:
    """Compiles a function into its callers: passing arrays to a call costs more than it does."""
    return _compiled(function, forceinline=True)


def entry(function: Callable[..., Any]) -> Any:
    """Compiles a function that Python calls."""
    if SIMULATED:
        return function
    kernel = numba.njit(function, **_OPTIONS)
    compile_one = getattr(kernel, "compile", None)
    if compile_one is None:
        return kernel  # JIT is switched off

    def compile_quickly(signature: Any) -> Any:
        with remembered_signatures():
            return compile_one(signature)

    kernel.compile = compile_quickly
    return kernel
