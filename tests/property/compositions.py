"""Random venues: any composition of the shelf, small books, short paths with jumps, thin books and outages."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from hypothesis import strategies as st

from stress.accounts import Book
from stress.config import Protocol
from stress.kernels.venue import ACTIONS, PathBlock
from stress.mechanisms import of_stage
from stress.stages import Stage
from tests.venues import book_of, paths_of, protocol_of

STEP = 60.0
PRICES = np.array([100.0, 7.0])
MARKETS = ("A", "B")


def _one_of(*values: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(values)


def _seconds(*steps: int) -> st.SearchStrategy[str]:
    return st.sampled_from([f"{count * int(STEP)}s" for count in steps])


_IMPACT = {
    "permanent": _one_of(0.0, 0.4, 1.0),
    "resilience": _seconds(1, 10, 30),
    "arbitrage_share": _one_of(0.0, 0.3, 1.0),
    "impact_max": _one_of(0.2, 0.9),
    "slippage_cap": _one_of(None, 0.02, 0.1),
    "additive": st.booleans(),
    "provider_feedback": _one_of(0.0, 0.0, 0.5, 3.0),
}
_ADL = {
    "adl_price": _one_of("bankruptcy", "mark", "previous_mark", "oracle"),
    "adl_when": _one_of("fund_exhausted", "negative_equity"),
}


def _blocks(*never: str) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(sorted(ACTIONS.keys() - {*never})), min_size=1, max_size=3, unique=True)


_TIERS = _one_of(
    [{"above": 0, "leverage_cap": 20, "maintenance_to_initial_ratio": 0.5}],
    [
        {"above": 0, "leverage_cap": 50, "maintenance_to_initial_ratio": 0.4},
        {"above": 3000, "leverage_cap": 10, "maintenance_to_initial_ratio": 0.6},
    ],
    [
        {"above": 0, "leverage_cap": 25, "maintenance_to_initial_ratio": 0.5},
        {"above": 1000, "leverage_cap": 20, "maintenance_to_initial_ratio": 0.5},
        {"above": 2500, "leverage_cap": 5, "maintenance_to_initial_ratio": 0.8},
    ],
)


def _by_market(**values: st.SearchStrategy[Any]) -> dict[str, st.SearchStrategy[Any]]:
    return {"markets": st.fixed_dictionaries({"default": st.fixed_dictionaries(values)})}


_RATES = {"leverage_cap": _one_of(10, 25, 40), "maintenance_to_initial_ratio": _one_of(0.3, 0.5, 0.8)}

# What each mechanism of the shelf may be given; a new one is added here (test_the_table_names_the_shelf).
PARAMETERS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "linear_impact": _IMPACT | {"impact_at_depth": _one_of(0.003, 0.01, 0.05)},
    "square_root_impact": _IMPACT | {"impact_at_depth": _one_of(0.003, 0.01, 0.05)},
    "table_impact": _IMPACT | {"profile": _one_of([(1.0, 0.01)], [(0.5, 0.002), (1.0, 0.01), (4.0, 0.2)])},
    "constant_product_impact": _IMPACT | {"quote_reserve": _one_of(2e3, 1e5, 1e9)},
    "external_feed": {
        "oracle_delay": _seconds(0, 0, 1, 3),
        "heartbeat": _seconds(0, 0, 2, 4),
        "heartbeat_phase": _seconds(0, 1),
        "deviation_threshold": _one_of(None, 0.005, 0.05),
    },
    "oracle_panel": {
        "sources": st.lists(
            st.fixed_dictionaries(
                {
                    "weight": _one_of(1.0, 2.5),
                    "delay": _seconds(0, 0, 1, 3),
                    "heartbeat": _seconds(0, 2),
                    "offset": _one_of(0.0, 0.002, -0.01),
                    "noise": _one_of(0.0, 0.003),
                    "outage_for": _seconds(0, 2),
                    "manipulation": _one_of(0.0, 0.1),
                    "manipulated_for": _seconds(0, 2),
                }
            ),
            min_size=1,
            max_size=4,
        ).map(lambda sources: [{"name": f"s{k}"} | source for k, source in enumerate(sources)]),
        "combine": _one_of("median", "weighted_median"),
        "quorum": _one_of(0.0, 0.6),
        "maximum_age": _one_of(None, "120s"),
        "fallback": _one_of("last", "own_mid"),
    },
    "oracle_mark": {},
    "averaged_mark": {
        "averaged": _one_of("oracle", "own_mid"),
        "average": _one_of("twap", "ema"),
        "average_window": _seconds(1, 3),
    },
    "pair_offsets": {
        "pairs": st.fixed_dictionaries(
            {"one": st.just("A"), "other": st.just("B"), "offset_credit": _one_of(0.2, 0.8)}
        ).map(lambda pair: [pair])
    },
    "price_range": {"range_share": _one_of(0.5, 1.0)},
    "oracle_validity": {
        "volatile_limit": _one_of(1.02, 1.5),
        "volatile_blocks": _blocks(),
        "uncertain_limit": _one_of(0.002, 0.05),
        "uncertain_blocks": _blocks("oracle_update"),
    },
    "median_of_three_mark": {"premium_ema": _one_of("30s", "150s", "600s")},
    "fair_price_mark": {"basis": _one_of("carried", "implied"), "basis_interval": _seconds(1, 3)},
    "premium_clamp_funding": {
        "funding_interval": _seconds(1, 3),
        "funding_period": st.just("10m"),
        "tail_removal": _one_of(0.0, 0.2),
        "margin_clamp_factor": _one_of(None, 0.5),
    },
    "twap_spread_funding": {
        "spread_interval": _seconds(1, 3),
        "spread_divisor": _one_of(None, 33.0),
        "offset_divisor": _one_of(None, 5000.0),
        "revenue_share": _one_of(None, 0.0, 0.33),
    },
    "velocity_funding": {"funding_skew_scale": _one_of(10.0, 1e4), "velocity_max": _one_of(9.0, 3600.0)},
    "adaptive_funding": {
        "rate_max": st.just(0.9),
        "rate_min": _one_of(0.0, 0.01),
        "rate_increase": _one_of(1e-6, 1e-3),
        "rate_decrease": _one_of(0.0, 1e-5),
        "stable_above": _one_of(0.0, 0.05),
        "borrow_curve": _one_of("kinked", "power"),
        "borrow_factor": st.just(1e-3),
        "borrow_base": _one_of(0.0, 0.5),
        "borrow_above": st.just(1.2),
        "charge_interval": _seconds(1, 3),
    },
    "price_band": {"band": _one_of(0.02, 0.2)},
    "order_cap": {"largest_order": _one_of(100.0, 3000.0)},
    "attempts_per_block": {
        "attempts": _one_of(1, 3),
        "adl_attempts": _one_of(None, 1, 2),
        "attempts_every": st.just("60s"),
    },
    "liquidity_halt": {
        "liquidity_floor": _one_of(0.01, 0.5),
        "liquidity_pause": _seconds(0, 2),
        "liquidity_blocks": _blocks(),
    },
    "withdrawal_gate": {"gate_pause": _seconds(0, 3)},
    "open_interest_cap": {"interest_cap": _one_of(1.0, 1e9)},
    "divergence_breaker": {
        "divergence_limit": _one_of(0.01, 0.1),
        "divergence_pause": _seconds(0, 2),
        "divergence_blocks": _blocks(),
    },
    "staleness_breaker": {
        "staleness_limit": _seconds(1, 3),
        "staleness_pause": _seconds(0, 2),
        "staleness_blocks": _blocks("oracle_update"),
    },
    "tiered_margin": {"markets": st.fixed_dictionaries({"A": _TIERS, "default": _TIERS})},
    "flat_margin": _by_market(**_RATES),
    "three_level_margin": _by_market(**_RATES, close_out_to_maintenance_ratio=_one_of(0.5, 0.9)),
    "open_interest_margin": _by_market(
        **_RATES, open_interest_lower=_one_of(0.0, 2e3), open_interest_upper=st.just(1e4)
    ),
    "size_premium_margin": _by_market(**_RATES, size_premium=_one_of(0.0, 0.001, 0.01)),
    "skew_linear_margin": _by_market(
        skew_scale=_one_of(100.0, 1e4),
        initial_margin_ratio=_one_of(0.5, 2.0),
        minimum_initial_margin_ratio=_one_of(0.02, 0.05),
        maintenance_to_initial_ratio=_one_of(0.33, 0.5),
        minimum_position_margin=_one_of(0.0, 5.0),
    ),
    "pool_minimum_collateral": _by_market(
        minimum_collateral=_one_of(0.02, 0.05), minimum_collateral_for_liquidation=_one_of(0.005, 0.02)
    ),
    "health_weight_margin": _by_market(
        long_initial_weight=st.just(0.9),
        long_maintenance_weight=_one_of(0.95, 0.98),
        short_initial_weight=st.just(1.12),
        short_maintenance_weight=_one_of(1.03, 1.07),
    ),
    "initial_floor": {"initial_floor_share": _one_of(0.0, 0.1)},
    "adaptive_margin": {
        "reference_volatility": _one_of(0.5, 3.0),
        "volatility_half_life": _seconds(1, 5),
        "reset_interval": _seconds(1, 3),
        "speed_limit": _one_of(0.2, 1.0),
        "floor": _one_of(0.5, 1.0),
        "ceiling": _one_of(1.5, 4.0),
        "correlation_weight": _one_of(0.0, 1.0),
    },
    "collateral_weights": {
        "markets": st.fixed_dictionaries(
            {
                "C": st.fixed_dictionaries(
                    {
                        "initial_weight": _one_of(0.0, 0.7),
                        "maintenance_weight": _one_of(0.8, 1.0),
                        "size_discount": _one_of(0.0, 0.05),
                        "sale_share": _one_of(0.2, 1.0),
                        "whole_sale_weight": _one_of(0.6, 1.0),
                        "frozen_share": _one_of(0.0, 0.5),
                        "frozen_from": _seconds(0, 2),
                        "frozen_for": _seconds(0, 3),
                    }
                )
            }
        )
    },
    "collateral_skew_discount": {
        "markets": st.fixed_dictionaries(
            {
                "C": st.fixed_dictionaries(
                    {
                        "collateral_skew_scale": _one_of(10.0, 1e3),
                        "discount_scalar": _one_of(0.5, 2.0),
                        "lowest_discount": st.just(0.02),
                        "highest_discount": _one_of(0.1, 1.0),
                    }
                )
            }
        )
    },
    "collateral_takeover": {
        "asset_multiplier": _one_of(1.0, 1.05),
        "liability_multiplier": _one_of(0.95, 1.0),
        "fund_fee_cap": _one_of(0.0, 0.02),
    },
    "reward_trigger": {
        "flag_reward_ratio": _one_of(0.0, 0.003),
        "minimum_keeper_reward": _one_of(0.0, 2.0),
        "maximum_keeper_reward": _one_of(1.0, 50.0),
    },
    "remaining_collateral": {"minimum_collateral_usd": _one_of(0.0, 1.0, 50.0)},
    "buffered_trigger": {"exit_buffer": _one_of(0.0, 0.02, 0.1)},
    "cover_to_buffer": {
        "margin_buffer": _one_of(0.0, 0.02),
        "expected_discount": _one_of(0.0, 0.01),
        "size_step": _one_of(0.0, 0.5),
        "whole_below": _one_of(0.0, 300.0),
        "first_share": _one_of(0.1, 1.0),
        "throttle_duration": _seconds(1, 5),
    },
    "portion_with_caps": {
        "minimum_notional": _one_of(50.0, 500.0),
        "portion": _one_of(0.1, 0.5),
        "account_block_limit": _one_of(10.0, 1e5),
        "size_step": _one_of(0.0, 0.5),
    },
    "rolling_window": {
        "maker_fee": st.just(0.001),
        "taker_fee": st.just(0.002),
        "skew_scale_of_window": _one_of(100.0, 1e4),
        "window_multiplier": _one_of(0.5, 2.0),
        "window": _seconds(1, 4),
        "calm_skew": _one_of(0.0, 0.1),
    },
    "share_multiples": {
        "share_step": _one_of(0.2, 0.5),
        "target_margin_ratio": _one_of(0.6, 0.9),
        "penalty_rate": _one_of(0.0, 0.5),
    },
    "two_step": {"first_share": _one_of(0.25, 0.5), "whole_below_ratio": _one_of(0.0, 0.02)},
    "strict_trigger": {"keeper_latency": _seconds(0, 0, 1, 2), "queue": _one_of("account_id", "lowest_ratio")},
    "full_size": {},
    "fraction_with_cooldown": {
        "fraction": _one_of(0.2, 0.5, 1.0),
        "full_below": _one_of(0.0, 500.0, 2000.0),
        "cooldown": _seconds(0, 1, 3),
        "during_cooldown": _one_of("full", "wait"),
    },
    "cover_shortage": {"target_ratio": _one_of(1.0, 1.25, 2.0), "whole_below": _one_of(0.0, 300.0)},
    "order_book": {
        "deficit_fill": _one_of("covered", "any"),
        "order_limit": _one_of("none", "none", "bankruptcy", "fillable", "zero"),
        "spread_to_maintenance": _one_of(0.1, 1.5),
    },
    "oracle_pool": {
        "pool_equity": _one_of(0.0, 300.0, 1e5),
        "impact_factor_positive": _one_of(0.0, 1e-6),
        "impact_factor_negative": _one_of(0.0, 1e-5),
        "impact_exponent_positive": _one_of(1.0, 2.0),
    },
    "skew_pool": {"pool_equity": _one_of(0.0, 300.0, 1e5), "price_skew_scale": _one_of(1e3, 1e6)},
    "vamm": {"pool_equity": _one_of(0.0, 300.0)},
    "liquidator_takeover": {
        "takeover_fee": _one_of(0.0, 0.01, 0.05),
        "takeover_fee_max": _one_of(None, 0.1),
        "ramp_after": _seconds(0, 3),
        "ramp_rate": _one_of(0.0, 1e-4),
        "discount_of_maintenance": _one_of(0.0, 0.5),
        "resale": _one_of("book", "none"),
        "resale_margin": _one_of(0.0, 0.01),
    },
    "dutch_auction": {
        "auction_premium": _one_of(0.0, 0.05),
        "auction_drop": _one_of(0.1, 0.5),
        "auction_length": _seconds(1, 4),
        "auction_reset": _seconds(0, 2),
        "auction_margin": _one_of(0.0, 0.01),
    },
    "keepers": {
        "keeper_discount": _one_of(0.005, 0.05),
        "keeper_reaction": _seconds(0, 1),
        "gas": _one_of(0.0, 5.0),
        "keeper_profit": _one_of(0.0, 0.5),
        "extraction": _one_of("none", "wait", "compete", "sandwich"),
        "extraction_share": _one_of(0.0, 0.5, 1.0),
        "keeper_patience": _seconds(0, 2),
    },
    "backstop_vault": {
        "loss_limit": _one_of(None, 0.1),
        "vault_equity": _one_of(0.0, 300.0, 1e5),
        "takeover_below": _one_of(0.3, 0.7, 1.0),
        "takes_insolvent": st.booleans(),
        "takeover_limit": _one_of(1.0, 5.0, 1e6),
        "unwind_share": _one_of(0.0, 0.1, 1.0),
    },
    "liquidation_fee": {
        "liquidation_fee": _one_of(0.001, 0.01),
        "fee_to": _one_of("insurance_fund", "liquidators", "vault", "treasury", "pool"),
    },
    "shortage_fee": {
        "shortage_fee_max": _one_of(0.005, 0.05),
        "shortage_fee_discount": _one_of(0.0, 0.01),
        "shortage_fee_buffer": _one_of(0.0, 0.02),
    },
    "seized_margin": {
        "seized_to": _one_of("insurance_fund", "liquidators", "vault", "treasury", "pool"),
        "seize": _one_of("always", "whole_only"),
        "flag_reward": _one_of(0.0, 0.01),
        "keeper_cost": _one_of(0.0, 1.0),
        "keeper_reward_max": _one_of(None, 5.0),
        "keeper_reward_share": _one_of(0.5, 1.0),
    },
    "insurance_fund": {
        "insurance_fund": _one_of(0.0, 50.0, 400.0, 1e9),
        "fund_cap_per_market": _one_of(None, None, None, 20.0, {"A": 0.0, "default": 1e6}),
        "fund_cap_per_account": _one_of(None, None, None, 30.0),
    },
    "market_insurance_funds": {"market_funds": _one_of({"A": 0.0}, {"A": 30.0, "B": 200.0}, {"B": 1e9})},
    "adaptive_fund": {
        "adaptive_fund": _one_of(0.0, 100.0, 1e9),
        "provider_commitment": _one_of(0.0, 200.0),
        "fund_target": _one_of(0.0, 0.05),
        "fund_fee_rate": _one_of(0.0, 0.01),
        "fund_top_up": _one_of(0.1, 1.0),
        "fund_release": _one_of(0.1, 1.0),
        "fund_quiet": _seconds(0, 3),
        "review_interval": _seconds(1, 3),
    },
    "pool_equity": {},
    "withdrawal_haircut": {},
    "adl_profit_leverage": _ADL | {"adl_index": _one_of("side_aware", "literal")},
    "adl_pro_rata": _ADL | {"adl_by": _one_of("contracts", "contracts", "equity", "profit")},
    "adl_keeper": _ADL | {"keeper_picks": _one_of("largest_position", "largest_profit", "smallest_profit")},
    "adl_random": _ADL | {"adl_overlap": _one_of("required", "ignored")},
    "adl_water_filling": _ADL,
    "adl_pool_profit": {
        "pnl_factor_after": st.just(0.1),
        "pnl_factor_max": _one_of(0.15, 0.8),
        "profit_cap": _one_of(0.8, 0.9),
    },
    "socialized_loss": {"socialized_by": _one_of("equity", "equity", "deposits", "contracts")},
}


BOOK_VENUE = {
    "linear_impact",
    "square_root_impact",
    "premium_clamp_funding",
    "order_book",
    "backstop_vault",
    "liquidation_fee",
    "insurance_fund",
    "adl_profit_leverage",
    "adl_pro_rata",
    "socialized_loss",
}
OPTIONS = {
    "loss_limit",
    "tail_removal",
    "margin_clamp_factor",
    "provider_feedback",
    "order_limit",
    "spread_to_maintenance",
    "fund_cap_per_market",
    "fund_cap_per_account",
    "adl_by",
    "adl_index",
    "socialized_by",
}


def without_options(stated: Any) -> Any:
    """A rule as a protocol file states it, or a list of them, without what the exact twin does not know."""
    if isinstance(stated, list):
        return [without_options(rule) for rule in stated]
    if not isinstance(stated, dict):
        return stated
    plain = {key: value for key, value in stated.items() if key not in OPTIONS}
    return plain | ({"adl_price": "mark"} if plain.get("adl_price") == "oracle" else {})


@st.composite
def rules(draw: st.DrawFn, name: str) -> dict[str, Any]:
    """One mechanism with parameters, as a protocol file states it."""
    stated = {"rule": name} | {key: draw(values) for key, values in PARAMETERS[name].items()}
    if stated.get("heartbeat") == "0s":  # publishes every step: neither phase nor threshold has a meaning
        stated |= {"heartbeat_phase": "0s", "deviation_threshold": None}
    return stated


@st.composite
def protocols(draw: st.DrawFn, among: Collection[str] = tuple(PARAMETERS), **fixed: Any) -> Protocol:
    """Any composition of the shelf; stages given by keyword stay as they are, or are drawn if they are strategies.

    `among` names the rules that oracle, mark, breakers, margin, trigger and size are drawn from, where it has any.
    """

    def one(*names: str) -> dict[str, Any]:
        return draw(rules(draw(st.sampled_from(names))))

    def of(stage: Stage) -> list[str]:
        return [name for name in of_stage(stage) if name in among]

    def one_of(stage: Stage) -> dict[str, Any]:
        return one(*(of(stage) or of_stage(stage)))

    # Impact, funding, fees, execution and waterfall are drawn from the whole shelf, or where `among` narrows it, from
    # the rules that an order-book venue needs, as they stand without their options.
    whole = set(among) >= PARAMETERS.keys()
    venue_rules = PARAMETERS.keys() if whole else BOOK_VENUE

    def of_venue(stage: Stage) -> list[str]:
        return [name for name in of_stage(stage) if name in venue_rules]

    def some(*names: str) -> list[dict[str, Any]]:
        return [draw(rules(name)) for name in draw(st.permutations(names))[: draw(st.integers(0, len(names)))]]

    layers = [name for name in of_stage(Stage.WATERFALL) if name in venue_rules]
    adl = draw(st.sampled_from([name for name in layers if name.startswith("adl_")]))
    fund = draw(st.sampled_from([name for name in layers if "fund" in name]))
    shared = [name for name in layers if not name.startswith("adl_") and "fund" not in name]
    pools = [name for name in of_stage(Stage.EXECUTION) if name in venue_rules and "pool_equity" in PARAMETERS[name]]
    others = [name for name in of_stage(Stage.EXECUTION) if name in venue_rules and name not in pools]
    venues = draw(st.permutations(others))[: draw(st.integers(1, 2))]
    if pools and draw(st.integers(0, 2)) == 0:  # one pool, last: it takes everything
        venues = [*venues[: draw(st.integers(0, 1))], draw(st.sampled_from(pools))]
    stages = {
        "impact": one(*of_venue(Stage.IMPACT)),
        "oracle": one_of(Stage.ORACLE),
        "mark": one_of(Stage.MARK),
        "funding": draw(st.none() | st.sampled_from(of_venue(Stage.FUNDING)).flatmap(rules)),
        "breakers": some(*of(Stage.BREAKERS))[:3],
        "margin": one_of(Stage.MARGIN),
        "margin_modifiers": some(*of(Stage.MARGIN_MODIFIERS)),
        "trigger": one_of(Stage.TRIGGER),
        "size": one_of(Stage.SIZE),
        "execution": [draw(rules(name)) for name in venues],
        "fees": draw(st.none() | st.sampled_from(of_venue(Stage.FEES)).flatmap(rules)),
        "waterfall": some(fund, adl, draw(st.sampled_from(shared))),
        "rounds_per_step": draw(_one_of(None, 1, 3)),
    }
    if not whole:
        stages = {stage: without_options(rule) for stage, rule in stages.items()}
    given = {stage: draw(rule) if isinstance(rule, st.SearchStrategy) else rule for stage, rule in fixed.items()}
    return protocol_of(**(stages | given))


@st.composite
def books(draw: st.DrawFn, markets: int = 2, largest: int = 6) -> Book:
    """Up to `largest` accounts of 2x to 20x leverage, entered near the prices of t = 0."""
    cash, rows = [], []
    for _ in range(draw(st.integers(1, largest))):
        held = sorted(draw(st.sets(st.integers(0, markets - 1), min_size=1)))
        positions, gross, unrealised = [], 0.0, 0.0
        for market in held:
            notional = draw(st.integers(1, 60)) * 97.0
            size = draw(st.sampled_from([-1.0, 1.0])) * notional / PRICES[market]
            entry = PRICES[market] * draw(_one_of(0.93, 1.0, 1.07))
            positions.append((market, size, entry))
            gross += notional
            unrealised += size * (PRICES[market] - entry)
        rows.append(positions)
        cash.append(gross / draw(_one_of(2.0, 5.0, 9.0, 19.0)) - unrealised)
    return book_of(MARKETS[:markets], cash, rows, draw(_one_of(None, 50.0, 2000.0)))


@st.composite
def blocks(draw: st.DrawFn, markets: int = 2, paths: int = 1, most_steps: int = 10, outages: bool = True) -> PathBlock:
    """Short paths with jumps, premia, books that may be thin or empty, and failing oracles and venues."""
    steps = draw(st.integers(1, most_steps))
    shape = (paths, steps, markets)

    def table(*values: Any) -> np.ndarray:
        drawn = draw(st.lists(st.sampled_from(values), min_size=int(np.prod(shape)), max_size=int(np.prod(shape))))
        return np.concatenate([np.full((paths, 1, markets), values[0]), np.array(drawn).reshape(shape)], axis=1)

    moves = table(0.0, 0.004, -0.007, 0.021, -0.033, 0.13, -0.11, -0.28, 0.37)
    arrays: dict[str, Any] = {"premium": table(0.0, 0.0, -0.002, 0.015, -0.04)}
    if outages:
        arrays["oracle_outage"] = table(0, 0, 0, 1)
        arrays["venue_outage"] = table(0, 0, 0, 0, 2, 4, 6, 16, 32, 64, 127)[:, :, 0]
    depth = table(1e4, np.inf, 300.0, 20.0, 0.0) / PRICES[:markets]
    return paths_of(PRICES[:markets] * np.exp(np.cumsum(moves, axis=1)), depth=depth, **arrays)
