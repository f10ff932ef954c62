"""The presets: Hyperliquid's documented values (2026-08-22) one by one, and a reference venue with every layer."""

from __future__ import annotations

from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
import yaml

from stress.config import load_protocol
from stress.stages import CONTRACTS, Stage

PROTOCOLS = Path(__file__).parents[2] / "configs" / "protocols"
HOUSE_MARKETS = ("BTC", "ETH", "SOL", "XRP", "DOGE", "ADA", "AVAX", "LINK")


@pytest.fixture(scope="module")
def hyperliquid():
    return load_protocol(PROTOCOLS / "hyperliquid.yaml")


@pytest.fixture(scope="module")
def reference():
    return load_protocol(PROTOCOLS / "reference.yaml")


def rules_of(protocol, stage):
    return [mechanism.name for mechanism, _ in protocol.rules() if mechanism.stage is stage]


# Lower bound and leverage of each tier, margin-tiers.md.
TIERS = {
    "BTC": [(0, 40), (150e6, 20)],
    "ETH": [(0, 25), (100e6, 15)],
    "SOL": [(0, 20), (70e6, 10)],
    "XRP": [(0, 20), (40e6, 10)],
    **{market: [(0, 10), (20e6, 5)] for market in ("DOGE", "ADA", "AVAX", "LINK", "LTC")},
    "DOT": [(0, 10), (3e6, 5)],
}


def test_hyperliquid_tiers(hyperliquid):
    stated = {
        market: [(tier.above, tier.leverage_cap) for tier in tiers]
        for market, tiers in hyperliquid.margin.markets.items()
    }
    assert stated == TIERS
    assert {t.maintenance_to_initial_ratio for tiers in hyperliquid.margin.markets.values() for t in tiers} == {0.5}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("fraction", 0.2),
        ("full_below", 100_000.0),
        ("cooldown", 30.0),
        ("during_cooldown", 0),  # the whole position
        ("takeover_below", pytest.approx(2 / 3, abs=1e-15)),
        ("takes_insolvent", 0),
        ("premium_ema", 150.0),
        ("interest", 0.0001),
        ("funding_clamp", 0.0005),
        ("funding_period", 28_800.0),
        ("funding_interval", 3_600.0),
        ("funding_cap", 0.04),
        ("oracle_delay_steps", 0),  # 3 s, taken as 0 at a step of one minute
        ("keeper_latency", 0.0),
        ("adl_price", 2),  # previous mark
        ("adl_when", 1),  # negative equity
    ],
)
def test_hyperliquid_values(hyperliquid, name, value):
    assert hyperliquid.terms("BTC", 60.0)[name] == value


def test_hyperliquid_resolves_its_publishing_delay_where_the_step_does(hyperliquid):
    assert hyperliquid.terms("BTC", 3.0)["oracle_delay_steps"] == 1


def test_hyperliquid_has_no_fund_no_fee_and_no_socialized_loss(hyperliquid):
    assert rules_of(hyperliquid, Stage.WATERFALL) == ["adl_profit_leverage"]
    assert rules_of(hyperliquid, Stage.EXECUTION) == ["order_book", "backstop_vault"]
    assert rules_of(hyperliquid, Stage.FEES) == []
    assert rules_of(hyperliquid, Stage.MARK) == ["median_of_three_mark"]


def test_the_reference_venue_has_every_layer(reference):
    # Its collateral is USD, which needs no rule of valuation; its margin stands still between decisions.
    without = {Stage.COLLATERAL, Stage.MARGIN_MODIFIERS}
    assert {stage for stage in CONTRACTS if not rules_of(reference, stage)} == without
    assert rules_of(reference, Stage.EXECUTION) == ["order_book", "backstop_vault"]
    assert rules_of(reference, Stage.WATERFALL) == ["insurance_fund", "adl_pro_rata", "socialized_loss"]
    assert rules_of(reference, Stage.BREAKERS) == ["divergence_breaker", "staleness_breaker"]


@pytest.mark.parametrize("file", sorted(PROTOCOLS.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_preset_names_sources_with_dates_and_what_it_leaves_out(file):
    protocol = load_protocol(file)
    assert protocol.name == file.stem
    assert all(source.date >= date(2026, 1, 1) for source in protocol.sources)
    assert any(not source.sure for source in protocol.sources)  # estimates are marked as such
    assert protocol.not_represented


def leaves(stated, at=()):
    """Yield the dotted key of every value below `stated`."""
    parts = stated.items() if isinstance(stated, dict) else enumerate(stated) if isinstance(stated, list) else None
    if parts is None:
        yield ".".join(map(str, at))
    else:
        for key, value in parts:
            yield from leaves(value, (*at, key))


ABOUT = {"schema", "name", "title", "summary", "sources", "not_represented"}  # the file itself, no values of the venue


@pytest.mark.parametrize("file", sorted(PROTOCOLS.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_value_of_a_preset_has_a_source_and_every_source_has_values(file):
    stated = yaml.safe_load(file.read_text())
    keys = set(leaves({key: value for key, value in stated.items() if key not in ABOUT}))
    patterns = [pattern for source in load_protocol(file).sources for pattern in source.values]
    assert all(source.values for source in load_protocol(file).sources)
    assert {key for key in keys if not any(fnmatchcase(key, pattern) for pattern in patterns)} == set()
    assert {pattern for pattern in patterns if not any(fnmatchcase(key, pattern) for key in keys)} == set()


def test_hyperliquid_lists_the_markets_of_the_house_model(hyperliquid):
    assert all(hyperliquid.lists(market) for market in HOUSE_MARKETS)
