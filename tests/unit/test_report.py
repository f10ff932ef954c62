"""The report, made from a store that the real reduction and estimators produced from drawn outcomes."""

from __future__ import annotations

import base64
import functools
import hashlib
import html
import io
import json
import re
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from stress import config, contagion, design, grid, measures, report
from stress.report import contagion as contagion_pages
from stress.report import explorer, figures, formats, limits, one_change, replays, verdict
from stress.report.reading import Reading
from stress.stages import Seconds
from stress.sweep.plan import layout as layout_of
from stress.vocabulary import MARKET_OUTCOMES, PATH_OUTCOMES, TRACE

CONFIGS = Path(__file__).parents[2] / "configs"
MARKETS = ("BTC", "ETH", "SOL", "DOGE")
STUDY = {
    "schema": 1,
    "name": "quickstart",
    "question": "Does raising BTC from 40x to 50x keep P(mutualised loss, 24 h) below 1 %?",
    "protocol": str(CONFIGS / "protocols/reference.yaml"),
    "book": {"kind": "synthetic", "accounts": 60},
    "market": str(CONFIGS / "markets/house.yaml"),
    "markets": MARKETS,
    "scenarios": ["stress", "panic"],
    "horizon": "24h",
    "step": "60s",
    "axes": {
        "leverage_cap": [10, 20, 25, 40, 50],
        "maintenance_to_initial_ratio": [0.4, 0.5, 0.6, 0.7],
        "oracle_delay": ["0s", "60s", "120s", "300s", "600s"],
    },
    "current": {"leverage_cap": 40, "maintenance_to_initial_ratio": 0.5, "oracle_delay": "60s"},
    "proposed": {"leverage_cap": 50},
    "tolerance": {"measure": "mutualised_loss", "probability": "1%", "confidence": "95%"},
    "paths": 1024,
    "seed": 20261122,
}
SMALL = {"axes": {"leverage_cap": [40, 50]}, "current": {"leverage_cap": 40}}
REPLAY = {"replay": "prices.parquet", "name": "crash", "from": "2025-10-10T20:00:00Z", "impact_share": [0]}


# ------------------------------------------------------------------------------ runs from drawn outcomes


def outcomes(rng, paths, probability, size, silent=()):
    """Draw the outcomes of a block; the same draws for every probability, so that cells are paired."""
    out = np.zeros(paths, [(t.name, t.dtype) for t in PATH_OUTCOMES])
    per_market = np.zeros((paths, len(MARKETS)), [(t.name, t.dtype) for t in MARKET_OUTCOMES])
    luck, large, fund = rng.random(paths), rng.pareto(1.4, paths), rng.pareto(1.2, paths)
    loss = np.where(luck < probability, size * (large + 0.01), 0.0)
    for part, share in {"adl_shortfall": 0.5, "provider_default_loss": 0.3, "unresolved_bad_debt": 0.2}.items():
        out[part] = 0.0 if part in silent else share * loss
        out["mutualised_loss"] += out[part]
    out["fund_paid"] = np.where(luck < 5 * probability, np.minimum(size * fund, 1e7), 0.0)
    out["bad_debt"] = out["fund_paid"] + loss
    out["liquidated_notional"] = 1e7 * rng.random(paths)
    out["adl_notional"] = 8 * out["adl_shortfall"]
    out["adl_notional_age"] = 60.0 * out["adl_notional"]
    per_market["funding_promised"], per_market["funding_flips"] = 1e-4, 3
    per_market["funding_paid"] = (2e-5 * rng.random(paths) - 1e-5)[:, None] * [1, 2, 3, 0]
    for term in MARKET_OUTCOMES:
        if term.name.startswith("funding_"):
            continue
        per_market[term.name] = 0.02 if term.name == "dislocation" else out[term.name][:, None] * [0.5, 0.3, 0.15, 0.05]
    events = [out["mutualised_loss"] > 0, loss > size, out["adl_notional"] > 0, np.zeros(paths, bool)]
    return out, per_market, np.stack(events, axis=1)


