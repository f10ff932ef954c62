"""Books by hand: responses to new terms, isolation, summary, and the law of a synthetic book."""

from __future__ import annotations

import time

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from stress.accounts import Book, BookSpec, SyntheticBook, make_book, summary
from stress.config import RESPONSES
from stress.errors import BookError
from stress.traders import isolate, respond

MARKETS = ("BTC", "ETH", "SOL", "XRP")
PRICES = np.array([60_000.0, 3_000.0, 150.0, 0.6])
CAPS = np.array([40.0, 25.0, 20.0, 20.0])
INTEREST = np.array([2.5e9, 1.5e9, 6e8, 3e8])


def flat(*caps):
    """Initial margin = notional / cap, one cap per market."""
    rate = 1.0 / np.array(caps)
    return lambda market, size, price: np.abs(size) * price * rate[market]


def one_pool(cash, *rows, isolated=False):
    """A book of one account with rows (market, size, entry)."""
    market, size, entry = zip(*rows, strict=True)
    return Book(
        markets=("BTC", "ETH"),
        trader=[7],
        kind=[0],
        isolated=[isolated],
        cash=[cash],
        row_start=[0, len(rows)],
        row_market=market,
        size=size,
        entry_price=entry,
    )


def synthetic(seed=1, caps=CAPS, markets=MARKETS, open_interest=INTEREST, **fields):
    many = len(markets)
    return make_book(
        SyntheticBook(**fields),
        markets=markets,
        prices=PRICES[:many],
        leverage_cap=caps[:many],
        seed=seed,
        initial_margin=flat(*caps[:many]),
        open_interest=None if open_interest is None else open_interest[:many],
    )


def answer(book, response, current, proposed, prices=(100.0, 50.0), changed=(True, True)):
    return respond(
        book,
        response,
        prices=np.array(prices),
        current=current,
        proposed=proposed,
        changed_markets=np.array(changed),
    )


# ----------------------------------------------------------------------------------- responses


def test_a_higher_cap_doubles_the_size_at_the_mark():
    book = one_pool(1000.0, (0, 10.0, 90.0))  # equity 1,100, initial margin 100 at 10x
    after = answer(book, "keep_utilisation", flat(10, 10), flat(20, 10))
    assert after.size[0] == pytest.approx(20.0, rel=1e-12)
    assert after.entry_price[0] == pytest.approx(95.0, rel=1e-12)  # (10 x 90 + 10 x 100) / 20
    assert after.cash[0] == 1000.0


def test_a_lower_cap_halves_the_size_and_realises_its_profit():
    book = one_pool(1000.0, (0, -10.0, 110.0))
    after = answer(book, "keep_utilisation", flat(10, 10), flat(5, 10))
    assert after.size[0] == pytest.approx(-5.0, rel=1e-12)
    assert after.entry_price[0] == 110.0
    assert after.cash[0] == pytest.approx(1050.0, rel=1e-12)  # 5 contracts x 10


def test_the_mix_moves_by_one_factor_when_one_market_changes():
    book = one_pool(500.0, (0, 10.0, 100.0), (1, -20.0, 50.0))  # 1,000 each: 100 + 100 at 10x
    after = answer(book, "keep_utilisation", flat(10, 10), flat(20, 10), changed=(True, False))
    np.testing.assert_allclose(after.size, [40 / 3, -80 / 3], rtol=1e-12)  # f (50 + 100) = 200


def test_an_account_without_the_changed_market_does_not_move():
    book = one_pool(500.0, (1, 20.0, 50.0))
    assert answer(book, "keep_utilisation", flat(10, 10), flat(5, 10), changed=(True, False)) is book


def test_the_factor_crosses_a_tier():
    def tiered(market, size, price):  # 10 % up to 1,000 USD, 20 % of what lies above
        notional = np.abs(size) * price
        return 0.1 * notional + 0.1 * np.maximum(notional - 1000.0, 0.0)

    book = one_pool(500.0, (0, 10.0, 100.0))
    after = answer(book, "keep_utilisation", flat(5, 5), tiered)  # 100 f + 100 (f - 1) = 200
    assert after.size[0] == pytest.approx(15.0, rel=1e-12)


