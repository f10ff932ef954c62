"""Named scenarios as data: a regime to start in, a stretch of history, or a deterministic shock.

A scenario changes the path and nothing else. Entries of a study's `scenarios:` are a regime's name, or a
mapping that `parse_scenario` understands by its keys.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from stress.errors import StudyError, did_you_mean
from stress.stages import BlockedActions, Exact

STATIONARY = "stationary"


def _in_utc(value: datetime) -> datetime:
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


Instant = Annotated[datetime, AfterValidator(_in_utc)]


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class RegimeScenario(_Entry):
    """Paths of the market model that start in one regime (`stationary`: in its stationary law).

    The chain runs free after t = 0; `held` pins it.
    """

    kind: Literal["regime"] = "regime"
    name: str
    start: str
    held: bool = False

    @model_validator(mode="after")
    def _held_needs_a_state(self) -> Self:
        if self.held and self.start == STATIONARY:
            raise ValueError("held pins one regime; `stationary` is not one")
        return self


class ReplayScenario(_Entry):
    """A stretch of history from a price file: `from` <= t < `from` + the study's horizon.

    `impact_share`: one run for each entry, own impact scaled by it (0 = none, since history already
    holds the historical cascade; the other the venue's share of flow). `to`, where given, must agree
    with the horizon. `venues` and `symbols` select the spot series whose median is the world price;
    default: every series of the file whose symbol is the market's spot pair (`paths.replay`).
    `on_gap`: hold the last close over missing bars, at most `longest_hold`, or refuse.
    `on_bad_print`: refuse an isolated spike, keep it, or winsorise it to its neighbours' range.
    """

    kind: Literal["replay"] = "replay"
    name: str
    replay: str
    from_: Instant = Field(alias="from")
    to: Instant | None = None
    impact_share: tuple[Annotated[float, Field(ge=0, le=1)], ...] = Field(default=(0.0,), min_length=1)
    venues: tuple[str, ...] | None = None
    symbols: dict[str, tuple[str, ...]] = {}
    on_gap: Literal["hold", "refuse"] = "hold"
    longest_hold: Exact = Field(default="15m", validate_default=True)
    on_bad_print: Literal["refuse", "keep", "winsorise"] = "refuse"


class Between(_Entry):
    """A stretch of the horizon, from <= t < to."""

    from_: Exact = Field(alias="from")
    to: Exact

    @model_validator(mode="after")
    def _ends_after_it_starts(self) -> Self:
        if self.to <= self.from_:
            raise ValueError("`to` must be later than `from`")
        return self


class VenueOutage(Between):
    """Actions that the venue cannot perform in a stretch of the horizon."""

    blocks: BlockedActions = Field(min_length=1)


class ShockScenario(_Entry):
    """One deterministic path: flat, then a log-linear move `over` a time, then flat.

    `shocks`: simple return of each market (-0.3 = down 30 %). Markets not named stand still, or follow
    the one named market by their jump betas (`others: by_beta`). From `at` on, depth is multiplied by
    `depth`; oracle and venue fail as stated.
    """

    kind: Literal["shock"] = "shock"
    name: str
    shocks: dict[str, Annotated[float, Field(gt=-1)]] = Field(min_length=1)
    others: Literal["still", "by_beta"] = "still"
    at: Annotated[Exact, Field(ge=0)] = Field(default="0s", validate_default=True)
    over: Annotated[Exact, Field(gt=0)]
    depth: Annotated[float, Field(gt=0)] = 1.0
    oracle_outage: Between | None = None
    venue_outage: VenueOutage | None = None

    @model_validator(mode="after")
    def _others_follow_one(self) -> Self:
        if self.others == "by_beta" and len(self.shocks) != 1:
            raise ValueError("`others: by_beta` needs exactly one market in `shocks` to follow")
        return self


Scenario = Annotated[RegimeScenario | ReplayScenario | ShockScenario, Field(discriminator="kind")]
_SCENARIO: TypeAdapter[Any] = TypeAdapter(Scenario)

# The key that tells what a mapping without `kind` is.
_TELLING = {"start": "regime", "replay": "replay", "shocks": "shock"}


def parse_scenario(entry: str | Mapping[str, Any], known_regimes: Collection[str]) -> Any:
    """Return the Scenario of one entry of a study's `scenarios:`.

    A name is a regime of the market model (or `stationary`). A mapping is a regime (`start`), a replay
    (`replay`) or a shock (`shocks`); its `name` defaults to the regime's, the file's, or `shock`.
    """
    starts = (*known_regimes, STATIONARY)
    fields = {"name": entry, "start": entry} if isinstance(entry, str) else dict(entry)
    kind = fields.get("kind") or next((_TELLING[key] for key in fields if key in _TELLING), None)
    if kind is None:
        raise StudyError(
            "a scenario is a regime's name, or a mapping with `start`, `replay` or `shocks`",
            key="scenarios",
            value=entry,
            fix="name one of " + ", ".join(starts),
        )
    fields["kind"] = kind
    fields.setdefault("name", _name(kind, fields))
    try:
        scenario = _SCENARIO.validate_python(fields)
    except ValidationError as invalid:
        # A misspelt key also leaves its right name missing: say the cause, not the effect.
        first = min(invalid.errors(), key=lambda error: error["type"] != "extra_forbidden")
        key = ".".join(["scenarios", str(fields["name"]), *(str(part) for part in first["loc"][1:])])
        raise StudyError(
            first["msg"].removeprefix("Value error, "), key=key, value=first["input"], fix=_fix(kind, first)
        ) from None
    if isinstance(scenario, RegimeScenario) and scenario.start not in starts:
        raise StudyError(
            "is not a regime of the market model",
            key="scenarios",
            value=scenario.start,
            fix=did_you_mean(scenario.start, starts),
        )
    return scenario


def _name(kind: str, fields: Mapping[str, Any]) -> str:
    if kind == "replay":
        return PurePath(str(fields.get("replay"))).stem
    if kind == "regime":
        return f"{fields.get('start')}{' held' if fields.get('held') else ''}"
    return kind


def _fix(kind: str, error: Any) -> str | None:
    if error["type"] != "extra_forbidden":
        return None
    models: dict[str, type[BaseModel]] = {"regime": RegimeScenario, "replay": ReplayScenario, "shock": ShockScenario}
    known = [info.alias or name for name, info in models[kind].model_fields.items()]
    return did_you_mean(str(error["loc"][-1]), known)


def expand(scenario: Any) -> tuple[Any, ...]:
    """Return one scenario for each impact share of a replay; any other scenario alone.

    This is what the `scenario` axis holds: names end in ' x<share>' where a replay has several shares.
    """
    if not isinstance(scenario, ReplayScenario) or len(scenario.impact_share) == 1:
        return (scenario,)
    return tuple(
        scenario.model_copy(update={"name": f"{scenario.name} x{share:g}", "impact_share": (share,)})
        for share in scenario.impact_share
    )
