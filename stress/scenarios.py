"""Named scenarios as data: a regime to start in, a stretch of history, stated anchors, or deterministic shocks.

A scenario changes the path and nothing else. Entries of a study's `scenarios:` are a regime's name, the name
of a file in `configs/scenarios`, or a mapping that `parse_scenario` understands by its keys. `expand` turns an
entry that stands for several scenarios into them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from itertools import pairwise, product
from pathlib import PurePath
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    TypeAdapter,
    ValidationError,
    WrapValidator,
    model_validator,
)

from stress.errors import StudyError, did_you_mean
from stress.kernels.venue import ACTIONS
from stress.stages import BlockedActions, Exact, Seconds, format_duration, parse_duration

STATIONARY = "stationary"


def _in_utc(value: datetime) -> datetime:
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


Instant = Annotated[datetime, AfterValidator(_in_utc)]


def _signed(value: object) -> object:
    return Seconds(-parse_duration(value[1:])) if isinstance(value, str) and value.startswith("-") else value


Signed = Annotated[Seconds, BeforeValidator(_signed)]
Positive = Annotated[float, Field(gt=0)]


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, allow_inf_nan=False)

    @property
    def one_path(self) -> bool:
        """Whether there is one path only: an outcome, not a probability."""
        return True


class Between(_Entry):
    """A stretch of the horizon, from <= t < to."""

    from_: Exact = Field(alias="from")
    to: Exact

    @model_validator(mode="after")
    def _ends_after_it_starts(self) -> Self:
        if self.to <= self.from_:
            raise ValueError("`to` must be later than `from`")
        return self

    def during(self, times: np.ndarray, step: float, key: str) -> np.ndarray:
        """Return which of the times (S + 1,) of steps, in seconds, fall into it: (S + 1,) bool."""
        flags = np.asarray((times >= self.from_) & (times < self.to))
        if not flags.any():
            raise StudyError(
                "no step of the study falls into it",
                key=key,
                value=f"{format_duration(self.from_)} to {format_duration(self.to)}",
                fix=f"make it at least one step of {format_duration(step)} long, inside the horizon",
            )
        return flags


class VenueOutage(Between):
    """Actions that the venue cannot perform in a stretch of the horizon.

    `settles_every`: the venue does not stand still but lags. What it blocks goes through in one step of each such
    time, counted from `from`: an order waits for the next, up to that long.
    """

    blocks: BlockedActions = Field(min_length=1)
    settles_every: Annotated[Exact, Field(gt=0)] | None = None

    @property
    def words(self) -> str:
        """What the venue cannot do, and when, as a sentence goes on after its subject."""
        actions = " and ".join(action.replace("_", " ") for action in self.blocks)
        every = self.settles_every
        often = "cannot" if every is None else f"lags: once in {format_duration(every)} only can it"
        return f"{often} {actions} from {format_duration(self.from_)} to {format_duration(self.to)}"

    def bits(self, times: np.ndarray, step: float, key: str) -> np.ndarray:
        """Return the blocked actions of every step (kernels.venue.ACTIONS): (S + 1,) uint8."""
        blocked = self.during(times, step, key)
        if self.settles_every is not None:
            count = self.settles_every / step
            if count < 2 or abs(count - round(count)) > 1e-9:
                raise StudyError(
                    f"a lag is two steps of {format_duration(step)} or more, in whole steps",
                    key=f"{key}.settles_every",
                    value=format_duration(self.settles_every),
                    fix=f"use a multiple of {format_duration(step)}",
                )
            since = np.round((times - self.from_) / step - 1e-9)
            blocked &= (since <= 0) | (since % round(count) != 0)
        return np.where(blocked, sum(ACTIONS[action] for action in set(self.blocks)), 0).astype(np.uint8)


class _Scenario(_Entry):
    """What paths of every kind may have: outages of the venue, and lags."""

    venue_outages: tuple[VenueOutage, ...] = ()

    @property
    def outages(self) -> dict[str, VenueOutage]:
        """Outages by the key under which each stands."""
        return {f"venue_outages.{n}": outage for n, outage in enumerate(self.venue_outages)}


class RegimeScenario(_Scenario):
    """Paths of the market model that start in one regime (`stationary`: in its stationary law).

    The chain runs free after t = 0; `held` pins it.
    """

    kind: Literal["regime"] = "regime"
    name: str
    start: str
    held: bool = False

    @property
    def one_path(self) -> bool:
        """Paths are drawn: as many as the study asks for."""
        return False

    @model_validator(mode="after")
    def _held_needs_a_state(self) -> Self:
        if self.held and self.start == STATIONARY:
            raise ValueError("held pins one regime; `stationary` is not one")
        return self


class Mapped(_Entry):
    """The market of the file whose log moves, times `beta`, a market takes."""

    source: str
    beta: Positive = 1.0


class Sourced(_Entry):
    """How a value is known: `measured` from data, `reported` by someone, or `assumed` here; `source` names a source."""

    known: Literal["measured", "reported", "assumed"]
    source: str


class Realised(Sourced):
    """What happened to a venue in the event: something to hold a replay of it against, and no input of a path.

    `of` names venue and time. `measure`: USD liquidated and deleveraged, deleveraged over liquidated, paid by the fund
    over its balance at the start. In an event, `source` names one of its sources; in a replay it is the source.
    """

    of: str
    measure: Literal["liquidated_notional", "adl_notional", "adl_share", "fund_used"]
    value: Annotated[float, Field(ge=0)]


class ReplayScenario(_Scenario):
    """A stretch of history from a price file: `from` <= t < `from` + the study's horizon.

    `impact_share`: one run for each entry, own impact scaled by it. A study that leaves it out runs at 0 (history
    already holds the historical cascade) and at the share of flow that the venue states. `to`, where given, must
    agree with the horizon. `venues` and `symbols` select the spot series whose median is the world price;
    default: every series of the file whose symbol is the market's spot pair (`paths.replay`).
    `on_gap`: hold the last close over missing bars, at most `longest_hold`, or refuse.
    `on_bad_print`: refuse an isolated spike, keep it, or winsorise it to its neighbours' range. `repair`: rules for
    what else is wrong with the file, each defect=rule as `perpstress prices` offers them.

    Transforms, all of log moves since the start; the defaults leave history as it is. `severity` multiplies
    them. `volatility_to` rescales a market to a volatility per sqrt year of its closes over the path (before
    `severity`). `time_compression`: this much history in one unit of the path's time. `map`: a market takes the
    moves of another one of the file, from the market file's price on. `offset`: one run for each entry, started
    this much later (negative: earlier). `realised`: what the event did, for the report alone.
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
    repair: tuple[str, ...] = ()
    severity: Positive = 1.0
    time_compression: Annotated[float, Field(ge=1)] = 1.0
    volatility_to: dict[str, Positive] = {}
    map: dict[str, str | Mapped] = {}
    offset: tuple[Signed, ...] = Field(default=(Seconds(0),), min_length=1)
    realised: tuple[Realised, ...] = ()

    def source_of(self, market: str) -> Mapped:
        """Return the market of the file that a market replays."""
        source = self.map.get(market, market)
        return source if isinstance(source, Mapped) else Mapped(source=source)

    @property
    def changes(self) -> tuple[str, ...]:
        """What was done to history, in words; empty where it is replayed as it was."""
        found = [f"log moves x {self.severity:g}"] if self.severity != 1 else []
        if self.time_compression != 1:
            found.append(f"{self.time_compression:g} x faster")
        found += [
            f"{name} rescaled to a volatility of {value:.0%} a year" for name, value in self.volatility_to.items()
        ]
        for name in self.map:
            source = self.source_of(name)
            found.append(f"{name} moves as {source.source}" + (f" x {source.beta:g}" if source.beta != 1 else ""))
        return tuple(found)


