"""One self-contained page: what was fitted, how sure, and data against samples of the fit and of its challengers.

No script and no outside request; figures carry their numbers in a table below, and shape beside colour.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from stress.calibration.diagnosis import Diagnosis, diagnose, reasons
from stress.calibration.diagnostics import FIT, HORIZONS, LAGS, LEVELS, SIDES, Comparison, Key, excursion
from stress.calibration.fit import Panel
from stress.paths import MarketModel

_STYLE = """
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#5b6570;--line:#d5dae0;--paper:#fff;--in:#e8f3ec;--out:#fbe9e2;--link:#1a5fb4}
@media (prefers-color-scheme:dark){:root{--ink:#e6e9ec;--soft:#9aa4ae;--line:#3a424b;--paper:#15191e;--in:#1d3226;--out:#43281e;--link:#8ab8f0}}
*{box-sizing:border-box}body{font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:74rem;margin:2rem auto;padding:0 1rem;overflow-wrap:break-word}
h1{font-size:1.5rem;margin:0}h2{font-size:1.2rem;margin:2.4rem 0 .4rem}p,li{max-width:46rem}.soft{color:var(--soft)}a{color:var(--link)}
nav{font-size:.9rem}nav a{margin-right:1rem;white-space:nowrap}.box{border:2px solid var(--ink);border-radius:.4rem;padding:.8rem 1rem;margin:1rem 0}
.wide{overflow-x:auto;margin:.6rem 0}table{border-collapse:collapse;font-size:.82rem;font-variant-numeric:tabular-nums}
.note{font-size:.85rem;color:var(--soft);margin:.8rem 0 0}th,td{padding:.25rem .6rem;text-align:right;white-space:nowrap}th{border-bottom:1px solid var(--line);font-weight:600}
tbody th{border:0;text-align:left;position:sticky;left:0;background:var(--paper)}tr.first>*{border-top:1px solid var(--line)}thead th:first-child{text-align:left}
td.in{background:var(--in)}td.out{background:var(--out)}th.text,td.text{text-align:left;white-space:normal;min-width:13rem}
figure{margin:.6rem 0}.panels{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(19rem,100%),1fr));gap:.6rem}.panels svg{width:100%;max-width:25rem;height:auto}
figcaption{font-size:.85rem;color:var(--soft);max-width:46rem}details{margin:.6rem 0}summary{cursor:pointer}:focus-visible{outline:2px solid var(--link);outline-offset:2px}
"""
_FEWEST = 20  # samples of a band
_SHOWN = 3  # markets with figures of their own
_HEAD = ("BTC", "ETH", "SOL")
_GROUPS = {
    "moments": "moments",
    "tails": "tails",
    "clustering": "clustering",
    "dependence": "dependence",
    "excursions": "adverse excursions",
}


class _Look(NamedTuple):
    """How a model is named and drawn: colour, shape of its ends and middle, thickness."""

    name: str
    says: str
    colour: str
    mark: str
    width: float


_LOOKS = {
    FIT: _Look("fit", "the layers fitted here, a parameter draw for each sample", "#4a8fd8", "s", 6.0),
    "block_bootstrap": _Look(
        "block bootstrap", "the data's hours in blocks of two weeks: what happened, drawn again", "#d9812e", "_", 2.2
    ),
    "garch_fhs": _Look(
        "GARCH-FHS", "GARCH(1,1)-t on the data's residuals in blocks: volatility follows returns", "#9a79c9", "o", 1.2
    ),
}


def page(model: MarketModel, found: Comparison, panel: Panel) -> str:
    """Return the page of a fitted model and its comparison with the data of the panel."""
    facts = model.calibration
    assert facts is not None  # a fitted model carries its calibration
    heads = tuple(market for market in _HEAD if market in found.markets) or found.markets[:_SHOWN]
    misses = diagnose(found, panel, heads)
    sections = {
        "excursions": ("Adverse excursions", _excursions(found, heads, misses)),
        "returns": ("Hourly returns", _returns(found, heads)),
        "clustering": ("Clustering", _clustering(found, heads)),
        "dependence": ("Dependence", _dependence(found, heads)),
        "fitted": ("What was fitted", _fitted(model)),
    }
    links = "".join(f'<a href="#{name}">{title}</a>' for name, (title, _) in sections.items())
    parts = [
        f"<header><h1>Calibration: {_safe(model.name)}</h1>",
        f'<p class="soft">{len(found.markets)} markets, hourly bars {facts.span[0][:10]} to {facts.span[1][:10]}; bands are the 5 % to '
        f"95 % quantiles of {found.replicates} simulated samples, each as long as the data and with their missing hours.</p>",
        f"<nav aria-label='Sections'>{links}</nav></header><main>",
        _box(found, heads, misses),
        _scores(found, heads),
        *(f'<section id="{name}"><h2>{title}</h2>{body}</section>' for name, (title, body) in sections.items()),
        "</main>",
    ]
    body = "\n".join(parts).replace(" %", "&#160;%")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<link rel="icon" href="data:,"><title>Calibration: {_safe(model.name)}</title><style>{_STYLE}</style></head>'
        f"<body>{body}</body></html>\n"
    )


def _box(found: Comparison, heads: tuple[str, ...], misses: list[Diagnosis]) -> str:
    inside, total = found.count("excursions", markets=heads)
    said = [
        f"<strong>{inside} of {total} adverse excursions of {', '.join(heads)} lie inside the fit's 90 % band.</strong>"
    ]
    for model in found.simulated:
        if model != FIT:
            held, of = found.count("excursions", model, heads)
            said.append(f"The {_LOOKS[model].name} holds {held} of {of}.")
    if found.replicates < _FEWEST:
        said.append(
            f"A band from {found.replicates} samples is narrower than 90 %; take at least {_FEWEST} (--samples)."
        )
    short = sum(miss.data > miss.high for miss in misses)
    if misses:
        said.append(
            f"Of the {len(misses)} misses the data reach further than the fit in {short} and less far in {len(misses) - short}: "
            '<a href="#misses">each with its reason</a>.'
        )
    return f'<div class="box">{" ".join(said)}</div>'


def _scores(found: Comparison, heads: tuple[str, ...]) -> str:
    """Return how many statistics lie in each model's band, by group: where which model is credible."""
    rows, all_too = [], len(found.markets) > len(heads)
    for model, look in _present(found):
        cells = []
        for group in _GROUPS:
            inside, of = found.count(group, model, heads)
            whole = "{} of {}".format(*found.count(group, model))
            best = of and inside == max(found.count(group, other, heads)[0] for other in found.simulated)
            below = f'<br><span class="soft">{whole}</span>' if all_too else ""
            cells.append(
                f"<td>{f'<strong>{inside} of {of}</strong> &#9733;' if best else f'{inside} of {of}'}{below}</td>"
            )
        rows.append(f'<tr><th scope="row">{look.name}</th>{"".join(cells)}<td class="text">{look.says}</td></tr>')
    head = ["model", *_GROUPS.values(), "what it is"]
    caption = (
        f"Statistics of the data inside each model's 90 % band: {', '.join(heads)}"
        f"{', and all markets below' if all_too else ''}; &#9733; the most of a column. "
        "A band can also hold much because it is wide: the figures show how wide."
    )
    return _table(head, rows, "Where which model is credible", caption)


