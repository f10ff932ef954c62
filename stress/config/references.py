"""What a study names and does not hold: protocol, market and scenario files, data files."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from stress.config.documents import Document, read_document
from stress.config.protocol import Protocol
from stress.config.refusals import read_model
from stress.errors import StressError, StudyError, did_you_mean
from stress.observations import parse_rules
from stress.paths import MarketModel
from stress.scenarios import STATIONARY, ReplayScenario, parse_scenario

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


@dataclass(frozen=True)
class Origin:
    """Where a study was written: the document for lines in errors, the folders to find its files in."""

    document: Document
    folder: Path
    market_data: Path | None = None
    # Where the data files of a stored study lie on this machine, by reference.
    data_files: Mapping[str, str] = field(default_factory=dict)
    # Document of each protocol by its name, for errors that only a step or an axis brings out.
    protocols: dict[str, Document] = field(default_factory=dict)

    def candidates(self, reference: str) -> Iterator[Path]:
        """Yield where a file may lie: beside the study, below the nearest `configs`, in the market data."""
        if reference in self.data_files:
            yield Path(self.data_files[reference])
        yield self.folder / reference
        for folder in (self.folder, *self.folder.parents):
            if folder.name == "configs":
                yield folder / reference
                break
            if (folder / "configs").is_dir():
                yield folder / "configs" / reference
                break
        if self.market_data is not None:
            yield self.market_data / reference

    def find(self, reference: str) -> Path | None:
        """Return the first candidate that is a file."""
        return next((path for path in self.candidates(reference) if path.is_file()), None)

    def locate(self, reference: str, *at: str | int) -> Path:
        """Return the file that a reference at a location of the study names."""
        path = self.find(reference)
        if path is None:
            tried = ", ".join(dict.fromkeys(str(path) for path in self.candidates(reference)))
            fix = "correct the path; folders of price files and books are named with --market-data"
            raise self.document.error(f"no such file; looked for {tried}", at, value=reference, fix=fix)
        return path


def resolve(values: Mapping[str, Any], origin: Origin, problems: list[StressError]) -> dict[str, Any]:
    """Return a study's values with what they name in place; what cannot be had is listed and left out."""
    found = dict(values)

    def attempt(key: str, replace: Callable[[Any], Any]) -> None:
        try:
            found[key] = replace(found[key])
        except StressError as error:
            problems.append(error)
            del found[key]

    if "protocol" in found:
        attempt("protocol", lambda value: _protocols(value, origin))
    if "market" in found:
        attempt("market", lambda value: _object(MarketModel, value, origin, "market"))
    market = found.get("market")
    if not isinstance(market, MarketModel):  # neither regimes nor markets are known
        found.pop("scenarios", None)
        found.pop("markets", None)
        return found
    if isinstance(found.get("scenarios"), (list, tuple)):
        regimes = tuple(market.regimes.states)
        attempt("scenarios", lambda entries: tuple(_scenario(e, i, regimes, origin) for i, e in enumerate(entries)))
    if all(isinstance(protocol, Protocol) for protocol in found.get("protocol", [None])):
        stated = found.get("markets")
        found["markets"] = stated
        attempt("markets", lambda names: _markets(names, market, found["protocol"], origin))
    if "scenarios" in found and not problems:
        found["scenarios"] = tuple(_both_ways(scenario, found["protocol"]) for scenario in found["scenarios"])
        stated_hashes = found.get("data_hashes", {})
        found["data_hashes"] = stated_hashes
        attempt("data_hashes", lambda hashes: _data_hashes(found, hashes, origin))
    return found


def _object(model: type[BaseModel], value: Any, origin: Origin, *at: str | int) -> Any:
    """Return the model that a file reference names or that plain data states."""
    if isinstance(value, str):
        document = read_document(origin.locate(value, *at))
    elif isinstance(value, Mapping):
        document = origin.document.part(value, at)
    else:
        return value
    found = read_model(model, document)
    if isinstance(found, Protocol):
        origin.protocols[found.name] = document
    return found