def test_where_the_requirement_jumps_the_account_stays_below_the_jump():
    def jumping(market, size, price):  # the rate of the tier holds for the whole notional
        notional = np.abs(size) * price
        return np.where(notional <= 1200.0, 0.1, 0.2) * notional

    book = one_pool(500.0, (0, 10.0, 100.0))
    after = answer(book, "keep_utilisation", lambda m, s, p: 0.15 * np.abs(s) * p, jumping)
    assert after.size[0] == pytest.approx(12.0, rel=1e-14)
    assert after.size[0] * 100.0 <= 1200.0


def test_only_accounts_above_the_new_cap_shrink_or_deposit():
    above = one_pool(60.0, (0, 10.0, 100.0))  # 50 needed at 20x, 100 at 10x
    within = one_pool(120.0, (0, 10.0, 100.0))
    assert answer(above, "shrink_positions", flat(20, 20), flat(10, 20)).size[0] == pytest.approx(6.0, rel=1e-12)
    deposited = answer(above, "add_collateral", flat(20, 20), flat(10, 20))
    assert deposited.cash[0] == 100.0
    assert deposited.size[0] == 10.0
    for response in ("shrink_positions", "add_collateral"):
        assert answer(within, response, flat(20, 20), flat(10, 20)) is within
        assert answer(above, response, flat(20, 20), flat(40, 20)) is above


def test_an_account_that_stood_above_the_cap_keeps_its_requirement():
    book = one_pool(40.0, (0, 10.0, 100.0))  # needs 50 already
    assert answer(book, "shrink_positions", flat(20, 20), flat(20, 20)) is book
    assert answer(book, "shrink_positions", flat(20, 20), flat(10, 20)).size[0] == pytest.approx(5.0, rel=1e-12)
    assert answer(book, "add_collateral", flat(20, 20), flat(10, 20)).cash[0] == pytest.approx(90.0)


def test_unknown_responses_and_unbounded_sizes_are_refused():
    book = one_pool(500.0, (0, 10.0, 100.0))
    with pytest.raises(BookError, match="did you mean keep_utilisation"):
        answer(book, "keep_utilization", flat(10, 10), flat(5, 10))
    with pytest.raises(BookError, match="grow with position size without bound"):
        answer(book, "keep_utilisation", flat(10, 10), lambda m, s, p: np.minimum(np.abs(s) * p * 0.05, 60.0))
    with pytest.raises(BookError, match="above zero before and after"):
        answer(book, "keep_utilisation", flat(10, 10), lambda m, s, p: 0.0 * s)


# ----------------------------------------------------------------------------------- isolation


def test_a_pool_is_split_by_initial_margin_at_equal_utilisation():
    book = one_pool(100.0, (0, 1.0, 100.0), (1, -1.0, 50.0))
    prices = np.array([110.0, 40.0])  # +10 and +10: equity 120; initial margin 11 and 4
    split = isolate(book, flat(10, 10), prices)
    np.testing.assert_allclose(split.cash, [78.0, 22.0], rtol=1e-12)  # 88 - 10, 32 - 10
    np.testing.assert_allclose(split.equity(prices), [88.0, 32.0], rtol=1e-12)
    assert split.isolated.all()
    assert list(split.trader) == [7, 7]
    assert list(split.row_start) == [0, 1, 2]


def test_single_positions_and_idle_cash_keep_their_collateral():
    book = Book(("BTC",), [1, 2], [0, 4], [False, False], [5.0, 100.0], [0, 0, 1], [0], [1.0], [99.0])
    split = isolate(book, flat(10), np.array([100.0]))
    assert list(split.cash) == [5.0, 100.0]
    assert list(split.isolated) == [False, True]
    assert list(split.kind) == [0, 4]
    again = isolate(split, flat(10), np.array([100.0]))
    assert again.cash.tobytes() == split.cash.tobytes()


# ------------------------------------------------------------------------------------- summary


