"""What the engine is compared with: a bare loop over its own arrays, and an engine in vectorised NumPy."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from stress.engine import Cell
from stress.kernels.jit import entry
from stress.kernels.venue import PathBlock


@entry
def equity_loop(accounts, rows, traders, world):
    """Count account-steps with negative equity over world prices (P, S + 1, m): nothing is ever traded."""
    below = 0
    for p in range(world.shape[0]):
        for t in range(1, world.shape[1]):
            for a in range(traders):
                equity = accounts[a]["cash"]
                for r in range(accounts[a]["row_start"], accounts[a]["row_end"]):
                    equity += rows[r]["size"] * world[p, t, rows[r]["market"]] - rows[r]["carry"]
                if equity < 0.0:
                    below += 1
    return below


class NumpyOutcome(NamedTuple):
    """What the NumPy engine reports of one path."""

    first_liquidation_step: int
    liquidated_accounts: int
    fund: float


def numpy_engine(cell: Cell, block: PathBlock, p: int) -> NumpyOutcome:
    """Take one cell through path `p` of a block, vectorised over accounts, in the way one would write it.

    Oracle delay, mark = oracle, hourly premium-clamp funding, notional tiers, strict trigger, square-root
    impact with decay, fee and fund as in the preset `reference`; a flagged account is closed whole. Up to the
    first liquidation it agrees with the engine step by step, after that its rules are the simpler ones.
    """
    terms, traders, rows = cell.terms, cell.traders, cell.start.rows
    held = rows["account"] < traders
    account, market = rows["account"][held], rows["market"][held]
    size, entry_notional = rows["size"][held].copy(), rows["entry_notional"][held].copy()
    cash = cell.start.accounts["cash"][:traders].copy()
    first, end = (cell.start.accounts[name][:traders] for name in ("row_start", "row_end"))
    fund = cell.fund
    delay, interval = int(terms["oracle_delay_steps"][0]), int(terms["funding_interval_steps"][0])
    # The requirement is convex in notional: the highest of the tiers' lines.
    tiers = int(np.isfinite(terms["tier_above"]).sum(axis=1).max())
    rate, deduction = terms["maintenance_rate"][market, :tiers].T, terms["maintenance_deduction"][market, :tiers].T
    index, premium, flow = np.zeros((3, len(cell.markets)))
    keep = np.exp(-cell.step / terms["resilience"])
    world, depth = block.world[p], block.depth[p]
    carried = np.zeros_like(world)
    first_liquidation, liquidated = -1, np.zeros(traders, bool)
    for t in range(1, len(world)):
        flow *= keep
        carried[t] = np.sign(flow) * terms["impact_at_depth"] * np.sqrt(np.abs(flow))
        mid = world[t] * (1.0 + block.premium[p, t]) * (1.0 + carried[t])
        seen = max(0, t - delay)
        mark = world[seen] * (1.0 + terms["arbitrage_share"] * carried[seen])
        premium += (mid - mark) / mark
        if t % interval == 0:
            mean = premium / interval
            pull = np.clip(terms["interest"] - mean, -terms["funding_clamp"], terms["funding_clamp"])
            paid = (mean + pull) * terms["funding_interval"] / terms["funding_period"]
            index += np.clip(paid, -terms["funding_cap"], terms["funding_cap"]) * mark
            premium[:] = 0.0
        notional = np.abs(size) * mark[market]
        needed = notional * rate[0] - deduction[0]
        for k in range(1, tiers):
            np.maximum(needed, notional * rate[k] - deduction[k], out=needed)
        equity = cash + np.bincount(account, size * (mark - index)[market] - entry_notional, traders)
        requirement = np.bincount(account, needed, traders)
        for a in np.flatnonzero((requirement > 0.0) & (equity < requirement)):
            if first_liquidation < 0:
                first_liquidation = t
            liquidated[a] = True
            for r in range(first[a], end[a]):
                m = market[r]
                after = flow[m] - size[r] / depth[t, m]
                impact = np.sign(after) * terms["impact_at_depth"][m] * np.sqrt(abs(after))
                sold = world[t, m] * (1.0 + block.premium[p, t, m]) * (1.0 + 0.5 * (carried[t, m] + impact))
                fee = terms["liquidation_fee"][m] * abs(size[r]) * sold
                cash[a] += size[r] * (sold - index[m]) - entry_notional[r] - fee
                fund += fee
                flow[m], size[r], entry_notional[r] = after, 0.0, 0.0
            if cash[a] < 0.0:
                paid_out = min(fund, -cash[a])
                fund -= paid_out
                cash[a] += paid_out
    return NumpyOutcome(first_liquidation, int(liquidated.sum()), fund)
