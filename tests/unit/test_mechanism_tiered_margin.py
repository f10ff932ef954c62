"""Tiered margin: rates by notional with the deduction that keeps the requirement continuous."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from stress.config import load_protocol
from stress.mechanisms.tiered_margin import MAX_TIERS, TieredMargin, initial, maintenance
from tests.venues import at_rest, book_of, protocol_of

pytestmark = pytest.mark.interpreted

PRESET = load_protocol(Path(__file__).parents[2] / "configs" / "protocols" / "hyperliquid.yaml").margin

# Three tiers. Initial 4 %, 8 %, 20 %; maintenance 2 %, 4 %, 15 %.
# Deductions: maintenance 1,000 x 2 % = 20, then 20 + 10,000 x 11 % = 1,120; initial 40, then 40 + 1,200.
THREE = [
    {"above": 0, "leverage_cap": 25, "maintenance_to_initial_ratio": 0.5},
    {"above": 1_000, "leverage_cap": 12.5, "maintenance_to_initial_ratio": 0.5},
    {"above": 10_000, "leverage_cap": 5, "maintenance_to_initial_ratio": 0.75},
]


def venue_with(markets, names=("X",)):
    margin = {"rule": "tiered_margin", "markets": markets}
    return at_rest(protocol_of(margin=margin), book_of(names, [1e6], [[(0, 1e-9, 100.0)]]), [100.0] * len(names))


@pytest.fixture(scope="module")
def venue():
    return venue_with({"default": THREE})


@pytest.mark.parametrize(
    ("notional", "maintain", "open_with"),
    [
        (0.0, 0.0, 0.0),
        (500.0, 10.0, 20.0),
        (1_000.0, 20.0, 40.0),  # the boundary belongs to both tiers: 4 % x 1,000 - 20 = 20
        (2_000.0, 60.0, 120.0),  # 80 - 20, 160 - 40
        (10_000.0, 380.0, 760.0),
        (20_000.0, 1_880.0, 2_760.0),  # 15 % - 1,120, 20 % - 1,240
    ],
)
def test_requirements_by_hand_for_both_sides(venue, notional, maintain, open_with):
    for size in (notional / 100.0, -notional / 100.0):
        assert maintenance(venue, 0, size, 100.0) == pytest.approx(maintain)
        assert initial(venue, 0, size, 100.0) == pytest.approx(open_with)


@pytest.mark.parametrize("bound", [1_000.0, 10_000.0])
def test_the_requirement_does_not_jump_at_a_boundary(venue, bound):
    below, above = math.nextafter(bound, 0.0), math.nextafter(bound, math.inf)
    for rule in (maintenance, initial):
        assert rule(venue, 0, above, 1.0) == pytest.approx(rule(venue, 0, below, 1.0), rel=1e-13)


@pytest.mark.parametrize(
    ("market", "notional", "required"),
    # vectors hyperliquid.json, tiered_maintenance_margin: derived from margin-tiers.md (2026-08-22)
    [
        ("BTC", 150e6, 1_875_000.0),
        ("BTC", 200e6, 3_125_000.0),
        ("ETH", 50e6, 1_000_000.0),
        ("ETH", 130e6, 3_000_000.0),  # 130M / 30 - 1,333,333.33
        ("SOL", 100e6, 3_250_000.0),  # 5 % - 1,750,000
        ("XRP", 60e6, 2_000_000.0),
        ("DOGE", 25e6, 1_500_000.0),
        ("ADA", 25e6, 1_500_000.0),
        ("AVAX", 25e6, 1_500_000.0),
        ("LINK", 25e6, 1_500_000.0),
        ("LTC", 25e6, 1_500_000.0),
        ("DOT", 6e6, 450_000.0),  # 10 % - 150,000
    ],
)
def test_the_tiers_of_hyperliquid(market, notional, required):
    venue = venue_with({market: [tier.model_dump() for tier in PRESET.tiers(market)]}, (market,))
    assert maintenance(venue, 0, notional / 100.0, 100.0) == pytest.approx(required, rel=1e-12)


def test_every_tier_of_hyperliquid_keeps_half_of_the_initial_margin():
    assert {tier.maintenance_to_initial_ratio for tiers in PRESET.markets.values() for tier in tiers} == {0.5}


def test_a_market_has_its_own_tiers_or_those_of_default():
    one = [{"leverage_cap": 10, "maintenance_to_initial_ratio": 0.5}]
    venue = venue_with({"Y": one, "default": THREE}, ("X", "Y"))
    assert maintenance(venue, 0, 5.0, 100.0) == pytest.approx(10.0)
    assert maintenance(venue, 1, 5.0, 100.0) == pytest.approx(25.0)
    with pytest.raises(ValueError, match="no margin tiers for Z and no `default`"):
        TieredMargin(markets={"Y": one}).terms("Z", 60.0)


def test_as_many_tiers_as_there_is_room_for():
    tiers = [
        {"above": 1_000.0 * k, "leverage_cap": 10 - k, "maintenance_to_initial_ratio": 0.5} for k in range(MAX_TIERS)
    ]
    venue = venue_with({"X": tiers})
    marginal = [
        initial(venue, 0, 1_000.0 * k + 1.0, 1.0) - initial(venue, 0, 1_000.0 * k, 1.0) for k in range(MAX_TIERS)
    ]
    assert marginal == pytest.approx(1.0 / np.arange(10.0, 10.0 - MAX_TIERS, -1.0))
    with pytest.raises(ValidationError, match="one to 4 tiers; got 5"):
        TieredMargin(markets={"X": [*tiers, {"above": 9e9, "leverage_cap": 1, "maintenance_to_initial_ratio": 0.9}]})


def changed(k, **values):
    tiers = [dict(tier) for tier in THREE]
    tiers[k] |= values
    return tiers


@pytest.mark.parametrize(
    ("tiers", "rule"),
    [
        (changed(0, above=10), "`above` is 0 in the first tier"),
        (changed(2, above=1_000), "rises strictly"),
        (changed(2, above=500), "rises strictly"),
        (changed(1, leverage_cap=30), "leverage caps fall"),
        (changed(1, maintenance_to_initial_ratio=0.2), "maintenance margin fractions rise"),
        (changed(0, maintenance_to_initial_ratio=1.0), "less than 1"),
        (changed(0, maintenance_to_initial_ratio=0.0), "greater than 0"),
        (changed(0, leverage_cap=0.5), "greater than or equal to 1"),
        (changed(1, above=-1.0), "greater than or equal to 0"),
        (changed(1, leverage_cap=math.inf), "finite"),
        ([], "one to 4 tiers; got 0"),
    ],
)
def test_tiers_that_make_no_sense_are_refused(tiers, rule):
    with pytest.raises(ValidationError, match=rule):
        TieredMargin(markets={"X": tiers})
