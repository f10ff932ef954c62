"""Books from subaccounts of the dYdX v4 indexer.

The file is JSON: the response of `/v4/addresses/{address}` ({subaccounts: [...]}), of
`/v4/addresses/{address}/subaccountNumber/{n}` ({subaccount: {...}}), of
`/v4/addresses/{address}/parentSubaccountNumber/{n}` ({subaccount: {childSubaccounts: [...]}}), one
bare subaccount, or a list of these or a mapping address -> these. Of a subaccount these keys are
read, decimals as text or numbers:

    address, subaccountNumber, equity
    assetPositions          {USDC: {size, side: LONG | SHORT}}; absent = no USDC
    openPerpetualPositions  {BTC-USD: {size, side: LONG | SHORT, entryPrice, unrealizedPnl, status: OPEN}}

The USDC position carries what was paid for the positions: equity = USDC + sum of size x oracle
price. Collateral without unrealised PnL is therefore USDC + sum of size x entry price. Equity is
checked against it plus unrealizedPnl. The market `BTC-USD` is the study's `BTC-USD` or `BTC`. The
size of a short may carry its sign or not. A subaccount is a margin account of its own and its
address the trader; numbers from 128 on are the isolated children of a parent subaccount, and such
an account with one position is marked isolated. A position that `other_markets: drop` leaves out
stays in its subaccount as cash at the oracle price of the response; if it was isolated the
subaccount becomes a pool without positions. Subaccounts without collateral and positions are passed over.

Source: dydxprotocol/v4-chain, indexer/services/comlink (subaccounts of the REST interface, 2026-11).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from stress.accounts.statement import MarginAccount, Node, Statement, Unreadable, agree

MARK = "openPerpetualPositions"
FIRST_CHILD = 128  # number of the first isolated child of parent subaccount 0


def read(document: Node, statement: Statement) -> None:
    """File the accounts of a document under `statement`, with everything that is wrong with them."""
    for subaccount in _subaccounts(document):
        try:
            _account(subaccount, statement)
        except Unreadable:
            continue


def _subaccounts(node: Node) -> Iterator[Node]:
    if MARK in node:
        yield node
    elif isinstance(node.data, list):
        for entry in node.entries():
            yield from _subaccounts(entry)
    elif wrapper := next((key for key in ("subaccount", "subaccounts", "childSubaccounts") if key in node), None):
        yield from _subaccounts(node[wrapper])
    else:
        for _, entry in node.items():
            yield from _subaccounts(entry)


def _account(subaccount: Node, statement: Statement) -> None:
    trader = subaccount["address"].text()
    number = subaccount["subaccountNumber"].number()
    statement.first_of(f"{trader}/{number:g}", subaccount, "subaccountNumber")
    balance = _balance(subaccount)
    rows: dict[int, tuple[float, float]] = {}
    # USD, in the order of the response; `left_out` is the profit of positions that stay as cash.
    entries, profits, left_out = [], [], []
    whole = True
    for name, position in subaccount[MARK].items():
        try:
            if "status" in position:
                position["status"].text("OPEN")
            size = _signed(position)
            if size == 0:
                position["size"].refuse("is not 0")
            entry = position["entryPrice"].price()
            entries.append(size * entry)
            profits.append(position["unrealizedPnl"].number())
            found = (statement.find(known) for known in (name, name.removesuffix("-USD")))
            market = next((at for at in found if at is not None), None)
            if market is not None:
                if market in rows:
                    position["side"].refuse("is that of the only position in its market", "fetch the subaccount again")
                rows[market] = (size, entry)
            elif statement.drop_others:
                statement.drop(trader, name, size)
                left_out.append(profits[-1])
            else:
                Node(name, position.path, position.problems).refuse(*statement.unknown(name.removesuffix("-USD")))
        except Unreadable:
            whole = False
    if not whole:
        return
    equity = math.fsum([balance, *entries, *profits])
    agree(subaccount["equity"], equity, math.fsum(map(abs, entries)), "USDC + the values of the positions")
    collateral = math.fsum([balance, *entries, *left_out])
    if rows or collateral:
        statement.accounts.append(MarginAccount(trader, number >= FIRST_CHILD and len(rows) == 1, collateral, rows))


def _balance(subaccount: Node) -> float:
    """Return the USDC of a subaccount, negative if it is owed."""
    if "assetPositions" not in subaccount:
        return 0.0
    balance = 0.0
    for asset, position in subaccount["assetPositions"].items():
        if asset != "USDC":
            Node(asset, position.path, position.problems).refuse("is USDC, the one collateral of these subaccounts")
        balance = _signed(position)
    return balance


def _signed(position: Node) -> float:
    size, side = position["size"].number(), position["side"].text("LONG", "SHORT")
    if size < 0 and side == "LONG":
        position["size"].refuse("of a LONG is above 0")
    return abs(size) if side == "LONG" else -abs(size)
