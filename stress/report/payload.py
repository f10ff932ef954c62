"""A parameter change for machines: from and to, in human and in raw units, checked before it is handed on.

Raw units are whole numbers, as chains store them: fractions, ratios and multiples in millionths (ppm), money in
millionths of a USD, time in milliseconds. A value that a raw unit cannot hold is refused, so that
human -> raw -> human gives the same number back. `check` builds the venue from the raw values alone, so every
bound of the preset's own rules holds for what would be executed (maintenance below initial margin, for one).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from pydantic import ValidationError

from stress.config import Document as SourceDocument
from stress.config import Protocol, show
from stress.config.refusals import refusals
from stress.design import Parameter, parameters
from stress.errors import StudyError
from stress.provenance import digest
from stress.stages import Delay, Seconds

SCHEMA = 1
# Values that follow another one in scale carry the rounding of a product; nobody states so many digits.
_NOISE = Decimal("1e-12")


class Unit(NamedTuple):
    """A human unit and the raw unit of which it has `scale`."""

    human: str
    raw: str
    scale: int


DURATION = Unit("seconds", "milliseconds", 1_000)
NUMBER = Unit("number", "millionths", 1_000_000)
_NAMED = {
    "leverage_cap": Unit("x", "1e-6 x", 1_000_000),
    "above": Unit("USD", "1e-6 USD", 1_000_000),
    "insurance_fund": Unit("USD", "1e-6 USD", 1_000_000),
    "vault_equity": Unit("USD", "1e-6 USD", 1_000_000),
}
FRACTION = Unit("fraction of notional", "ppm of notional", 1_000_000)


class Change(NamedTuple):
    """One parameter of a venue before and after; `place` is where it stands in the protocol."""

    name: str
    rule: str
    unit: Unit | None
    old: Any
    new: Any
    place: tuple[str | int, ...]


def changes(current: Protocol, proposed: Protocol) -> list[Change]:
    """Return every parameter whose value differs, in the order of the stages."""
    before = {parameter.place: parameter for parameter in parameters(current)}
    found = []
    for parameter in parameters(proposed):
        old = _bare(before[parameter.place].value)
        new = _bare(parameter.value)
        if type(old) is not type(new) or old != new:
            unit = _unit(parameter, old, new)
            found.append(Change(parameter.name, parameter.rule, unit, old, new, parameter.place))
    return found


def follows(current: Protocol, proposed: Protocol) -> list[Change]:
    """Return the margin fractions that move because a cap or a ratio of their tier does."""
    pairs = zip(_fractions(current), _fractions(proposed), strict=True)
    return [Change(name, rule, FRACTION, old, new, ()) for (name, rule, old), (_, _, new) in pairs if old != new]


def _fractions(protocol: Protocol) -> Iterator[tuple[str, str, float]]:
    tiers: dict[tuple[str | int, ...], dict[str, Parameter]] = {}
    for parameter in parameters(protocol):
        tiers.setdefault(parameter.place[:-1], {})[parameter.field] = parameter
    for held in tiers.values():
        if "leverage_cap" in held and "maintenance_to_initial_ratio" in held:
            cap, ratio = held["leverage_cap"], held["maintenance_to_initial_ratio"]
            for name, value in (("initial", 1.0), ("maintenance", float(ratio.value))):
                yield cap.name.replace("leverage_cap", f"{name}_margin_fraction"), cap.rule, value / cap.value


def _bare(value: Any) -> Any:
    return value.value if isinstance(value, Delay) else value


def _unit(parameter: Parameter, *values: Any) -> Unit | None:
    """Return the unit of a number; names and switches have none and travel as they are."""
    if any(value is None or isinstance(value, (bool, str, list, tuple)) for value in values):
        return None
    return DURATION if isinstance(values[0], Seconds) else _NAMED.get(parameter.field, NUMBER)


# ------------------------------------------------------------------------------------- human and raw


def to_raw(value: Any, unit: Unit | None, name: str) -> Any:
    """Return a value as a whole number of raw units, or refuse one that they cannot hold."""
    if unit is None:
        return value
    exact = Decimal(repr(float(value))) * unit.scale
    raw = int(exact.to_integral_value())
    if abs(exact - raw) > _NOISE * abs(exact):
        raise StudyError(
            f"is not a whole number of {unit.raw}, so a payload would not carry what was tested",
            key=name,
            value=show(value),
            fix=f"run the study with {raw / unit.scale:.12g}; a market that follows in scale needs an axis of its own",
        )
    return raw


def to_human(raw: Any, unit: Unit | None) -> Any:
    """Return a raw value in human units."""
    if unit is None:
        return raw
    value = float(Decimal(raw) / unit.scale)
    return Seconds(value) if unit == DURATION else value


def nearest_raw(value: float, unit: Unit) -> int:
    """Return a derived number in raw units, rounded: it informs and is not executed."""
    return round(value * unit.scale)


# ------------------------------------------------------------------------------------------ payload


def build(
    current: Protocol, proposed: Protocol, hashes: Mapping[str, str], limit: float | None = None
) -> dict[str, Any]:
    """Return the payload of a change, checked.

    Parameters
    ----------
    hashes : what the evidence is known by (study_hash, result_hash, …).
    limit : largest accepted relative change of one parameter; default: none.
    """
    listed = []
    for change in changes(current, proposed):
        _within(change, limit)
        raws = {
            side: to_raw(value, change.unit, change.name) for side, value in (("from", change.old), ("to", change.new))
        }
        sides = {side: {"human": _plain(to_human(raw, change.unit)), "raw": raw} for side, raw in raws.items()}
        unit = None if change.unit is None else {"human": change.unit.human, "raw": change.unit.raw}
        listed.append({"parameter": change.name, "rule": change.rule, "unit": unit, **sides})
    if not listed:
        raise StudyError(
            "the proposed cell changes no parameter of the protocol", key="proposed", fix="propose a change"
        )
    payload: dict[str, Any] = {"schema": SCHEMA, "protocol": proposed.name, **hashes, "changes": listed}
    payload["checksum"] = checksum(payload)
    check(payload, current)
    return payload


def checksum(payload: Mapping[str, Any]) -> str:
    """Return the BLAKE2b-128 of a payload without its checksum, keys in order."""
    content = {key: value for key, value in payload.items() if key != "checksum"}
    return digest(json.dumps(content, sort_keys=True, ensure_ascii=True, separators=(",", ":")).encode())


def check(payload: Mapping[str, Any], current: Protocol) -> Protocol:
    """Return the venue that the raw values of a payload make of `current`, or refuse what does not hold.

    Checked: checksum, `from` against the venue, human against raw, and every bound of the venue's own rules.
    """
    if payload.get("schema") != SCHEMA:
        raise StudyError(f"this version reads schema {SCHEMA}", key="schema", value=payload.get("schema"))
    if payload.get("checksum") != (found := checksum(payload)):
        raise StudyError(f"the payload hashes to {found}", key="checksum", value=payload.get("checksum"))
    known = {(parameter.rule, parameter.name): parameter for parameter in parameters(current)}
    data = current.model_dump(by_alias=True)
    for entry in payload["changes"]:
        name = entry["parameter"]
        parameter = known.get((entry["rule"], name))
        if parameter is None:
            raise StudyError(f"protocol {current.name} has no parameter of this name in {entry['rule']}", key=name)
        old = _bare(parameter.value)
        unit = _unit(parameter, old, entry["to"]["raw"])
        for side in ("from", "to"):
            if _plain(to_human(entry[side]["raw"], unit)) != entry[side]["human"]:
                rule = f"{side}: the raw value is {_plain(to_human(entry[side]['raw'], unit))} in human units"
                raise StudyError(rule, key=name, value=entry[side]["human"])
        if to_raw(old, unit, name) != entry["from"]["raw"]:
            raise StudyError(f"the venue has {show(old)} now", key=name, value=entry["from"]["human"])
        target: Any = data
        for part in parameter.place[:-1]:
            if isinstance(target[part], tuple):
                target[part] = list(target[part])
            target = target[part]
        target[parameter.place[-1]] = to_human(entry["to"]["raw"], unit)
    try:
        return Protocol.model_validate(data)
    except ValidationError as error:
        raise refusals(SourceDocument(data), Protocol, error)[0] from None


def _within(change: Change, limit: float | None) -> None:
    numbers = change.unit is not None and change.old != 0
    if limit is not None and numbers and abs(change.new / change.old - 1) > limit * (1 + 1e-12):
        raise StudyError(
            f"changes by {change.new / change.old - 1:+.3g}, more than the step limit of {limit:g}",
            key=change.name,
            value=f"{show(change.old)} -> {show(change.new)}",
            fix="propose a smaller step, or raise the limit",
        )


def _plain(value: Any) -> Any:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value
