"""Enter at the requirement, leave a buffer above it."""

from __future__ import annotations

import pytest

from stress.kernels.margin import shortage_to_buffer
from stress.mechanisms.buffered_trigger import flag, pending
from stress.peers.standing import venue_of

pytestmark = pytest.mark.interpreted


def venue(cash, price):
    """One long of 10 entered at 100, 20x, 2.5 % maintenance; buffer 2 %."""
    trigger = {"rule": "buffered_trigger", "exit_buffer": 0.02}
    return venue_of({"X": price}, [(cash, {0: (10.0, 100.0)})], trigger=trigger)


def test_the_buffer_counts_on_notional_and_on_losses():
    # At 90: notional 900, loss 100, requirement 22.5. Exit at equity - 2 >= 22.5 + 18.
    v = venue(142.5, 90.0)
    assert shortage_to_buffer(v, 0, 42.5, 22.5, 0.02) == pytest.approx(0.0)
    assert shortage_to_buffer(v, 0, 40.0, 22.5, 0.02) == pytest.approx(2.5)
    v.rows[0]["realised"] = -50.0  # lost by earlier fills of the position: 2 % of it on top
    assert shortage_to_buffer(v, 0, 42.5, 22.5, 0.02) == pytest.approx(1.0)


def test_an_account_stays_until_it_meets_the_buffer():
    v = venue(140.0, 90.0)
    assert flag(v, 0, 30.0, 22.5, 1) == (False, 0.0)  # above the requirement: not entered
    assert flag(v, 0, 22.4, 22.5, 2) == (True, 0.0)
    assert pending(v, 0)
    assert flag(v, 0, 30.0, 22.5, 3) == (True, 0.0)  # above the requirement, below the buffer
    assert flag(v, 0, 42.6, 22.5, 4) == (False, 0.0)
    assert not pending(v, 0)
    assert flag(v, 0, 30.0, 22.5, 5) == (False, 0.0)  # it would have to enter again


def test_an_account_without_contracts_leaves_once_it_owes_nothing():
    v = venue(140.0, 90.0)
    assert flag(v, 0, 1.0, 22.5, 1)[0]
    v.rows[0]["size"] = v.rows[0]["entry_notional"] = 0.0
    assert flag(v, 0, -3.0, 0.0, 2) == (True, 0.0)  # bankrupt: it stays
    assert flag(v, 0, 0.0, 0.0, 3) == (False, 0.0)


def test_open_orders_count_until_they_are_cancelled():
    v = venue(140.0, 90.0)
    v.accounts[0]["order_requirement"] = 5.0
    assert flag(v, 0, 27.5, 22.5, 1) == (False, 0.0)  # equality
    assert flag(v, 0, 27.4, 22.5, 1) == (True, 0.0)
    assert flag(v, 0, 50.0, 22.5, 2) == (True, 0.0)
    v.accounts[0]["order_requirement"] = 0.0
    assert flag(v, 0, 50.0, 22.5, 3) == (False, 0.0)