def _excursions(found: Comparison, heads: tuple[str, ...], misses: list[Diagnosis]) -> str:
    words = (
        "<p>How far the price goes against a position within 1, 4 and 24 hours of an hour's close, by highs and lows: the move exceeded "
        "in 1 % and in 0.1 % of hours, windows overlapping.</p>"
    )
    figures = ""
    for side in SIDES:
        names = {excursion(side, h, q): f"{h} h\n{100 * q:g} %" for h in HORIZONS for q in LEVELS}
        figures += _figure(found, heads, "excursions", names, f"adverse moves of {side} positions", relative=True)
    return words + figures + _tables(found, heads, "excursions", _percent) + _misses(misses)


def _misses(misses: list[Diagnosis]) -> str:
    if not misses:
        return ""
    words = (
        '<h3 id="misses">What lies outside, and why</h3><p>Data over the middle sample is the product of three factors: volatility; how '
        "far closes run at that volatility; how far highs and lows reach beyond closes. The largest in the direction of the miss is "
        "its reason.</p>"
    )
    rows = []
    for miss in misses:
        _, name, market = miss.key
        cells = f"<td>{_percent(miss.data)} {_mark(miss.data, miss.low, miss.high)}</td>"
        cells += f"<td>{_percent(miss.low)} to {_percent(miss.high)}</td><td>{miss.ratio:.2f} x</td>"
        for factor, value in miss.factors.items():
            cells += (
                f"<td><strong>{value:.2f} &#9733;</strong></td>" if factor == miss.leading else f"<td>{value:.2f}</td>"
            )
        held = ", ".join(_LOOKS[model].name for model in miss.held_by) or "none"
        cells += f'<td>{miss.crowd:.0%}</td><td class="text">{held}</td>'
        rows.append(f'<tr><th scope="row">{_safe(market)} {_safe(name)}</th>{cells}</tr>')
    head = [
        "excursion",
        "data",
        "simulated",
        "data / middle",
        "volatility",
        "closes",
        "inside hours",
        "crowd",
        "held by",
    ]
    caption = "&#9733; the reason; crowd: share of the hours beyond that fall into one window of three days."
    said = "".join(f"<li>{_safe(line)}</li>" for line in reasons(misses))
    return f"{words}{_table(head, rows, 'Misses and their factors', caption)}<ul>{said}</ul>"


