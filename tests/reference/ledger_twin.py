"""An exact-arithmetic twin of one path through one venue, for a few accounts and steps.

Written from the design (one path through one protocol) and the rules' own descriptions, in fractions
instead of doubles, lists instead of records, equations solved piece by piece or to 150 bits. What it takes as
given doubles: prices, depth, and the decay factors of own flow and of the premium average.

A decision that doubles could take the other way (a comparison within `TIE` of equality) raises `Tie`.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from fractions import Fraction as F
from typing import Any

import numpy as np

from stress.accounts import Book
from stress.config import Protocol
from stress.kernels.venue import (
    ACTIONS,
    ADL,
    COUNTERPARTIES,
    FUND,
    HOLDERS,
    INSURANCE_FUND,
    LIQUIDATE,
    MARK_UPDATE,
    MARKET_MAKERS,
    ORACLE_UPDATE,
    OUTSIDE_BOOK,
    QUANTUM,
    VAULT,
    PathBlock,
)

# What it knows, the rules of both presets among them.
RULES = {
    "linear_impact", "square_root_impact", "external_feed", "oracle_mark", "median_of_three_mark",
    "premium_clamp_funding", "divergence_breaker", "staleness_breaker", "tiered_margin", "strict_trigger",
    "full_size", "fraction_with_cooldown", "cover_shortage", "order_book", "backstop_vault", "liquidation_fee",
    "insurance_fund", "adl_pro_rata", "adl_profit_leverage", "socialized_loss",
}  # fmt: skip

TIE = F(1, 10**9)
BITS = 192  # what is kept of a root, and of every balance at the end of a step


class Tie(Exception):
    """Two numbers that decide something are too close for doubles to tell."""


def root(x: F) -> F:
    """Square root to `BITS` binary places."""
    return F(math.isqrt((x.numerator << 2 * BITS) // x.denominator), 1 << BITS)


def rounded(x: F) -> F:
    """Keep `BITS` binary places, so that fractions do not grow without bound."""
    return F(round(x * (1 << BITS)), 1 << BITS)


def steps(duration: Any, step: float) -> int:
    """Whole steps of a duration, rounded up; a delay may state the value it takes at the step."""
    return math.ceil(float(getattr(duration, "value", duration)) / step - 1e-9)


@dataclass
class Position:
    """Contracts of one account in one market."""

    size: F
    entry: F  # notional at entry, signed like size
    settled: F = F(0)  # funding index at the last settlement


class Twin:
    """One venue on one path; `run` plays it, then the attributes hold who has what."""

    def __init__(self, protocol: Protocol, book: Book, block: PathBlock, step: float) -> None:
        self.protocol, self.block, self.step = protocol, block, step
        self.markets = len(book.markets)
        self.world = [[F(x) for x in row] for row in block.world[0].tolist()]
        self.traders = len(book.cash)
        self.vault, self.fund, self.outside = (self.traders + k for k in (VAULT, INSURANCE_FUND, OUTSIDE_BOOK))
        self.cash = [F(x) for x in book.cash.tolist()] + [F(0)] * len(COUNTERPARTIES)
        self.held: list[dict[int, Position]] = [{} for _ in self.cash]
        for a, m, size, entry in zip(book.row_account, book.row_market, book.size, book.entry_price, strict=True):
            self.held[a][int(m)] = Position(F(float(size)), F(float(size)) * F(float(entry)))
        for offset, m in itertools.product(range(HOLDERS), range(self.markets)):
            self.held[self.traders + offset][m] = Position(F(0), F(0))
        makers = self.traders + MARKET_MAKERS
        for m in range(self.markets):
            imbalance = sum((self.held[a][m].size for a in range(self.traders) if m in self.held[a]), F(0))
            self.held[makers][m] = Position(-imbalance, -imbalance * self.world[0][m])
        gross = sum(abs(p.size) * self.world[0][m] for m, p in self.held[makers].items())
        self.cash[makers] = gross if book.market_makers_equity is None else F(book.market_makers_equity)
        for rule in protocol.waterfall + protocol.execution:
            for offset, usd in rule.balances().items():
                self.cash[self.traders + offset] += F(usd)
        self.scale = max(
            F(1), sum((abs(p.size) * self.world[0][m] for held in self.held for m, p in held.items()), F(0))
        )

        impact = protocol.impact
        self.scale_of_impact, self.permanent = F(impact.impact_at_depth), F(impact.permanent)
        self.share = F(impact.arbitrage_share)
        elapsed = np.arange(len(self.world)) * step
        self.decay = [F(x) for x in np.exp(-elapsed / float(impact.resilience)).tolist()]
        self.margin = [
            [(F(t.above), F(t.maintenance_to_initial_ratio) / F(t.leverage_cap)) for t in protocol.margin.tiers(name)]
            for name in book.markets
        ]
        none = [F(0)] * self.markets
        self.flow, self.flow_step, self.lasting = list(none), [0] * self.markets, list(none)
        self.response = [list(none) for _ in self.world]  # at the end of each step
        self.oracle, self.seen = list(self.world[0]), [0] * self.markets
        self.average = [(F(0), F(0)) for _ in none]  # numerator and denominator of the mean of V - O
        self.halted: list[dict[int, int]] = [{} for _ in none]  # action: first step at which it is allowed again
        self.mark, self.previous = list(self.world[0]), list(self.world[0])
        self.index, self.samples = list(none), [[] for _ in range(self.markets)]
        self.breached: dict[int, int] = {}
        self.cooling: dict[int, tuple[int, int]] = {}  # account: until step, since round
        self.rounds = 0
        self.suspects: list[int] = []
        self.vault_start = self.cash[self.vault]
        self.vault_apart = F(0)
        self.parts = dict.fromkeys(
            ("adl_shortfall", "socialized_loss", "provider_default_loss", "unresolved_bad_debt", "mutualised_loss",
             "bad_debt", "fund_paid", "fund_received", "adl_notional", "adl_loss", "adl_gain", "adl_residual",
             "adl_overshoot", "liquidated_notional", "paid_to_book"),
            F(0),
        )  # fmt: skip

    # ------------------------------------------------------------------------------- decisions

    def below(self, x: F, y: F) -> bool:
        """x < y for amounts of money."""
        if abs(x - y) <= TIE * self.scale:
            raise Tie(float(x), float(y))
        return x < y

    def owes(self, amount: F) -> bool:
        """Whether an amount is a claim: less than -QUANTUM."""
        if abs(amount + F(QUANTUM)) <= F(QUANTUM) / 2:
            raise Tie(float(amount))
        return amount < -F(QUANTUM)

    # ---------------------------------------------------------------------------------- values

    def maintenance(self, m: int, size: F) -> F:
        """Each part of the notional at the rate of its tier."""
        notional, tiers = abs(size) * self.mark[m], self.margin[m]
        ends = [above for above, _ in tiers[1:]] + [None]
        parts = zip(tiers, ends, strict=True)
        return sum(
            (max(F(0), (min(notional, end) if end else notional) - above) * k for (above, k), end in parts), F(0)
        )

    def requirement(self, a: int) -> F:
        return sum((self.maintenance(m, p.size) for m, p in self.held[a].items()), F(0))

    def equity(self, a: int, prices: list[F] | None = None) -> F:
        prices = prices or self.mark
        unrealised = (
            p.size * (prices[m] - self.index[m] + p.settled) - p.entry for m, p in sorted(self.held[a].items())
        )
        return self.cash[a] + sum(unrealised, F(0))

    def flat(self, a: int) -> bool:
        return all(p.size == 0 for p in self.held[a].values())

    def bankruptcy(self, a: int, m: int, equity: F, requirement: F) -> F:
        """Price at which closing the row uses up its share, by requirement, of the equity."""
        size = self.held[a][m].size
        share = self.maintenance(m, size) / requirement if requirement > 0 else F(1)
        return self.mark[m] - equity * share / size

    # ---------------------------------------------------------------------------------- prices

    def displacement(self, m: int, t: int) -> F:
        z = self.lasting[m] + self.flow[m] * self.decay[t - self.flow_step[m]]
        if abs(z) < TIE and (self.lasting[m] or self.flow[m]):
            raise Tie(float(z))  # what cancels leaves rounding, and a root makes much of it
        return z

    def respond(self, z: F) -> F:
        """Impact of flow z on the price, a fraction."""
        of = z if self.protocol.impact.rule == "linear_impact" else (root(z) if z > 0 else -root(-z))
        return self.scale_of_impact * of

    def flow_at(self, response: F) -> F:
        """The flow whose impact this is."""
        z = response / self.scale_of_impact
        return z if self.protocol.impact.rule == "linear_impact" else z * abs(z)

    def mean_response(self, start: F, end: F) -> F:
        """Mean impact while the flow goes from start to end."""
        if start == end:
            return self.respond(start)
        share = F(1, 2) if self.protocol.impact.rule == "linear_impact" else F(2, 3)  # of z g(z), its integral
        area = abs(end) * abs(self.respond(end)) - abs(start) * abs(self.respond(start))
        return rounded(share * area / (end - start))

    def moved(self, m: int, price: F, response: F) -> F:
        return price + self.world[0][m] * response if self.protocol.impact.additive else price * (1 + response)

    def undisturbed(self, m: int, t: int) -> F:
        """What own impact moves: W x (1 + premium)."""
        return self.world[t][m] * (1 + F(self.block.premium[0, t, m]))

    def mid(self, m: int, t: int) -> F:
        return self.moved(m, self.undisturbed(m, t), self.respond(self.displacement(m, t)))

    def external(self, m: int, t: int) -> F:
        """Mid of the external perpetual."""
        price = self.world[t][m] * (1 + F(self.block.external_premium[0, t, m]))
        return self.moved(m, price, self.share * self.respond(self.displacement(m, t)))

    def blocked(self, m: int, t: int, action: int) -> bool:
        return bool(self.block.venue_outage[0, t] & action) or self.halted[m].get(action, 0) > t

    def trip(self, t: int) -> None:
        """Breakers, asked once per step: what comes before them in a step is stopped in the next one."""
        for rule, m in itertools.product(self.protocol.breakers, range(self.markets)):
            if rule.rule == "divergence_breaker":
                gap, limit = abs(self.mid(m, t) / self.oracle[m] - 1), F(rule.divergence_limit)
                if abs(gap - limit) <= TIE:
                    raise Tie(float(gap))
                holds, pause, actions = gap > limit, rule.divergence_pause, rule.divergence_blocks
            else:
                holds = (t - self.seen[m]) * self.step > rule.staleness_limit
                pause, actions = rule.staleness_pause, rule.staleness_blocks
            for action in (ACTIONS[name] for name in actions) if holds else ():
                late = action in (FUND, MARK_UPDATE, ORACLE_UPDATE)
                until = t + 1 + steps(pause, self.step) + late
                self.halted[m][action] = max(self.halted[m].get(action, 0), until)

    def observe(self, t: int, first: bool) -> None:
        rule = self.protocol.oracle
        delay, beat, phase = (
            steps(value, self.step) for value in (rule.oracle_delay, rule.heartbeat, rule.heartbeat_phase)
        )
        if not (first or delay == beat == 0):
            return
        seen = max(0, t - delay)
        for m in range(self.markets):
            if self.block.oracle_outage[0, seen, m] or self.blocked(m, t, ORACLE_UPDATE):
                continue
            own = self.response[seen][m] if delay else self.respond(self.displacement(m, t))
            price = self.moved(m, self.world[seen][m], self.share * own)
            due = t == 0 or beat == 0 or (seen - phase) % beat == 0
            if not due and rule.deviation_threshold is not None:
                gap, threshold = abs(price / self.oracle[m] - 1), F(rule.deviation_threshold)
                if abs(gap - threshold) <= TIE:
                    raise Tie(float(gap))
                due = gap > threshold
            if due:
                self.oracle[m], self.seen[m] = price, seen

    def set_mark(self, t: int, first: bool) -> None:
        self.previous = list(self.mark)
        rule = self.protocol.mark
        for m in range(self.markets):
            mark = self.oracle[m]
            if rule.rule == "median_of_three_mark":
                top, bottom = self.average[m]
                if first:
                    keep, weight = F(math.exp(-self.step / float(rule.premium_ema))), F(self.step)
                    top = top * keep + (self.mid(m, t) - self.oracle[m]) * weight
                    bottom = bottom * keep + weight
                    self.average[m] = rounded(top), rounded(bottom)
                mark = sorted((self.oracle[m] + top / bottom, self.mid(m, t), self.external(m, t)))[1]
            if not self.blocked(m, t, MARK_UPDATE):
                self.mark[m] = mark

    def accrue(self, t: int) -> None:
        rule = self.protocol.funding
        if rule is None:
            return
        for m in range(self.markets):
            self.samples[m].append((self.mid(m, t) - self.oracle[m]) / self.oracle[m])
            if t % steps(rule.funding_interval, self.step):
                continue
            premium, clamp, cap = (
                sum(self.samples[m]) / len(self.samples[m]),
                F(rule.funding_clamp),
                F(rule.funding_cap),
            )
            rate = premium + min(max(F(rule.interest) - premium, -clamp), clamp)
            rate *= F(float(rule.funding_interval.value)) / F(float(rule.funding_period))
            if not self.blocked(m, t, FUND):
                self.index[m] += min(max(rate, -cap), cap) * self.oracle[m]
            self.samples[m] = []

    # ---------------------------------------------------------------------------------- ledger

    def trade(self, a: int, m: int, quantity: F, price: F) -> None:
        """Settle funding, then buy (+) or sell (-), realising the closed share of the entry notional."""
        p = self.held[a][m]
        self.cash[a] -= p.size * (self.index[m] - p.settled)
        p.settled = self.index[m]
        closed = min(abs(quantity), abs(p.size)) if p.size * quantity < 0 else F(0)
        if closed:
            released = p.entry * closed / abs(p.size)
            self.cash[a] += (closed if p.size > 0 else -closed) * price - released
            p.entry -= released
        opened = quantity + (closed if p.size > 0 else -closed)
        p.entry += opened * price
        p.size += quantity

    def pay(self, a: int, amount: F) -> None:
        self.cash[self.fund] -= amount
        self.cash[a] += amount
        self.parts["fund_paid"] += amount
        self.parts["bad_debt"] += amount

    def cover(self) -> F:
        layers = self.protocol.waterfall
        return self.cash[self.fund] if layers and layers[0].rule == "insurance_fund" else F(0)

    # ----------------------------------------------------------------------------- liquidation

    def due(self, a: int, t: int) -> bool:
        requirement, latency = self.requirement(a), steps(self.protocol.trigger.keeper_latency, self.step)
        if requirement == 0 or not self.below(self.equity(a), requirement):
            self.breached.pop(a, None)
            return False
        return t - self.breached.setdefault(a, t) >= latency

    def fee(self, m: int, side: int, quantity: F, price: F, bankruptcy: F) -> F:
        rule = self.protocol.fees
        if rule is None:
            return F(0)
        return max(F(0), min(F(rule.liquidation_fee) * quantity * price, quantity * side * (price - bankruptcy)))

    def quantity(self, a: int, m: int, t: int, equity: F, requirement: F, bankruptcy: F) -> F:
        rule, size = self.protocol.size, abs(self.held[a][m].size)
        if rule.rule == "fraction_with_cooldown":
            until, since = self.cooling.get(a, (-1, -1))
            if until > t and since != self.rounds:
                return F(0) if rule.during_cooldown == "wait" else size
            whole = not self.below(max(F(rule.full_below), F(QUANTUM)), size * self.mark[m])
            return size if whole else F(rule.fraction) * size
        if rule.rule == "full_size":
            return size
        side = 1 if self.held[a][m].size > 0 else -1
        per_unit = self.fee(m, side, F(1), self.mark[m], bankruptcy)  # the fee is proportional to the quantity
        others = requirement - self.maintenance(m, size)

        def short(q: F) -> F:
            return F(rule.target_ratio) * (others + self.maintenance(m, size - q)) - (equity - per_unit * q)

        if short(size) > 0:
            return size
        # Linear between the bounds of the tiers: find the first piece that ends without a shortage.
        bounds = [size - above / self.mark[m] for above, _ in reversed(self.margin[m])]
        low = F(0)
        for high in (q for q in bounds if q > 0):
            if short(high) <= 0:
                break
            low = high
        gone = low + (high - low) * short(low) / (short(low) - short(high)) if short(low) > 0 else low
        rest = (size - gone) * self.mark[m]
        return size if rule.whole_below and self.below(rest, F(rule.whole_below)) else gone

    def book_fill(self, a: int, m: int, quantity: F, t: int, equity: F, bankruptcy: F) -> tuple[F, F]:
        """What the order book takes, and the mean price: impact, caps, and the rule for deficits."""
        rule = next(rule for rule in self.protocol.execution if rule.rule == "order_book")
        impact, side = self.protocol.impact, 1 if self.held[a][m].size > 0 else -1
        depth = float(self.block.depth[0, t, m])
        if depth <= 0:
            return F(0), F(0)
        z, top = self.displacement(m, t), self.mid(m, t)
        end = -side * F(impact.impact_max)
        if impact.slippage_cap is not None:
            worst = top * (1 - side * F(impact.slippage_cap))
            base = self.undisturbed(m, t)
            stop = (worst - base) / self.world[0][m] if impact.additive else worst / base - 1
            end = max(end, stop) if side > 0 else min(end, stop)
        room = side * (z - self.flow_at(end))
        if z and abs(room) <= TIE * abs(z):
            raise Tie(float(room))  # the book has ended, up to rounding
        if room <= 0:
            return F(0), F(0)
        per_unit = F(0) if math.isinf(depth) else F(1) / F(depth)
        if per_unit:
            quantity = min(quantity, room / per_unit)

        def price(q: F) -> F:
            return self.moved(m, self.undisturbed(m, t), self.mean_response(z, z - side * q * per_unit))

        if rule.deficit_fill == "covered":
            # The largest q whose loss beyond the margin is covered: convex in q, so there is one.
            reference, budget = (self.mark[m], equity + self.cover()) if equity >= 0 else (bankruptcy, self.cover())
            if equity >= 0 and per_unit and 0 <= budget <= TIE * self.scale:
                raise Tie(float(budget))  # the root of what rounding left of the equity
            low, high = F(0), quantity
            if quantity * side * (reference - price(quantity)) > budget:
                for _ in range(150):
                    middle = rounded((low + high) / 2)
                    if middle * side * (reference - price(middle)) > budget:
                        high = middle
                    else:
                        low = middle
                if low <= quantity * F(1, 10**12):  # an order of nothing is no order
                    return F(0), F(0)
                quantity = low
        paid = price(quantity)
        if not math.isinf(depth):
            added = -side * quantity / F(depth)
            self.flow[m] = self.flow[m] * self.decay[t - self.flow_step[m]] + (1 - self.permanent) * added
            self.lasting[m] += self.permanent * added
            self.flow_step[m] = t
        return quantity, paid

    def vault_fill(self, a: int, m: int, equity: F, requirement: F, bankruptcy: F) -> tuple[F, F]:
        """The backstop takes the whole row at its bankruptcy price, or nothing."""
        rule = next(rule for rule in self.protocol.execution if rule.rule == "backstop_vault")
        none = (F(0), F(0))
        if a == self.vault or not self.below(equity, F(rule.takeover_below) * requirement):
            return none
        if not rule.takes_insolvent and self.owes(equity):
            return none
        own = self.equity(self.vault)
        if own == 0 or not self.below(F(0), own):
            return none
        positions = [*self.held[self.vault].items(), (m, self.held[a][m])]
        gross = sum(abs(p.size) * self.mark[k] for k, p in positions)
        if self.below(F(rule.takeover_limit) * own, gross):
            return none
        return abs(self.held[a][m].size), bankruptcy

    def close(self, a: int, m: int, quantity: F, t: int) -> bool:
        """Offer a quantity to the venues in turn."""
        acted = False
        for rule in self.protocol.execution:
            equity, requirement = self.equity(a), self.requirement(a)
            bankruptcy = self.bankruptcy(a, m, equity, requirement)
            if rule.rule == "order_book":
                filled, price = self.book_fill(a, m, quantity, t, equity, bankruptcy)
                counterparty = self.outside
            else:
                filled, price = self.vault_fill(a, m, equity, requirement, bankruptcy)
                counterparty = self.vault
            if filled > 0:
                acted = True
                self.settle(a, m, filled, price, counterparty, equity, bankruptcy, t)
            quantity -= filled
            if quantity <= 0 or self.held[a][m].size == 0:
                break
        return acted

    def settle(self, a, m, filled, price, counterparty, equity, bankruptcy, t) -> None:
        side, mark = (1 if self.held[a][m].size > 0 else -1), self.mark[m]
        beyond = filled * side * (mark - price) - equity if equity >= 0 else filled * side * (bankruptcy - price)
        charged = self.fee(m, side, filled, price, bankruptcy) if a < self.traders else F(0)
        self.trade(a, m, -side * filled, price)
        self.trade(counterparty, m, side * filled, price)
        if counterparty == self.outside:
            self.parts["paid_to_book"] += filled * side * (mark - price)
            if min(beyond, self.cover()) > 0:
                self.pay(a, min(beyond, self.cover()))
        if charged:
            recipient = self.traders + COUNTERPARTIES.index(self.protocol.fees.fee_to)
            self.cash[a] -= charged
            self.cash[recipient] += charged
            if recipient == self.fund:
                self.parts["fund_received"] += charged
        if a < self.traders:
            self.parts["liquidated_notional"] += filled * mark
            partial = self.held[a][m].size != 0 and self.protocol.size.rule == "fraction_with_cooldown"
            if partial and self.cooling.get(a, (-1, -1))[0] <= t:
                self.cooling[a] = (t + steps(self.protocol.size.cooldown, self.step), self.rounds)

    def liquidate(self, a: int, t: int) -> bool:
        acted = False
        for m in sorted(self.held[a]):
            if self.held[a][m].size == 0 or self.blocked(m, t, LIQUIDATE):
                continue
            if not self.due(a, t):
                break
            equity, requirement = self.equity(a), self.requirement(a)
            bankruptcy = self.bankruptcy(a, m, equity, requirement)
            quantity = self.quantity(a, m, t, equity, requirement, bankruptcy)
            if quantity > 0:
                acted |= self.close(a, m, quantity, t)
        return acted

    # ------------------------------------------------------------------------------- waterfall

    def debtors(self) -> list[int]:
        return [a for a in self.suspects if self.flat(a) and self.owes(self.cash[a])]

    def pay_claims(self) -> bool:
        acted = False
        for a in self.debtors():
            paid = min(-self.cash[a], self.cash[self.fund])
            if paid > 0:
                self.pay(a, paid)
                acted = True
        return acted

    def share_claims(self) -> bool:
        debtors = self.debtors()
        claims = -sum((self.cash[a] for a in debtors), F(0))
        sharers = [a for a in range(self.traders + HOLDERS) if a != self.outside and self.equity(a) > 0]
        wealth = {a: self.equity(a) for a in sharers}
        total = sum(wealth.values(), F(0))
        if not claims or not total:
            return False
        shared = min(claims, total)
        for a in debtors:
            self.cash[a] -= self.cash[a] * shared / claims
        for a in sharers:
            self.cash[a] -= shared * wealth[a] / total
            if a == self.vault:
                self.vault_apart += shared * wealth[a] / total
        self.parts["socialized_loss"] += shared
        self.parts["bad_debt"] += shared
        return True

    def deleverage(self, rule: Any, t: int) -> bool:
        claims = self.open_claims(rule)
        if rule.rule == "adl_pro_rata":
            pairs = itertools.product(range(len(self.mark)), (1, -1))
            return any(
                [self.share_contracts(rule, claims, m, side) for m, side in pairs if not self.blocked(m, t, ADL)]
            )
        acted = False
        for a, bankruptcies in claims.items():
            for m in (m for m in sorted(bankruptcies) if not self.blocked(m, t, ADL)):
                acted |= self.deleverage_row(rule, a, m, bankruptcies[m])
        return acted

    def open_claims(self, rule: Any) -> dict[int, dict[int, F]]:
        """Bankruptcy prices by market of every account that asks, in queue order."""
        claims = {}
        for a in self.suspects:
            equity, requirement = self.equity(a), self.requirement(a)
            if requirement == 0 or not self.owes(equity):
                continue
            if rule.adl_when == "fund_exhausted" and not self.below(self.cash[self.fund], -equity):
                continue
            claims[a] = {m: self.bankruptcy(a, m, equity, requirement) for m, p in self.held[a].items() if p.size != 0}
        return claims

    def price_of(self, rule: Any, m: int, bankruptcy: F) -> F:
        return {"bankruptcy": bankruptcy, "mark": self.mark[m], "previous_mark": self.previous[m]}[rule.adl_price]

    def share_contracts(self, rule: Any, claims: dict[int, dict[int, F]], m: int, side: int) -> bool:
        """Close the claims of one side, and of every winner the same share of contracts at the price they add up to."""
        asking = {a: abs(self.held[a][m].size) for a in claims if m in claims[a] and self.held[a][m].size * side > 0}
        offered = {w: abs(self.held[w][m].size) for w in self.winners(m, side)}
        rest = quantity = min(sum(asking.values(), F(0)), sum(offered.values(), F(0)))
        if quantity == 0:
            return False
        money = lost = F(0)
        for a, size in asking.items():
            closed = min(size, rest)
            rest -= closed
            price = self.price_of(rule, m, claims[a][m])
            money += closed * price
            lost += self.close_claim(a, m, closed, price, claims[a][m])
        total = sum(offered.values(), F(0))
        for w, size in offered.items():
            share = size / total
            self.close_winner(w, m, quantity * share, money / quantity, lost * share)
        return True

    def winners(self, m: int, side: int) -> list[int]:
        found = []
        for w in range(self.traders + HOLDERS):
            position = self.held[w].get(m)
            if w == self.outside or position is None or position.size * side >= 0:
                continue
            equity = self.equity(w)
            if equity == 0 or not self.below(F(0), equity):
                continue
            found.append(w)
        return found

    def deleverage_row(self, rule: Any, a: int, m: int, bankruptcy: F) -> bool:
        side, mark = (1 if self.held[a][m].size > 0 else -1), self.mark[m]
        price = self.price_of(rule, m, bankruptcy)
        rest = abs(self.held[a][m].size)
        winners = self.winners(m, side)
        offered = {w: abs(self.held[w][m].size) for w in winners}

        def index(w: int) -> F:
            position = self.held[w][m]
            gain = mark / (position.entry / position.size)
            return (gain if position.size > 0 else 1 / gain) * abs(position.size) * mark / self.equity(w)

        ranked = sorted(winners, key=index, reverse=True)
        for one, next_one in itertools.pairwise(ranked):
            if abs(index(one) / index(next_one) - 1) <= TIE:
                raise Tie(float(index(one)))
        taken: dict[int, F] = {}
        for w in ranked:
            taken[w] = min(rest - sum(taken.values(), F(0)), offered[w])
        for w, quantity in taken.items():
            if quantity > 0:
                self.close_winner(w, m, quantity, price, self.close_claim(a, m, quantity, price, bankruptcy))
        return any(taken.values())

    def close_claim(self, a: int, m: int, quantity: F, price: F, bankruptcy: F) -> F:
        side, mark, parts = (1 if self.held[a][m].size > 0 else -1), self.mark[m], self.parts
        loss, paid = quantity * side * (bankruptcy - mark), quantity * side * (price - mark)
        self.trade(a, m, -side * quantity, price)
        parts["adl_notional"] += quantity * mark
        parts["adl_loss"] += loss
        parts["adl_shortfall"] += max(F(0), paid)
        parts["adl_gain"] += max(F(0), -paid)
        parts["adl_residual"] += max(F(0), loss - paid)
        parts["adl_overshoot"] += max(F(0), paid - loss)
        parts["bad_debt"] += min(loss, paid)
        return max(F(0), paid)

    def close_winner(self, w: int, m: int, quantity: F, price: F, lost: F) -> None:
        side = -1 if self.held[w][m].size > 0 else 1
        self.trade(w, m, side * quantity, price)
        if w == self.vault:
            self.vault_apart += lost

    def waterfall(self, t: int) -> bool:
        """Let the layers act in order, up to the first that does."""
        for rule in self.protocol.waterfall:
            acted = (
                self.pay_claims()
                if rule.rule == "insurance_fund"
                else self.share_claims()
                if rule.rule == "socialized_loss"
                else self.deleverage(rule, t)
            )
            if acted:
                return True
        return False

    # ------------------------------------------------------------------------------------ path

    def play_round(self, t: int, first: bool) -> bool:
        self.rounds += 1
        flagged = [a for a in range(self.traders) if self.due(a, t)]
        # A round sees the marks at its start: who becomes insolvent by what others lose waits for the next.
        insolvent = [a for a in range(self.traders) if a in flagged or self.equity(a) < 0]
        self.suspects = [*insolvent, self.vault]
        if self.protocol.trigger.queue == "lowest_ratio":
            ratios = {a: self.equity(a) / self.requirement(a) for a in flagged}
            flagged.sort(key=ratios.__getitem__)
            if any(ratios[b] - ratios[a] <= TIE for a, b in itertools.pairwise(flagged)):
                raise Tie(flagged)
        acted = self.unwind(t) if first else False
        for a in flagged:
            acted |= self.liquidate(a, t)
        while self.waterfall(t):
            acted = True
        return acted

    def unwind(self, t: int) -> bool:
        acted = False
        rule = next((rule for rule in self.protocol.execution if rule.rule == "backstop_vault"), None)
        for m, position in sorted(self.held[self.vault].items()):
            if position.size != 0 and rule.unwind_share > 0 and not self.blocked(m, t, LIQUIDATE):
                depth = float(self.block.depth[0, t, m])
                part = abs(position.size) if math.isinf(depth) else F(rule.unwind_share) * F(depth)
                acted |= self.close(self.vault, m, min(abs(position.size), part), t)
        return acted

    def run(self) -> Twin:
        self.observe(0, True)
        self.set_mark(0, True)
        self.trip(0)
        for t in range(1, len(self.world)):
            self.observe(t, True)
            self.set_mark(t, True)
            self.accrue(t)
            self.trip(t)
            played = 0
            while played < (self.protocol.rounds_per_step or 10_000):
                if played:
                    self.observe(t, False)
                    self.set_mark(t, False)
                if not self.play_round(t, played == 0):
                    break
                played += 1
            for m in range(self.markets):
                self.response[t][m] = rounded(self.respond(self.displacement(m, t)))
            self.shorten()
        self.close_books()
        return self

    def shorten(self) -> None:
        self.cash = [rounded(x) for x in self.cash]
        for p in (p for held in self.held for p in held.values()):
            p.size, p.entry, p.settled = rounded(p.size), rounded(p.entry), rounded(p.settled)
        for numbers in (self.flow, self.lasting, self.index, self.oracle, self.mark):
            numbers[:] = [rounded(x) for x in numbers]

    def close_books(self) -> None:
        """What is owed by accounts still open, at the worse of mark and world price, and the vault's fall."""
        worst = {a: min(self.equity(a), self.equity(a, self.world[-1])) for a in [*range(self.traders), self.vault]}
        unresolved = -sum((value for value in worst.values() if self.owes(value)), F(0))
        # Fees may go to the fund's balance on a venue whose waterfall has no fund: then nothing pays from it.
        has_fund = any(rule.rule == "insurance_fund" for rule in self.protocol.waterfall)
        paid = min(unresolved, self.cash[self.fund]) if has_fund else F(0)
        self.parts["bad_debt"] += unresolved
        self.parts["fund_paid"] += paid
        self.parts["unresolved_bad_debt"] = unresolved - paid
        fall = self.vault_start - max(F(0), worst[self.vault]) - self.vault_apart
        self.parts["provider_default_loss"] = max(F(0), fall)
        self.parts["mutualised_loss"] = sum(
            self.parts[name]
            for name in ("adl_shortfall", "socialized_loss", "provider_default_loss", "unresolved_bad_debt")
        )
