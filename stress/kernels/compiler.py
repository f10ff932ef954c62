"""How Numba compiles kernels here: indices count from the start, and all that an entry calls is optimised at once.

Numba compiles every function to machine code together with all that it calls, so that the kernels below a
chain of calls are optimised once for every link of it. Kernels that only kernels call wait for the entry
above them instead. That takes 0.6 of the time, and gives faster code.

No index of a kernel counts from the end. Where the compiler does not know, every access asks: typed as unsigned, indices
take a sixth off the time of a path.

This is the one place that leans on the inside of Numba, whose version is pinned.
"""

from __future__ import annotations

from typing import Any

from numba.core import ir, types
from numba.core.codegen import JITCodeLibrary, ll
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import AnalysisPass, register_pass
from numba.core.typed_passes import IRLegalization


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


class InnerCompiler(_KernelCompiler):  # type: ignore[misc]
    """Compiles a kernel that only kernels call."""

    def __init__(self, typing_context: Any, target_context: Any, library: None, *rest: Any) -> None:
        super().__init__(typing_context, target_context, _InnerLibrary(target_context.codegen(), "inner"), *rest)


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


class EntryCompiler(_KernelCompiler):  # type: ignore[misc]
    """Compiles an entry with all that it calls."""

    def __init__(self, typing_context: Any, target_context: Any, library: None, *rest: Any) -> None:
        super().__init__(typing_context, target_context, _EntryLibrary(target_context.codegen(), "entry"), *rest)