STEP = "step"


def _speed(over: Seconds | str) -> str:
    return over if isinstance(over, str) else format_duration(over)


# A duration, or `step`: one step of the study, whatever its length.
Speed = Annotated[
    Exact,
    Field(gt=0),
    WrapValidator(lambda value, check: value if value == STEP else check(value)),
    PlainSerializer(_speed),
]


class ShockScenario(_Scenario):
    """A stated move: flat, then log-linear `over` a time, then flat; one deterministic path.

    `shocks`: simple return of each market (-0.3 = down 30 %). Markets not named stand still, or take the log
    move of the one named market: times their jump betas over its own (`others: by_beta`), as it is (`same`) or
    with the other sign (`opposite`). `over: step` is one step of the study. From `at` on, depth is multiplied
    by `depth`; oracle and venue fail as stated. `on`: a regime of the market model; the move then comes on top of
    its paths (`stationary`: of any day), so that there are many paths, and probabilities given the move.
    """

    kind: Literal["shock"] = "shock"
    name: str
    on: str | None = None
    shocks: dict[str, Annotated[float, Field(gt=-1)]] = Field(min_length=1)
    others: Literal["still", "by_beta", "same", "opposite"] = "still"
    at: Annotated[Exact, Field(ge=0)] = Field(default="0s", validate_default=True)
    over: Speed
    depth: Annotated[float, Field(gt=0)] = 1.0
    oracle_outage: Between | None = None
    venue_outage: VenueOutage | None = None

    @property
    def outages(self) -> dict[str, VenueOutage]:
        """Outages by the key under which each stands."""
        return super().outages | ({"venue_outage": self.venue_outage} if self.venue_outage else {})

    @property
    def one_path(self) -> bool:
        """Whether nothing but the stated move happens."""
        return self.on is None

    @property
    def alone(self) -> str | None:
        """The market that moves while the shock leaves every other one as it is, if it is only one."""
        return next(iter(self.shocks)) if len(self.shocks) == 1 and self.others == "still" else None

    @model_validator(mode="after")
    def _others_follow_one(self) -> Self:
        if self.others != "still" and len(self.shocks) != 1:
            raise ValueError(f"`others: {self.others}` needs exactly one market in `shocks` to follow")
        return self


