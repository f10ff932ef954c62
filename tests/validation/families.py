"""What each family of validation cases means: closed forms, and the same number through paths and engine."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import stats

from stress import measures
from stress.kernels.rng import philox, round_keys
from stress.kernels.venue import PathBlock
from stress.paths import resampled
from tests.validation import closed_forms as exact
from tests.validation.cases import (
    Case,
    Check,
    Checks,
    absolute,
    agree,
    average,
    formula,
    frequency,
    left_out,
    simulated,
)
from tests.validation.simulator import (
    DAY,
    YEAR,
    account,
    book,
    ladder,
    market_model,
    outcomes,
    paths,
    venue,
)


def side_of(case: Case) -> float:
    """+1 for a long account, -1 for a short one."""
    return {"long": 1.0, "short": -1.0}[case.inputs.get("side", "long")]


def barrier(case: Case) -> float:
    return exact.liquidation_price(case["S0"], case["leverage"], case["maint"], side_of(case))


def bankruptcy(case: Case) -> float:
    return exact.bankruptcy_price(case["S0"], case["leverage"], side_of(case))


def levels(case: Case) -> Checks:
    """The two prices of an isolated account, by formula."""
    yield formula(case, "H", lambda: barrier(case))
    if "bankruptcy_price" in case.expected:
        yield formula(case, "bankruptcy_price", lambda: bankruptcy(case))


def watched(case: Case, n: int) -> exact.Watched:
    """A GBM looked at n times up to the trigger: odds and loss at that look."""
    of = case["sigma"], case["mu"], case["T_years"], n, side_of(case)
    return exact.watched(case["S0"], barrier(case), bankruptcy(case), *of)


def isolated(case: Case):
    """One unit at the case's leverage, entered at S0."""
    side = side_of(case)
    return book([account(case["S0"] / case["leverage"], (0, side, case["S0"]))])


# ------------------------------------------------------------- first passage and the oracle


def first_passage(case: Case) -> Checks:
    """An isolated account under a GBM, looked at all the time or n times."""
    s0, sigma, mu, years = case["S0"], case["sigma"], case["mu"], case["T_years"]
    yield from levels(case)
    yield formula(case, "p_continuous", lambda: exact.first_passage(s0, barrier(case), sigma, mu, years))
    yield left_out(case, "p_continuous", "simulation between steps needs the Brownian bridge")

    def looked_at(n: int) -> np.ndarray:
        model = market_model(case, {"X": {"price": s0, "volatility": sigma, "drift": mu}})
        of = venue(isolated(case), case["maint"])
        return outcomes(of, isolated(case), paths(model, 40_000 * case.scale, years, n))["first_liquidation_step"] > 0

    for key in case.expected:
        if match := re.fullmatch(r"p_discrete_(exact|BGK)_n(\d+)", key):
            n = int(match[2])
            if match[1] == "BGK":
                yield formula(
                    case, key, lambda n=n: exact.shifted_first_passage(s0, barrier(case), sigma, mu, years, n)
                )
            else:
                yield formula(case, key, lambda n=n: watched(case, n).trigger)
                yield simulated(case, key, lambda p, n=n: frequency(case, p, looked_at(n)))


def oracle_heartbeat(case: Case) -> Checks:
    """The oracle publishes n times; between its beats the price moves unseen (three steps a beat)."""
    yield from levels(case)
    between = 3

    @functools.cache
    def beaten(n: int) -> np.ndarray:
        years = case["T_years"]
        model = market_model(case, {"X": {"price": case["S0"], "volatility": case["sigma"], "drift": case["mu"]}})
        of = venue(isolated(case), case["maint"], heartbeat=years * YEAR / n)
        return outcomes(of, isolated(case), paths(model, 16_000 * case.scale, years, between * n))

    def trigger(p: float, n: int) -> None:
        frequency(case, p, beaten(n)["first_liquidation_step"] > 0)

    def loss(e: float, n: int) -> None:
        average(case, e, beaten(n)["bad_debt"], watched(case, n).bad_debt)

    def loss_given(e: float, n: int) -> None:
        out, of = beaten(n), watched(case, n)
        average(case, e, out["bad_debt"][out["first_liquidation_step"] > 0], of.bad_debt / of.trigger)

    for n in case["n"]:
        p, e, given = (f"{name}_n{n}" for name in ("p_trigger", "E_baddebt_uncond", "E_baddebt_given_liq"))
        yield formula(case, p, lambda n=n: watched(case, n).trigger)
        yield formula(case, e, lambda n=n: watched(case, n).loss)
        yield formula(case, given, lambda n=n: watched(case, n).loss / watched(case, n).trigger)
        yield simulated(case, p, lambda x, n=n: trigger(x, n))
        yield simulated(case, e, lambda x, n=n: loss(x, n))
        yield simulated(case, given, lambda x, n=n: loss_given(x, n))
        asymptotic = exact.CONTINUITY * case["sigma"] * math.sqrt(case["T_years"] / n)
        yield formula(case, f"mean_overshoot_asympt_log_n{n}", lambda a=asymptotic: a)