def grid_of(layout, chance, silent=(), failed=()):
    """Return a finished grid; `chance(path point, cell)` is the probability of a mutualised loss."""
    pieces = []
    for point, cell, block in np.ndindex(layout.path_points, layout.cells, layout.blocks):
        first, count = layout.block_range(point, block)
        if not count:
            continue
        drawn = outcomes(np.random.default_rng([point, block]), count, chance(point, cell), 3e5, silent)
        bad = (point, cell) in failed
        record = grid.empty_cell(len(MARKETS)) if bad else grid.reduce_cell(*drawn, first)
        constants = {
            "open_interest": 1.8e8,
            "gross_notional": 3.6e8,
            "trader_equity": 4e7,
            "vault_equity_at_start": 2e7,
        }
        constants |= {"fund": 1e7, "loss_floor": 180.0, "vault_loss_floor": 2e5}
        failure = {"type": "InvariantViolation", "message": "I1", "traceback": ""} if bad else None
        stacked = grid.stack_cells([record], [{} if bad else constants], [failure], f"paths {point} {block}")
        pieces.append((grid.Piece(block, point, cell, 1), stacked))
    data, losses = grid.merge(layout, pieces)
    data = measures.estimate(data, losses)
    data.attrs |= {"result_hash": "c0ffee" * 5, "source_hash": "0ddba11" * 4, "version": "0.1.0", "python": "3.11"}
    data.attrs["failures"] = [f"point {p}, cell {c}: InvariantViolation: I1" for p, c in failed]
    return data, losses


BASE_RATE = {"calm": 2e-5, "stress": 2e-4, "panic": 1e-3}


def make_run(changes=None, *, strength=1.0, leverage=3.0, silent=(), failed=(), trace=None):
    """Return a run of STUDY with changes; risk grows with leverage and delay, falls with maintenance."""
    study = config.Study(**(STUDY | (changes or {})))
    plan = design.plan(study)
    shape = layout_of(study, plan)

    def chance(point, cell):
        base = BASE_RATE.get(getattr(plan.path_points[point].scenario, "start", ""), 1.0)
        index = dict(zip(plan.cell_axes, plan.cells[cell].index, strict=True))
        growth = leverage ** index.get("leverage_cap", 0) * 1.6 ** index.get("oracle_delay", 0)
        return strength * base * growth * 0.6 ** index.get("maintenance_to_initial_ratio", 0)

    data, losses = grid_of(shape, chance, silent, failed)
    run = types.SimpleNamespace(data=data, losses=losses, study=study, plan=plan, path=Path("run"))
    if trace is not None:
        run.trace = trace
    return run


@functools.cache
def quickstart():
    return make_run()


def traced(scenario, cell):
    """A crash in the second hour of a day: liquidations from 21:13 to 21:30, ADL from 21:19."""
    rows = np.zeros((1441, len(MARKETS)), [(t.name, t.dtype) for t in TRACE])
    minute = np.arange(1441)
    fall = 1 - 0.15 * np.clip((minute - 70) / 20, 0, 1)
    for name in ("world_price", "venue_mid", "oracle_price", "mark_price"):
        rows[name] = fall[:, None] * [1e5, 4e3, 200, 0.2]
    rows["liquidated_notional"] = ((minute >= 73) & (minute < 90))[:, None] * [4e6, 2e6, 1e6, 5e5]
    rows["adl_notional"] = ((minute >= 79) & (minute < 85))[:, None] * [1e6, 5e5, 1e5, 5e4]
    rows["fund_balance"] = np.maximum(0, 1e7 - 2e6 * np.maximum(0, minute - 73))[:, None]
    return rows


def replay_run():
    return make_run({"scenarios": [REPLAY], "data_hashes": {}} | SMALL, trace=traced)


def page_of(run, folder):
    return report.write(run, folder).read_text(encoding="utf-8")


def text_of(page):
    """The words of a page as a reader sees them."""
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", page.split("<body>")[1]))).replace("\xa0", " ")


# ------------------------------------------------------------------------------------------------ numbers


@pytest.mark.parametrize(
    ("fraction", "text"),
    [(0.00236, "0.24 %"), (0.123456, "12.3 %"), (0.0996, "10 %"), (0.99881, "99.88 %"), (1.0, "100 %"), (0.0, "0 %")],
)
def test_percentages_have_the_digits_that_matter(fraction, text):
    assert formats.percent(fraction).replace("\xa0", " ") == text