def test_summary_by_hand():
    # A hedged pool (long 1,000, short 1,000, equity 500) and a long of 2,000 on 200.
    book = Book(
        ("BTC", "ETH"), [0, 1], [1, 0], [False, True], [500.0, 200.0], [0, 2, 3], [0, 1, 0], [10.0, -20.0, 20.0],
        [100.0, 50.0, 100.0],
    )  # fmt: skip
    seen = summary(book, np.array([100.0, 50.0]))
    assert seen["open_interest"]["BTC"] == {"long": 3000.0, "short": 0.0, "imbalance": 3000.0, "skew": 1.0}
    assert seen["open_interest"]["ETH"]["skew"] == -1.0
    assert seen["leverage"]["p50"] == pytest.approx(7.0)  # 4x and 10x
    assert seen["leverage"]["mean"] == pytest.approx(4000 / 700)
    assert seen["concentration"] == {"top_1": 0.5, "top_10": 1.0, "top_100": 1.0}
    assert seen["hedged_share"] == pytest.approx(0.5)
    assert seen["archetypes"]["hedged_pair"] == {"accounts": 1, "positions": 2, "notional_share": 0.5}
    assert seen["isolated_accounts"] == 1


# ------------------------------------------------------------------------------ synthetic books


def test_open_interest_and_crowding_are_met_and_all_archetypes_occur():
    seen = summary(synthetic(crowding={"BTC": 0.3, "default": -0.2}), PRICES)
    for market, target in zip(MARKETS, INTEREST, strict=True):
        long, short = seen["open_interest"][market]["long"], seen["open_interest"][market]["short"]
        assert max(long, short) == pytest.approx(target, rel=1e-11)
        assert (long - short) / target == pytest.approx(0.3 if market == "BTC" else -0.2, rel=1e-10)
    assert {name: values["accounts"] > 0 for name, values in seen["archetypes"].items()} == dict.fromkeys(
        ("directional", "hedged_pair", "market_neutral", "funding_collecting", "whale"), True
    )


def test_archetypes_hold_what_they_say():
    book = synthetic(hedge_error=0.0, isolated=0.0)
    notional = book.size * PRICES[book.row_market]
    net = book.per_account(notional) / book.per_account(np.abs(notional))
    hedged = np.isin(book.kind, (1, 2))
    np.testing.assert_allclose(net[hedged], 0.0, atol=1e-12)
    np.testing.assert_allclose(net[book.kind == 3], -1.0, rtol=1e-12)
    assert (np.diff(book.row_start)[book.kind == 4] == 1).all()
    assert (np.diff(book.row_start)[book.kind == 1] == 2).all()
    sides = np.sign(net[(book.kind == 0) | (book.kind == 4)])
    assert (sides > 0).mean() == pytest.approx(0.6, abs=0.07)


def test_nobody_starts_below_initial_margin_and_profit_is_bounded():
    book = synthetic(entry_spread=0.3)
    required = book.per_account(flat(*CAPS)(book.row_market, book.size, PRICES[book.row_market]))
    equity = book.equity(PRICES)
    assert (equity >= required * (1 - 1e-9)).all()
    assert (equity - book.cash <= 0.5 * equity * (1 + 1e-9)).all()
    assert (book.entry_price != PRICES[book.row_market]).mean() > 0.99


def test_isolated_positions_belong_to_a_trader_with_a_cross_account():
    book = synthetic(isolated=0.5)
    assert book.isolated.sum() > 100
    assert set(book.trader[book.isolated]) <= set(book.trader[~book.isolated])
    assert (book.cash[np.diff(book.row_start) == 0] > 0).all()


def test_the_same_seed_gives_the_same_bytes_and_more_traders_keep_the_earlier_ones():
    short, long, other = synthetic(accounts=200), synthetic(accounts=300), synthetic(accounts=200, seed=2)
    assert short.size.tobytes() == synthetic(accounts=200).size.tobytes()
    assert short.size.tobytes() != other.size.tobytes()
    rows = short.size.size
    np.testing.assert_array_equal(long.row_market[:rows], short.row_market)
    np.testing.assert_array_equal(np.sign(long.size[:rows]), np.sign(short.size))
    margin = flat(*CAPS)
    leverage = [
        b.per_account(margin(b.row_market, b.size, PRICES[b.row_market])) / b.equity(PRICES) for b in (short, long)
    ]
    np.testing.assert_allclose(leverage[1][: short.cash.size], leverage[0], rtol=1e-12)


def test_leverage_follows_the_cap_of_the_preset():
    low, high = (summary(synthetic(caps=CAPS * scale), PRICES)["leverage"]["p50"] for scale in (1.0, 2.0))
    assert high == pytest.approx(2.0 * low, rel=1e-9)


