"""The engine: stages, mechanisms and kernels composed into one compiled loop over paths.

`compose` turns the rules of a protocol into one compiled function (once per process and combination
of rules); `build_cell` turns a protocol and a book into arrays; `simulate` runs a block of paths.
The loop follows the order of a step; accounts that bounds clear are skipped, exactly, unless asked not to.
Legend: p = paths, t = steps 0..S, m = markets, a = accounts, r = rows.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from stress.errors import StudyError
from stress.kernels.claims import (
    fund_balance,
    pay_from_fund,
    present_claim,
    record_bad_debt,
    record_exhaustion,
    record_passed,
)
from stress.kernels.culling import begin_selection, list_insolvable, range_windows, select_candidates
from stress.kernels.funding import promise
from stress.kernels.halts import is_blocked
from stress.kernels.impact import refresh_prices
from stress.kernels.jit import by_reference, entry, inlined, kernel
from stress.kernels.ledger import (
    AUDIT_RESOLUTION,
    audit,
    equity,
    equity_at_world,
    index_of,
    is_flat,
    note_change,
    touch,
    trade,
)
from stress.kernels.margin import assess, attribute_loss, bankruptcy_price, loss_beyond_margin, restart_attribution
from stress.kernels.venue import (
    ACCOUNT_FIELDS,
    BALANCE,
    BOXES,
    CAP,
    CHANGED,
    COUNTERPARTIES,
    HOLDERS,
    INSURANCE_FUND,
    IS_STALE,
    LIQUIDATE,
    LIQUIDATORS,
    LISTS,
    MARK_UPDATE,
    MARKET_FIELDS,
    MARKET_MAKERS,
    NO_LIMIT,
    OPENING_FIELDS,
    OUTDATED,
    OUTSIDE_BOOK,
    POOL,
    QUANTUM,
    ROW_FIELDS,
    SIZES,
    VAULT,
    VENUE_FIELDS,
    WAITS,
    WINDOW,
    Path,
    PathBlock,
    Start,
    Venue,
)
from stress.mechanisms import shelf
from stress.stages import Mechanism, MechanismParameters, Stage
from stress.vocabulary import MARKET_OUTCOMES, PATH_OUTCOMES, TRACE

if TYPE_CHECKING:
    from stress.accounts import Book
    from stress.config import Protocol

PATH_DTYPE = np.dtype([(term.name, term.dtype) for term in PATH_OUTCOMES], align=True)
MARKET_DTYPE = np.dtype([(term.name, term.dtype) for term in MARKET_OUTCOMES], align=True)
TRACE_DTYPE = np.dtype([(term.name, term.dtype) for term in TRACE], align=True)

# Largest residual of I1 and I2 over gross notional (design: numbered invariants).
LEDGER_TOLERANCE = 1e-9
# "Until quiet" still ends: a venue that is not quiet after this many rounds in one step is at fault.
ROUNDS_BEFORE_FAULT = 10_000
# A fill below this share of its order is what rounding left of a limit that was reached: none.
LEAST_FILL = 1e-12
NEVER_QUIET = 99  # its code among the violations; smaller codes are numbers of invariants


# ------------------------------------------------------------------------------- composition


@kernel
def _no_fee(v, r, filled, price, bankruptcy, equity, requirement, maintenance):
    return 0.0, INSURANCE_FUND


@kernel
def _no_reward(v, r, filled, price, bankruptcy, equity, requirement, maintenance):
    return 0.0


@kernel
def _no_effect(v, path, t):
    return None


@kernel
def _no_funding(v, path, t):
    """Holdings of collateral neither pay nor receive funding."""
    for m in range(v.markets.shape[0]):
        if v.markets[m]["holding"] != 0:
            v.markets[m]["funding_index"] = 0.0
            v.out_market[m]["funding_paid"] = 0.0
            v.out_market[m]["funding_flips"] = 0


@kernel
def _no_promise(v, horizon):
    return None


@kernel
def _depth_of_path(v, path, t, m):
    return path.depth[t, m]


@kernel
def _not_shared(v, path, t):
    """Where requirements depend on more than marks, paths with the same marks share no scan at t = 0."""
    if t == 0:
        v.opening[0]["mark"] = -1.0


@kernel
def _no_cover(v, a, m):
    return 0.0


@kernel
def _no_fill_hook(v, a, r, filled, price, t):
    return None


@inlined
def _stops(v, a):
    return False


@kernel
def _no_unwinding(v, r, t):
    return 0.0


def _charge(fee: Any, reward: Any) -> Any:
    """Return the kernel of what a fill costs the account: fee and reward, of which size rules know only the sum."""
    if reward is _no_reward:
        return fee

    @kernel
    def charge(v, r, filled, price, bankruptcy, equity, requirement, maintenance):
        charged, recipient = fee(v, r, filled, price, bankruptcy, equity, requirement, maintenance)
        paid = reward(v, r, filled, price, bankruptcy, equity, requirement, maintenance)
        return charged + paid, recipient

    return charge


@kernel
def _no_sale(v, a, r, equity, requirement, t):
    return 0.0


def _in_turn(first: Callable[..., Any], second: Callable[..., Any]) -> Any:
    """Return a kernel that calls two kernels of the signature (v, path, t), one after the other."""

    @inlined
    def both(v, path, t):
        first(v, path, t)
        second(v, path, t)

    return both


def _all_in_turn(kernels: Sequence[Callable[..., Any]]) -> Any:
    """Return a kernel that calls kernels of the signature (v, path, t) one after the other."""
    return functools.reduce(_in_turn, kernels) if kernels else _no_effect


def _hooks_in_turn(first: Callable[..., Any], second: Callable[..., Any]) -> Any:
    """Return a fill hook that calls two, one after the other."""

    @kernel
    def both(v, a, r, filled, price, t):
        first(v, a, r, filled, price, t)
        second(v, a, r, filled, price, t)

    return both


def _offer_to(venues: Sequence[Callable[..., Any]], parts: _Parts) -> Any:
    """Return a kernel that offers a quantity to each venue in turn; it returns (filled anything?, last limit)."""
    venue, later = venues[0], (_offer_to(venues[1:], parts) if len(venues) > 1 else None)
    settle, cover, covers, maintenance = parts.settle, parts.cover, parts.covers, parts.maintenance
    assessed = parts.assessed
    respond, average, invert = parts.response, parts.average, parts.inverse

    @kernel
    def fill(v, a, r, quantity, bankruptcy, value, requirement, t):
        available = cover(v, a, v.rows[r]["market"])
        capped = available < fund_balance(v)
        filled, price, counterparty, limit = venue(
            v, a, r, quantity, bankruptcy, value, requirement, available, t, respond, average, invert, maintenance
        )
        if filled > LEAST_FILL * quantity:
            settle(v, a, r, filled, price, counterparty, bankruptcy, value, requirement, t)
        else:
            filled = 0.0
        if covers and counterparty == OUTSIDE_BOOK and limit == BALANCE:
            if capped:
                limit = CAP
            else:
                record_exhaustion(v, t)  # a larger fund would have let the book fill more
        return filled, limit

    if later is None:

        @kernel
        def offer(v, a, r, quantity, bankruptcy, value, requirement, t):
            filled, limit = fill(v, a, r, quantity, bankruptcy, value, requirement, t)
            return filled > 0.0, limit

        return offer

    @kernel
    def offer_on(v, a, r, quantity, bankruptcy, value, requirement, t):
        filled, limit = fill(v, a, r, quantity, bankruptcy, value, requirement, t)
        enough = filled > 0.0 and limit == NO_LIMIT  # no limit stopped it: that was all it takes to cure the account
        if filled >= quantity or enough or v.rows[r]["size"] == 0.0:
            return filled > 0.0, limit
        value, requirement, gross = assessed(v, a)
        bankruptcy = bankruptcy_price(v, r, value, gross, maintenance)
        taken, later_limit = later(v, a, r, quantity - filled, bankruptcy, value, requirement, t)
        return taken or filled > 0.0, limit if later_limit != NO_LIMIT and limit == BALANCE else later_limit

    return offer_on


def _layers_in_order(layers: Sequence[Callable[..., Any]]) -> Any:
    """Return a kernel that runs layers in order up to the first that acts, and tells whether one did."""
    if not layers:

        @kernel
        def nothing(v, t, maintenance, initial):
            return False

        return nothing

    layer, later = layers[0], _layers_in_order(layers[1:])

    @kernel
    def absorb(v, t, maintenance, initial):
        return layer(v, t, maintenance, initial) or later(v, t, maintenance, initial)

    return absorb


def _first_rates(rules: Sequence[Mechanism]) -> Any:
    """Return the kernel (v, m) -> (initial, maintenance) fractions of the margin rule's first tier."""
    margin = _of(rules, Stage.MARGIN)[0].kernels
    initial, maintenance, own = margin["initial"], margin["maintenance"], margin.get("rates")

    @kernel
    def of_one_dollar(v, m):
        price = v.markets[m]["mark"]
        return initial(v, m, 1.0 / price, price), maintenance(v, m, 1.0 / price, price)

    stated = own or of_one_dollar

    @kernel
    def rates(v, m):
        if v.markets[m]["holding"] != 0:  # no market of contracts: the margin rule has no terms for it
            return 1.0, 1.0
        return stated(v, m)

    return rates


