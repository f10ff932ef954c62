"""The one place that knows Numba's options.

All kernels release the GIL. `fastmath` is forbidden (it breaks NaN checks and reorders sums); the disk
cache is off because it misses edits in *other* files and then serves stale numbers. With
``NUMBA_DISABLE_JIT=1`` the same source runs interpreted.

A kernel allocates no arrays, so it needs no reference counting (`_nrt=False`). With counting, every branch
that touches an array of the venue pays atomic increments: a scan of accounts took ten times as long.
Kernels that only kernels call have no Python wrappers: unpacking a venue in each of them was a third of
the time to compile.

A venue is a hundred machine words, and a call by value copies them all: `by_reference` hands on one pointer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
from numba.core import cgutils, types
from numba.core.datamodel import PrimitiveModel
from numba.core.registry import CPUDispatcher
from numba.core.typing.templates import AttributeTemplate
from numba.extending import infer_getattr, intrinsic, lower_getattr_generic, register_model

from stress.kernels.compiler import EntryCompiler, InnerCompiler

INTERPRETED: bool = bool(numba.config.DISABLE_JIT)

# error_model="numpy": division by zero gives inf or nan as in numpy, without a branch.
# boundscheck=None: only where NUMBA_BOUNDSCHECK asks; profiles are those of the code that runs.
_OPTIONS: dict[str, Any] = {
    "nogil": True,
    "fastmath": False,
    "error_model": "numpy",
    "boundscheck": None,
    "_nrt": False,
}
_INNER = {**_OPTIONS, "nopython": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}


class _InnerDispatcher(CPUDispatcher):  # type: ignore[misc]
    """A kernel that only kernels call."""

    def __init__(self, function: Callable[..., Any], **options: Any) -> None:
        super().__init__(function, targetoptions={**_INNER, **options}, pipeline_class=InnerCompiler)

    def get_call_template(self, args: Any, kws: Any) -> Any:
        """Choose what to compile for a call: one version for all numbers, also those written out at the call."""
        return super().get_call_template([types.unliteral(arg) for arg in args], kws)


def kernel(function: Callable[..., Any]) -> Any:
    """Compile `function` for use by other kernels."""
    return function if INTERPRETED else _InnerDispatcher(function)


def inlined(function: Callable[..., Any]) -> Any:
    """Compile `function` for use by other kernels, always folded into its caller: for short formulas."""
    return function if INTERPRETED else _InnerDispatcher(function, forceinline=True)


def entry(function: Callable[..., Any]) -> Any:
    """Compile `function` so that Python may call it: where a block of work enters compiled code."""
    return numba.njit(**_OPTIONS, cache=False, pipeline_class=EntryCompiler)(function)


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
