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
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from stress.errors import MechanismError, StudyError
from stress.kernels.venue import ACTIONS


class Stage(enum.StrEnum):
    """Stages in the order in which a step visits them (design: one path through one protocol)."""

    IMPACT = "impact"
    ORACLE = "oracle"
    MARK = "mark"
    FUNDING = "funding"
    BREAKERS = "breakers"
    MARGIN = "margin"
    MARGIN_MODIFIERS = "margin_modifiers"
    COLLATERAL = "collateral"
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
        optional=("depth",),
        meaning="response(v, m, z) -> fraction, 0 where z is 0; average(v, m, z0, z1) -> mean response over the fill; "
        "inverse(v, m, g) -> z; depth(v, path, t, m) -> base units of one z, default: the path's depth; "
        "parameters derive from ImpactParameters",
    ),
    Stage.ORACLE: StageContract(
        ("observe",),
        meaning="observe(v, path, t, first_round): write `oracle` and `oracle_step` of each market, unless the action "
        "`oracle_update` is blocked (kernels.halts)",
    ),
    Stage.MARK: StageContract(
        ("mark",), meaning="mark(v, path, t, first_round): write `mark` of each market, unless `mark_update` is blocked"
    ),
    Stage.FUNDING: StageContract(
        ("accrue", "quote"),
        at_least=0,
        meaning="accrue(v, path, t, rates): let each market pay (kernels.funding.pay), unless `fund` is blocked; "
        "quote(v, m, rates) -> rate per year that the venue shows now, fraction, + = longs pay; rates is the margin rule's",
    ),
    Stage.BREAKERS: StageContract(
        ("trip",), at_least=0, at_most=None, meaning="trip(v, path, t): halt actions of each market (kernels.halts)"
    ),
    Stage.MARGIN: StageContract(
        ("maintenance", "initial"),
        optional=("close_out", "rates"),
        meaning="maintenance(v, m, size, price) -> USD; initial(v, m, size, price) -> USD; "
        "close_out(v, m, size, price) -> USD, a third level for backstops (`close_out` of the account); "
        "rates(v, m) -> (initial, maintenance) fractions of the first tier before anything scales them, default: those "
        "of a position of 1 USD; bound(v, m, size, low, high) -> highest maintenance over a range of prices",
    ),
    Stage.MARGIN_MODIFIERS: StageContract(
        (),
        optional=("maintenance", "initial", "offset", "update"),
        at_least=0,
        at_most=None,
        meaning="maintenance(v, m, size, price, base) -> USD, from the USD that the rules before it ask; initial alike; "
        "bound(v, m, size, low, high, base) -> highest maintenance where base is the highest before it; "
        "offset(v, a, maintenance) -> USD >= 0 that the account's positions save together; needs no bound; "
        "update(v, path, t): after the mark, once per step, `disturb` the selection where requirements may have risen",
    ),
    Stage.COLLATERAL: StageContract(
        ("maintenance", "initial", "sale"),
        optional=("update",),
        at_least=0,
        at_most=None,
        meaning="maintenance and initial as for margin, of a holding: the part of its value that does not count; "
        "sale(v, a, r, equity, requirement, t) -> base units of row r that a due account sells in one order; "
        "update as for modifiers; parameters derive from CollateralParameters",
    ),
    Stage.TRIGGER: StageContract(
        ("flag",),
        meaning="flag(v, a, equity, requirement, t) -> (liquidate now?, priority; lowest first); "
        "bound(v, a, equity, requirement) -> flags no account with at least this equity, at most this requirement",
    ),
    Stage.SIZE: StageContract(
        ("quantity",),
        optional=("goes_on",),
        meaning="quantity(v, a, r, equity, requirement, bankruptcy_price, t, maintenance, fee) -> base units to close; "
        "goes_on(v, a) -> are the account's other rows closed too, though it is due no longer? default: they are not",
    ),
    Stage.EXECUTION: StageContract(
        ("execute",),
        optional=("unwind",),
        at_most=None,
        meaning="execute(v, a, r, quantity, bankruptcy_price, equity, requirement, cover, t, "
        "response, average, inverse, maintenance) -> (filled >= 0, price, counterparty offset, limit); "
        "unwind(v, r, t) -> base units of the vault's row r to close now, >= 0",
    ),
    Stage.FEES: StageContract(
        ("fee",),
        at_least=0,
        optional=("reward",),
        meaning="fee(v, r, filled, price, bankruptcy_price, equity, requirement, maintenance) -> (USD >= 0, "
        "recipient: counterparty offset); reward(the same) -> USD >= 0 to the liquidators, beside the fee",
    ),
    Stage.WATERFALL: StageContract(
        ("absorb",),
        optional=("cover", "review", "horizon"),
        at_least=0,
        at_most=None,
        meaning="absorb(v, t, maintenance, initial) -> acted?; cover(v, a, m) -> USD that the layer can pay for a fill at once; "
        "review(v, path, t): once per step, after the breakers; horizon(v, t, maintenance): once, at the end of the path",
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
    """A duration in seconds; written and read as text with a unit."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            lambda value: cls(parse_duration(value)),
            serialization=core_schema.plain_serializer_function_ser_schema(format_duration, when_used="unless-none"),
        )


def format_duration(seconds: float) -> str:
    """Return the shortest text that `parse_duration` reads back to the same number of seconds."""
    for unit in ("d", "h", "m"):
        count = seconds / _UNITS[unit]
        if count >= 1 and count == int(count):
            return f"{int(count)}{unit}"
    return f"{seconds:.15g}s"


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
    value: Seconds
    at_step: Seconds | None = None


def _delay(value: object) -> object:
    if isinstance(value, (Delay, Mapping)):
        return value
    return {"value": value}


Exact = Annotated[Seconds, MeetsStep("exact")]
RoundedUp = Annotated[Seconds, MeetsStep("rounded_up")]
PerStep = Annotated[Seconds, MeetsStep("per_step")]
MustResolve = Annotated[Delay, BeforeValidator(_delay), MeetsStep("must_resolve")]


# ---------------------------------------------------------------------------------- parameters


# A number for the venue, or by market.
NonNegativeByMarket = Annotated[float, Field(ge=0)] | dict[str, Annotated[float, Field(ge=0)]]
PositiveByMarket = Annotated[float, Field(gt=0)] | dict[str, Annotated[float, Field(gt=0)]]

# What a breaker stops; becomes a bit mask in the kernel's record.
BlockedActions = tuple[Literal["open", "liquidate", "adl", "withdraw", "fund", "mark_update", "oracle_update"], ...]


class MechanismParameters(BaseModel):
    """Parameters of one mechanism. Fractions are plain numbers, money is USD, time carries a unit.

    A value may be given once for the venue or as a mapping from market to value
    (`PerMarket`). `terms` turns the parameters into the fields of the record that kernels read.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=True)

    def terms(self, market: str, step: float) -> dict[str, float | int | np.ndarray]:
        """Return the kernel's fields for one market; `step` is in seconds.

        Numbers keep their names; a duration `x` becomes `x` (seconds) and `x_steps`; a choice
        (Literal) becomes its position in the list of choices, blocked actions a bit mask; None is
        refused (override `terms`).
        """
        record: dict[str, float | int | np.ndarray] = {}
        for name, info in type(self).model_fields.items():
            if name in ("rule", "markets"):
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
            elif isinstance(value, tuple):
                record[name] = sum({ACTIONS[action] for action in value})
            elif isinstance(value, str):
                record[name] = _choice(info.annotation, value)
            else:
                raise MechanismError(
                    "has a type that cannot become a term; override `terms`", key=name, value=type(value).__name__
                )
        return record

    def notes(self) -> tuple[str, ...]:
        """Return sentences that a report must say about these parameters: an attack or a fault that they state."""
        return ()

    def balances(self) -> dict[int, float]:
        """Return the USD that counterparties hold at t = 0 because of this rule, by offset (kernels.venue)."""
        return {}