def _funding(rules: Sequence[Mechanism]) -> tuple[Any, Any]:
    """Return the kernels accrue(v, path, t) and promised(v, horizon)."""
    found = _of(rules, Stage.FUNDING)
    if not found:
        return _no_effect, _no_promise
    accrue, quote, rates = found[0].kernels["accrue"], found[0].kernels["quote"], _first_rates(rules)

    @inlined
    def accrual(v, path, t):
        accrue(v, path, t, rates)

    @kernel
    def promised(v, horizon):
        promise(v, horizon, quote, rates)

    return (_in_turn(accrual, _no_funding) if _of(rules, Stage.COLLATERAL) else accrual), promised


def _of(rules: Sequence[Mechanism], stage: Stage) -> list[Mechanism]:
    return [rule for rule in rules if rule.stage is stage]


def requirement(rules: Sequence[Mechanism], kind: str, *, grandfathered: bool = False) -> Any:
    """Return the kernel (v, m, size, price) -> USD that a venue asks of one row.

    The margin rule's, changed by the modifiers in turn; of a holding of collateral, the part of its value that does
    not count. `kind` is maintenance or initial. `grandfathered`: under two sets of terms, see `_turned_over`.
    """
    found = _of(rules, Stage.MARGIN)[0].kernels[kind]
    for rule in _of(rules, Stage.MARGIN_MODIFIERS):
        if kind in rule.kernels:
            found = _modified(found, rule.kernels[kind])
    for rank, rule in enumerate(_of(rules, Stage.COLLATERAL), start=1):
        found = _or_haircut(found, rule.kernels[kind], rank)
    return _turned_over(found) if grandfathered else found


@inlined
def _as_before(v):
    """The venue under the terms that positions were opened under; what is passed costs, so they stand behind `terms`."""
    kept = Venue(
        v.terms[v.markets.shape[0] :],
        v.venue,
        v.markets,
        v.accounts,
        v.rows,
        v.market_rows,
        v.lists,
        v.culling,
        v.entries,
        v.windows,
        v.opening,
        v.decay,
        v.response_history,
        v.out,
        v.out_market,
        v.traders,
        v.step_seconds,
    )
    return by_reference(kept)


@inlined
def blend(kept, new, turnover):
    """What a position owes of which the share `turnover` was opened anew; the same to the bit where nothing differs."""
    return new if kept == new else (1.0 - turnover) * kept + turnover * new


def _turned_over(asked: Any) -> Any:
    """Return the kernel of a requirement under two sets of terms: new ones for the share of a position that turned over."""

    @inlined
    def mixed(v, m, size, price):
        kept = asked(_as_before(v), m, size, price)
        return blend(kept, asked(v, m, size, price), v.venue[0]["turnover"])

    return mixed


def _turned_over_ceiling(highest: Any) -> Any:
    @inlined
    def mixed(v, m, size, low, high):
        kept = highest(_as_before(v), m, size, low, high)
        return blend(kept, highest(v, m, size, low, high), v.venue[0]["turnover"])

    return mixed


def _modified(before: Any, change: Any) -> Any:
    @inlined
    def modified(v, m, size, price):
        return change(v, m, size, price, before(v, m, size, price))

    return modified


def _or_haircut(before: Any, haircut: Any, rank: int) -> Any:
    @inlined
    def either(v, m, size, price):
        return haircut(v, m, size, price) if v.markets[m]["holding"] == rank else before(v, m, size, price)

    return either


def ceiling(rules: Sequence[Mechanism], *, grandfathered: bool = False) -> Any:
    """Return the kernel (v, m, size, low, high) of the highest maintenance over a range of prices; None if unknown."""
    found = _of(rules, Stage.MARGIN)[0].bound
    for rule in _of(rules, Stage.MARGIN_MODIFIERS):
        if "maintenance" in rule.kernels:
            found = _modified_ceiling(found, rule.bound) if found and rule.bound else None
    for rank, rule in enumerate(_of(rules, Stage.COLLATERAL), start=1):
        found = _ceiling_or_haircut(found, rule.bound, rank) if found and rule.bound else None
    return _turned_over_ceiling(found) if found and grandfathered else found


def _modified_ceiling(before: Any, bound: Any) -> Any:
    @inlined
    def modified(v, m, size, low, high):
        return bound(v, m, size, low, high, before(v, m, size, low, high))

    return modified


def _ceiling_or_haircut(before: Any, bound: Any, rank: int) -> Any:
    @inlined
    def either(v, m, size, low, high):
        held = v.markets[m]["holding"] == rank
        return bound(v, m, size, low, high) if held else before(v, m, size, low, high)

    return either


def assessment(rules: Sequence[Mechanism], maintenance: Any) -> Any:
    """Return the kernel (v, a) -> (equity, what is asked of the account, what its positions are asked one by one), USD."""
    offsets = [rule.kernels["offset"] for rule in _of(rules, Stage.MARGIN_MODIFIERS) if "offset" in rule.kernels]

    @inlined
    def plain(v, a):
        value, gross = assess(v, a, maintenance)
        return value, gross, gross

    return functools.reduce(lambda before, offset: _less(before, offset, maintenance), offsets, plain)


def _less(before: Any, offset: Any, maintenance: Any) -> Any:
    @kernel
    def assessed(v, a):
        value, asked, gross = before(v, a)
        return value, max(0.0, asked - offset(v, a, maintenance)), gross

    return assessed


