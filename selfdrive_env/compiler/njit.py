"""Decorators of this package's kernels, and a Numba target of their own that does each thing once.

Numba compiles every function to machine code of its own and links it into its callers, which are
optimised with it all over again, level by level. Functions that only kernels call need none of
that: here they stay as they come from the front end, and what Python calls (`entry`) is optimised
once, with everything in it. All of this belongs to a target that is registered beside Numba's; that
of other functions is not touched.
"""

from __future__ import annotations

import functools
import operator
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import Any, ClassVar

import numba
from llvmlite import binding
from numba import types
from numba.core import cgutils, externals, typing, utils
from numba.core.codegen import CodeLibrary, JITCodeLibrary, JITCPUCodegen
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import AnalysisPass, register_pass
from numba.core.cpu import CPUContext
from numba.core.datamodel.models import OpaqueModel
from numba.core.dispatcher import Dispatcher
from numba.core.extending import register_model
from numba.core.ir_utils import build_definitions
from numba.core.registry import CPUTarget
from numba.core.runtime.nrt import rtsys
from numba.core.ssa import reconstruct_ssa
from numba.core.target_extension import (
    CPU,
    dispatcher_registry,
    jit_registry,
    target_override,
    target_registry,
)
from numba.core.targetconfig import ConfigStack
from numba.core.typed_passes import (
    AnnotateTypes,
    DumpParforDiagnostics,
    InlineOverloads,
    NativeLowering,
    NopythonRewrites,
    PreLowerStripPhis,
)
from numba.core.typing import mathdecl, npydecl
from numba.core.untyped_passes import (
    DeadBranchPrune,
    FindLiterallyCalls,
    InlineClosureLikes,
    InlineInlinables,
    IRProcessing,
    LiteralPropagationSubPipelinePass,
    LiteralUnroll,
    MakeFunctionToJitFunction,
    ReconstructSSA,
    RewriteDynamicRaises,
    RewriteSemanticConstants,
    WithLifting,
)
from numba.cpython import builtins, iterators, mathimpl, numbers, rangeobj, slicing, tupleobj  # noqa: F401
from numba.np import arraymath, arrayobj, npyimpl  # noqa: F401
from numba.np.unsafe import ndarray  # noqa: F401

from selfdrive_env.compiler import progress
from selfdrive_env.compiler.threads import SIMULATED

__all__ = ["Kernel", "entry", "host", "inline", "njit"]

_NAME = "selfdrive_env"


_TYPED = (mathdecl, npydecl)
_LOWERED = (mathimpl, npyimpl)
"""What kernels need of Numba besides its built-in functions, numbers, tuples and arrays: no lists,
dictionaries, strings, random numbers or linear algebra."""


class _LinkedLibrary(JITCodeLibrary):
    """Code that is only linked into other code: neither optimised nor translated by itself."""

    def __init__(self, codegen: Any, name: str) -> None:
        CodeLibrary.__init__(self, codegen, name)
        self.libraries: dict[Any, None] = {}
        self._final_module: Any = None

    def add_linking_library(self, library: Any) -> None:
        self.libraries[library] = None

    def add_ir_module(self, ir_module: Any) -> None:
        for function in ir_module.functions:
            if not function.is_declaration and not function.linkage:
                function.linkage = "linkonce_odr"
        module = binding.parse_assembly(cgutils.normalize_ir_text(str(ir_module)))
        module.name = ir_module.name
        module.data_layout = self._codegen._data_layout
        for function in module.functions:
            if not function.is_declaration:
                passes, builder = self._codegen._function_pass_manager()
                passes.run(function, builder)
        if self._final_module is None:
            self._final_module = module
        else:
            self._final_module.link_in(module)

    def finalize(self) -> None:
        self._finalized = True

    def _get_module_for_linking(self) -> Any:
        return self._final_module

    def get_pointer_to_function(self, name: str) -> int:
        return 0


class _EntryLibrary(JITCodeLibrary):
    """Code that Python calls, with all that it calls: each function is linked once."""

    def finalize(self) -> None:
        self._linking_libraries = list(_closure(self._linking_libraries, {}))
        super().finalize()


def _closure(libraries: Iterable[Any], seen: dict[Any, None]) -> Iterator[Any]:
    """Yields libraries, each before those it needs: LLVM takes only functions that are called."""
    for library in libraries:
        if library not in seen:
            seen[library] = None
            yield library
            yield from _closure(getattr(library, "libraries", ()), seen)


class _Codegen(JITCPUCodegen):
    _library_class = _EntryLibrary


class _Processor(CPU):
    """The target: the processor, as this package's functions see it."""


class _TypingContext(typing.Context):  # type: ignore[name-defined]
    """Types functions, built-in ones as `_Builtin`."""

    def init(self) -> None:
        self._options: Any = None
        self._numbers: dict[Any, int] = {}
        super().init()

    def load_additional_registries(self) -> None:
        for module in _TYPED:
            self.install_registry(module.registry)

    def _insert_global(self, gv: Any, gty: Any) -> None:
        if type(gty) is types.Function:
            gty = _Builtin(gty.templates)
        super()._insert_global(gv, gty)

    def options(self) -> int:
        """Returns a number that stands for what code takes over from the function that calls it."""
        options = ConfigStack.top_or_none()
        if options is not self._options:
            self._options = options
            taken = tuple(repr(getattr(options, name, None)) for name in _TAKEN_OVER)
            self._number = self._numbers.setdefault(taken, len(self._numbers))
        return self._number


