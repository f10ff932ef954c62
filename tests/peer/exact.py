"""The venues' own arithmetic once more, in fractions and whole quanta, from their sources; it knows nothing of the shelf.

`ANSWERS` maps (protocol, mechanism) to a function from a vector's inputs to what the venue gives. The given vectors hold
it to the venues (test_perturbed.py), and it then says what must come out for inputs that no vector has.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
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


# -------------------------------------------------------------------------------------------------- Drift


def drift_ratio(size: Fraction, ratio: Any, premium: Any) -> Fraction:
    weight = exactly(ratio)
    if not premium:
        return weight
    root = Fraction(math.isqrt(int(abs(size) * 10**9) * 10 + 1), 10**5)
    return max(weight, weight - down(weight / 5, MARGIN_STEP) + down(exactly(premium) * root, MARGIN_STEP))


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