def _protocols(value: Any, origin: Origin) -> Any:
    if isinstance(value, (list, tuple)):
        return tuple(_object(Protocol, item, origin, "protocol", index) for index, item in enumerate(value))
    return (_object(Protocol, value, origin, "protocol"),)


def _scenario(entry: Any, index: int, regimes: tuple[str, ...], origin: Origin) -> Any:
    """Return the scenario of a regime or scenario file by name, or of an entry written out."""
    at: tuple[str | int, ...] = ("scenarios", index)
    document = origin.document
    if isinstance(entry, str) and entry not in (*regimes, STATIONARY) and _NAME.fullmatch(entry):
        path = origin.find(f"scenarios/{entry}.yaml")
        if path is not None:
            document, at = read_document(path), ()
            entry = {"name": entry, **document.data}
    if not isinstance(entry, (str, Mapping)):
        return entry
    try:
        scenario = parse_scenario(entry, regimes)
        if isinstance(scenario, ReplayScenario):
            parse_rules(scenario.repair, f"scenarios.{scenario.name}.repair")
    except StudyError as error:
        raise document.own(error, at) from None
    return scenario


def shares_of_flow(protocols: Sequence[Protocol]) -> tuple[float, ...]:
    """Return the impact shares at which a replay runs by default: none, and what each venue states of itself."""
    return tuple(sorted({0.0, *(protocol.impact.arbitrage_share for protocol in protocols)}))


def _both_ways(scenario: Any, protocols: tuple[Protocol, ...]) -> Any:
    """Return a replay that says nothing of its own impact with the shares at which it runs."""
    if not isinstance(scenario, ReplayScenario) or "impact_share" in scenario.model_fields_set:
        return scenario
    return scenario.model_copy(update={"impact_share": shares_of_flow(protocols)})


def _markets(names: Any, market: MarketModel, protocols: tuple[Protocol, ...], origin: Origin) -> Any:
    """Return the markets of a study: those stated, or all that the market file and every protocol know."""
    if names is None:
        return tuple(name for name in market.markets if all(protocol.lists(name) for protocol in protocols))
    for index, name in enumerate(names if isinstance(names, (list, tuple)) else ()):
        missing = [protocol.name for protocol in protocols if not protocol.lists(name)]
        if name not in market.markets:
            fix = did_you_mean(str(name), market.markets)
            raise origin.document.error("is not in the market file", ("markets", index), value=name, fix=fix)
        if missing:
            fix = "add its margin tiers there, or leave the market out"
            rule = f"is not listed by protocol {missing[0]}"
            raise origin.document.error(rule, ("markets", index), value=name, fix=fix)
    return names


def _data_hashes(found: Mapping[str, Any], stated: Any, origin: Origin) -> dict[str, str]:
    """Return the BLAKE2b-128 of every data file that a study names; a stated one must still hold."""
    named: dict[str, tuple[str | int, ...]] = {}
    for index, scenario in enumerate(found["scenarios"]):
        if isinstance(scenario, ReplayScenario):
            named[scenario.replay] = ("scenarios", index, "replay")
    resampled = found["market"].resampled
    if resampled is not None:
        named[resampled.file] = ("market",)
        stated = {resampled.file: resampled.blake2b, **stated}
    book = found.get("book")
    path = book.get("path") if isinstance(book, Mapping) else getattr(book, "path", None)
    if isinstance(path, str):
        named[path] = ("book", "path")
    hashes = {}
    for reference, at in named.items():
        if reference in stated and origin.find(reference) is None:
            hashes[reference] = stated[reference]  # a stored study opens without its data
            continue
        with origin.locate(reference, *at).open("rb") as stream:
            hashes[reference] = hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
        if stated.get(reference, hashes[reference]) != hashes[reference]:
            fix = "restore the file, or make a new run"
            raise origin.document.error("the file is not the one the study was run with", at, value=reference, fix=fix)
    return hashes
