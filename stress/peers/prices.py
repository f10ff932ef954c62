"""Vectors of the prices of a position: liquidation, bankruptcy, fillable."""

from __future__ import annotations

from stress.peers.agreement import Rejected, adapter
from stress.peers.standing import book_of, protocol_of, strictly
from stress.position_prices import bankruptcy_price, fillable_price, liquidation_price


@adapter("hyperliquid", "liquidation_price")
def hyperliquid_liquidation_price(inputs):
    """Liquidation price of an isolated position, its margin stated at entry."""
    size = inputs["size"] if inputs["side"] == "long" else -inputs["size"]
    tiers = [{"leverage_cap": inputs["max_leverage"], "maintenance_to_initial_ratio": 0.5}]
    protocol = protocol_of(margin={"rule": "tiered_margin", "markets": {"X": tiers}})
    book = book_of(["X"], [(inputs["margin"], {0: (size, inputs["price"])})])
    return {"liquidation_price": float(liquidation_price(protocol, book, [inputs["price"]])[0])}


def dydx_account(usdc_balance, positions):
    """Return (market names, prices, margin rule, account) of a subaccount; its balance is net of entry notional."""
    names = [held["market"] for held in positions]
    prices = [held["oracle_price"] for held in positions]
    rates = {
        held["market"]: {
            "leverage_cap": 1.0 / strictly(held["imf"]),
            "maintenance_to_initial_ratio": strictly(held["maintenance_fraction"], 0.0, 1.0),
        }
        for held in positions
    }
    cash = usdc_balance + sum(held["size"] * held["oracle_price"] for held in positions)
    rows = {place: (held["size"], held["oracle_price"]) for place, held in enumerate(positions)}
    return names, prices, {"rule": "open_interest_margin", "markets": rates}, (cash, rows)


def _closing(inputs):
    """Return (row, base units to close) of a vector; what closes nothing, or too much, is rejected."""
    close = inputs["close"]
    names = [held["market"] for held in inputs["positions"]]
    if close["market"] not in names:
        raise Rejected("ErrInvalidPerpetualPositionSizeDelta")
    row = names.index(close["market"])
    size, delta = inputs["positions"][row]["size"], close["delta"]
    if size * delta >= 0.0 or abs(delta) > abs(size):
        raise Rejected("ErrInvalidPerpetualPositionSizeDelta")
    return row, delta


@adapter("dydx_v4", "bankruptcy_price")
def dydx_bankruptcy_price(inputs):
    """USD received (paid where negative) for a close at the bankruptcy price."""
    row, delta = _closing(inputs)
    names, prices, margin, account = dydx_account(inputs["usdc_balance"], inputs["positions"])
    price = bankruptcy_price(protocol_of(margin=margin), book_of(names, [account]), prices)[row]
    return {"bankruptcy_quote": float(-delta * price)}


@adapter("dydx_v4", "fillable_price")
def dydx_fillable_price(inputs):
    """Limit of the liquidation order."""
    row, _ = _closing(inputs)
    config = inputs["config"]
    names, prices, margin, account = dydx_account(inputs["usdc_balance"], inputs["positions"])
    book = {
        "rule": "order_book",
        "order_limit": "fillable",
        "bankruptcy_adjustment": config["bankruptcy_adjustment"],
        "spread_to_maintenance": config["spread_to_maintenance_margin_ratio"],
    }
    protocol = protocol_of(margin=margin, execution=[book])
    return {"fillable_price": float(fillable_price(protocol, book_of(names, [account]), prices)[row])}