class _Parts(NamedTuple):
    """Kernels shared by the composed parts of one engine."""

    response: Any
    average: Any
    inverse: Any
    depth: Any
    maintenance: Any
    initial: Any
    assessed: Any
    cover: Any
    covers: bool
    fund_cover: Any
    settle: Any


def _settlement(fee: Any, reward: Any, cover: Any, covers: bool, on_fill: Any, maintenance: Any) -> Any:
    """Return the kernel that books one fill: the trade, its fee, what the fund covers, and the hooks."""

    @kernel
    def settle(v, a, r, filled, price, counterparty, bankruptcy, value, requirement, t):
        m = v.rows[r]["market"]
        side = 1.0 if v.rows[r]["size"] > 0.0 else -1.0
        mark = v.markets[m]["mark"]
        uncovered = loss_beyond_margin(v, r, filled, price, value, bankruptcy)
        charged, recipient = fee(v, r, filled, price, bankruptcy, value, requirement, maintenance)
        rewarded = reward(v, r, filled, price, bankruptcy, value, requirement, maintenance)
        trade(v, r, -side * filled, price)
        trade(v, v.accounts[v.traders + counterparty]["row_start"] + m, side * filled, price)
        out = v.out[0]
        out["fills"] += 1
        if counterparty == OUTSIDE_BOOK:
            out["paid_to_book"] += filled * side * (mark - price)
            if covers and uncovered > 0.0:
                available = cover(v, a, m)
                if available >= min(uncovered, fund_balance(v)):  # else a cap of its rule is what it meets
                    present_claim(v, uncovered, t)
                paid = min(uncovered, available)
                if paid > 0.0:
                    pay_from_fund(v, a, m, paid)
        if a < v.traders:
            v.rows[r]["realised"] -= charged + rewarded
            if charged > 0.0:
                touch(v, v.traders + recipient)
                v.accounts[a]["cash"] -= charged
                v.accounts[v.traders + recipient]["cash"] += charged
                if recipient == INSURANCE_FUND:
                    v.markets[m]["fund_received"] += charged
                    out["fund_received"] += charged
                    v.venue[0]["claims_less_fees"] -= charged
                elif recipient == VAULT:
                    v.venue[0]["vault_apart"] -= charged
            if rewarded > 0.0:
                touch(v, v.traders + LIQUIDATORS)
                v.accounts[a]["cash"] -= rewarded
                v.accounts[v.traders + LIQUIDATORS]["cash"] += rewarded
            out["liquidated_notional"] += filled * mark
            v.out_market[m]["liquidated_notional"] += filled * mark
            if out["first_liquidation_step"] < 0:
                out["first_liquidation_step"] = t
            if v.accounts[a]["touched"] == 0:
                v.accounts[a]["touched"] = 1
                out["liquidated_accounts"] += 1
        if counterparty == VAULT and v.accounts[a]["cash"] != 0.0 and is_flat(v, a):
            # A takeover at bankruptcy prices leaves zero up to rounding; the dust goes along.
            v.accounts[v.traders + counterparty]["cash"] += v.accounts[a]["cash"]
            v.accounts[a]["cash"] = 0.0
        on_fill(v, a, r, filled, price, t)
        restart_attribution(v, a)
        if counterparty != OUTSIDE_BOOK:  # which never defaults
            restart_attribution(v, v.traders + counterparty)

    return settle


# --------------------------------------------------------------------------------- one path


@kernel
def reset(v, start, path):
    """Put what the last path changed back to t = 0."""
    for k in range(v.venue[0]["changed"]):
        a = v.lists[CHANGED, k]
        v.accounts[a] = start.accounts[a]
        v.culling[IS_STALE, a] = v.culling[OUTDATED, a] = v.culling[WAITS, a] = 0
        for r in range(v.accounts[a]["row_start"], v.accounts[a]["row_end"]):
            v.rows[r] = start.rows[r]
    v.venue[0] = start.venue[0]
    for m in range(v.markets.shape[0]):
        v.markets[m] = start.markets[m]
        v.markets[m]["initial_price"] = path.world[0, m]
        v.markets[m]["oracle"] = path.world[0, m]
        v.markets[m]["oracle_low"] = path.world[0, m]
        v.markets[m]["oracle_high"] = path.world[0, m]
        v.markets[m]["mark"] = path.world[0, m]
    for a in range(v.traders, v.accounts.shape[0]):
        note_change(v, a)  # counterparties are written in many places, and are few
    begin_selection(v)


@kernel
def open_books(v, assessed):
    """At t = 0: accounts below their requirement, gross notional; a scan that paths with the same marks share."""
    known = True
    for m in range(v.markets.shape[0]):
        v.markets[m]["opening_mark"] = v.markets[m]["mark"]
        known = known and v.opening[m]["mark"] == v.markets[m]["mark"]
        v.opening[m]["mark"] = v.markets[m]["mark"]
    if not known:
        below = 0
        for a in range(v.traders):
            value, requirement, _ = assessed(v, a)
            if requirement > 0.0 and value < requirement:
                below += 1
        gross = 0.0
        for r in range(v.rows.shape[0]):
            gross += abs(v.rows[r]["size"]) * v.markets[v.rows[r]["market"]]["mark"]
        v.opening[0]["entered"] = 0
        v.opening[0]["liquidatable"] = below
        v.opening[0]["gross"] = max(gross, 1.0)
    v.out[0]["liquidatable_at_start"] = v.opening[0]["liquidatable"]
    return v.opening[0]["gross"]


@inlined
def remember_mark(v, t):
    """Keep the mark that stands before this round updates it."""
    markets = v.markets
    for m in range(markets.shape[0]):
        market = markets[m]
        market["previous_mark"], market["previous_mark_step"] = market["mark"], market["mark_step"]
        if not is_blocked(v, m, t, MARK_UPDATE):
            market["mark_step"] = t


@inlined
def set_net_marks(v):
    """Marks less funding index, by which equity is linear in size."""
    markets = v.markets
    for m in range(markets.shape[0]):
        market, long, short = markets[m], index_of(v, m, 1.0), index_of(v, m, -1.0)
        market["net_mark"], market["short_net_mark"] = market["mark"] - long, market["mark"] - short


@inlined
def load_world(v, path, t, depth_of):
    """Stage 1: world price, depth and outages of step t; what breakers may limit in it is unlimited again."""
    drawdown = v.venue[0]["makers_drawdown"]
    markets, world = v.markets, path.world[t]
    for m in range(markets.shape[0]):
        market = markets[m]
        market["world"] = world[m]
        market["depth"] = depth_of(v, path, t, m)
        if drawdown > 0.0 and v.terms[m]["provider_feedback"] > 0.0:
            left = max(0.0, 1.0 - v.terms[m]["provider_feedback"] * drawdown)
            market["depth"] = market["depth"] * left if left > 0.0 else 0.0  # not infinity x 0
        market["order_low"] = 0.0
        market["order_high"] = np.inf
        market["order_cap"] = np.inf
    v.venue[0]["step"] = t
    v.venue[0]["attempts_left"] = v.venue[0]["adl_attempts_left"] = np.inf
    v.venue[0]["outage"] = path.venue_outage[t]


