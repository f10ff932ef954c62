"""One self-contained page: what was fitted, how sure, and data against simulated; no script, no outside request."""

from __future__ import annotations

import html
import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from stress.calibration.diagnostics import LAGS, Comparison, excursions_outside
from stress.paths import MarketModel

_STYLE = """
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#5b6570;--line:#d5dae0;--paper:#fff;--in:#e8f3ec;--out:#fbe9e2}
@media (prefers-color-scheme:dark){:root{--ink:#e6e9ec;--soft:#9aa4ae;--line:#3a424b;--paper:#15191e;--in:#1d3226;--out:#43281e}}
body{font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:72rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin:0}h2{font-size:1.15rem;margin:2rem 0 .4rem}p,li{max-width:46rem}.soft{color:var(--soft)}
.box{border:2px solid var(--ink);border-radius:.4rem;padding:.8rem 1rem;margin:1rem 0}.wide{overflow-x:auto}
table{border-collapse:collapse;font-size:.82rem;font-variant-numeric:tabular-nums}th,td{padding:.25rem .5rem;text-align:right;white-space:nowrap}
th{border-bottom:1px solid var(--line);font-weight:600}td:first-child,th:first-child{text-align:left;position:sticky;left:0;background:var(--paper)}
td.in{background:var(--in)}td.out{background:var(--out)}figure{margin:0}figure svg{max-width:100%;height:auto}details{margin:.6rem 0}
"""
_SHOWN = 3  # markets with figures of their own
_HEAD = ("BTC", "ETH", "SOL")


def page(model: MarketModel, found: Comparison) -> str:
    """Return the page of a fitted model and its comparison with the data."""
    facts = model.calibration
    assert facts is not None  # a fitted model carries its calibration
    judged = [key for key in found.data if found.inside(key) is not None]
    inside = sum(bool(found.inside(key)) for key in judged)
    parts = [
        f"<h1>Calibration: {_safe(model.name)}</h1>",
        f'<p class="soft">{len(found.markets)} markets, hourly bars {facts.span[0][:10]} to {facts.span[1][:10]}; '
        f"{found.replicates} simulated samples of the same length; band: their 5 % to 95 % quantiles.</p>",
        _box(found, inside, len(judged)),
        "<h2>Adverse excursions</h2><p>How far the price goes against a position within 1, 4 and 24 hours of an hour's close: the "
        "move exceeded in 1 % and in 0.1 % of hours. Data, and the simulated band below it.</p>",
        _table(found, "excursions", _percent),
        "<h2>Distribution of hourly returns</h2><p>Hourly returns at four quantiles: diamonds are the data, bars the simulated band.</p>",
        _figure(_tails(found), "Quantiles of hourly returns of data against the simulated band, by market"),
        _table(found, "moments", _number),
        _table(found, "tails", _number),
        "<h2>Clustering</h2><p>Autocorrelation of the size of hourly returns: how long turbulence lasts.</p>",
        _figure(
            _clustering(found), "Autocorrelation of absolute hourly returns by lag: data against the simulated band"
        ),
        "<h2>Dependence</h2><p>Chance that a market is in its worst hours while the first market is in its own, and correlation with "
        "it over windows of 90 days.</p>",
        _table(found, "dependence", _number),
        "<h2>What was fitted</h2>",
        _parameters(model),
        _regimes(model),
        f"<p>Standard errors: {_safe(facts.bootstrap)}, given states and flags. From template {_safe(facts.template)} "
        f"(prices cannot identify them): {_safe(', '.join(facts.kept))}.</p>",
        _list("Warnings", facts.warnings),
        _list("Data", [f"{d.file} (BLAKE2b {d.blake2b}): {len(d.markets)} markets" for d in facts.data]),
    ]
    body = "\n".join(part for part in parts if part)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f'<link rel="icon" href="data:,"><title>Calibration: {_safe(model.name)}</title><style>{_STYLE}</style></head>'
        f"<body>{body}</body></html>\n"
    )


