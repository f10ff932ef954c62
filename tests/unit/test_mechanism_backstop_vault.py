"""Backstop vault: who is taken, at what price, how much, and how it is sold again.

A is long 64 at 100; maintenance is 1/32 of notional, so that at 96 the requirement is 192 and half of it
96, exactly. The book has no depth unless said, so that everything reaches the vault.
"""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from stress.kernels.venue import LIQUIDATE
from stress.mechanisms.backstop_vault import BackstopVault
from tests.venues import (
    account_cash,
    book_of,
    one_market_book,
    one_market_paths,
    paths_of,
    protocol_of,
    row_of,
    run_one,
)

pytestmark = pytest.mark.interpreted

MARGIN = {"rule": "tiered_margin", "markets": {"default": [{"leverage_cap": 16, "maintenance_to_initial_ratio": 0.5}]}}
CRASH = [100.0, 96.0]


def venue_of(book, block, waterfall=(), **rule):
    vault = {"rule": "backstop_vault", "vault_equity": 10_000.0, "takeover_below": 0.5, **rule}
    stages = {"margin": MARGIN, "execution": [{"rule": "order_book"}, vault], "waterfall": list(waterfall)}
    return run_one(protocol_of(**stages), book, block)


def take(cash, *, size=64.0, world=CRASH, depth=0.0, **rule):
    return venue_of(one_market_book([cash], [size], [100.0]), one_market_paths(world, depth=depth), **rule)


def test_the_account_goes_whole_at_its_bankruptcy_price():
    # Cash 351: equity 351 - 256 = 95 < 96; bankruptcy price 96 - 95/64 = 94.515625.
    venue, out = take(351.0)
    assert account_cash(venue)["A0"] == 0.0
    assert row_of(venue, "A0") == (0.0, 0.0)
    assert row_of(venue, "vault") == (64.0, 64.0 * 94.515625)
    assert out["backstop_pnl"] == pytest.approx(95.0)  # the account's equity, at the mark
    assert out["provider_default_loss"] == 0.0
    assert out["liquidated_notional"] == 64.0 * 96.0


def test_a_short_goes_alike():
    # Short 64, cash 363, at 104: equity 107, half of 64 x 104 / 32 = 208 is 104: not taken; with 359: 103.
    assert row_of(take(363.0, size=-64.0, world=[100.0, 104.0])[0], "vault") == (0.0, 0.0)
    venue, out = take(359.0, size=-64.0, world=[100.0, 104.0])
    assert row_of(venue, "vault") == (-64.0, -64.0 * (104.0 + 103.0 / 64.0))
    assert out["backstop_pnl"] == pytest.approx(103.0)


@pytest.mark.parametrize(("cash", "taken"), [(352.0, False), (351.999, True)])
def test_equity_at_the_threshold_is_not_taken(cash, taken):
    # Equity 96 = half of 192: liquidatable, but the vault's threshold is strict.
    assert (row_of(take(cash)[0], "vault")[0] == 64.0) is taken


def test_a_book_that_takes_all_leaves_nothing_to_the_vault():
    venue, _ = take(351.0, depth=np.inf)
    assert row_of(venue, "vault") == (0.0, 0.0)
    assert account_cash(venue)["A0"] == pytest.approx(95.0)


def test_what_the_book_leaves_is_judged_anew():
    # The book (depth 100, ends at 0.1 %) sells 10 at 96 (1 - 0.0005). Left: 54, requirement 162, half 81.
    # Cash 343: equity 87 - 0.48 = 86.52 is above, so the rest stays; with 337 it is 80.52, taken.
    impact = {"rule": "linear_impact", "impact_max": 0.001, "permanent": 1.0}
    for cash, held in ((343.0, 0.0), (337.0, 54.0)):
        vault = {"rule": "backstop_vault", "vault_equity": 10_000.0, "takeover_below": 0.5}
        stages = {"margin": MARGIN, "impact": impact, "execution": [{"rule": "order_book"}, vault], "waterfall": []}
        book = one_market_book([cash], [64.0], [100.0])
        venue, _ = run_one(protocol_of(**stages), book, one_market_paths(CRASH, depth=100.0))
        assert row_of(venue, "vault")[0] == pytest.approx(held)
        assert row_of(venue, "outside_book")[0] == pytest.approx(10.0)