_TAKEN_OVER = ("nrt", "fastmath", "error_model", "boundscheck", "debuginfo")
"""Options of a function that others have that are compiled for it; all are inlined."""


class _Builtin(types.Function):
    """A built-in function; what it makes of numbers and arrays is found once, not at each place.

    To type `a + b` Numba asks some twenty candidates, each of which compares all options.
    """

    def __init__(self, templates: Any) -> None:
        super().__init__(templates)
        self._found: dict[Any, tuple[Any, Any]] = {}
        self._impl_keys: dict[Any, Any] = {}  # as above

    def augment(self, other: Any) -> Any:
        if isinstance(other, types.Function) and other.typing_key == self.typing_key:
            return _Builtin(self.templates + other.templates)
        return None

    def get_call_type(self, context: Any, args: Any, kws: Any) -> Any:
        if kws or not args or not all(_is_plain(kind) for kind in args):
            return super().get_call_type(context, args, kws)
        key = tuple(args), context.options()
        if key not in self._found:
            signature = super().get_call_type(context, args, kws)
            if signature is None:
                return None
            self._found[key] = signature, self.get_impl_key(signature)
        signature, self._impl_keys[signature.args] = self._found[key]
        return signature


register_model(_Builtin)(OpaqueModel)


def _is_plain(kind: Any) -> bool:
    """Whether a type is that of a number, an array or an index."""
    if isinstance(kind, types.UniTuple | types.Tuple):
        return all(isinstance(part, types.Number) for part in kind.types)
    return isinstance(kind, types.Number | types.Boolean | types.Array)


class _Context(CPUContext):
    """Generates code; what Numba does each time that something might be new is done once."""

    def init(self) -> None:
        self._sizes: dict[Any, int] = {}
        self._refreshing: list[bool] = []  # copies for other options share it
        self.is32bit = sys.maxsize < 2**32
        self._internal_codegen = _Codegen("selfdrive_env.exec")
        externals.c_math_functions.install(self)

    def refresh(self) -> None:
        if self._refreshing:
            return  # templates ask for it while they are loaded
        self._refreshing.append(True)
        try:
            with target_override(_NAME):
                super().refresh()
        finally:
            self._refreshing.pop()

    def load_additional_registries(self) -> None:
        rtsys.initialize(self)
        for module in _LOWERED:  # again and again: intrinsics go into one when they are typed
            self.install_registry(module.registry)

    def get_abi_sizeof(self, ty: Any) -> int:
        if ty not in self._sizes:
            self._sizes[ty] = super().get_abi_sizeof(ty)
        return self._sizes[ty]


class _Target(CPUTarget):
    @utils.threadsafe_cached_property
    def _toplevel_target_context(self) -> Any:
        return _Context(self.typing_context, self._target_name)

    @utils.threadsafe_cached_property
    def _toplevel_typing_context(self) -> Any:
        return _TypingContext()


@register_pass(mutates_CFG=False, analysis_only=True)
class _LinkOnly(AnalysisPass):
    _name = "link_only"

    def __init__(self) -> None:
        AnalysisPass.__init__(self)

    def run_pass(self, state: Any) -> bool:
        state.library = _LinkedLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
        state.flags.no_compile = True
        return False


@register_pass(mutates_CFG=False, analysis_only=False)
class _Rename(ReconstructSSA):
    """Gives each assignment a variable of its own; what is known of variables comes later."""

    _name = "rename"

    def run_pass(self, state: Any) -> bool:
        state.func_ir = reconstruct_ssa(state.func_ir)
        self._patch_locals(state)
        state.func_ir._definitions = build_definitions(state.func_ir.blocks)
        return True


@register_pass(mutates_CFG=False, analysis_only=False)
class _StripPhis(PreLowerStripPhis):
    """The same for the assignments where branches meet."""

    _name = "strip_phis_only"

    def run_pass(self, state: Any) -> bool:
        state.func_ir = self._strip_phi_nodes(state.func_ir)
        state.func_ir._definitions = build_definitions(state.func_ir.blocks)
        return True


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
    DumpParforDiagnostics, IRProcessing,
}  # fmt: skip
"""Steps of Numba's compiler for what no kernel contains: closures, `with`, array expressions."""

_SHORTER = {ReconstructSSA: _Rename, PreLowerStripPhis: _StripPhis}
"""Steps that find out what a later one, which makes code legal, finds out again."""


class _LinkedCompiler(CompilerBase):
    """Numba's compiler for functions that end up in others, such as those Numba brings along."""

    steps: ClassVar[dict[Any, Any]] = {}
    """Step -> what takes its place, None for nothing."""

    def define_pipelines(self) -> list[Any]:
        passes = DefaultPassBuilder.define_nopython_pipeline(self.state)
        steps = [(self.steps.get(step, step), about) for step, about in passes.passes]
        passes.passes = [step for step in steps if step[0] is not None]
        passes.add_pass_after(_LinkOnly, AnnotateTypes)
        passes.add_pass_after(_NotFromPython, NativeLowering)
        passes.finalize()
        passes._ENFORCING = not self.steps  # analysis after each step
        return [passes]


