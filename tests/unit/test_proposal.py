"""The hand-over: what the payload says is what was tested, in raw units too; bounds hold; the text has every part."""

from __future__ import annotations

import copy
import json
import re
import types
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stress import design
from stress.config import load_protocol, load_study
from stress.errors import StudyError
from stress.report import payload, proposal
from stress.report.formats import NBSP
from stress.sweep import Workbench
from tests.unit.test_report import SMALL, make_run

CONFIGS = Path(__file__).parents[2] / "configs"
MARKETS = ("BTC", "ETH", "SOL", "DOGE")
HASHES = {"study_hash": "a" * 32, "result_hash": "b" * 32}


def venue(**axes):
    protocol = load_study(CONFIGS / "studies/quickstart.yaml").protocols[0]
    for name, value in axes.items():
        protocol, _ = design.with_axis(protocol, name.replace("__", "."), value, MARKETS)
    return protocol


@pytest.mark.parametrize("unit", [payload.DURATION, payload.NUMBER, payload.FRACTION])
@given(raw=st.integers(-(10**15), 10**15))
def test_raw_to_human_to_raw_is_the_same_number(unit, raw):
    assert payload.to_raw(payload.to_human(raw, unit), unit, "x") == raw


@given(micro=st.integers(1, 10**9))
def test_human_to_raw_to_human_is_the_same_number(micro):
    value = micro / 1e6
    assert payload.to_human(payload.to_raw(value, payload.NUMBER, "x"), payload.NUMBER) == value


def test_what_the_raw_unit_cannot_hold_is_refused_with_what_it_can():
    with pytest.raises(StudyError, match="whole number of millionths") as refused:
        payload.to_raw(1 / 3, payload.NUMBER, "BTC.maintenance_to_initial_ratio[0]")
    assert "0.333333" in str(refused.value)


def test_a_payload_makes_the_venue_that_was_tested():
    current, proposed = venue(), venue(BTC__leverage_cap=50.0, oracle_delay=payload.to_human(120_000, payload.DURATION))
    handed = json.loads(json.dumps(payload.build(current, proposed, HASHES)))
    assert payload.check(handed, current).model_dump() == proposed.model_dump()
    entries = {entry["parameter"]: entry for entry in handed["changes"]}
    assert entries["BTC.leverage_cap[0]"]["to"] == {"human": 50.0, "raw": 50_000_000}
    assert entries["BTC.leverage_cap[1]"]["from"] == {"human": 20.0, "raw": 20_000_000}
    assert entries["oracle_delay"]["to"] == {"human": 120.0, "raw": 120_000}
    assert handed["study_hash"] == HASHES["study_hash"]


def test_margin_fractions_that_follow_are_told_by_hand():
    found = {change.name: change for change in payload.follows(venue(), venue(BTC__leverage_cap=50.0))}
    assert (found["BTC.initial_margin_fraction[0]"].old, found["BTC.initial_margin_fraction[0]"].new) == (
        1 / 40,
        1 / 50,
    )
    assert found["BTC.maintenance_margin_fraction[0]"].new == 0.5 / 50
    assert not any(name.startswith("ETH") for name in found)


def tampered(change, sign=True):
    current = venue()
    handed = copy.deepcopy(payload.build(current, venue(BTC__maintenance_to_initial_ratio=0.6), HASHES))
    change(handed)
    if sign:
        handed["checksum"] = payload.checksum(handed)
    return handed, current


