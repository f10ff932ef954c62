"""Every array this project stores or reports, declared once.

Zarr attributes, report labels, the glossary and shape checks are generated from these tables.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

SCHEMA_VERSION = 2


class Term(NamedTuple):
    """One named quantity: dims are those it has per path; blocks and cells are added on storing."""

    name: str
    dtype: Literal["f8", "i8"]
    unit: str
    sign: str
    meaning: str
    source: str = "engine"


# One record per path and cell.
PATH_OUTCOMES: tuple[Term, ...] = (
    Term(
        "mutualised_loss",
        "f8",
        "USD",
        ">= 0",
        "loss carried by users who did not default: ADL shortfall + socialized loss + default losses of providers + unresolved bad debt",
    ),
    Term(
        "adl_shortfall",
        "f8",
        "USD",
        ">= 0",
        "per deleveraged contract, what the mark of that round gave the winner minus what the rule paid, where positive",
    ),
    Term("socialized_loss", "f8", "USD", ">= 0", "cash claims shared by accounts with positive equity"),
    Term(
        "provider_default_loss",
        "f8",
        "USD",
        ">= 0",
        "fall of the backstop vault's equity through takeovers and their unwinding, at the horizon",
    ),
    Term(
        "unresolved_bad_debt",
        "f8",
        "USD",
        ">= 0",
        "negative equity still open at the horizon, at the worse of world price and mark, after the fund that is left",
    ),
    Term(
        "bad_debt",
        "f8",
        "USD",
        ">= 0",
        "losses of defaulted accounts beyond their own margin: paid by the fund, by winners, by all, or unresolved",
    ),
    Term("fund_paid", "f8", "USD", ">= 0", "paid out by the insurance fund"),
    Term("fund_received", "f8", "USD", ">= 0", "fees received by the insurance fund"),
    Term("fund_low_water", "f8", "USD", ">= 0", "lowest balance of the insurance fund on the path"),
    Term(
        "peak_uncovered_loss",
        "f8",
        "USD",
        ">= 0",
        "highest value over time of cumulative claims on the fund minus cumulative fees to it; with an unlimited fund, a fund of this size just survives; once a finite fund is exhausted, a lower bound",
    ),
    Term("exhaustion_step", "i8", "step", "-1 = never", "step of the first claim larger than the fund's balance"),
    Term("adl_notional", "f8", "USD", ">= 0", "notional closed by auto-deleveraging, at the mark"),
    Term(
        "adl_notional_age",
        "f8",
        "USD s",
        ">= 0",
        "deleveraged notional x age of the mark that the rule paid, counted from the step that set it: over adl_notional, its mean age (0 unless the rule pays the previous mark)",
    ),
    Term(
        "adl_loss",
        "f8",
        "USD",
        ">= 0",
        "loss of the contracts that were deleveraged: size x (bankruptcy price - mark), signs by side",
    ),
    Term(
        "adl_overshoot",
        "f8",
        "USD",
        ">= 0",
        "what winners gave up beyond the loss; stays with the account that was closed",
    ),
    Term(
        "adl_residual",
        "f8",
        "USD",
        ">= 0",
        "part of the loss that the rule's price left with the account that was closed",
    ),
    Term("adl_gain", "f8", "USD", ">= 0", "what winners received beyond the mark (possible only at a previous mark)"),
    Term("passed_balance", "f8", "USD", ">= 0", "loss that passed a layer because its balance was too small"),
    Term("passed_cap", "f8", "USD", ">= 0", "loss that passed a layer because of a cap of its rule"),
    Term("passed_eligibility", "f8", "USD", ">= 0", "loss that passed a layer because nobody eligible was left"),
    Term("passed_time", "f8", "USD", ">= 0", "loss that passed a layer because its action was blocked"),
    Term("liquidated_notional", "f8", "USD", ">= 0", "notional closed by liquidation (book and takeover), at the mark"),
    Term("liquidated_accounts", "i8", "accounts", ">= 0", "accounts that were liquidated at least once"),
    Term("liquidatable_at_start", "i8", "accounts", ">= 0", "accounts below their maintenance requirement at t = 0"),
    Term("backstop_pnl", "f8", "USD", "signed", "change of the backstop vault's equity over the horizon"),
    Term("paid_to_book", "f8", "USD", "signed", "what liquidation fills paid to the outside book beyond the mark"),
    Term("keeper_gas", "f8", "USD", ">= 0", "gas that keepers burnt: an external flow out of the ledger"),
    Term("dislocation", "f8", "fraction", ">= 0", "largest distance of the venue mid from the world price"),
    Term("market_makers_default", "i8", "flag", "0 or 1", "equity of the market makers fell below zero"),
    Term("first_liquidation_step", "i8", "step", "-1 = never", "step of the first liquidation fill"),
    Term("first_adl_step", "i8", "step", "-1 = never", "step of the first auto-deleveraging"),
    Term("fills", "i8", "fills", ">= 0", "fills of any kind after t = 0"),
    Term("rounds", "i8", "rounds", ">= 0", "rounds in which something was filled, deleveraged or shared"),
    Term(
        "ledger_residual",
        "f8",
        "fraction",
        ">= 0",
        "largest I1 or I2 residual seen on the path, over gross notional at t = 0",
    ),
    Term(
        "violation",
        "i8",
        "code",
        "0 = none",
        "number of the first invariant that failed on the path; 99: a step without end",
    ),
)

# One record per path, cell and market.
MARKET_OUTCOMES: tuple[Term, ...] = (
    Term("mutualised_loss", "f8", "USD", ">= 0", "the market's share of the mutualised loss"),
    Term("adl_shortfall", "f8", "USD", ">= 0", "ADL shortfall on contracts of this market"),
    Term("socialized_loss", "f8", "USD", ">= 0", "socialized loss attributed to this market"),
    Term("provider_default_loss", "f8", "USD", ">= 0", "provider default loss attributed to this market"),
    Term("unresolved_bad_debt", "f8", "USD", ">= 0", "unresolved bad debt attributed to this market"),
    Term("bad_debt", "f8", "USD", ">= 0", "bad debt attributed to this market"),
    Term("adl_notional", "f8", "USD", ">= 0", "notional deleveraged in this market"),
    Term("liquidated_notional", "f8", "USD", ">= 0", "notional liquidated in this market"),
    Term("dislocation", "f8", "fraction", ">= 0", "largest distance of the venue mid from the world price"),
    Term(
        "funding_promised",
        "f8",
        "fraction",
        "signed, + = longs pay",
        "funding over the horizon per USD of position if the rate that the venue quotes at t = 0 stood",
    ),
    Term(
        "funding_paid",
        "f8",
        "fraction",
        "signed, + = longs pay",
        "funding over the horizon per USD of position, as the paying side paid it",
    ),
    Term("funding_flips", "i8", "payments", ">= 0", "funding payments of the other sign than the one before"),
)

# One record per step and market, of a single named path (drill-down only).
TRACE: tuple[Term, ...] = (
    Term("world_price", "f8", "USD", "> 0", "exogenous price"),
    Term(
        "venue_mid",
        "f8",
        "USD",
        "> 0",
        "world price with premium, moved by the venue's own impact, at the end of the step",
    ),
    Term("oracle_price", "f8", "USD", "> 0", "the venue's oracle view"),
    Term("mark_price", "f8", "USD", "> 0", "price used for margin, trigger and deleveraging"),
    Term("liquidated_notional", "f8", "USD", ">= 0", "notional liquidated in this step"),
    Term("adl_notional", "f8", "USD", ">= 0", "notional deleveraged in this step"),
    Term("bad_debt", "f8", "USD", ">= 0", "bad debt of this step"),
    Term("fund_balance", "f8", "USD", ">= 0", "insurance fund at the end of the step (the same in every market)"),
)

# Arrays of a path block.
PATH_ARRAYS: tuple[Term, ...] = (
    Term("world", "f8", "USD", "> 0", "exogenous price, index 0 = t 0", "paths"),
    Term(
        "depth", "f8", "base units", ">= 0", "quantity within 1 % of the mid on one side of the venue's book", "paths"
    ),
    Term("premium", "f8", "fraction", "signed", "venue premium over the world price before own impact", "paths"),
    Term(
        "external_premium", "f8", "fraction", "signed", "premium of external perpetuals over the world price", "paths"
    ),
    Term("oracle_outage", "i8", "flag", "0 or 1", "external sources do not publish for this market", "scenario"),
    Term("venue_outage", "i8", "bit mask", ">= 0", "actions blocked at the venue by the scenario", "scenario"),
)

ATTRIBUTION_RULE = (
    "a cross account's loss is attributed to markets in proportion to each position's loss since t = 0 or since "
    "the account was last filled, if later; if no position lost, to its maintenance requirement"
)
