"""Worked examples of the literature on deleveraging, by the shelf's own rules: who gives up what, at which prices.

Chitra (2025), Autodeleveraging: Impossibilities and Optimization, arXiv 2512.01112: five positions (size, collateral, side)
A (1, 2, +), B (1, 2/3, +), C (4, 8/3, -), D (1, 2/19, +), E (1, 10/99, -), all entered at 1. The paper prints bankruptcy
prices at later marks; here they are those of the entry.
"""

from __future__ import annotations

import pytest

from stress.mechanisms.adl_pro_rata import choose as pro_rata
from stress.mechanisms.adl_profit_leverage import choose as by_rank
from stress.position_prices import bankruptcy_price, liquidation_price
from tests.venues import at_rest, one_market_book, protocol_of

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
    rest, given = 7.5, {}
    while rest > 1e-12:
        row, quantity = pro_rata(venue, 3, 1.0, rest, 1.0, 1)
        given[row] = given.get(row, 0.0) + quantity
        venue.rows[row]["size"] += quantity
        rest -= quantity
    left = [equity - given[row] for row, equity in enumerate((10.0, 5.0, 1.0))]
    assert left == pytest.approx([170 / 32, 85 / 32, 17 / 32])


def test_a_queue_takes_all_from_the_first():
    # Here the most levered comes first: the account of equity 1 with 100 contracts.
    layer = {"rule": "adl_profit_leverage", "adl_price": "mark", "adl_when": "negative_equity"}
    assert by_rank(winners(layer), 3, 1.0, 7.5, 1.0, 1) == (2, 7.5)