@pytest.mark.parametrize(
    ("change", "sign", "words"),
    [
        # Maintenance above initial margin: the rule's own bound refuses the raw value.
        (lambda p: p["changes"][0].update(to={"human": 1.2, "raw": 1_200_000}), True, "maintenance_to_initial_ratio"),
        (lambda p: p["changes"][0].update(to={"human": 0.0, "raw": 0}), True, "maintenance_to_initial_ratio"),
        (lambda p: p["changes"][0]["to"].update(raw=700_000), True, "the raw value is 0.7"),
        (lambda p: p["changes"][0].update({"from": {"human": 0.4, "raw": 400_000}}), True, "the venue has 0.5 now"),
        (lambda p: p["changes"][0].update(parameter="BTC.leverage"), True, "no parameter of this name"),
        (lambda p: p["changes"][0]["to"].update(raw=700_000), False, "payload hashes to"),
        (lambda p: p.update(schema=2), True, "reads schema 1"),
    ],
)
def test_a_payload_that_does_not_hold_is_refused(change, sign, words):
    with pytest.raises(StudyError, match=words):
        payload.check(*tampered(change, sign))


def test_a_step_beyond_the_limit_is_refused():
    small, large = venue(insurance_fund=82_000_000.0), venue(insurance_fund=84_000_000.0)
    assert payload.build(venue(), small, HASHES, limit=0.03)
    with pytest.raises(StudyError, match="step limit"):
        payload.build(venue(), large, HASHES, limit=0.03)


def run_with_book(**changed):
    run = make_run({**SMALL, **changed})
    bench = Workbench(run.study)
    run.liquidatable = lambda scenario, cell: bench.liquidatable(0, cell["leverage_cap"])
    run.data.attrs["study_hash"] = run.study.content_hash
    run.diary = {"finished": "2026-11-22T03:00:00+00:00"}
    return run


def test_the_text_has_every_part_and_the_files_agree(tmp_path):
    page = proposal.write(run_with_book(), tmp_path, author="Risk desk")
    text = page.read_text(encoding="utf-8").replace(NBSP, " ")
    places = []
    for title in (
        "Header", "Summary", "Parameters: current → proposed", "Motivation", "Difference on the same paths",
        "across the parameters", "How large a loss", "Who pays", "in numbers", "Immediate effect on the book at t = 0",
        "Assumptions and limits", "Monitoring and rollback", "Specification", "How to reproduce", "Next steps",
        "Disclaimer and licence",
    ):  # fmt: skip
        found = [line for line in text.splitlines() if line.startswith("## ") and title in line]
        assert len(found) == 1, title
        places.append(text.index(found[0]))
    assert places == sorted(places)
    for words in ("| Risk desk |", "2026-11-22", "| BTC leverage cap (tier 0) |", "40,000,000", "ppm of notional"):
        assert words in text, words
    assert re.search(r"\| panic \| proposed \| 0 of \d+ \|", text)
    handed = json.loads(page.with_name("payload.json").read_text())
    for known in ("study_hash", "result_hash", "source_hash"):
        assert handed[known] in text
    assert handed["checksum"] in text
    box = " ".join(line.removeprefix("> ") for line in text.splitlines() if line.startswith("> "))
    assert all(words in box for words in ("riskier", "**By how much:**", "**How sure:**"))
    assert len(box.replace("**By how much:**", "").replace("*", "").split()) <= 60
    printed = text.split("```\n")[1]
    assert json.loads(printed) == {key: handed[key] for key in ("schema", "protocol", "changes", "checksum")}
    assert all((tmp_path / name).is_file() for name in ("heat-map.png", "loss-exceedance.png", "who-pays.png"))


def test_markets_that_change_without_having_been_tried_are_named():
    changed = payload.changes(venue(), venue(leverage_cap=50.0))
    tried = types.SimpleNamespace(study=types.SimpleNamespace(markets=("BTC", "ETH")))
    *_, last = proposal._parameters(tried, changed, []).blocks
    assert "the study simulates BTC, ETH; what changes in SOL, DOGE has no evidence here" in last.items[0]
    tried.study.markets = MARKETS
    assert len(proposal._parameters(tried, changed, []).blocks) == 1