class MarketParameters(MechanismParameters):
    """Parameters of which each market has its own; a rule narrows the type of `markets`."""

    markets: dict[str, Any] = Field(min_length=1, description="the values of each market, or of `default`")

    def of(self, market: str) -> Any:
        """Return the values of a market, its own or those of `default`."""
        try:
            return self.markets[market] if market in self.markets else self.markets["default"]
        except KeyError:
            raise ValueError(f"nothing stated for {market} and no `default`") from None

    def terms(self, market: str, step: float) -> dict[str, float | int | np.ndarray]:
        """Return the kernel's fields: those of the market, then those that all markets share."""
        return {**self.of(market).terms(market, step), **MechanismParameters.terms(self, market, step)}


class CollateralParameters(MarketParameters):
    """Parameters of a rule for collateral: `markets` names the assets that may be held, `default` is not read.

    A holding is a position that was paid for: its entry notional is 0, so its whole value counts as equity; what
    the venue does not lend against is its requirement.
    """

    def terms(self, market: str, step: float) -> dict[str, float | int | np.ndarray]:
        """Return the kernel's fields of an asset; of any other market only those that all share."""
        return super().terms(market, step) if market in self.markets else MechanismParameters.terms(self, market, step)


class LeverageRates(MechanismParameters):
    """Rates of one market: what it takes to open a position, and to keep it."""

    leverage_cap: float = Field(ge=1, description="highest leverage to open; initial margin fraction = 1 / cap")
    maintenance_to_initial_ratio: float = Field(gt=0, lt=1, description="maintenance over initial margin")

    def terms(self, market: str, step: float) -> dict[str, float | int | np.ndarray]:
        """Return the kernel's fields: both rates as fractions of notional, the others as they are."""
        others = super().terms(market, step)
        del others["leverage_cap"], others["maintenance_to_initial_ratio"]
        initial = 1.0 / self.leverage_cap
        rates = {"initial_fraction": initial, "maintenance_fraction": initial * self.maintenance_to_initial_ratio}
        return rates | others


