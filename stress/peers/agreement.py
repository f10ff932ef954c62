"""One test vector of a venue, the adapter that answers it, and whether the two agree.

An adapter takes a vector's inputs, runs the kernels that the engine runs, and returns what the vector
expects, under the same names. It may turn units and signs around; it computes no rule of its own.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stress.errors import PeerError, StressError

Adapter = Callable[[Mapping[str, Any]], Mapping[str, Any]]

# Venues book in millionths of a USD and round their fractions to millionths; a value smaller than a
# thousand of these must be met to one part in a thousand all the same.
PROTOCOL_ROUNDING = 1e-6
PRECISION = 1e-9

_adapters: dict[tuple[str, str], Adapter] = {}


class Rejected(Exception):
    """The venue rejects the input; carries the venue's own name of the error."""


def adapter(protocol: str, mechanism: str) -> Callable[[Adapter], Adapter]:
    """Register a function as the answer to the vectors of one mechanism of one venue."""

    def register(function: Adapter) -> Adapter:
        if (protocol, mechanism) in _adapters:
            raise PeerError("two adapters answer one mechanism", key=protocol, value=mechanism)
        _adapters[protocol, mechanism] = function
        return function

    return register


@dataclass(frozen=True)
class Vector:
    """One case of a venue: inputs, what the venue gave, and where that stands written."""

    file: str
    id: str
    protocol: str
    mechanism: str
    inputs: Mapping[str, Any]
    expected: Mapping[str, Any]
    relative: float | None  # stated tolerance, null where the file states none


@dataclass(frozen=True)
class Agreement:
    """How one vector came out. `differs` names what does not agree; empty where all does."""

    vector: Vector
    given: Mapping[str, Any]
    differs: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether every expected value was met."""
        return not self.differs


def read_vectors(folder: Path) -> list[Vector]:
    """Return the vectors of every JSON file of a folder, in order of file and place."""
    files = sorted(folder.glob("*.json"))
    if not files:
        raise PeerError("the folder has no *.json", file=str(folder), fix="name a folder of venue test vectors")
    return [vector for file in files for vector in _read(file)]


def _read(file: Path) -> Iterator[Vector]:
    try:
        entries = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise PeerError(f"not valid JSON: {error}", file=str(file)) from None
    if not isinstance(entries, list):
        raise PeerError("a file of vectors is a list", file=str(file), value=type(entries).__name__)
    for place, entry in enumerate(entries):
        wanted = ("id", "protocol", "mechanism", "inputs", "expected")
        missing = [key for key in wanted if not isinstance(entry, dict) or key not in entry]
        if missing or not entry["expected"]:
            raise PeerError(
                "a vector has id, protocol, mechanism, inputs and something expected",
                file=str(file),
                key=f"[{place}]",
                value={"missing": missing},
            )
        yield Vector(file=file.name, relative=entry.get("rel_tol"), **{key: entry[key] for key in wanted})


class _Inputs(dict[str, Any]):
    """A vector's inputs, which say what they lack."""

    def __missing__(self, key: str) -> Any:
        raise PeerError("an input that this mechanism needs", key=key, fix="state it in the vector")


def _stated(value: Any) -> Any:
    if isinstance(value, Mapping):
        return _Inputs({key: _stated(inner) for key, inner in value.items()})
    return [_stated(inner) for inner in value] if isinstance(value, list) else value


def hold(vector: Vector) -> Agreement:
    """Answer a vector with its adapter and compare; a mechanism without an adapter does not agree."""
    answer = _adapters.get((vector.protocol, vector.mechanism))
    if answer is None:
        return Agreement(vector, {}, (f"no adapter answers {vector.mechanism} of {vector.protocol}",))
    try:
        given = answer(_stated(vector.inputs))
    except Rejected as rejection:
        given = {"error": str(rejection)}
    except (StressError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        return Agreement(vector, {}, (f"the adapter failed: {type(error).__name__}: {error}",))
    return Agreement(vector, given, tuple(differences(given, vector.expected, vector.relative)))


def differences(given: Any, expected: Any, relative: float | None, name: str = "") -> Iterator[str]:
    """Yield a line for every expected leaf that is absent or further off than the tolerance."""
    if isinstance(expected, Mapping):
        for key, value in expected.items():
            place = f"{name}.{key}" if name else str(key)
            if not isinstance(given, Mapping) or key not in given:
                yield f"{place}: expected {value!r}, got nothing"
            else:
                yield from differences(given[key], value, relative, place)
    elif isinstance(expected, list):
        if not isinstance(given, list | tuple) or len(given) != len(expected):
            yield f"{name}: expected {expected!r}, got {given!r}"
        else:
            for index, (one, other) in enumerate(zip(given, expected, strict=True)):
                yield from differences(one, other, relative, f"{name}[{index}]")
    elif isinstance(expected, bool) or not isinstance(expected, int | float):
        infinite = expected == "inf" and given == math.inf
        if not infinite and (type(given) is not type(expected) or given != expected):
            yield f"{name}: expected {expected!r}, got {given!r}"
    elif isinstance(given, bool) or not isinstance(given, int | float) or not _close(given, expected, relative):
        yield f"{name}: expected {expected!r}, got {given!r}"


def _close(given: float, expected: float, relative: float | None) -> bool:
    size = abs(expected)
    if size == 0.0:
        return abs(given) <= PROTOCOL_ROUNDING
    allowed = max(PRECISION * size, min(PROTOCOL_ROUNDING, 1e-3 * size))
    if relative is not None:
        allowed = max(allowed, relative * size)
    return abs(given - expected) <= allowed * (1.0 + 1e-9)  # a full quantum is met also in binary fractions