def _box(found: Comparison, inside: int, judged: int) -> str:
    heads = tuple(market for market in _HEAD if market in found.markets) or found.markets[:_SHOWN]
    outside = excursions_outside(found, heads)
    total = sum(key[0] == "excursions" and key[2] in heads and found.inside(key) is not None for key in found.data)
    said = [
        f"<strong>{total - len(outside)} of {total} adverse excursions of {', '.join(heads)} lie inside the simulated band.</strong>",
        f"All statistics and markets: {inside} of {judged} inside.",
    ]
    if outside:
        items = "".join(f"<li>{_safe(line)}</li>" for line in outside)
        said.append(f"<details><summary>Which not, and why</summary><ul>{items}</ul>{_REASONS}</details>")
    return f'<div class="box">{"<br>".join(said[:2])}{"".join(said[2:])}</div>'


_REASONS = """<p>Reasons to look for, in this order. Inside an hour real prices overshoot and come back (compare the wick ratio below: above 1
the range of an hour is wider than its closes imply); no layer of this model does that. A sample holds few crashes: one day such as 12
March 2020 decides the 0.1 % of its years. A market whose bars start late saw fewer regimes than the chain, which is fitted over the whole
span, gives it. The path layers `resampled` (blocks of real hours, or GARCH with resampled residuals) keep wicks and crashes of the data; use
one as a challenger.</p>"""


def _table(found: Comparison, group: str, show: Callable[[float], str]) -> str:
    names = list(dict.fromkeys(name for g, name, _ in found.data if g == group))
    head = "".join(f"<th>{_safe(name)}</th>" for name in names)
    rows = []
    for market in found.markets:
        cells = "".join(_cell(found, (group, name, market), show) for name in names)
        if any((group, name, market) in found.data for name in names):
            rows.append(f"<tr><td>{_safe(market)}</td>{cells}</tr>")
    body = "".join(rows)
    table = f'<div class="wide"><table><thead><tr><th>market</th>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    few = len(rows) <= 8 or group == "excursions"
    return table if few else f"<details><summary>{group}, {len(rows)} markets</summary>{table}</details>"


def _cell(found: Comparison, key: tuple[str, str, str], show: Callable[[float], str]) -> str:
    if key not in found.data or np.isnan(found.data[key]):
        return "<td>too few</td>"
    low, _, high = found.band(key)
    mark = {
        True: ("in", "&#10003;"),
        False: ("out", "&#9650;" if found.data[key] > high else "&#9660;"),
        None: ("", ""),
    }
    name, sign = mark[found.inside(key)]
    text = f"{show(found.data[key])} {sign}<br><span class='soft'>{show(low)} to {show(high)}</span>"
    return f'<td class="{name}">{text}</td>'


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _number(value: float) -> str:
    return f"{value:.3g}"


