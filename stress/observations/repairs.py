"""Repairs of market data, each by a rule that the user names; without one, what is wrong is refused with its line.

out of order   sorted by time always; it changes no value
unreadable     drop: the rows go
duplicates     first, last: which of the rows with one time stays (identical ones)
conflicts      first, last: the same where the rows differ
not positive   drop
inconsistent   widen: low and high of a bar take in its open and close;  drop
off the grid   snap: to the nearest bar, within a quarter of its length (funding: to the nearest hour);  drop
bad prints     winsorise: cut to the range of the two neighbouring rows;  drop: the rows go;  keep: it is real
level shift    rescale: earlier prices take the unit of the latest;  keep
crossed        drop
negative depth drop
large rate     percent: the file's rates are percentages;  drop;  keep
no open        previous_close: a bar opens where the one before closed, held inside its low and high
gaps           hold: the last close stands over missing bars (flat, without volume)
stale runs     drop
multiplied     unit: prices of one unit, the prefix goes (kPEPE -> PEPE)
renamed        join: the old name becomes the new one
venues         median: one series for each market, every field its median over the venues
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from stress.errors import PriceFileError, StudyError, did_you_mean
from stress.observations import defects
from stress.observations.defects import MULTIPLES, MULTIPLIED, Defect, bar_of, find
from stress.observations.kinds import Observations
from stress.paths.replay import FIELDS, PriceHistory

# In the order in which they are applied.
RULES: dict[str, tuple[str, ...]] = {
    "unreadable": ("drop",),
    "multiplied": ("unit",),
    "renamed": ("join",),
    "duplicates": ("first", "last"),
    "conflicts": ("first", "last"),
    "not positive": ("drop",),
    "off the grid": ("snap", "drop"),
    "no open": ("previous_close",),
    "inconsistent": ("widen", "drop"),
    "level shift": ("rescale", "keep"),
    "bad prints": ("winsorise", "drop", "keep"),
    "crossed": ("drop",),
    "negative depth": ("drop",),
    "large rate": ("percent", "drop", "keep"),
    "stale runs": ("drop",),
    "gaps": ("hold",),
    "venues": ("median",),
}
_OF_BARS = {"no open", "inconsistent", "level shift", "gaps", "stale runs", "renamed"}
_DERIVATIVE = re.compile(r"[-_:]?(PERP|SWAP|FUTURES?|USD[TC]?M)$")
_QUOTES = re.compile(r"[-_/]?(USDT|USDC|USD|BUSD)(:[A-Z]+)?$")


def market_of(symbol: str) -> str:
    """Return the asset of a contract or pair: BTC of BTCUSDT, BTC-USD, BTC/USDT:USDT, BTCUSD_PERP, BTC."""
    name = symbol.split(":")[0]
    return _QUOTES.sub("", _DERIVATIVE.sub("", name)) or symbol


def offered(defect: str, kind: str) -> list[str]:
    """Return the repairs of a defect in a kind of table, as 'defect=rule'."""
    if (defect in _OF_BARS or (defect == "off the grid" and kind != "funding")) and kind != "bars":
        return []
    return [f"{defect.replace(' ', '_')}={rule}" for rule in RULES.get(defect, ())]


def parse_rules(stated: Sequence[str], key: str = "--repair") -> dict[str, str]:
    """Return {defect: rule} of 'defect=rule'; an underscore may stand for a blank. `key`: where they are stated."""
    rules = {}
    for text in stated:
        name, sign, rule = text.partition("=")
        name = name.strip().replace("_", " ")
        if not sign or name not in RULES:
            fix = did_you_mean(name, RULES)
            raise StudyError("a repair is defect=rule, such as bad_prints=winsorise", key=key, value=text, fix=fix)
        if rule not in RULES[name]:
            fix = "use " + " or ".join(RULES[name])
            raise StudyError(f"is no rule for {name}", key=key, value=rule, fix=fix)
        rules[name] = rule
    return rules


def repair(seen: Observations, rules: Mapping[str, str]) -> tuple[Observations, list[str]]:
    """Return the observations after the rules, and what each rule changed, in words."""
    said = []
    for name in RULES:
        if name in rules:
            before = seen.table
            seen = _apply(seen, name, rules[name])
            changed = _changed(before, seen.table)
            if changed:
                said.append(f"{name}, {rules[name]}: {changed}")
    return seen, said


def _changed(before: pd.DataFrame, after: pd.DataFrame) -> str:
    if len(before) != len(after):
        return f"{abs(len(after) - len(before))} rows {'added' if len(after) > len(before) else 'removed'}"
    shared = [name for name in after if name in before]
    a, b = before[shared].reset_index(drop=True), after[shared].reset_index(drop=True)
    changed = ~((a == b) | (a.isna() & b.isna())).all(axis=1)
    added = [name for name in after if name not in before]
    if added:
        return f"{', '.join(map(str, added))} made for {len(after)} rows"
    return f"{int(changed.sum())} rows changed" if changed.any() else ""


def _apply(seen: Observations, name: str, rule: str) -> Observations:
    if rule == "keep":
        return seen
    if name == "unreadable":
        kept = seen.table.dropna(subset=["ts", *seen.values])
        return replace(seen, table=kept[kept["symbol"] != ""], unreadable=())
    if name == "multiplied":
        return _unit(seen)
    if name == "renamed":
        names = {old.split(" ")[-1]: new.split(" ")[-1] for old, new in defects.renamed(seen, seen.series)}
        return replace(seen, table=seen.table.assign(symbol=seen.table["symbol"].replace(names)))
    if name in ("duplicates", "conflicts"):
        keys = ["venue", "symbol", "ts"] + (list(seen.values) if name == "duplicates" else [])
        return replace(seen, table=seen.table[~seen.table.duplicated(keys, keep=rule)])  # type: ignore[arg-type]
    if name == "venues":
        return _median(seen)
    parts = [_of_series(seen, rows, name, rule) for _, rows in seen.series]
    table = pd.concat(parts, ignore_index=True) if parts else seen.table
    values = tuple(column for column in table if column in (*seen.values, "open")) if name == "no open" else seen.values
    return replace(seen, table=table, values=values)


def _unit(seen: Observations) -> Observations:
    table = seen.table.copy()
    prefix = table["symbol"].str.extract(MULTIPLIED, expand=False)
    factor = prefix.map(MULTIPLES).fillna(1.0)
    for column in seen.values:
        if column == "volume":
            table[column] = table[column] * factor
        elif column in ("open", "high", "low", "close", "price", "bid", "ask"):
            table[column] = table[column] / factor
    table["symbol"] = table["symbol"].str.replace(MULTIPLIED, "", regex=True)
    return replace(seen, table=table)


def _median(seen: Observations) -> Observations:
    table = seen.table.assign(symbol=seen.table["symbol"].map(market_of), venue="median")
    grouped = table.groupby(["venue", "symbol", "ts"], as_index=False, observed=True, sort=True)
    merged = grouped.agg({"row": "first", **dict.fromkeys(seen.values, "median")})
    return replace(seen, table=merged[["ts", "venue", "symbol", "row", *seen.values]])


def _of_series(seen: Observations, rows: pd.DataFrame, name: str, rule: str) -> pd.DataFrame:
    prices = [column for column in ("open", "high", "low", "close", "price", "bid", "ask") if column in seen.values]
    if name == "not positive":
        return rows[~(rows[prices] <= 0).any(axis=1)]
    if name == "crossed":
        return rows[~(rows["bid"] > rows["ask"])] if "bid" in rows else rows
    if name == "negative depth":
        levels = [column for column in seen.values if column.endswith("bps_usd")]
        return rows[~(rows[levels] < 0).any(axis=1)]
    if name == "large rate":
        if "funding_rate" not in rows:
            return rows
        if rule == "percent":
            return rows.assign(funding_rate=rows["funding_rate"] / 100)
        return rows[~(rows["funding_rate"].abs() > 0.04)]
    if name == "off the grid" and seen.kind == "funding":
        nearest = rows["ts"].dt.round("1h")
        return rows[(rows["ts"] - nearest).abs() < pd.Timedelta("1s")] if rule == "drop" else rows.assign(ts=nearest)
    if seen.kind != "bars" and name != "bad prints":
        return rows
    if name == "bad prints":
        return _prints(rows, prices, rule)
    return _bars(rows, prices, name, rule, bar_of(seen.series))


def _prints(rows: pd.DataFrame, prices: Sequence[str], rule: str) -> pd.DataFrame:
    if not prices:
        return rows
    if "close" not in prices:
        flags = defects.spikes(rows.assign(close=rows[prices[0]]), ["close"])[:, :1].repeat(len(prices), axis=1)
    else:
        flags = defects.spikes(rows, prices)
    if rule == "drop" or not flags.any():
        return rows.iloc[np.flatnonzero(~flags.any(axis=1))]
    values = rows[list(prices)].to_numpy(copy=True)
    neighbours = np.stack([np.roll(values, 1, axis=0), np.roll(values, -1, axis=0)])
    neighbours[0, 0], neighbours[1, -1] = values[1], values[-2]
    low, high = neighbours.min(axis=(0, 2))[:, None], neighbours.max(axis=(0, 2))[:, None]
    bad = flags.any(axis=1)
    values[bad] = np.clip(values, low, high)[bad]
    return rows.assign(**{column: values[:, i] for i, column in enumerate(prices)})


def _bars(rows: pd.DataFrame, prices: Sequence[str], name: str, rule: str, bar: float | None) -> pd.DataFrame:
    if bar is None:
        return rows
    body = [column for column in ("open", "close") if column in prices]
    if name == "no open":
        if "open" in prices:
            return rows
        opened = rows["close"].shift().fillna(rows["close"]).clip(rows["low"], rows["high"])
        return rows.assign(open=opened)
    if name == "inconsistent":
        low, high = rows[[*body, "low"]].min(axis=1), rows[[*body, "high"]].max(axis=1)
        if rule == "widen":
            return rows.assign(low=low, high=high)
        return rows[(rows["low"] == low) & (rows["high"] == high)]
    if name == "level shift":
        powers = defects.shifts(rows, prices)
        ahead = np.concatenate([np.cumsum(powers[::-1])[::-1][1:], [0]])  # of shifts after each row
        return rows.assign(**{column: rows[column] * 10.0**ahead for column in prices})
    length = pd.Timedelta(seconds=bar)
    if name == "off the grid":
        nearest = rows["ts"].dt.round(length)
        off = (rows["ts"] - nearest).abs()
        if rule == "drop":
            return rows[off == pd.Timedelta(0)]
        return rows.assign(ts=nearest.where(off <= length / 4, rows["ts"]))
    if name == "stale runs":
        flat = ((rows["high"] == rows["low"]) & (rows["close"].diff() == 0)).to_numpy()
        edges = np.flatnonzero(np.diff(np.concatenate([[0], flat.astype(np.int8), [0]])))
        stale = np.zeros(len(rows), bool)
        fewest = int(np.clip(np.ceil(3 * 3600 / bar), 3, 30))
        for start, end in zip(edges[::2], edges[1::2], strict=True):
            stale[start:end] = end - start >= fewest
        return rows[~stale]
    return _held(rows, prices, length)


def _held(rows: pd.DataFrame, prices: Sequence[str], length: pd.Timedelta) -> pd.DataFrame:
    if rows["ts"].duplicated().any() or rows["ts"].isna().any():
        raise PriceFileError("gaps are held only in a series with one row per time", key="--repair", value="gaps=hold")
    grid = pd.date_range(rows["ts"].iloc[0], rows["ts"].iloc[-1], freq=length)
    grid = grid.union(pd.DatetimeIndex(rows["ts"]))
    held = rows.set_index("ts").reindex(grid)
    made = held["close"].isna().to_numpy()
    close = held["close"].ffill()
    for column in prices:
        held[column] = held[column].where(~made, close)
    if "volume" in held:
        held["volume"] = held["volume"].where(~made, 0.0)
    for column in ("venue", "symbol", "row"):
        held[column] = held[column].ffill()
    held["row"] = held["row"].astype(rows["row"].dtype)
    return held.rename_axis("ts").reset_index()[list(rows.columns)]


def refuse(seen: Observations, found: Sequence[Defect], rules: Mapping[str, str]) -> None:
    """Raise the first defect that is wrong and that no rule treats."""
    for defect in found:
        if defect.wrong and defect.name not in rules:
            rule = defect.rule + (f" ({defect.count} rows)" if defect.count > 1 else "")
            ways = " or ".join(f"--repair {way}" for way in offered(defect.name, seen.kind))
            named = f"; or name a repair: {ways} (a study: `repair: [...]` of its replay)" if ways else ""
            fix = (defect.fix or "correct or remove the row") + named
            raise PriceFileError(rule, file=seen.file, line=defect.line, key=defect.key, value=defect.value, fix=fix)


def histories(seen: Observations, rules: Mapping[str, str]) -> PriceHistory:
    """Return bars ready for a calibration or a replay, after the rules; refuses what they leave wrong."""
    if seen.kind != "bars":
        raise PriceFileError(
            "needs price bars", file=seen.file, key="kind", value=seen.kind, fix="give open, high, low, close"
        )
    refuse(seen, seen.unreadable, rules)
    repaired, _ = repair(seen, rules)
    # Bad prints of bars are treated by what reads them, by its own named rule.
    refuse(repaired, find(repaired), {"bad prints": "", "level shift": "", **rules})
    if "open" not in repaired.values:
        raise PriceFileError(
            "has the columns ts, symbol, open, high, low, close and may have venue",
            file=seen.file,
            key="missing columns",
            value=["open"],
            fix="name a repair: --repair no_open=previous_close (a study: `repair: [no_open=previous_close]` of its "
            f"replay); it has {', '.join(seen.table.columns)}",
        )
    bar = bar_of(repaired.series)
    if bar is None:
        raise PriceFileError("has no series of two bars, so that the length of a bar is unknown", file=seen.file)
    groups = seen.table.groupby(["venue", "symbol"], sort=False, observed=True)["ts"]
    out_of_order = int((groups.diff() < pd.Timedelta(0)).sum())
    table = repaired.table[["ts", "venue", "symbol", *FIELDS, "row"]]
    table = table.sort_values(["venue", "symbol", "ts"], kind="stable", ignore_index=True)
    return PriceHistory(seen.file, table, bar, out_of_order)
