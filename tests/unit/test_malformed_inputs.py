"""Malformed studies, protocols, markets, books and price files: each a precise error, no traceback.

Every case edits one text of a sound set of files in one place. The error names the file, the line of
the edit, the key, the rule and a fix.
"""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from stress import accounts, config, design
from stress.errors import BookError, PriceFileError, StressError, StudyError
from stress.sources import read_prices

STUDY = """\
schema: 1
question: Is 50x safe?
protocol: protocol.yaml
book: {kind: synthetic, accounts: 20}
market: market.yaml
scenarios: [calm]
horizon: 1h
step: 60s
axes:
  leverage_cap: [20, 40, 50]
  oracle_delay: [0s, 60s]
traders: keep_utilisation
margin_mode: cross
current: {leverage_cap: 40, oracle_delay: 60s}
proposed: {leverage_cap: 50}
tolerance: {measure: mutualised_loss, probability: 1%, confidence: 95%}
paths: 128
seed: 7
"""

PROTOCOL = """\
schema: 1
name: venue
title: Venue
summary: A venue for tests.
sources:
  - {of: all, text: none, date: 2026-01-01}
impact:
  rule: linear_impact
  resilience: 30m
oracle:
  rule: external_feed
  oracle_delay: 60s
mark:
  rule: oracle_mark
margin:
  rule: tiered_margin
  markets:
    BTC:
      - {leverage_cap: 40, maintenance_to_initial_ratio: 0.5}
      - {above: 1000000, leverage_cap: 20, maintenance_to_initial_ratio: 0.6}
    ETH:
      - {leverage_cap: 25, maintenance_to_initial_ratio: 0.5}
trigger:
  rule: strict_trigger
size:
  rule: full_size
execution:
  - rule: order_book
waterfall:
  - rule: insurance_fund
    insurance_fund: 1000000
  - rule: adl_pro_rata
    adl_price: bankruptcy
"""

MARKET = """\
schema: 1
name: plain
markets:
  BTC: {price: 100000, depth_usd: 5000000, open_interest_usd: 50000000, volatility: 0.6}
  ETH: {price: 4000, depth_usd: 3000000, open_interest_usd: 20000000, volatility: 0.8}
correlation: {BTC: {ETH: 0.8}}
"""

FILES = {"study.yaml": STUDY, "protocol.yaml": PROTOCOL, "market.yaml": MARKET}


class Case(NamedTuple):
    """`old` becomes `new` in `file`; the error names `key` in the line that holds `at` after the edit."""

    name: str
    file: str
    old: str
    new: str
    key: str
    at: str
    rule: str
    fix: str


def study(name: str, old: str, new: str, key: str, rule: str, fix: str, at: str | None = None) -> Case:
    return Case(name, "study.yaml", old, new, key, at or new, rule, fix)


def protocol(name: str, old: str, new: str, key: str, rule: str, fix: str, at: str | None = None) -> Case:
    return Case(name, "protocol.yaml", old, new, key, at or new, rule, fix)