# ------------------------------------------------------------ one step, from S0 or the trigger


def merton_single_check(case: Case) -> Checks:
    """Jump-diffusion; the account is looked at once, at T."""
    yield from levels(case)
    jumps = {"intensity": case["lam"], "size": {"law": "normal", "mean": case["mu_j"], "sd": case["sig_j"]}}

    @functools.cache
    def checked(start: float) -> np.ndarray:
        market = {"price": start, "volatility": case["sigma"], "drift": case["mu"], "own_jumps": jumps}
        model = market_model(case, {"X": market}, jumps={"compensated": case["compensated"], "most_per_day": 1000})
        return outcomes(
            venue(isolated(case), case["maint"]), isolated(case), paths(model, 250_000 * case.scale, case["T_years"], 1)
        )["bad_debt"]

    for name, start in (("S0", case["S0"]), ("H", barrier(case))):
        p, e = f"p_baddebt_from_{name}", f"E_baddebt_from_{name}"
        by_formula = functools.partial(exact.merton_shortfall, start, bankruptcy(case), side_of(case), case.inputs)
        yield formula(case, p, lambda f=by_formula: f()[0])
        yield formula(case, e, lambda f=by_formula: f()[1])
        yield simulated(case, p, lambda x, start=start: frequency(case, x, checked(start) > 0))
        yield simulated(case, e, lambda x, start=start, f=by_formula: average(case, x, checked(start), f()[0]))


def hedged_account_shortfall(case: Case) -> Checks:
    """Long one market, short another, one collateral; looked at once, at T."""
    n1, n2 = case["notional1"], case["notional2"]
    yield formula(case, "C_prime", lambda: case["collateral"] - n1 + n2)
    yield formula(case, "P_shortfall_exact", lambda: exact.hedged_shortfall(case.inputs)[0])
    yield formula(case, "E_shortfall_exact", lambda: exact.hedged_shortfall(case.inputs)[1])
    if "E_shortfall_Margrabe" in case.expected:
        of = [case[name] for name in ("notional1", "notional2", "sigma1", "sigma2", "rho", "T_years")]
        yield formula(case, "E_shortfall_Margrabe", lambda: exact.margrabe_shortfall(*of)[1])
    yield left_out(case, "E_shortfall_Kirk", "Kirk's approximation is for comparison only (off by 3 % at rho = 0.99)")

    @functools.cache
    def checked() -> np.ndarray:
        one, two = ({"price": 1.0, "volatility": case[name], "drift": case["mu"]} for name in ("sigma1", "sigma2"))
        model = market_model(case, {"X": one, "Y": two}, correlation={"Y": {"X": case["rho"]}})
        rows = [(0, n1, 1.0), (1, -n2, 1.0)]
        held = book([account(case["collateral"], *rows)], markets=("X", "Y"))
        return outcomes(venue(held, 1e-9), held, paths(model, 200_000 * case.scale, case["T_years"], 1))["bad_debt"]

    # A dust of 1e-6 USD is no claim (kernels.venue.QUANTUM).
    yield simulated(case, "P_shortfall_exact", lambda p: frequency(case, p, checked() > 0))
    yield simulated(
        case, "E_shortfall_exact", lambda e: average(case, e, checked(), exact.hedged_shortfall(case.inputs)[0])
    )


