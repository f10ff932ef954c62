"""Worked examples of the literature on deleveraging, by the shelf's own rules: who gives up what, at which prices.

Chitra (2025), Autodeleveraging: Impossibilities and Optimization, arXiv 2512.01112: five positions (size, collateral, side)
A (1, 2, +), B (1, 2/3, +), C (4, 8/3, -), D (1, 2/19, +), E (1, 10/99, -), all entered at 1. The paper prints bankruptcy
prices at later marks; here they are those of the entry. Not here, since no rule of the shelf states them: a fee of 20 bps of
the mark and 10 bps of the fill, and the ratios of the top winner's equity to the deficit (PTSR, PMR). The newsvendor's fund
is in `test_measures`, water-filling in `test_mechanism_adl_water_filling`.
"""

from __future__ import annotations

import pytest

from stress.kernels.ledger import open_interest
from stress.kernels.margin import loss_beyond_margin
from stress.mechanisms.adl_pro_rata import EQUITY, close_winners, find_winners
from stress.mechanisms.adl_profit_leverage import choose as by_rank
from stress.mechanisms.cover_shortage import quantity as to_cover
from stress.mechanisms.flat_margin import maintenance
from stress.position_prices import bankruptcy_price, liquidation_price
from tests.venues import account_cash, at_rest, one_market_book, one_market_paths, protocol_of, run_one

pytestmark = pytest.mark.interpreted

SIZES = [1.0, 1.0, -4.0, 1.0, -1.0]
COLLATERAL = [2.0, 2 / 3, 8 / 3, 2 / 19, 10 / 99]


def five(rate):
    margin = {
        "rule": "flat_margin",
        "markets": {"default": {"leverage_cap": 1.0 / (2 * rate), "maintenance_to_initial_ratio": 0.5}},
    }
    return protocol_of(margin=margin), one_market_book(COLLATERAL, SIZES, [1.0] * 5)


def test_bankruptcy_prices_of_the_five_positions():
    # A has more collateral than it can lose: its price would be -1, printed as 0.
    found = bankruptcy_price(*five(0.05), [1.0])
    assert max(0.0, found[0]) == 0.0
    assert list(found[1:]) == pytest.approx([1 / 3, 5 / 3, 1 - 2 / 19, 1 + 10 / 99])


def test_liquidation_prices_of_the_five_positions_at_a_tenth():
    # Long (p0 - c / q) / (1 - mu), short (p0 + c / q) / (1 + mu); E's is 109 / 108.9, which the paper rounds to 1.0010.
    found = liquidation_price(*five(0.1), [1.0])
    assert max(0.0, found[0]) == 0.0 or found[0] != found[0]
    expected = [(1 / 3) / 0.9, (5 / 3) / 1.1, (17 / 19) / 0.9, (109 / 99) / 1.1]
    assert list(found[1:]) == pytest.approx(expected)
    assert found[4] == pytest.approx(109 / 108.9)


def winners(layer):
    """Three winners of equity 10, 5 and 1 at a price of 1, each with contracts enough; a bankrupt row asks for 7.5."""
    book = one_market_book([10.0, 5.0, 1.0, 1e3], [-100.0, -100.0, -100.0, 7.5], [1.0] * 4, makers_equity=0.0)
    venue = at_rest(protocol_of(waterfall=[layer]), book, [1.0], steps=0)
    venue.accounts[venue.traders]["cash"] = -1.0  # nobody but the three
    return venue


def test_pro_rata_by_equity_leaves_everyone_the_same_share():
    # A budget of 7.5 over 16 of equity: a haircut of 15/32; (170/32, 85/32, 17/32) stay.
    venue = winners({"rule": "adl_pro_rata", "adl_price": "mark", "adl_when": "negative_equity", "adl_by": "equity"})
    found, _ = find_winners(venue, 0, 1.0)
    close_winners(venue, found, 1.0, 7.5, 1.0, 0.0, EQUITY, maintenance)
    given = [100.0 + row["size"] for row in venue.rows[:3]]
    left = [equity - gave for equity, gave in zip((10.0, 5.0, 1.0), given, strict=True)]
    assert left == pytest.approx([170 / 32, 85 / 32, 17 / 32])


