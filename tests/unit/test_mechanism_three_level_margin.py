"""Three levels: to open, to keep, to be taken over."""

from __future__ import annotations

import pytest

from stress.mechanisms.three_level_margin import close_out, initial, maintenance
from stress.peers.standing import venue_of
from tests.venues import one_market_book, one_market_paths, protocol_of, row_of, run_one

pytestmark = pytest.mark.interpreted

# Lighter BTC: 2 / 1.2 / 0.8 %.
LEVELS = {"leverage_cap": 50, "maintenance_to_initial_ratio": 0.6, "close_out_to_maintenance_ratio": 2.0 / 3.0}
MARGIN = {"rule": "three_level_margin", "markets": {"X": LEVELS}}


def test_levels_by_hand():
    venue = venue_of({"X": 100.0}, [], margin=MARGIN)
    assert initial(venue, 0, -10.0, 100.0) == pytest.approx(20.0)
    assert maintenance(venue, 0, -10.0, 100.0) == pytest.approx(12.0)
    assert close_out(venue, 0, -10.0, 100.0) == pytest.approx(8.0)


@pytest.mark.parametrize(("cash", "vault"), [(21.0, 0.0), (19.5, 0.0), (16.5, 10.0)])
def test_the_vault_takes_over_below_the_third_level_whatever_its_own(cash, vault):
    # Long 10 at 100, at 99: 990 USD, 11.88 to keep, 7.92 to be taken over; equity is cash - 10.
    protocol = protocol_of(
        margin=MARGIN,
        execution=[
            {"rule": "backstop_vault", "vault_equity": 1e5, "takeover_below": 1.0, "unwind_share": 0.0},
            {"rule": "order_book"},
        ],
    )
    book = one_market_book([cash], [10.0], [100.0])
    v, out = run_one(protocol, book, one_market_paths([100.0, 99.0]))
    assert out["fills"] == 1
    assert row_of(v, "vault")[0] == vault