CASES = [
    # ------------------------------------------------------------------------------------ YAML
    study("open bracket", "[0s, 60s]", "[0s, 60s", "", "not valid YAML", "brackets", at="traders:"),
    study("tab", "  leverage_cap:", "\tleverage_cap:", "", "not valid YAML", "indentation"),
    study("duplicate key", "seed: 7", "seed: 7\nseed: 8", "seed", "stands twice .*line 18", "keep one", at="seed: 8"),
    study(
        "duplicate axis", "  oracle_delay:", "  leverage_cap:", "axes.leverage_cap", "twice", "keep one", at="[0s, 60s]"
    ),
    study("alias", "seed: 7", "seed: &a 7\nloss_floor: *a", "loss_floor", "alias", "write the value", at="*a"),
    study("python tag", "seed: 7", "seed: !!python/object/apply:os.getpid []", "seed", "tag", "remove the tag"),
    study("tag", "seed: 7", "seed: !secret 7", "seed", "tag", "remove the tag"),
    study("nan", "paths: 128", "paths: .nan", "paths", "finite", "finite number"),
    study("infinity in a list", "[20, 40, 50]", "[20, 40, .inf]", "axes.leverage_cap[2]", "finite", "finite number"),
    study("overflow", "paths: 128", "paths: 1e999", "paths", "finite", "finite number"),
    study("a list at the top", STUDY, "- 1\n", "", "top level is a mapping", "schema: 1", at="- 1"),
    study("two documents", "seed: 7", "seed: 7\n---\na: 1", "", "single document", "brackets", at="---"),
    study("nesting", "seed: 7", "seed: " + "[" * 40, "0", "levels deep", "flatten"),
    study("list as key", "seed: 7", "? [seed]\n: 7", "", "key is text", "key: value", at="? [seed]"),
    # ----------------------------------------------------------------------------- keys and types
    study("unknown key", "traders:", "tradres:", "tradres", "unknown key", "did you mean traders"),
    study("unknown inner key", "confidence:", "confidense:", "tolerance.confidense", "unknown key", "confidence"),
    study("missing key", "question: Is 50x safe?\n", "", "question", "required", "add `question", at=""),
    study("schema of the future", "schema: 1", "schema: 2", "schema", "must be 1", "version"),
    study("text for a number", "paths: 128", "paths: many", "paths", "valid integer", "paths per scenario"),
    study("quoted number", "paths: 128", "paths: '128'", "paths", "not text", "quotes"),
    study("true for a number", "seed: 7", "seed: true", "seed", "must be a number", "write a number"),
    study("negative seed", "seed: 7", "seed: -7", "seed", "greater than or equal to 0", "random numbers"),
    study("a list for a mapping", "axes:\n", "axes: [1]\nx:\n", "axes", "dictionary", "values to visit", at="axes"),
    study("unknown book", "kind: synthetic", "kind: sintetic", "book.kind", "unknown kind", "did you mean synthetic"),
    study("book without kind", "{kind: synthetic, accounts: 20}", "{accounts: 20}", "book", "needs the key", "kind"),
    study("unknown book key", "accounts: 20", "acounts: 20", "book.acounts", "unknown key", "did you mean accounts"),
    study("unknown response", "keep_utilisation", "keep_utilization", "traders", "must be", "respond"),
    study("unknown measure", "mutualised_loss,", "mutualized_loss,", "tolerance.measure", "must be", "event"),
    study("empty question", "Is 50x safe?", "''", "question", "at least 1 char", "in words"),
    # -------------------------------------------------------------------------------------- units
    study("bare duration", "horizon: 1h", "horizon: 3600", "horizon", "a number and a unit", "length of a path"),
    study("unknown unit", "step: 60s", "step: 60sec", "step", "a number and a unit", "length of a step"),
    study("no step", "step: 60s", "step: 0s", "step", "greater than 0", "length of a step"),
    study("horizon off the step", "horizon: 1h", "horizon: 90s", "horizon", "whole number of steps", "multiple of 1m"),
    study("bare axis delay", "[0s, 60s]", "[0, 60s]", "axes.oracle_delay[0]", "a duration such as 60s", "now it is"),
    study("duration for a cap", "[20, 40, 50]", "[20s, 40, 50]", "axes.leverage_cap[0]", "a number", "now it is"),
    study("percent of what", "probability: 1%", "probability: 1 percent", "tolerance.probability", "percentage", "1%"),
    study("certainty", "probability: 1%", "probability: 1", "tolerance.probability", "less than 1", "such as 1%"),
    study("zero tolerance", "probability: 1%", "probability: 0%", "tolerance.probability", "greater than 0", "such as"),
    # --------------------------------------------------------------------------------------- axes
    study("no values", "[20, 40, 50]", "[]", "axes.leverage_cap", "at least one value", "list values"),
    study("one value", "[20, 40, 50]", "20", "axes.leverage_cap", "valid tuple", "correct it", at="leverage_cap: 20"),
    study("repeated", "[20, 40, 50]", "[20, 40, 40.0]", "axes.leverage_cap[2]", "differ", "repetition"),
    study("repeated unit", "[0s, 60s]", "[60s, 1m]", "axes.oracle_delay[1]", "differ", "repetition"),
    study("unknown axis", "  leverage_cap:", "  leverage_cup:", "axes.leverage_cup", "no parameter", "leverage_cap"),
    study("unknown market", "  leverage_cap:", "  DOGE.leverage_cap:", "axes.DOGE.leverage_cap", "no value", "known"),
    study(
        "no such tier", "  leverage_cap:", "  BTC.leverage_cap[7]:", "axes.BTC.leverage_cap[7]", "tier", "count from 0"
    ),
    study("tier of nobody", "  leverage_cap:", "  leverage_cap[0]:", "axes.leverage_cap[0]", "one market", "BTC."),
    study("delay off the step", "[0s, 60s]", "[0s, 90s]", "axes.oracle_delay[1]", "cannot resolve", "multiple of 1m"),
    study(
        "margin to open is not above that to keep",
        "  oracle_delay: [0s, 60s]",
        "  maintenance_to_initial_ratio: [0.5, 1.0]",
        "axes.maintenance_to_initial_ratio[1]",
        "less than 1",
        "other values",
    ),
    study(
        "cap below one",
        "[20, 40, 50]",
        "[0.5, 40, 50]",
        "axes.leverage_cap[0]",
        "greater than or equal to 1",
        "other values",
    ),
    study(
        "scenario axis",
        "  oracle_delay: [0s, 60s]",
        "  scenario: [calm]",
        "axes.scenario",
        "no axis of its own",
        "scenarios",
    ),
    study(
        "no volatility", "  oracle_delay: [0s, 60s]", "  volatility: [1, 0]", "axes.volatility[1]", "above 0", "range"
    ),
    study(
        "unknown response axis",
        "  oracle_delay: [0s, 60s]",
        "  traders: [add_colateral]",
        "axes.traders[0]",
        "unknown value",
        "add_collateral",
    ),
    study(
        "one parameter twice",
        "  oracle_delay: [0s, 60s]",
        "  BTC.leverage_cap: [10]",
        "axes.BTC.leverage_cap",
        "same parameter",
        "keep one",
    ),
    # ------------------------------------------------------------------------ current and proposed
    study(
        "current off the grid",
        "{leverage_cap: 40,",
        "{leverage_cap: 30,",
        "current.leverage_cap",
        "not on the grid",
        "20, 40, 50",
    ),
    study(
        "proposed off the grid",
        "{leverage_cap: 50}",
        "{leverage_cap: 60}",
        "proposed.leverage_cap",
        "not on the grid",
        "add 60",
    ),
    study(
        "unknown proposal",
        "{leverage_cap: 50}",
        "{leverage_kap: 50}",
        "proposed.leverage_kap",
        "no parameter",
        "leverage_cap",
    ),
    study(
        "proposal without an axis",
        "{leverage_cap: 50}",
        "{insurance_fund: 5}",
        "proposed.insurance_fund",
        "no axis",
        "add an axis",
    ),
    # -------------------------------------------------------------------------------- paths, files
    study("paths are no blocks", "paths: 128", "paths: 100", "paths", "whole number of blocks", "use 64 or 128"),
    study("no paths", "paths: 128", "paths: 0", "paths", "greater than or equal to 1", "per scenario"),
    study("unknown scenario", "[calm]", "[clam]", "scenarios[0]", "not a regime", "did you mean calm"),
    study("scenario like a path", "[calm]", "[../../etc/passwd]", "scenarios[0]", "not a regime", "calm"),
    study("no scenarios", "[calm]", "[]", "scenarios", "at least 1", "regimes"),
    study(
        "unknown market name",
        "paths:",
        "markets: [BTC, ETC]\npaths:",
        "markets[1]",
        "not in the market file",
        "ETH",
        at="markets:",
    ),
    study("missing protocol file", "protocol.yaml", "nowhere.yaml", "protocol", "no such file", "correct the path"),
    study("missing market file", "market.yaml", "nowhere.yaml", "market", "no such file", "correct the path"),
    study(
        "missing price file",
        "[calm]",
        "[{replay: no.csv, from: '2025-01-01'}]",
        "scenarios[0].replay",
        "no such file",
        "--market-data",
    ),
    study(
        "unknown repair",
        "[calm]",
        "[{replay: no.csv, from: '2025-01-01', repair: [gap=hold]}]",
        "scenarios[0].repair",
        "defect=rule",
        "did you mean gaps",
    ),
    study(
        "rule of another defect",
        "[calm]",
        "[{replay: no.csv, from: '2025-01-01', repair: [gaps=winsorise]}]",
        "scenarios[0].repair",
        "no rule for gaps",
        "use hold",
    ),
    study(
        "missing book",
        "{kind: synthetic, accounts: 20}",
        "{kind: snapshot, path: no.csv}",
        "book.path",
        "no such file",
        "correct the path",
    ),
    study(
        "protocol twice",
        "protocol: protocol.yaml",
        "protocol: [protocol.yaml, protocol.yaml]",
        "protocol",
        "named twice",
        "once",
    ),
    study(
        "name like a path",
        "schema: 1",
        "schema: 1\nname: ../../outside",
        "name",
        "match pattern",
        "results folder",
        at="name:",
    ),
    # ------------------------------------------------------------------------------------ protocol
    protocol(
        "unknown rule", "linear_impact", "linear_inpact", "impact.rule", "unknown rule", "did you mean linear_impact"
    ),
    protocol(
        "rule of another stage", "rule: oracle_mark", "rule: full_size", "mark.rule", "unknown rule", "oracle_mark"
    ),
    protocol("no rule", "  rule: linear_impact\n", "", "impact", "needs the key `rule`", "add `rule", at="impact:"),
    protocol("missing stage", "trigger:\n  rule: strict_trigger\n", "", "trigger", "required", "add `trigger", at=""),
    protocol("no execution", "execution:\n  - rule: order_book", "execution: []", "execution", "at least 1", "correct"),
    protocol("unknown parameter", "resilience:", "resillience:", "impact.resillience", "unknown key", "resilience"),
    protocol(
        "rate of one",
        "ratio: 0.5}\n      - {above",
        "ratio: 1.0}\n      - {above",
        "margin.markets.BTC[0].maintenance_to_initial_ratio",
        "less than 1",
        "maintenance over initial",
        at="ratio: 1.0",
    ),
    protocol(
        "tiers fall", "above: 1000000", "above: -5", "margin.markets.BTC[1].above", "greater than or equal", "tier"
    ),
    protocol(
        "caps rise", "leverage_cap: 20", "leverage_cap: 80", "margin", "leverage caps fall", "correct it", at="margin:"
    ),
    protocol(
        "missing parameter",
        "    insurance_fund: 1000000\n",
        "",
        "waterfall[0].insurance_fund",
        "required",
        "balance",
        at="- rule: insurance_fund",
    ),
    protocol(
        "bare delay",
        "oracle_delay: 60s",
        "oracle_delay: 60",
        "oracle.oracle_delay",
        "a number and a unit",
        "age of the observation",
    ),
    protocol(
        "preset's delay off the step",
        "oracle_delay: 60s",
        "oracle_delay: 7s",
        "oracle.oracle_delay",
        "cannot resolve",
        "at_step",
    ),
    protocol(
        "wrong word", "adl_price: bankruptcy", "adl_price: bankrupt", "waterfall[1].adl_price", "must be", "price"
    ),
    protocol(
        "no sources",
        "sources:\n  - {of: all, text: none, date: 2026-01-01}",
        "sources: []",
        "sources",
        "at least 1",
        "come from",
    ),
    protocol("protocol name like a path", "name: venue", "name: ../venue", "name", "match pattern", "short name"),
    # -------------------------------------------------------------------------------------- market
    Case(
        "market: negative price",
        "market.yaml",
        "price: 4000",
        "price: -4000",
        "markets.ETH.price",
        "ETH",
        "greater than 0",
        "correct",
    ),
    Case(
        "market: unknown key",
        "market.yaml",
        "depth_usd: 5",
        "dept_usd: 5",
        "markets.BTC.dept_usd",
        "BTC",
        "unknown key",
        "depth_usd",
    ),
    Case(
        "market: no markets",
        "market.yaml",
        MARKET[MARKET.index("markets:") :],
        "markets: {}\n",
        "markets",
        "markets",
        "at least 1",
        "correct",
    ),
]