@inlined
def watch(v):
    """End of a step: dislocation of V from W, and the market makers' equity."""
    out, markets, reported = v.out[0], v.markets, v.out_market
    for m in range(markets.shape[0]):
        gap = abs(markets[m]["mid"] / markets[m]["world"] - 1.0)
        if gap > reported[m]["dislocation"]:
            reported[m]["dislocation"] = gap
            out["dislocation"] = max(out["dislocation"], gap)
    state = v.venue[0]
    if state["holders_safe"] == 1 and state["feeds_back"] == 0:
        return
    makers = equity(v, v.traders + MARKET_MAKERS)
    if makers < 0.0:
        out["market_makers_default"] = 1
    state["makers_peak"] = max(state["makers_peak"], makers)
    if makers < state["makers_peak"]:
        state["makers_drawdown"] = min(1.0, 1.0 - makers / state["makers_peak"])
    else:
        state["makers_drawdown"] = 0.0


@kernel
def check_ledger(v, gross):
    """Stage 12: I1, I2 and I3; the first that fails is recorded by its number."""
    out = v.out[0]
    unbalanced, open_side = audit(v)
    unbalanced, open_side = unbalanced / gross, open_side / gross
    out["ledger_residual"] = max(out["ledger_residual"], max(unbalanced, open_side))
    if out["violation"] == 0:
        if not unbalanced <= LEDGER_TOLERANCE:
            out["violation"] = 1
        elif not open_side <= LEDGER_TOLERANCE:
            out["violation"] = 2
        elif not fund_balance(v) >= 0.0:
            out["violation"] = 3


@kernel
def close_books(v, t, vault_start, maintenance, fund_cover):
    """At the horizon: unresolved bad debt, the vault's loss, and the mutualised loss with its parts."""
    out = v.out[0]
    unresolved = 0.0
    for m in range(v.markets.shape[0]):
        v.out_market[m]["unresolved_bad_debt"] = 0.0
    found = list_insolvable(v)
    v.lists[0, found], v.lists[0, found + 1] = v.traders + VAULT, v.traders + POOL
    for k in range(found + 2):
        a = v.lists[0, k]
        at_mark, at_world = equity(v, a), equity_at_world(v, a)
        worst = min(at_mark, at_world)
        if worst < -QUANTUM:
            note_change(v, a)
            if not is_flat(v, a):
                attribute_loss(v, a, maintenance, at_world < at_mark)
            unresolved -= worst
            record_bad_debt(v, a, -worst)
            for r in range(v.accounts[a]["row_start"], v.accounts[a]["row_end"]):
                v.out_market[v.rows[r]["market"]]["unresolved_bad_debt"] -= worst * v.rows[r]["attribution"]
    if unresolved > 0.0:
        present_claim(v, unresolved, t)
    paid = min(unresolved, fund_balance(v))
    capped, allowed = False, 0.0
    for m in range(v.markets.shape[0]):
        available = fund_cover(v, v.traders + MARKET_MAKERS, m)
        capped = capped or available < fund_balance(v)
        allowed += min(v.out_market[m]["unresolved_bad_debt"], available)
    if capped:
        paid = min(paid, allowed)
    out["fund_paid"] += paid
    out["fund_low_water"] = min(out["fund_low_water"], fund_balance(v) - paid)
    out["unresolved_bad_debt"] = unresolved - paid
    left = out["unresolved_bad_debt"] / unresolved if unresolved > 0.0 else 0.0

    vault = v.traders + VAULT
    at_mark, at_world = equity(v, vault), equity_at_world(v, vault)
    value = min(at_mark, at_world)
    out["backstop_pnl"] = value - vault_start
    fall = vault_start - max(0.0, value) - v.venue[0]["vault_apart"]
    out["provider_default_loss"] = max(0.0, fall) + v.venue[0]["pool_shared"]
    out["mutualised_loss"] = (
        out["adl_shortfall"] + out["socialized_loss"] + out["provider_default_loss"] + out["unresolved_bad_debt"]
    )
    lost = 0.0
    for m in range(v.markets.shape[0]):
        position = v.rows[v.accounts[vault]["row_start"] + m]["size"]
        price = v.markets[m]["world"] if at_world < at_mark else v.markets[m]["mark"]
        lost_here = max(0.0, -(v.markets[m]["vault_flow"] + position * price))
        v.out_market[m]["provider_default_loss"] = lost_here
        lost += lost_here
    for m in range(v.markets.shape[0]):
        market = v.out_market[m]
        share = market["provider_default_loss"] / lost if lost > 0.0 else 0.0
        market["provider_default_loss"] = share * max(0.0, fall) + v.markets[m]["pool_shared"]
        market["unresolved_bad_debt"] *= left
        market["mutualised_loss"] = (
            market["adl_shortfall"]
            + market["socialized_loss"]
            + market["provider_default_loss"]
            + market["unresolved_bad_debt"]
        )


# ------------------------------------------------------------------------- composed stages


def _sale(rules: Sequence[Mechanism], rank: int = 1) -> Any:
    """Return the kernel that says how much of a holding a due account sells; None without collateral."""
    if not rules:
        return None
    own, other = rules[0].kernels["sale"], _sale(rules[1:], rank + 1)
    if other is None:
        return own

    @kernel
    def sale(v, a, r, equity, requirement, t):
        if v.markets[v.rows[r]["market"]]["holding"] == rank:
            return own(v, a, r, equity, requirement, t)
        return other(v, a, r, equity, requirement, t)

    return sale


@kernel
def _over_contracts(v, a, level):
    """Sum a level of the margin rule over the account's positions, USD."""
    total = 0.0
    for r in range(v.accounts[a]["row_start"], v.accounts[a]["row_end"]):
        m = v.rows[r]["market"]
        if v.rows[r]["size"] != 0.0 and v.markets[m]["holding"] == 0:
            total += level(v, m, v.rows[r]["size"], v.markets[m]["mark"])
    return total


def _liquidation(
    flag: Any,
    quantity_of: Any,
    goes_on: Any,
    fee: Any,
    offer: Any,
    maintenance: Any,
    assessed: Any,
    covers: bool,
    sale: Any | None,
    close_out: Any | None,
) -> Any:
    """Return the kernel that liquidates one account: size, execution, and what no venue took."""
    sells_holdings = sale is not None
    sale = sale or _no_sale
    closes_out = close_out is not None
    close_out = close_out or maintenance

    @kernel
    def close_row(v, a, r, quantity, bankruptcy, value, requirement, t):
        """Return (anything filled?, USD of loss left open for the fund's balance, the same for a cap of a rule)."""
        done, limit = offer(v, a, r, quantity, bankruptcy, value, requirement, t)
        left = max(0.0, v.rows[r]["size"] * (bankruptcy - v.markets[v.rows[r]["market"]]["mark"]))
        return done, left if covers and limit == BALANCE else 0.0, left if limit == CAP else 0.0

    @kernel
    def liquidate(v, a, t):
        if not is_flat(v, a):  # what a flat account owes was lost before, and stays with those markets
            attribute_loss(v, a, maintenance)
        done, short, capped = False, 0.0, 0.0
        for r in range(v.accounts[a]["row_start"], v.accounts[a]["row_end"]):
            if v.rows[r]["size"] == 0.0 or is_blocked(v, v.rows[r]["market"], t, LIQUIDATE):
                continue
            value, requirement, gross = assessed(v, a)
            if a < v.traders:
                due, _ = flag(v, a, value, requirement, t)
                if not due and not goes_on(v, a):  # the rows closed so far were enough
                    break
            if closes_out:
                v.accounts[a]["close_out"] = _over_contracts(v, a, close_out)
            bankruptcy = bankruptcy_price(v, r, value, gross, maintenance)
            quantity = quantity_of(v, a, r, value, requirement, bankruptcy, t, maintenance, fee)
            market = v.markets[v.rows[r]["market"]]
            if sells_holdings and market["holding"] != 0:
                quantity = sale(v, a, r, value, requirement, t)
            quantity = min(quantity, market["order_cap"] / market["mark"])
            if quantity > 0.0:
                filled, left_short, left_capped = close_row(v, a, r, quantity, bankruptcy, value, requirement, t)
                done = done or filled
                short += left_short
                capped += left_capped
        record_passed(v, a, BALANCE, short)
        record_passed(v, a, CAP, capped)
        return done

    @kernel
    def unwind_row(v, r, quantity, t):
        a = v.rows[r]["account"]
        attribute_loss(v, a, maintenance)
        value, requirement, gross = assessed(v, a)
        bankruptcy = bankruptcy_price(v, r, value, gross, maintenance)
        done, short, capped = close_row(v, a, r, quantity, bankruptcy, value, requirement, t)
        record_passed(v, a, BALANCE, short)
        record_passed(v, a, CAP, capped)
        return done

    return liquidate, unwind_row