def _returns(found: Comparison, heads: tuple[str, ...]) -> str:
    names = {f"{q} % of hours": f"{q} %" for q in ("0.1", "1", "99", "99.9")}
    return (
        "<p>Hourly returns at four quantiles, and the moments behind them.</p>"
        + _figure(found, heads, "tails", names, "hourly returns at a quantile", relative=True)
        + _tables(found, heads, "tails", _number)
        + _tables(found, heads, "moments", _number)
    )


def _clustering(found: Comparison, heads: tuple[str, ...]) -> str:
    names = {f"|r| at {lag} h": f"{lag} h" for lag in LAGS}
    return (
        "<p>Autocorrelation of the size of hourly returns: how long turbulence lasts.</p>"
        + _figure(found, heads, "clustering", names, "autocorrelation of |r| at a lag")
        + _tables(found, heads, "clustering", _number)
    )


def _dependence(found: Comparison, heads: tuple[str, ...]) -> str:
    first = found.markets[0]
    names = {
        "tail, 1 %": "tail\n1 %", "tail, 5 %": "tail\n5 %", "90-day correlation, low": "90 d\nlow",
        "90-day correlation, median": "90 d\nmedian", "90-day correlation, high": "90 d\nhigh",
    }  # fmt: skip
    others = tuple(market for market in heads if market != first)
    if not others:
        return "<p>One market: nothing to depend on.</p>"
    return (
        f"<p>Chance that a market is in its worst 1 % or 5 % of hours while {_safe(first)} is in its own, and correlation with it over "
        "windows of 90 days.</p>"
        + _figure(found, others, "dependence", names, f"dependence on {first}")
        + _tables(found, others, "dependence", _number)
    )


def _fitted(model: MarketModel) -> str:
    facts = model.calibration
    assert facts is not None  # see page
    return "\n".join(
        (
            _regimes(model),
            _parameters(model),
            _wicks(model),
            _depth(model),
            f"<p>Standard errors: {_safe(facts.bootstrap)}. From template {_safe(facts.template)} (prices cannot identify them): "
            f"{_safe(', '.join(facts.kept))}.</p>",
            _list("Warnings", facts.warnings),
            _list("Data", [f"{d.file} (BLAKE2b {d.blake2b}): {len(d.markets)} markets" for d in facts.data]),
        )
    )