def test_what_the_proposer_says_stands_where_governance_looks_for_it_and_what_is_not_said_is_named(tmp_path):
    words = {
        "motivation": "On 2026-11-01 the fund\nlost a fifth (forum, 2026-11-02).\n\nSecond: <b>x</b>.",
        "why_now": "The cap was raised in haste.",
        "conflicts": "The author holds 3 BTC.",
        "licence": "CC0 1.0",
    }
    whole = proposal.write(run_with_book(), tmp_path / "whole", step_limit=0.3, **words).read_text(encoding="utf-8")
    whole = whole.replace(NBSP, " ")
    motivation = whole.split("## Motivation")[1].split("\n## ")[0]
    assert "On 2026-11-01 the fund lost a fifth (forum, 2026-11-02).\n\nSecond: &lt;b&gt;x&lt;/b&gt;." in motivation
    assert "Today's parameters in panic: P(mutualised loss within 24 h) is" in motivation
    assert "- Why now: The cap was raised in haste." in whole
    assert "| conflicts of interest | The author holds 3 BTC. |" in whole
    assert "Licence of this text: CC0 1.0." in whole
    assert "one parameter is 25.0 %; the stated step limit of 30.0 % holds" in whole
    assert "insurance fund at the start, and a depth within 1 % of the mid of BTC 80.0 M USD" in whole
    silent = proposal.write(run_with_book(), tmp_path / "silent").read_text(encoding="utf-8")
    assert silent.count("not stated") == 5  # author, conflicts, why now, motivation, licence


def test_a_payload_with_the_lower_bound_of_open_interest_above_the_upper_is_refused():
    current = load_protocol(CONFIGS / "protocols/dydx-v4.yaml")
    proposed, _ = design.with_axis(current, "SOL.open_interest_upper", current_of(current, "upper") * 2, MARKETS)
    handed = payload.build(current, proposed, HASHES)
    assert payload.check(handed, current).model_dump() == proposed.model_dump()
    (entry,) = handed["changes"]
    below = current_of(current, "lower") / 2
    entry["to"] = {"human": below, "raw": payload.to_raw(below, payload.NUMBER, "x")}
    handed["checksum"] = payload.checksum(handed)
    with pytest.raises(StudyError, match="open_interest_lower lies below open_interest_upper"):
        payload.check(handed, current)


def current_of(protocol, end):
    found = [p for p in design.parameters(protocol) if p.name == f"SOL.open_interest_{end}"]
    assert len(found) == 1
    return float(found[0].value)


def test_accounts_made_liquidatable_are_counted_by_hand():
    """At a maintenance margin of 99 % of initial margin an account is due that uses more than its equity / 0.99."""
    axes = {"axes": {"maintenance_to_initial_ratio": [0.5, 0.99]}, "current": {}, "proposed": None}
    bench = Workbench(make_run(axes).study)
    prices = bench.source(0).initial_prices
    book = bench.book(bench.plan.cells[1], prices)
    due, notional = bench.liquidatable(0, 1)
    gross = np.abs(book.size) * prices[book.row_market]
    assert notional == pytest.approx(book.per_account(gross))
    # One ratio in every tier: maintenance is that share of initial margin, deductions included.
    cell = bench.plan.cells[1]
    initial = book.per_account(
        bench._initial_margin(cell.protocol)(book.row_market, book.size, prices[book.row_market])
    )
    assert due.tolist() == ((initial > 0) & (book.equity(prices) < 0.99 * initial)).tolist()
    assert not bench.liquidatable(0, 0)[0].any()


def test_without_a_proposal_there_is_nothing_to_hand_over(tmp_path):
    with pytest.raises(StudyError, match="needs a current and another, proposed cell"):
        proposal.write(run_with_book(proposed=None), tmp_path)
    assert not list(tmp_path.iterdir())


def test_names_are_escaped(tmp_path):
    run = run_with_book()
    run.study = run.study.model_copy(update={"question": "<script>alert(1)</script>"})
    assert "<script>" not in proposal.write(run, tmp_path).read_text()
