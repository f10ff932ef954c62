"""Vectors of execution and its fees: pool prices, discounts of a takeover, what the insurance fund gives or gets."""

from __future__ import annotations

from stress.kernels.margin import assess, bankruptcy_price
from stress.mechanisms import (
    adl_pool_profit,
    insurance_fund,
    liquidation_fee,
    liquidator_takeover,
    open_interest_margin,
    oracle_pool,
    shortage_fee,
    skew_pool,
)
from stress.peers.agreement import Rejected, adapter
from stress.peers.prices import dydx_account
from stress.peers.standing import venue_of, whole_quanta

# ---------------------------------------------------------------------------------------- dYdX


@adapter("dydx_v4", "insurance_fund_delta")
def dydx_insurance_fund_delta(inputs):
    """USD that a fill gives to the insurance fund (+), or asks of it (-)."""
    fill = inputs["fill"]
    if fill["size"] <= 0:
        raise Rejected("ErrInvalidQuantumsForInsuranceFundDeltaCalculation")
    names, prices, margin, account = dydx_account(inputs["usdc_balance"], inputs["positions"])
    fees = {"rule": "liquidation_fee", "liquidation_fee": min(inputs["config"]["max_liquidation_fee"], 1.0 - 1e-12)}
    venue = venue_of(dict(zip(names, prices, strict=True)), [account], margin=margin, fees=fees)
    r = names.index(fill["market"])
    equity, requirement = assess(venue, 0, open_interest_margin.maintenance)
    bankruptcy = bankruptcy_price(venue, r, equity, requirement, open_interest_margin.maintenance)
    price = whole_quanta(fill["size"] * fill["price"]) / fill["size"]
    surplus = liquidation_fee.surplus(venue, r, fill["size"], price, bankruptcy)
    if surplus <= 0.0:
        return {"insurance_fund_delta": float(surplus)}
    charged, _ = liquidation_fee.fee(venue, r, fill["size"], price, bankruptcy, equity, requirement, None)
    return {"insurance_fund_delta": float(charged)}


@adapter("dydx_v4", "insurance_fund_delta_valid")
def dydx_insurance_fund_delta_valid(inputs):
    """Whether the fund can carry what a fill asks of it."""
    fund = {"rule": "insurance_fund", "insurance_fund": inputs["balance"]}
    venue = venue_of({"X": 1.0}, [(0.0, {0: (1.0, 1.0)})], waterfall=[fund])
    return {"valid": bool(-inputs["delta"] <= insurance_fund.cover(venue, 0, 0))}


# --------------------------------------------------------------------------------------- Drift


@adapter("drift_v2", "liquidation_fee_ramp")
def drift_fee_ramp(inputs):
    """Discount after slots of inactivity: 1,500 of grace, then a millionth per slot."""
    fee = liquidator_takeover.ramped(inputs["base_fee"], inputs["max_fee"], inputs["slots_since_active"], 1500, 1e-6)
    return {"fee": float(fee)}


@adapter("drift_v2", "perp_if_fee")
def drift_perp_if_fee(inputs):
    """Insurance fee as a fraction of the notional."""
    notional = inputs["base"] * inputs["oracle_price"] * inputs["quote_price"]
    fee = shortage_fee.fee_rate(
        inputs["margin_shortage"], notional, inputs["margin_ratio"], inputs["liquidator_fee"], inputs["max_if_fee"]
    )
    return {"if_fee": float(fee)}


# ----------------------------------------------------------------------------------------- GMX


@adapter("gmx_v2", "apply_impact_factor")
def gmx_impact_term(inputs):
    """One term of the impact formula."""
    return {"impact_usd": float(oracle_pool.impact_term(inputs["diff_usd"], inputs["factor"], inputs["exponent"]))}


def _gmx_impact(before, after, inputs):
    return oracle_pool.price_impact(
        before,
        after,
        inputs["factor_positive"],
        inputs.get("exponent_positive", inputs.get("exponent")),
        inputs["factor_negative"],
        inputs.get("exponent_negative", inputs.get("exponent")),
    )


@adapter("gmx_v2", "price_impact_same_side")
def gmx_same_side(inputs):
    """Impact of a trade that leaves the skew on its side."""
    return {"price_impact_usd": float(_gmx_impact(inputs["initial_diff"], inputs["next_diff"], inputs))}


@adapter("gmx_v2", "price_impact_crossover")
def gmx_crossover(inputs):
    """Impact of a trade that turns the skew around."""
    return {"price_impact_usd": float(_gmx_impact(inputs["initial_diff"], -inputs["next_diff"], inputs))}


@adapter("gmx_v2", "position_price_impact")
def gmx_position_price_impact(inputs):
    """Impact and price of a change of a position."""
    before = inputs["long_oi"] - inputs["short_oi"]
    size, price = inputs["size_delta_usd"], inputs["index_price"]
    buys = inputs["is_long"] == inputs["increase"]
    impact = _gmx_impact(before, before + (size if buys else -size), inputs)
    return {
        "price_impact_usd": float(impact),
        "execution_price": float(oracle_pool.execution_price(price, size, impact, buys)),
    }


@adapter("gmx_v2", "adl_state")
def gmx_adl_state(inputs):
    """Whether a side is deleveraged."""
    side = 1.0 if inputs["is_long"] else -1.0
    profit = adl_pool_profit.profit_at(inputs["index_price"], side * inputs["oi_tokens"], side * inputs["oi_usd"])
    pool = inputs["pool_amount"] * inputs["pool_token_price"]
    return {
        "adl_enabled": bool(adl_pool_profit.is_excessive(profit, pool, inputs["max_pnl_factor_for_adl"])),
        "pnl_to_pool_factor": float(adl_pool_profit.pnl_factor(profit, pool)),
    }


@adapter("gmx_v2", "capped_pnl")
def gmx_capped_pnl(inputs):
    """Collateral and what is paid of the profit of a long; a loss is not cut."""
    price = inputs["index_price"]
    profit = adl_pool_profit.profit_at(price, inputs["oi_tokens"], inputs["oi_usd"])
    share = adl_pool_profit.paid_share(profit, inputs["pool_usd"], inputs["max_pnl_factor_for_traders"])
    own = adl_pool_profit.profit_at(price, inputs["position_tokens"], inputs["position_size_usd"])
    return {"payout_usd": float(inputs["collateral_usd"] + adl_pool_profit.paid(own, share))}


# ----------------------------------------------------------------------------------- Synthetix


@adapter("synthetix_perps_v3", "fill_price")
def synthetix_fill_price(inputs):
    """Price of an order against the skew."""
    price = skew_pool.fill_price(inputs["price"], inputs["skew"], inputs["size"], inputs["skew_scale"])
    return {"fill_price": float(price)}