def delayed_execution(case: Case) -> Checks:
    """The order is given at the trigger price and filled one delay later: the oracle is one step old."""
    yield from levels(case)
    side, slip, delay = side_of(case), case["slippage"], case["delay_years"]
    sigma, mu, years = case["sigma"], case["mu"], case["T_years"]
    h, b = barrier(case), bankruptcy(case)
    forward, sd = h * math.exp(mu * delay), sigma * math.sqrt(delay)

    def given() -> tuple[float, float]:
        p, e = exact.shortfall((1 - side * slip) * forward, b, sd, side)
        return p, e

    def tail() -> tuple[float, float | None]:
        a = 0.999
        price = (1 - side * slip) * forward * math.exp(-side * stats.norm.ppf(a) * sd - sd**2 / 2)
        var = max(0.0, side * (b - price))
        if var == 0:
            return var, None
        beyond = (1 - side * slip) * forward * stats.norm.cdf(side * (stats.norm.ppf(1 - a) - side * sd))
        if side < 0:
            beyond = (1 + slip) * forward * stats.norm.cdf(sd - stats.norm.ppf(a))
        return var, side * (b * (1 - a) - beyond) / (1 - a)

    def settled() -> float:
        return exact.first_passage(case["S0"], h, sigma, mu, years - delay)

    yield formula(case, "p_baddebt_given_liq", lambda: given()[0])
    yield formula(case, "E_baddebt_given_liq", lambda: given()[1])
    yield formula(case, "E_baddebt_bps_of_H", lambda: given()[1] / h * 1e4)
    yield formula(case, "p_trigger_by_T", lambda: exact.first_passage(case["S0"], h, sigma, mu, years))
    yield formula(case, "p_trigger_by_T_minus_d", settled)
    yield formula(case, "p_baddebt_by_T", lambda: settled() * given()[0])
    yield formula(case, "E_baddebt_by_T", lambda: settled() * given()[1])
    yield formula(case, "VaR999_given_liq", lambda: tail()[0])
    yield formula(case, "ES999_given_liq", lambda: tail()[1])

    @functools.cache
    def filled() -> np.ndarray:
        start = h * (1 - side * 1e-9)  # just beyond the trigger
        model = market_model(case, {"X": {"price": start, "volatility": sigma, "drift": mu}})
        of = venue(isolated(case), case["maint"], oracle_delay=delay * YEAR)

        def with_slippage(block: PathBlock) -> PathBlock:
            return block._replace(premium=np.full_like(block.world, -side * slip))

        out = outcomes(of, isolated(case), paths(model, 150_000 * case.scale, delay, 1).changed(with_slippage))
        assert (out["first_liquidation_step"] == 1).all()
        return out["bad_debt"]

    yield simulated(case, "p_baddebt_given_liq", lambda p: frequency(case, p, filled() > 0))
    yield simulated(case, "E_baddebt_given_liq", lambda e: average(case, e, filled(), given()[0]))


def fund_ladder(case: Case) -> Checks:
    """Ten like accounts, filled one delay after their trigger, and every fund size from one run (I7)."""
    yield from levels(case)
    side, units = side_of(case), case["units_total"]
    h, b = barrier(case), bankruptcy(case)
    forward, sd = h * math.exp(case["mu"] * case["delay_years"]), case["sigma"] * math.sqrt(case["delay_years"])

    @functools.cache
    def claims() -> np.ndarray:
        held = book([account(units / 10 * case["S0"] / case["leverage"], (0, side * units / 10, case["S0"]))] * 10)
        model = market_model(
            case, {"X": {"price": h * (1 - side * 1e-9), "volatility": case["sigma"], "drift": case["mu"]}}
        )
        of = venue(held, case["maint"], oracle_delay=case["delay_years"] * YEAR)
        return outcomes(of, held, paths(model, 100_000 * case.scale, case["delay_years"], 1))["peak_uncovered_loss"]

    for fund in case["funds"]:
        strike = b - side * fund / units
        p, e = f"p_fund_{fund:g}", f"E_uncovered_fund_{fund:g}"
        chance, loss = exact.shortfall(forward, strike, sd, side)
        yield formula(case, p, lambda chance=chance: chance)
        yield formula(case, e, lambda loss=loss: units * loss)
        yield simulated(case, p, lambda x, fund=fund: frequency(case, x, claims() > fund))
        yield simulated(case, e, lambda x, fund=fund, of=chance: average(case, x, np.maximum(claims() - fund, 0.0), of))