def test_no_event_is_never_printed_as_zero():
    low, high = measures.clopper_pearson(0, 1024)
    said = formats.probability(0, 1024, 0.0, 0.0, 0.0037, (float(low), float(high)))
    assert said.replace("\xa0", " ") == "< 0.36 % (0 of 1,024 paths)"


@pytest.mark.parametrize(
    ("before", "after", "more"),
    [(3 / 256, 51 / 256, 1), (3 / 256, 107 / 256, 0), (19 / 1024, 72 / 1024, 2), (0.01, 0.02, 0)],
)
def test_before_and_after_as_printed_are_as_far_apart_as_the_printed_change(before, after, more):
    change = after - before
    low, high = 0.8 * change, 1.2 * change
    assert formats.digits_that_add_up(before, after, low, change, high) == more
    first, last = (float(formats.percent(value, unit=False, more=more)) for value in (before, after))
    shown = formats.point_parts(low, change, high, more)[0]
    decimals = len(shown.partition(".")[2])
    assert round(last - first, decimals) == float(shown)


def test_shares_of_days_are_no_percentages():
    assert formats.how_often(0.0046) == "about 1 day in 220"
    assert formats.how_often(0.95) == "about 95 days in 100"


@pytest.mark.parametrize(
    ("value", "text"),
    [(1234567, "1.23 M USD"), (-12.3, "−12.3 USD"), (999.6e3, "1.00 M USD"), (0, "0 USD"), (np.inf, "unlimited")],
)
def test_money(value, text):
    assert formats.usd(value).replace("\xa0", " ") == text


def test_ticks_have_no_trailing_zeros():
    said = [formats.rounded_usd(value).replace("\xa0", " ") for value in (0, 1e3, 7.5e6, 1.25e8, 10.0, 100.0)]
    assert said == ["0 USD", "1 k USD", "7.5 M USD", "125 M USD", "10 USD", "100 USD"]


def test_axes_in_words():
    assert formats.axis_label("BTC.leverage_cap[1]") == "BTC leverage cap (tier 1)"
    assert formats.axis_label("maintenance_to_initial_ratio") == "maintenance ÷ initial margin"
    assert formats.axis_value("BTC.leverage_cap", 40.0) == "40x"
    assert formats.axis_value("oracle_delay", Seconds(300.0)) == "300\xa0s"
    assert formats.axis_value("traders", "keep_utilisation") == "keep_utilisation"


# ------------------------------------------------------------------------------------------------ verdict


def said(run):
    given = verdict.give(Reading(run))
    return given, f"{given.headline} {given.sentence} {given.sure}".replace("\xa0", " ")


def test_the_verdict_says_change_effect_sureness_horizon_paths_and_start():
    given, text = said(quickstart())
    assert len(text.split()) <= 60
    for words in (
        "Leverage cap 40x → 50x",
        "within 24 h",
        "1,024 paths",
        "(95 % interval, all above zero)",
        "starts in panic (about 1 day in 220)",
    ):
        assert words in text
    assert re.search(r"from [\d.]+ % \([\d.]+–[\d.]+ %\) to [\d.]+ % \([\d.]+–[\d.]+ %\)", text)
    assert given.headline.startswith("No, riskier in panic; above")
    assert re.search(r"change \+[\d.]+ to \+[\d.]+ points", text)
    assert given.question == "Leverage cap 40x → 50x: is it safer?"
    assert given.small_print[0].startswith("Kept: maintenance ÷ initial margin 0.5, oracle delay")
    assert "is that of BTC; those of other markets and tiers change by the same factor" in given.small_print[0]
    assert given.colour == "risky"


@pytest.mark.parametrize(
    ("settings", "headline", "colour"),
    [
        ({"leverage": 0.05, "strength": 40}, "Yes, safer in panic; within the 1 % tolerance.", "safe"),
        ({"strength": 1e-6}, "Unclear whether safer or riskier in stress; within the 1 % tolerance.", "safe"),
        ({"strength": 12}, "No, riskier in panic; above the 1 % tolerance.", "risky"),
        (
            {"strength": 10, "leverage": 1.0},
            "Unclear whether safer or riskier in panic; undecided against the 1 % tolerance.",
            "undecided",
        ),
    ],
)
def test_the_verdict_names_direction_and_standing(settings, headline, colour):
    given, text = said(make_run(SMALL, **settings))
    assert given.headline.replace("\xa0", " ") == headline
    assert given.colour == colour
    assert len(text.split()) <= 60
    not_converged = [line for line in given.small_print if line.startswith("Not converged")]
    assert bool(not_converged) == (colour == "undecided")


