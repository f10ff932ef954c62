"""Stress tests of the risk parameters of cross-margin perpetual-futures venues.

    run = stress.run("configs/studies/quickstart.yaml")
    run.data                 # xarray.Dataset: parameters x scenario -> probabilities with intervals
    run.summary()            # the verdict
    run.report()             # report.html beside the store

Names are imported when first used, so that the command line starts at once.
"""

from __future__ import annotations

import importlib
from typing import Any

# Public name -> (module, name there).
_PUBLIC = {
    "Run": ("stress.runs", "Run"),
    "Study": ("stress.config", "Study"),
    "StressError": ("stress.errors", "StressError"),
    "bankruptcy_price": ("stress.position_prices", "bankruptcy_price"),
    "compare": ("stress.runs", "compare"),
    "explain": ("stress.design", "explain"),
    "fillable_price": ("stress.position_prices", "fillable_price"),
    "liquidation_price": ("stress.position_prices", "liquidation_price"),
    "load_study": ("stress.config", "load_study"),
    "open": ("stress.runs", "open_run"),
    "run": ("stress.runs", "run"),
}

__all__ = [
    "Run",
    "StressError",
    "Study",
    "bankruptcy_price",
    "compare",
    "explain",
    "fillable_price",
    "liquidation_price",
    "load_study",
    "open",
    "run",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'stress' has no attribute {name!r}")
    module, attribute = _PUBLIC[name]
    return getattr(importlib.import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
