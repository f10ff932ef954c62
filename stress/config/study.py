"""The study: a frozen, strict model of the study file, with every file it names resolved."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    PrivateAttr,
    ValidationError,
    model_validator,
)

from stress.accounts import BookSpec
from stress.config.documents import Document, read_document
from stress.config.protocol import Protocol
from stress.config.references import Origin, resolve
from stress.config.refusals import broken, kind_refusals, raise_all, refusals
from stress.errors import StressError, StudyError
from stress.paths import MarketModel
from stress.scenarios import Scenario
from stress.stages import Exact, Seconds, format_duration, parse_duration

PATH_AXES = ("volatility", "depth", "correlation")
RESPONSES = ("keep_utilisation", "shrink_positions", "add_collateral", "grandfather")
MARGIN_MODES = ("cross", "isolated")
EVENTS = ("mutualised_loss", "fund_exhaustion", "adl", "market_makers_default")
SMALLEST_BLOCK, LARGEST_BLOCK, BLOCKS = 64, 16_384, 256

AxisKind = float | bool | str | None


def axis_value(value: object) -> AxisKind:
    """Return an axis value in its one form: durations in seconds, numbers as float, choices as text."""
    if value is None or isinstance(value, (bool, Seconds)):
        return value
    if isinstance(value, (int, float)):
        if not math.isfinite(value):
            raise broken("a number is finite", "give a finite number")
        return float(value)
    if isinstance(value, str):
        try:
            return Seconds(parse_duration(value))
        except ValueError:
            return value
    raise broken("an axis value is a number, a duration such as 60s, or a name", "write one value per list item")


def show(value: AxisKind) -> str:
    """Return an axis value as a file would state it."""
    if isinstance(value, Seconds):
        return format_duration(value)
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return value if isinstance(value, str) else f"{value:.12g}"


def _fraction(value: object) -> object:
    if isinstance(value, str):
        match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*%\s*", value)
        if match is None:
            raise broken("a fraction is a plain number or a percentage", "write 1% or 0.01")
        return float(match[1]) / 100
    return value


Fraction = Annotated[float, BeforeValidator(_fraction), Field(gt=0, lt=1)]
AxisValue = Annotated[Any, PlainValidator(axis_value), PlainSerializer(lambda value: _plain(value))]


class Tolerance(BaseModel):
    """What counts as safe: the probability of an event over the horizon, and how sure to be."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    measure: Literal[EVENTS] = Field(default="mutualised_loss", description="the event")  # type: ignore[valid-type]
    probability: Fraction = Field(description="largest accepted probability over the horizon, such as 1%")
    confidence: Fraction = Field(default=0.95, description="level of the intervals, such as 95%")


