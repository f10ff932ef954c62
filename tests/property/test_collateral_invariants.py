"""I1, I2, I3 and I9 with collateral beside cash: haircuts, sales, takeovers, freezes, interest. Kernels interpreted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from stress import engine
from stress.accounts.holdings import with_holdings
from stress.kernels.venue import PathBlock
from tests.property.compositions import PRICES, STEP, blocks, books, protocols, rules
from tests.property.test_culling import assert_same_bytes, outcome

pytestmark = pytest.mark.interpreted

ASSET = 5.0  # price of the asset C at t = 0


@st.composite
def venues(draw):
    """A protocol that takes C as collateral, sold on the book or taken over, with or without interest."""
    collateral = draw(rules(draw(st.sampled_from(["collateral_weights", "collateral_skew_discount"]))))
    if collateral["rule"] == "collateral_weights" and draw(st.booleans()):
        collateral |= {"borrow_base_rate": 50.0, "borrow_kink": 0.1, "borrow_slope": 20.0, "interest_interval": "120s"}
    execution = [{"rule": "order_book", "deficit_fill": draw(st.sampled_from(["covered", "any"]))}]
    if draw(st.booleans()):
        execution.insert(0, draw(rules("collateral_takeover")))
    return draw(protocols(collateral=[collateral], execution=execution))


@st.composite
def held(draw):
    """A book whose cross accounts hold a share of their equity in C, after A and B."""
    book = draw(books())
    share = draw(st.sampled_from([0.2, 0.6, 1.0]))
    return with_holdings(book, ["C"], np.array([*PRICES, ASSET]), {"C": share}, {})


@st.composite
def three(draw):
    """Paths of A and B, and of C with moves of its own."""
    block = draw(blocks())
    steps = block.world.shape[1] - 1
    moves = draw(st.lists(st.sampled_from([0.0, 0.0, -0.02, 0.03, -0.2, -0.5]), min_size=steps, max_size=steps))
    world = ASSET * np.exp(np.concatenate([[0.0], np.cumsum(moves)]))[None, :, None]

    def joined(array, last):
        return np.ascontiguousarray(np.concatenate([array, np.broadcast_to(last, (*array.shape[:2], 1))], axis=2))

    return PathBlock(
        block.first_path,
        joined(block.world, world),
        joined(block.depth, draw(st.sampled_from([np.inf, 100.0, 0.0]))),
        joined(block.premium, 0.0),
        joined(block.external_premium, 0.0),
        joined(block.oracle_outage, np.uint8(0)),
        block.venue_outage,
        block.regime,
    )


@given(venues(), held(), three())
def test_collateral_weights_and_discounts_keep_the_ledger(protocol, book, block):
    out = outcome(protocol, book, block, culled=True).paths[0]
    assert out["violation"] == 0
    assert out["ledger_residual"] <= 1e-9
    event(f"sold {out['fills'] > 0}")


@given(venues(), held(), three())
def test_i9_culled_equals_exhaustive_with_collateral(protocol, book, block):
    assert_same_bytes(protocol, book, block)


@given(venues(), held(), three())
def test_a_holding_is_never_sold_short_and_pays_no_funding(protocol, book, block):
    cell = engine.build_cell(protocol, book, prices=block.world[0, 0], step=STEP)
    venue, _ = engine.replay_venue(engine.compose(protocol), cell, block)
    own = (venue.rows["market"] == 2) & (venue.rows["account"] < venue.traders)
    assert (venue.rows["size"][own] >= 0.0).all()
    assert (venue.rows["size"][own] <= cell.start.rows["size"][own]).all()
    assert venue.markets["funding_index"][2] == 0.0
