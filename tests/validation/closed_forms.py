"""Closed forms behind the validation cases; each says where it comes from. Rates are per year, no discounting."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy import integrate, special, stats

N = stats.norm.cdf
# Broadie, Glasserman and Kou (1997): -zeta(1/2) / sqrt(2 pi), 0.5826 for short.
CONTINUITY = float(-special.zeta(0.5) / math.sqrt(2 * math.pi))


def liquidation_price(s0: float, leverage: float, maintenance: float, side: float) -> float:
    """Price at which an isolated account of this leverage reaches its requirement."""
    return s0 * (1 - side / leverage) / (1 - side * maintenance)


def bankruptcy_price(s0: float, leverage: float, side: float) -> float:
    """Price at which the account's equity is zero."""
    return s0 * (1 - side / leverage)


def first_passage(s0: float, barrier: float, sigma: float, mu: float, years: float) -> float:
    """P(a GBM touches the barrier before T), by reflection."""
    side = 1.0 if barrier < s0 else -1.0
    b, nu, sd = math.log(barrier / s0), mu - sigma**2 / 2, sigma * math.sqrt(years)
    far = math.exp(2 * nu * b / sigma**2) * N(side * (b + nu * years) / sd)
    return float(N(side * (b - nu * years) / sd) + far)


def shifted_first_passage(s0: float, barrier: float, sigma: float, mu: float, years: float, n: int) -> float:
    """The same, looked at n times: Broadie, Glasserman and Kou's shift of the barrier."""
    away = math.copysign(CONTINUITY * sigma * math.sqrt(years / n), barrier - s0)
    return first_passage(s0, barrier * math.exp(away), sigma, mu, years)


class Watched(NamedTuple):
    """A GBM looked at n times up to the first look beyond the barrier: its odds there and at the strike."""

    trigger: float  # P(a look beyond the barrier)
    bad_debt: float  # P(that look is beyond the strike)
    loss: float  # E(distance of that look beyond the strike)


def watched(
    s0: float, barrier: float, strike: float, sigma: float, mu: float, years: float, n: int, side: float
) -> Watched:
    """Propagate the density of survivors from look to look by Gauss-Legendre quadrature in the log price.

    x = side ln(S / barrier) > 0 survives; panels one step's standard deviation wide hold the density.
    """
    sd = sigma * math.sqrt(years / n)
    drift = side * (mu - sigma**2 / 2) * years / n
    start = side * math.log(s0 / barrier)
    reach = start + 9 * sigma * math.sqrt(years) + abs(drift) * n
    panels = math.ceil(reach / sd)
    nodes, weights = np.polynomial.legendre.leggauss(10)
    x = (reach / panels * (np.arange(panels)[:, None] + 0.5 + nodes / 2)).ravel()
    weight = np.tile(weights, panels) * reach / panels / 2

    def one_step(y: np.ndarray) -> np.ndarray:
        """P(beyond the barrier), P and E(beyond the strike) at the next look, from log distances y."""
        price = barrier * np.exp(side * y + mu * years / n)
        d = (side * np.log(price / strike) + side * sd**2 / 2) / sd  # E of the call or put: Black 1976
        return np.stack([N(-(y + drift) / sd), N(side * sd - d), side * (strike * N(side * sd - d) - price * N(-d))])

    found = one_step(np.array([start]))[:, 0]
    density = stats.norm.pdf(x, start + drift, sd)
    ends = one_step(x)
    step = weight * stats.norm.pdf(x[:, None] - x[None, :] - drift, scale=sd)
    for _ in range(n - 1):
        found = found + ends @ (weight * density)
        density = step @ density
    return Watched(*(float(value) for value in found))


def put(forward: float, strike: float, sd: float) -> float:
    """Black's put, undiscounted."""
    d = math.log(forward / strike) / sd
    return float(strike * N(sd / 2 - d) - forward * N(-sd / 2 - d))


def below(forward: float, strike: float, sd: float) -> float:
    """P(lognormal of this mean < strike)."""
    return float(N((math.log(strike / forward) + sd**2 / 2) / sd))


def shortfall(forward: float, strike: float, sd: float, side: float) -> tuple[float, float]:
    """P and E of side x (strike - S) > 0: a put for a long account, a call for a short one."""
    if side > 0:
        return below(forward, strike, sd), put(forward, strike, sd)
    return 1 - below(forward, strike, sd), put(forward, strike, sd) + forward - strike


def merton_shortfall(start: float, strike: float, side: float, of: dict) -> tuple[float, float]:
    """The same at T for Merton's jump-diffusion: a Poisson mixture of Black prices."""
    years, mean, sd, rate = of["T_years"], of["mu_j"], of["sig_j"], of["lam"]
    leap = math.exp(mean + sd**2 / 2) - 1
    drift = of["mu"] - (rate * leap if of["compensated"] else 0.0)
    p = e = 0.0
    for k in range(int(rate * years + 20 * math.sqrt(rate * years) + 40)):
        weight = stats.poisson.pmf(k, rate * years)
        forward = start * math.exp(drift * years) * (1 + leap) ** k
        pk, ek = shortfall(forward, strike, math.sqrt(of["sigma"] ** 2 * years + k * sd**2), side)
        p, e = p + weight * pk, e + weight * ek
    return float(p), float(e)