@kernel
def sort_queue(v, flagged):
    """Sort the queue by priority; insertion keeps ties in the order of account ids."""
    for k in range(1, flagged):
        account = v.accounts[k]["queue"]
        priority = v.accounts[k]["priority"]
        i = k
        while i > 0 and v.accounts[i - 1]["priority"] > priority:
            v.accounts[i]["queue"] = v.accounts[i - 1]["queue"]
            v.accounts[i]["priority"] = v.accounts[i - 1]["priority"]
            i -= 1
        v.accounts[i]["queue"] = account
        v.accounts[i]["priority"] = priority


@kernel
def _never_pending(v, a):
    return False


@kernel
def _everybody(v, t):
    if v.venue[0]["listed"][BOXES - 1] == 0:
        for a in range(v.traders):
            note_change(v, a)
        v.venue[0]["listed"][BOXES - 1] = v.traders
    return v.traders


def _selection(culled: bool, ceiling: Any, trigger: Mechanism, ranked: bool) -> Any:
    """Return the kernel that lists the accounts to evaluate: all, or those that bounds do not clear.

    `ranked`: requirements depend on positions and prices alone.
    """
    if not culled or ceiling is None or trigger.bound is None:
        return _everybody
    clear, pending = trigger.bound, trigger.pending or _never_pending

    @inlined
    def candidates(v, t):
        return select_candidates(v, t, ceiling, clear, pending, ranked)

    return candidates


def _search(flag: Any, assessed: Any, listed: bool) -> Any:
    """Return the kernel that finds the first candidate from place k on who is due or owes.

    It returns (place, account, due?, priority, equity). All a venue's accounts pass through this loop in the exhaustive
    engine, so nothing else stands in it.
    """

    @kernel
    def search(v, t, first, candidates):
        for k in range(first, candidates):
            a = v.lists[BOXES - 1, k] if listed else k
            value, requirement, _ = assessed(v, a)
            due, priority = flag(v, a, value, requirement, t)
            if due or value < -QUANTUM:
                return k, a, due, priority, value
        return candidates, 0, False, 0.0, 0.0

    return search


def _round(select: Any, search: Any, liquidate: Any, unwind_row: Any, unwind: Any, absorb: Any, parts: _Parts) -> Any:
    """Return the kernel of stages 6 to 11: flag on the marks, fill in queue order, run the waterfall."""
    maintenance, initial = parts.maintenance, parts.initial

    @kernel
    def play_round(v, t, first_round):
        flagged = 0
        suspects = 0
        ordered = True
        vault = v.traders + VAULT
        candidates = select(v, t)
        v.venue[0]["evaluations"] += candidates
        insolvent = v.venue[0]["holders_safe"] == 0 and equity(v, vault) < 0.0
        k = 0
        while k < candidates:
            k, a, due, priority, value = search(v, t, k, candidates)
            if k == candidates:
                break
            if due:
                v.accounts[flagged]["queue"] = a
                v.accounts[flagged]["priority"] = priority
                ordered = ordered and (flagged == 0 or v.accounts[flagged - 1]["priority"] <= priority)
                flagged += 1
            v.accounts[suspects]["suspect"] = a
            suspects += 1
            insolvent = insolvent or value < -QUANTUM
            k += 1
        # Only these can owe anything in this round's waterfall: nobody else is filled before it.
        v.accounts[suspects]["suspect"] = vault
        v.venue[0]["suspects"] = suspects + 1
        done = False
        if first_round:
            for r in range(v.accounts[vault]["row_start"], v.accounts[vault]["row_end"]):
                if v.rows[r]["size"] != 0.0 and not is_blocked(v, v.rows[r]["market"], t, LIQUIDATE):
                    quantity = unwind(v, r, t)
                    if quantity > 0.0 and unwind_row(v, r, quantity, t):
                        done = True
        if flagged > 0:
            if not ordered:
                sort_queue(v, flagged)
            for k in range(flagged):
                if v.venue[0]["attempts_left"] < 1.0:
                    break
                v.venue[0]["attempts_left"] -= 1.0
                if liquidate(v, v.accounts[k]["queue"], t):
                    done = True
        if done or insolvent:
            while absorb(v, t, maintenance, initial):
                done = True
        return done

    return play_round


def _path(
    parts: _Parts,
    observe: Any,
    set_mark: Any,
    update: Any,
    accrue: Any,
    promised: Any,
    trip: Any,
    review: Any,
    play_round: Any,
    at_horizon: Any,
) -> Any:
    """Return the kernel that takes one venue through one path."""
    assessed = parts.assessed
    response, maintenance, depth_of, fund_cover = parts.response, parts.maintenance, parts.depth, parts.fund_cover

    @kernel
    def open_step(v, path, t):
        load_world(v, path, t, depth_of)
        refresh_prices(v, path, t, response)
        observe(v, path, t, True)
        remember_mark(v, t)
        set_mark(v, path, t, True)
        update(v, path, t)
        if t > 0:
            accrue(v, path, t)
        trip(v, path, t)
        set_net_marks(v)
        if t > 0:
            review(v, path, t)

    @kernel
    def run_path(v, path, rounds_per_step, trace):
        out = v.out[0]
        open_step(v, path, 0)
        gross = open_books(v, assessed)
        vault_start = equity(v, v.traders + VAULT)
        v.venue[0]["makers_peak"] = equity(v, v.traders + MARKET_MAKERS)
        promised(v, (path.world.shape[0] - 1) * v.step_seconds)
        out["fund_low_water"] = fund_balance(v)
        out["exhaustion_step"] = -1
        out["first_liquidation_step"] = -1
        out["first_adl_step"] = -1
        record_step(v, 0, trace)
        for t in range(1, path.world.shape[0]):
            open_step(v, path, t)
            rounds = 0
            while rounds < rounds_per_step:
                if rounds > 0:
                    refresh_prices(v, path, t, response)
                    observe(v, path, t, False)
                    remember_mark(v, t)
                    set_mark(v, path, t, False)
                    set_net_marks(v)
                v.venue[0]["round"] += 1.0
                if not play_round(v, t, rounds == 0):
                    break
                rounds += 1
            if rounds == ROUNDS_BEFORE_FAULT:
                out["violation"] = NEVER_QUIET
            if rounds > 0:
                out["rounds"] += rounds
                refresh_prices(v, path, t, response)
                check_ledger(v, gross)
            watch(v)
            record_step(v, t, trace)
        at_horizon(v, path.world.shape[0] - 1, maintenance)
        close_books(v, path.world.shape[0] - 1, vault_start, maintenance, fund_cover)
        check_ledger(v, gross)

    return run_path


