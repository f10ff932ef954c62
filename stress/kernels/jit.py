"""The one place that knows Numba's options.

All kernels release the GIL. `fastmath` is forbidden (it breaks NaN checks and reorders sums); the disk
cache is off because it misses edits in *other* files and then serves stale numbers. With
``NUMBA_DISABLE_JIT=1`` the same source runs interpreted.

A kernel allocates no arrays, so it needs no reference counting (`_nrt=False`). With counting, every branch
that touches an array of the venue pays atomic increments: a scan of accounts took ten times as long.
Kernels that only kernels call have no Python wrappers: unpacking a venue in each of them was a third of
the time to compile.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba

INTERPRETED: bool = bool(numba.config.DISABLE_JIT)

# error_model="numpy": division by zero gives inf or nan as in numpy, without a branch.
_OPTIONS: dict[str, Any] = {"nogil": True, "fastmath": False, "error_model": "numpy", "cache": False, "_nrt": False}
_INNER = {**_OPTIONS, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def kernel(function: Callable[..., Any]) -> Any:
    """Compile `function` for use by other kernels."""
    return numba.njit(**_INNER)(function)


def inlined(function: Callable[..., Any]) -> Any:
    """Compile `function` for use by other kernels, always folded into its caller: for short formulas."""
    return numba.njit(**_INNER, forceinline=True)(function)


def entry(function: Callable[..., Any]) -> Any:
    """Compile `function` so that Python may call it: where a block of work enters compiled code."""
    return numba.njit(**_OPTIONS)(function)