def heterogeneous_fund(case: Case) -> Checks:
    """Many accounts and one shock: the fund that a given share of shocks exhausts."""
    random = np.random.default_rng(case["seed"])
    leverage = np.round(np.clip(np.exp(random.normal(math.log(6), 0.6, 200)), 1.5, 25), 3)
    notional = np.round(25e3 * np.exp(random.normal(0, 1.2, 200)), 2)
    yield to_rounding(case, "total_notional", notional.sum())
    of_merton = {
        "intensity": case["lam"],
        "size": {"law": "normal", "mean": case["mu_j"], "sd": case["sig_j"]},
    }
    shocks = {"gbm1d": (case["horizon_gbm_years"], None), "merton1h": (case["horizon_merton_years"], of_merton)}

    def shocked(kind: str) -> Any:
        years, jumps = shocks[kind]
        market = {"price": 1.0, "volatility": case["sigma"], "own_jumps": jumps}
        model = market_model(case, {"X": market}, jumps={"compensated": False, "most_per_day": 1000})
        return paths(model, 40_000 * case.scale, years, 1)

    @functools.cache
    def lost(kind: str) -> np.ndarray:
        accounts = [account(n / x, (0, n, 1.0)) for n, x in zip(notional, leverage, strict=True)]
        return outcomes(venue(book(accounts), 1e-9), book(accounts), shocked(kind))["bad_debt"]

    @functools.cache
    def log_returns() -> np.ndarray:
        return np.concatenate([np.log(block.world[:, -1, 0]) for block in shocked("merton1h")])

    for key in case.expected:
        if match := re.fullmatch(r"(gbm1d|merton1h)_fund_for_p_(.*)", key):
            yield simulated(case, key, lambda fund, m=match: frequency(case, float(m[2]), lost(m[1]) > fund))
        if match := re.fullmatch(r"merton1h_logS_quantile_(.*)", key):
            yield simulated(case, key, lambda q, m=match: frequency(case, float(m[1]), log_returns() < q))


def jump_over_buffer(case: Case) -> Checks:
    """Every jump starts at the trigger price of an account and may leap over its margin."""
    m, mean, sd, rate = case["maint"], case["mu_j"], case["sig_j"], case["lam_per_year"]
    p, e = exact.shortfall(math.exp(mean + sd**2 / 2), 1 - m, sd, 1.0)
    yield formula(case, "p_leap_per_jump", lambda: p)
    yield formula(case, "E_baddebt_frac_of_H_per_jump", lambda: e)
    yield formula(case, "leap_rate_per_year", lambda: rate * p)
    yield formula(case, "p_at_least_one_leap", lambda: -math.expm1(-rate * p * case["T_years"]))
    yield formula(case, "p_at_least_one_leap_1day", lambda: -math.expm1(-rate * p / 365))

    @functools.cache
    def leaps() -> tuple[np.ndarray, np.ndarray, int]:
        """Bad debt of each jump, the day it belongs to, and the number of days; a day has 288 looks."""
        jumps = {"intensity": rate, "size": {"law": "normal", "mean": mean, "sd": sd}}
        model = market_model(
            case, {"X": {"price": 1.0, "volatility": 0.0, "own_jumps": jumps}},
            jumps={"compensated": False, "most_per_day": 1000},
        )  # fmt: skip
        held = book([account(m, (0, 1.0, 1.0))])  # equity = requirement at a price of 1
        debts, days, seen = [], [], 0
        for block in paths(model, max(2_000, int(3_000 * 365 / rate)) * case.scale, 1 / 365, 288):
            returns = block.world[:, 1:, 0] / block.world[:, :-1, 0]
            day, step = np.nonzero(returns != 1.0)
            world = np.stack([np.ones(len(day)), returns[day, step]], axis=1)[:, :, None]
            debts.append(outcomes(venue(held, m), held, [like(block, world)], step=300.0)["bad_debt"])
            days.append(day + seen)
            seen += len(returns)
        return np.concatenate(debts), np.concatenate(days), seen

    def days_with_a_leap() -> np.ndarray:
        debts, days, count = leaps()
        return np.bincount(days[debts > 0], minlength=count)

    yield simulated(case, "p_leap_per_jump", lambda x: frequency(case, x, leaps()[0] > 0))
    yield simulated(case, "E_baddebt_frac_of_H_per_jump", lambda x: average(case, x, leaps()[0], p))
    yield simulated(
        case, "leap_rate_per_year", lambda x: average(case, x, days_with_a_leap() * 365.0, -math.expm1(-rate * p / 365))
    )
    yield simulated(case, "p_at_least_one_leap_1day", lambda x: frequency(case, x, days_with_a_leap() > 0))


def like(block: PathBlock, world: np.ndarray) -> PathBlock:
    """Other prices, all else as in the block's first step."""
    shape = world.shape
    return block._replace(
        world=world,
        depth=np.full(shape, block.depth[0, 0, 0]),
        premium=np.zeros(shape),
        external_premium=np.zeros(shape),
        oracle_outage=np.zeros(shape, np.uint8),
        venue_outage=np.zeros(shape[:2], np.uint8),
        regime=np.zeros(shape[:2], np.int8),
    )


# --------------------------------------------------------------------------------- cascades


