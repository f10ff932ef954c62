"""Nothing is lost at the horizon: what a frozen oracle and a blocked venue hide, the last valuation finds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stress import engine
from stress.config import load_protocol
from stress.kernels.venue import ADL, LIQUIDATE
from tests.property.compositions import PRICES, STEP, books, protocols, rules
from tests.venues import book_of, paths_of

pytestmark = pytest.mark.interpreted

PROTOCOLS = Path(__file__).parents[2] / "configs" / "protocols"
FALLS = st.lists(st.sampled_from([0.0, 0.003, 0.02, 0.07, 0.3]), min_size=1, max_size=12)
# Fees, socialized loss and a fund that deleveraging goes round can make a venue's own acts cost more than the
# crash itself, as can prices of the round before; what is left can only spare losses while prices fall.
SPARING = protocols(
    among={
        "external_feed",
        "oracle_mark",
        "median_of_three_mark",
        "tiered_margin",
        "strict_trigger",
        "full_size",
        "fraction_with_cooldown",
        "cover_shortage",
    },
    funding=None,
    fees=None,
    breakers=[],
    waterfall=st.sampled_from(["adl_pro_rata", "adl_profit_leverage"])
    .flatmap(rules)
    .map(lambda rule: [rule | {"adl_price": "mark" if rule["adl_price"] == "mark" else "bankruptcy"}])
    | st.just([]),
)


def losses(protocol, book, falls):
    """Return the mutualised loss of the free run without impact, and of the run in which nobody sees or acts."""
    world = PRICES[0] * np.exp(-np.cumsum([0.0, *falls]))[None, :, None]
    world = np.broadcast_to(world, (1, len(falls) + 1, len(book.markets)))
    unseen = np.arange(world.shape[1]) > 0
    blind = {"oracle_outage": unseen[None, :, None], "venue_outage": np.where(unseen, LIQUIDATE | ADL, 0)[None]}
    cell = engine.build_cell(protocol, book, prices=world[0, 0], step=STEP)
    composed = engine.compose(protocol)
    return [engine.simulate(composed, cell, paths_of(world, **kind)).paths[0] for kind in ({}, blind)]


@given(SPARING, books(markets=1), FALLS)
def test_a_crash_that_nobody_sees_loses_at_least_as_much_as_one_that_is_met(protocol, book, falls):
    free, blind = losses(protocol, book, falls)
    assert blind["liquidated_notional"] == blind["adl_notional"] == 0.0
    gross = np.abs(book.size).sum() * PRICES[0]
    assert blind["mutualised_loss"] >= free["mutualised_loss"] - 1e-9 * gross


@pytest.mark.parametrize("preset", ["reference", "hyperliquid"])
def test_a_crash_of_both_presets_that_nobody_sees(preset):
    sizes = [2e4, -6e3, 5e5, 4e5]
    cash = [1e5, 4e5, 2.6e6, 4.5e6]
    book = book_of(("BTC",), cash, [[(0, size, 100.0)] for size in sizes])
    protocol = load_protocol(PROTOCOLS / f"{preset}.yaml").model_copy(update={"funding": None})
    free, blind = losses(protocol, book, [0.01] * 60)
    # 100 falls to 54.9: what the longs owe at the end meets the fund first.
    owed = sum(max(0.0, size * 100.0 * (1 - np.exp(-0.6)) - usd) for size, usd in zip(sizes, cash, strict=True))
    assert free["liquidated_notional"] > 0.0
    assert blind["unresolved_bad_debt"] + blind["fund_paid"] == pytest.approx(owed, rel=1e-12)
    assert blind["mutualised_loss"] >= free["mutualised_loss"]
    assert blind["bad_debt"] > free["bad_debt"]
