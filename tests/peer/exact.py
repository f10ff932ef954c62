"""The venues' own arithmetic once more, in fractions and whole quanta, from their sources; it knows nothing of the shelf.

`ANSWERS` maps (protocol, mechanism) to a function from a vector's inputs to what the venue gives. The given vectors hold
it to the venues (test_perturbed.py), and it then says what must come out for inputs that no vector has.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

QUANTUM = Fraction(1, 10**6)
MARGIN_STEP = Fraction(1, 10**4)

ANSWERS: dict[tuple[str, str], Callable[[Mapping[str, Any]], dict[str, Any]]] = {}


def answers(protocol: str, mechanism: str):
    def register(function):
        ANSWERS[protocol, mechanism] = function
        return function

    return register


def exactly(value: Any) -> Fraction:
    return Fraction(str(value)) if isinstance(value, float) else Fraction(value)


def down(value: Fraction, step: Fraction) -> Fraction:
    return math.floor(value / step) * step


def up(value: Fraction, step: Fraction) -> Fraction:
    return math.ceil(value / step) * step


def towards_zero(value: Fraction, step: Fraction = QUANTUM) -> Fraction:
    return down(value, step) if value >= 0 else up(value, step)


# ------------------------------------------------------------------------------------------------ dYdX v4


class Subaccount:
    """Balance and positions; `notional` is signed, requirements are rounded up as x/perpetuals/lib does."""

    def __init__(self, balance: Any, positions: Sequence[Mapping[str, Any]]) -> None:
        self.balance, self.positions = exactly(balance), list(positions)

    @staticmethod
    def notional(held: Mapping[str, Any]) -> Fraction:
        return towards_zero(exactly(held["size"]) * exactly(held["oracle_price"]))

    def initial_of(self, held: Mapping[str, Any]) -> Fraction:
        return up(abs(self.notional(held)) * exactly(held["imf"]), QUANTUM)

    def maintenance_of(self, held: Mapping[str, Any]) -> Fraction:
        return up(self.initial_of(held) * exactly(held["maintenance_fraction"]), QUANTUM)

    @property
    def equity(self) -> Fraction:
        return self.balance + sum(map(self.notional, self.positions))

    @property
    def maintenance(self) -> Fraction:
        return sum(map(self.maintenance_of, self.positions), Fraction(0))

    @property
    def initial(self) -> Fraction:
        return sum(map(self.initial_of, self.positions), Fraction(0))

    def place(self, market: str) -> int:
        return [held["market"] for held in self.positions].index(market)

    def after(self, market: str, delta: Any, quote: Fraction) -> Subaccount:
        moved = [dict(held) for held in self.positions]
        held = moved[self.place(market)]
        held["size"] = exactly(held["size"]) + exactly(delta)
        return Subaccount(self.balance + quote, moved)

    def bankruptcy_quote(self, market: str, delta: Any) -> Fraction:
        later = self.after(market, delta, Fraction(0))
        value = later.equity - self.equity
        eased = self.maintenance - later.maintenance
        return -value - down(self.equity * eased / self.maintenance, QUANTUM)

    def may_become(self, later: Subaccount) -> bool:
        if later.equity >= later.initial:
            return True
        if later.maintenance == 0 or later.maintenance > self.maintenance:
            return later.maintenance == 0 <= later.equity
        return later.equity * self.maintenance >= self.equity * later.maintenance


def _closes(subaccount: Subaccount, market: str, delta: Any) -> bool:
    held = next((held for held in subaccount.positions if held["market"] == market), None)
    return held is not None and held["size"] * delta < 0 and abs(delta) <= abs(held["size"])


@answers("dydx_v4", "bankruptcy_price")
def bankruptcy(inputs):
    subaccount, close = Subaccount(inputs["usdc_balance"], inputs["positions"]), inputs["close"]
    if not _closes(subaccount, close["market"], close["delta"]):
        return {"error": "ErrInvalidPerpetualPositionSizeDelta"}
    return {"bankruptcy_quote": float(subaccount.bankruptcy_quote(close["market"], close["delta"]))}


@answers("dydx_v4", "fillable_price")
def fillable(inputs):
    subaccount, close, terms = (
        Subaccount(inputs["usdc_balance"], inputs["positions"]),
        inputs["close"],
        inputs["config"],
    )
    if not _closes(subaccount, close["market"], close["delta"]):
        return {"error": "ErrInvalidPerpetualPositionSizeDelta"}
    held = subaccount.positions[subaccount.place(close["market"])]
    ratio = exactly(terms["bankruptcy_adjustment"]) * (1 - subaccount.equity / subaccount.maintenance)
    spread = exactly(terms["spread_to_maintenance_margin_ratio"]) * subaccount.maintenance_of(held)
    price = (subaccount.notional(held) - min(max(ratio, Fraction(0)), Fraction(1)) * spread) / exactly(held["size"])
    return {"fillable_price": float(price)}


@answers("dydx_v4", "is_liquidatable")
def liquidatable(inputs):
    subaccount = Subaccount(inputs["usdc_balance"], inputs["positions"])
    return {"liquidatable": subaccount.equity < subaccount.maintenance != 0}


@answers("dydx_v4", "insurance_fund_delta")
def fund_delta(inputs):
    subaccount, fill = Subaccount(inputs["usdc_balance"], inputs["positions"]), inputs["fill"]
    if fill["size"] <= 0:
        return {"error": "ErrInvalidQuantumsForInsuranceFundDeltaCalculation"}
    bought = 1 if fill["is_buy"] else -1
    quote = -bought * down(exactly(fill["size"]) * exactly(fill["price"]), QUANTUM)
    surplus = quote - subaccount.bankruptcy_quote(fill["market"], bought * exactly(fill["size"]))
    most = down(abs(quote) * exactly(inputs["config"]["max_liquidation_fee"]), QUANTUM)
    return {"insurance_fund_delta": float(min(surplus, most) if surplus > 0 else surplus)}


@answers("dydx_v4", "deleverage")
def deleverage(inputs):
    market, delta = inputs["market"], exactly(inputs["delta"])
    closed, other = (
        Subaccount(inputs[side]["usdc_balance"], inputs[side]["positions"]) for side in ("liquidated", "offsetting")
    )
    if not (_closes(closed, market, delta) and _closes(other, market, -delta)):
        return {"error": "ErrInvalidPerpetualPositionSizeDelta"}
    price = exactly(closed.positions[closed.place(market)]["oracle_price"])
    at_bankruptcy = inputs["price_mode"] == "bankruptcy"
    quote = closed.bankruptcy_quote(market, delta) if at_bankruptcy else -towards_zero(delta * price)
    later = closed.after(market, delta, quote), other.after(market, -delta, -quote)
    if not (closed.may_become(later[0]) and other.may_become(later[1])):
        return {"error": "ErrFailedToUpdateSubaccounts"}
    return {"liquidated_usdc": float(later[0].balance), "offsetting_usdc": float(later[1].balance)}


@answers("dydx_v4", "liquidation_size")
def liquidation_size(inputs):
    held, terms, step = inputs["position"], inputs["config"], exactly(inputs["step_size"])
    size, notional = abs(exactly(held["size"])), abs(Subaccount.notional(held))
    least, portion, block = (
        exactly(terms[key])
        for key in (
            "min_position_notional_liquidated",
            "max_position_portion_liquidated",
            "subaccount_max_notional_liquidated",
        )
    )
    cap = min(max(least, notional * portion), block)
    part = size if notional <= cap or size <= step else max(down(cap / exactly(held["oracle_price"]), step), step)
    return {"size_delta": float(min(part, size)) * (-1 if held["size"] > 0 else 1)}


@answers("dydx_v4", "margin_requirements")
def margin_requirements(inputs):
    base, price = exactly(inputs["imf"]), exactly(inputs["oracle_price"])
    interest = exactly(inputs["open_interest"]) * price
    low, high = exactly(inputs["oi_lower_cap"]), exactly(inputs["oi_upper_cap"])
    scaled = base
    if high and interest > low:
        scaled = Fraction(1) if interest >= high else base + down((1 - base) * (interest - low) / (high - low), QUANTUM)
    subaccount = Subaccount(0, [{**inputs, "market": "X"}])
    notional = abs(subaccount.notional(inputs))
    return {
        "initial_margin": float(up(notional * scaled, QUANTUM)),
        "maintenance_margin": float(subaccount.maintenance),
    }


@answers("dydx_v4", "maintenance_margin_fraction")
def maintenance_fraction(inputs):
    return {"mmf": float(down(exactly(inputs["imf"]) * exactly(inputs["maintenance_fraction"]), QUANTUM))}


def scaled_initial(inputs) -> Fraction:
    base, interest = exactly(inputs["imf"]), exactly(inputs["open_interest_notional"])
    low, high = exactly(inputs["oi_lower_cap"]), exactly(inputs["oi_upper_cap"])
    if high == 0 or interest <= low:
        return base
    return Fraction(1) if interest >= high else base + down((1 - base) * (interest - low) / (high - low), QUANTUM)


@answers("dydx_v4", "oimf")
def effective_initial(inputs):
    return {"effective_imf": float(scaled_initial(inputs))}


@answers("dydx_v4", "initial_margin_oimf")
def initial_margin(inputs):
    return {"initial_margin": float(up(exactly(inputs["notional"]) * scaled_initial(inputs), QUANTUM))}


@answers("dydx_v4", "insurance_fund_delta_valid")
def delta_valid(inputs):
    return {"valid": inputs["delta"] >= 0 or inputs["balance"] >= -inputs["delta"]}


@answers("dydx_v4", "position_block_limits")
def block_limits(inputs):
    notional = abs(Subaccount.notional(inputs["position"]))
    least = min(notional, exactly(inputs["config"]["min_position_notional_liquidated"]))
    share = notional * exactly(inputs["config"]["max_position_portion_liquidated"])
    return {"min_notional": float(least), "max_notional": float(max(least, share))}


@answers("dydx_v4", "funding_clamp")
def funding_clamp(inputs):
    base = exactly(inputs["imf"])
    kept = down(base * exactly(inputs["maintenance_fraction"]), QUANTUM)
    return {"max_abs_8h_rate": float(down(exactly(inputs["clamp_factor"]) * (base - kept), QUANTUM))}


@answers("dydx_v4", "funding_index_delta")
def index_delta(inputs):
    rate = exactly(inputs["rate_8h"]) * inputs["dt_seconds"] / 28_800
    native = rate * exactly(inputs["price"]) * 10**12 * Fraction(10) ** inputs["base_atomic_resolution"]
    return {"index_delta_native": int(native)}


@answers("dydx_v4", "funding_settlement")
def funding_settlement(inputs):
    moved = inputs["funding_index_now"] - inputs["funding_index_position"]
    return {"net_settlement_ppm": -moved * inputs["base_quantums"]}


@answers("dydx_v4", "premium_tail_removal")
def tail_removal(inputs):
    samples = inputs["samples"]
    total = int(2 * exactly(inputs["removal_rate"]) * len(samples))
    if total == 0 or total >= len(samples):
        return {"kept": samples}
    return {"kept": sorted(samples)[total // 2 : len(samples) - (total - total // 2)]}


# -------------------------------------------------------------------------------------------------- Drift


def drift_ratio(size: Fraction, ratio: Any, premium: Any, floored: bool = True) -> Fraction:
    weight = exactly(ratio)
    if not premium:
        return weight
    root = Fraction(math.isqrt(int(abs(size) * 10**9) * 10 + 1), 10**5)
    scaled = weight - down(weight / 5, MARGIN_STEP) + down(exactly(premium) * root, MARGIN_STEP)
    return max(weight, scaled) if floored else scaled


@answers("drift_v2", "liquidate_perp")
def liquidate_perp(inputs):
    user, market, state = inputs["user"], inputs["market"], inputs["state"]
    price, fee, most = (exactly(market[key]) for key in ("oracle_price", "liquidator_fee", "if_liquidation_fee"))
    step, buffer = exactly(market["step_size"]), exactly(state["liquidation_margin_buffer"])
    first, duration = exactly(state["initial_pct_to_liquidate"]), state["liquidation_duration_slots"]
    base, quote, deposit = (exactly(user[key]) for key in ("base", "quote", "usdc_deposit"))
    bids, asks, orders = exactly(user["open_bids"]), abs(exactly(user["open_asks"])), user["open_orders"]
    taken = paid = to_fund = freed = Fraction(0)
    since, inside, results = 0, False, []

    def ratio(size):
        return drift_ratio(size, market["margin_ratio_maintenance"], market["imf_factor"])

    def standing():
        """Equity, requirement, what is missing to leave, and that without the buffer on losses."""
        profit = base * price + quote
        size = max(abs(base + bids), abs(base - asks)) if orders else abs(base)
        needed = size * price * ratio(size) + Fraction(orders, 100)
        plain = needed + buffer * size * price - deposit - profit
        return deposit + profit, needed, plain - buffer * min(Fraction(0), profit), plain

    for call in inputs["steps"]:
        equity, needed, missing, _ = standing()
        if not inside and equity < needed:
            inside, since, freed = True, call["slot"], Fraction(0)
        elif inside and missing <= 0:
            inside = False
        if inside and orders:
            orders, before = 0, missing
            missing = standing()[2]
            freed += max(before, Fraction(0)) - max(missing, Fraction(0))
            inside = missing > 0
        if inside and base:
            whole, value, own = abs(base), abs(base) * price, ratio(base) + buffer
            spare = own - fee - down(missing / value, QUANTUM) if own > fee else Fraction(0)
            rate = min(most, down(Fraction(95, 100) * max(Fraction(0), spare), QUANTUM))
            eased = price * (own - fee - rate)
            cures = up(missing / eased, step) if eased > 0 else Fraction(10**12)
            share = Fraction(1)
            if missing >= 50:
                allowed = min(Fraction(1), Fraction(call["slot"] - since, duration) + first)
                share = min(
                    Fraction(1), down(max(Fraction(0), allowed * (missing + freed) - freed) / missing, MARGIN_STEP)
                )
            part = whole if value <= 50 else up(cures * share, step)
            part = min(part, whole, up(exactly(call["max_base"]), step))
            side = 1 if base > 0 else -1
            at, charge = price * (1 - side * fee), down(part * price * rate, QUANTUM)
            base, quote = base - side * part, quote + side * part * at - charge
            taken, paid, to_fund = taken + side * part, paid - side * part * at, to_fund + charge
            freed += max(missing, Fraction(0)) - max(standing()[2], Fraction(0))
            inside = part < cures
        kept, left = (freed if inside else Fraction(0)), max(Fraction(0), standing()[3])
        results.append(
            {
                "user_base": float(base),
                "user_quote": float(quote),
                "liquidator_base": float(taken),
                "liquidator_quote": float(paid),
                "if_fee_total": float(to_fund),
                "margin_freed": float(kept),
                "pct_margin_freed": float(kept / (kept + left)) if kept else 0.0,
                "being_liquidated": inside,
            }
        )
    return {"steps": results}


@answers("drift_v2", "resolve_perp_bankruptcy")
def resolve_bankruptcy(inputs):
    loss = -exactly(inputs["loss"])
    room = exactly(inputs["quote_max_insurance"]) - exactly(inputs["quote_settled_insurance"])
    from_fund = min(loss, max(Fraction(0), exactly(inputs["insurance_vault"]) - QUANTUM), room)
    from_pool = min(loss - from_fund, exactly(inputs["fee_pool"]))
    shared = loss - from_fund - from_pool
    per_base = up(shared / (exactly(inputs["base_long"]) - exactly(inputs["base_short"])), QUANTUM)
    after = [exactly(held["quote"]) - abs(exactly(held["base"])) * per_base for held in inputs["affected"]]
    return {
        "if_payment": float(from_fund),
        "fee_pool_payment": float(from_pool),
        "social_loss": float(shared),
        "funding_delta_per_base": float(per_base),
        "affected_quote_after": [float(quote) for quote in after],
    }


@answers("drift_v2", "perp_margin_ratio")
def margin_ratio(inputs):
    size, premium, kind = exactly(inputs["size"]), inputs["imf_factor"], inputs["margin_type"]
    weights = {}
    for mode, prefix in ((False, "margin_ratio_"), (True, "hlm_")):
        initial, kept = exactly(inputs[f"{prefix}initial"]), exactly(inputs[f"{prefix}maintenance"])
        middle = down((initial + kept) / 2, MARGIN_STEP)
        weights[mode] = {"initial": initial, "maintenance": kept, "fill": middle}[kind]
    mode = inputs["high_leverage"]
    if not mode or kind == "maintenance":
        return {"margin_ratio": float(drift_ratio(size, weights[mode], premium))}
    adjusted = drift_ratio(size, weights[False], premium, floored=False)
    if adjusted < weights[False]:
        share = 1 - (weights[False] - adjusted) / down(weights[False] / 5, MARGIN_STEP)
        return {"margin_ratio": float(weights[True] + (weights[False] - weights[True]) * share)}
    return {"margin_ratio": float(weights[True] if adjusted == weights[False] else adjusted)}


@answers("drift_v2", "perp_margin_requirement")
def margin_requirement(inputs):
    base, bids = exactly(inputs["base"]), exactly(inputs.get("open_bids", 0))
    worst = max(abs(base + bids), abs(base - abs(exactly(inputs.get("open_asks", 0)))))
    ratio = drift_ratio(worst, inputs["margin_ratio_maintenance"], inputs["imf_factor"])
    needed = worst * exactly(inputs["oracle_price"]) * ratio + Fraction(inputs.get("open_orders", 0), 100)
    return {"margin_requirement": float(needed)}


@answers("drift_v2", "base_to_cover_shortage")
def base_to_cover(inputs):
    price = exactly(inputs["oracle_price"])
    left = price * exactly(inputs["quote_price"]) * (
        exactly(inputs["margin_ratio"]) - exactly(inputs["liquidator_fee"])
    ) - price * exactly(inputs["if_fee"])
    if left <= 0:
        return {"base": "inf"}
    return {"base": float(down(exactly(inputs["margin_shortage"]) / left, Fraction(1, 10**9)))}


@answers("drift_v2", "max_pct_to_liquidate")
def share_now(inputs):
    shortage, freed = exactly(inputs["margin_shortage"]), exactly(inputs["margin_freed"])
    if shortage < 50:
        return {"pct": 1.0}
    elapsed = Fraction(inputs["slots_elapsed"], inputs["liquidation_duration_slots"])
    freeable = (shortage + freed) * min(Fraction(1), elapsed + exactly(inputs["initial_pct"])) - freed
    return {"pct": float(max(Fraction(0), freeable / shortage))}


@answers("drift_v2", "liquidation_fee_ramp")
def fee_ramp(inputs):
    base, slots = exactly(inputs["base_fee"]), inputs["slots_since_active"]
    if slots < 1500:
        return {"fee": float(base)}
    return {"fee": float(min(exactly(inputs["max_fee"]), base + Fraction(slots, 10**6)))}


@answers("drift_v2", "perp_if_fee")
def fund_fee(inputs):
    notional = exactly(inputs["base"]) * exactly(inputs["oracle_price"]) * exactly(inputs["quote_price"])
    if notional == 0:
        return {"if_fee": 0.0}
    bearable = exactly(inputs["margin_ratio"]) - exactly(inputs["liquidator_fee"])
    bearable -= exactly(inputs["margin_shortage"]) / notional
    most = exactly(inputs["max_if_fee"])
    return {"if_fee": float(min(most, Fraction(95, 100) * max(Fraction(0), bearable)))}


@answers("drift_v2", "funding_max_spread")
def max_spread(inputs):
    return {"max_spread": float(exactly(inputs["oracle_twap"]) / inputs["divisor"])}


@answers("drift_v2", "funding_rate")
def drift_funding(inputs):
    mean, offset = exactly(inputs["oracle_twap"]), inputs["offset_divisor"]
    most = mean / inputs["clamp_divisor"]
    spread = exactly(inputs["mark_twap"]) - mean + (mean / offset if offset else 0)
    return {"rate_per_base": float(max(-most, min(most, spread)) / 24 * Fraction(inputs["period_seconds"], 3600))}


@answers("drift_v2", "funding_long_short_capped")
def capped_funding(inputs):
    rate, long, short = (exactly(inputs[key]) for key in ("rate_per_base", "base_long", "base_short"))
    paid = {"rate_long": rate, "rate_short": rate}
    received, most = rate * (long + short), exactly(inputs["fee_pool"]) / 3
    if -received > most:  # the receiving side shares what the payers give and what the pool may
        side, payers, takers = ("rate_short", long, -short) if rate > 0 else ("rate_long", -short, long)
        paid[side] = (rate * payers + (most if rate > 0 else -most)) / takers
        received = -most
    total = exactly(inputs["total_fee_minus_distributions"]) + received
    return {key: float(value) for key, value in paid.items()} | {"total_fee_minus_distributions": float(total)}


@answers("drift_v2", "scaled_initial_asset_weight")
def scaled_weight(inputs):
    weight, deposits = (
        exactly(inputs["initial_asset_weight"]),
        exactly(inputs["deposits"]) * exactly(inputs["oracle_price"]),
    )
    start = exactly(inputs["scale_start_usd"])
    return {"weight": float(weight if deposits <= start else down(weight * start / deposits, MARGIN_STEP))}


@answers("drift_v2", "spot_liability_weight")
def liability_weight(inputs):
    return {"weight": float(drift_ratio(exactly(inputs["size"]), inputs["liability_weight"], inputs["imf_factor"]))}


@answers("drift_v2", "socialized_loss_funding_delta")
def funding_delta(inputs):
    contracts = abs(exactly(inputs["base_long"])) + abs(exactly(inputs["base_short"]))
    delta = up(-exactly(inputs["loss"]) / contracts, QUANTUM) if contracts else Fraction(0)
    return {"cumulative_funding_delta_per_base": float(delta)}


@answers("drift_v2", "socialized_loss_deposit_interest")
def deposit_delta(inputs):
    deposits = exactly(inputs["deposits"])
    loss = exactly(inputs["borrow"]) * exactly(inputs["cumulative_deposit_interest"])
    return {"index_delta": float(loss / deposits) if deposits else 0.0}


# -------------------------------------------------------------------------------------------- Hyperliquid


@answers("hyperliquid", "liquidation_price")
def liquidation_price(inputs):
    side = 1 if inputs["side"] == "long" else -1
    rate, price, size = Fraction(1, 2 * inputs["max_leverage"]), exactly(inputs["price"]), exactly(inputs["size"])
    spare = exactly(inputs["margin"]) - rate * size * price
    return {"liquidation_price": float(price - side * spare / size / (1 - rate * side))}


@answers("hyperliquid", "liquidation_stage")
def stage(inputs):
    value, needed, notional = inputs["account_value"], inputs["maintenance_margin"], inputs["position_notional"]
    if value >= needed:
        return {"stage": "none", "fraction": 0.0}
    if value < 0:
        return {"stage": "adl", "fraction": 1.0}
    if 3 * value < 2 * needed:
        return {"stage": "backstop", "fraction": 1.0}
    part = notional > 100_000 and not inputs["in_cooldown"]
    return {"stage": "market", "fraction": 0.2 if part else 1.0}


@answers("hyperliquid", "maintenance_rate")
def maintenance_rate(inputs):
    return {"maintenance_margin_rate": float(Fraction(1, 2 * inputs["max_leverage"]))}


@answers("hyperliquid", "tiered_maintenance_margin")
def tiered_maintenance(inputs):
    notional, needed, tiers = exactly(inputs["notional"]), Fraction(0), inputs["tiers"]
    for place, tier in enumerate(tiers):  # each slice of the notional at the rate of its tier
        end = min(notional, exactly(tiers[place + 1]["lower_bound"])) if place + 1 < len(tiers) else notional
        needed += max(Fraction(0), end - exactly(tier["lower_bound"])) / (2 * tier["max_leverage"])
    return {"maintenance_margin": float(needed)}


@answers("hyperliquid", "transfer_margin")
def transfer_margin(inputs):
    tenth = exactly(inputs["total_position_value"]) / 10
    return {"transfer_margin_required": float(max(exactly(inputs["initial_margin_required"]), tenth))}


@answers("hyperliquid", "funding_rate")
def hyperliquid_funding(inputs):
    price, zero, clamp = exactly(inputs["oracle_price"]), Fraction(0), Fraction(5, 10**4)
    premium = max(exactly(inputs["impact_bid"]) - price, zero) - max(price - exactly(inputs["impact_ask"]), zero)
    premium /= price
    rate = premium + max(-clamp, min(clamp, exactly(inputs["interest_8h"]) - premium))
    hourly = max(Fraction(-4, 100), min(Fraction(4, 100), rate / 8))
    return {"premium": float(premium), "rate_8h": float(rate), "rate_1h": float(hourly)}


@answers("hyperliquid", "funding_payment")
def funding_payment(inputs):
    return {"payment_by_long": float(math.prod(exactly(inputs[key]) for key in ("size", "oracle_price", "rate_1h")))}


def weighted_median(values: Sequence[Any], weights: Sequence[Any]) -> Fraction:
    below, half = Fraction(0), sum(map(exactly, weights)) / 2
    ranked = sorted(zip(map(exactly, values), map(exactly, weights), strict=True))
    for place, (value, weight) in enumerate(ranked):
        below += weight
        if below == half:
            return (value + ranked[place + 1][0]) / 2
        if below > half:
            return value
    raise AssertionError


@answers("hyperliquid", "mark_price")
def mark_price(inputs):
    parts = [
        exactly(inputs["oracle_price"]) + exactly(inputs["ema_mid_minus_oracle"]),
        sorted(exactly(inputs[key]) for key in ("best_bid", "best_ask", "last_trade"))[1],
        weighted_median(inputs["cex_perp_mids"], inputs["cex_weights"]),
    ]
    return {"mark_price": float(sorted(parts)[1])}


@answers("hyperliquid", "adl_index")
def adl_index(inputs):
    index = exactly(inputs["mark_price"]) / exactly(inputs["entry_price"])
    return {"index": float(index * exactly(inputs["notional"]) / exactly(inputs["account_value"]))}


@answers("hyperliquid", "borrow_rate")
def borrow_rate(inputs):
    beyond = max(Fraction(0), exactly(inputs["utilization"]) - Fraction(8, 10))
    return {"apy": float(Fraction(5, 100) + Fraction(475, 100) * beyond)}


@answers("hyperliquid", "pm_borrowable")
def borrowable(inputs):
    return {"borrowable": float(math.prod(exactly(inputs[key]) for key in ("balance", "price", "ltv")))}


@answers("hyperliquid", "pm_min_collateral")
def smallest_balance(inputs):
    return {"min_balance": float(exactly(inputs["borrowed"]) / (exactly(inputs["price"]) * exactly(inputs["ltv"])))}


@answers("hyperliquid", "pm_health_factor")
def health_factor(inputs):
    weighted = sum(math.prod(exactly(held[key]) for key in ("balance", "price", "ltv")) for held in inputs["assets"])
    return {"weighted": float(weighted), "health_factor": float(weighted / exactly(inputs["borrowed"]))}


@answers("hyperliquid", "pm_borrow_liquidation")
def borrow_liquidation(inputs):
    value, ltv = exactly(inputs["size"]) * exactly(inputs["price"]), exactly(inputs["ltv"])
    owed = exactly(inputs["borrowed"])
    half, most = value * (ltv + (1 - ltv) / 2), value * (ltv + (1 - ltv) * 2 / 3)
    return {"full_threshold": float(most), "state": "full" if owed >= most else "partial" if owed > half else "healthy"}


# ------------------------------------------------------------------------------------------------------ GMX


def power(base: Fraction, exponent: Any) -> Fraction:
    if exponent == int(exponent):
        return base ** int(exponent)
    with localcontext() as context:
        context.prec = 50
        decimal = Decimal(base.numerator) / Decimal(base.denominator)
        return Fraction(decimal ** Decimal(str(exponent)))


def impact_term(difference: Fraction, factor: Any, exponent: Any) -> Fraction:
    return Fraction(0) if difference < 1 and exponent != 1 else exactly(factor) * power(difference, exponent)


def gmx_impact(before: Fraction, after: Fraction, inputs) -> Fraction:
    """Impact of a change of the difference long - short, USD; above zero is a gain of the trader."""
    gains = inputs["factor_positive"], inputs.get("exponent_positive", inputs.get("exponent"))
    costs = inputs["factor_negative"], inputs.get("exponent_negative", inputs.get("exponent"))
    if before * after < 0:
        return impact_term(abs(before), *gains) - impact_term(abs(after), *costs)
    terms = gains if abs(after) < abs(before) else costs
    change = abs(impact_term(abs(before), *terms) - impact_term(abs(after), *terms))
    return change if abs(after) < abs(before) else -change


@answers("gmx_v2", "apply_impact_factor")
def apply_impact(inputs):
    return {"impact_usd": float(impact_term(exactly(inputs["diff_usd"]), inputs["factor"], inputs["exponent"]))}


@answers("gmx_v2", "price_impact_same_side")
def same_side(inputs):
    return {
        "price_impact_usd": float(gmx_impact(exactly(inputs["initial_diff"]), exactly(inputs["next_diff"]), inputs))
    }


@answers("gmx_v2", "price_impact_crossover")
def crossover(inputs):
    impact = gmx_impact(exactly(inputs["initial_diff"]), -exactly(inputs["next_diff"]), inputs)
    return {"price_impact_usd": float(impact)}


@answers("gmx_v2", "position_price_impact")
def position_impact(inputs):
    size, price = exactly(inputs["size_delta_usd"]), exactly(inputs["index_price"])
    buys = inputs["is_long"] == inputs["increase"]
    before = exactly(inputs["long_oi"]) - exactly(inputs["short_oi"])
    impact = gmx_impact(before, before + (size if buys else -size), inputs)
    return {
        "price_impact_usd": float(impact),
        "execution_price": float(size / (size / price + (impact if buys else -impact) / price)),
    }


@answers("gmx_v2", "adaptive_funding")
def adaptive_funding(inputs):
    saved, long, short = (exactly(inputs[key]) for key in ("saved_factor_per_second", "long_oi", "short_oi"))
    most, seconds = exactly(inputs["max_factor"]), inputs["dt_seconds"]
    if long + short > 0:
        skewed = power(abs(long - short), inputs["exponent"]) / (long + short)
        grows = True
        if (saved > 0 and long > short) or (saved < 0 and long < short):
            grows = skewed > exactly(inputs["threshold_stable"])
            if skewed < exactly(inputs["threshold_decrease"]):
                size = max(Fraction(0), abs(saved) - exactly(inputs["decrease_factor"]) * seconds)
                saved = size if saved > 0 else -size
        if grows:
            saved += (1 if long > short else -1) * skewed * exactly(inputs["increase_factor"]) * seconds
    saved = max(-most, min(most, saved))
    return {"next_saved_factor_per_second": float(saved), "longs_pay_shorts": saved > 0}


@answers("gmx_v2", "usage_factor")
def usage(inputs):
    carried = exactly(inputs["pool_usd"]) * exactly(inputs["open_interest_reserve_factor"])
    return {"usage_factor": float(exactly(inputs["reserved_usd"]) / carried)}


@answers("gmx_v2", "borrowing_fee")
def borrowing_fee(inputs):
    rate = exactly(inputs["borrowing_factor"]) * power(exactly(inputs["reserved_usd"]), inputs["exponent"])
    paid = rate / exactly(inputs["pool_usd"]) * inputs["dt_seconds"] * exactly(inputs["size_usd"])
    return {"fee_usd": float(paid)}


@answers("gmx_v2", "adl_state")
def adl_state(inputs):
    profit = exactly(inputs["oi_tokens"]) * exactly(inputs["index_price"]) - exactly(inputs["oi_usd"])
    pool = exactly(inputs["pool_amount"]) * exactly(inputs["pool_token_price"])
    factor = max(Fraction(0), profit if inputs["is_long"] else -profit) / pool
    return {"adl_enabled": factor > exactly(inputs["max_pnl_factor_for_adl"]), "pnl_to_pool_factor": float(factor)}


@answers("gmx_v2", "capped_pnl")
def capped_profit(inputs):
    price = exactly(inputs["index_price"])
    profit = exactly(inputs["oi_tokens"]) * price - exactly(inputs["oi_usd"])
    own = exactly(inputs["position_tokens"]) * price - exactly(inputs["position_size_usd"])
    most = exactly(inputs["pool_usd"]) * exactly(inputs["max_pnl_factor_for_traders"])
    if own > 0 and profit > most:
        own = own * most / profit
    return {"payout_usd": float(exactly(inputs["collateral_usd"]) + own)}


# ------------------------------------------------------------------------------------------------ Synthetix


@answers("synthetix_perps_v3", "fill_price")
def fill_price(inputs):
    price, skew, size, scale = (exactly(inputs[key]) for key in ("price", "skew", "size", "skew_scale"))
    return {"fill_price": float(price * (1 + (skew + size / 2) / scale))}


@answers("synthetix_perps_v3", "collateral_haircut")
def haircut(inputs):
    whole = counted = Fraction(0)
    for held in inputs["collaterals"]:
        value = exactly(held["amount"]) * exactly(held["price"])
        share = exactly(held["amount"]) / exactly(held["skew_scale"]) * exactly(held["discount_scalar"])
        whole += value
        counted += value * (1 - max(exactly(held["lower"]), min(exactly(held["upper"]), share)))
    return {"undiscounted": float(whole), "discounted": float(counted)}


@answers("synthetix_perps_v3", "account_margin")
def account_margin(inputs):
    profits, needed = [], exactly(inputs["keeper_reward_usd"])
    for held in inputs["positions"]:
        keys = ("size", "price", "open_price", "open_skew", "skew_scale")
        size, price, opened, skew, scale = (exactly(held[key]) for key in keys)
        profits.append(size * (price - opened * (1 + (skew + size / 2) / scale)))
        fraction = abs(size) / scale * exactly(held["initial_margin_ratio"]) + exactly(held["min_initial_margin_ratio"])
        needed += abs(size) * price * fraction * exactly(held["maintenance_scalar"])
        needed += exactly(held["minimum_position_margin"])
    available = exactly(inputs["collateral_usd"]) + sum(profits)
    return {
        "pnl": [float(profit) for profit in profits],
        "available_margin": float(available),
        "liquidatable": needed > available,
    }


@answers("synthetix_perps_v3", "keeper_reward")
def keeper_reward(inputs):
    notional = inputs.get("notional_by_market") or [inputs["notional"]]
    ratios = inputs.get("flag_reward_ratio_by_market") or [inputs["flag_reward_ratio"]]
    flagged = sum(exactly(size) * exactly(ratio) for size, ratio in zip(notional, ratios, strict=True))
    cost, seized = exactly(inputs["execution_cost"]), exactly(inputs["seized_collateral"])
    least = max(cost + exactly(inputs["min_keeper_reward"]), cost * (1 + exactly(inputs["min_profit_ratio"])))
    most = min(seized * exactly(inputs["max_scaling_ratio"]), exactly(inputs["max_keeper_reward"]))
    return {"reward": float(min(max(least, flagged + cost), most))}


@answers("synthetix_perps_v3", "funding_velocity")
def funding_velocity(inputs):
    keys = ("price", "skew_scale", "max_funding_velocity", "trader_size", "initial_skew")
    price, scale, fastest, size, skew = (exactly(inputs[key]) for key in keys)
    rate, paid, results = Fraction(0), Fraction(0), []
    for step in inputs["steps"]:
        days = exactly(step["days"])
        after = rate + max(Fraction(-1), min(Fraction(1), skew / scale)) * fastest * days
        paid += price * (rate + after) / 2 * days * size
        rate, skew = after, skew + exactly(step["skew_delta"])
        results.append(float(-paid))
    return {"accrued_funding": results}


# ----------------------------------------------------------------------------------------------- the others


@answers("gmx_v2", "is_liquidatable")
def gmx_liquidatable(inputs):
    side = 1 if inputs["is_long"] else -1
    profit = side * (exactly(inputs["size_tokens"]) * exactly(inputs["index_price"]) - exactly(inputs["size_usd"]))
    collateral = exactly(inputs["collateral_amount"]) * exactly(inputs["collateral_price"])
    left = collateral + profit + min(Fraction(0), exactly(inputs["price_impact_usd"])) - exactly(inputs["fees_usd"])
    least = exactly(inputs["size_usd"]) * exactly(inputs["min_collateral_factor"])
    return {"liquidatable": left <= 0 or left < exactly(inputs["min_collateral_usd"]) or left < least}


@answers("various", "bitmex_adl_allocation")
def bitmex_allocation(inputs):
    rest, fills = inputs["liquidated_size"], {}
    for account in sorted(inputs["accounts"], key=lambda account: -account["score"]):
        if taken := min(rest, account["size"]):
            fills[str(account["id"])] = float(taken)
            rest -= taken
    return {"fills": fills}


@answers("various", "paradex_liquidation_share")
def after_share(inputs):
    equity, needed, share = *paradex_account(inputs), exactly(inputs["share"])
    penalty = share * exactly(inputs["liquidation_fee"]) * needed
    left = {"new_mmr": needed * (1 - share), "penalty": penalty, "new_account_value": equity - penalty}
    left["new_margin_ratio"] = left["new_mmr"] / left["new_account_value"]
    return {key: float(value) for key, value in left.items()}


@answers("various", "paradex_optimal_share")
def smallest_share(inputs):
    equity, needed = paradex_account(inputs)
    share = step = exactly(inputs["step"])
    while share < 1:
        left = equity - share * exactly(inputs["liquidation_fee"]) * needed
        if left > 0 and needed * (1 - share) / left < exactly(inputs["target_margin_ratio"]):
            break
        share += step
    return {"share": float(min(share, Fraction(1)))}


def paradex_account(inputs) -> tuple[Fraction, Fraction]:
    equity, needed = exactly(inputs["collateral"]), Fraction(0)
    for held in inputs["positions"]:
        size, mark = exactly(held["size"]), exactly(held["mark"])
        equity += size * (mark - exactly(held["entry"]))
        needed += abs(size) * mark * exactly(held["mmf"])
    return equity, needed
