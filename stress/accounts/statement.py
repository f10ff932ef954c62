"""What every format of a snapshot is read into: margin accounts, bad entries by their place, and the book."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np

from stress.accounts.book import KINDS, Book
from stress.errors import BookError, did_you_mean

SHOWN = 20
_DECIMAL = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")


@dataclass
class Problems:
    """Bad entries of one file, collected so that a user sees them all at once."""

    file: str
    found: list[tuple[int | None, str, object, str, str | None]] = field(default_factory=list)

    def add(self, line: int | None, key: str, value: object, rule: str, fix: str | None = None) -> None:
        """Note an entry by its line, its key or JSON path, or both."""
        self.found.append((line, key, value, rule, fix))

    def raise_if_any(self) -> None:
        """Raise one `BookError` that names up to 20 of them."""
        if not self.found:
            return
        line, key, value, rule, fix = self.found[0]
        others = [
            f"\n  {self.file}{'' if line is None else f':{line}'}: {key} = {value!r}: {rule}"
            + (f" ({fix})" if fix else "")
            for line, key, value, rule, fix in self.found[1:SHOWN]
        ]
        if len(self.found) > SHOWN:
            others.append(f"\n  and {len(self.found) - SHOWN} more")
        raise BookError(rule + "".join(others), file=self.file, line=line, key=key, value=value, fix=fix)


@dataclass(frozen=True)
class MarginAccount:
    """One margin account: collateral in USD without unrealised PnL; `rows` maps market to (size, entry price)."""

    trader: str
    isolated: bool
    collateral: float
    rows: Mapping[int, tuple[float, float]]


@dataclass
class Statement:
    """The accounts of one file while it is read, what is wrong with it, and what the user's rule left out.

    drop_others : positions in markets that the study does not simulate are left out and listed in
        `dropped`; otherwise they are refused.
    """

    markets: tuple[str, ...]
    problems: Problems
    drop_others: bool = False
    accounts: list[MarginAccount] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)

    def find(self, market: str) -> int | None:
        """Return the position of a market of the study, None where it is not one."""
        return self.markets.index(market) if market in self.markets else None

    def unknown(self, market: str) -> tuple[str, str]:
        """Return the rule that an unknown market breaks, and its fix."""
        fix = f"{did_you_mean(market, self.markets)}; or add it to `markets`; or say `other_markets: drop`"
        return "is a market of the study", fix

    def first_of(self, account: str, node: Node, key: str) -> None:
        """Refuse an account that the file has already given: it would count twice."""
        if account in self.seen:
            node[key].refuse("is the account of one response only", "keep the later of the two")
        self.seen.add(account)

    def drop(self, trader: str, market: str, size: float) -> None:
        """Note a position that the user's rule leaves out."""
        self.dropped.append(f"{trader} {market} {size:+g}")

    def book(self, market_makers_equity: float | None) -> Book:
        """Return the book: traders in the order of the file, their pools before their isolated positions."""
        self.problems.raise_if_any()
        if not self.accounts:
            raise BookError(
                "a snapshot has at least one row or account",
                file=self.problems.file,
                fix="write one row per position, or one response per account",
            )
        names = tuple(dict.fromkeys(account.trader for account in self.accounts))
        number = {name: index for index, name in enumerate(names)}
        ordered = sorted(
            self.accounts, key=lambda account: (number[account.trader], min(account.rows) if account.isolated else -1)
        )
        rows = [(market, *account.rows[market]) for account in ordered for market in sorted(account.rows)]
        market, size, entry = zip(*rows, strict=True) if rows else ((), (), ())
        return Book(
            markets=self.markets,
            trader=np.array([number[account.trader] for account in ordered]),
            kind=np.full(len(ordered), KINDS.index("unclassified")),
            isolated=np.array([account.isolated for account in ordered]),
            cash=np.array([account.collateral for account in ordered]),
            row_start=np.concatenate([[0], np.cumsum([len(account.rows) for account in ordered])]),
            row_market=np.array(market),
            size=np.array(size),
            entry_price=np.array(entry),
            market_makers_equity=market_makers_equity,
            trader_names=names,
            dropped=tuple(self.dropped),
        )


class Unreadable(Exception):
    """A bad entry was noted; go on with the next."""


@dataclass(frozen=True)
class Node:
    """A part of a JSON document that knows its path; what is wrong with it goes to `problems`."""

    data: Any
    path: str
    problems: Problems

    def refuse(self, rule: str, fix: str | None = None) -> NoReturn:
        """Note that this part breaks a rule, and end the reading of its entry."""
        shown = f"{type(self.data).__name__} of {len(self.data)}" if isinstance(self.data, dict | list) else self.data
        self.problems.add(None, self.path or "the document", shown, rule, fix)
        raise Unreadable

    def __contains__(self, key: str) -> bool:
        return isinstance(self.data, dict) and key in self.data

    def __getitem__(self, key: str) -> Node:
        if key not in self:
            self.refuse(f"has the key {key}", "give the response as the venue sent it")
        return Node(self.data[key], f"{self.path}.{key}" if self.path else key, self.problems)

    def items(self) -> Iterator[tuple[str, Node]]:
        """Yield the entries of a mapping with their keys."""
        if not isinstance(self.data, dict):
            self.refuse("is a mapping")
        return ((key, self[key]) for key in self.data)

    def entries(self) -> Iterator[Node]:
        """Yield the entries of a list."""
        if not isinstance(self.data, list):
            self.refuse("is a list")
        return (Node(entry, f"{self.path}[{i}]", self.problems) for i, entry in enumerate(self.data))

    def text(self, *choices: str) -> str:
        """Return a text that is not empty, one of `choices` where there are any."""
        if not isinstance(self.data, str) or not self.data.strip():
            self.refuse("is a text that is not empty")
        if choices and self.data not in choices:
            self.refuse(f"is {' or '.join(choices)}", did_you_mean(self.data, choices))
        return str(self.data)

    def number(self) -> float:
        """Return a finite number, given as a decimal in text or as a number."""
        number = math.nan
        if (isinstance(self.data, int | float) and not isinstance(self.data, bool)) or (
            isinstance(self.data, str) and _DECIMAL.fullmatch(self.data.strip())
        ):
            number = float(self.data)
        if not math.isfinite(number):
            self.refuse("is a finite decimal number")
        return number

    def price(self) -> float:
        """Return a finite number above 0."""
        number = self.number()
        if number <= 0:
            self.refuse("is a finite price above 0, USD")
        return number


def agree(stated: Node, computed: float, gross: float, what: str) -> None:
    """Refuse an amount that is not what its parts give, beyond the rounding of printed prices (0.01 % of `gross`)."""
    if abs(stated.number() - computed) > 0.01 + 1e-4 * gross:
        stated.refuse(
            f"equals {what}, here {computed:.6f}", "the parts are of different times or incomplete; fetch it again"
        )