def test_equity_is_as_concentrated_as_hyperliquid():
    """Top 1 / 10 / 100 of deleveraged notional on 2025-10-10: 15.7 / 45.8 / 77.6 %, of far more traders."""
    top = [summary(synthetic(seed=seed), PRICES)["concentration"] for seed in range(40)]
    assert 0.08 < np.mean([t["top_1"] for t in top]) < 0.20
    assert 0.35 < np.mean([t["top_10"] for t in top]) < 0.60
    assert 0.70 < np.mean([t["top_100"] for t in top]) < 0.90


def test_a_calm_move_liquidates_few_and_a_panic_move_many():
    """One-way moves of one daily standard deviation, calm and panic (3.2 times), before any feedback."""
    daily = np.array([0.45, 0.60, 0.80, 0.80]) / np.sqrt(365)
    below = {}
    for name, scale in (("calm", 1.0), ("panic", 3.2)):
        lost = []
        for seed in range(5):
            book = synthetic(seed=seed)
            prices = PRICES * (1.0 - scale * daily)
            required = 0.5 * book.per_account(flat(*CAPS)(book.row_market, book.size, prices[book.row_market]))
            lost.append((book.equity(prices) < required).mean())
        below[name] = np.mean(lost)
    assert below["calm"] < 0.02
    assert 0.15 < below["panic"] < 0.6


def test_ten_thousand_traders_take_less_than_a_second():
    start = time.perf_counter()
    book = synthetic(accounts=10_000)
    assert time.perf_counter() - start < 1.0
    assert book.cash.size > 10_000


# -------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"archetypes": {"directional": 0.5}}, "add up to 1; these add up to 0.8"),
        ({"accounts": 0}, "accounts"),
        ({"leverage": 10}, "leverage"),
        ({"equity": {"alpha": -1}}, "equity.alpha"),
        ({"utilisation": {"whale": {"a": 1}}}, "utilisation.whale.b"),
        ({"crowding": 1.0}, "crowding"),
        ({"open_interest": {"BTC": "lots"}}, "open_interest.BTC"),
        ({"entry_spread": float("nan")}, "entry_spread"),
    ],
)
def test_a_wrong_spec_is_refused(fields, message):
    with pytest.raises(ValidationError, match=message):
        TypeAdapter(BookSpec).validate_python({"kind": "synthetic", **fields})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"open_interest": None}, "scaled to the open interest .* none is given"),
        ({"open_interest": np.array([1e9, 0.0, 1e9, 1e9])}, "open_interest_usd.ETH = 0.0"),
        ({"long_share": {"BTX": 0.5}}, "did you mean BTC"),
        ({"crowding": {"BTC": 0.5}}, "no value for this market"),
        ({"markets": ("BTC",)}, "need at least two markets"),
        ({"accounts": 2}, "no trader holds this side"),
        ({"open_interest": np.array([1e3, 1e9, 1e9, 1e9]), "accounts": 20}, "BTC"),
        (
            {
                "markets": ("BTC", "ETH"),
                "archetypes": {"directional": 0, "hedged_pair": 1, "market_neutral": 0, "funding_collecting": 0, "whale": 0},
                "hedge_error": 0.0,
                "crowding": 0.5,
            },
            "cannot be scaled",
        ),
    ],
)  # fmt: skip
def test_a_book_that_cannot_be_made_is_refused(arguments, message):
    with pytest.raises(BookError, match=message):
        synthetic(**arguments)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": [0.0]}, "size is finite and not zero"),
        ({"entry_price": [-1.0]}, "entry_price is finite, not below 0"),
        ({"cash": [np.nan]}, "cash is finite"),
        ({"row_market": [2]}, "row_market names a market"),
        ({"row_start": [0, 2]}, "row_start starts at 0"),
        ({"trader": [1, 2]}, "trader has one value per account"),
    ],
)
def test_a_malformed_book_is_refused(change, message):
    fields = {
        "markets": ("BTC",), "trader": [1], "kind": [0], "isolated": [False], "cash": [1.0], "row_start": [0, 1],
        "row_market": [0], "size": [1.0], "entry_price": [1.0],
    }  # fmt: skip
    with pytest.raises(BookError, match=message):
        Book(**(fields | change))


def test_every_response_is_listed():
    assert RESPONSES == ("keep_utilisation", "shrink_positions", "add_collateral", "grandfather")