class Study(BaseModel):
    """A question and everything its answer depends on (see `configs/studies`).

    Files and names may be given by reference, as in YAML, or as objects. References of a study made
    in Python are looked for in the current folder. Durations are text with a unit.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=True)

    schema_: Literal[1] = Field(alias="schema", description="version of the file format: 1")
    name: str = Field(
        default="study",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$",
        description="name of the results folder; default: the file's name",
    )
    question: str = Field(min_length=1, description="the question in words")
    protocols: Annotated[tuple[Protocol, ...], Field(min_length=1)] = Field(
        alias="protocol", description="a protocol file, or a list of them (an axis)"
    )
    book: BookSpec = Field(description="the accounts: kind: synthetic or snapshot")
    market: MarketModel = Field(description="a market file: path layers and their parameters")
    markets: Annotated[tuple[str, ...], Field(min_length=1)] = Field(
        description="markets to simulate; default: those of the market file that every protocol lists"
    )
    scenarios: Annotated[tuple[Scenario, ...], Field(min_length=1)] = Field(
        description="regimes or scenario files by name, replays, shocks"
    )
    horizon: Annotated[Exact, Field(gt=0)] = Field(description="length of a path, such as 24h")
    step: Annotated[Exact, Field(gt=0)] = Field(description="length of a step, such as 60s")
    axes: dict[str, tuple[AxisValue, ...]] = Field(default={}, description="values to visit, by parameter name")
    traders: Literal[RESPONSES] = Field(  # type: ignore[valid-type]
        default="keep_utilisation", description="how positions respond to changed terms"
    )
    turnover: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="grandfather: share of every position that is opened anew under the changed terms",
    )
    margin_mode: Literal[MARGIN_MODES] = Field(  # type: ignore[valid-type]
        default="cross", description="cross, or isolated: pools are split over their positions"
    )
    labels: dict[str, tuple[str, ...]] = Field(
        default={}, description="words for the values of an axis in reports, in their order"
    )
    current: dict[str, AxisValue] = Field(default={}, description="today's values; default: the protocol's")
    proposed: dict[str, AxisValue] | None = Field(default=None, description="proposed values; others stay current")
    tolerance: Tolerance | None = Field(default=None, description="what counts as safe; null = only report")
    paths: int = Field(ge=1, description="paths per scenario, shared by all cells")
    seed: int = Field(ge=0, lt=2**64, description="key of the random numbers")
    loss_floor: float = Field(
        default=1e-6, ge=0, description="a mutualised loss above this share of open interest at t = 0 is an event"
    )
    vault_loss_floor: float = Field(
        default=0.01, ge=0, description="a vault's loss counts for the event above this share of its equity"
    )
    data_hashes: dict[str, str] = Field(default={}, description="BLAKE2b of each data file that the study names")

    _origin: Origin = PrivateAttr()

    def __init__(self, /, **values: Any) -> None:
        self._build(values, Origin(Document(values), Path.cwd()))

    def _build(self, values: Mapping[str, Any], origin: Origin) -> None:
        problems: list[StressError] = []
        resolved = resolve(values, origin, problems)
        unresolved = {(key,) for key in {*values, "markets"} - resolved.keys()}
        try:
            super().__init__(**resolved)
        except ValidationError as error:
            problems += [
                problem
                for problem, detail in zip(refusals(origin.document, Study, error), error.errors(), strict=True)
                if detail["loc"][:1] not in unresolved
            ]
        except StressError as error:
            problems.append(origin.document.own(error))
        else:
            self._origin = origin
            problems += kind_refusals(origin.document, self)
        raise_all(problems)

    @model_validator(mode="after")
    def _consistent(self) -> Study:
        step, horizon = self.step, self.horizon
        if abs(horizon / step - round(horizon / step)) > 1e-9:
            raise broken(
                f"the horizon is a whole number of steps; the step is {format_duration(step)}",
                f"use a multiple of {format_duration(step)}, or another `step`",
                "horizon",
            )
        responses = {self.traders, *self.axes.get("traders", ())}
        if (self.turnover > 0 or "turnover" in self.axes) and "grandfather" not in responses:
            raise broken(
                "turnover is what meets the new terms where others keep the old ones",
                "write `traders: grandfather`, or remove it",
                *(("axes", "turnover") if "turnover" in self.axes else ("turnover",)),
            )
        for name, values in self.axes.items():
            if not values:
                raise broken("an axis has at least one value", "list values, or remove the axis", "axes", name)
            for index, value in enumerate(values):
                if value in values[:index]:
                    raise broken("the values of an axis differ", "remove the repetition", "axes", name, index)
        for name, words in self.labels.items():
            if len(words) != len(self.axes.get(name, ())):
                raise broken("an axis has as many labels as values", "label every value of an axis", "labels", name)
        for known, chosen in (("market", self.markets), ("protocol", tuple(p.name for p in self.protocols))):
            repeated = next((name for index, name in enumerate(chosen) if name in chosen[:index]), None)
            if repeated is not None:
                key = "markets" if known == "market" else known
                raise broken(f"{known} {repeated} is named twice", "name it once", key)
        if self.paths % self.block_size:
            below = self.paths // self.block_size * self.block_size
            raise broken(
                f"paths are a whole number of blocks; a run of this size has blocks of {self.block_size} paths",
                f"use {below} or {below + self.block_size}",
                "paths",
            )
        return self

    def __eq__(self, other: object) -> bool:
        """Two studies are equal where name and content are, wherever they were written."""
        return isinstance(other, Study) and (self.name, self.content_hash) == (other.name, other.content_hash)

    def __hash__(self) -> int:
        return hash((self.name, self.content_hash))

    # ------------------------------------------------------------------------------ what it means

    @property
    def steps(self) -> int:
        """Number of steps of a path."""
        return round(self.horizon / self.step)

    @property
    def block_size(self) -> int:
        """Paths of a block: the power of two next to paths / 256, from 64 to 16,384 (fewer paths: one block)."""
        size = 1 << max(0, round(math.log2(max(1, self.paths / BLOCKS))))
        size = min(max(size, SMALLEST_BLOCK), LARGEST_BLOCK)
        return min(size, 1 << (self.paths.bit_length() - 1))

    @property
    def blocks(self) -> int:
        """Number of blocks of a run."""
        return self.paths // self.block_size

    def locate(self, reference: str) -> Path:
        """Return the file that a reference of this study names."""
        return self._origin.locate(reference)

    def data_files(self) -> dict[str, str]:
        """Return where each data file that the study names lies on this machine, by reference."""
        return {reference: str(self.locate(reference).resolve()) for reference in self.data_hashes}

    @property
    def origin(self) -> Origin:
        """Where the study was written."""
        return self._origin

    def error(self, rule: str, *at: str | int, value: object = None, fix: str) -> StudyError:
        """Return the error that `rule` is broken at a key of the study file."""
        return self._origin.document.error(rule, at, value=value, fix=fix)

    def resolved(self, *, exclude_defaults: bool = False) -> dict[str, Any]:
        """Return plain data from which `Study(**data)` makes the same study; defaults included or not."""
        return _plain(self.model_dump(by_alias=True, exclude_defaults=exclude_defaults))

    def stated(self) -> dict[str, Any]:
        """Return `resolved` without the keys that no file states."""
        return _plain(self.model_dump(by_alias=True, exclude_unset=True))

    @cached_property
    def content_hash(self) -> str:
        """BLAKE2b-128 of what the numbers depend on, as hexadecimal text.

        Values left at their default do not enter, so that a new optional key does not change an old
        study; data files enter by their bytes, not by their path; the name does not enter, nor which values
        a source of a protocol is for.
        """
        stated = self.resolved(exclude_defaults=True)
        stated.pop("name", None)
        for protocol in stated["protocol"]:
            for source in protocol["sources"]:
                source.pop("values", None)
        hashes = stated.pop("data_hashes", {})
        content = {"block_size": self.block_size, **_replaced(stated, hashes)}
        text = json.dumps(content, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def load_study(
    path: Path | str, *, market_data: Path | str | None = None, data_files: Mapping[str, str] | None = None
) -> Study:
    """Read a study file and the files it names; every refusal names file, line, key, value, rule, fix.

    References are looked for beside the study, then below the nearest enclosing folder `configs`;
    data files also in `market_data`. A stored study (`study.json`) is read in the same way;
    `data_files` says where the files that it names lie (`Study.data_files`).
    """
    document = read_document(path)
    folder = Path(path).resolve().parent
    values = {"name": re.sub(r"[^A-Za-z0-9_-]+", "_", Path(path).stem).strip("_") or "study", **document.data}
    study = Study.__new__(Study)
    study._build(values, Origin(document, folder, None if market_data is None else Path(market_data), data_files or {}))
    return study


def _plain(value: Any) -> Any:
    """Return a dumped model as JSON's types; durations as text with their unit."""
    if isinstance(value, Seconds):
        return format_duration(value)
    if isinstance(value, Mapping):
        if "value" in value and value.keys() <= {"value", "at_step"} and value.get("at_step") is None:
            return _plain(value["value"])  # a delay that states nothing else is its duration
        # `rule` first, as files are written.
        return {str(key): _plain(value[key]) for key in sorted(value, key=lambda key: key != "rule")}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    return value


def _replaced(value: Any, texts: Mapping[str, str]) -> Any:
    """Return plain data with every text that `texts` knows replaced."""
    if isinstance(value, dict):
        return {key: _replaced(inner, texts) for key, inner in value.items()}
    if isinstance(value, list):
        return [_replaced(inner, texts) for inner in value]
    return texts.get(value, value) if isinstance(value, str) else value
