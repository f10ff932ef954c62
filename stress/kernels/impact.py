"""Own impact: where the venue's mid stands, given the normalised flow it has absorbed.

State is flow z = sum of fills / depth at their step; a share is permanent, the rest decays. The
response g(z) is the impact mechanism's; nothing here accumulates per step: the decayed flow is read
as (flow at the last fill) x (one precomputed table).
"""

from __future__ import annotations

from stress.kernels.jit import inlined, kernel


@inlined
def displacement(v, m, t):
    """Normalised flow z that acts at step t (signed, + = bought)."""
    return v.markets[m]["permanent_flow"] + v.markets[m]["flow"] * v.decay[m, t - v.markets[m]["flow_step"]]


@inlined
def displaced(v, m, price, response):
    """Move a price by a response g: price x (1 + g), or additively on the initial price."""
    if v.terms[m]["additive"] == 1:
        return price + v.markets[m]["initial_price"] * response
    return price * (1.0 + response)


@kernel
def absorb_flow(v, m, t, added):
    """Add a fill (signed normalised flow, + = the liquidation bought) to the flow of market m."""
    share = v.terms[m]["permanent"]
    v.markets[m]["flow"] = v.markets[m]["flow"] * v.decay[m, t - v.markets[m]["flow_step"]] + (1.0 - share) * added
    v.markets[m]["permanent_flow"] += share * added
    v.markets[m]["flow_step"] = t


@inlined
def refresh_prices(v, path, t, response):
    """Set V, X and the external perpetual mid of step t from the path and the flow absorbed so far."""
    markets, responses = v.markets, v.response_history[t]
    premium, external_premium = path.premium[t], path.external_premium[t]
    for m in range(markets.shape[0]):
        market = markets[m]
        world = market["world"]
        factor = 1.0 + premium[m]
        z = displacement(v, m, t)
        g = response(v, m, z) if z != 0.0 else z
        carried = v.terms[m]["arbitrage_share"] * g
        mid = displaced(v, m, world * factor, g)
        source = displaced(v, m, world, carried)
        external = displaced(v, m, world * (1.0 + external_premium[m]), carried)
        market["premium_factor"], market["mid"], market["source"], market["external"] = factor, mid, source, external
        responses[m] = g