def test_what_helps_here_and_harms_there_is_neither_yes_nor_no():
    run = make_run(SMALL, strength=10)
    reading = Reading(run)
    here, there = reading.scenarios
    found = verdict.difference_of(reading, there)
    opposite = found._replace(value=-found.value, low=-found.high, high=-found.low)
    headline = verdict._headline(reading, there, "risky", {here.name: opposite, there.name: found})
    assert headline.replace("\xa0", " ") == "Riskier in panic, safer in stress; above the 1 % tolerance."


def test_the_box_says_of_all_values_tried_which_keep_the_tolerance():
    given, _ = said(make_run({"axes": {"leverage_cap": [10, 40, 50]}, "current": {"leverage_cap": 40}}, strength=12))
    words = given.grid.replace("\xa0", " ")
    assert words.startswith("All values tried in panic (figure below): leverage cap: 10x ")
    assert "50x above 1 %" in words
    given, _ = said(quickstart())
    assert "leverage cap, whatever else is varied: " in given.grid
    assert "depends on the rest" in given.grid


def test_without_a_proposal_the_current_cell_is_judged():
    given, text = said(make_run({"proposed": None} | SMALL))
    assert "→" not in text
    assert "P(mutualised loss within 24 h) is" in text
    assert given.table.columns[:2] == ("scenario", "current")


def test_with_every_regime_the_unconditional_probability_stands_beside():
    given, text = said(make_run({"scenarios": ["calm", "stress", "panic"]} | SMALL))
    assert len(text.split()) <= 60
    alone = {"proposed": None, "axes": {}, "current": {}}
    assert " On a random day: " in said(make_run({"scenarios": ["calm", "stress", "panic"]} | alone))[1]
    assert given.table.rows[-1][0].startswith("a day drawn at random")
    share = dict(zip(*(lambda r: (r.states, r.stationary))(quickstart().study.market.regimes), strict=True))
    reading = Reading(make_run({"scenarios": ["calm", "stress", "panic"]} | SMALL, strength=200))
    expected = sum(share[s.name] * reading.estimate(s, reading.headline).value for s in reading.scenarios)
    assert verdict.unconditional(reading, reading.headline).startswith(formats.percent(expected))


def test_without_calm_the_page_says_that_it_is_no_ordinary_day():
    given, _ = said(quickstart())
    assert any("not the probability of an ordinary day" in line for line in given.small_print)


def test_a_held_regime_is_no_part_of_the_unconditional_probability():
    held = [{"start": name, "held": True, "name": f"{name}_held"} for name in ("calm", "stress", "panic")]
    reading = Reading(make_run({"scenarios": held} | SMALL))
    assert verdict.unconditional(reading, reading.headline) == ""
    assert "held all day" in reading.scenarios[0].given


def test_without_a_tolerance_nothing_is_called_safe(tmp_path):
    run = make_run({"tolerance": None} | SMALL, strength=20)
    given, text = said(run)
    assert given.headline == "No, riskier in panic."
    assert given.colour == "none"
    assert len(text.split()) <= 60
    assert "no cell is called safe or risky" in text_of(page_of(run, tmp_path))


def test_another_event_can_be_asked_for():
    tolerance = {"measure": "fund_exhaustion", "probability": "2%", "confidence": "90%"}
    _, text = said(make_run({"tolerance": tolerance} | SMALL))
    assert "P(insurance fund exhausted within 24 h)" in text


# ------------------------------------------------------------------------------------------------- the page


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    return page_of(quickstart(), folder), folder


def test_the_page_asks_nothing_from_outside(pages):
    page, _ = pages
    targets = re.findall(r"""(?:src|href|action|data|poster)\s*=\s*["']([^"']*)""", page)
    assert targets
    assert all(target.startswith(("#", "data:,")) for target in targets), set(targets)
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", page))
    assert "@import" not in page
    assert "default-src 'none'" in page
    # One script runs, the project's own, by its hash; what the study says stays data.
    data, script = re.findall(r"<script[^>]*>(.*?)</script>", page, re.DOTALL)
    assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() in page.split("<style>")[0]
    assert not set("<>&") & set(data)
    assert json.loads(data)["axes"][0]["label"] == "scenario"


