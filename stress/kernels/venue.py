"""The arrays in which one venue lives while one path is simulated.

Legend: a = accounts (traders, then counterparties), r = rows (account x market, sorted by account,
then market), m = markets, t = steps 0..S. Sizes are signed base units (+ long), money is USD.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# Counterparties follow the traders in every account array: account = traders + offset.
MARKET_MAKERS, OUTSIDE_BOOK, POOL, VAULT, INSURANCE_FUND, LIQUIDATORS, TREASURY = range(7)
COUNTERPARTIES = (
    "market_makers",
    "outside_book",
    "pool",
    "vault",
    "insurance_fund",
    "liquidators",
    "treasury",
)
# The first four hold one row per market; the others are balances without positions.
HOLDERS = 4

# Actions that a breaker or an outage may block, as bits.
OPEN, LIQUIDATE, ADL, WITHDRAW, FUND, MARK_UPDATE, ORACLE_UPDATE = (1, 2, 4, 8, 16, 32, 64)
ACTIONS = {
    "open": OPEN,
    "liquidate": LIQUIDATE,
    "adl": ADL,
    "withdraw": WITHDRAW,
    "fund": FUND,
    "mark_update": MARK_UPDATE,
    "oracle_update": ORACLE_UPDATE,
}


class Path(NamedTuple):
    """One path: t = 0..S, m = markets (see `stress.vocabulary.PATH_ARRAYS`)."""

    world: np.ndarray  # (S + 1, m)
    depth: np.ndarray  # (S + 1, m) base units
    premium: np.ndarray  # (S + 1, m)
    external_premium: np.ndarray  # (S + 1, m)
    oracle_outage: np.ndarray  # (S + 1, m) uint8
    venue_outage: np.ndarray  # (S + 1,) uint8, bits of ACTIONS


class PathBlock(NamedTuple):
    """A run of consecutive paths: the arrays of `Path` with a leading path axis."""

    first_path: int
    world: np.ndarray  # (P, S + 1, m) float64
    depth: np.ndarray  # (P, S + 1, m) float64, base units
    premium: np.ndarray  # (P, S + 1, m) float64
    external_premium: np.ndarray  # (P, S + 1, m) float64
    oracle_outage: np.ndarray  # (P, S + 1, m) uint8
    venue_outage: np.ndarray  # (P, S + 1) uint8
    regime: np.ndarray  # (P, S + 1) int8, -1 where the model has no regimes


# Nested boxes of prices (kernels.culling), and the lists of accounts: one of each box, then those whose records
# differ from the start of the path, those whose ledger entries changed since the last audit, and since the last selection;
# and scratch: places of a box's accounts among the entries it is asked from, rows that may be deleveraged; and everybody.
BOXES = 5
CHANGED, UNAUDITED, STALE, PLACES, WINNERS, EVERYBODY = range(BOXES, BOXES + 6)
LISTS = BOXES + 6
# Rows of Venue.culling, and steps of a window of a path.
BOXED, IS_STALE, OUTDATED, WAITS = range(4)
WINDOW = 4
# Columns of Venue.entries: equity in the worst corner of the box; what of it no price moves, USD; the highest requirement
# in the box around; what rounding may change of both; then the size in every market.
WORST, FIXED, HIGHEST, ERROR, SIZES = range(5)
# Record of Venue.opening: what a scan of all accounts at t = 0 finds, kept while the marks there are the same.
OPENING_FIELDS = (
    ("mark", "f8"),  # (m,) mark at t = 0 for which the other fields hold; nan = none yet
    ("liquidatable", "i8"),  # accounts below their requirement
    ("gross", "f8"),  # USD, gross notional of all rows
    ("entered", "i8"),  # 1 = all accounts, as they stand there, are entered for box 0
    ("low", "f8"),  # range of prices for which they are
    ("high", "f8"),
)

# The smallest amount that venues book (USDC has six decimals); a smaller debt is rounding, not a claim.
QUANTUM = 1e-6

# Why an amount passed a layer of the waterfall (I4).
NO_LIMIT, BALANCE, CAP, ELIGIBILITY, TIME = range(5)
LIMITS = 5


# Fields of the records below: (name, type, shape). Mechanisms add their own memory to them.
VENUE_FIELDS = (
    ("has_fund", "i8"),  # 1 if the waterfall has an insurance fund
    ("claims_less_fees", "f8"),  # USD: cumulative claims on the fund less fees to it
    ("vault_apart", "f8"),  # USD: what the vault lost but by takeovers: as a winner, by haircuts, less fees received
    ("round", "f8"),  # rounds played on this path
    ("step", "i8"),  # t
    ("path", "i8"),  # id of the path, an address of random numbers
    ("position", "i8"),  # of the path in its block
    ("turnover", "f8"),  # share of every position that was opened under `terms`, not under those kept
    ("outage", "i8"),  # action bits blocked by the scenario in this step
    ("external_flow", "f8"),  # USD that came from outside the ledger by a named flow (I1)
    ("attempts_left", "f8"),  # accounts that may still be liquidated in this step
    ("adl_attempts_left", "f8"),  # positions that may still be deleveraged, one after the other
    ("pool_shared", "f8"),  # USD of negative equity that the pool has absorbed
    ("makers_peak", "f8"),  # USD: highest equity of the market makers so far
    ("feeds_back", "i8"),  # 1 = some market's depth follows the market makers' drawdown
    ("makers_drawdown", "f8"),  # their fall from it as a fraction, at the end of the last step
    ("suspects", "i8"),  # number of accounts in the scratch field `suspect` below
    # what changed (kernels.ledger)
    ("changed", "i8"),  # number of accounts in Venue.lists[CHANGED]
    ("unaudited", "i8"),  # number of accounts in Venue.lists[UNAUDITED]
    ("audited", "i8"),  # I1 in units: sum of what accounts had booked at their last audit
    ("opening_units", "i8"),  # the same at t = 0
    ("audit_unit", "f8"),  # USD of one unit
    # culling (kernels.culling)
    ("disturbed", "i8"),  # 1 = requirements of accounts outside the lists have risen
    ("risen", "i8"),  # 1 = that happened on this path
    ("outdated", "i8", (BOXES,)),  # 1 = some account entered for the box may have changed since
    ("stale", "i8"),  # number of accounts in Venue.lists[STALE]
    ("listed", "i8", (BOXES,)),  # number of accounts that each box does not clear
    ("holders_safe", "i8"),  # 1 = neither vault nor market makers can fall below zero in the narrowest box
    ("rebuilds", "i8"),  # boxes laid on this path
    ("evaluations", "i8"),  # accounts looked at on this path
)
MARKET_FIELDS = (
    ("world", "f8"),  # W
    ("mid", "f8"),  # V
    ("external", "f8"),  # mid of external perpetuals
    ("source", "f8"),  # X: external spot, W moved by the arbitraged share of own impact
    ("oracle", "f8"),  # O
    ("oracle_low", "f8"),  # range of the sources behind O
    ("oracle_high", "f8"),
    ("oracle_step", "i8"),  # step at which the source observation behind O was made
    ("mark", "f8"),  # M
    ("mark_step", "i8"),  # step in which the mark was set
    ("previous_mark", "f8"),  # the mark before the present round updated it
    ("previous_mark_step", "i8"),
    ("net_mark", "f8"),  # mark - funding index, for a long
    ("short_net_mark", "f8"),  # and for a short
    ("depth", "f8"),  # base units
    ("premium_factor", "f8"),  # 1 + premium: what own impact moves is world x this
    ("holding", "i8"),  # 0 = a market of contracts; else an asset held as collateral, and the rank of its rule
    ("open_interest", "f8"),  # USD, long side of all rows at t = 0
    ("trades", "i8"),  # changes of a row's size so far
    ("long_open", "f8"),  # base units >= 0 of each side's users (ledger.open_interest), when `trades` was one less than
    ("short_open", "f8"),
    ("sides_as_of", "i8"),
    ("initial_price", "f8"),  # W at t = 0
    ("flow", "f8"),  # own normalised flow that decays, as of flow_step
    ("flow_step", "i8"),
    ("permanent_flow", "f8"),  # own normalised flow that does not decay
    ("funding_index", "f8"),  # USD per base unit, + = longs have paid
    ("funding_kept", "f8"),  # USD per base unit of it that shorts did not receive, signed; 0 where sides pay one rate
    ("last_payment", "f8"),  # USD per base unit of the last funding payment, + = longs paid, and its step
    ("last_payment_step", "i8"),
    ("funding_sign", "f8"),  # of the last payment that was not 0
    ("fund_paid", "f8"),  # USD that the insurance fund has paid for this market, and received from it
    ("fund_received", "f8"),
    ("pool_shared", "f8"),  # this market's part of the negative equity that the pool has absorbed
    ("order_low", "f8"),  # an order fills at no marginal price outside [low, high] in this step
    ("order_high", "f8"),
    ("order_cap", "f8"),  # largest notional of one order, USD
    ("vault_flow", "f8"),  # USD that the vault received for what it sold less what it paid
    ("halted_until", "i8", (7,)),  # first step at which each action is allowed again
    ("opening_mark", "f8"),  # mark at t = 0
    ("net_units", "i8"),  # I2 in units: sum of the sizes of this market's rows at their last audit, and of shorts alone
    ("short_units", "i8"),
    ("size_unit", "f8"),  # base units of one unit
    ("box_low", "f8", (BOXES,)),  # the boxes of culling, on the mark and on the net mark
    ("box_high", "f8", (BOXES,)),
    ("box_net_low", "f8", (BOXES,)),
    ("box_net_high", "f8", (BOXES,)),
    ("rows_start", "i8"),  # this market's part of Venue.market_rows
    ("rows_end", "i8"),
)
ACCOUNT_FIELDS = (
    ("cash", "f8"),  # USD, signed
    ("row_start", "i8"),
    ("row_end", "i8"),
    ("changed", "i8"),  # 1 = in Venue.lists[CHANGED], 1 = in Venue.lists[UNAUDITED]
    ("unaudited", "i8"),
    ("passed", "f8", (LIMITS,)),  # USD of the account's loss already recorded as having passed a layer, by limit
    ("fund_drawn", "f8"),  # USD that the insurance fund has paid for the account in step fund_drawn_step
    ("fund_drawn_step", "i8"),
    ("close_out", "f8"),  # USD: equity below which a backstop takes the account over; 0 = the margin rule states none
    ("touched", "i8"),  # 1 once the account was liquidated on this path
    ("queue", "i8"),  # scratch: the accounts flagged in a round, and their priorities
    ("priority", "f8"),
    ("booked", "i8"),  # units of cash less carries at the account's last audit
    ("suspect", "i8"),  # scratch: the accounts that may default in a round, in order, the vault last
)
ROW_FIELDS = (
    ("size", "f8"),  # base units, signed
    ("carry", "f8"),  # entry notional - size x settled index, so that equity is size x net mark - carry
    ("market", "i8"),
    ("account", "i8"),
    ("entry_notional", "f8"),  # USD: sum of size x price of what is open, signed like size
    ("settled_index", "f8"),  # funding index of the row's side at its last settlement
    ("realised", "f8"),  # USD that trades, funding and fees of the row moved into cash since t = 0, signed
    ("reference_price", "f8"),  # mark at the account's last fill, 0 = not filled since t = 0: attribution of losses
    ("booked_size", "i8"),  # units of size at the last audit
    ("attribution", "f8"),  # share of the account's loss that the row's market bears, while it defaults
)


class Venue(NamedTuple):
    """One venue while one path is simulated; kernels read and write these records in place.

    Few arrays of records, not many arrays: kernels pass the venue on, and what is passed costs.
    """

    terms: np.ndarray  # (m,) every parameter of every mechanism in force; where positions keep rates, m more: those
    venue: np.ndarray  # (1,) VENUE_FIELDS and the mechanisms' own
    markets: np.ndarray  # (m,) MARKET_FIELDS and the mechanisms' own
    accounts: np.ndarray  # (a,) ACCOUNT_FIELDS and the mechanisms' own
    rows: np.ndarray  # (r,) ROW_FIELDS and the mechanisms' own
    market_rows: np.ndarray  # (r,) rows grouped by market
    lists: np.ndarray  # (LISTS, a) int64, account numbers; their lengths stand in `venue`
    culling: (
        np.ndarray
    )  # (4, a) int8: boxes that list the account; 1 = stale; bits of boxes whose entry is outdated; 1 = pending
    entries: (
        np.ndarray
    )  # (BOXES, SIZES + m, a) what each box is asked from: the accounts on the list of the box around it
    windows: np.ndarray  # (P, windows, m, 2) lowest and highest world price of every WINDOW steps, path by path
    opening: np.ndarray  # (m,) what every path with the same marks at t = 0 finds there
    decay: np.ndarray  # (m, S + 1) what is left of flow after so many steps
    response_history: np.ndarray  # (S + 1, m) impact response at the end of each step, for delayed sources
    out: np.ndarray  # (1,) record of PATH_OUTCOMES
    out_market: np.ndarray  # (m,) record of MARKET_OUTCOMES
    traders: int  # number of trader accounts; counterparties follow
    step_seconds: float


class Start(NamedTuple):
    """What a path starts from: the records of `Venue`, copied before every path."""

    venue: np.ndarray
    markets: np.ndarray
    accounts: np.ndarray
    rows: np.ndarray
