"""Grandfathered positions: which rates they keep, and what the share that turns over meets."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from stress import engine
from stress.config import load_study
from stress.design import plan
from stress.errors import StudyError
from stress.report.limits import _traders
from stress.traders import respond, turned_over
from tests.venues import one_market_book, one_market_paths, protocol_of

STUDIES = Path(__file__).parents[2] / "configs" / "studies"


def capped(leverage):
    tiers = [{"above": 0, "leverage_cap": leverage, "maintenance_to_initial_ratio": 0.5}]
    return protocol_of(margin={"rule": "tiered_margin", "markets": {"default": tiers}})


def fills(price, turnover):
    """Long 10 at 100 with 62: equity 62 - 10 x (100 - price)."""
    book = one_market_book([62.0], [10.0], [100.0])
    cell = engine.build_cell(
        capped(10), book, prices=np.array([100.0]), step=60.0, before=capped(20), turnover=turnover
    )
    run = engine.compose(capped(10), grandfathered=cell.grandfathered)
    return int(engine.simulate(run, cell, one_market_paths([100.0, price])).paths[0]["fills"])


@pytest.mark.interpreted
@pytest.mark.parametrize(
    ("price", "turnover", "expected"),
    [
        (97.0, 0.0, 0),  # equity 32; the old rate of 2.5 % asks 24.25
        (96.2, 0.0, 1),  # equity 24 of 24.05
        (97.0, 1.0, 1),  # the new rate of 5 % asks 48.5
        (97.5, 0.5, 0),  # equity 37; half and half asks 36.5625
        (97.4, 0.5, 1),  # equity 36 of 36.525
    ],
)
def test_the_share_that_turned_over_meets_the_new_rate(price, turnover, expected):
    assert fills(price, turnover) == expected


def line(rate):
    return lambda market, size, price: rate * np.abs(size) * price


def test_a_position_is_resized_by_what_both_rates_ask():
    # 2.5 % before; with half turned over 3.75 %: utilisation stays where the size falls to two thirds.
    book = one_market_book([100.0], [10.0], [100.0])
    asked = turned_over(line(0.025), line(0.05), 0.5)
    keys = {"prices": np.array([100.0]), "current": line(0.025), "changed_markets": np.array([True])}
    after = respond(book, "grandfather", proposed=asked, **keys)
    assert after.size == pytest.approx([10.0 * 2 / 3])
    assert after.equity(np.array([100.0])) == pytest.approx([100.0])


@pytest.mark.parametrize("turnover", [0.0, 1.0])
def test_without_turnover_the_same_bytes_with_all_of_it_keep_utilisation(turnover):
    book = one_market_book([100.0, 50.0], [10.0, -3.3], [100.0, 97.0])
    keys = {"prices": np.array([100.0]), "current": line(0.025), "changed_markets": np.array([True])}
    after = respond(book, "grandfather", proposed=turned_over(line(0.025), line(0.05), turnover), **keys)
    same = book if turnover == 0 else respond(book, "keep_utilisation", proposed=line(0.05), **keys)
    assert after.size.tobytes() == same.size.tobytes()
    assert after.cash.tobytes() == same.cash.tobytes()


def study_with(tmp_path, **keys):
    study = load_study(STUDIES / "quickstart.yaml")
    stated = study.resolved() | {"axes": {"leverage_cap": [40, 20]}} | keys
    stated = {key: value for key, value in stated.items() if key not in ("current", "proposed", "tolerance")}
    return type(study)(**stated)


def test_turnover_is_an_axis_of_the_study(tmp_path):
    study = study_with(tmp_path, traders="grandfather", axes={"leverage_cap": [40, 20], "turnover": [0, 0.25, 1]})
    cells = plan(study).cells
    assert [(cell.values["leverage_cap"], cell.turnover) for cell in cells[:4]] == [
        (40, 0.0), (40, 0.25), (40, 1.0), (20, 0.0)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"turnover": 0.5}, "others keep the old ones"),
        ({"traders": "grandfather", "axes": {"leverage_cap": [40], "turnover": [2]}}, "share of positions"),
    ],
)
def test_turnover_without_sense_is_refused(tmp_path, keys, said):
    with pytest.raises(StudyError, match=said):
        plan(study_with(tmp_path, **keys))


def test_rates_that_move_on_a_path_cannot_be_kept():
    study = load_study(STUDIES / "layers.yaml")
    stated = study.resolved() | {"traders": "grandfather"}
    with pytest.raises(StudyError, match="adaptive_margin"):
        plan(type(study)(**stated))


@pytest.mark.parametrize(("shares", "silent"), [((0.0, 0.25), True), ((0.25, 1.0), False)])
def test_the_report_says_what_turns_over_and_where_a_change_cannot_show(shares, silent):
    study = SimpleNamespace(book=SimpleNamespace(kind="snapshot"), traders="grandfather", turnover=0.0)
    plan = SimpleNamespace(cell_axes={"turnover": shares})
    said = " ".join(_traders(SimpleNamespace(study=study, plan=plan, scenarios=())))
    assert "positions keep the margin rates under which they were opened" in said
    assert ("a change of margin cannot show there" in said) == silent