def test_ids_are_unique_and_every_reference_has_its_target(pages):
    page, _ = pages
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:href="|url\()#([^")]+)', page)) <= set(ids)


def test_figures_follow_the_theme_and_have_words_and_a_table(pages):
    page, _ = pages
    assert "currentColor" in page
    assert figures.INK not in page.split("</style>", 1)[1]
    for part in re.findall(r"<figure>.*?</figure>", page, re.S):
        assert re.search(r'role="img" aria-label="[^"]{20,}"', part)
    assert len(re.findall("<figure>", page)) <= len(re.findall("<table ", page))


def test_every_section_is_there(pages):
    page, _ = pages
    words = text_of(page)
    for title in ("across the parameters", "Current and proposed in numbers", "How large a loss", "Who pays"):
        assert title in words
    for title in ("Market by market", "Assumptions and limits", "How to reproduce"):
        assert title in words
    for said_of_the_study in (
        "Traders are static",
        "synthetic",
        "attributed to markets",
        "perpstress run",
        "c0ffee",
        "20261122",
    ):
        assert said_of_the_study in words


def test_the_same_run_gives_the_same_bytes(tmp_path):
    run = make_run(SMALL)
    for name in ("once", "again"):
        report.write(run, tmp_path / name)
    once, again = ({f.name: f.read_bytes() for f in (tmp_path / name).iterdir()} for name in ("once", "again"))
    assert once == again


def test_everything_from_the_study_is_escaped(tmp_path):
    nasty = 'Is <script>alert(1)</script> & "x" | $y_{2}$ `safe`? <img src=x onerror=alert(2)>'
    run = make_run({"question": nasty} | SMALL)
    page = page_of(run, tmp_path)
    assert "<script>alert" not in page
    assert page.count("<script") == 2
    assert "<img" not in page
    assert "&lt;script&gt;" in page
    markdown = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "<script" not in markdown
    assert r"\|" in markdown


def test_markdown_shows_figures_that_exist_and_whole_tables(pages):
    _, folder = pages
    text = (folder / "report.md").read_text(encoding="utf-8")
    shown = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)
    assert {"heat-map.png", "loss-exceedance.png", "who-pays.png"} <= set(shown)
    assert all((folder / name).read_bytes().startswith(b"\x89PNG") for name in shown)
    for block in re.findall(r"(?:^\|.*\n)+", text, re.M):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1


def test_the_terminal_shows_the_verdict_and_takes_brackets_as_text():
    console = Console(width=100, file=io.StringIO())
    scenario = {"start": "panic", "name": "[red]panic[/red]"}
    console.print(report.summary(make_run({"scenarios": [scenario]} | SMALL)))
    said_there = console.file.getvalue()
    assert "[red]panic[/red]" in said_there
    assert "tolerance" in said_there
    assert "current" in said_there


def test_importing_the_report_does_not_import_matplotlib():
    code = "import sys, stress.report; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# ------------------------------------------------------------------------------------------------ heat maps


def test_cells_that_the_interval_leaves_open_are_hatched_and_marked():
    reading = Reading(quickstart())
    page = next(block for block in report.compose(quickstart()).sections[0].blocks if hasattr(block, "table"))
    standings = {row[-1] for row in page.table.rows}
    assert standings == {"safe", "risky", "undecided (not converged)"}
    assert len(page.panels) == len(reading.scenarios)
    assert len(page.table.rows) == 2 * 5 * 5


def test_the_border_runs_only_between_cells_on_either_side_and_says_where_one_is_undecided():
    def cell(shown, straddles=False):
        return figures.HeatCell(f"{shown}", shown, above=shown > 0.05, straddles=straddles)

    low, high, unsure = cell(0.01), cell(0.2), cell(0.06, straddles=True)
    edges = list(figures._border([[low, high], [low, low]]))
    assert sorted(edges) == [(((0.5, 0.5), (-0.5, 0.5)), True), (((0.5, 1.5), (0.5, 0.5)), True)]
    assert list(figures._border([[low, unsure, high]])) == [(((0.5, 0.5), (-0.5, 0.5)), False)]
    assert not list(figures._border([[high, high], [high, high]]))