@inlined
def record_step(v, t, trace):
    """Write the state at the end of step t (flows cumulated since t = 0), if a trace was asked for."""
    if trace.shape[0] == 0:
        return
    for m in range(v.markets.shape[0]):
        row = trace[t, m]
        row["world_price"] = v.markets[m]["world"]
        row["venue_mid"] = v.markets[m]["mid"]
        row["oracle_price"] = v.markets[m]["oracle"]
        row["mark_price"] = v.markets[m]["mark"]
        row["liquidated_notional"] = v.out_market[m]["liquidated_notional"]
        row["adl_notional"] = v.out_market[m]["adl_notional"]
        row["bad_debt"] = v.out_market[m]["bad_debt"]
        row["fund_balance"] = fund_balance(v)


class Engine(NamedTuple):
    """A compiled combination of rules; `run` takes a venue through a block of paths."""

    rules: tuple[str, ...]
    grandfathered: bool
    run: Any


def _one(rules: Sequence[Mechanism], stage: Stage, name: str, default: Any = None) -> Any:
    return next((rule.kernels.get(name, default) for rule in _of(rules, stage)), default)


class Round(NamedTuple):
    """Stages 6 to 11 of a combination of rules: play(v, t, first_round) tells whether anything was done.

    absorb(v, t, maintenance, initial) runs the waterfall up to the first layer that acts, and tells whether one did.
    """

    parts: _Parts
    absorb: Any
    play: Any


def compose_round(chosen: Sequence[Mechanism], *, culled: bool, grandfathered: bool = False) -> Round:
    """Compose what a round does from the rules of a venue, given in stage order."""

    def of(stage: Stage) -> list[Mechanism]:
        return _of(chosen, stage)

    one = functools.partial(_one, chosen)
    maintenance = requirement(chosen, "maintenance", grandfathered=grandfathered)
    close_out = one(Stage.MARGIN, "close_out")
    fee = one(Stage.FEES, "fee", _no_fee)
    reward = one(Stage.FEES, "reward", _no_reward)
    # Only layers before the first without `cover` can pay for a fill at once.
    cover = _no_cover
    layers = of(Stage.WATERFALL)
    if layers and "cover" in layers[0].kernels:
        cover = layers[0].kernels["cover"]
    on_fill = _no_fill_hook
    for mechanism in chosen:
        if mechanism.on_fill is not None:
            on_fill = mechanism.on_fill if on_fill is _no_fill_hook else _hooks_in_turn(on_fill, mechanism.on_fill)
    parts = _Parts(
        response=one(Stage.IMPACT, "response"),
        average=one(Stage.IMPACT, "average"),
        inverse=one(Stage.IMPACT, "inverse"),
        depth=one(Stage.IMPACT, "depth", _depth_of_path),
        maintenance=maintenance,
        initial=requirement(chosen, "initial", grandfathered=grandfathered),
        assessed=assessment(chosen, maintenance),
        cover=cover,
        covers=cover is not _no_cover,
        fund_cover=next((layer.kernels["cover"] for layer in layers if "cover" in layer.kernels), _no_cover),
        settle=_settlement(fee, reward, cover, cover is not _no_cover, on_fill, maintenance),
    )
    offer = _offer_to([mechanism.kernels["execute"] for mechanism in of(Stage.EXECUTION)], parts)
    liquidate, unwind_row = _liquidation(
        one(Stage.TRIGGER, "flag"),
        one(Stage.SIZE, "quantity"),
        one(Stage.SIZE, "goes_on", _stops),
        _charge(fee, reward),
        offer,
        maintenance,
        parts.assessed,
        parts.covers,
        _sale(of(Stage.COLLATERAL)),
        _turned_over(close_out) if close_out and grandfathered else close_out,
    )
    unwinders = [m.kernels["unwind"] for m in of(Stage.EXECUTION) if "unwind" in m.kernels]
    absorb = _layers_in_order([layer.kernels["absorb"] for layer in layers])
    select = _selection(
        culled,
        ceiling(chosen, grandfathered=grandfathered),
        of(Stage.TRIGGER)[0],
        all("update" not in rule.kernels for rule in chosen),
    )
    play = _round(
        select,
        _search(one(Stage.TRIGGER, "flag"), parts.assessed, select is not _everybody),
        liquidate,
        unwind_row,
        unwinders[0] if unwinders else _no_unwinding,
        absorb,
        parts,
    )
    return Round(parts, absorb, play)


@functools.cache
def _compose(rules: tuple[str, ...], culled: bool, grandfathered: bool) -> Engine:
    """Compose the named mechanisms, given in stage order, into one compiled function."""
    chosen = [shelf()[name] for name in rules]

    def of(stage: Stage) -> list[Mechanism]:
        return _of(chosen, stage)

    one = functools.partial(_one, chosen)
    parts, _, play_round = compose_round(chosen, culled=culled, grandfathered=grandfathered)
    layers = of(Stage.WATERFALL)
    updates = [rule.kernels["update"] for rule in chosen if "update" in rule.kernels]
    run_path = _path(
        parts,
        one(Stage.ORACLE, "observe"),
        one(Stage.MARK, "mark"),
        _all_in_turn([*updates, _not_shared] if updates else []),
        *_funding(chosen),
        _all_in_turn([mechanism.kernels["trip"] for mechanism in of(Stage.BREAKERS)]),
        _all_in_turn([m.kernels["review"] for m in layers if "review" in m.kernels]),
        play_round,
        functools.reduce(_in_turn, [m.kernels["horizon"] for m in layers if "horizon" in m.kernels], _no_effect),
    )

    @entry
    def run(venue, start, block, rounds_per_step, trace_path, trace, no_trace, paths_out, markets_out):
        v, begin = by_reference(venue), by_reference(start)
        for p in range(block.world.shape[0]):
            arrays = Path(
                block.world[p],
                block.depth[p],
                block.premium[p],
                block.external_premium[p],
                block.oracle_outage[p],
                block.venue_outage[p],
            )
            path = by_reference(arrays)
            v.out[0] = paths_out[p]
            for m in range(v.markets.shape[0]):
                v.out_market[m] = markets_out[p, m]
            reset(v, begin, path)
            v.venue[0]["path"], v.venue[0]["position"] = block.first_path + p, p
            run_path(v, path, rounds_per_step, trace if p == trace_path else no_trace)
            paths_out[p] = v.out[0]
            for m in range(v.markets.shape[0]):
                markets_out[p, m] = v.out_market[m]

    return Engine(rules, grandfathered, run)


def compose(protocol: Protocol, *, culled: bool = True, grandfathered: bool = False) -> Engine:
    """Return the engine of a protocol's rules, compiled once per process and combination.

    Parameters
    ----------
    culled : skip accounts that bounds clear (`stress.kernels.culling`); False looks at every account in
        every round. Both give the same bytes (I9).
    grandfathered : for cells whose positions were opened under two sets of terms (`build_cell`, `before`).
    """
    return _compose(tuple(mechanism.name for mechanism, _ in protocol.rules()), culled, grandfathered)


