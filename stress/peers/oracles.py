"""Vectors of oracle and mark."""

from __future__ import annotations

import numpy as np

from stress.kernels.medians import weighted_median
from stress.mechanisms import median_of_three_mark
from stress.peers.agreement import adapter
from stress.peers.standing import venue_of


def _median(values, weights=None):
    weights = np.ones(len(values)) if weights is None else weights
    return weighted_median(np.array(values, float), np.array(weights, float), len(values))


@adapter("hyperliquid", "mark_price")
def hyperliquid_mark(inputs):
    """Median of oracle with averaged premium, own book and other venues' perpetuals."""
    venue = venue_of({"X": inputs["oracle_price"]}, [], mark={"rule": "median_of_three_mark"})
    market = venue.markets[0]
    market["mid"] = _median([inputs["best_bid"], inputs["best_ask"], inputs["last_trade"]])
    market["external"] = _median(inputs["cex_perp_mids"], inputs["cex_weights"])
    market["premium_num"], market["premium_den"] = inputs["ema_mid_minus_oracle"], 1.0
    median_of_three_mark.mark(venue, None, 1, False)
    return {"mark_price": float(venue.markets[0]["mark"])}
