"""Order book: average price, the book's end, the slippage cap, and covered fills against closed forms.

Linear impact of 1 % a depth, depth 100 unless said, so that flow z moves the price by z percent.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from pydantic import ValidationError

from stress.kernels.venue import BALANCE, CAP, NO_LIMIT, OUTSIDE_BOOK
from stress.mechanisms.linear_impact import average, inverse, response
from stress.mechanisms.order_book import OrderBook, execute
from tests.venues import account_cash, at_rest, one_market_book, one_market_paths, protocol_of, row_of, run_one

pytestmark = pytest.mark.interpreted

RICH = 1e9  # equity that carries any loss


def order(
    quantity,
    *,
    side=1.0,
    price=100.0,
    mark=None,
    depth=100.0,
    flow=0.0,
    bankruptcy=0.0,
    equity=RICH,
    cover=0.0,
    fill="covered",
    **impact,
):
    """Send one order; return (filled, price, limit, flow it added)."""
    rules = protocol_of(
        impact={"rule": "linear_impact", "permanent": 1.0, **impact},
        execution=[{"rule": "order_book", "deficit_fill": fill}],
    )
    venue = at_rest(rules, one_market_book([1e9], [side * 0.5], [100.0]), [100.0])
    state = venue.markets[0]
    state["depth"], state["permanent_flow"], state["world"] = depth, flow, price
    state["mark"] = price if mark is None else mark
    state["mid"] = price * (1 + 0.01 * flow) if venue.terms[0]["additive"] == 0 else price + flow
    filled, paid, counterparty, limit = execute(
        venue, 0, 0, quantity, bankruptcy, equity, 0.0, cover, 1, response, average, inverse, None
    )
    assert counterparty == OUTSIDE_BOOK
    return filled, paid, limit, state["permanent_flow"] - flow


def test_a_fill_pays_the_mean_over_the_flow_it_adds():
    assert order(200.0) == (200.0, pytest.approx(99.0), NO_LIMIT, pytest.approx(-2.0))  # 0 to -2 %
    assert order(200.0, side=-1.0) == (200.0, pytest.approx(101.0), NO_LIMIT, pytest.approx(2.0))
    assert order(200.0, flow=-1.0) == (200.0, pytest.approx(98.0), NO_LIMIT, pytest.approx(-2.0))  # -1 to -3 %


def test_an_infinite_depth_has_no_impact():
    assert order(1e12, depth=np.inf) == (1e12, 100.0, NO_LIMIT, 0.0)


def test_a_book_without_depth_fills_nothing():
    assert order(1.0, depth=0.0) == (0.0, 0.0, CAP, 0.0)


def test_the_book_ends_at_the_largest_impact():
    # 5 % is five depths: 500, at the mean of 0 and -5 %.
    assert order(600.0, impact_max=0.05) == (pytest.approx(500.0), pytest.approx(97.5), CAP, pytest.approx(-5.0))
    assert order(500.0, impact_max=0.05)[2] == NO_LIMIT  # the end itself is filled
    assert order(600.0, impact_max=0.05, side=-1.0)[:2] == (pytest.approx(500.0), pytest.approx(102.5))


@pytest.mark.parametrize("flow", [-5.0, -6.0])
def test_a_book_at_or_beyond_its_end_fills_nothing(flow):
    assert order(1.0, impact_max=0.05, flow=flow) == (0.0, 0.0, CAP, 0.0)


def test_the_slippage_cap_counts_from_the_mid_of_the_order():
    assert order(900.0, slippage_cap=0.02)[0] == pytest.approx(200.0)
    # At -1 % the mid is 99; 2 % below it is 97.02, at a flow of -2.98: room for 1.98 depths.
    assert order(900.0, slippage_cap=0.02, flow=-1.0)[0] == pytest.approx(198.0)
    # Buying from there: 2 % above 99 is 100.98, at 0.98: 1.98 depths.
    assert order(900.0, slippage_cap=0.02, flow=-1.0, side=-1.0)[0] == pytest.approx(198.0)


def test_the_nearer_of_cap_and_end_binds():
    assert order(900.0, slippage_cap=0.02, impact_max=0.01)[0] == pytest.approx(100.0)
    assert order(900.0, slippage_cap=0.02, impact_max=0.9)[0] == pytest.approx(200.0)


def test_no_slippage_cap_is_no_cap_for_a_buyer_after_a_crash_of_the_own_book():
    # At a flow of -60 the mid is 40; the book ends at +90 %: 150 depths, although 190 is far above twice 40.
    assert order(1e6, side=-1.0, flow=-60.0)[0] == pytest.approx(15_000.0)


def test_additive_impact_and_its_cap_are_on_the_initial_price():
    # World 80, initial 100: a flow of -2 moves by 2 USD, the mean is 79.
    assert order(200.0, price=80.0, additive=True)[:2] == (200.0, pytest.approx(79.0))
    # 2 % of the mid of 80 is 1.6 USD: 1.6 depths.
    assert order(900.0, price=80.0, additive=True, slippage_cap=0.02)[0] == pytest.approx(160.0)


# ------------------------------------------------------------------------------- covered fills


def test_a_solvent_account_pays_slippage_with_all_of_its_equity_and_then_with_cover():
    # Loss of q contracts at mark 92: q x 92 x 1 % x q / (2 x 1,000) = 0.00046 q^2 <= 10 + 5.
    filled, price, limit, _ = order(900.0, price=92.0, depth=1000.0, equity=10.0, cover=5.0)
    assert filled == pytest.approx(math.sqrt(15 / 0.00046), rel=1e-12)
    assert filled * (92.0 - price) == pytest.approx(15.0, rel=1e-12)
    assert filled * (92.0 - price) <= 15.0
    assert limit == BALANCE


def test_an_insolvent_account_needs_cover_for_every_contract_below_its_bankruptcy_price():
    # 3 q + 0.00046 q^2 = 200, mark 92, bankruptcy price 95.
    filled, price, limit, flow = order(900.0, price=92.0, depth=1000.0, bankruptcy=95.0, equity=-2700.0, cover=200.0)
    assert filled == pytest.approx((math.sqrt(9 + 4 * 0.00046 * 200) - 3) / (2 * 0.00046), rel=1e-12)
    assert filled * (95.0 - price) == pytest.approx(200.0, rel=1e-12)
    assert filled * (95.0 - price) <= 200.0
    assert (limit, flow) == (BALANCE, pytest.approx(-filled / 1000.0))


def test_short_positions_mirror():
    filled, price, limit, flow = order(
        900.0, side=-1.0, price=108.0, depth=1000.0, bankruptcy=105.0, equity=-2700.0, cover=200.0
    )
    # 3 q + 108 x 1 % / 2,000 q^2 = 200.
    assert filled == pytest.approx((math.sqrt(9 + 4 * 0.00054 * 200) - 3) / (2 * 0.00054), rel=1e-12)
    assert filled * (price - 105.0) == pytest.approx(200.0, rel=1e-12)
    assert (limit, flow) == (BALANCE, pytest.approx(filled / 1000.0))


def test_an_empty_fund_covers_nothing_and_the_book_is_left_alone():
    assert order(900.0, price=92.0, bankruptcy=95.0, equity=-2700.0) == (0.0, 0.0, BALANCE, 0.0)


def test_a_mid_above_the_bankruptcy_price_needs_no_cover_at_first():
    # Mark 92 is stale, V = 97: filled until the mean is 95: 97 (1 - 0.01 z / 2) = 95, z = 4.1237 depths.
    filled, price, limit, _ = order(900.0, price=97.0, mark=92.0, bankruptcy=95.0, equity=-300.0)
    assert filled == pytest.approx(100.0 * 2 * (2 / 97) / 0.01)
    assert (price, limit) == (pytest.approx(95.0), BALANCE)


def test_a_loss_equal_to_the_cover_is_covered():
    assert order(100.0, price=91.0, mark=92.0, depth=np.inf, bankruptcy=95.0, equity=-300.0, cover=400.0) == (
        100.0,
        91.0,
        NO_LIMIT,
        0.0,
    )
    assert order(100.0, price=91.0, mark=92.0, depth=np.inf, bankruptcy=95.0, equity=-300.0, cover=200.0)[
        0
    ] == pytest.approx(50.0)


def test_the_end_of_the_book_and_the_cover_may_both_bind():
    # The book would give 500, the cover 200 / 3 at most.
    filled, _, limit, _ = order(
        900.0, price=92.0, depth=100.0, impact_max=0.05, bankruptcy=95.0, equity=-2700.0, cover=200.0
    )
    assert filled < 200.0 / 3.0
    assert limit == BALANCE


def test_any_fills_without_cover():
    assert order(900.0, price=92.0, depth=np.inf, bankruptcy=95.0, equity=-2700.0, fill="any") == (
        900.0,
        92.0,
        NO_LIMIT,
        0.0,
    )


# ---------------------------------------------------------------------------------- in a venue


def test_the_first_in_the_queue_takes_the_cover():
    # Two accounts long 100 at 100 with cash 500, at 92 with a bankruptcy price of 95. Fund 450: the first
    # needs 300 of it, the second is left with 150, half of its contracts.
    book = one_market_book([500.0, 500.0], [100.0, 100.0], [100.0, 100.0])
    protocol = protocol_of(waterfall=[{"rule": "insurance_fund", "insurance_fund": 450.0}])
    venue, out = run_one(protocol, book, one_market_paths([100.0, 92.0]))
    assert row_of(venue, "A0") == (0.0, 0.0)
    assert row_of(venue, "A1")[0] == pytest.approx(50.0)
    cash = account_cash(venue)
    assert cash["A0"] == pytest.approx(0.0)
    assert cash["A1"] == pytest.approx(500.0 - 50.0 * 8.0 + 150.0)
    assert cash["insurance_fund"] == pytest.approx(0.0)
    assert out["exhaustion_step"] == 1
    # The open half is 50 x 3 below water.
    assert out["unresolved_bad_debt"] == pytest.approx(150.0)


def test_fills_take_the_mid_and_margin_the_mark():
    # Mid 2 % below the mark: sold at 96.5 x 0.98; what the book got beyond the mark is named.
    paths = one_market_paths([100.0, 96.5], premium=[0.0, -0.02])
    venue, out = run_one(protocol_of(), one_market_book([60.0], [10.0], [100.0]), paths)
    assert out["fills"] == 0  # 60 - 35 = 25 is above 24.125: the mark does not know the mid
    venue, out = run_one(protocol_of(), one_market_book([58.0], [10.0], [100.0]), paths)
    assert venue.accounts[0]["cash"] == pytest.approx(58.0 + 10.0 * (96.5 * 0.98 - 100.0))
    assert out["paid_to_book"] == pytest.approx(19.3)


def test_deficit_fill_is_one_of_two():
    with pytest.raises(ValidationError, match="deficit_fill"):
        OrderBook(deficit_fill="none")
