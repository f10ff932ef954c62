"""Snapshots in the response shapes of venues: what a good response gives, and how every bad entry is named."""

from __future__ import annotations

import json

import numpy as np
import pytest

from stress.accounts import SnapshotBook, make_book
from stress.errors import BookError

PRICES = np.array([60_000.0, 3_000.0])


def read(path, markets=("BTC", "ETH"), **fields):
    return make_book(
        SnapshotBook(path=str(path), **fields),
        markets=markets,
        prices=PRICES[: len(markets)],
        leverage_cap=np.array([40.0, 25.0])[: len(markets)],
        seed=0,
        initial_margin=lambda market, size, price: np.abs(size) * price / 20,
    )


def written(tmp_path, data, name="book.json"):
    path = tmp_path / name
    path.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
    return path


# ---------------------------------------------------------------------------------- hyperliquid


def held(coin, size, entry, value, isolated=None):
    """One entry of assetPositions at a mark of value / |size|; `isolated` is its raw USD."""
    leverage = {"type": "cross", "value": 20} if isolated is None else {
        "type": "isolated", "value": 20, "rawUsd": isolated
    }  # fmt: skip
    margin = float(value) / 20 if isolated is None else float(isolated) + np.copysign(float(value), float(size))
    position = {"coin": coin, "szi": size, "entryPx": entry, "positionValue": value, "leverage": leverage}
    return {"type": "oneWay", "position": position | {"marginUsed": str(margin), "unrealizedPnl": "0.0"}}


def state(raw, value, *positions):
    summary = {"accountValue": value, "totalNtlPos": "0.0", "totalRawUsd": raw, "totalMarginUsed": "0.0"}
    return {
        "marginSummary": summary,
        "crossMarginSummary": summary,
        "crossMaintenanceMarginUsed": "0.0",
        "withdrawable": "0.0",
        "assetPositions": list(positions),
        "time": 1708622398623,
    }


# The numbers of the venue's own example: 13,104.514502 of cash, and 0.0335 ETH isolated at a mark of 2,985.9.
EXAMPLE = state(
    "13104.514502", "13104.514502", held("ETH", "0.0335", "2986.3", "100.02765", isolated="-95.059824")
)  # fmt: skip


def test_the_documented_example_becomes_a_pool_and_an_isolated_position(tmp_path):
    book = read(written(tmp_path, {"0x31ca": EXAMPLE}))
    assert book.trader_names == ("0x31ca",)
    assert list(book.isolated) == [False, True]
    assert book.cash[0] == 13104.514502
    # marginUsed 4.967826 and unrealised PnL -0.0134 of the example.
    assert book.cash[1] == pytest.approx(4.967826 + 0.0134, abs=1e-4)
    assert book.equity(np.array([60_000.0, 100.02765 / 0.0335]))[1] == pytest.approx(4.967826, abs=1e-9)


def test_equity_of_a_pool_is_the_account_value_at_the_marks_of_the_response(tmp_path):
    # raw USD -40,000 + 1 BTC at 61,000 - 5 ETH at 3,100 = 5,500
    response = state("-40000", "5500.0", held("BTC", "1.0", "58000", "61000"), held("ETH", "-5", "3200.5", "15500"))
    book = read(written(tmp_path, response))
    assert list(book.size) == [1.0, -5.0]
    assert list(book.entry_price) == [58_000.0, 3_200.5]
    assert book.cash[0] == pytest.approx(-40_000 + 58_000 - 5 * 3_200.5)
    assert book.equity(np.array([61_000.0, 3_100.0]))[0] == pytest.approx(5_500.0)


def test_one_response_a_list_and_a_mapping_are_understood(tmp_path):
    for data, names in (
        (EXAMPLE, ("account 1",)),
        ([EXAMPLE, EXAMPLE | {"user": "0xb"}], ("account 1", "0xb")),
        ({"0xa": EXAMPLE, "0xb": EXAMPLE, "0xc": state("0.0", "0.0")}, ("0xa", "0xb")),
    ):
        assert read(written(tmp_path, data)).trader_names == names
        assert read(tmp_path / "book.json", format="hyperliquid").trader_names == names


def edited(path, value):
    data = json.loads(json.dumps({"0xa": state("1000", "62000", held("BTC", "1", "58000", "61000")), "0xb": EXAMPLE}))
    *parents, last = path
    at = data
    for key in parents:
        at = at[key]
    if value is ...:
        del at[last]
    else:
        at[last] = value
    return data


POSITION = ("0xa", "assetPositions", 0, "position")


