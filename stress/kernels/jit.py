"""The one place that knows Numba's options.

`kernel` compiles a function and releases the GIL while it runs. `fastmath` is forbidden (it breaks
NaN checks and reorders sums); the disk cache is off because it misses edits in *other* files and
then serves stale numbers. With ``NUMBA_DISABLE_JIT=1`` the same source runs interpreted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba

INTERPRETED: bool = bool(numba.config.DISABLE_JIT)


def kernel(function: Callable[..., Any]) -> Any:
    """Compile `function` lazily, without fastmath, without a disk cache, without reference counts.

    A kernel allocates no arrays, so it needs no reference counting (`_nrt=False`). With it, every
    branch that touches an array of the venue pays atomic increments: a scan of accounts measured
    160 ns an account with, 14 ns without.
    """
    # error_model="numpy": division by zero gives inf or nan as in numpy, without a branch.
    return numba.njit(nogil=True, fastmath=False, error_model="numpy", cache=False, _nrt=False)(function)


def inlined(function: Callable[..., Any]) -> Any:
    """Compile `function` like `kernel`, always folded into its caller: for short formulas."""
    return numba.njit(nogil=True, fastmath=False, error_model="numpy", cache=False, _nrt=False, forceinline=True)(
        function
    )


def allocating_kernel(function: Callable[..., Any]) -> Any:
    """Compile `function` like `kernel`, but let it allocate arrays of its own."""
    return numba.njit(nogil=True, fastmath=False, error_model="numpy", cache=False)(function)
