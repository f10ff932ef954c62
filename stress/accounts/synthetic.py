"""Synthetic books: who trades, how big, how levered, on which side, and where it comes from.

The law, trader by trader (every number is a visible field of `SyntheticBook`):

1. equity e ~ Pareto(alpha), smallest 1, cut off at `largest_to_smallest`;
2. an archetype and a primary market (in proportion to open interest) give signed weights w over
   markets with sum |w| = 1: the *mix*;
3. utilisation u = initial margin / equity ~ Beta of the archetype, so that gross notional is
   e u / sum(|w| / leverage cap);
4. traders are scaled, mix kept, to the open interest of every market (`_rake`);
5. equity of each account is its initial margin (tiers included) / u: nobody starts below initial
   margin, and leverage follows the caps of the protocol at which the book is made;
6. entry prices lie around the price at t = 0; cash = equity - unrealised PnL.

Traders need not net to zero: the engine closes each market's imbalance against market makers.
Random numbers are addressed by (seed, name of the quantity, trader): more traders, or another
market, leave the draws of the others as they were (open interest then re-scales their sizes).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, model_validator
from scipy.special import betaincinv, ndtri

from stress.accounts.book import KINDS, Book, InitialMargin
from stress.accounts.reshaping import Resampling, Scale
from stress.errors import BookError, did_you_mean

DIRECTIONAL, HEDGED_PAIR, MARKET_NEUTRAL, FUNDING_COLLECTING, WHALE = range(5)
Share = Annotated[float, Field(ge=0, le=1)]
Crowding = Annotated[float, Field(gt=-1, lt=1)]


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class CappedPareto(_Spec):
    """Equity of traders before scaling: P(e > x) ~ x^-alpha between 1 and `largest_to_smallest`."""

    alpha: PositiveFloat = Field(
        default=1.0,
        description="tail index; Hyperliquid 2025-10-10: 0.87 for deleveraged notional, 0.82 for account equity, "
        "so 0.8 to 1.2. At 1.0, 500 traders give top 1 / 10 / 100 shares near 15 / 43 / 76 % (measured: 16 / 46 / 78 %)",
    )
    largest_to_smallest: float = Field(
        default=1e4, gt=1, description="cut-off; judgement: 10,000 USD for the smallest is 100M USD for the largest"
    )


class Beta(_Spec):
    """Beta law of utilisation = initial margin / equity, mean a / (a + b)."""

    a: PositiveFloat
    b: PositiveFloat


class Archetypes(_Spec):
    """Share of traders by what they do; the shares add up to 1. No venue publishes them: judgement."""

    directional: Share = Field(default=0.70, description="one side in one or several markets")
    hedged_pair: Share = Field(default=0.10, description="long one market, short another; needs two markets")
    market_neutral: Share = Field(default=0.05, description="long and short legs of equal value; needs two markets")
    funding_collecting: Share = Field(default=0.13, description="short here, the hedge lies elsewhere")
    whale: Share = Field(default=0.02, description="one big one-sided position in one market")

    @model_validator(mode="after")
    def _add_up(self) -> Archetypes:
        total = sum(self.model_dump().values())
        if abs(total - 1.0) > 1e-9:
            raise ValueError(f"the shares of archetypes add up to 1; these add up to {total:g}")
        return self


class Utilisation(_Spec):
    """Initial margin / equity by archetype, at the protocol's caps at which the book is made.

    Judgement between two facts: liquidated BitMEX accounts averaged 60x of 100x, positions
    deleveraged on Hyperliquid had a median of 0.2x and a 95th percentile of 5.1x. At caps of 40,
    25, 20, 20 for BTC, ETH, SOL, XRP the median account stands at 10x and all equity together at
    7x. A day of diffusion and jumps (base volatilities 0.45 to 0.8, times 1 and 3.2; 3 and 120
    common jumps a year) without feedback then liquidates about 1.4 % of accounts when calm and
    29 % in panic; liquidations moving prices add to it.
    """

    directional: Beta = Beta(a=6.0, b=11.0)
    hedged_pair: Beta = Beta(a=7.0, b=4.0)
    market_neutral: Beta = Beta(a=7.0, b=4.0)
    funding_collecting: Beta = Beta(a=5.0, b=11.0)
    whale: Beta = Beta(a=2.0, b=8.0)


class SyntheticBook(_Spec):
    """A seeded book of synthetic traders; see the module docstring for the law."""

    kind: Literal["synthetic"] = "synthetic"
    accounts: int = Field(
        default=500, ge=1, le=1_000_000, description="traders; a trader with an isolated position has two accounts"
    )
    equity: CappedPareto = CappedPareto()
    archetypes: Archetypes = Archetypes()
    utilisation: Utilisation = Utilisation()
    long_share: Share | dict[str, Share] = Field(
        default=0.6,
        description="share of directional traders and whales who are long, one value or by market (and `default`); "
        "judgement: funding is positive on most days (mean +0.0108 % per 8 h on BTC), so longs are the crowd",
    )
    crowding: Crowding | dict[str, Crowding] = Field(
        default=0.15,
        description="(long - short) / larger side of the traders' notional, one value or by market (and `default`); "
        "the rest is held by market makers. Judgement, same ground as long_share",
    )
    whale_top: float = Field(
        default=0.02, gt=0, le=1, description="whales draw their equity from this upper part of the law; judgement"
    )
    other_markets: Share = Field(
        default=0.25, description="chance that a trader also holds any one other market; judgement"
    )
    hedge_error: float = Field(
        default=0.1, ge=0, lt=1, description="a hedge's second leg is 1 +- this of the first, uniform; judgement"
    )
    isolated: Share = Field(
        default=0.1,
        description="share of directional and funding traders whose primary position is isolated; judgement",
    )
    isolated_collateral: float = Field(
        default=0.25, gt=0, lt=1, description="share of such a trader's equity that is posted there; judgement"
    )
    entry_spread: float = Field(
        default=0.05,
        ge=0,
        lt=1,
        description="standard deviation of log(entry / price): three days of BTC at 58 % a year. Unrealised profit is "
        "at most half of an account's equity (winners of 2025-10-10: median 0.23, 90th percentile 0.44)",
    )
    open_interest: dict[str, PositiveFloat] | None = Field(
        default=None, description="USD by market, one side, market makers included; null = the market file's"
    )
    market_makers_equity: PositiveFloat | None = Field(default=None, description="USD; null = the gross notional")
    collateral: dict[str, Share] = Field(default={}, description="share of equity held in an asset instead of cash")
    spot_leg: dict[str, str] = Field(
        default={}, description="asset that funding collectors hold against a short in a market, unit for unit"
    )
    scale: Scale = 1.0
    resample: Resampling = None


def make_synthetic(
    spec: SyntheticBook,
    *,
    markets: tuple[str, ...],
    prices: np.ndarray,
    leverage_cap: np.ndarray,
    seed: int,
    initial_margin: InitialMargin,
    open_interest: np.ndarray | None,
) -> Book:
    """Draw a book; arguments as in `stress.accounts.make_book`."""
    interest = _open_interest(spec, markets, open_interest)
    count, many = spec.accounts, len(markets)
    uniform = _Uniforms(seed, count)

    kind, primary = _who(spec, interest / interest.sum(), uniform)
    mix = _mix(spec, markets, interest, kind, primary, uniform)

    # Equity and utilisation by inverse distribution functions, one address per trader.
    rank = np.where(kind == WHALE, 1.0 - spec.whale_top * uniform("equity"), uniform("equity"))
    cut = 1.0 - spec.equity.largest_to_smallest**-spec.equity.alpha
    wealth = (1.0 - rank * cut) ** (-1.0 / spec.equity.alpha)
    laws = [getattr(spec.utilisation, name) for name in KINDS[:5]]
    a, b = np.array([(law.a, law.b) for law in laws]).T
    utilisation = betaincinv(a[kind], b[kind], uniform("utilisation"))

    # Pools: [:, 0] cross, [:, 1] isolated; a trader's equity is split between the two.
    traders = np.arange(count)
    at_primary = np.zeros((count, many), dtype=bool)
    at_primary[traders, primary] = True
    isolated = (uniform("isolated") < spec.isolated) & np.isin(kind, (DIRECTIONAL, FUNDING_COLLECTING))
    in_pool = np.stack([~(at_primary & isolated[:, None]), at_primary & isolated[:, None]], axis=1)
    weights = mix[:, None, :] * in_pool
    posted = np.where(isolated[:, None], [1.0 - spec.isolated_collateral, spec.isolated_collateral], [1.0, 0.0])
    margin_per_unit = (np.abs(weights) / leverage_cap).sum(axis=2)
    gross = np.divide(
        (wealth * utilisation)[:, None] * posted,
        margin_per_unit,
        out=np.zeros_like(posted),
        where=margin_per_unit > 0,
    )
    notional = weights * gross[:, :, None]
    notional *= _rake(spec, markets, notional.sum(axis=1), interest)[:, None, None]

    # Accounts in the order trader, cross before isolated; rows follow by market.
    exists = np.stack([np.ones(count, dtype=bool), isolated], axis=1)
    trader, pool = np.nonzero(exists)
    account_of = np.cumsum(exists.ravel()).reshape(exists.shape) - 1
    row_trader, row_pool, row_market = np.nonzero(notional)
    row_account = account_of[row_trader, row_pool]
    size = notional[row_trader, row_pool, row_market] / prices[row_market]
    row_price = prices[row_market]

    def per_account(values: np.ndarray) -> np.ndarray:
        return np.bincount(row_account, weights=values, minlength=trader.size)

    equity = per_account(initial_margin(row_market, size, row_price)) / utilisation[trader]
    # A trader whose only position is isolated keeps the rest of the equity as idle cash.
    idle = np.flatnonzero((pool == 0) & (per_account(np.ones_like(size)) == 0))
    equity[idle] = equity[idle + 1] * (1.0 / spec.isolated_collateral - 1.0)

    deviates = np.stack([ndtri(uniform(f"entry/{market}")) for market in markets], axis=1)
    entry = row_price * np.exp(spec.entry_spread * deviates[row_trader, row_market])
    profit = per_account(size * (row_price - entry))
    keep = np.minimum(1.0, np.divide(0.5 * equity, profit, out=np.ones_like(profit), where=profit > 0))
    entry = row_price + keep[row_account] * (entry - row_price)
    return Book(
        markets=markets,
        trader=trader,
        kind=kind[trader],
        isolated=pool == 1,
        cash=equity - per_account(size * (row_price - entry)),
        row_start=np.concatenate([[0], np.cumsum(np.bincount(row_account, minlength=trader.size))]),
        row_market=row_market,
        size=size,
        entry_price=entry,
        market_makers_equity=spec.market_makers_equity,
    )


class _Uniforms:
    """Uniform numbers in (0, 1), one per trader, addressed by (seed, name, trader)."""

    def __init__(self, seed: int, count: int) -> None:
        self.seed, self.count = seed, count

    def __call__(self, name: str) -> np.ndarray:
        stream = int.from_bytes(hashlib.blake2b(f"book/{name}".encode(), digest_size=8).digest(), "little")
        key = np.array([self.seed, stream], dtype=np.uint64)
        # 53-bit numbers in [0, 1), moved to the middle of their cell: never 0, never 1.
        return np.random.Generator(np.random.Philox(key=key)).random(self.count) * (1 - 2.0**-53) + 2.0**-54


def _who(spec: SyntheticBook, share: np.ndarray, uniform: _Uniforms) -> tuple[np.ndarray, np.ndarray]:
    """Archetype and primary market of each trader.

    Both come from the two-dimensional golden-ratio sequence (plastic number) with a seeded shift,
    not from independent draws: every book, and every first part of it, then has its shares to
    within a trader or two, so that small books are not empty of whales or of a market.
    """
    plastic = 1.32471795724474602596
    step = np.arange(1, spec.accounts + 1)
    first = (uniform("shift/kind")[0] + step / plastic) % 1.0
    second = (uniform("shift/market")[0] + step / plastic**2) % 1.0
    kind_edges = np.cumsum([getattr(spec.archetypes, name) for name in KINDS[:5]])
    last = int(np.flatnonzero(np.diff(kind_edges, prepend=0.0) > 0)[-1])  # rounding of the sum must not add a kind
    kind = np.minimum(np.searchsorted(kind_edges, first, side="right"), last)
    primary = np.minimum(np.searchsorted(np.cumsum(share), second, side="right"), share.size - 1)
    return kind, primary


def _mix(
    spec: SyntheticBook,
    markets: tuple[str, ...],
    interest: np.ndarray,
    kind: np.ndarray,
    primary: np.ndarray,
    uniform: _Uniforms,
) -> np.ndarray:
    """Signed weights of each trader over markets, (traders, m), sum of absolute values 1."""
    count, many = kind.size, len(markets)
    if many < 2 and np.isin(kind, (HEDGED_PAIR, MARKET_NEUTRAL)).any():
        raise BookError(
            "hedged_pair and market_neutral traders need at least two markets",
            key="book.archetypes",
            value=", ".join(markets),
            fix="set both shares to 0 and add them to directional, or add a market",
        )
    traders = np.arange(count)
    side = np.where(uniform("side") < 0.5, 1.0, -1.0)
    # One draw per trader for all markets: who is long in one market tends to be long in the others.
    long = uniform("crowd")[:, None] < _by_market(spec.long_share, markets, "book.long_share")
    exponential = np.stack([-np.log(uniform(f"weight/{market}")) for market in markets], axis=1)
    held = np.stack([uniform(f"holds/{market}") < spec.other_markets for market in markets], axis=1)
    coin = np.stack([np.where(uniform(f"leg/{market}") < 0.5, 1.0, -1.0) for market in markets], axis=1)
    hedge = 1.0 + spec.hedge_error * (2.0 * uniform("hedge") - 1.0)

    held[kind == WHALE] = False
    held[traders, primary] = True
    # The other leg of a hedge: a market drawn in proportion to open interest, the primary excepted.
    race = exponential / interest
    race[traders, primary] = np.inf
    partner = race.argmin(axis=1)

    size = exponential * held
    # A funding collector is short; directional traders and whales follow the crowd or stand against it.
    short = (kind == FUNDING_COLLECTING)[:, None] | ~long
    mix: np.ndarray = np.where(short, -size, size)

    hedged = np.isin(kind, (HEDGED_PAIR, MARKET_NEUTRAL))
    two_legs = np.zeros((count, many))
    two_legs[traders, partner] = -side
    two_legs[traders, primary] = side
    legs = size * coin
    legs[traders, partner] = -side * exponential[traders, partner]
    legs[traders, primary] = side * exponential[traders, primary]
    legs = np.where((kind == HEDGED_PAIR)[:, None], two_legs, legs)[hedged]
    # Both sides of a hedge are worth the same, up to the hedge's error.
    longs, shorts = np.maximum(legs, 0.0), np.maximum(-legs, 0.0)
    mix[hedged] = longs / longs.sum(axis=1, keepdims=True) - hedge[hedged, None] * (
        shorts / shorts.sum(axis=1, keepdims=True)
    )
    mix /= np.abs(mix).sum(axis=1, keepdims=True)
    return mix


def _rake(spec: SyntheticBook, markets: tuple[str, ...], notional: np.ndarray, interest: np.ndarray) -> np.ndarray:
    """Factor per trader that brings both sides of every market to their targets, mixes kept.

    The larger side becomes the open interest, the other (1 - |crowding|) of it. Of all factors
    that do so these are the closest to equal (least relative entropy): factor_a = product over
    sides i of x_i^(share of i in a's gross notional), found by generalised iterative scaling
    (Darroch & Ratcliff 1972). Sums run in trader order, without BLAS, so the bytes do not depend
    on the number of threads.
    """
    crowding = _by_market(spec.crowding, markets, "book.crowding")
    sides = np.concatenate([np.maximum(notional, 0.0), np.maximum(-notional, 0.0)], axis=1)
    target = np.concatenate([interest * np.minimum(1.0, 1.0 + crowding), interest * np.minimum(1.0, 1.0 - crowding)])
    labels = [f"{market} {side}" for side in ("long", "short") for market in markets]
    empty = sides.sum(axis=0) == 0
    if empty.any():
        raise BookError(
            "no trader holds this side of the market, so it cannot be scaled to the open interest",
            key="book.accounts",
            value=labels[int(np.argmax(empty))],
            fix="raise `accounts`, or keep `long_share` and the archetypes away from one-sided books",
        )
    share = sides / sides.sum(axis=1, keepdims=True)
    logarithm = np.zeros(target.size)
    for _ in range(20_000):
        factor: np.ndarray = np.exp(np.einsum("ai,i->a", share, logarithm))
        total = np.einsum("ai,a->i", sides, factor)
        if (np.abs(total / target - 1.0) <= 1e-12).all():
            break
        logarithm += np.log(target / total)
    else:
        worst = int(np.argmax(np.abs(total / target - 1.0)))
        raise BookError(
            "the traders' mixes cannot be scaled to this side's open interest",
            key="book.open_interest",
            value=labels[worst],
            fix="raise `accounts`, the share of directional traders, or bring `crowding` nearer to 0",
        )
    return factor


def _open_interest(spec: SyntheticBook, markets: tuple[str, ...], given: np.ndarray | None) -> np.ndarray:
    if spec.open_interest is not None:
        return _by_market(spec.open_interest, markets, "book.open_interest")
    if given is None:
        raise BookError(
            "a synthetic book is scaled to the open interest of its markets, and none is given",
            key="book.open_interest",
            fix="give USD by market here, or `open_interest_usd` in the market file",
        )
    given = np.asarray(given, dtype=np.float64)
    bad = ~(np.isfinite(given) & (given > 0))
    if bad.any():
        market = int(np.argmax(bad))
        raise BookError(
            "open interest is a finite amount above 0",
            key=f"open_interest_usd.{markets[market]}",
            value=float(given[market]),
        )
    return given


def _by_market(value: float | Mapping[str, float], markets: tuple[str, ...], key: str) -> np.ndarray:
    """One number per market from one for all, or from a mapping with an optional `default`: (m,)."""
    if not isinstance(value, Mapping):
        return np.full(len(markets), float(value))
    unknown = sorted(set(value) - set(markets) - {"default"})
    if unknown:
        raise BookError(
            "names no market of this study",
            key=f"{key}.{unknown[0]}",
            value=value[unknown[0]],
            fix=did_you_mean(unknown[0], markets),
        )
    missing = [market for market in markets if market not in value and "default" not in value]
    if missing:
        raise BookError("has no value for this market and no `default`", key=key, value=missing[0])
    return np.array([value.get(market, value.get("default")) for market in markets], dtype=np.float64)