@pytest.mark.parametrize(
    "changes",
    [
        {"axes": {}, "current": {}, "proposed": None},
        {"axes": {"oracle_delay": ["0s", "60s"]}, "current": {}, "proposed": None},
        {
            "axes": {"BTC.leverage_cap": [20, 40], "traders": ["keep_utilisation", "add_collateral"]},
            "current": {},
            "proposed": {"BTC.leverage_cap": 20},
        },
        {"axes": {"leverage_cap": [40, 50], "volatility": [0.5, 1, 2]}, "current": {}},
        {"axes": {"leverage_cap": [13, 17]}, "current": {}, "proposed": None},
        {
            "protocol": [str(CONFIGS / f"protocols/{name}.yaml") for name in ("reference", "hyperliquid")],
            "axes": {"margin_mode": ["cross", "isolated"]},
            "current": {},
            "proposed": {"margin_mode": "isolated"},
        },
    ],
)
def test_other_shapes_of_study(changes, tmp_path):
    words = text_of(page_of(make_run(changes), tmp_path))
    assert "Who pays" in words
    assert ("across the parameters" in words) == bool(changes["axes"])


def test_failed_cells_are_named_and_blank(tmp_path):
    run = make_run(SMALL, failed=[(1, 0)])
    words = text_of(page_of(run, tmp_path))
    assert "Cells without a result" in words
    assert "InvariantViolation: I1" in words
    assert "1 failed" in words
    assert not re.search(r"\bnan\b", words)


# ------------------------------------------------------------------------------------------------- who pays


def test_parts_that_the_rules_exclude_are_not_printed_as_zero(tmp_path):
    venue = {"protocol": str(CONFIGS / "protocols/hyperliquid.yaml"), "current": {}, "axes": {"leverage_cap": [40, 50]}}
    words = text_of(page_of(make_run(venue), tmp_path))
    assert "cannot occur under these rules" in words
    reading = Reading(make_run(venue))
    assert reading.possible("socialized_loss", reading.headline) is False


def test_the_age_of_the_previous_mark_is_printed():
    hyperliquid = str(CONFIGS / "protocols/hyperliquid.yaml")
    axes = {"axes": {"leverage_cap": [40]}, "current": {}, "proposed": None, "tolerance": None}
    both = make_run({**axes, "protocol": [STUDY["protocol"], hyperliquid]})
    said = [line for block in limits.section(Reading(both)).blocks for line in getattr(block, "items", ())]
    ages = [line for line in said if "pays the previous mark" in line]
    assert len(ages) == 1  # the reference venue closes at the bankruptcy price
    assert f"60{formats.NBSP}s old in panic" in ages[0]
    quiet = Reading(make_run({**axes, "protocol": hyperliquid}, silent=("adl_shortfall",)))
    assert "no contract was deleveraged here" in str(limits.section(quiet).blocks)


def test_a_number_that_is_there_is_never_hidden():
    run = make_run(SMALL | {"protocol": str(CONFIGS / "protocols/hyperliquid.yaml"), "current": {}})
    run.data["mean_socialized_loss"][:] = 5.0
    reading = Reading(run)
    assert reading.possible("socialized_loss", reading.headline)


# ------------------------------------------------------------------------------------------------- replays


@pytest.fixture
def in_a_folder_with_prices(tmp_path, monkeypatch):
    (tmp_path / "prices.parquet").write_bytes(b"only named by the study here, never read")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_replay_is_an_outcome_and_not_a_probability(in_a_folder_with_prices):
    run = replay_run()
    words = text_of(page_of(run, in_a_folder_with_prices / "out"))
    assert "How sure: one historical path: an outcome, not a probability." in words
    assert "First liquidation: 2025-10-10 21:13 UTC" in words
    assert "First auto-deleveraging: 2025-10-10 21:19 UTC" in words
    assert "95 %" not in words.split("Who pays")[0]
    assert "1 day in" not in words
    assert "VaR" not in words
    assert "Every cell on these paths" in words


