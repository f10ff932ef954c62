"""Rows of ccxt's fetch_ohlcv: [milliseconds, open, high, low, close, volume] without a header.

Shapes    CSV without a header, JSON list of rows, JSON mapping symbol -> rows.
Symbol    of the mapping, else of the file's name: BTC_USDT-1h.json, BTC_USDT_USDT-1h-futures.json, BTC-USDT.csv.
Source    ccxt manual, OHLCV structure; freqtrade's data folders keep the same rows.
Limits    seconds and microseconds are read too; rows of five columns have no volume.
"""

from __future__ import annotations

import re

from stress.observations import Observations, RawTable, Reading, normalise

_NAMES = ("ts", "open", "high", "low", "close", "volume")
_FRAME = re.compile(r"^[0-9]+(s|m|h|d|w|M)$")


def _symbol(name: str) -> str | None:
    parts = [part for part in re.split(r"[-.]", name) if part not in ("json", "csv", "gz", "futures", "mark", "spot")]
    words = [part for part in parts if not _FRAME.match(part) and not part.isdigit()]
    pair = [piece for piece in "_".join(words).split("_") if re.fullmatch(r"[A-Za-z0-9]+", piece)]
    return "/".join(pair[:2]) if pair else None


def _recognises(raw: RawTable) -> bool:
    positions = [name for name in raw.frame.columns if name != "symbol"]
    return not raw.header and len(positions) in (5, 6)


def _read(raw: RawTable, stated: Reading) -> Observations:
    positions = [name for name in raw.frame.columns if name != "symbol"]
    columns = dict(zip(_NAMES, positions, strict=False))
    if "symbol" in raw.frame:
        columns["symbol"] = "symbol"
    return normalise(raw, "ccxt rows", columns, stated, _symbol(raw.file.name))


SOURCE = ("ccxt rows", 2, _recognises, _read)