def _parameters(model: MarketModel) -> str:
    assert model.calibration is not None  # see page
    errors, facts = model.calibration.standard_errors, model.calibration
    rows = []
    for name, market in model.markets.items():
        key = f"markets.{name}"
        own = market.own_jumps
        size = "sd" if own and own.size.law == "normal" else None
        cells = [
            _with_error(market.volatility, errors.get(f"{key}.volatility")),
            _with_error(market.jump_beta, errors.get(f"{key}.jump_beta")),
            _with_error(market.jump_dispersion, errors.get(f"{key}.jump_dispersion")),
            _with_error(own.intensity, errors.get(f"{key}.own_jumps.intensity")) if own else "none",
            _with_error(own.size.sd, errors.get(f"{key}.own_jumps.size.sd")) if own and size else "",  # type: ignore[union-attr]
            f"{facts.wicks[name]:.2f}",
            f"{facts.hours[name]:,}",
        ]
        rows.append(f"<tr><td>{_safe(name)}</td>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    head = "".join(
        f"<th>{text}</th>"
        for text in (
            "market",
            "volatility",
            "jump beta",
            "dispersion",
            "own jumps a year",
            "their sd",
            "wick ratio",
            "hours",
        )
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def _with_error(value: float, error: float | None) -> str:
    return f"{value:.3g}" + (f" <span class='soft'>&#177; {error:.1g}</span>" if error else "")


def _regimes(model: MarketModel) -> str:
    facts, chain = model.calibration, model.regimes
    assert facts is not None  # see page
    rows = []
    for i, (name, state) in enumerate(chain.states.items()):
        stays = chain.matrix[i, i]
        lasts = f"{1 / (1 - stays):.0f} h" if stays < 1 else "always"
        cells = (f"{100 * facts.occupancy[name]:.1f} %", lasts, f"{state.volatility:.2f}", f"{state.correlation:.2f}")
        rows.append(f"<tr><td>{_safe(name)}</td>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    common = model.jumps.common
    jumps = ""
    if common and common.size.law == "kou":
        jumps = (
            f"<p>Common jumps: {common.intensity:.0f} a year in the first regime, {100 * common.size.p_down:.0f} % down, mean "
            f"{100 * common.size.mean_down:.2f} % down and {100 * common.size.mean_up:.2f} % up, of the first market.</p>"
        )
    head = "".join(
        f"<th>{t}</th>" for t in ("regime", "share of hours", "mean stay", "volatility x", "correlation to 1")
    )
    season = ""
    if model.seasonality:
        names = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
        day = ", ".join(f"{hour}h {factor:.2f}" for hour, factor in enumerate(model.seasonality.hours))
        week = ", ".join(f"{name} {factor:.2f}" for name, factor in zip(names, model.seasonality.weekdays, strict=True))
        season = f"<p class='soft'>Volatility by hour of the day (UTC), mean square 1: {day}. By weekday: {week}.</p>"
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>{jumps}{season}'


def _list(title: str, lines: Sequence[str]) -> str:
    if not lines:
        return ""
    items = "".join(f"<li>{_safe(line)}</li>" for line in lines)
    return f"<details{' open' if len(lines) < 6 else ''}><summary>{title} ({len(lines)})</summary><ul>{items}</ul></details>"


def _safe(text: str) -> str:
    return html.escape(text)


def _figure(drawing: str, alt: str) -> str:
    return f'<figure role="img" aria-label="{_safe(alt)}">{drawing}</figure>'


def _axes(found: Comparison) -> tuple[Any, list[Any], list[str]]:
    from matplotlib.figure import Figure

    heads = [market for market in _HEAD if market in found.markets] or list(found.markets[:_SHOWN])
    figure = Figure(figsize=(4 * len(heads), 3.2), layout="constrained")
    axes = list(np.atleast_1d(figure.subplots(1, len(heads), sharey=True)))
    for axis, market in zip(axes, heads, strict=True):
        axis.set_title(market)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    return figure, axes, heads


def _svg(figure: Any) -> str:
    """Return the drawing as SVG whose ink is that of the page, so that it reads on light and dark."""
    import matplotlib as mpl

    text = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "calibration"}):
        figure.savefig(
            text, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type"))
        )
    drawing = text.getvalue()
    drawing = drawing[drawing.index("<svg") :]
    return drawing.replace("#000000", "currentColor").replace("<text ", '<text fill="currentColor" ')


def _clustering(found: Comparison) -> str:
    figure, axes, heads = _axes(found)
    for axis, market in zip(axes, heads, strict=True):
        keys = [("clustering", f"|r| at {lag} h", market) for lag in LAGS]
        bands = np.array([found.band(key) for key in keys])
        axis.fill_between(LAGS, bands[:, 0], bands[:, 2], color="#7fa8d1", alpha=0.5, label="simulated, 90 %")
        axis.plot(LAGS, [found.data[key] for key in keys], "o-", color="#c2571a", label="data")
        axis.set_xscale("log")
        axis.set_xticks(LAGS, [f"{lag}h" for lag in LAGS])
        axis.minorticks_off()
    axes[0].legend(frameon=False, fontsize=8)
    return _svg(figure)


def _tails(found: Comparison) -> str:
    figure, axes, heads = _axes(found)
    levels = (0.001, 0.01, 0.99, 0.999)
    for axis, market in zip(axes, heads, strict=True):
        keys = [("tails", f"{100 * level:g} % of hours", market) for level in levels]
        bands = 100 * np.array([found.band(key) for key in keys])
        places = np.arange(len(levels))
        axis.vlines(places, bands[:, 0], bands[:, 2], color="#7fa8d1", linewidth=9, label="simulated, 90 %")
        axis.plot(places, [100 * found.data[key] for key in keys], "D", color="#c2571a", label="data")
        axis.set_xticks(places, [f"{100 * level:g} %" for level in levels])
        axis.axhline(0, color="#888888", linewidth=0.6)
    axes[0].set_ylabel("hourly return, %")
    axes[0].legend(frameon=False, fontsize=8)
    return _svg(figure)