def cascade_continuum_linear(case: Case) -> Checks:
    """Accounts spread evenly over drops of 0 to w; each USD sold moves the mark by kappa of the first price."""
    x0, total, kappa, width = (case[k] for k in ("x0", "A_usd_per_unit_drop", "kappa_per_usd", "threshold_width"))
    k, accounts = total * kappa, 1000
    saturates = k >= 1 or x0 / (1 - k) > width
    drop = x0 + k * width if saturates else x0 / (1 - k)
    yield to_rounding(case, "k", k)
    yield to_rounding(case, "multiplier", drop / x0)
    yield to_rounding(case, "total_drop", drop)
    yield to_rounding(case, "liquidated_usd", total * min(drop, width))
    yield to_rounding(case, "saturated", saturates)

    @functools.cache
    def fallen(rounds: int | None) -> tuple[float, float]:
        # An account stands for the thresholds of a slice. For the fixed point it acts from the slice's lower end:
        # the first account beyond the fixed point is then less than one slice away, however near k is to 1.
        at = 0.5 if rounds else 0.0
        thresholds = (np.arange(accounts) + at) * width / accounts
        return ladder(thresholds, total * width / accounts, x0, rounds, kappa_per_usd=kappa)

    def near(found: float, x: float) -> None:
        agree(case, found, x, abs=absolute(case, threshold_width=width, accounts=accounts))

    yield simulated(case, "total_drop", lambda x: near(fallen(None)[0], x))
    yield simulated(case, "liquidated_usd", lambda x: near(fallen(None)[1] / total, x / total))
    for key, value in case.expected.items():
        if match := re.fullmatch(r"drop_after_(\d+)_rounds", key):
            r = int(match[1])
            yield to_rounding(case, key, min(x0 * sum(k**i for i in range(r + 1)), x0 + k * width, drop))
            if r == 0:
                continue
            if value > width:
                yield left_out(case, key, "the case's finite rounds hold only while the drop is within the ladder")
            else:
                yield simulated(case, key, lambda x, r=r: near(fallen(r)[0], x))


def to_rounding(case: Case, key: str, value: Any) -> Check:
    """A closed form where the case states a tolerance for the simulation only."""
    exactly = isinstance(value, bool)
    return Check(key, "formula", lambda: agree(case, value, case.expected[key], exact=exactly, formula_rel=1e-9))


def cascade_discrete_linear(case: Case) -> Checks:
    """Account i acts at a drop of i h, and its sale adds kappa v."""
    x0, h, kick, count = (case[k] for k in ("x0", "h", "kappa_v", "N"))

    def closed() -> int:
        if x0 < h:
            return 0
        return count if kick >= h else min(count, math.floor((x0 - kick) / (h - kick) + 1e-9))

    @functools.cache
    def fallen() -> tuple[float, float]:
        # A tie acts in the case and not at the venue (strict trigger): thresholds lie 1e-9 of a rung lower.
        return ladder((np.arange(1, count + 1) - 1e-9) * h, 1.0, x0, None, kappa_per_usd=kick)

    yield formula(case, "n_formula", closed)
    yield simulated(case, "n_liquidated", lambda n: agree(case, round(fallen()[1], 6), n))
    yield simulated(case, "total_drop", lambda x: agree(case, round(fallen()[0], 12), round(x, 12)))


def cascade_square_root(case: Case) -> Checks:
    """The same ladder, with impact c sqrt(USD sold so far)."""
    x0, total, c = case["x0"], case["A"], case["c"]
    a = c * math.sqrt(total)
    drop = ((a + math.sqrt(a * a + 4 * x0)) / 2) ** 2
    yield formula(case, "total_drop", lambda: drop)
    yield formula(case, "multiplier", lambda: drop / x0)
    accounts, width = 400, 2 * drop

    def fallen(x: float) -> None:
        found = ladder(np.arange(accounts) * width / accounts, total * width / accounts, x0, None, root=c)[0]
        agree(case, found, x, abs=absolute(case, threshold_width=width, accounts=accounts))

    yield simulated(case, "total_drop", fallen)


# -------------------------------------------------------------------------------- generators


def moments(case: Case, law: dict[str, Any], raw: list[float]) -> Checks:
    """Mean, variance, skewness and excess kurtosis of one day's or T's log-return."""
    expected = exact.cumulants(raw, case["sigma"], case["lam"], case["T_years"])
    jumps = {"intensity": case["lam"], "size": law}

    @functools.cache
    def centred() -> np.ndarray:
        model = market_model(
            case, {"X": {"price": 1.0, "volatility": case["sigma"], "own_jumps": jumps}},
            jumps={"compensated": False, "most_per_day": 1000},
        )  # fmt: skip
        blocks = paths(model, 400_000 * case.scale, case["T_years"], 1)
        return np.concatenate([np.log(block.world[:, -1, 0]) for block in blocks]) - case.expected["mean"]

    yield simulated(case, "mean", lambda x: average(case, 0.0, centred()))
    yield simulated(case, "var", lambda x: average(case, x, centred() ** 2))
    sd = math.sqrt(case.expected["var"])
    yield simulated(case, "skew", lambda x: average(case, x, (centred() / sd) ** 3))
    yield simulated(case, "excess_kurt", lambda x: average(case, x + 3, (centred() / sd) ** 4))
    for key, value in expected.items():
        yield to_rounding(case, key, value)