def write(folder: Path, file: str | None = None, old: str = "", new: str = "") -> Path:
    for name, text in FILES.items():
        if name == file:
            assert text.count(old) >= 1
            text = text.replace(old, new, 1)
        (folder / name).write_text(text)
    return folder / "study.yaml"


def refusals(path: Path) -> dict[str | None, StressError]:
    with pytest.raises(StudyError) as caught:
        design.plan(config.load_study(path))
    assert "Traceback" not in str(caught.value)
    assert "pydantic" not in str(caught.value)
    return {error.key: error for error in getattr(caught.value, "problems", (caught.value,))}


def test_the_unedited_files_are_sound(tmp_path):
    assert len(design.plan(config.load_study(write(tmp_path))).cells) == 6


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_refusal_names_file_line_key_rule_and_fix(tmp_path, case):
    found = refusals(write(tmp_path, case.file, case.old, case.new))
    text = (tmp_path / case.file).read_text()
    assert (case.key or None) in found
    error = found[case.key or None]
    assert re.search(case.rule, error.rule), error.rule
    assert error.fix
    assert re.search(case.fix, error.fix), error.fix
    assert error.file is not None
    assert Path(error.file).name == case.file
    if case.at:
        line = next(number for number, held in enumerate(text.splitlines(), 1) if case.at.splitlines()[0] in held)
        assert error.line == line