def _present(found: Comparison) -> list[tuple[str, _Look]]:
    return [(model, look) for model, look in _LOOKS.items() if model in found.simulated]


def _table(head: Sequence[str], rows: Sequence[str], name: str, caption: str = "") -> str:
    """Return a table that scrolls by itself, also by keyboard."""
    words = rows and 'class="text"' in rows[0]  # the last column
    last = len(head) - 1
    titles = "".join(
        f'<th scope="col"{" class=text" if words and k == last else ""}>{text}</th>' for k, text in enumerate(head)
    )
    said = f'<p class="note">{caption}</p>' if caption else ""  # outside: it must not scroll with the table
    return (
        f'{said}<div class="wide" role="region" tabindex="0" aria-label="{_safe(name)}"><table><thead><tr>{titles}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _tables(found: Comparison, heads: tuple[str, ...], group: str, show: Callable[[float], str]) -> str:
    """Return the numbers of a group: those of the markets of the figures at hand, those of all folded."""
    names = list(dict.fromkeys(name for g, name, _ in found.data if g == group))
    markets = [market for market in found.markets if any((group, name, market) in found.data for name in names)]

    def table(of: Sequence[str]) -> str:
        rows = [row for market in of for row in _rows(found, group, names, market, show)]
        return _table(["market", *(_safe(name) for name in names)], rows, f"{_GROUPS[group]}: data and bands")

    title = f"Numbers: {_GROUPS[group]} of {', '.join(heads)}"
    folded = f"<details><summary>{title}</summary>{table([m for m in heads if m in markets])}</details>"
    if len(markets) <= len(heads):
        return folded
    return f"{folded}<details><summary>Numbers: {_GROUPS[group]} of all {len(markets)} markets</summary>{table(markets)}</details>"


def _rows(found: Comparison, group: str, names: Sequence[str], market: str, show: Callable[[float], str]) -> list[str]:
    known = [(group, name, market) for name in names]
    first = "".join(
        f"<td>{show(found.data[key]) if not np.isnan(found.data.get(key, np.nan)) else 'too few'}</td>" for key in known
    )
    rows = [f'<tr class="first"><th scope="row">{_safe(market)}, data</th>{first}</tr>']
    for model, look in _present(found):
        cells = "".join(_cell(found, key, model, show) for key in known)
        rows.append(f'<tr><th scope="row" class="soft">{_safe(market)}, {look.name}</th>{cells}</tr>')
    return rows


def _cell(found: Comparison, key: Key, model: str, show: Callable[[float], str]) -> str:
    if key not in found.data or found.inside(key, model) is None:
        return "<td></td>"
    low, _, high = found.band(key, model)
    name = "in" if found.inside(key, model) else "out"
    return f'<td class="{name}">{show(low)} to {show(high)} {_mark(found.data[key], low, high)}</td>'


def _mark(value: float, low: float, high: float) -> str:
    if low <= value <= high:
        return '<span title="inside">&#10003;</span>'
    return '<span title="data above">&#9650;</span>' if value > high else '<span title="data below">&#9660;</span>'


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _number(value: float) -> str:
    return f"{value:.3g}"


def _parameters(model: MarketModel) -> str:
    assert model.calibration is not None  # see page
    errors, facts = model.calibration.standard_errors, model.calibration
    rows = []
    for name, market in model.markets.items():
        key, own = f"markets.{name}", market.own_jumps
        cells = [
            _with_error(market.volatility, errors.get(f"{key}.volatility")),
            _with_error(market.jump_beta, errors.get(f"{key}.jump_beta")),
            _with_error(market.jump_dispersion, errors.get(f"{key}.jump_dispersion")),
            _with_error(own.intensity, errors.get(f"{key}.own_jumps.intensity")) if own else "none",
            _with_error(own.size.sd, errors.get(f"{key}.own_jumps.size.sd"))
            if own and own.size.law == "normal"
            else "",
            f"{facts.hours[name]:,}",
        ]
        rows.append(f'<tr><th scope="row">{_safe(name)}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>')
    head = ["market", "volatility", "jump beta", "dispersion", "own jumps a year", "their sd", "hours"]
    return _table(
        head, rows, "Parameters of each market", "Volatility: of the diffusion, per sqrt year, in the first regime."
    )


def _wicks(model: MarketModel) -> str:
    assert model.calibration is not None  # see page
    errors, layer = model.calibration.standard_errors, model.wicks
    if layer is None:
        return ""
    rows = []
    for name, market in model.markets.items():
        cells = ""
        for word, side, common in (
            ("down", market.wick_down, layer.common_down),
            ("up", market.wick_up, layer.common_up),
        ):
            key = f"markets.{name}.wick_{word}"
            if side is None:
                cells += "<td>none</td><td></td><td></td>"
                continue
            cells += f"<td>{_with_error(side.rate, errors.get(f'{key}.rate'))}</td><td>{side.joins * common:.3g}</td>"
            cells += f"<td>{_with_error(side.tail, errors.get(f'{key}.tail'))}</td>"
        ratio = f"<td>{model.calibration.wicks[name]:.2f}</td>"
        rows.append(f'<tr><th scope="row">{_safe(name)}</th>{cells}{ratio}</tr>')
    head = [
        "market",
        "own down a year",
        "common down",
        "tail down",
        "own up a year",
        "common up",
        "tail up",
        "wick ratio",
    ]
    caption = (
        f"Wicks deeper than {layer.smallest:g} hourly deviations a year, half undone after {layer.half_life / 60:.0f} minutes; tail: exponent "
        "of their Pareto law (smaller is heavier). Wick ratio: volatility by highs and lows over that by closes."
    )
    return _table(head, rows, "Wicks of each market", caption)


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
        rows.append(f'<tr><th scope="row">{_safe(name)}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>')
    common = model.jumps.common
    jumps = ""
    if common and common.size.law == "kou":
        jumps = (
            f"<p>Common jumps: {common.intensity:.0f} a year in the first regime, {100 * common.size.p_down:.0f} % down, mean "
            f"{100 * common.size.mean_down:.2f} % down and {100 * common.size.mean_up:.2f} % up, of the first market.</p>"
        )
    head = ["regime", "share of hours", "mean stay", "volatility x", "correlation to 1"]
    season = ""
    if model.seasonality:
        names = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
        day = ", ".join(f"{hour}h {factor:.2f}" for hour, factor in enumerate(model.seasonality.hours))
        week = ", ".join(f"{name} {factor:.2f}" for name, factor in zip(names, model.seasonality.weekdays, strict=True))
        season = f"<p class='soft'>Volatility by hour of the day (UTC), mean square 1: {day}. By weekday: {week}.</p>"
    return _table(head, rows, "Regimes") + jumps + season


def _depth(model: MarketModel) -> str:
    facts = model.calibration
    if facts is None or facts.depth is None:
        return ""
    read = facts.depth
    files = ", ".join(f"{one.file} (BLAKE2b {one.blake2b})" for one in read.data)
    about = f"{_safe(files)}, {read.span[0][:16]} to {read.span[1][:16]}"
    if model.depth is None or "depth.phi" not in facts.standard_errors:
        return f"<p>Depth: {about}: too short a sample for its relation to volatility; the template's is kept.</p>"
    levels = ", ".join(f"{name} {model.markets[name].depth_usd / 1e6:.3g} m" for name in read.hours)
    phi = _with_error(model.depth.phi, facts.standard_errors["depth.phi"])
    return f"<p>Depth falls as volatility to the power {phi}; within 1 %, one side, in calm markets (USD): {levels}. {about}.</p>"


def _list(title: str, lines: Sequence[str]) -> str:
    if not lines:
        return ""
    items = "".join(f"<li>{_safe(line)}</li>" for line in lines)
    return f"<details{' open' if len(lines) < 6 else ''}><summary>{title} ({len(lines)})</summary><ul>{items}</ul></details>"


def _safe(text: str) -> str:
    return html.escape(text)


def _figure(
    found: Comparison,
    markets: tuple[str, ...],
    group: str,
    names: dict[str, str],
    title: str,
    *,
    relative: bool = False,
) -> str:
    """Return one panel a market: at each of `names` (statistic -> label) the data and the models' bands side by side.

    relative: bands over the data, so that a model holds what its bar lays over the line at 1.
    """
    panels, said = [], []
    for market in markets:
        keys = [(group, name, market) for name in names]
        panels.append(_panel(found, keys, list(names.values()), market, relative))
        counts = []
        for model, look in _present(found):
            judged = [inside for key in keys if (inside := found.inside(key, model)) is not None]
            counts.append(f"{look.name} holds {sum(judged)} of {len(judged)}")
        said.append(f"{market}: {', '.join(counts)}")
    what = f"{title}{', simulated over data' if relative else ''}"
    alt = _safe(f"{what}. Inside the bands, {'; '.join(said)}. The numbers are in the tables below.")
    shapes = {"s": "thick bars", "_": "bars with flat ends", "o": "thin bars with dots"}
    key = ", ".join(
        f'<span style="color:{look.colour}">{shapes[look.mark]}</span> {look.name}' for _, look in _present(found)
    )
    data = "the data are 1, and a bar that crosses the line holds them" if relative else "diamonds are the data"
    caption = f"{_safe(what[0].upper() + what[1:])}: {data}; {key}; the tick in a bar is its middle sample."
    drawn = f'<div class="panels" role="img" aria-label="{alt}">{"".join(panels)}</div>'
    return f"<figure>{drawn}<figcaption>{caption}</figcaption></figure>"


def _panel(found: Comparison, keys: list[Key], labels: list[str], market: str, relative: bool) -> str:
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    figure = Figure(figsize=(4.2, 3.1), layout="constrained")
    axis: Any = figure.subplots()
    axis.set_title(market, fontsize=11, loc="left")
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    data = np.array([found.data[key] for key in keys])
    unit = data if relative else np.ones(len(data))
    places, models = np.arange(len(keys)), _present(found)
    for k, (model, look) in enumerate(models):
        at = places + (k - (len(models) - 1) / 2) * 0.22 + (0.0 if relative else 0.12)
        bands = np.array([found.band(key, model) for key in keys]) / unit[:, None]
        axis.vlines(at, bands[:, 0], bands[:, 2], color=look.colour, linewidth=look.width, zorder=2)
        axis.scatter(at, bands[:, 1], marker="_", s=30, color="#000000", linewidth=1, zorder=3)
        if look.mark != "s":
            size = 26 if look.mark == "_" else 10
            for column in (0, 2):
                axis.scatter(at, bands[:, column], marker=look.mark, s=size, color=look.colour, zorder=3)
    if relative:
        axis.axhline(1, color="#000000", linewidth=1, zorder=1)
        axis.set_yscale("log")
        axis.yaxis.set_major_locator(FixedLocator([0.1, 0.2, 0.5, 0.7, 1, 1.4, 2, 3, 5, 10]))
        axis.yaxis.set_minor_locator(NullLocator())
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} x"))
    else:
        axis.scatter(places - 0.33, data, marker="D", s=22, color="#000000", zorder=4)
        axis.axhline(0, color="#888888", linewidth=0.6, zorder=1)
    axis.set_xticks(places, labels, fontsize=9)
    axis.tick_params(axis="y", labelsize=9)
    return _svg(figure, f"{keys}")


def _svg(figure: Any, name: str) -> str:
    """Return the drawing as SVG whose ink is that of the page, so that it reads on light and dark; ids follow from name."""
    import matplotlib as mpl

    text = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(
            text, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type"))
        )
    drawing = text.getvalue()
    drawing = drawing[drawing.index("<svg") :]
    drawing = re.sub(r'<g id="[^"]*"', "<g", drawing)  # a page has each id once
    return drawing.replace("#000000", "currentColor").replace("<text ", '<text fill="currentColor" ')