def merton_cumulants(case: Case) -> Checks:
    m, s = case["mu_j"], case["sig_j"]
    raw = [m, m**2 + s**2, m**3 + 3 * m * s**2, m**4 + 6 * m**2 * s**2 + 3 * s**4]
    yield from moments(case, {"law": "normal", "mean": m, "sd": s}, raw)


def kou_cumulants(case: Case) -> Checks:
    up, down, p = case["eta_up"], case["eta_dn"], case["p_up"]
    raw = [math.factorial(k) * (p / up**k + (-1) ** k * (1 - p) / down**k) for k in (1, 2, 3, 4)]
    yield from moments(case, {"law": "kou", "p_down": 1 - p, "mean_down": 1 / down, "mean_up": 1 / up}, raw)


def jump_diffusion_correlation(case: Case) -> Checks:
    """Two markets with correlated diffusions, one common jump and own jumps: the correlation of returns."""
    sd = math.sqrt(case["EJ2"])
    common = {"intensity": case["lam_common"], "size": {"law": "normal", "mean": 0.0, "sd": sd}}

    def market(i: int) -> dict[str, Any]:
        rate = 100.0
        own = {"intensity": rate, "size": {"law": "normal", "sd": math.sqrt(case[f"idio_var{i}"] / rate)}}
        return {"price": 1.0, "volatility": case[f"sigma{i}"], "jump_beta": case[f"beta{i}"], "own_jumps": own}

    def joint() -> float:
        variance = [
            case[f"sigma{i}"] ** 2 + case["lam_common"] * case[f"beta{i}"] ** 2 * case["EJ2"] + case[f"idio_var{i}"]
            for i in (1, 2)
        ]
        common_part = case["lam_common"] * case["beta1"] * case["beta2"] * case["EJ2"]
        return (case["rho"] * case["sigma1"] * case["sigma2"] + common_part) / math.sqrt(math.prod(variance))

    def compare(r: float) -> None:
        model = market_model(
            case, {"X": market(1), "Y": market(2)}, correlation={"Y": {"X": case["rho"]}},
            jumps={"common": common, "compensated": False, "most_per_day": 1000},
        )  # fmt: skip
        x = np.concatenate([np.log(block.world[:, -1]) for block in paths(model, 200_000 * case.scale, 1 / 365, 1)])
        u, v = ((x - x.mean(axis=0)) / x.std(axis=0)).T
        # Influence of one observation on the correlation (Fernholz 1983): its spread gives the error.
        average(case, r, u * v - r * (u * u + v * v) / 2 + r)

    yield to_rounding(case, "corr", joint())
    yield simulated(case, "corr", compare)


def regime_chain(case: Case) -> Checks:
    """The chain's stationary law and mean durations, by formula and walked."""
    states = [f"s{i}" for i in range(len(case["P"]))]
    model = market_model(
        case, {"X": {"price": 1.0, "volatility": 0.1}},
        regimes={"states": {name: {} for name in states}, "hourly_transition": case["P"]},
    )  # fmt: skip
    yield formula(case, "pi", lambda: model.regimes.stationary)
    yield formula(case, "expected_duration", lambda: 1 / (1 - np.diag(model.regimes.matrix)))

    @functools.cache
    def walked() -> np.ndarray:
        blocks = paths(model, 1_000 * case.scale, 200 / 365 / 24, 200, start="stationary")
        return np.concatenate([block.regime for block in blocks])

    def shares(pi: list[float]) -> None:
        for state, share in enumerate(pi):
            average(with_z(case), share, (walked() == state).mean(axis=1))

    def durations(mean: list[float]) -> None:
        before, after = walked()[:, :-1].ravel(), walked()[:, 1:].ravel()
        for state, hours in enumerate(mean):
            frequency(with_z(case), 1 / hours, after[before == state] != state)

    yield simulated(case, "pi", shares)
    yield simulated(case, "expected_duration", durations)


def with_z(case: Case) -> Case:
    """A case that states no tolerance for a simulation is checked at |z| <= 4, as all others are."""
    return Case(
        case.file, case.name, case.family, case.inputs, case.expected, {"mc_z": 4, **case.tolerance}, case.scale
    )