def test_a_queue_takes_all_from_the_first():
    # Here the most levered comes first: the account of equity 1 with 100 contracts.
    layer = {"rule": "adl_profit_leverage", "adl_price": "mark", "adl_when": "negative_equity"}
    assert by_rank(winners(layer), 3, 1.0, 7.5, 1.0, 1, None, None) == (2, 7.5)


def test_open_interest_of_the_five_positions():
    protocol, book = five(0.05)
    venue = at_rest(protocol, book, [1.0], steps=0)
    long, short = open_interest(venue, 0)
    assert (long, short) == (3.0, 5.0)
    assert (1.4 * long, 1.4 * short, 1.4 * (long + short)) == pytest.approx((4.2, 7.0, 11.2))


@pytest.mark.parametrize(
    ("row", "mark", "filled", "price", "printed", "entry_based"),
    [
        (3, 0.98, 0.4, 0.78, 0.0379, 0.0),  # D sells 0.4: at its mark it has 0.0853 to stand for a loss of 0.08
        (4, 1.05, 1.0, 1.55, 0.399, 1.55 - 109 / 99),  # E buys back 1
    ],
)
def test_shortfall_of_a_fill_from_the_entry_and_as_the_paper_prints_it(row, mark, filled, price, printed, entry_based):
    # The paper adds the collateral to the mark of the day: D's 0.98 - 2/19 = 0.8747, E's 1.05 + 10/99 = 1.1510, whatever
    # was lost before. Once equity is negative the kernel charges from the price it is given: so it gives that too.
    protocol, book = five(0.05)
    venue = at_rest(protocol, book, [1.0], steps=0)
    venue.markets[0]["mark"] = mark
    equity = COLLATERAL[row] + SIZES[row] * (mark - 1.0)
    assert max(0.0, loss_beyond_margin(venue, row, filled, price, equity, 0.0)) == pytest.approx(entry_based)
    of_the_day = mark - SIZES[row] * COLLATERAL[row]
    assert loss_beyond_margin(venue, row, filled, price, -1.0, of_the_day) == pytest.approx(printed, abs=5e-4)


def test_walking_the_book():
    # Asks of 1 at 1.0, 3 at 1.1 and 10 at 1.2: buying 5 pays 5.5. A step of a book is a steep segment of the profile.
    step = 1e-9
    profile = [(1.0, step), (1.0 + step, 0.1), (4.0, 0.1 + step), (4.0 + step, 0.2), (14.0, 0.2 + step)]
    protocol = protocol_of(
        impact={"rule": "table_impact", "profile": profile},
        execution=[{"rule": "order_book", "deficit_fill": "any"}],
    )
    # Short 5 from 1.0 with 0.1: due at once, and bought back whole.
    venue, out = run_one(protocol, one_market_book([0.1], [-5.0], [1.0]), one_market_paths([1.0, 1.0], depth=1.0))
    assert out["fills"] == 1
    assert account_cash(venue)["A0"] - 0.1 == pytest.approx(5.0 - 5.5)


@pytest.mark.parametrize(("collateral", "cost"), [(0.1, 0.0), (0.095, 0.002)])
def test_greedy_partial_liquidation_with_linear_impact_is_the_smaller_root(collateral, cost):
    # Long 1 at 0.98 from 1.0, mu = 10 %, a fill of q costs alpha / 2 q^2 + tau: the smallest q that restores the margin solves
    # alpha / 2 q^2 - mu p q + (mu p - e + tau) = 0.
    alpha, mu, price = 0.05, 0.1, 0.98
    protocol, _ = five(0.1)
    protocol = protocol.model_copy(update={"size": protocol_of(size={"rule": "cover_shortage"}).size})
    venue = at_rest(protocol, one_market_book([collateral], [1.0], [1.0]), [1.0], steps=0)
    venue.markets[0]["mark"] = price
    equity = collateral + price - 1.0

    def maintenance(v, m, size, at):
        return mu * abs(size) * at

    def fee(v, r, quantity, *_):
        return 0.5 * alpha * quantity**2 + cost, 0

    missing = mu * price - equity + cost
    root = (mu * price - ((mu * price) ** 2 - 2.0 * alpha * missing) ** 0.5) / alpha
    found = to_cover(venue, 0, 0, equity, mu * price, 0.0, 1, maintenance, fee)
    assert 0.0 < root < 1.0
    assert found == pytest.approx(root, rel=1e-9)