# ---------------------------------------------------------------------------- books, price files

POSITIONS = """\
trader,margin_mode,market,size,entry_price,collateral
ann,cross,BTC,1.5,60000,10000
bob,isolated,ETH,-3,3000,900
"""
BARS = """\
ts,symbol,open,high,low,close
2025-10-10T21:10:00Z,BTC,100,101,99,100
2025-10-10T21:11:00Z,BTC,100,101,95,96
"""
# old, new, key, line, rule
POSITION_CASES = [
    ("margin_mode,", "mode,", "column", 1, "columns of a snapshot"),
    ("cross", "crossed", "margin_mode", 2, "cross or isolated"),
    ("BTC", "BTX", "market", 2, "market of the study"),
    ("1.5", "0", "size", 2, "not 0"),
    ("-3", "nan", "size", 3, "finite"),
    ("60000", "-1", "entry_price", 2, "above 0"),
    ("900", "plenty", "collateral", 3, "finite"),
    ("bob", "", "trader", 3, "not empty"),
    ("ann,cross,BTC,1.5,60000,10000", "ann,cross,BTC,1.5", None, 2, "cells"),
]
BAR_CASES = [
    ("symbol", "name", "symbol", None, "no column symbol"),
    ("21:11:00Z", "21:11 o'clock", "ts", 3, "not a time"),
    ("95", "nan", "low", 3, "finite"),
    ("95", "-95", "low", 3, "positive"),
    ("101,95", "90,95", "high", 3, "high must not be below"),
    ("99", "100.5", "low", 2, "low must not be above"),
    ("21:11", "21:10", "ts", 3, "duplicate"),
    ("Z,BTC,100,101,95", "Z,,100,101,95", "symbol", 3, "empty"),
]


