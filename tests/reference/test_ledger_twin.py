"""The engine against its exact-arithmetic twin: cash, sizes, entries, fund and every part of the loss."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, event, given

from stress import engine
from stress.mechanisms import shelf
from tests.property.compositions import STEP, blocks, books, protocols
from tests.reference.ledger_twin import Tie, Twin

pytestmark = pytest.mark.interpreted


def assert_agrees(protocol, book, block):
    """Hold the engine's balances, positions and losses on one path against the twin's; return the outcome."""
    twin = Twin(protocol, book, block, STEP).run()
    cell = engine.build_cell(protocol, book, prices=block.world[0, 0], step=STEP)
    venue, outcome = engine.replay_venue(engine.compose(protocol), cell, block)
    out, close = outcome.paths[0], float(twin.scale) * 1e-9
    index = venue.markets["funding_index"]
    settled = venue.accounts["cash"].copy()  # with funding due, which the last fill of a row may have settled or not
    for row in venue.rows:
        position = twin.held[row["account"]][m := int(row["market"])]
        settled[row["account"]] -= row["size"] * (index[m] - row["settled_index"])
        twin.cash[row["account"]] -= position.size * (twin.index[m] - position.settled)
        assert abs(row["size"] - float(position.size)) * block.world[0, 0, m] <= close
        assert abs(row["entry_notional"] - float(position.entry)) <= close
    np.testing.assert_allclose(settled, [float(cash) for cash in twin.cash], rtol=0, atol=close)
    for name, exact in twin.parts.items():
        assert abs(out[name] - float(exact)) <= close, name
    return out


@given(protocols(), books(largest=8), blocks(most_steps=60))
def test_the_engine_agrees_with_its_exact_twin(protocol, book, block):
    try:
        out = assert_agrees(protocol, book, block)
    except Tie:
        assume(False)
    event(f"liquidated {out['liquidated_notional'] > 0}")
    event(f"adl {out['adl_notional'] > 0}, shared {out['socialized_loss'] > 0}")


def test_the_twin_knows_the_shelf():
    known = {
        "linear_impact", "square_root_impact", "external_feed", "oracle_mark", "median_of_three_mark",
        "premium_clamp_funding", "divergence_breaker", "staleness_breaker", "tiered_margin", "strict_trigger",
        "full_size", "fraction_with_cooldown", "cover_shortage", "order_book", "backstop_vault", "liquidation_fee",
        "insurance_fund", "adl_pro_rata", "adl_profit_leverage", "socialized_loss",
    }  # fmt: skip
    assert known == shelf().keys()  # a new rule is written into the twin as well
