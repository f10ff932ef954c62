"""The suite notices: an engine broken on purpose fails the checks named here, which the whole one passes.

A break substitutes one kernel, on the shelf or in its module. A check is a test of this suite, called as it
stands: the exact twin, an invariant, a number worked by hand, a validation case.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stress import engine
from stress.kernels import deleveraging, ledger
from stress.mechanisms import shelf
from stress.paths import jumps
from tests.property import test_horizon, test_invariants
from tests.reference.test_ledger_twin import assert_agrees
from tests.unit import (
    test_mechanism_external_feed,
    test_mechanism_order_book,
    test_mechanism_strict_trigger,
    test_paths_generators,
    test_worked_example,
)
from tests.validation.cases import read_cases
from tests.validation.families import FAMILIES
from tests.venues import book_of, paths_of, protocol_of

Check = Callable[[], object]
CASES = Path(__file__).parents[1] / "validation"


TIERS = [
    {"above": 0, "leverage_cap": 25, "maintenance_to_initial_ratio": 0.5},
    {"above": 1500, "leverage_cap": 20, "maintenance_to_initial_ratio": 0.5},
]


def crash():
    """A venue with every layer, five accounts, and a fall that empties the fund, deleverages and is shared."""
    protocol = protocol_of(
        impact={"rule": "square_root_impact", "impact_at_depth": 0.02, "arbitrage_share": 0.5},
        oracle={"rule": "external_feed", "oracle_delay": "60s"},
        funding={"rule": "premium_clamp_funding", "funding_interval": "2m", "funding_period": "2h"},
        execution=[{"rule": "order_book", "deficit_fill": "covered"}],
        margin={"rule": "tiered_margin", "markets": {"default": TIERS}},
        fees={"rule": "liquidation_fee", "liquidation_fee": 0.01},
        waterfall=[
            {"rule": "insurance_fund", "insurance_fund": 60.0},
            {"rule": "adl_pro_rata", "adl_price": "mark", "adl_when": "fund_exhausted"},
            {"rule": "socialized_loss"},
        ],
    )
    rows = [[(0, 31.0, 100.0)], [(0, -24.0, 100.0)], [(0, 18.0, 101.0)], [(0, 9.0, 100.0)], [(0, -2.0, 97.0)]]
    book = book_of(("A", "B"), [178.0, 700.0, 150.0, 45.0, 90.0], rows, 400.0)
    moves = np.cumsum([0.0, -0.015, -0.02, 0.004, -0.09, -0.03, 0.01, 0.002])
    world = np.stack([100.0 * np.exp(moves), np.full(len(moves), 7.0)], axis=1)[None]
    premium = np.array([0.0, -0.002, -0.004, 0.001, -0.02, -0.006, 0.0, 0.001])[None, :, None]
    return protocol, book, paths_of(world, premium=premium, depth=np.array([60.0, 1e3]))


def twin() -> None:
    """The exact twin on the crash, in which every layer acts."""
    out = assert_agrees(*crash())
    assert min(out[name] for name in ("liquidated_notional", "fund_received", "fund_paid", "adl_notional")) > 0.0
    assert out["socialized_loss"] > 0.0


def on_crash(test, *more) -> Check:
    """A Hypothesis test of (protocol, book, block, more), on the crash."""
    return lambda: test.hypothesis.inner_test(*crash(), *more)


identities = on_crash(test_invariants.test_i1_i2_i3_ledger_net_zero_and_fund)
both_sides = on_crash(test_invariants.test_i5_every_deleveraged_contract_is_closed_on_both_sides)


def unseen_crash() -> None:
    """A crash that nobody sees, on a book of one long account."""
    test = test_horizon.test_a_crash_that_nobody_sees_loses_at_least_as_much_as_one_that_is_met
    test.hypothesis.inner_test(protocol_of(), book_of(("A",), [10.0], [[(0, 1.0, 100.0)]]), [0.02, 0.3, 0.3])


def validation(name: str, key: str, share: float) -> Check:
    """A simulated number of a validation case, from a share of its paths."""

    def run() -> None:
        (case,) = (case for case in read_cases(CASES, share) if case.name == name)
        (check,) = (check for check in FAMILIES[case.family](case) if (check.key, check.how) == (key, "simulated"))
        check.run()

    return run


def rule(name: str, kernel: str, broken: Callable[[Callable], Callable]):
    """Break one kernel of a mechanism."""

    def substitute(patch: pytest.MonkeyPatch) -> None:
        whole = shelf()[name]
        patch.setitem(shelf(), name, replace(whole, kernels={**whole.kernels, kernel: broken(whole.kernels[kernel])}))

    return substitute


def function(module, name: str, broken: Callable[[Callable], Callable]):
    """Break one function of a module."""
    return lambda patch: patch.setattr(module, name, broken(getattr(module, name)))


def one_step_late(observe):
    def late(v, path, t, first_round):
        v.terms["oracle_delay_steps"] += 1
        observe(v, path, t, first_round)
        v.terms["oracle_delay_steps"] -= 1

    return late


def charged_and_gone(fee):
    def lost(v, *fill):
        usd, recipient = fee(v, *fill)
        v.accounts[v.traders + recipient]["cash"] -= usd
        return usd, recipient

    return lost


def at_the_mark(execute):
    def fill(v, a, r, *order):
        filled, price, counterparty, limit = execute(v, a, r, *order)
        return filled, v.markets[v.rows[r]["market"]]["mark"] if filled > 0.0 else price, counterparty, limit

    return fill


def every_other(trade):
    calls = []

    def leg(*of):
        calls.append(of)
        if len(calls) % 2:
            trade(*of)

    return leg


def not_strictly(flag):
    return lambda v, a, equity, requirement, t: flag(v, a, np.nextafter(equity, -np.inf), requirement, t)


def without_deduction(maintenance):
    def flat(v, m, size, price):
        terms, notional = v.terms[m], abs(size) * price
        tier = sum(notional > above for above in terms["tier_above"][1:])
        return notional * terms["maintenance_rate"][tier]

    return flat


def twice(pay):
    def generous(v, a, m, amount):
        pay(v, a, m, amount)
        v.accounts[a]["cash"] += amount

    return generous


BREAKS = {
    "the oracle one step late": (
        rule("external_feed", "observe", one_step_late),
        {
            "twin": twin,
            "unit": test_mechanism_external_feed.test_no_delay_is_the_price_itself,
        },
    ),
    "a fee charged and lost": (
        rule("liquidation_fee", "fee", charged_and_gone),
        {"twin": twin, "I1": identities},
    ),
    "a fee never charged": (
        rule("liquidation_fee", "fee", lambda fee: lambda v, *fill: (0.0, fee(v, *fill)[1])),
        {"twin": twin},
    ),
    "fills at the mark instead of V": (
        rule("order_book", "execute", at_the_mark),
        {
            "twin": twin,
            "worked example": test_worked_example.test_covered_fills_then_adl_at_the_bankruptcy_price,
            "unit": test_mechanism_order_book.test_fills_take_the_mid_and_margin_the_mark,
            "delayed_execution": validation("b3", "E_baddebt_given_liq", 1 / 10),
        },
    ),
    "one leg of a deleveraging skipped": (
        function(deleveraging, "trade", every_other),
        {
            "twin": twin,
            "I2": identities,
            "I5": both_sides,
            "worked example": test_worked_example.test_covered_fills_then_adl_at_the_bankruptcy_price,
        },
    ),
    "equality triggers": (
        rule("strict_trigger", "flag", not_strictly),
        {
            "unit": test_mechanism_strict_trigger.test_equality_does_not_trigger_and_a_cent_less_does,
            "I6": lambda: test_invariants.test_i6_equality_does_not_trigger.hypothesis.inner_test(
                protocol_of(margin=test_invariants.BINARY_MARGIN), 6400, 4, 1
            ),
        },
    ),
    "tiers without deduction": (
        rule("tiered_margin", "maintenance", without_deduction),
        {"twin": twin},
    ),
    "the fund pays twice": (
        function(engine, "pay_from_fund", twice),
        {"twin": twin, "I1": identities},
    ),
    "the horizon valued at the mark alone": (
        function(engine, "equity_at_world", lambda at_world: ledger.equity),
        {"unseen crash": unseen_crash},
    ),
}


@pytest.mark.interpreted
@pytest.mark.parametrize(
    ("broken", "check"), [pytest.param(b, c, id=f"{b}: {c}") for b, (_, checks) in BREAKS.items() for c in checks]
)
def test_the_suite_notices(broken, check, request):
    substitute, checks = BREAKS[broken]
    request.addfinalizer(engine._compose.cache_clear)
    checks[check]()
    with pytest.MonkeyPatch.context() as patch:
        substitute(patch)
        engine._compose.cache_clear()
        with pytest.raises(AssertionError):
            checks[check]()


@pytest.mark.parametrize(
    "check",
    [
        lambda: test_paths_generators.test_compensated_prices_are_martingales_in_every_regime("panic", 1.0),
        validation("c6", "p_baddebt_from_S0", 1.0),
    ],
    ids=["martingale", "merton_single_check"],
)
def test_the_suite_notices_a_dropped_compensator(check, monkeypatch):
    build = jumps.build
    check()
    monkeypatch.setattr(jumps, "build", lambda *of: (build(*of)[0], 0.0 * build(*of)[1]))
    with pytest.raises(AssertionError):
        check()