def hedged_shortfall(of: dict) -> tuple[float, float]:
    """P and E of (n2 R2 - n1 R1 - C')+ at T; one-dimensional quadrature over Z1 of a Black call on R2."""
    years, rho, n1, n2 = of["T_years"], of["rho"], of["notional1"], of["notional2"]
    s1, s2 = of["sigma1"] * math.sqrt(years), of["sigma2"] * math.sqrt(years)
    grow = math.exp(of["mu"] * years)
    own = s2 * math.sqrt(1 - rho**2)
    margin = of["collateral"] - n1 + n2

    # 240 panels of 20 Gauss-Legendre nodes each on [-12, 12].
    nodes, weights = np.polynomial.legendre.leggauss(20)
    z = (np.arange(240)[:, None] / 10 - 11.95 + nodes / 20).ravel()
    density = np.tile(weights, 240) / 20 * stats.norm.pdf(z)
    strike = n1 * grow * np.exp(s1 * z - s1**2 / 2) + margin
    forward = n2 * grow * np.exp(rho * s2 * z - (rho * s2) ** 2 / 2)
    real = strike > 0  # else the account fails whatever the second market does
    d = np.log(forward / np.where(real, strike, 1.0)) / own
    p = np.where(real, N(d - own / 2), 1.0)
    e = np.where(real, forward * N(d + own / 2) - strike * p, forward - strike)
    return float(density @ p), float(density @ e)


def margrabe_shortfall(n1: float, n2: float, s1: float, s2: float, rho: float, years: float) -> tuple[float, float]:
    """P(n2 R2 > n1 R1) and E(n2 R2 - n1 R1)+ of two martingales (Margrabe 1978)."""
    s = math.sqrt((s1**2 + s2**2 - 2 * rho * s1 * s2) * years)
    d = math.log(n2 / n1) / s
    p = N((math.log(n2 / n1) - (s2**2 - s1**2) * years / 2) / s)
    return float(p), float(n2 * N(d + s / 2) - n1 * N(d - s / 2))


def ruin(fund: float, rate: float, mean: float, loading: float, years: float) -> tuple[float, float]:
    """Ruin for ever and before T, exponential claims (Asmussen and Albrecher 2010, ch. V.1)."""
    forever = math.exp(-loading * fund / ((1 + loading) * mean)) / (1 + loading)
    # Scaled to mean claim 1 and premium 1: intensity b, initial capital u, horizon t.
    b, u, t = 1 / (1 + loading), fund / mean, years * rate * (1 + loading)

    def density(x: float) -> float:
        top = b * math.exp(2 * math.sqrt(b) * t * math.cos(x) - (1 + b) * t + u * (math.sqrt(b) * math.cos(x) - 1))
        swing = math.cos(u * math.sqrt(b) * math.sin(x)) - math.cos(u * math.sqrt(b) * math.sin(x) + 2 * x)
        return top * swing / (1 + b - 2 * math.sqrt(b) * math.cos(x))

    return forever, forever - integrate.quad(density, 0, math.pi, limit=2000, epsabs=1e-16)[0] / math.pi


def log_likelihood(hits: float, trials: float, p: float) -> float:
    """Binomial log-likelihood without its constant; 0 log 0 = 0."""
    return sum(n * math.log(q) for n, q in ((hits, p), (trials - hits, 1 - p)) if n > 0)


def christoffersen(n00: int, n01: int, n10: int, n11: int) -> tuple[float, float]:
    """Likelihood ratio of independence of exceedances, and its p-value (Christoffersen 1998)."""
    pooled = (n01 + n11) / (n00 + n01 + n10 + n11)
    markov = log_likelihood(n01, n00 + n01, n01 / (n00 + n01)) + log_likelihood(n11, n10 + n11, n11 / (n10 + n11))
    ratio = 2 * (markov - log_likelihood(n01 + n11, n00 + n01 + n10 + n11, pooled))
    return ratio, float(stats.chi2.sf(ratio, 1))


def cumulants(moments: list[float], sigma: float, rate: float, years: float) -> dict[str, float]:
    """Mean, variance, skewness and excess kurtosis of a jump-diffusion's log-return from E[J^k], k = 1..4."""
    k1, k2, k3, k4 = (rate * years * m for m in moments)
    variance = k2 + sigma**2 * years
    return {
        "mean": k1 - sigma**2 / 2 * years,
        "var": variance,
        "skew": k3 / variance**1.5,
        "excess_kurt": k4 / variance**2,
    }


def stationary(matrix: list[list[float]]) -> np.ndarray:
    """The law pi with pi P = pi, as the null vector of P' - I."""
    p = np.array(matrix)
    values, vectors = np.linalg.eig(p.T)
    vector = np.real(vectors[:, np.argmin(np.abs(values - 1))])
    return vector / vector.sum()
