"""Fair-price mark: oracle plus what the last funding payment stands for, fading until the next. Step 60 s."""

from __future__ import annotations

import pytest

from stress.mechanisms.fair_price_mark import carried_basis, implied_basis
from tests.venues import one_market_book, one_market_paths, protocol_of, trace_one

pytestmark = pytest.mark.interpreted


def test_bases_by_hand():
    # 0.1 USD of an interval of which a quarter is left.
    assert carried_basis(0.1, 0.75) == pytest.approx(0.025)
    assert carried_basis(0.1, 1.5) == 0.0
    # 0.1 USD an hour is a spread of 2.4 USD, less an offset of 1/5000 of 100.
    assert implied_basis(100.0, 0.1, 100.0, 0.0, 1 / 24, 0.0) == pytest.approx(2.4)
    assert implied_basis(100.0, 0.1, 100.0, 1 / 5000, 1 / 24, 0.75) == pytest.approx((2.4 - 0.02) / 4)
    assert implied_basis(100.0, 0.1, 100.0, 1 / 5000, 1 / 24, 2.0) == 0.0


def test_the_mark_carries_what_is_left_of_the_last_payment():
    # Premium 2 %, interest 0, no clamp: 0.02 x 180 / 28,800 of 100 = 0.0125 USD at step 3, the next at step 6.
    funding = {"rule": "premium_clamp_funding", "interest": 0.0, "funding_clamp": 0.0, "funding_interval": "180s"}
    mark = {"rule": "fair_price_mark", "basis_interval": "180s"}
    protocol = protocol_of(funding=funding, mark=mark)
    book = one_market_book([1e4], [1.0], [100.0])
    seen = trace_one(protocol, book, one_market_paths([100.0] * 7, premium=[0.02] * 7))["mark_price"]
    left = [0, 0, 0, 0, 2 / 3, 1 / 3, 0]
    assert list(seen) == pytest.approx([100.0 + 0.0125 * share for share in left], rel=1e-12)


def test_without_funding_it_is_the_oracle():
    seen = trace_one(
        protocol_of(mark={"rule": "fair_price_mark"}),
        one_market_book([1e4], [1.0], [100.0]),
        one_market_paths([100.0, 103.0, 99.0], premium=[0.02] * 3),
    )
    assert seen["mark_price"].tolist() == [100.0, 103.0, 99.0]