@pytest.mark.parametrize(
    ("shares", "other"), [([0], "at the venue's share"), ([0.3], "without own impact"), ([0, 0.3], "")]
)
def test_a_replay_run_one_way_only_says_so(in_a_folder_with_prices, shares, other):
    run = make_run({"scenarios": [REPLAY | {"impact_share": shares}]} | SMALL, trace=traced)
    words = str(limits.section(Reading(run)).blocks)
    assert ("replayed one way only" in words) == bool(other)
    assert other in words


def test_what_happened_is_held_against_the_event_in_its_own_terms(in_a_folder_with_prices):
    fact = {"of": "a venue", "measure": "adl_share", "value": 0.382, "known": "measured", "source": "its fills"}
    axes = {"axes": {"leverage_cap": [40, 50], "depth": [1.0, 0.1]}, "current": {"leverage_cap": 40}}
    run = make_run({"scenarios": [{**REPLAY, "realised": [fact]}], "data_hashes": {}} | axes, trace=traced)
    *_, facts, every = replays.section(Reading(run)).blocks
    (row,) = facts.rows
    # 17 steps of 7.5 M USD by order or takeover, 6 steps of 1.65 M USD by deleveraging, which closes an account too.
    assert row[0] == "crash: deleveraged, share of liquidated"
    assert row[1:3] == (formats.percent(9.9 / (127.5 + 9.9)), formats.percent(0.382))
    assert every.columns[:3] == ("path", "depth", "leverage cap")
    assert [cells[1:3] for cells in every.rows] == [("1", "40x"), ("1", "50x"), ("0.1", "40x"), ("0.1", "50x")]
    assert every.columns[-1] == "deleveraged, share of all closed"
    (lead,) = one_change.section(Reading(run)).blocks[0].items
    assert "single paths, so outcomes without intervals" in lead
    assert "95 %" not in lead


def test_a_replay_beside_regimes_keeps_the_probabilities_of_the_regimes(in_a_folder_with_prices):
    run = make_run({"scenarios": ["panic", REPLAY]} | SMALL, trace=traced)
    given, text = said(run)
    assert "starts in panic" in text
    assert [row[0] for row in given.table.rows] == ["panic: given a day that starts in panic (about 1 day in 220)"]
    assert "crash" in text_of(page_of(run, in_a_folder_with_prices / "out"))


# ------------------------------------------------------------------------------------------------- every dimension


def test_every_cell_of_every_dimension_has_its_words_and_a_large_grid_names_what_is_left_out(monkeypatch):
    reading = Reading(quickstart())
    (whole,) = explorer.section(reading).blocks
    assert "Left out" not in whole.caption
    assert len(whole.data["views"]) == 4 + 4 * (1 + len(reading.study.markets))
    monkeypatch.setattr(explorer, "_BUDGET", 60_000)
    (part,) = explorer.section(reading).blocks
    kept = [view["measure"] for view in part.data["views"]]
    assert kept[0] == "P(mutualised loss)"
    assert "mean deleveraged notional, DOGE" in part.caption
    assert len(kept) + part.caption.split("holds them): ")[1].count(";") + 1 == len(whole.data["views"])
    assert len(json.dumps(part.data["views"], ensure_ascii=False)) < 80_000
    view, sizes = part.data["views"][0], [len(axis["values"]) for axis in part.data["axes"]]
    assert len(view["cells"]) == np.prod(sizes)
    scenario = reading.scenarios[1]
    at = dict.fromkeys(reading.cell_axes, 1)
    flat = np.ravel_multi_index((1, *at.values()), sizes)
    assert str(reading.estimate(scenario, at)) in view["entries"][view["cells"][flat]][2]


# ------------------------------------------------------------------------------------------------- contagion


def shocked_run():
    shocks = [
        {"name": f"{market} down", "shocks": {market: -0.3}, "over": "10m", **({"on": "panic"} if drawn else {})}
        | ({"name": f"{market} down in panic"} if drawn else {})
        for drawn in (False, True)
        for market in ("BTC", "ETH")
    ]
    changes = {"scenarios": shocks, "axes": {"margin_mode": ["cross", "isolated"]}, "current": {}, "tolerance": None}
    run = make_run(changes | {"proposed": {"margin_mode": "isolated"}}, strength=0.2)
    run.data = contagion.extend(run.data, run.plan.shocked)
    return run