# --------------------------------------------------------------------------------- one cell


@dataclass(frozen=True)
class Cell:
    """One protocol with one book, as arrays: what a path starts from.

    terms : (m,) or, where positions keep rates of before a change, (2 m,): the new terms, then those kept.
    market_rows : (r,) rows grouped by market. open_interest : (m,) USD, long side of all rows at the prices of t = 0.
    gross_notional : USD, all rows. vault_equity, fund : USD at t = 0.
    """

    markets: tuple[str, ...]
    traders: int
    step: float
    rounds_per_step: int
    terms: np.ndarray
    start: Start
    market_rows: np.ndarray
    open_interest: np.ndarray
    gross_notional: float
    vault_equity: float
    fund: float

    @property
    def grandfathered(self) -> bool:
        """Whether positions keep rates of before a change."""
        return len(self.terms) > len(self.markets)

    @property
    def nbytes(self) -> int:
        """Memory that the cell's arrays take."""
        return self.terms.nbytes + self.market_rows.nbytes + sum(records.nbytes for records in self.start)


def _record_dtype(fields: dict[str, Any]) -> np.dtype[Any]:
    """Return the aligned record type of named example values (int, float or float array)."""
    columns: list[tuple[Any, ...]] = []
    for name, value in fields.items():
        if isinstance(value, np.ndarray):
            columns.append((name, "f8", value.shape))
        else:
            columns.append((name, "i8" if isinstance(value, int | np.integer) else "f8"))
    return np.dtype(columns or [("unused", "i8")], align=True)


def venue_terms(protocol: Protocol, markets: Sequence[str], step: float) -> np.ndarray:
    """Return the (m,) record of every parameter of every rule that acts on a market; 0 where none of a name does."""
    rows = [protocol.terms(market, step) for market in markets]
    unused = [protocol.terms(asset, step) for asset in protocol.holdings() - set(markets)]  # their rules still compile
    known = {name: value for row in rows + unused for name, value in row.items()}
    terms = np.zeros(len(markets), _record_dtype(known))
    for m, row in enumerate(rows):
        for name, value in row.items():
            terms[m][name] = value
    return terms


def _records(
    known: tuple[tuple[Any, ...], ...], rules: Sequence[tuple[Mechanism, MechanismParameters]], scope: str, count: int
) -> np.ndarray:
    """Return (count,) records of the known fields and the mechanisms' memory of one scope, at reset values."""
    # Rules that share a memory declare it alike: one field.
    fields = dict.fromkeys(field for mechanism, _ in rules for field in mechanism.state if field.scope == scope)
    records = np.zeros(count, np.dtype([*known, *((f.name, f.dtype, f.shape) for f in fields)], align=True))
    for field in fields:
        records[field.name] = field.reset
    return records


def market_state(protocol: Protocol, markets: Sequence[str]) -> np.ndarray:
    """Return the (m,) market records of a venue at reset values; `holding` says which are collateral, and by which rule."""
    records = _records(MARKET_FIELDS, protocol.rules(), "market", len(markets))
    for rank, rule in enumerate(protocol.collateral, start=1):
        for m, market in enumerate(markets):
            if market in getattr(rule, "markets"):  # noqa: B009
                records[m]["holding"] = rank
    return records


def build_cell(
    protocol: Protocol,
    book: Book,
    *,
    prices: np.ndarray,
    step: float,
    before: Protocol | None = None,
    turnover: float = 1.0,
) -> Cell:
    """Turn a protocol and a book into a cell; the imbalance of each market goes to `market_makers`, or to the pool.

    Parameters
    ----------
    prices : (m,) USD at t = 0, in the order of `book.markets`.
    step : seconds.
    before, turnover : the same rules at the terms that positions were opened under, and the share of every position
        that was opened anew since; None = all under `protocol`.
    """
    prices = np.asarray(prices, float)
    markets = book.markets
    count = len(markets)
    if prices.shape != (count,) or not np.all(prices > 0):
        raise StudyError("one positive price per market of the book", key="prices", value=prices.tolist())
    rules = protocol.rules()
    traders = len(book.cash)
    accounts = _records(ACCOUNT_FIELDS, rules, "account", traders + len(COUNTERPARTIES))
    held = count * HOLDERS
    rows = _records(ROW_FIELDS, rules, "row", len(book.size) + held)
    ends = len(book.size) + count * np.minimum(np.arange(1, len(COUNTERPARTIES) + 1), HOLDERS)
    row_start = np.concatenate([book.row_start, ends])
    accounts["row_start"], accounts["row_end"] = row_start[:-1], row_start[1:]
    accounts["cash"][:traders] = book.cash
    rows["market"] = np.concatenate([book.row_market, np.tile(np.arange(count), HOLDERS)])
    rows["account"] = np.repeat(np.arange(len(accounts)), np.diff(row_start))
    rows["size"][:-held] = book.size
    rows["entry_notional"][:-held] = book.size * book.entry_price

    market_records = market_state(protocol, markets)
    held_assets = market_records["holding"] > 0
    if np.any(np.diff(held_assets.astype(int)) < 0):
        raise StudyError("assets held as collateral stand after the markets", key="markets", value=markets)
    imbalance = np.zeros(count)
    for market, size in zip(book.row_market, book.size, strict=True):  # in row order: one way to round
        imbalance[market] += size
    outside = rows[accounts[traders + OUTSIDE_BOOK]["row_start"] : accounts[traders + OUTSIDE_BOOK]["row_end"]]
    outside["size"][held_assets] = -imbalance[held_assets]  # what is held was bought from outside, and paid for
    imbalance[held_assets] = 0.0
    # On a venue whose pool is the counterparty there are no market makers.
    pooled = any(POOL in parameters.balances() for _, parameters in rules)
    other_side = accounts[traders + (POOL if pooled else MARKET_MAKERS)]
    held_there = rows[other_side["row_start"] : other_side["row_end"]]
    held_there["size"] = -imbalance
    held_there["entry_notional"] = -imbalance * prices
    makers_equity = book.market_makers_equity
    if makers_equity is None:
        makers_equity = float(np.sum(np.abs(imbalance) * prices))
    accounts["cash"][traders + MARKET_MAKERS] = 0.0 if pooled else makers_equity
    for _, parameters in rules:
        for offset, usd in parameters.balances().items():
            accounts["cash"][traders + offset] += usd
    rows["carry"] = rows["entry_notional"]  # the funding index starts at zero

    venue_record = _records(VENUE_FIELDS, rules, "venue", 1)
    venue_record["has_fund"] = any(INSURANCE_FUND in parameters.balances() for _, parameters in rules)
    bounds = np.searchsorted(np.sort(rows["market"]), np.arange(count + 1))
    market_records["rows_start"], market_records["rows_end"] = bounds[:-1], bounds[1:]
    notional = np.where(held_assets[rows["market"]], 0.0, rows["size"] * prices[rows["market"]])
    open_interest = np.bincount(rows["market"], np.maximum(notional, 0.0), count)
    held_value = np.bincount(book.row_market, book.size, count) * prices
    market_records["open_interest"] = np.where(held_assets, held_value, open_interest)
    terms = venue_terms(protocol, markets, step)
    if before is not None:
        both = np.zeros(2 * count, terms.dtype)
        both[:count], both[count:] = terms, venue_terms(before, markets, step)
        terms = both
    venue_record["turnover"] = turnover
    venue_record["feeds_back"] = np.any(terms["provider_feedback"] > 0.0)
    _open_audit(venue_record, market_records, accounts, rows)
    return Cell(
        markets=markets,
        traders=traders,
        step=step,
        rounds_per_step=protocol.rounds_per_step or ROUNDS_BEFORE_FAULT,
        terms=terms,
        start=Start(venue_record, market_records, accounts, rows),
        market_rows=np.argsort(rows["market"], kind="stable").astype(np.int64),
        open_interest=open_interest,
        gross_notional=float(np.abs(notional).sum()),
        vault_equity=float(accounts["cash"][traders + VAULT]),
        fund=float(accounts["cash"][traders + INSURANCE_FUND]),
    )


