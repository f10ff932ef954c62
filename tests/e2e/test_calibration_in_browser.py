"""The calibration page in a real browser: no error, no request, nothing cut off, both themes, both widths, by keyboard.

The page is opened under a policy that forbids every fetch and every script, so that anything it tried would be
refused and logged; the log must be empty. Sizes are measured by a page around it.
"""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stress import calibration
from stress.calibration.samples import paths
from stress.config import load_market
from stress.paths.replay import PriceHistory
from tests.e2e.browser import BROWSER, WIDTHS, browse

pytestmark = pytest.mark.e2e

CONFIGS = Path(__file__).parents[2] / "configs"
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
MARKETS = ("BTC", "ETH", "SOL", "XRP")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page of a fit to bars of the house model, whose lows were deepened so that some excursions lie outside."""
    if BROWSER is None:
        pytest.skip("no Chromium on the path: the page was not looked at in a browser")
    house = load_market(CONFIGS / "markets/house.yaml")
    model = house.model_copy(
        update={
            "markets": {name: house.markets[name] for name in MARKETS},
            "correlation": {a: {b: house.correlation[a][b] for b in MARKETS[:i]} for i, a in enumerate(MARKETS) if i},
        }
    )
    sample = next(paths([model], 6000, 3))
    times = pd.date_range("2024-01-01", periods=6000, freq="1h", tz="UTC")
    frames = []
    for i, name in enumerate(MARKETS):
        close = np.cumsum(sample.returns[:, i])
        start = np.concatenate([[0.0], close[:-1]])
        low = np.minimum(start + sample.low[:, i], np.minimum(start, close))
        low[3000:3066] -= 0.3
        high = np.maximum(start + sample.high[:, i], np.maximum(start, close))
        bars = 100 * np.exp(np.stack([start, high, low, close]))
        columns = dict(zip(("open", "high", "low", "close"), bars, strict=True))
        frames.append(pd.DataFrame({"ts": times, "venue": "", "symbol": name, **columns, "row": np.arange(1, 6001)}))
    history = PriceHistory("<b>bars</b>", pd.concat(frames, ignore_index=True), 3600.0, 0)
    fitted = calibration.calibrate([history], model, name="browser", data=[], replicates=4)
    found = calibration.compare(fitted.draws, fitted.panel, replicates=5)
    assert calibration.diagnose(found, fitted.panel, MARKETS[:3])
    file = tmp_path_factory.mktemp("page") / "market.html"
    file.write_text(calibration.page(fitted.model, found, fitted.panel), encoding="utf-8")
    return file


MEASURE = """
const frame = document.querySelector("iframe"), page = frame.contentDocument, root = page.documentElement;
page.querySelectorAll("details").forEach(fold => fold.open = true);
const width = root.clientWidth;
const inScroll = node => node.closest(".wide") !== null;
const cut = [...page.querySelectorAll("body *")].filter(node => !inScroll(node) && !node.closest("svg"))
  .filter(node => node.getBoundingClientRect().right > width + 1).map(node => node.tagName);
const drawings = [...page.querySelectorAll("svg")];
const spilled = drawings.filter(drawing => {
  const box = drawing.getBoundingClientRect();
  return [...drawing.querySelectorAll("text")].some(text => {
    const own = text.getBoundingClientRect();
    return own.left < box.left - 2 || own.right > box.right + 2 || own.top < box.top - 2 || own.bottom > box.bottom + 2;
  });
}).length;
const reached = [...page.querySelectorAll("summary, a[href], .wide")].filter(node => {
  node.focus();
  return page.activeElement === node;
}).length;
const narrow = [...page.querySelectorAll(".wide")].filter(node => node.scrollWidth > node.clientWidth + 1);
document.querySelector("pre").textContent = JSON.stringify({
  width, scroll: root.scrollWidth, cut, spilled, drawings: drawings.length, reached,
  reachable: page.querySelectorAll("summary, a[href], .wide").length,
  scrolled: narrow.every(node => { node.scrollLeft = 20; return node.scrollLeft > 0; }),
  smallest: Math.min(...drawings.map(drawing => drawing.getBoundingClientRect().width)),
  text: Math.min(...drawings.flatMap(drawing => [...drawing.querySelectorAll("text")]
    .map(text => text.getBoundingClientRect().height))),
  figures: [...page.querySelectorAll("figure")].map(figure => [
    figure.querySelector("[role=img]").getAttribute("aria-label"),
    figure.nextElementSibling.tagName + " " + (figure.nextElementSibling.nextElementSibling || figure).tagName]),
  links: [...page.querySelectorAll("a[href]")].every(link => page.getElementById(link.getAttribute("href").slice(1))),
  background: getComputedStyle(page.body).backgroundColor, ink: getComputedStyle(page.body).color,
});
"""


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
def test_it_fits_follows_the_theme_and_is_reached_by_keyboard(page, width, theme):
    text = page.read_text(encoding="utf-8").replace(
        "<head>", f'<head><meta http-equiv="Content-Security-Policy" content="{POLICY}">'
    )
    outer = page.with_name(f"around_{width}_{theme}.html")
    frame = f'<iframe width="{width}" height="3000" srcdoc="{html.escape(text)}"></iframe>'
    run = f"<script>addEventListener('load', () => {{ {MEASURE} }})</script>"
    outer.write_text(f"<!doctype html><meta charset=utf-8><pre></pre>{frame}{run}", encoding="utf-8")
    scheme = f"--blink-settings=preferredColorScheme={0 if theme == 'dark' else 1}"
    done = browse(outer, "--window-size=1400,3200", scheme, "--dump-dom")
    assert not re.findall(r"CONSOLE.*", done.stderr)
    found = json.loads(html.unescape(re.search(r"<pre>(.*?)</pre>", done.stdout)[1]))
    assert found["width"] >= width - 20
    assert found["scroll"] <= found["width"], found
    assert found["cut"] == []
    assert found["spilled"] == 0
    assert found["drawings"] >= 14
    assert found["smallest"] > 250
    assert found["text"] >= 8
    assert found["reached"] == found["reachable"] > 15
    assert found["scrolled"]
    assert found["links"]
    for alt, after in found["figures"]:
        assert "block bootstrap holds" in alt
        assert "DETAILS" in after or after.startswith("FIGURE")  # a table below, or a second figure above it
    dark = sum(map(int, re.findall(r"\d+", found["background"])[:3])) < 3 * 128
    assert dark == (theme == "dark")
    assert found["ink"] != found["background"]


def test_it_says_what_lies_outside_and_why(page):
    done = browse(page, f"--window-size={WIDTHS['desktop']},3000", "--dump-dom")
    assert not re.findall(r"CONSOLE.*", done.stderr)
    text = done.stdout
    for words in ("What lies outside, and why", "of the hours beyond are of", "Wick ratio", "GARCH-FHS", "held by"):
        assert words in text, words
    assert "<b>" not in text
    assert "http" not in text.replace("http://www.w3.org", "")