class DeleveragingParameters(MechanismParameters):
    """What deleveraging rules share: `adl_when` says which open claims are deleveraged, `adl_price` at what price."""

    adl_price: Literal["bankruptcy", "mark", "previous_mark", "oracle"] = Field(
        description="price of a deleveraged contract"
    )
    adl_when: Literal["fund_exhausted", "negative_equity"] = Field(
        default="fund_exhausted",
        description="only claims that the fund cannot carry, or every account with negative equity",
    )


class ImpactParameters(MechanismParameters):
    """What every impact rule states; the shape of the response is the rule's own."""

    permanent: float = Field(default=0.0, ge=0, le=1, description="share of a fill that does not decay")
    resilience: Exact = Field(default=Seconds(1800.0), gt=0, description="time constant of the decay of own flow")
    arbitrage_share: float = Field(
        default=0.0, ge=0, le=1, description="share of own impact that arbitrage carries to other venues (pi)"
    )
    impact_max: float = Field(default=0.9, gt=0, lt=1, description="the book ends where impact reaches this")
    slippage_cap: float | None = Field(
        default=None, gt=0, lt=1, description="an order stops at this distance from the mid; null = only impact_max"
    )
    provider_feedback: float = Field(
        default=0.0,
        ge=0,
        description="share of depth withdrawn per unit of the market makers' drawdown from their peak",
    )
    additive: bool = Field(default=False, description="put impact additively on the initial price")

    def terms(self, market: str, step: float) -> dict[str, float | int | np.ndarray]:
        """Return the kernel's fields; no slippage cap is a cap of 1."""
        stated = self if self.slippage_cap is not None else self.model_copy(update={"slippage_cap": 1.0})
        return MechanismParameters.terms(stated, market, step)


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
    on_fill : on_fill(v, a, r, quantity, price, t), called after every fill at a venue of the execution stage
        (deleveraging closes contracts without one).
    pending, bound : what lets the engine skip accounts (margin, modifiers, collateral, trigger); without a bound it looks at all.
    """

    name: str
    stage: Stage
    parameters: type[MechanismParameters]
    kernels: Mapping[str, Callable[..., Any]]
    state: tuple[StateField, ...] = ()
    on_fill: Callable[..., Any] | None = None
    pending: Callable[..., Any] | None = None
    bound: Callable[..., Any] | None = None

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
