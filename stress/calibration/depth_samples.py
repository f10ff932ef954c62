"""Samples of an order book's depth, by hour, for the relation between depth and volatility.

An hour's depth is the median over its samples of the mean of both sides within 1 % of the mid. A side whose 1 % level adds
nothing to the level before it is a snapshot that ended earlier: the sample is left out, and counted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from stress.errors import PriceFileError
from stress.observations import Observations, market_of
from stress.paths import PriceData

WITHIN = "100bps_usd"
FEWEST_HOURS = 168  # that depth and returns share, below which a market says nothing of the relation
CALM_AFTER_JUMP = 6  # hours after a jump that are left out: depth then recovers, which is another parameter
_SAME = 1e-3


@dataclass(frozen=True)
class DepthSamples:
    """log_depth: ln USD by hour (rows, UTC) and market (columns). cut: samples left out by market."""

    data: PriceData
    log_depth: pd.DataFrame
    cut: dict[str, int]


def by_hour(seen: Observations, blake2b: str) -> DepthSamples:
    """Return one file's samples by hour."""
    if seen.kind != "depth" or {f"bid_{WITHIN}", f"ask_{WITHIN}"} - set(seen.values):
        raise PriceFileError(
            f"depth is read from USD within 1 % of the mid: columns bid_{WITHIN} and ask_{WITHIN}",
            file=seen.file,
            key="columns",
            value=f"{seen.kind}: {', '.join(seen.values)}",
            fix="give --depth a file of depth samples; `perpstress prices FILE` says what a file holds",
        )
    table, ends = seen.table, np.zeros(len(seen.table), bool)
    for side in ("bid", "ask"):
        levels = [name for name in seen.values if name.startswith(f"{side}_") and name != f"{side}_{WITHIN}"]
        nearer = [name for name in levels if float(name.split("_")[1].removesuffix("bps")) < 100]
        if nearer:
            before = table[max(nearer, key=lambda name: float(name.split("_")[1].removesuffix("bps")))]
            ends |= (table[f"{side}_{WITHIN}"] <= before * (1 + _SAME)).to_numpy()
    market = table["symbol"].map({symbol: market_of(symbol) for symbol in table["symbol"].unique()})
    cut = pd.Series(ends).groupby(market.to_numpy()).sum()
    usd = 0.5 * (table[f"bid_{WITHIN}"] + table[f"ask_{WITHIN}"])
    known = (usd > 0).to_numpy() & ~ends
    hours = pd.DatetimeIndex(table["ts"]).floor("h")
    logs = pd.DataFrame({"hour": hours[known], "market": market[known].to_numpy(), "x": np.log(usd[known].to_numpy())})
    names = tuple(sorted(market.unique()))
    wide = logs.pivot_table(index="hour", columns="market", values="x", aggfunc="median")
    return DepthSamples(
        PriceData(file=seen.file.rsplit("/", 1)[-1], blake2b=blake2b, markets=names),
        wide.reindex(columns=list(names)),
        {str(name): int(count) for name, count in cut.items() if count},
    )
