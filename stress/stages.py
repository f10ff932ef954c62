"""The ordered stages of a step, and the contract that a mechanism of each stage fulfils.

A mechanism is one file in `stress.mechanisms`: parameters (pydantic), a docstring (stage, formula,
source, invariants, limits) and the kernels its stage demands. Everything else has a default.
"""

from __future__ import annotations

import enum
import math
import re
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict

from stress.errors import MechanismError, StudyError


class Stage(enum.StrEnum):
    """Stages in the order in which a step visits them (design: one path through one protocol)."""

    IMPACT = "impact"
    ORACLE = "oracle"
    MARK = "mark"
    FUNDING = "funding"
    BREAKERS = "breakers"
    MARGIN = "margin"
    TRIGGER = "trigger"
    SIZE = "size"
    EXECUTION = "execution"
    FEES = "fees"
    WATERFALL = "waterfall"


@dataclass(frozen=True)
class StageContract:
    """What a stage demands: kernels that must be given, kernels that may be, how many mechanisms."""

    kernels: tuple[str, ...]
    optional: tuple[str, ...] = ()
    at_least: int = 1
    at_most: int | None = 1
    meaning: str = ""


# Signatures (v = kernels.venue.Venue, path = kernels.venue.Path, m = market, a = account, r = row):
CONTRACTS: dict[Stage, StageContract] = {
    Stage.IMPACT: StageContract(
        ("response", "average", "inverse"),
        meaning="response(v, m, z) -> fraction; average(v, m, z0, z1) -> mean response over the fill; "
        "inverse(v, m, g) -> z",
    ),
    Stage.ORACLE: StageContract(
        ("observe",), meaning="observe(v, path, t, first_round): write v.oracle, v.oracle_step per market"
    ),
    Stage.MARK: StageContract(("mark",), meaning="mark(v, path, t, first_round): write v.mark per market"),
    Stage.FUNDING: StageContract(
        ("accrue",),
        at_least=0,
        meaning="accrue(v, path, t): add to v.funding_index (USD per base unit, + = longs pay)",
    ),
    Stage.BREAKERS: StageContract(
        ("trip",), at_least=0, at_most=None, meaning="trip(v, path, t): set bits of v.blocked per market"
    ),
    Stage.MARGIN: StageContract(
        ("maintenance", "initial"),
        meaning="maintenance(v, m, size, price) -> USD; initial(v, m, size, price) -> USD",
    ),
    Stage.TRIGGER: StageContract(
        ("flag",), meaning="flag(v, a, equity, requirement, t) -> (liquidate now?, priority; lowest first)"
    ),
    Stage.SIZE: StageContract(
        ("quantity",), meaning="quantity(v, a, r, equity, requirement, t) -> base units to close, >= 0"
    ),
    Stage.EXECUTION: StageContract(
        ("execute",),
        optional=("unwind",),
        at_most=None,
        meaning="execute(v, a, r, quantity, equity, requirement, cover, t) -> (filled >= 0, price, counterparty); "
        "unwind(v, m, t) -> base units that the counterparty's own book sells (+) or buys (-) now",
    ),
    Stage.FEES: StageContract(
        ("fee",),
        at_least=0,
        meaning="fee(v, a, r, filled, price, bankruptcy_price) -> (USD >= 0, recipient counterparty)",
    ),
    Stage.WATERFALL: StageContract(
        ("absorb",),
        optional=("cover",),
        at_least=0,
        at_most=None,
        meaning="absorb(v, t) -> acted?; cover(v) -> USD that the layer can pay for a fill at once",
    ),
}


# ---------------------------------------------------------------------------------------- time

_UNITS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_DURATION = re.compile(r"\s*([0-9]*\.?[0-9]+)\s*(ms|s|min|m|h|d|w)\s*")


def parse_duration(value: object) -> float:
    """Return seconds from text such as '60s', '5m', '24h', '7d'; a bare number has no unit and is refused."""
    if isinstance(value, str):
        match = _DURATION.fullmatch(value)
        if match:
            return float(match[1]) * _UNITS[match[2]]
    if isinstance(value, Seconds):
        return float(value)
    raise ValueError(f"a duration needs a number and a unit of {', '.join(_UNITS)}, such as 60s; got {value!r}")


class Seconds(float):
    """A duration already converted to seconds (so that models can be rebuilt from their own values)."""


def format_duration(seconds: float) -> str:
    """Return the shortest text that `parse_duration` reads back to the same number of seconds."""
    for unit in ("d", "h", "m"):
        count = seconds / _UNITS[unit]
        if count >= 1 and count == int(count):
            return f"{int(count)}{unit}"
    return f"{seconds:g}s"


@dataclass(frozen=True)
class MeetsStep:
    """How a time constant meets the step (design: time constants declare how they meet the step)."""

    rule: Literal["exact", "rounded_up", "per_step", "must_resolve"]

    def steps(self, name: str, seconds: float, step: float) -> int:
        """Return the constant in whole steps, or raise where the step cannot resolve it."""
        count = seconds / step
        if self.rule == "rounded_up":
            return math.ceil(count - 1e-9)
        if abs(count - round(count)) > 1e-9:
            raise StudyError(
                f"a step of {format_duration(step)} cannot resolve it: it must be a whole multiple of the step",
                key=name,
                value=format_duration(seconds),
                fix=f"use a multiple of {format_duration(step)}, a shorter `step`, or state `at_step` in the preset",
            )
        return round(count)


