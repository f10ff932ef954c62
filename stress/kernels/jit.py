"""The one place that knows Numba's options.

All kernels release the GIL. `fastmath` is forbidden (it breaks NaN checks and reorders sums); the disk
cache is off because it misses edits in *other* files and then serves stale numbers. With
``NUMBA_DISABLE_JIT=1`` the same source runs interpreted.

A kernel allocates no arrays, so it needs no reference counting (`_nrt=False`). With counting, every branch
that touches an array of the venue pays atomic increments: a scan of accounts took ten times as long.
Kernels that only kernels call have no Python wrappers: unpacking a venue in each of them was a third of
the time to compile.

No index of a kernel counts from the end. Where the compiler does not know, every access asks: `_CountFromTheStart` types
indices as unsigned, which takes a sixth off the time of a path.

A venue is a hundred machine words, and a call by value copies them all: `by_reference` hands on one pointer.

Numba compiles every function to machine code together with all that it calls, so that the kernels below a
chain of calls are optimised once for every link of it. Kernels that only kernels call wait for the entry
above them instead: all is optimised at once. That takes 0.6 of the time, and gives faster code.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
from numba.core import cgutils, ir, types
from numba.core.codegen import JITCodeLibrary, ll
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import AnalysisPass, register_pass
from numba.core.datamodel import PrimitiveModel
from numba.core.registry import CPUDispatcher
from numba.core.typed_passes import IRLegalization
from numba.core.typing.templates import AttributeTemplate
from numba.extending import infer_getattr, intrinsic, lower_getattr_generic, register_model


def _unsigned(index: types.Type) -> types.Type:
    if isinstance(index, types.Integer) and index.signed:
        return types.uintp
    if isinstance(index, types.BaseTuple):
        return types.Tuple([_unsigned(part) for part in index])
    return index


@register_pass(mutates_CFG=False, analysis_only=True)
class _CountFromTheStart(AnalysisPass):  # type: ignore[misc]
    """Type every index into an array as unsigned."""

    _name = "count_from_the_start"

    def __init__(self) -> None:
        super().__init__()

    def run_pass(self, state: Any) -> bool:
        calltypes = state.calltypes
        for node, signature in list(calltypes.items()):
            if isinstance(node, ir.SetItem) or (isinstance(node, ir.Expr) and node.op == "getitem"):
                array, index, *value = signature.args
                if isinstance(array, types.Array):
                    calltypes.pop(node)  # a dictionary in which nothing is overwritten
                    calltypes[node] = signature.replace(args=(array, _unsigned(index), *value))
        return False


class _KernelCompiler(CompilerBase):  # type: ignore[misc]
    def define_pipelines(self) -> list[Any]:
        pipeline = DefaultPassBuilder.define_nopython_pipeline(self.state)
        pipeline.add_pass_after(_CountFromTheStart, IRLegalization)
        pipeline.finalize()
        return [pipeline]


INTERPRETED: bool = bool(numba.config.DISABLE_JIT)

# error_model="numpy": division by zero gives inf or nan as in numpy, without a branch.
_OPTIONS: dict[str, Any] = {"nogil": True, "fastmath": False, "error_model": "numpy", "_nrt": False}
_INNER = {**_OPTIONS, "nopython": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}


class _InnerLibrary(JITCodeLibrary):  # type: ignore[misc]
    """The code of a kernel that waits for the entry above it: neither optimised nor machine code by itself."""

    def finalize(self) -> None:
        for function in self._final_module.functions:
            if not function.is_declaration:
                function.linkage = "linkonce_odr"  # several callers may bring it along
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        return 0

    @property
    def codegen(self) -> _InnerLibrary:
        return self

    def set_env(self, name: str, environment: Any) -> None:
        """Write the address of the Python objects that a kernel uses (to print) into its code."""
        address = f"@{name} = global ptr inttoptr (i64 {id(environment)} to ptr)"
        self._final_module.link_in(ll.parse_assembly(address))
        self._final_module.get_global_variable(name).linkage = "linkonce_odr"

    def _get_module_for_linking(self) -> Any:
        """Return the code with all that it calls. Callers come first: what nobody asks for is not linked."""
        self._ensure_finalized()
        if self._shared_module is None:
            self._shared_module = self._final_module.clone()
            for library in reversed(self._callees({})):
                inner = isinstance(library, _InnerLibrary)
                code = library._final_module if inner else library._get_module_for_linking()
                self._shared_module.link_in(code, preserve=True)
        return self._shared_module

    def _callees(self, found: dict[Any, None]) -> dict[Any, None]:
        for library in self._linking_libraries:
            if library not in found:
                if isinstance(library, _InnerLibrary):
                    library._callees(found)
                found[library] = None
        return found


class _InnerCompiler(_KernelCompiler):  # type: ignore[misc]
    def __init__(self, typing_context: Any, target_context: Any, library: None, *rest: Any) -> None:
        super().__init__(typing_context, target_context, _InnerLibrary(target_context.codegen(), "inner"), *rest)


class _InnerDispatcher(CPUDispatcher):  # type: ignore[misc]
    """A kernel that only kernels call."""

    def __init__(self, function: Callable[..., Any], **options: Any) -> None:
        super().__init__(function, targetoptions={**_INNER, **options}, pipeline_class=_InnerCompiler)

    def get_call_template(self, args: Any, kws: Any) -> Any:
        """Choose what to compile for a call: one version for all numbers, also those written out at the call."""
        return super().get_call_template([types.unliteral(arg) for arg in args], kws)


class _EntryLibrary(JITCodeLibrary):  # type: ignore[misc]
    """The code of an entry with all that it calls, for it alone.

    Code that several entries share would be that of the first of them, far from the others. Where every kernel lay on
    pages of its own, their first lines were in each other's way in the processor's cache, a third of a quiet step's time.
    """

    def _optimize_final_module(self) -> None:
        for function in self._final_module.functions:
            if not function.is_declaration and function.linkage == ll.Linkage.linkonce_odr:
                function.linkage = "internal"
        super()._optimize_final_module()


class _EntryCompiler(_KernelCompiler):  # type: ignore[misc]
    def __init__(self, typing_context: Any, target_context: Any, library: None, *rest: Any) -> None:
        super().__init__(typing_context, target_context, _EntryLibrary(target_context.codegen(), "entry"), *rest)


def kernel(function: Callable[..., Any]) -> Any:
    """Compile `function` for use by other kernels."""
    return function if INTERPRETED else _InnerDispatcher(function)


def inlined(function: Callable[..., Any]) -> Any:
    """Compile `function` for use by other kernels, always folded into its caller: for short formulas."""
    return function if INTERPRETED else _InnerDispatcher(function, forceinline=True)


def entry(function: Callable[..., Any]) -> Any:
    """Compile `function` so that Python may call it: where a block of work enters compiled code."""
    return numba.njit(**_OPTIONS, cache=False, pipeline_class=_EntryCompiler)(function)


class _Reference(types.Type):
    """A pointer to a named tuple that nobody changes and that outlives every call it is handed to."""

    def __init__(self, target: Any) -> None:
        self.target = target
        super().__init__(f"reference to {target.instance_class.__name__}")

    @property
    def key(self) -> Any:
        return self.target

    @property
    def mangling_args(self) -> tuple[str, tuple[()]]:
        return f"reference{self._code}", ()  # the name of a venue is the names of all its fields


@register_model(_Reference)
class _ReferenceModel(PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, fe_type: _Reference) -> None:
        super().__init__(manager, fe_type, manager.lookup(fe_type.target).get_value_type().as_pointer())


@infer_getattr
class _ReferenceAttributes(AttributeTemplate):  # type: ignore[misc]
    key = _Reference

    def generic_resolve(self, typ: _Reference, attr: str) -> Any:
        return typ.target.types[typ.target.fields.index(attr)] if attr in typ.target.fields else None


@lower_getattr_generic(_Reference)
def _read_member(context: Any, builder: Any, typ: _Reference, value: Any, attr: str) -> Any:
    return builder.load(cgutils.gep_inbounds(builder, value, 0, typ.target.fields.index(attr)))


@intrinsic
def _spill(typing_context: Any, target: Any) -> Any:
    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return cgutils.alloca_once_value(builder, arguments[0])

    return _Reference(target)(target), build


def _identity(value: Any) -> Any:
    return value


# by_reference(named tuple of arrays) -> what reads like it; for an `entry`, which owns the memory until it returns.
by_reference: Any = _identity if INTERPRETED else _spill
