"""Books from responses of Hyperliquid's info endpoint `clearinghouseState`.

The file is JSON: one response, a list of responses (each may name its `user`), or a mapping address
-> response. Of a response these keys are read, decimals as text or numbers:

    crossMarginSummary  accountValue, totalRawUsd
    assetPositions      list of {position: {coin, szi, entryPx, positionValue,
                        leverage: {type: cross | isolated, rawUsd (isolated)}, marginUsed}}

The raw USD of a pool (or isolated position) is its equity without its positions' value:
accountValue = totalRawUsd + sum of size x mark, and marginUsed = rawUsd + size x mark. Collateral
without unrealised PnL is therefore raw USD + sum of size x entry price, and no mark is needed. Both
identities are checked against the response's own positionValue. A position that `other_markets:
drop` leaves out of a pool stays in it as cash, closed at the response's mark; an isolated one is
left out with its margin. Accounts without collateral and positions are passed over.

Source: Hyperliquid documentation, info endpoint, perpetuals, `clearinghouseState` (2026-11).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from stress.accounts.statement import MarginAccount, Node, Statement, Unreadable, agree

MARK = "crossMarginSummary"


def read(document: Node, statement: Statement) -> None:
    """File the accounts of a document under `statement`, with everything that is wrong with them."""
    for trader, response in _responses(document):
        try:
            _account(trader, response, statement)
        except Unreadable:
            continue


def _responses(document: Node) -> Iterator[tuple[str, Node]]:
    if MARK in document or "assetPositions" in document:
        yield _name(document, "account 1"), document
    elif isinstance(document.data, list):
        for i, entry in enumerate(document.entries()):
            yield _name(entry, f"account {i + 1}"), entry
    else:
        yield from document.items()


def _key(response: Node) -> str | None:
    return next((key for key in ("user", "address") if key in response), None)


def _name(response: Node, otherwise: str) -> str:
    key = _key(response)
    return otherwise if key is None else str(response[key].data)


def _account(trader: str, response: Node, statement: Statement) -> None:
    if key := _key(response):
        statement.first_of(trader.lower(), response, key)
    summary = response[MARK]
    raw = summary["totalRawUsd"].number()
    rows: dict[int, tuple[float, float]] = {}
    # USD, in the order of the response: entry notional kept, value of everything in the pool, value left out.
    entries, values, left_out = [], [], []
    coins: set[str] = set()
    whole = True
    for item in response["assetPositions"].entries():
        try:
            position = item["position"]
            coin = position["coin"].text()
            if coin in coins:
                position["coin"].refuse("occurs once in a response", "merge the two, or fetch it again")
            coins.add(coin)
            size = position["szi"].number()
            if size == 0:
                position["szi"].refuse("is not 0")
            entry = position["entryPx"].price()
            value = math.copysign(position["positionValue"].number(), size)
            leverage = position["leverage"]
            isolated = leverage["type"].text("cross", "isolated") == "isolated"
            market = statement.find(coin)
            if market is None and not statement.drop_others:
                position["coin"].refuse(*statement.unknown(coin))
            if market is None:
                statement.drop(trader, coin, size)
            if isolated:
                margin = leverage["rawUsd"].number()
                agree(position["marginUsed"], margin + value, abs(value), "rawUsd + szi x mark")
                if market is not None:
                    held = {market: (size, entry)}
                    statement.accounts.append(MarginAccount(trader, True, margin + size * entry, held))
                continue
            values.append(value)
            if market is None:
                left_out.append(value)
            else:
                entries.append(size * entry)
                rows[market] = (size, entry)
        except Unreadable:
            whole = False
    if not whole:
        return
    gross = math.fsum(map(abs, values))
    agree(summary["accountValue"], math.fsum([raw, *values]), gross, "totalRawUsd + the values of the cross positions")
    collateral = math.fsum([raw, *entries, *left_out])
    if rows or collateral:
        statement.accounts.append(MarginAccount(trader, False, collateral, rows))
