"""Tables with a header: ts, symbol, venue and the columns of one kind, under any of their usual names.

Shapes    CSV, Parquet, JSON records or columns; one row per time and series.
Columns   as in ALIASES; case, blanks and underscores do not matter. `symbol` may be left out (file name, --symbol).
Times     seconds to nanoseconds since 1970, ISO 8601, or Parquet timestamps.
Limits    columns of no kind are passed over and named in the report.
"""

from __future__ import annotations

import re

from stress.observations import Observations, RawTable, Reading, normalise, pair_in

ALIASES = {
    "ts": (
        "ts",
        "timestamp",
        "time",
        "datetime",
        "date",
        "opentime",
        "updatedat",
        "calctime",
        "fundingtime",
        "blocktime",
        "startedat",
        "effectiveat",
        "t",
    ),
    "venue": ("venue", "exchange", "source"),
    "symbol": ("symbol", "market", "contract", "pair", "instrument", "ticker", "coin", "asset", "s", "key"),
    "open": ("open", "openprice", "o"),
    "high": ("high", "highprice", "h"),
    "low": ("low", "lowprice", "l"),
    "close": ("close", "closeprice", "c", "last"),
    "volume": ("volume", "vol", "v", "basevolume"),
    "funding_rate": ("fundingrate", "rate", "funding", "lastfundingrate"),
    "bid": ("bid", "bidprice", "bestbid"),
    "ask": ("ask", "askprice", "bestask"),
    "price": ("price", "markprice", "oracleprice", "indexprice", "oracle", "mark", "index", "answer", "value", "mid"),
    "oi_close": ("oiclose", "openinterest", "sumopeninterest"),
    "oi_open": ("oiopen",),
    "oi_high": ("oihigh",),
    "oi_low": ("oilow",),
}


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _columns(names: list[str]) -> dict[str, str]:
    """Return our names -> the file's; of two columns for one name the earlier alias wins, and t before T."""
    ordered = sorted(reversed(names), key=lambda name: name == _plain(name))
    plain = {_plain(name): name for name in ordered}
    found = {ours: plain[alias] for ours, known in ALIASES.items() for alias in reversed(known) if alias in plain}
    levels = {name: name for name in names if re.fullmatch(r"(bid|ask)_[0-9.]+bps_usd", name)}
    return {**found, **levels}


def _recognises(raw: RawTable) -> bool:
    return raw.header


def _read(raw: RawTable, stated: Reading) -> Observations:
    return normalise(raw, "tidy table", _columns(list(raw.frame.columns)), stated, pair_in(raw.file.name))


SOURCE = ("tidy table", 9, _recognises, _read)
