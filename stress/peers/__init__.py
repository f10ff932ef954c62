"""Test vectors of real venues, answered by the rules of the shelf.

A vector is a case that a venue's own tests or documents work through: inputs and what must come out.
Each module of this folder answers some mechanisms through adapters, which run the kernels that the engine runs,
interpreted. Modules are found by discovery, none is listed.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from stress.errors import PeerError
from stress.kernels.jit import INTERPRETED
from stress.peers.agreement import Agreement, Vector, hold, read_vectors

__all__ = ["Agreement", "Vector", "check", "hold", "read_vectors", "tally"]

for _module in sorted(pkgutil.iter_modules(__path__), key=lambda item: item.name):
    importlib.import_module(f"{__name__}.{_module.name}")


def check(folder: Path) -> list[Agreement]:
    """Return how every vector of a folder's JSON files came out.

    Kernels are called from Python, so they must be interpreted: where this process compiles them, another does it.
    """
    vectors = read_vectors(folder)
    if INTERPRETED:
        return [hold(vector) for vector in vectors]
    ran = subprocess.run(
        [sys.executable, "-c", _CHILD, str(folder)],
        env=os.environ | {"NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode != 0:
        raise PeerError("the process that answers the vectors failed", file=str(folder), value=ran.stderr[-4000:])
    answers = json.loads(ran.stdout.splitlines()[-1])
    return [Agreement(v, given, tuple(differs)) for v, (given, differs) in zip(vectors, answers, strict=True)]


_CHILD = """
import json, pathlib, sys
from stress.peers import check
print()
print(json.dumps([(a.given, a.differs) for a in check(pathlib.Path(sys.argv[1]))]))
"""


def tally(agreements: Sequence[Agreement]) -> dict[tuple[str, str], tuple[int, int]]:
    """Return {(protocol, mechanism): (vectors that agree, vectors)}, in order."""
    counts: dict[tuple[str, str], tuple[int, int]] = {}
    for agreement in agreements:
        key = (agreement.vector.protocol, agreement.vector.mechanism)
        held, seen = counts.get(key, (0, 0))
        counts[key] = (held + agreement.holds, seen + 1)
    return dict(sorted(counts.items()))