# What each breadth of a shock set means for the markets that it does not name.
_BREADTHS = {"one": "still", "by_beta": "by_beta", "all": "same", "decoupled": "opposite"}


class ShockSet(_Entry):
    """Deterministic shocks of every size x speed x breadth x liquidity x oracle; `set: g8` is the standard grid.

    The shock hits `market`; breadth is `one` market, all `by_beta`, `all` by the same size, or `decoupled`: the
    others move against it by the same log move. An oracle is `live`, with the delay of its venue (an axis of the
    study), or `frozen` from the start of the move for `frozen_for`. A list may be shortened or replaced.
    """

    kind: Literal["shock_set"] = "shock_set"
    name: str
    set: Literal["g8"]
    market: str
    sizes: tuple[Annotated[float, Field(gt=-1)], ...] = Field(
        default=tuple(sign * size for size in (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5) for sign in (-1, 1)), min_length=1
    )
    over: tuple[Speed, ...] = Field(default=("step", "10m", "1h", "6h"), min_length=1, validate_default=True)
    breadth: tuple[Literal["one", "by_beta", "all", "decoupled"], ...] = Field(
        default=("one", "by_beta", "all", "decoupled"), min_length=1
    )
    depth: tuple[Positive, ...] = Field(default=(1.0, 0.3, 0.1), min_length=1)
    oracle: tuple[Literal["live", "frozen"], ...] = Field(default=("live",), min_length=1)
    frozen_for: Annotated[Exact, Field(gt=0)] = Field(default="1h", validate_default=True)
    at: Annotated[Exact, Field(ge=0)] = Field(default="0s", validate_default=True)

    def members(self) -> tuple[ShockScenario, ...]:
        """Return one shock for each combination, named by it: 'g8 BTC -30% 10m by_beta depth 0.3 oracle frozen'."""
        frozen = Between.model_validate({"from": self.at, "to": Seconds(self.at + self.frozen_for)})
        return tuple(
            ShockScenario(
                name=f"{self.name} {self.market} {100 * size:+g}% {_speed(over)} {breadth} depth {depth:g}"
                + " oracle frozen" * (oracle == "frozen"),
                shocks={self.market: size},
                others=_BREADTHS[breadth],
                at=self.at,
                over=over,
                depth=depth,
                oracle_outage=frozen if oracle == "frozen" else None,
            )
            for size, over, breadth, depth, oracle in product(
                self.sizes, self.over, self.breadth, self.depth, self.oracle
            )
        )