@pytest.mark.parametrize(
    ("path", "value", "key", "message"),
    [
        ((*POSITION, "coin"), "BTX", "0xa.assetPositions[0].position.coin", "did you mean BTC"),
        ((*POSITION, "szi"), "one", "0xa.assetPositions[0].position.szi", "finite decimal"),
        ((*POSITION, "szi"), "1_000", "0xa.assetPositions[0].position.szi", "finite decimal"),
        ((*POSITION, "szi"), True, "0xa.assetPositions[0].position.szi", "finite decimal"),
        ((*POSITION, "szi"), "0.0", "0xa.assetPositions[0].position.szi", "is not 0"),
        ((*POSITION, "entryPx"), None, "0xa.assetPositions[0].position.entryPx", "finite decimal"),
        ((*POSITION, "entryPx"), "-1", "0xa.assetPositions[0].position.entryPx", "above 0"),
        ((*POSITION, "leverage", "type"), "crossed", "0xa.assetPositions[0].position.leverage.type", "mean cross"),
        ((*POSITION, "leverage"), ..., "0xa.assetPositions[0].position", "has the key leverage"),
        (("0xa", "assetPositions"), {}, "0xa.assetPositions", "is a list"),
        (("0xa", "crossMarginSummary"), ..., "0xa", "has the key crossMarginSummary"),
        (("0xa", "crossMarginSummary", "accountValue"), "70000", "0xa.crossMarginSummary.accountValue", "here 62000"),
        (("0xb", "assetPositions", 0, "position", "marginUsed"), "9", "0xb.assetPositions[0].position.marginUsed", "4.96"),
        (("0xb",), None, "0xb", "has the key"),
    ],
)  # fmt: skip
def test_a_bad_entry_of_hyperliquid_is_named_by_its_path(tmp_path, path, value, key, message):
    file = written(tmp_path, edited(path, value))
    with pytest.raises(BookError, match=message) as raised:
        read(file)
    assert (raised.value.file, raised.value.key) == (str(file), key)


def test_all_bad_entries_are_named_at_once(tmp_path):
    data = {f"0x{i}": state("bad", "1") for i in range(30)}
    with pytest.raises(BookError) as raised:
        read(written(tmp_path, data))
    text = str(raised.value)
    assert "0x0.crossMarginSummary.totalRawUsd = 'bad'" in text
    assert "0x19.crossMarginSummary.totalRawUsd" in text
    assert "0x20.cross" not in text
    assert "and 10 more" in text


def test_other_markets_are_refused_or_left_out_at_their_mark(tmp_path):
    response = state("1000", "62400", held("BTC", "1", "58000", "61000"), held("DOGE", "4000", "0.2", "400"))
    alone = held("SOL", "10", "100", "1500", isolated="-900")
    response["assetPositions"].append(alone)
    file = written(tmp_path, {"0xa": response})
    with pytest.raises(BookError, match="other_markets: drop") as raised:
        read(file)
    assert "DOGE" in str(raised.value)
    assert "SOL" in str(raised.value)
    book = read(file, other_markets="drop")
    assert book.dropped == ("0xa DOGE +4000", "0xa SOL +10")
    assert list(book.size) == [1.0]
    assert book.equity(np.array([61_000.0, 3_000.0])).sum() == pytest.approx(62_400)


# ----------------------------------------------------------------------------------------- dydx


def owned(size, side, entry, profit):
    return {"status": "OPEN", "side": side, "size": size, "entryPrice": entry, "unrealizedPnl": profit}


def subaccount(number, usdc, equity, address="dydx1a", **positions):
    return {
        "address": address,
        "subaccountNumber": number,
        "equity": equity,
        "freeCollateral": equity,
        "openPerpetualPositions": {name.replace("_", "-"): position for name, position in positions.items()},
        "assetPositions": {
            "USDC": {"symbol": "USDC", "side": "SHORT" if usdc.startswith("-") else "LONG", "size": usdc.strip("-"),
                     "assetId": "0"}
        },
        "marginEnabled": True,
    }  # fmt: skip


# -50,000 USDC + 1 BTC entered at 58,000 (now 61,000) - 2 ETH entered at 3,200 (now 3,100) = 4,800
POOL = subaccount(
    0, "-50000", "4800", BTC_USD=owned("1", "LONG", "58000", "3000"), ETH_USD=owned("-2", "SHORT", "3200", "200")
)
CHILD = subaccount(128, "-2500", "600", ETH_USD=owned("1", "LONG", "3000", "100"))


def test_subaccounts_become_margin_accounts_of_one_trader(tmp_path):
    book = read(written(tmp_path, {"subaccounts": [CHILD, POOL], "totalTradingRewards": "0"}))
    assert book.trader_names == ("dydx1a",)
    assert list(book.trader) == [0, 0]
    assert list(book.isolated) == [False, True]
    assert list(book.size) == [1.0, -2.0, 1.0]
    assert list(book.cash) == [1_600.0, 500.0]
    assert list(book.equity(np.array([61_000.0, 3_100.0]))) == [4_800.0, 600.0]


