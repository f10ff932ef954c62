"""Validation cases as data, what a check is, and the three ways to compare: by formula, by count, by mean."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

FEWEST_EVENTS = 50


class NotRun(Exception):
    """The check cannot be made here; the reason is reported by name, never counted as passed."""


@dataclass(frozen=True, eq=False)
class Case:
    """One record of a cases file; `scale` multiplies the number of simulated paths."""

    file: str
    name: str
    family: str
    inputs: dict[str, Any]
    expected: dict[str, Any]
    tolerance: dict[str, Any]
    scale: float = 1

    def __getitem__(self, name: str) -> Any:
        return self.inputs[name]


class Check(NamedTuple):
    """One number of a case, checked in one way; `how` is formula, simulated or a reason to leave it out."""

    key: str
    how: str
    run: Callable[[], None]


Checks = Iterator[Check]


def read_cases(folder: Path, scale: float) -> list[Case]:
    """Return every case of every *.json file of a folder; a folder without cases is an error."""
    found = []
    for file in sorted(folder.glob("*.json")):
        document = json.loads(file.read_text())
        for case in document["cases"]:
            parts = (case[key] for key in ("id", "family", "inputs", "expected", "tolerance"))
            found.append(Case(file.name, *parts, scale))
    if not found:
        raise FileNotFoundError(f"no validation cases (*.json with a list `cases`) in {folder}")
    return found


def agree(case: Case, value: Any, expected: Any, **also: float) -> None:
    """Compare with the case's own tolerance: exact, relative or absolute; `also` gives absolute ones by name."""
    tolerance = {**case.tolerance, **also}
    if expected is None or tolerance.get("exact"):
        assert value == expected, (value, expected)
        return
    relative = tolerance.get("formula_rel", 0.0)
    fixed = tolerance.get("formula_abs", 0.0) + also.get("abs", 0.0)
    if not relative and not fixed:
        raise NotRun(f"the case states no tolerance for a formula: {case.tolerance}")
    value, expected = np.asarray(value, float), np.asarray(expected, float)
    # 1e-15: a probability that is 0 in exact arithmetic.
    assert (np.abs(value - expected) <= relative * np.abs(expected) + fixed + 1e-15).all(), (value, expected)


def formula(case: Case, key: str, value: Callable[[], Any]) -> Check:
    """A closed form against the case's number."""
    return Check(key, "formula", lambda: agree(case, value(), case.expected[key]))


def simulated(case: Case, key: str, compare: Callable[[float], None]) -> Check:
    """A simulation, handed the case's number."""
    return Check(key, "simulated", lambda: compare(case.expected[key]))


def left_out(case: Case, key: str, reason: str) -> Check:
    """A check that cannot be made, with its reason."""

    def run() -> None:
        raise NotRun(reason)

    return Check(key, "left out", run)


def absolute(case: Case, **quantities: float) -> float:
    """The case's absolute tolerance: a number, or the text `a / b` of quantities named here."""
    stated = case.tolerance.get("abs")
    if isinstance(stated, int | float):
        return float(stated)
    names = [name.strip() for name in str(stated).split("/")]
    if len(names) != 2 or not quantities.keys() >= set(names):
        raise NotRun(f"the tolerance {stated!r} is neither a number nor a ratio of {', '.join(quantities)}")
    return quantities[names[0]] / quantities[names[1]]


def within_errors(case: Case, z: float, found: float, expected: float) -> None:
    """|z| against the case's own limit."""
    if "mc_z" not in case.tolerance:
        raise NotRun(f"the case states no tolerance for a simulation: {case.tolerance}")
    assert abs(z) <= case.tolerance["mc_z"], f"{found:.6g} instead of {expected:.6g}: z = {z:.2f}"


def enough(events: int, trials: int, probability: float | None) -> bool:
    """Whether there are events to judge by; too few where the case makes one expect many are a result as well."""
    if events < FEWEST_EVENTS and (probability is None or trials * probability < 4 * FEWEST_EVENTS):
        raise NotRun(f"{events} events in {trials} trials; {FEWEST_EVENTS} are needed")
    return events >= FEWEST_EVENTS


def frequency(case: Case, expected: float, happened: np.ndarray) -> None:
    """|z| of a count of independent events against its probability."""
    events, trials = int(np.count_nonzero(happened)), len(happened)
    enough(min(events, trials - events), trials, expected * (1 - expected))
    z = (events - trials * expected) / math.sqrt(trials * expected * (1 - expected))
    within_errors(case, z, events / trials, expected)


def average(case: Case, expected: float, sample: np.ndarray, probability: float | None = None) -> None:
    """|z| of a sample mean against its expectation, with the sample's own standard error.

    probability : of an event (a number other than zero), where it is known.
    """
    events = int(np.count_nonzero(sample))
    assert enough(events, len(sample), probability), f"{events} events in {len(sample)} trials of p = {probability:.3g}"
    z = (sample.mean() - expected) / (sample.std(ddof=1) / math.sqrt(len(sample)))
    within_errors(case, z, sample.mean(), expected)
