"""A dated event as a study: from the user's price file where one holds it, else from the event's anchors alone.

The study is plain data with references, written to a file, so that the command line and the flow run the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from stress.config.documents import read_document
from stress.config.protocol import Protocol
from stress.config.references import shares_of_flow
from stress.config.refusals import read_model
from stress.errors import StudyError, did_you_mean
from stress.observations import bar_of
from stress.paths import MarketModel
from stress.paths.replay import is_spot
from stress.scenarios import AnchorScenario, Realised, parse_scenario
from stress.sources import read
from stress.stages import format_duration

STEP = 60.0
ANCHOR_PATHS = 64
SEED = 20261122


@dataclass(frozen=True)
class Replay:
    """What a user asks of a replay besides its event; `transforms` are keys of a replay scenario."""

    protocol: str = "protocols/reference.yaml"
    market: str = "markets/house.yaml"
    markets: tuple[str, ...] | None = None
    accounts: int = 1000
    impact_share: tuple[float, ...] | None = None  # None: 0 and the venue's share of flow
    map: Mapping[str, str] = field(default_factory=dict)
    betas: Mapping[str, float] = field(default_factory=dict)  # of mapped markets: multiples of the asset's log moves
    transforms: Mapping[str, Any] = field(default_factory=dict)
    anchors_only: bool = False


def events(configs: Path) -> list[str]:
    """Return the names of all event files below a folder of configurations."""
    return sorted(path.stem for path in (configs / "scenarios").glob("*.yaml"))


def read_event(name: str, configs: Path, regimes: tuple[str, ...]) -> AnchorScenario:
    """Return the event of a file in `scenarios/`, with its own lines in errors."""
    path = configs / "scenarios" / f"{name}.yaml"
    if not path.is_file():
        raise StudyError(
            "is no event", key="EVENT", value=name, fix=f"{did_you_mean(name, events(configs))} ({path.parent})"
        )
    document = read_document(path)
    try:
        event = parse_scenario({"name": name, **document.data}, regimes)
    except StudyError as error:
        raise document.own(error) from None
    if not isinstance(event, AnchorScenario):
        raise document.error("an event has anchors", (), fix="give `anchors`")
    return event


def replay_study(name: str, asked: Replay, *, configs: Path, market_data: Path | None) -> tuple[dict[str, Any], str]:
    """Return the study of an event as plain data, and in words what its path is made from."""
    model = read_model(MarketModel, read_document(configs / asked.market))
    protocol = read_model(Protocol, read_document(configs / asked.protocol))
    event = read_event(name, configs, tuple(model.regimes.states))
    mapping = {**event.map, **asked.map}
    able = [market for market in model.markets if protocol.lists(market)]
    if unknown := [market for market in (*asked.map, *(asked.markets or ())) if market not in able]:
        raise StudyError(
            "is not a market of both market file and protocol",
            key="--map" if unknown[0] in asked.map else "--markets",
            value=unknown[0],
            fix=did_you_mean(unknown[0], able),
        )
    markets = [m for m in (asked.markets or able) if mapping.get(m, m) in event.anchors]
    history = None if asked.anchors_only else _history(event, market_data)
    if history is None:
        if asked.transforms or asked.betas:
            raise StudyError(
                "changes history, and there is none here",
                key="--" + next(iter(asked.transforms), "map").replace("_", "-"),
                fix=f"give a folder with {_wanted(event)} as --market-data, or leave it out",
            )
        markets += [m for m in (asked.markets or able) if m not in markets and event.others != "refuse"]
        entry: Any = name
        if asked.map:
            document = read_document(configs / "scenarios" / f"{name}.yaml")
            entry = {"name": name, **document.data, "map": mapping, "begins": event.begins.isoformat()}
        scenarios, paths = [entry], ANCHOR_PATHS
        said = f"an anchor path, not historical data: {_absent(event, market_data, asked.anchors_only)}"
        lasts, bar = event.lasts, 3 * STEP
    else:
        file, symbols, bar = history
        assert event.history is not None  # a file was found for it
        markets = [m for m in markets if any(is_spot(symbol, mapping.get(m, m)) for symbol in symbols)]
        lasts = event.lasts / float(asked.transforms.get("time_compression", 1))
        scenarios = [
            {
                "name": name,
                "replay": file.name,
                "from": event.begins.isoformat(),
                "to": (event.begins + timedelta(seconds=event.lasts)).isoformat(),
                "impact_share": list(asked.impact_share or shares_of_flow([protocol])),
                "longest_hold": format_duration(event.history.longest_hold),
                "on_bad_print": event.history.on_bad_print,
                **({"realised": [_told(fact, event) for fact in event.realised]} if event.realised else {}),
                **(
                    {"map": {m: _mapped(m, mapping, asked.betas) for m in markets if m in mapping}} if asked.map else {}
                ),
                **asked.transforms,
            }
        ]
        paths, said = 1, f"history, from {file.name}"
    if not markets:
        raise StudyError(
            "no market of this event is in market file, protocol and data",
            key="EVENT",
            value=name,
            fix=f"map one with --map MARKET={next(iter(event.anchors))}",
        )
    # A bar of the path is walked in three legs at least.
    fine = min(STEP, bar / float(asked.transforms.get("time_compression", 1)) / 3)
    values = {
        "schema": 1,
        "question": f"What do these rules do on {event.title}?",
        "protocol": asked.protocol,
        "book": {"kind": "synthetic", "accounts": asked.accounts},
        "market": asked.market,
        "markets": markets,
        "scenarios": scenarios,
        "horizon": format_duration(lasts),
        "step": format_duration(fine),
        "paths": paths,
        "seed": SEED,
    }
    return values, said


def _mapped(market: str, mapping: Mapping[str, str], betas: Mapping[str, float]) -> Any:
    return {"source": mapping[market], "beta": betas[market]} if market in betas else mapping[market]


def _told(fact: Realised, event: AnchorScenario) -> dict[str, Any]:
    return {**fact.model_dump(), "source": event.sources[fact.source]}


def _wanted(event: AnchorScenario) -> str:
    return " or ".join(event.history.files) if event.history else "prices of its assets"


def _absent(event: AnchorScenario, market_data: Path | None, chosen: bool) -> str:
    if chosen:
        return "--anchors was given"
    if event.history is None:
        return "no price file is known to hold it"
    return f"{_wanted(event)} is not in {market_data or 'a folder named with --market-data'}"


def _history(event: AnchorScenario, market_data: Path | None) -> tuple[Path, set[str], float] | None:
    """Return the first of the event's files that the user has, its symbols, and the length of its bars in seconds."""
    if market_data is None or event.history is None:
        return None
    for file in event.history.files:
        path = market_data / file
        if path.is_file():
            seen = read(path)
            return path, set(seen.table["symbol"].unique()), bar_of(seen.series) or STEP
    return None
