"""The shelf of mechanisms: one file, one rule. Files are found by discovery, none is listed."""

from __future__ import annotations

import functools
import importlib
import pkgutil

from stress.errors import MechanismError
from stress.stages import Mechanism, Stage


@functools.cache
def shelf() -> dict[str, Mechanism]:
    """Return every mechanism by name; refuses a file without one, and two of one name."""
    found: dict[str, Mechanism] = {}
    for module in sorted(pkgutil.iter_modules(__path__), key=lambda item: item.name):
        mechanism = getattr(importlib.import_module(f"{__name__}.{module.name}"), "MECHANISM", None)
        if not isinstance(mechanism, Mechanism):
            raise MechanismError("a mechanism file defines MECHANISM", file=module.name)
        if mechanism.name != module.name:
            raise MechanismError("the mechanism is named like its file", file=module.name, value=mechanism.name)
        found[mechanism.name] = mechanism
    return found


def of_stage(stage: Stage) -> dict[str, Mechanism]:
    """Return the mechanisms of one stage by name."""
    return {name: mechanism for name, mechanism in shelf().items() if mechanism.stage is stage}
