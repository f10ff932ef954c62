"""Figures: panels drawn with matplotlib, once as SVG that follows the page's theme, once as PNG.

Matplotlib is imported on first use; no figure touches its global state (`pyplot` is never loaded).
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np

from stress.report.document import Figure, Panel
from stress.report.formats import NBSP, rounded_usd, stated

# Colours that SVG output turns into CSS variables, so that one drawing serves light and dark pages.
# The values are those of the light theme: PNG files use them as they are.
INK, MUTED, RULE = "#1b1f24", "#5a636e", "#d5dae0"
SERIES = ("#0065a8", "#c2410c", "#5b7f00", "#8a3ffc", "#007d79", "#9f1853", "#6b5b00")
_CSS = {INK: "currentColor", MUTED: "var(--muted)", RULE: "var(--rule)"} | {
    colour: f"var(--series-{i})" for i, colour in enumerate(SERIES)
}
# Lightness falls steadily with risk, in print and for every kind of colour vision.
_RISK_COLOURS = "cividis_r"
# The same probability has the same colour in every report; what lies below has the lightest.
RISK_RANGE = (1e-4, 1.0)
_RC = {
    "svg.fonttype": "none",  # text stays text: searchable, and read aloud
    "font.family": ["DejaVu Sans"],
    "font.size": 10,
    "text.parse_math": False,  # names come from users: a dollar sign is a dollar sign
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": RULE,
    "hatch.linewidth": 0.9,
}


# ------------------------------------------------------------------------------------ rendering


def svg(figure: Figure) -> list[str]:
    """Return each panel as an inline SVG element whose colours are those of the page."""
    return [
        _themed(_render([panel], 1, "svg", f"{figure.name}-{i}"), f"{figure.name}-{i}")
        for i, panel in enumerate(figure.panels)
    ]


def png(figure: Figure) -> bytes:
    """Return all panels in one PNG on white."""
    return _render(figure.panels, figure.columns, "png", figure.name)


def _render(panels: Sequence[Panel], columns: int, form: str, salt: str) -> bytes:
    import matplotlib as mpl
    from matplotlib.figure import Figure as Canvas

    columns = min(columns, len(panels))
    rows = math.ceil(len(panels) / columns)
    width = columns * max(panel.size[0] for panel in panels)
    height = rows * max(panel.size[1] for panel in panels)
    buffer = io.BytesIO()
    with mpl.rc_context(_RC | {"svg.hashsalt": salt}):
        canvas = Canvas(figsize=(width, height), layout="constrained")
        grid = canvas.subplots(rows, columns, squeeze=False).ravel()
        for panel, axes in zip(panels, grid, strict=False):
            panel.draw(axes)
        for axes in grid[len(panels) :]:
            axes.set_axis_off()
        if form == "svg":
            bare = dict.fromkeys(("Date", "Creator", "Format", "Type"))
            canvas.savefig(buffer, format="svg", transparent=True, metadata=bare)
        else:
            canvas.savefig(buffer, format="png", dpi=130, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()


def _themed(drawing: bytes, prefix: str) -> str:
    """Return matplotlib's SVG as an element of a page: ids of its own, the page's colours and fonts."""
    text = drawing.decode()
    text = text[text.index("<svg") :]
    width, height = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', text).groups()  # type: ignore[union-attr]
    text = re.sub(
        r"<svg [^>]*>",
        f'<svg viewBox="0 0 {width} {height}" style="--width:{float(width) / 0.75:.0f}px" aria-hidden="true">',
        text,
        count=1,
    )
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{prefix}-', text)
    text = re.sub(r'(xlink:)?href="#', f'href="#{prefix}-', text)
    text = text.replace("url(#", f"url(#{prefix}-")
    for colour, variable in _CSS.items():
        text = text.replace(colour, variable)
    return text


# -------------------------------------------------------------------------------------- drawing


class HeatCell(NamedTuple):
    """What one cell of a heat map shows; `shown` is the probability that its colour stands for."""

    text: str
    shown: float
    above: bool
    straddles: bool
    marks: str = ""


def heat_map(
    title: str,
    rows: tuple[str, Sequence[str]],
    columns: tuple[str, Sequence[str]],
    cells: Sequence[Sequence[HeatCell | None]],
) -> Panel:
    """Return a heat map on a logarithmic colour scale; the first row is drawn at the bottom.

    A thick line runs where the estimate crosses the tolerance, dashed beside a cell whose interval
    straddles it; hatching marks such cells; a missing cell (None) is blank and says so.
    """
    row_label, row_values = rows
    column_label, column_values = columns

    def draw(axes: Any) -> None:
        import matplotlib as mpl
        from matplotlib.colors import LogNorm

        scale, colours = LogNorm(*RISK_RANGE, clip=True), mpl.colormaps[_RISK_COLOURS]
        for y, line in enumerate(cells):
            for x, cell in enumerate(line):
                if cell is None:
                    axes.text(x, y, "failed", ha="center", va="center", color=MUTED, style="italic", size=8)
                else:
                    _draw_cell(axes, x, y, cell, colours(scale(cell.shown)))
        border = list(_border(cells))
        for colour, width in (("white", 5), ("black", 2.6)):  # a halo keeps the line visible on dark cells
            for ends, sure in border:
                style = "-" if sure or colour == "white" else (0, (1.6, 1.2))
                caps = {"solid_capstyle": "round", "dash_capstyle": "butt"}
                axes.plot(*ends, color=colour, linewidth=width, linestyle=style, zorder=4, **caps)
        axes.set(xlim=(-0.52, len(column_values) - 0.48), ylim=(-0.52, len(row_values) - 0.48))
        axes.set_xticks(range(len(column_values)), column_values)
        axes.set_yticks(range(len(row_values)), row_values)
        key = _key([cell for line in cells for cell in line if cell], {sure for _, sure in border})
        axes.set(xlabel=column_label + key, ylabel=row_label)
        axes.set_title(title, wrap=True)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        _colour_bar(axes, scale, colours)

    return Panel(draw, (1.15 + 0.74 * max(len(column_values), 3), 1.95 + 0.54 * max(len(row_values), 1)))


def _colour_bar(axes: Any, scale: Any, colours: Any) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.ticker import NullLocator

    # Few steps: each is an element of the page.
    shown = ScalarMappable(scale, colours.resampled(24))
    bar = axes.figure.colorbar(shown, ax=axes, orientation="horizontal", aspect=28, shrink=0.9)
    ticks = [10.0**power for power in range(-4, 1)]
    bar.set_ticks(ticks, labels=[stated(tick).replace(NBSP, "") for tick in ticks])
    bar.ax.xaxis.set_minor_locator(NullLocator())
    bar.ax.tick_params(length=2, labelsize=8)
    bar.outline.set_visible(False)


def _key(cells: Sequence[HeatCell], borders: Collection[bool]) -> str:
    """Return what the marks of a heat map mean, as far as they occur, two a line."""
    found = [
        (any("●" in cell.marks for cell in cells), "● current"),
        (any("★" in cell.marks for cell in cells), "★ proposed"),
        (True in borders, "━ tolerance"),
        (False in borders, "╍ tolerance, unsure"),
        (any(cell.straddles for cell in cells), "▨ undecided"),
    ]
    shown = [words for occurs, words in found if occurs]
    return "".join("\n" + "   ".join(shown[i : i + 2]) for i in range(0, len(shown), 2))


def _draw_cell(axes: Any, x: int, y: int, cell: HeatCell, fill: tuple[float, ...]) -> None:
    from matplotlib.patches import Rectangle

    ink = _ink_on(fill)
    corner, box = (x - 0.5, y - 0.5), None
    axes.add_patch(Rectangle(corner, 1, 1, facecolor=fill, edgecolor="white", linewidth=0.8))
    if cell.straddles:
        axes.add_patch(Rectangle(corner, 1, 1, fill=False, hatch="///", edgecolor=ink, linewidth=0, alpha=0.55))
        box = {"facecolor": fill, "edgecolor": "none", "boxstyle": "round,pad=0.12"}  # the number stays legible
    below = 0.12 if cell.marks else 0.0
    number = axes.text(x, y - below, cell.text, ha="center", va="center", color=ink, size=10, bbox=box)
    number.set_in_layout(False)
    for i, mark in enumerate(cell.marks):
        shape = {"marker": "o", "markersize": 7} if mark == "●" else {"marker": "*", "markersize": 11}
        edge = {"markeredgecolor": "white", "markeredgewidth": 0.9}
        axes.plot(x - 0.3 + 0.28 * i, y + 0.28, color="black", zorder=6, **shape, **edge)


def _border(
    cells: Sequence[Sequence[HeatCell | None]],
) -> Iterable[tuple[tuple[tuple[float, float], tuple[float, float]], bool]]:
    """Yield the edges between neighbouring cells of which only one is above the tolerance, and whether both are decided."""
    for y, line in enumerate(cells):
        for x, here in enumerate(line):
            right = (line[x + 1], ((x + 0.5, x + 0.5), (y - 0.5, y + 0.5))) if x + 1 < len(line) else None
            over = (cells[y + 1][x], ((x - 0.5, x + 0.5), (y + 0.5, y + 0.5))) if y + 1 < len(cells) else None
            for there, ends in filter(None, (right, over)):
                if (here is not None and here.above) != (there is not None and there.above):
                    yield ends, not any(cell is not None and cell.straddles for cell in (here, there))


def matrix(
    title: str,
    rows: Sequence[str],
    columns: Sequence[str],
    values: np.ndarray,
    words: Callable[[float], str],
    limits: tuple[float, float],
    unsure: np.ndarray | None = None,
) -> Panel:
    """Return amounts by shocked market (rows, the first on top) and market (columns); limits below 0: a signed scale.

    unsure : (rows, columns) amounts that may as well be zero; they are hatched and stand in brackets.
    """

    def draw(axes: Any) -> None:
        import matplotlib as mpl
        from matplotlib.colors import Normalize
        from matplotlib.patches import Rectangle

        low, high = limits if limits[1] > limits[0] else (limits[0], limits[0] + 1.0)
        scale, colours = Normalize(low, high), mpl.colormaps["PuOr_r" if low < 0 else _RISK_COLOURS]
        for y, x in np.ndindex(values.shape):
            value = float(values[y, x])
            fill = colours(scale(value)) if np.isfinite(value) else (1.0, 1.0, 1.0, 1.0)
            own = rows[y] == columns[x]
            edge = {"edgecolor": "black", "linewidth": 1.8, "zorder": 3} if own else {"edgecolor": "white"}
            axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=fill, **edge))
            said, box = words(value).removesuffix(f"{NBSP}USD") if np.isfinite(value) else "failed", None
            if unsure is not None and unsure[y, x]:
                corner, ink = (x - 0.5, y - 0.5), _ink_on(fill)
                axes.add_patch(Rectangle(corner, 1, 1, fill=False, hatch="///", edgecolor=ink, linewidth=0, alpha=0.45))
                said, box = f"({said})", {"facecolor": fill, "edgecolor": "none", "boxstyle": "round,pad=0.12"}
            axes.text(x, y, said, ha="center", va="center", color=_ink_on(fill), size=9.5, zorder=4, bbox=box)
        axes.set(xlim=(-0.54, len(columns) - 0.46), ylim=(len(rows) - 0.46, -0.54))
        axes.set_xticks(range(len(columns)), columns)
        axes.set_yticks(range(len(rows)), rows)
        axes.set(xlabel="market", ylabel="shock in")
        axes.set_title(title, wrap=True)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)

    return Panel(draw, (0.95 + 0.66 * max(len(columns), 3), 1.0 + 0.5 * max(len(rows), 2)))


def _ink_on(fill: tuple[float, ...]) -> str:
    return "white" if 0.299 * fill[0] + 0.587 * fill[1] + 0.114 * fill[2] < 0.5 else "black"


class Curve(NamedTuple):
    """An exceedance curve: thresholds in USD, P(loss > threshold) and its band."""

    label: str
    threshold: np.ndarray
    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


def exceedance(title: str, curves: Sequence[Curve], lines: Sequence[tuple[float, str]], empty: str) -> Panel:
    """Return P(loss > x) against x on two logarithmic scales, with bands, and money marks as vertical lines."""

    def draw(axes: Any) -> None:
        axes.set_title(title, wrap=True)
        drawn = [curve for curve in curves if (curve.value > 0).any()]
        if not drawn:
            axes.set_axis_off()
            axes.text(0.5, 0.5, empty, ha="center", va="center", transform=axes.transAxes, color=MUTED, wrap=True)
            return
        for i, curve in enumerate(curves):
            seen = curve.value > 0
            if not seen.any():
                axes.plot([], [], " ", label=f"{curve.label}: no loss on any path")
                continue
            style = {"color": SERIES[i], "linestyle": ("-", "--")[i % 2]}
            axes.fill_between(
                curve.threshold[seen], curve.low[seen], curve.high[seen], color=SERIES[i], alpha=0.18, linewidth=0
            )
            axes.plot(curve.threshold[seen], curve.value[seen], label=curve.label, linewidth=2, **style)
        axes.set(xscale="log", yscale="log")
        flat = min(curve.threshold[curve.value < curve.value[0]].min(initial=np.inf) for curve in drawn)
        if np.isfinite(flat):
            axes.set_xlim(left=10.0 ** (math.floor(math.log10(flat)) - 0.2))
        reach = max([axes.get_xlim()[1], *(1.4 * at for at, _ in lines)])
        axes.set_xlim(right=reach)
        floor = 10 ** math.floor(math.log10(min(curve.value[curve.value > 0].min() for curve in drawn)))
        axes.set_ylim(floor, min(1.5, 10 ** math.ceil(math.log10(max(curve.high.max() for curve in drawn)))))
        for at, label in lines:
            axes.axvline(at, color=MUTED, linewidth=1.4, linestyle=":")
            axes.annotate(
                label, (at, 1), xycoords=("data", "axes fraction"), xytext=(0, 3), textcoords="offset points",
                ha="center", va="bottom", color=MUTED, size=9,
            )  # fmt: skip
        # The unit stands once, at the axis: ticks a decade apart would run into each other on a phone.
        _plain_log(axes.xaxis, lambda value: rounded_usd(value).removesuffix(f"{NBSP}USD"))
        _plain_log(axes.yaxis, stated)
        axes.set(xlabel="mutualised loss, USD", ylabel="probability of a larger loss")
        axes.grid(which="major", linewidth=0.7)
        if len(curves) > 3:
            axes.legend(loc="upper left", bbox_to_anchor=(1.02, 1.0), frameon=False)
        else:
            axes.legend(loc="lower left", frameon=False)

    return Panel(draw, (5.2 if len(curves) <= 3 else 6.8, 3.6))


def _plain_log(axis: Any, words: Callable[[float], str]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axis.set_major_locator(LogLocator(numticks=6))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: words(value)))


class Bar(NamedTuple):
    """One bar with its label; `half` is how far its interval reaches up, `below` down (default: the same)."""

    value: float
    half: float
    label: str
    below: float | None = None


def who_pays(title: str, parts: Sequence[str], series: Sequence[tuple[str, Sequence[Bar | None]]], never: str) -> Panel:
    """Return horizontal bars, one group per part in the order in which a loss meets them."""

    def draw(axes: Any) -> None:
        height = 0.8 / len(series)
        top = max((bar.value + bar.half for _, bars in series for bar in bars if bar), default=0.0) or 1.0
        for i, (name, bars) in enumerate(series):
            at = [row + (i - (len(series) - 1) / 2) * height for row in range(len(parts))]
            shown = [(y, bar) for y, bar in zip(at, bars, strict=True) if bar]
            axes.barh(
                [y for y, _ in shown], [bar.value for _, bar in shown], height * 0.86, color=SERIES[i], label=name,
                xerr=[[min(bar.half if bar.below is None else bar.below, bar.value) for _, bar in shown], [bar.half for _, bar in shown]],
                error_kw={"ecolor": INK, "elinewidth": 1},
            )  # fmt: skip
            for y, bar in shown:
                axes.text(bar.value + bar.half + 0.015 * top, y, bar.label, va="center", size=9)
        for row, bar in enumerate(series[0][1]):
            if bar is None:
                axes.text(0.015 * top, row, never, va="center", style="italic", color=MUTED, size=9)
        axes.set_yticks(range(len(parts)), parts)
        axes.set(xlim=(0, 1.32 * top), ylim=(len(parts) - 0.45, -0.55))
        axes.xaxis.set_visible(False)
        axes.spines["bottom"].set_visible(False)
        axes.tick_params(axis="y", length=0)
        axes.set_title(title, wrap=True)
        if len(series) > 1:
            axes.legend(loc="lower right", frameon=False)

    return Panel(draw, (5.6, 0.9 + 0.62 * len(parts)))


def over_time(
    title: str,
    times: Sequence[datetime],
    series: Sequence[tuple[str, np.ndarray]],
    words: Callable[[float], str],
    *,
    bars: bool,
) -> Panel:
    """Return series over UTC time, as filled steps (amounts per step) or as lines (levels)."""

    def draw(axes: Any) -> None:
        from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
        from matplotlib.ticker import FuncFormatter

        for i, (name, values) in enumerate(series):
            colour, line = SERIES[i % len(SERIES)], ("-", "--", ":", "-.")[i % 4]
            if not bars:
                axes.plot(times, values, color=colour, linestyle=line, linewidth=1.5, label=name)
            elif i == 0:
                axes.fill_between(times, values, step="post", color=colour, linewidth=0.5, label=name)
            else:  # an outline, so that it hides nothing
                axes.step(times, values, where="post", color=colour, linewidth=1.2, label=name)
        locator = AutoDateLocator(minticks=3, maxticks=6)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, show_offset=False))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: words(value)))
        axes.set_xlim(times[0], times[-1])
        axes.margins(y=0.08)
        if all((values >= 0).all() for _, values in series):
            axes.set_ylim(bottom=0)
        axes.grid(axis="y", linewidth=0.7)
        axes.set_axisbelow(True)
        # The legend has a line of its own between title and axes: inside it would hide what it names.
        axes.set_title(title, pad=22 if len(series) > 1 else 6)
        if len(series) > 1:
            place = {"loc": "lower left", "bbox_to_anchor": (0, 1), "borderaxespad": 0.2}
            axes.legend(**place, frameon=False, ncols=6, fontsize=9, columnspacing=1.2, handlelength=1.6)

    return Panel(draw, (5.3, 2.8))