def ou_transition(case: Case) -> Checks:
    """One exact step of the premium layer, from x0 towards its mean."""
    kappa, vol, dt = case["kappa_per_day"], case["vol_per_sqrt_day"], case["dt_days"]
    keep, sd = math.exp(-kappa * dt), vol / math.sqrt(2 * kappa)
    yield formula(case, "mean", lambda: case["theta"] + (case["x0"] - case["theta"]) * keep)
    yield formula(case, "var", lambda: sd**2 * (1 - keep**2))
    yield formula(case, "stationary_sd", lambda: sd)

    def layer(**start: float) -> dict[str, Any]:
        return {"mean": {"calm": case["theta"]}, "half_life": f"{math.log(2) / kappa * DAY:.15f}s", "sd": sd, **start}

    @functools.cache
    def moved() -> np.ndarray:
        model = market_model(case, {"X": {"price": 1.0, "volatility": 0.1}}, premium=layer(start=case["x0"]))
        return np.concatenate([b.premium[:, 1, 0] for b in paths(model, 100_000 * case.scale, dt / 365, 1)])

    def stationary(x: float) -> None:
        model = market_model(case, {"X": {"price": 1.0, "volatility": 0.1}}, premium=layer())
        late = np.concatenate([b.premium[:, -1, 0] for b in paths(model, 100_000 * case.scale, dt / 365, 1)])
        average(case, x**2, (late - case["theta"]) ** 2)

    yield simulated(case, "mean", lambda x: average(case, x, moved()))
    yield simulated(case, "var", lambda x: average(case, x, (moved() - case.expected["mean"]) ** 2))
    yield simulated(case, "stationary_sd", stationary)


# ----------------------------------------------------------------------- numbers and statistics


def philox_known_answer(case: Case) -> Checks:
    """The generator's bits; numpy increments the 256-bit counter before its first block."""

    def numbers(key: list[int], counter: int) -> list[int]:
        words = [np.uint64(counter >> 64 * i & (2**64 - 1)) for i in range(4)]
        return [int(word) for word in philox(round_keys(*key), *words)]

    def as_numpy() -> list[int]:
        counter = sum(int(word) << 64 * i for i, word in enumerate(case["counter_passed_to_numpy"]))
        return numbers(case["key"], (counter + 1) % 2**256)

    def of_zero() -> list[str]:
        return [f"0x{word:016x}" for word in numbers([0, 0], 0)]

    yield formula(case, "numpy_random_raw_first4", as_numpy)
    yield formula(case, "zero_key_zero_counter_bijection", of_zero)


def binomial_interval(case: Case) -> Checks:
    x, n = case["x"], case["n"]
    yield formula(case, "wilson", lambda: measures.wilson(x, n))
    yield formula(case, "clopper_pearson", lambda: measures.clopper_pearson(x, n))
    yield formula(case, "beta_binomial_CS_uniform_mixture", lambda: measures.confidence_sequence(x, n))
    yield formula(
        case, "beta_binomial_CS_Beta_half_500", lambda: measures.confidence_sequence(x, n, prior=(0.5, 500.0))
    )


# ------------------------------------------------- closed forms whose layer or measure comes later


def bridge_crossing(case: Case) -> Checks:
    a, b, h = (math.log(case[name]) for name in ("S0", "S1", "H"))
    variance = case["sigma"] ** 2 * case["dt_years"]
    yield formula(case, "p_cross", lambda: math.exp(-2 * (a - h) * (b - h) / variance))
    median = (a + b - math.sqrt((b - a) ** 2 + 2 * variance * math.log(2))) / 2
    yield formula(case, "note_median_min", lambda: math.exp(median))
    yield left_out(case, "p_cross", "simulation between steps needs the Brownian bridge")


def borrowed_leg_shortfall(case: Case) -> Checks:
    of = [case[name] for name in ("n1", "n2", "sigma1", "sigma2", "rho", "T_years")]
    yield formula(case, "P_shortfall", lambda: exact.margrabe_shortfall(*of)[0])
    yield formula(case, "E_shortfall", lambda: exact.margrabe_shortfall(*of)[1])
    yield left_out(case, "P_shortfall", "a debt in coins is not simulated: collateral is, loans are not")


def ratio_first_passage(case: Case) -> Checks:
    s1, s2, rho = case["sigma1"], case["sigma2"], case["rho"]
    sigma, mu = math.sqrt(s1**2 + s2**2 - 2 * rho * s1 * s2), s2**2 - rho * s1 * s2
    yield formula(case, "sigma_ratio", lambda: sigma)
    yield formula(case, "mu_ratio", lambda: mu)
    start, level = case["n1"] / case["n2"], 1 + case["maint"]
    yield formula(case, "p_trigger", lambda: exact.first_passage(start, level, sigma, mu, case["T_years"]))
    yield left_out(case, "p_trigger", "simulation between steps needs the Brownian bridge")