class Delay(BaseModel):
    """A fixed delay of a preset, with the value it takes where the step cannot resolve it."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    value: Annotated[Seconds, BeforeValidator(lambda v: Seconds(parse_duration(v)))]
    at_step: Annotated[Seconds, BeforeValidator(lambda v: Seconds(parse_duration(v)))] | None = None


def _delay(value: object) -> object:
    if isinstance(value, (Delay, Mapping)):
        return value
    return {"value": value}


_seconds = BeforeValidator(lambda v: Seconds(parse_duration(v)))
Exact = Annotated[Seconds, _seconds, MeetsStep("exact")]
RoundedUp = Annotated[Seconds, _seconds, MeetsStep("rounded_up")]
PerStep = Annotated[Seconds, _seconds, MeetsStep("per_step")]
MustResolve = Annotated[Delay, BeforeValidator(_delay), MeetsStep("must_resolve")]


# ---------------------------------------------------------------------------------- parameters


class MechanismParameters(BaseModel):
    """Parameters of one mechanism. Fractions are plain numbers, money is USD, time carries a unit.

    A value may be given once for the venue or as a mapping from market to value
    (`PerMarket`). `terms` turns the parameters into the fields of the record that kernels read.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=True)

    def terms(self, market: str, step: float) -> dict[str, float | int | np.ndarray]:
        """Return the kernel's fields for one market; `step` is in seconds.

        Numbers keep their names; a duration `x` becomes `x` (seconds) and `x_steps`; a choice
        (Literal) becomes its position in the list of choices; None is refused (give a default).
        """
        record: dict[str, float | int | np.ndarray] = {}
        for name, info in type(self).model_fields.items():
            if name == "rule":
                continue
            value = getattr(self, name)
            if isinstance(value, Mapping):
                value = value.get(market, value.get("default"))
                if value is None:
                    raise StudyError("has no value for this market and no `default`", key=name, value=market)
            meets = next((m for m in info.metadata if isinstance(m, MeetsStep)), None)
            if isinstance(value, Delay):
                assert meets is not None
                exact = abs(value.value / step - round(value.value / step)) < 1e-9
                seconds = value.value if exact or value.at_step is None else value.at_step
                record[name] = float(seconds)
                record[f"{name}_steps"] = meets.steps(name, float(seconds), step)
            elif isinstance(value, Seconds):
                record[name] = float(value)
                if meets is not None and meets.rule in ("rounded_up", "must_resolve"):
                    record[f"{name}_steps"] = meets.steps(name, float(value), step)
            elif isinstance(value, bool | int):
                record[name] = int(value)
            elif isinstance(value, float):
                record[name] = value
            elif isinstance(value, str):
                record[name] = _choice(info.annotation, value)
            else:
                raise MechanismError(
                    "has a type that cannot become a term; override `terms`", key=name, value=type(value).__name__
                )
        return record


def _choice(annotation: Any, value: str) -> int:
    """Return the position of `value` among the choices of a Literal."""
    options = typing.get_args(annotation)
    if isinstance(annotation, types.UnionType) or value not in options:
        raise MechanismError("is text but not one of a Literal's choices; override `terms`", value=value)
    return options.index(value)


# ------------------------------------------------------------------------------------ contract


@dataclass(frozen=True)
class StateField:
    """One field of a mechanism's memory, from which the engine builds its state records."""

    name: str
    scope: Literal["venue", "market", "account", "row"]
    dtype: Literal["f8", "i8"]
    unit: str
    reset: float = 0.0
    shape: tuple[int, ...] = ()


@dataclass(frozen=True)
class Mechanism:
    """One rule of one stage: see the module docstring and `CONTRACTS`.

    Parameters
    ----------
    name : the value of `rule:` in a protocol file; also the name of the module.
    kernels : the functions that the stage demands, by the names in `CONTRACTS`.
    state : memory the engine allocates and resets on every path.
    on_fill : on_fill(v, a, r, quantity, price, t), called after every executed fill.
    pending, next_event, advance, bound : for engines that skip steps; None disables skipping
        for what the mechanism touches. `every_step` marks memory that both engines run each step.
    """

    name: str
    stage: Stage
    parameters: type[MechanismParameters]
    kernels: Mapping[str, Callable[..., Any]]
    state: tuple[StateField, ...] = ()
    on_fill: Callable[..., Any] | None = None
    pending: Callable[..., Any] | None = None
    next_event: Callable[..., Any] | None = None
    advance: Callable[..., Any] | None = None
    bound: Callable[..., Any] | None = None
    every_step: bool = False
    impossible: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        contract = CONTRACTS[self.stage]
        missing = [name for name in contract.kernels if name not in self.kernels]
        unknown = [name for name in self.kernels if name not in contract.kernels + contract.optional]
        if missing or unknown:
            raise MechanismError(
                f"stage {self.stage} demands the kernels {', '.join(contract.kernels)}: {contract.meaning}",
                key=self.name,
                value={"missing": missing, "unknown": unknown},
            )