def test_every_documented_shape_is_understood(tmp_path):
    parent = {"address": "dydx1a", "parentSubaccountNumber": 0, "equity": "5400", "childSubaccounts": [POOL, CHILD]}
    unsigned = json.loads(json.dumps(POOL))
    unsigned["openPerpetualPositions"]["ETH-USD"]["size"] = "2"
    for data, accounts in (
        (POOL, 1),
        (unsigned, 1),
        ({"subaccount": POOL}, 1),
        ({"subaccount": parent}, 2),
        ([{"subaccount": POOL}, {"subaccounts": [CHILD]}], 2),
        ({"dydx1a": {"subaccounts": [POOL, CHILD, subaccount(1, "0", "0")]}}, 2),
    ):
        book = read(written(tmp_path, data))
        assert book.cash.size == accounts
        assert book.cash[0] == 1_600.0


def test_a_study_may_name_markets_as_the_venue_does(tmp_path):
    assert read(written(tmp_path, CHILD), markets=("BTC-USD", "ETH-USD")).row_market[0] == 1


@pytest.mark.parametrize(
    ("path", "value", "key", "message"),
    [
        (("openPerpetualPositions", "BTC-USD", "side"), "long", "openPerpetualPositions.BTC-USD.side", "LONG or SHORT"),
        (("openPerpetualPositions", "BTC-USD", "size"), "-1", "openPerpetualPositions.BTC-USD.size", "above 0"),
        (("openPerpetualPositions", "BTC-USD", "size"), "0", "openPerpetualPositions.BTC-USD.size", "not 0"),
        (("openPerpetualPositions", "BTC-USD", "entryPrice"), "", "openPerpetualPositions.BTC-USD.entryPrice", "finite"),
        (("openPerpetualPositions", "ETX-USD"), owned("1", "LONG", "1", "0"), "openPerpetualPositions.ETX-USD", "ETH"),
        (("assetPositions", "DOGE"), {"size": "1", "side": "LONG"}, "assetPositions.DOGE", "is USDC"),
        (("openPerpetualPositions", "BTC-USD", "status"), "CLOSED", "openPerpetualPositions.BTC-USD.status", "is OPEN"),
        (("equity",), "4900", "equity", "here 4800"),
        (("address",), 7, "address", "text"),
    ],
)  # fmt: skip
def test_a_bad_entry_of_dydx_is_named_by_its_path(tmp_path, path, value, key, message):
    data = json.loads(json.dumps(POOL))
    *parents, last = path
    at = data
    for part in parents:
        at = at[part]
    at[last] = value
    with pytest.raises(BookError, match=message) as raised:
        read(written(tmp_path, [data]))
    assert raised.value.key == f"[0].{key}"


def test_other_markets_of_dydx_stay_as_cash_at_the_oracle_price(tmp_path):
    book = read(written(tmp_path, POOL), markets=("BTC",), other_markets="drop")
    assert book.dropped == ("dydx1a ETH-USD -2",)
    assert book.equity(np.array([61_000.0]))[0] == 4_800.0


# ------------------------------------------------------------------------------------ the file


@pytest.mark.parametrize(
    ("data", "key"),
    [
        ([{"user": "0xA", **EXAMPLE}, {"user": "0xa", **EXAMPLE}], "[1].user"),
        ([{"subaccounts": [POOL, CHILD]}, {"subaccount": POOL}], "[1].subaccount.subaccountNumber"),
    ],
)
def test_an_account_that_a_file_gives_twice_is_refused(tmp_path, data, key):
    with pytest.raises(BookError, match="account of one response only") as raised:
        read(written(tmp_path, data))
    assert raised.value.key == key


@pytest.mark.parametrize(
    ("text", "fields", "message"),
    [
        ("{", {}, "is a JSON document"),
        ("{}", {}, "exactly one of"),
        ('{"openPerpetualPositions": ', {}, "is a JSON document"),
        ('{"crossMarginSummary": 1, "crossMarginSummary": 2}', {}, "occurs once"),
        ('{"crossMarginSummary": 1, "openPerpetualPositions": 2}', {}, "hyperliquid and dydx"),
        ("[]", {"format": "dydx"}, "at least one"),
        ("3", {"format": "dydx"}, "is a mapping"),
        ("3", {"format": "tidy"}, r"\.csv or \.parquet file if its format is tidy"),
    ],
)
def test_a_bad_document_is_refused(tmp_path, text, fields, message):
    with pytest.raises(BookError, match=message):
        read(written(tmp_path, text), **fields)


def test_a_table_does_not_hold_responses(tmp_path):
    with pytest.raises(BookError, match=r"\.json file if its format is dydx"):
        read(written(tmp_path, "x", "book.csv"), format="dydx")


def test_other_markets_of_a_table(tmp_path):
    text = "trader,margin_mode,market,size,entry_price,collateral\n"
    text += "a,cross,BTC,1,60000,500\na,cross,SOL,5,100,500\na,isolated,DOGE,5,1,70\n"
    book = read(written(tmp_path, text, "book.csv"), other_markets="drop")
    assert (list(book.cash), list(book.size), book.dropped) == ([500.0], [1.0], ("a SOL +5", "a DOGE +5"))
