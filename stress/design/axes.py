"""What an axis name means: which parameters of a protocol it sets, and to what.

`field`, `MARKET.field`, `MARKET.field[tier]` or `rule.field`. Without a market the value goes to the
first tier of the study's first market, and every other market and tier scales by the same factor;
with a market, to its first tier, and its other tiers scale; with a tier, there alone. A parameter
that is one value for the venue is set directly.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from stress.config import Document, Protocol, show
from stress.config.refusals import refusals
from stress.errors import StudyError, did_you_mean
from stress.stages import Delay, Seconds

_NAME = re.compile(r"(?:(?P<prefix>[A-Za-z0-9_-]+)\.)?(?P<field>[a-z][a-z0-9_]*)(?:\[(?P<tier>[0-9]+)\])?")
DEFAULT = "default"
# Axes that set no parameter of a protocol.
_MEANINGS = {
    "scenario": "how the paths start and run; history where it is a replay",
    "market": "market of the venue, in the order of the study",
    "protocol": "preset of the venue",
    "volatility": "factor on the volatility of every market",
    "depth": "factor on the depth of every market",
    "correlation": "shift of the correlations between markets",
    "traders": "what traders do at t = 0 when terms change",
    "turnover": "share of every position that is opened anew under the changed terms (grandfather)",
    "margin_mode": "whether an account's positions share their collateral",
}


@dataclass(frozen=True)
class Parameter:
    """One value inside a protocol: where it stands, and what it is called there."""

    rule: str
    field: str
    market: str | None
    tier: int | None
    place: tuple[str | int, ...]
    value: Any
    meaning: str = ""

    @property
    def name(self) -> str:
        """`BTC.leverage_cap[0]`: market, field, tier."""
        market = f"{self.market}." if self.market else ""
        return market + self.field + ("" if self.tier is None else f"[{self.tier}]")


def parameters(protocol: Protocol) -> list[Parameter]:
    """Return every value of a protocol that an axis can name, in the order of the stages."""
    found = [Parameter("", "rounds_per_step", None, None, ("rounds_per_step",), protocol.rounds_per_step)]
    for place, rule in protocol.placed_rules():
        found += (p for p in _below(rule, place, str(getattr(rule, "rule")), None, None) if p.field != "rule")  # noqa: B009
    return found


def _below(
    held: Any, place: tuple[str | int, ...], rule: str, market: str | None, tier: int | None, meaning: str = ""
) -> Iterator[Parameter]:
    if isinstance(held, BaseModel) and not isinstance(held, Delay):
        for field, info in type(held).model_fields.items():
            yield from _below(getattr(held, field), (*place, field), rule, market, tier, info.description or "")
    elif isinstance(held, Mapping):
        for key, inner in held.items():
            yield from _below(inner, (*place, key), rule, key, tier, meaning)
    elif isinstance(held, Sequence) and held and all(isinstance(inner, BaseModel) for inner in held):
        for index, inner in enumerate(held):
            yield from _below(inner, (*place, index), rule, market, index, meaning)
    else:
        field = next(str(part) for part in reversed(place) if isinstance(part, str) and part != market)
        yield Parameter(rule, field, market, tier, place, held, meaning)


def addressed(protocol: Protocol, name: str, markets: Sequence[str]) -> list[Parameter]:
    """Return the parameters an axis sets: first the one that takes the value, then those that follow in scale."""
    match = _NAME.fullmatch(name)
    known = parameters(protocol)
    fields = {parameter.field for parameter in known}
    if match is None or match["field"] not in fields:
        wanted = name if match is None else match["field"]
        raise StudyError(
            f"protocol {protocol.name} has no parameter of this name", key=name, fix=did_you_mean(wanted, fields)
        )
    prefix, tier = match["prefix"], match["tier"]
    named = [parameter for parameter in known if parameter.field == match["field"]]
    rules = {parameter.rule for parameter in named}
    if prefix in rules:
        named, prefix = [parameter for parameter in named if parameter.rule == prefix], None
    elif len(rules) > 1:
        choices = ", ".join(f"{rule}.{match['field']}" for rule in sorted(rules))
        raise StudyError(f"several rules of protocol {protocol.name} have it", key=name, fix=f"name one: {choices}")
    if prefix is not None:
        held = {parameter.market for parameter in named if parameter.market}
        named = [parameter for parameter in named if parameter.market == prefix]
        if not named:
            fix = did_you_mean(prefix, held) if held else f"it is one value for the venue: write {match['field']}"
            raise StudyError(f"{match['field']} has no value of its own for {prefix}", key=name, fix=fix)
    if tier is not None:
        named = [parameter for parameter in named if parameter.tier == int(tier)]
        if not named:
            raise StudyError("has no such tier", key=name, fix="tiers count from 0")
        if prefix is None and len(named) > 1:
            raise StudyError(
                "a tier belongs to one market", key=name, fix=f"write {markets[0]}.{name}, or leave the tier out"
            )
    first = next((market for market in (markets[0], DEFAULT) if market in {p.market for p in named}), None)
    lead = next((parameter for parameter in named if parameter.market == first), named[0])
    return [lead, *(parameter for parameter in named if parameter is not lead)]


def describe(protocol: Protocol, name: str, markets: Sequence[str]) -> dict[str, str]:
    """Return what the values of an axis are, for the store: their meaning, and the unit of a time."""
    if name in _MEANINGS:
        return {"meaning": _MEANINGS[name]}
    lead = addressed(protocol, name, markets)[0]
    unit = {"unit": "s"} if isinstance(lead.value, (Seconds, Delay)) else {}
    return {"meaning": lead.meaning, "source": f"protocol, {lead.rule}: {lead.name}", **unit}


def effective(value: Any, step: float) -> Any:
    """Return a parameter's value as the model uses it: a delay that the step cannot resolve as its `at_step`."""
    if isinstance(value, Delay):
        resolvable = abs(value.value / step - round(value.value / step)) < 1e-9
        return value.value if resolvable or value.at_step is None else value.at_step
    if isinstance(value, (int, float)) and not isinstance(value, (bool, Seconds)):
        return float(value)
    return value