@pytest.mark.parametrize(("old", "new", "key", "line", "rule"), POSITION_CASES)
def test_a_bad_row_of_a_book_is_named(tmp_path, old, new, key, line, rule):
    path = tmp_path / "book.csv"
    path.write_text(POSITIONS.replace(old, new, 1))
    with pytest.raises(BookError, match=rule) as caught:
        accounts.make_book(
            accounts.SnapshotBook(path=str(path)),
            markets=("BTC", "ETH"),
            prices=np.array([60_000.0, 3_000.0]),
            leverage_cap=np.array([40.0, 25.0]),
            seed=0,
            initial_margin=lambda market, size, price: np.abs(size) * price / 20,
        )
    assert (caught.value.file, caught.value.key, caught.value.line) == (str(path), key, line)


@pytest.mark.parametrize(("old", "new", "key", "line", "rule"), BAR_CASES)
def test_a_bad_row_of_a_price_file_is_named(tmp_path, old, new, key, line, rule):
    path = tmp_path / "bars.csv"
    path.write_text(BARS.replace(old, new, 1))
    with pytest.raises(PriceFileError, match=rule) as caught:
        read_prices(path)
    assert (caught.value.file, caught.value.key, caught.value.line) == (str(path), key, line)


# ------------------------------------------------------------------------------------- all of it


def test_several_errors_are_listed_and_counted_with_the_files_they_are_in(tmp_path):
    path = write(tmp_path, "study.yaml", "seed: 7\n", "seed: -7\ncolour: red\n")
    (tmp_path / "protocol.yaml").write_text(PROTOCOL.replace("resilience", "resillience"))
    with pytest.raises(StudyError, match="3 errors") as caught:
        config.load_study(path)
    text = str(caught.value)
    assert f"{path}:18: seed = -7" in text
    assert "colour" in text
    assert "protocol.yaml:9: impact.resillience" in text
    assert str(pickle.loads(pickle.dumps(caught.value))) == text


def test_a_file_that_is_no_text_or_no_file_is_named(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_bytes(b"schema: 1\nquestion: \xff\n")
    with pytest.raises(StudyError, match="UTF-8") as caught:
        config.load_study(path)
    assert caught.value.line == 2
    for missing in (tmp_path / "absent.yaml", tmp_path):
        with pytest.raises(StudyError, match="cannot be read"):
            config.load_study(missing)


def test_there_are_at_least_forty_cases():
    assert len({case.name for case in CASES}) == len(CASES) >= 40
