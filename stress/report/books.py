"""A book of accounts as a table and as a drawing: open interest, leverage, concentration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from stress.accounts import Book
from stress.report.formats import NBSP, rounded_usd, stated, usd

COLUMNS = ("market", "long", "short", "imbalance, closed against market_makers", "skew")


def market_rows(told: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return one row for each market of `accounts.summary`, traders alone; the imbalance is what market makers take."""
    rows: list[tuple[str, ...]] = []
    for market, part in told["open_interest"].items():
        side = "short" if part["imbalance"] > 0 else "long"
        closed = f"{usd(abs(part['imbalance']))}, market_makers {side}" if part["imbalance"] else "none"
        rows.append((market, usd(part["long"]), usd(part["short"]), closed, f"{part['skew']:+.1%}"))
    return rows


def lines(told: Mapping[str, Any]) -> list[str]:
    """Return what else the summary says, one line each."""
    leverage, concentration = told["leverage"], told["concentration"]
    said = [
        f"{told['traders']:,} traders, {told['accounts']:,} accounts ({told['isolated_accounts']:,} isolated), "
        f"{told['positions']:,} positions; equity {usd(told['equity'])}, gross notional {usd(told['gross_notional'])}",
        "leverage of accounts: "
        + ", ".join(f"{name} {leverage[name]:.3g}x" for name in ("p25", "p50", "p75", "p95", "p99", "max"))
        + f"; weighted by equity {leverage['mean']:.3g}x",
        "largest traders' share of gross notional: "
        + ", ".join(f"{name.removeprefix('top_')}: {value:.1%}" for name, value in concentration.items()),
        f"hedged share: {told['hedged_share']:.1%} of gross notional nets out inside traders",
    ]
    if told["dropped_positions"]:
        said.append(f"{told['dropped_positions']:,} positions in other markets were left out, as asked")
    return said


def draw(book: Book, prices: np.ndarray, told: Mapping[str, Any], file: Path) -> None:
    """Draw open interest by market, leverage of accounts and concentration to a .svg or .png."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    def spread(axis: Any, words: str) -> None:
        """Few ticks in plain numbers on a logarithmic axis."""
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=8))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda value, _: words.format(value)))

    money = FuncFormatter(lambda value, _: rounded_usd(abs(value)).removesuffix(f"{NBSP}USD"))
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    sides, levers, shares = figure.subplots(1, 3)
    markets = list(told["open_interest"])
    at = np.arange(len(markets))
    sides.xaxis.set_major_formatter(money)
    sides.xaxis.set_major_locator(MaxNLocator(5))
    levers.yaxis.set_major_formatter(money)
    for sign, name, colour in ((1, "long", "#2f6db3"), (-1, "short", "#c2571a")):
        sides.barh(at, [sign * told["open_interest"][m][name] for m in markets], color=colour, label=name)
    sides.set_yticks(at, markets)
    sides.invert_yaxis()
    sides.axvline(0, color="black", linewidth=0.8)
    sides.set_xlabel("open interest of traders, USD (short to the left)")
    sides.legend(frameon=False)
    notional = np.abs(book.size) * prices[book.row_market]
    gross, equity = book.per_account(notional), book.equity(prices)
    open_accounts = (gross > 0) & (equity > 0)
    leverage = gross[open_accounts] / equity[open_accounts]
    if leverage.size:
        edges = np.geomspace(max(leverage.min(), 1e-2), max(leverage.max(), 2e-2) * 1.001, 30)
        levers.hist(np.maximum(leverage, edges[0]), bins=edges, weights=gross[open_accounts], color="#2f6db3")
        levers.set_xscale("log")
        spread(levers.xaxis, "{:g}x")
    levers.set_xlabel("leverage of the account")
    levers.set_ylabel("gross notional, USD")
    _, trader = np.unique(book.trader, return_inverse=True)
    largest = np.sort(np.bincount(trader, weights=gross))[::-1]
    if largest.sum() > 0:
        shares.plot(np.arange(1, len(largest) + 1), np.cumsum(largest) / largest.sum(), color="#2f6db3")
        shares.set_xscale("log")
        spread(shares.xaxis, "{:,.0f}")
        shares.set_ylim(0, 1.02)
        shares.yaxis.set_major_formatter(FuncFormatter(lambda value, _: stated(round(value, 6))))
    shares.set_xlabel("largest traders")
    shares.set_ylabel("share of gross notional")
    for axis in (sides, levers, shares):
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, metadata={"Date": None} if file.suffix == ".svg" else None)