class Curve(Sourced):
    """Values over time, from the start on: (time, value) in order of time."""

    points: tuple[tuple[Annotated[Exact, Field(ge=0)], float], ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _times_increase(self) -> Self:
        times = [time for time, _ in self.points]
        if times[0] != 0 or any(later <= earlier for earlier, later in pairwise(times)):
            raise ValueError("the times of `points` start at 0s and increase")
        return self


class Anchors(Curve):
    """Prices of a market over its price at the start, and the annual volatility of the noise between them."""

    residual: Annotated[float, Field(ge=0)]

    @model_validator(mode="after")
    def _are_ratios(self) -> Self:
        if self.points[0][1] != 1 or min(ratio for _, ratio in self.points) <= 0:
            raise ValueError("anchors are ratios to the price at the start: the first is 1, all are positive")
        return self


class StaleOracle(Between, Sourced):
    """A stretch in which the oracle of some markets (default: of all) brings nothing new."""

    markets: tuple[str, ...] | None = None


class History(_Entry):
    """How the event is replayed from a user's price file: names of files that may hold it, the best first."""

    files: tuple[str, ...] = Field(min_length=1)
    longest_hold: Exact = Field(default="15m", validate_default=True)
    on_bad_print: Literal["refuse", "keep", "winsorise"] = "refuse"


class AnchorScenario(_Scenario):
    """Paths through stated anchors, with random noise between them: an anchor path, not historical data.

    `anchors`: by asset of the event; a market takes the curve of its own name, or of the asset that `map`
    states for it. A market without one follows the first asset by jump beta (`others: by_beta`), stands
    still, or is refused. `depth`: multiple of depth over time, all markets; none = depth falls with the
    path's realised volatility, as in a replay. `dispersion`: by asset, external perpetuals over the world
    price less 1. `begins` is the time of the event's start in UTC; `sources` are named by the values.
    """

    kind: Literal["anchors"] = "anchors"
    name: str
    title: str
    begins: Instant
    anchors: dict[str, Anchors] = Field(min_length=1)
    map: dict[str, str] = {}
    others: Literal["refuse", "still", "by_beta"] = "refuse"
    depth: Curve | None = None
    dispersion: dict[str, Curve] = {}
    oracle_outages: tuple[StaleOracle, ...] = ()
    history: History | None = None
    realised: tuple[Realised, ...] = ()
    sources: dict[str, str]

    @property
    def one_path(self) -> bool:
        """Paths are drawn: as many as the study asks for."""
        return False

    @property
    def lasts(self) -> float:
        """Time of the last anchor, in seconds."""
        return max(curve.points[-1][0] for curve in self.anchors.values())

    @property
    def tagged(self) -> tuple[tuple[str, Sourced], ...]:
        """Every sourced value, with the key under which it stands."""
        found: list[tuple[str, Sourced]] = [(f"anchors.{name}", curve) for name, curve in self.anchors.items()]
        found += [(f"dispersion.{name}", curve) for name, curve in self.dispersion.items()]
        found += [("depth", self.depth)] if self.depth else []
        found += [(f"oracle_outages.{i}", stale) for i, stale in enumerate(self.oracle_outages)]
        return (*found, *((f"realised.{i}", fact) for i, fact in enumerate(self.realised)))

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        for key, value in self.tagged:
            if value.source not in self.sources:
                raise ValueError(f"`{key}.source` must be a key of `sources`; {value.source} is not")
        for name in (*self.map.values(), *self.dispersion):
            if name not in self.anchors:
                raise ValueError(f"`map` and `dispersion` name assets of `anchors`; {name} is not one")
        if self.depth and min(multiple for _, multiple in self.depth.points) <= 0:
            raise ValueError("a multiple of depth is positive")
        if any(gap <= -1 for curve in self.dispersion.values() for _, gap in curve.points):
            raise ValueError("a dispersion lies above -1")
        return self


Scenario = Annotated[
    RegimeScenario | ReplayScenario | ShockScenario | ShockSet | AnchorScenario, Field(discriminator="kind")
]
_SCENARIO: TypeAdapter[Any] = TypeAdapter(Scenario)

# The key that tells what a mapping without `kind` is.
_TELLING = {"start": "regime", "replay": "replay", "shocks": "shock", "set": "shock_set", "anchors": "anchors"}


def parse_scenario(entry: str | Mapping[str, Any], known_regimes: Collection[str]) -> Any:
    """Return the Scenario of one entry of a study's `scenarios:`.

    A name is a regime of the market model (or `stationary`). A mapping is a regime (`start`), a replay
    (`replay`), a shock (`shocks`), a set of shocks (`set`) or anchors (`anchors`); its `name` defaults to the
    regime's, the price file's, the set's, or the kind.
    """
    starts = (*known_regimes, STATIONARY)
    fields = {"name": entry, "start": entry} if isinstance(entry, str) else dict(entry)
    kind = fields.get("kind") or next((_TELLING[key] for key in fields if key in _TELLING), None)
    if kind is None:
        raise StudyError(
            "a scenario is a regime's or a scenario file's name, or a mapping with "
            + ", ".join(f"`{k}`" for k in _TELLING),
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
    start = getattr(scenario, "on" if isinstance(scenario, ShockScenario) else "start", None)
    if start is not None and start not in starts:
        raise StudyError(
            "is not a regime of the market model", key="scenarios", value=start, fix=did_you_mean(start, starts)
        )
    return scenario


def _name(kind: str, fields: Mapping[str, Any]) -> str:
    if kind == "replay":
        return PurePath(str(fields.get("replay"))).stem
    if kind == "regime":
        return f"{fields.get('start')}{' held' if fields.get('held') else ''}"
    return str(fields["set"]) if kind == "shock_set" and "set" in fields else kind


def _fix(kind: str, error: Any) -> str | None:
    if error["type"] != "extra_forbidden":
        return None
    models: dict[str, type[BaseModel]] = {
        "regime": RegimeScenario,
        "replay": ReplayScenario,
        "shock": ShockScenario,
        "shock_set": ShockSet,
        "anchors": AnchorScenario,
    }
    if kind not in models or len(error["loc"]) != 2:  # below the entry itself, what may stand there is another model's
        return None
    known = [info.alias or name for name, info in models[kind].model_fields.items()]
    return did_you_mean(str(error["loc"][-1]), known)


def expand(scenario: Any) -> tuple[Any, ...]:
    """Return the scenarios that an entry stands for.

    A replay: one for each offset and impact share; names end in ' +6h' and ' x<share>' where there are several.
    A set of shocks: its members. Any other scenario: itself.
    """
    if isinstance(scenario, ShockSet):
        return scenario.members()
    if not isinstance(scenario, ReplayScenario):
        return (scenario,)
    return tuple(_run(scenario, offset, share) for offset, share in product(scenario.offset, scenario.impact_share))


def _run(scenario: ReplayScenario, offset: float, share: float) -> ReplayScenario:
    """Return the replay at one offset, with one impact share."""
    name = scenario.name
    if len(scenario.offset) > 1:
        name += f" {'-' if offset < 0 else '+'}{format_duration(abs(offset))}"
    if len(scenario.impact_share) > 1:
        name += f" x{share:g}"
    later = timedelta(seconds=offset)
    return scenario.model_copy(
        update={
            "name": name,
            "impact_share": (share,),
            "offset": (Seconds(0),),
            "from_": scenario.from_ + later,
            "to": None if scenario.to is None else scenario.to + later,
        }
    )