def test_contagion_has_a_matrix_for_each_kind_of_shock_with_intervals_where_paths_are_drawn(tmp_path):
    run = shocked_run()
    page = page_of(run, tmp_path)
    words = text_of(page)
    assert "one path each: outcomes, not probabilities" in words
    assert "means over 1,024 paths with 95 % intervals" in words
    assert words.index("Contagion: cross against isolated") < words.index("in numbers")
    single, drawn = re.findall(
        r'<table aria-label="Cross minus isolated in aggregate[^"]*">.*?</table>', page, re.DOTALL
    )
    assert " to " not in single.split("<tbody>")[1]
    assert drawn.split("<tbody>")[1].count(" to ") == 2 * 4
    assert (tmp_path / "contagion-0.png").exists()
    assert (tmp_path / "contagion-1.png").exists()


def test_a_difference_whose_interval_holds_zero_is_marked_in_words_and_in_the_figure(monkeypatch):
    run = shocked_run()
    drawn = list(run.data["shock"].values).index("BTC down in panic")
    low, high = (run.data[f"contagion_mutualised_loss{end}"] for end in ("_low", "_high"))
    low[drawn], high[drawn] = [-1.0, 2.0, 2.0, 2.0], [3.0, 5.0, 5.0, 5.0]
    seen = []
    draw = figures.matrix
    monkeypatch.setattr(figures, "matrix", lambda *given: seen.append(given) or draw(*given))
    blocks = contagion_pages.section(Reading(run)).blocks
    table = next(block.table for block in blocks if getattr(block, "name", "") == "contagion-1")
    marked = {row[:2]: "zero included" in row[-1] for row in table.rows}
    assert marked["BTC", "BTC"]
    assert not marked["BTC", "ETH"]
    (unsure,) = [given[6] for given in seen if given[0] == "mutualised loss, difference" and given[6].any()]
    assert unsure[0].tolist() == [True, False, False, False]


# ---------------------------------------------------------------------------------------- venues side by side


def test_venues_are_compared_where_nothing_is_proposed(tmp_path):
    protocols = [str(CONFIGS / f"protocols/{name}.yaml") for name in ("reference", "hyperliquid", "gmx-v2")]
    changes = {"protocol": protocols, "axes": {}, "current": {}, "proposed": None, "tolerance": None}
    run = make_run(changes | {"markets": ["BTC", "ETH", "SOL", "DOGE"]})
    run.data["mean_fund_paid"][:] = 0.0
    reading = Reading(run)
    assert [name for name, _ in reading.shown] == ["reference", "hyperliquid", "gmx-v2"]
    given = verdict.give(reading)
    assert given.headline == "3 venues, one book, the same paths."
    assert [row[0] for row in given.table.rows] == ["reference", "hyperliquid", "gmx-v2"]
    assert not reading.possible("fund_paid", reading.shown[2][1])  # gmx-v2 has no insurance fund
    words = text_of(page_of(run, tmp_path))
    assert "backstop vault or pool" in words
    assert "The venues in numbers" in words


def test_labels_name_the_values_of_an_axis(tmp_path):
    labels = {"leverage_cap": ["cap of today", "higher cap"]}
    run = make_run(SMALL | {"labels": labels, "proposed": None, "tolerance": None})
    words = text_of(page_of(run, tmp_path))
    assert "higher cap" in words
    assert "leverage cap higher cap" not in words


# ------------------------------------------------------------------------------------------------ funding


def test_funding_promised_and_paid_stand_as_yearly_rates_with_intervals():
    # 1e-4 over a day is 3.65 % a year; what was paid lies near 0; three turns a path.
    found = report.funding.section(report.Reading(quickstart()))
    table = next(block for block in found.blocks if hasattr(block, "rows"))
    row = dict(zip(table.columns, table.rows[0], strict=True))
    assert row["promised"].replace(chr(160), " ") == "3.7 %"
    assert row["turns per path"] == "3.0"
    bounds = re.findall(r"-?[0-9.]+", row["paid"])
    assert len(bounds) == 3
    assert all(abs(float(bound)) < 0.1 for bound in bounds)
