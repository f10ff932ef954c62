"""Rolling window: a market closes at most so much in any window of time, a little more while its skew is small.

Stage        size.
Formula      capacity = (maker_fee + taker_fee) x skew_scale x window_multiplier x window (in seconds), base units;
             quantity = min(|size|, capacity - filled in the window). Once the window is used up and
             |skew| / skew_scale < calm_skew, one more capacity per step.
             A window shorter than the step allows capacity x step / window in each step.
Source       Synthetix v3, perps-market/contracts/storage/PerpsMarket.sol:117 @ 23585f73 (maxPD is `calm_skew`).
Invariants   filled within any window <= capacity, the calm extra aside.
Limits       skew is that of the traders; the extra of each block becomes one of each step. A window has at most 64
             steps. Endorsed liquidators, whom no window binds, are left out.
"""

from __future__ import annotations

from pydantic import Field

from stress.errors import StudyError
from stress.kernels.jit import inlined, kernel
from stress.stages import (
    Mechanism,
    MechanismParameters,
    NonNegativeByMarket,
    PerStep,
    PositiveByMarket,
    Stage,
    StateField,
)

SLOTS = 64


class RollingWindow(MechanismParameters):
    """Values may be given by market."""

    maker_fee: NonNegativeByMarket = Field(description="fraction of notional")
    taker_fee: NonNegativeByMarket = Field(description="fraction of notional")
    skew_scale_of_window: PositiveByMarket = Field(description="the market's skew scale, base units")
    window_multiplier: NonNegativeByMarket = Field(description="scales the capacity")
    window: PerStep = Field(gt=0, description="length of the window")
    calm_skew: float = Field(default=0.0, ge=0, description="skew over skew scale below which one more is allowed")

    def terms(self, market, step):
        """Return the kernel's fields, with the window in whole steps."""
        slots = max(1, round(self.window / step))
        if slots > SLOTS:
            raise StudyError(f"a window has at most {SLOTS} steps", key="window", value=slots, fix="use a longer step")
        return {**MechanismParameters.terms(self, market, step), "window_slots": slots}


@inlined
def capacity(v, m):
    """Base units that one window allows to close; a step longer than the window has several."""
    terms = v.terms[m]
    whole = (terms["maker_fee"] + terms["taker_fee"]) * terms["skew_scale_of_window"] * terms["window_multiplier"]
    return whole * max(terms["window"], v.step_seconds)


@kernel
def filled_in_window(v, m, t):
    """Base units closed in the window that ends with step t."""
    total = 0.0
    for k in range(v.terms[m]["window_slots"]):
        slot = (t - k) % SLOTS
        if v.markets[m]["window_step"][slot] == t - k:
            total += v.markets[m]["window_filled"][slot]
    return total


@kernel
def _skew(v, m):
    total = 0.0
    for k in range(v.markets[m]["rows_start"], v.markets[m]["rows_end"]):
        r = v.market_rows[k]
        if v.rows[r]["account"] < v.traders:
            total += v.rows[r]["size"]
    return total


@kernel
def quantity(v, a, r, equity, requirement, bankruptcy_price, t, maintenance, fee):
    """Base units of row `r` to close."""
    m = v.rows[r]["market"]
    whole = capacity(v, m)
    left = whole - filled_in_window(v, m, t)
    if left <= whole * 1e-12:
        calm = abs(_skew(v, m)) < v.terms[m]["calm_skew"] * v.terms[m]["skew_scale_of_window"]
        if not calm or v.markets[m]["extra_step"] == t:
            return 0.0
        v.markets[m]["extra_step"] = t
        left = whole
    return min(abs(v.rows[r]["size"]), left)


@kernel
def on_fill(v, a, r, filled, price, t):
    """Count a fill in the slot of its step."""
    if a < v.traders:
        market = v.markets[v.rows[r]["market"]]
        slot = t % SLOTS
        if market["window_step"][slot] != t:
            market["window_step"][slot] = t
            market["window_filled"][slot] = 0.0
        market["window_filled"][slot] += filled


MECHANISM = Mechanism(
    name="rolling_window",
    stage=Stage.SIZE,
    parameters=RollingWindow,
    kernels={"quantity": quantity},
    on_fill=on_fill,
    state=(
        StateField("window_step", "market", "i8", "step", reset=-1, shape=(SLOTS,)),
        StateField("window_filled", "market", "f8", "base units", shape=(SLOTS,)),
        StateField("extra_step", "market", "i8", "step", reset=-1),
    ),
)
