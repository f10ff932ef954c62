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
    """Compile `function` lazily, without fastmath and without a disk cache."""
    # error_model="numpy": division by zero gives inf or nan as in numpy, without a branch.
    return numba.njit(nogil=True, fastmath=False, error_model="numpy", cache=False)(function)