class _KernelCompiler(_LinkedCompiler):
    """The same for kernels, with the steps only that they need."""

    steps: ClassVar[dict[Any, Any]] = {**dict.fromkeys(_UNUSED), **_SHORTER}


def _plain_type(kind: Any) -> Any:
    """Returns the one type that stands for literals and for all short signed integers."""
    kind = types.unliteral(kind)
    short = isinstance(kind, types.Integer) and getattr(kind, "signed", False)
    return types.int64 if short else kind


def _plain_types(args: Any, kws: Any) -> Any:
    """Returns the types of a call, by place and by name, each as `_plain_type` gives it."""
    named = {name: _plain_type(kind) for name, kind in kws.items()}
    return [_plain_type(kind) for kind in args], named


class Kernel(Dispatcher):
    """A compiled function of this package."""

    targetdescr = _Target(_NAME)

    def compile(self, sig: Any) -> Any:
        """Compiles for the types of a signature, or reads what is kept."""
        with target_override(_NAME):  # what Numba asks the target for while code is generated
            compiled = super().compile(sig)
        progress.note(self.py_func)
        return compiled

    def get_call_template(self, args: Any, kws: Any) -> Any:
        """Finds the code for a call by a kernel; literals and widths of integers make no variants.

        Args:
            args: Types of the arguments.
            kws: Likewise, by name.

        Returns:
            What `Dispatcher` returns.
        """
        return super().get_call_template(*_plain_types(args, kws))

    @cached_property
    def on_device(self) -> Any:
        """The device function that numba-cuda compiles in place of this one.

        By itself it would take options that are the processor's, and make a variant for each
        literal.
        """
        return _device_function()(self.py_func, dict(_DEVICE))

    _CUDATypingContext__dispatcher = property(operator.attrgetter("on_device"))
    """Where numba-cuda looks for it."""


_DEVICE: Any = {
    **{"device": True, "debug": False, "lineinfo": False, "opt": True},
    **{"fastmath": False, "forceinline": True},
}


@functools.cache
def _device_function() -> Any:
    """Returns the class of device functions: numba-cuda's, called as a `Kernel` is."""
    from numba.cuda.dispatcher import CUDADispatcher

    class DeviceFunction(CUDADispatcher):
        def get_call_template(self, args: Any, kws: Any) -> Any:
            """See `Kernel.get_call_template`."""
            return super().get_call_template(*_plain_types(args, kws))

    return DeviceFunction


class _Overload(Dispatcher):
    """What Numba makes of a built-in function, for this target."""

    targetdescr = Kernel.targetdescr


_OPTIONS: Any = {"nopython": True, "boundscheck": None, "nogil": True}

# Kernels allocate nothing, so none counts references: each access to an array would pay for it.
_KERNEL: Any = {**_OPTIONS, "error_model": "numpy", "_nrt": False}

_LINKED: Any = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def _for_overloads(**options: Any) -> Callable[..., Any]:
    """Numba asks for this decorator where kernels call a function with `overload`."""

    def decorate(function: Callable[..., Any]) -> Any:
        own = function.__module__.startswith("selfdrive_env.")
        pipeline = _KernelCompiler if own else _LinkedCompiler
        flags = {"nopython": True, "boundscheck": None, "forceinline": True, **options, **_LINKED}
        return _Overload(function, targetoptions=flags, pipeline_class=pipeline)

    return decorate


if not SIMULATED:
    target_registry[_NAME] = _Processor
    dispatcher_registry[_Processor] = Kernel
    jit_registry[_Processor] = _for_overloads


def _compiled(function: Callable[..., Any], pipeline: Any = None, **options: Any) -> Any:
    """Returns a function compiled, itself where it runs as plain Python."""
    if SIMULATED or getattr(numba.config, "DISABLE_JIT", False):
        return function
    pipelines = {} if pipeline is None else {"pipeline_class": pipeline}
    return Kernel(function, targetoptions=options, **pipelines)


def njit(function: Callable[..., Any]) -> Any:
    """Compiles a function that only kernels call."""
    return _compiled(function, _KernelCompiler, **_KERNEL, **_LINKED)


def inline(function: Callable[..., Any]) -> Any:
    """Compiles a function into its callers: passing arrays to a call costs more than it does."""
    return _compiled(function, _KernelCompiler, **_KERNEL, **_LINKED, forceinline=True)


def entry(function: Callable[..., Any]) -> Any:
    """Compiles a function that Python calls."""
    return _compiled(function, **_KERNEL)


def host(function: Callable[..., Any], *, contract: bool = False) -> Any:
    """Compiles a function that Python calls and that may allocate arrays.

    Args:
        function: What to compile.
        contract: Whether a multiplication and an addition may become one operation.
    """
    return _compiled(function, **_OPTIONS, fastmath={"contract"} if contract else False)