def test_all_positions_of_a_cross_account_go_with_all_of_its_equity():
    book = book_of(("X", "Y"), [702.0], [[(0, 64.0, 100.0), (1, -64.0, 100.0)]])
    venue, out = venue_of(book, paths_of([[[100.0, 100.0], [96.0, 104.0]]], depth=0.0))
    # Equity 702 - 512 = 190, requirement 192 + 208 = 400, half 200.
    assert [row_of(venue, "vault", m)[0] for m in (0, 1)] == [64.0, -64.0]
    assert account_cash(venue)["A0"] == 0.0
    assert out["backstop_pnl"] == pytest.approx(190.0)
    assert out["violation"] == 0


def test_an_insolvent_account_costs_the_vault_what_it_owes():
    venue, out = take(200.0)  # equity -56
    assert row_of(venue, "vault")[0] == 64.0
    assert out["provider_default_loss"] == pytest.approx(56.0)
    assert out["mutualised_loss"] == pytest.approx(56.0)


def test_an_insolvent_account_is_left_to_the_layers_below_where_the_rule_says_so():
    adl = [{"rule": "adl_profit_leverage", "adl_price": "mark", "adl_when": "negative_equity"}]
    venue, out = take(200.0, takes_insolvent=False, waterfall=adl)
    assert row_of(venue, "vault") == (0.0, 0.0)
    assert out["adl_notional"] == 64.0 * 96.0
    venue, out = take(256.0, takes_insolvent=False, waterfall=adl)  # equity exactly 0: not yet insolvent
    assert row_of(venue, "vault")[0] == 64.0
    assert out["adl_notional"] == 0.0


@pytest.mark.parametrize(("limit", "taken"), [(6.0, True), (5.999, False)])
def test_the_limit_is_gross_notional_over_the_vaults_equity(limit, taken):
    # 64 x 96 = 6,144 = 6 x 1,024.
    venue, _ = take(351.0, vault_equity=1024.0, takeover_limit=limit)
    assert (row_of(venue, "vault")[0] == 64.0) is taken


def test_what_the_vault_holds_counts_towards_its_limit():
    # 1.5 x 5,000 = 7,500: the first 6,144 fit, the second do not (12,288 over 1.5 x (5,000 + 95)).
    book = one_market_book([351.0, 351.0], [64.0, 64.0], [100.0, 100.0])
    rule = {"vault_equity": 5000.0, "takeover_limit": 1.5, "unwind_share": 0.0}
    venue, _ = venue_of(book, one_market_paths(CRASH, depth=0.0), **rule)
    assert [row_of(venue, name)[0] for name in ("A0", "A1", "vault")] == [0.0, 64.0, 64.0]
    # Positions of opposite sides add up too.
    book = one_market_book([351.0, 359.0], [64.0, -64.0], [100.0, 100.0])
    venue, _ = venue_of(book, one_market_paths([100.0, 96.0, 104.0], depth=0.0), **rule)
    assert [row_of(venue, name)[0] for name in ("A0", "A1", "vault")] == [0.0, -64.0, 64.0]


@pytest.mark.parametrize("equity", [0.0, 95.0])
def test_a_vault_without_equity_accepts_nothing_and_one_that_lost_it_no_more(equity):
    # Two accounts owe 56 each: with nothing the vault takes none, with 95 both (39 is left after the first),
    # and nothing after the second.
    book = one_market_book([200.0, 200.0, 200.0], [64.0, 64.0, 64.0], [100.0] * 3)
    venue, _ = venue_of(
        book, one_market_paths(CRASH, depth=0.0), vault_equity=equity, takeover_limit=1e6, unwind_share=0.0
    )
    open_left = [row_of(venue, f"A{a}")[0] for a in range(3)]
    assert open_left == ([64.0, 64.0, 64.0] if equity == 0.0 else [0.0, 0.0, 64.0])