def fund_ruin(case: Case) -> Checks:
    of = [case[name] for name in ("fund", "events_per_year", "mean_claim", "loading", "T_years")]
    steep = case["loading"] / ((1 + case["loading"]) * case["mean_claim"])
    yield formula(case, "psi_infinite", lambda: exact.ruin(*of)[0])
    yield formula(case, "psi_T", lambda: exact.ruin(*of)[1])
    yield formula(case, "adjustment_coefficient", lambda: steep)
    yield formula(case, "lundberg_bound", lambda: math.exp(-steep * case["fund"]))
    yield left_out(case, "psi_T", "claims that do not come from a simulated venue")


def kupiec(case: Case) -> Checks:
    x, n, p = case["x"], case["n"], case["p"]
    ratio = 2 * (exact.log_likelihood(x, n, x / n) - exact.log_likelihood(x, n, p))
    yield formula(case, "LR_p", lambda: [ratio, stats.chi2.sf(ratio, 1)])


def christoffersen(case: Case) -> Checks:
    of = [case[name] for name in ("n00", "n01", "n10", "n11")]
    yield formula(case, "LR_ind", lambda: exact.christoffersen(*of)[0])
    yield formula(case, "p_ind", lambda: exact.christoffersen(*of)[1])


def acerbi_szekely(case: Case) -> Checks:
    a = case["alpha"]
    var = -stats.norm.ppf(a)
    es = stats.norm.pdf(var) / a
    yield formula(case, "VaR", lambda: var)
    yield formula(case, "ES", lambda: es)
    yield formula(case, "Z2_null", lambda: 0.0)
    yield formula(case, "Z2_true_vol_1p2", lambda: 1 - 1.2 * stats.norm.pdf(var / 1.2) / (a * es))
    yield formula(case, "hit_rate_true_vol_1p2", lambda: stats.norm.cdf(-var / 1.2))


def stationary_bootstrap(case: Case) -> Checks:
    """Hours drawn in blocks from one turn of a cosine, beside the number of each hour: what follows what, and how long."""
    count, lags = 400, case["k"]
    number = np.arange(count)
    series = np.cos(2 * np.pi * number / count)
    close = np.stack([series, number], axis=1)
    rows = resampled.Rows(close, close, close)
    steps = lags[-1] + case["b"]
    terms = resampled.ResampledTerms(
        rows, np.ones_like(close), (), 1 / case["b"], np.ones(2), 1.0, np.ones(2), np.zeros(2), 0.0, 0.0, steps, 1
    )

    @functools.cache
    def drawn() -> np.ndarray:
        keys = round_keys(20261126, 1)
        return np.stack([resampled.hours_of(keys, terms, path)[:, 0] for path in range(8_000 * case.scale)])

    def damps(expected: list[float]) -> None:
        x = drawn()[:, :, 0]
        for lag, damping in zip(lags, expected, strict=True):
            products = (x[:, :-lag] * x[:, lag:]).mean(axis=1)
            average(case, damping * np.mean(series * np.roll(series, -lag)), products)

    def lasts(expected: float) -> None:
        hours = drawn()[:, :25, 1]
        frequency(case, expected, ((np.diff(hours, axis=1) % count) == 1).all(axis=1))

    yield simulated(case, "damping", damps)
    yield simulated(case, "P_block_longer_than_24", lasts)


FAMILIES: dict[str, Callable[[Case], Checks]] = {
    family.__name__: family
    for family in (
        first_passage, oracle_heartbeat, merton_single_check, hedged_account_shortfall, delayed_execution,
        fund_ladder, heterogeneous_fund, jump_over_buffer, cascade_continuum_linear, cascade_discrete_linear,
        cascade_square_root, merton_cumulants, kou_cumulants, jump_diffusion_correlation, regime_chain,
        ou_transition, philox_known_answer, binomial_interval, bridge_crossing, borrowed_leg_shortfall,
        ratio_first_passage, fund_ruin, kupiec, christoffersen, acerbi_szekely, stationary_bootstrap,
    )
}  # fmt: skip

NOT_BUILT = {
    "kou_first_passage": "needs the Brownian bridge between jumps",
    "t_copula": "there is no path layer with t dependence yet",
    "gjr_moments": "the GARCH layer has no term for the sign of a return",
    "hawkes_counts": "there is no self-exciting path layer yet",
}
