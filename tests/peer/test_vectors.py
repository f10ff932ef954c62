"""Every test vector of every venue runs through the kernels of the shelf. `--vectors DIR` names other files."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from stress.peers import Agreement, check, read_vectors
from stress.peers.agreement import differences


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "place" in metafunc.fixturenames:
        vectors = read_vectors(metafunc.config.getoption("--vectors"))
        metafunc.parametrize("place", range(len(vectors)), ids=[vector.id for vector in vectors])


@pytest.fixture(scope="session")
def agreements(request: pytest.FixtureRequest) -> list[Agreement]:
    return check(request.config.getoption("--vectors"))


def test_vector(agreements, place):
    assert agreements[place].differs == ()


def test_every_expected_number_can_fail(agreements):
    """A value that is off by a hundredth, or a flag turned around, is noticed in every vector."""
    unnoticed = [
        f"{agreement.vector.id}: {place}"
        for agreement in agreements
        if agreement.holds
        for place, expected in mutations(agreement.vector.expected)
        if not list(differences(agreement.given, expected, agreement.vector.relative))
    ]
    assert unnoticed == []


def mutations(expected: Any) -> Iterator[tuple[str, Any]]:
    """Yield (place, copy of `expected` with the leaf at that place changed)."""
    for path in leaves(expected):
        changed = copy.deepcopy(expected)
        parent = changed
        for key in path[:-1]:
            parent = parent[key]
        value = parent[path[-1]]
        if isinstance(value, bool):
            parent[path[-1]] = not value
        elif isinstance(value, int | float):
            parent[path[-1]] = value * 1.01 if value else 1e-4
        else:
            parent[path[-1]] = f"{value}?"
        yield ".".join(str(key) for key in path), changed


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in items:
            yield from leaves(inner, (*path, key))
    else:
        yield path