def test_unwinding_sells_a_share_of_depth_per_step_through_the_book():
    # Taken in step 1 (no depth), sold from step 2 on: a tenth of 200 = 20 a step, then the last 4.
    impact = {"rule": "linear_impact", "impact_at_depth": 0.01, "resilience": "1s"}
    depth = [0.0, 0.0, 200.0, 200.0, 200.0, 200.0]
    left = []
    for end in range(2, 7):
        vault = {"rule": "backstop_vault", "vault_equity": 1e4, "takeover_below": 0.5, "unwind_share": 0.1}
        stages = {"margin": MARGIN, "impact": impact, "execution": [{"rule": "order_book"}, vault], "waterfall": []}
        book = one_market_book([351.0], [64.0], [100.0])
        paths = one_market_paths([100.0] + [96.0] * (end - 1), depth=np.array(depth[:end]))
        venue, out = run_one(protocol_of(**stages), book, paths)
        left.append(row_of(venue, "vault")[0])
    assert left == pytest.approx([64.0, 44.0, 24.0, 4.0, 0.0])
    # Each sale of 20 moves the price by 0.1 % and pays the half of it; the flow is gone a step later.
    sold = 3 * 20.0 * 96.0 * (1 - 0.0005) + 4.0 * 96.0 * (1 - 0.0001)
    assert out["backstop_pnl"] == pytest.approx(sold - 64.0 * 94.515625, rel=1e-12)
    assert out["liquidated_notional"] == 64.0 * 96.0  # the takeover, not the sales


def test_no_unwinding_while_liquidation_is_blocked():
    blocked = np.array([[0, 0, LIQUIDATE]], np.uint8)
    paths = one_market_paths([100.0, 96.0, 96.0], depth=np.array([0.0, 0.0, 1e9]), venue_outage=blocked)
    venue, _ = venue_of(one_market_book([351.0], [64.0], [100.0]), paths, unwind_share=1.0)
    assert row_of(venue, "vault")[0] == 64.0


def test_the_vault_may_gain():
    # Taken at 94.52, sold at 100.
    paths = one_market_paths([100.0, 96.0, 100.0], depth=np.array([0.0, 0.0, np.inf]))
    _, out = venue_of(one_market_book([351.0], [64.0], [100.0]), paths, unwind_share=1.0)
    assert out["backstop_pnl"] == pytest.approx(351.0)  # all the cash that A brought, since 100 was its entry
    assert (out["provider_default_loss"], out["mutualised_loss"]) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("key", "value"),
    [("vault_equity", -1.0), ("takeover_below", 0.0), ("takeover_limit", 0.0), ("unwind_share", -0.1), ("floor", 1.0)],
)
def test_parameters_that_make_no_sense_are_refused(key, value):
    with pytest.raises(ValidationError, match=key):
        BackstopVault(**{"vault_equity": 1.0, "takeover_below": 0.5, key: value})


@pytest.mark.parametrize(("limit", "held"), [(None, 128.0), (0.05, 64.0), (0.06, 128.0)])
def test_the_vault_stops_in_a_market_in_which_it_lost_its_share(limit, held):
    # It takes 64 at 94.515625 as above and loses 545 of 10,000 by 86, where the second account (cash 961) has 65 of 172 due.
    book = one_market_book([351.0, 961.0], [64.0, 64.0], [100.0, 100.0])
    paths = one_market_paths([100.0, 96.0, 86.0], depth=0.0)
    venue, out = venue_of(book, paths, loss_limit=limit, takes_insolvent=False)
    assert row_of(venue, "vault")[0] == held
    assert out["violation"] == 0
