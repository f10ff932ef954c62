"""Kline dumps of an exchange: the twelve columns of Binance's public archive, with or without a header.

Shapes    CSV; open_time, open, high, low, close, volume, close_time, quote_volume, count, taker_buy_volume,
          taker_buy_quote_volume, ignore. Mark and index klines have the same columns.
Times     milliseconds; spot dumps from 2025 on microseconds: each row by its own size.
Symbol    of the file's name: BTCUSDT-1h-2024-01.csv, or any name with a pair in it.
Source    github.com/binance/binance-public-data, README, section Klines (2026-11).
"""

from __future__ import annotations

import re

from stress.observations import Observations, RawTable, Reading, normalise, pair_in

_NAMES = ("ts", "open", "high", "low", "close", "volume")
_HEADER = {"open_time", "close_time", "open", "high", "low", "close"}


def _recognises(raw: RawTable) -> bool:
    return _HEADER.issubset(raw.frame.columns) if raw.header else len(raw.frame.columns) == 12


def _read(raw: RawTable, stated: Reading) -> Observations:
    names = ("open_time", *_NAMES[1:]) if raw.header else tuple(raw.frame.columns[:6])
    columns = dict(zip(_NAMES, names, strict=True))
    if "symbol" in raw.frame:
        columns["symbol"] = "symbol"
    symbol = re.match(r"([A-Z0-9_]+)-[0-9]+(s|m|h|d|w|mo|M)\b", raw.file.name)
    return normalise(raw, "exchange klines", columns, stated, symbol[1] if symbol else pair_in(raw.file.name))


SOURCE = ("exchange klines", 1, _recognises, _read)