def _open_audit(venue: np.ndarray, markets: np.ndarray, accounts: np.ndarray, rows: np.ndarray) -> None:
    """Choose the units of the audit and book what accounts hold at t = 0."""
    held = accounts["cash"] - np.bincount(rows["account"], rows["carry"], len(accounts))
    total = np.abs(accounts["cash"]).sum() + np.abs(rows["carry"]).sum()
    venue["audit_unit"] = max(total, 1.0) * AUDIT_RESOLUTION
    accounts["booked"] = np.floor(held / venue["audit_unit"] + 0.5)
    venue["audited"] = venue["opening_units"] = accounts["booked"].sum()
    contracts = np.bincount(rows["market"], np.abs(rows["size"]), len(markets))
    markets["size_unit"] = np.where(contracts > 0.0, contracts, 1.0) * AUDIT_RESOLUTION
    rows["booked_size"] = np.floor(rows["size"] / markets["size_unit"][rows["market"]] + 0.5)
    np.add.at(markets["net_units"], rows["market"], rows["booked_size"])
    np.add.at(markets["short_units"], rows["market"], np.minimum(rows["booked_size"], 0))


class _Kept(threading.local):
    """Large arrays of a thread's last venue, for the next of the same shape: new pages of memory cost more than what is written there."""

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}

    def array(self, name: str, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """Return the array of this name; what stands in it is of no meaning."""
        kept = self.arrays.get(name)
        if kept is None or kept.shape != shape or kept.dtype != dtype:
            kept = self.arrays[name] = np.zeros(shape, dtype)
        return kept

    def copy(self, name: str, records: np.ndarray) -> np.ndarray:
        copied = self.array(name, records.shape, records.dtype)
        copied.view(np.uint8)[:] = records.view(np.uint8)  # not field by field
        return copied


_kept = _Kept()


def _venue(cell: Cell, steps: int, windows: np.ndarray, kept: _Kept) -> Venue:
    """Return the working records of one cell for paths of `steps` steps and these windows of prices, in `kept` memory."""
    count, accounts = len(cell.markets), len(cell.start.accounts)
    elapsed = np.arange(steps + 1) * cell.step
    culling = kept.array("culling", (4, accounts), np.int8)
    culling[:] = 0
    opening = np.zeros(count, np.dtype(list(OPENING_FIELDS), align=True))
    opening["mark"] = np.nan
    return Venue(
        terms=cell.terms,
        venue=cell.start.venue.copy(),
        markets=cell.start.markets.copy(),
        accounts=kept.copy("accounts", cell.start.accounts),
        rows=kept.copy("rows", cell.start.rows),
        market_rows=cell.market_rows,
        lists=kept.array("lists", (LISTS, accounts), np.int64),
        culling=culling,
        entries=kept.array("entries", (BOXES, SIZES + count, accounts), np.float64),
        windows=windows,
        opening=opening,
        decay=np.exp(-elapsed[None, :] / cell.terms["resilience"][:, None]),
        response_history=np.zeros((steps + 1, count)),
        out=np.zeros(1, PATH_DTYPE),
        out_market=np.zeros(count, MARKET_DTYPE),
        traders=cell.traders,
        step_seconds=cell.step,
    )


def open_venue(cell: Cell, prices: np.ndarray) -> Venue:
    """Return a cell's venue at t = 0, with every price of market m at `prices` (m,) USD; nothing has happened yet."""
    venue = _venue(cell, 1, np.zeros((1, 1, len(prices), 2)), _Kept())
    for name in (
        "world",
        "mid",
        "external",
        "source",
        "oracle",
        "oracle_low",
        "oracle_high",
        "mark",
        "previous_mark",
        "net_mark",
        "short_net_mark",
        "initial_price",
    ):
        venue.markets[name] = prices
    venue.markets["premium_factor"] = 1.0
    venue.markets["order_high"] = venue.markets["order_cap"] = np.inf
    venue.venue["attempts_left"] = venue.venue["adl_attempts_left"] = np.inf
    venue.rows["reference_price"] = prices[venue.rows["market"]]
    return venue


class Outcome(NamedTuple):
    """What a block of paths gave: records of vocabulary.PATH_OUTCOMES, MARKET_OUTCOMES and TRACE."""

    paths: np.ndarray  # (p,)
    markets: np.ndarray  # (p, m)
    trace: np.ndarray | None  # (S + 1, m)


def price_windows(block: PathBlock) -> np.ndarray:
    """Return what culling looks ahead in, the same for every cell: (P, windows, m, 2), see `Venue.windows`."""
    count, points, markets = block.world.shape
    windows = np.empty((count, -(-points // WINDOW), markets, 2))
    range_windows(block.world, windows)
    return windows


def replay_venue(
    engine: Engine,
    cell: Cell,
    block: PathBlock,
    *,
    windows: np.ndarray | None = None,
    trace_path: int | None = None,
    kept: _Kept | None = None,
) -> tuple[Venue, Outcome]:
    """Run one cell over a block and return the venue as the last path left it, beside the outcome.

    For inspection: who holds what after a path. See `simulate`; `kept` memory is written again by the next venue in it.
    """
    count, points, markets = block.world.shape
    if markets != len(cell.markets):
        raise StudyError("paths and book have different markets", value=(markets, len(cell.markets)))
    paths_out = np.zeros(count, PATH_DTYPE)
    markets_out = np.zeros((count, markets), MARKET_DTYPE)
    no_trace = np.zeros((0, markets), TRACE_DTYPE)
    trace = no_trace if trace_path is None else np.zeros((points, markets), TRACE_DTYPE)
    venue = _venue(cell, points - 1, price_windows(block) if windows is None else windows, kept or _Kept())
    position = -1 if trace_path is None else trace_path
    engine.run(venue, cell.start, block, cell.rounds_per_step, position, trace, no_trace, paths_out, markets_out)
    if trace_path is None:
        return venue, Outcome(paths_out, markets_out, None)
    for name in ("liquidated_notional", "adl_notional", "bad_debt"):
        trace[name] = np.diff(trace[name], axis=0, prepend=0.0)
    return venue, Outcome(paths_out, markets_out, trace)


def simulate(
    engine: Engine,
    cell: Cell,
    block: PathBlock,
    *,
    windows: np.ndarray | None = None,
    trace_path: int | None = None,
) -> Outcome:
    """Run one cell over a block of paths.

    Parameters
    ----------
    windows : `price_windows` of the block, for a caller that takes it through many cells; None = found here.
    trace_path : position within the block of the path whose steps are to be recorded.

    Each path's `violation` is the number of the first invariant that failed on it, or NEVER_QUIET; 0 for none.
    """
    return replay_venue(engine, cell, block, windows=windows, trace_path=trace_path, kept=_kept)[1]