def with_axis(protocol: Protocol, name: str, value: Any, markets: Sequence[str]) -> tuple[Protocol, dict[str, Any]]:
    """Return the protocol with one axis at a value, and every parameter it set by its own name.

    `value` is a number, a duration (`stages.Seconds`), a name, true, false or None.
    """
    lead, *others = addressed(protocol, name, markets)
    old = lead.value.value if isinstance(lead.value, Delay) else lead.value
    _same_kind(name, old, value)
    values = {lead.place: (lead, value)}
    for parameter in others:
        values[parameter.place] = (parameter, _scaled(name, parameter, old, value))
    data = protocol.model_dump(by_alias=True)
    for place, (_, new) in values.items():
        target: Any = data
        for part in place[:-1]:
            if isinstance(target[part], tuple):
                target[part] = list(target[part])
            target = target[part]
        target[place[-1]] = new
    try:
        changed = Protocol.model_validate(data)
    except ValidationError as error:
        problem = refusals(Document(data), Protocol, error)[0]
        raise StudyError(
            f"{problem.key}: {problem.rule}",
            key=name,
            value=show(value),
            fix=f"use other values, or name one market or tier; {problem.fix}",
        ) from None
    return changed, {parameter.name: new for parameter, new in values.values()}


def _same_kind(name: str, old: Any, value: Any) -> None:
    """Refuse a bare number for a duration, text for a number and the like; None may stand for any."""
    kinds = {Seconds: "a duration such as 60s", bool: "true or false", str: "a name", float: "a number"}

    def kind(held: Any) -> type | None:
        if held is None or isinstance(held, (list, tuple)):
            return None
        return next(kind for kind in (Seconds, bool, str, float) if isinstance(held, kind) or kind is float)

    if kind(old) is not None and value is not None and kind(old) is not kind(value):
        raise StudyError(
            f"must be {kinds[kind(old) or float]}", key=name, value=show(value), fix=f"now it is {show(old)}"
        )


def _scaled(name: str, parameter: Parameter, old: Any, value: Any) -> Any:
    """Return the value of a parameter that follows the lead's change from `old` to `value` in scale."""
    held = parameter.value.value if isinstance(parameter.value, Delay) else parameter.value
    numbers = all(isinstance(x, (int, float)) and not isinstance(x, bool) for x in (held, old, value))
    if held == old or not numbers:
        return value
    if old == 0:
        raise StudyError(
            f"cannot scale {parameter.name} = {show(held)} with a value that is 0 now",
            key=name,
            value=show(value),
            fix=f"name a market, such as {parameter.market}.{parameter.field}",
        )
    return Seconds(held * (value / old)) if isinstance(held, Seconds) else held * (value / old)
