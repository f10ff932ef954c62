"""The report of a real run in a real browser: no error, no request, nothing cut off, both themes, both widths.

The page forbids every fetch, and every script but its own, by its own content security policy, so anything it
tried would be refused by the browser and logged; the log must be empty. Sizes are measured and controls are
moved by a page around it.
"""

from __future__ import annotations

import html
import io
import itertools
import json
import re
from pathlib import Path

import numpy as np
import pytest

import stress
from stress.config import read_document
from tests.e2e.browser import BROWSER, WIDTHS, browse

pytestmark = pytest.mark.e2e

CONFIGS = Path(__file__).parents[2] / "configs"
STUDY = {
    "schema": 1,
    "name": "browser",
    "question": "Does raising BTC from 40x to 50x <b>hold</b>?",
    "protocol": str(CONFIGS / "protocols/reference.yaml"),
    "book": {"kind": "synthetic", "accounts": 60},
    "market": str(CONFIGS / "markets/house.yaml"),
    "markets": ["BTC", "ETH"],
    "scenarios": [
        "panic",
        {"replay": "prices.csv", "name": "crash", "from": "2025-10-10T20:00:00Z", "impact_share": [0]},
    ],
    "horizon": "2h",
    "step": "20s",
    "axes": {"leverage_cap": [20, 40, 50], "oracle_delay": ["0s", "60s"], "maintenance_to_initial_ratio": [0.5, 0.6]},
    "current": {"leverage_cap": 40},
    "proposed": {"leverage_cap": 50},
    "tolerance": {"probability": "5%"},
    "paths": 64,
    "seed": 1,
}


def prices() -> str:
    """Minute bars in which both markets lose a fifth within ten minutes."""
    lines = ["ts,symbol,open,high,low,close"]
    for symbol, level in (("BTC/USDT", 1e5), ("ETH/USDT", 4e3)):
        closes = level * (1 - 0.2 * np.clip((np.arange(-1, 181) - 60) / 10, 0, 1))
        for minute, (start, end) in enumerate(itertools.pairwise(closes)):
            stamp = f"2025-10-10T{20 + minute // 60:02d}:{minute % 60:02d}:00Z"
            lines.append(f"{stamp},{symbol},{start},{max(start, end)},{min(start, end)},{end}")
    return "\n".join(lines) + "\n"


def report_of(study, folder):
    """Run a study and return the page of its report."""
    if BROWSER is None:
        pytest.skip("no Chromium on the path: the report was not looked at in a browser")
    (folder / "prices.csv").write_text(prices(), encoding="utf-8")
    (folder / "study.yaml").write_text(json.dumps(study), encoding="utf-8")
    return stress.run(folder / "study.yaml", results=folder / "results", progress=False).report()


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return report_of(STUDY, tmp_path_factory.mktemp("browser"))


@pytest.fixture(scope="module")
def contagion(tmp_path_factory):
    """The page of the contagion study that ships, with fewer accounts, markets and paths."""
    study = read_document(CONFIGS / "studies/contagion.yaml").data
    kept = [shock for shock in study["scenarios"] if set(shock["shocks"]) <= {"BTC", "ETH"}]
    assert len(kept) == 4
    smaller = {
        "book": {"kind": "synthetic", "accounts": 60},
        "markets": ["BTC", "ETH"],
        "scenarios": kept,
        "paths": 128,
    }
    whole = {name: str(CONFIGS / study[name]) for name in ("protocol", "market")}
    return report_of(study | whole | smaller | {"name": "contagion"}, tmp_path_factory.mktemp("contagion"))


@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
def test_nothing_is_logged_and_something_is_seen(page, width):
    picture = page.with_name(f"{width}.png")
    # A headless window is at least 500 wide; the frame of the next test makes the phone's width exact.
    done = browse(page, f"--window-size={width},2400", f"--screenshot={picture}")
    assert not re.findall(r"CONSOLE.*", done.stderr)
    from PIL import Image

    with Image.open(io.BytesIO(picture.read_bytes())) as image:
        assert len(image.convert("RGB").getcolors(1 << 24)) > 200


def test_the_words_are_in_the_document(page):
    text = browse(page, "--dump-dom").stdout
    for words in ("tolerance", "Who pays", "First liquidation", "How to reproduce", "&lt;b&gt;hold&lt;/b&gt;"):
        assert words in text
    assert text.count("<svg") >= 8
    assert "Cells without a result" not in text


def test_contagion_is_a_matrix_with_a_table_and_says_which_differences_may_be_zero(contagion):
    done = browse(contagion, "--dump-dom")
    assert not re.findall(r"CONSOLE.*", done.stderr)
    text = done.stdout.replace("\xa0", " ")
    for words in ("Contagion: cross against isolated margin", "liquidated notional, difference",
                  "in brackets and hatched: the interval includes zero", "Every pair of markets"):  # fmt: skip
        assert words in text
    # Two kinds of shock, two measures in three panels each.
    assert len(re.findall(r'<div class="panels" role="img" aria-label="Matrices of', text)) == 2
    # Whatever a table calls open is in brackets in a matrix of the figure, and the other way round.
    pairs = re.findall(r"<table aria-label=\"Every pair of markets\">(.*?)</table>", text, re.DOTALL)
    assert len(pairs) == 2
    drawn = re.findall(r">\(([^()<>]+)\)<", "".join(re.findall(r"<svg.*?</svg>", text, re.DOTALL)))
    assert len(drawn) == sum(part.count(", zero included") for part in pairs)


# Moves every slider, changes every choice, walks by arrow keys; reports what the reader then sees.
USE = """
const page = document.querySelector("iframe").contentDocument, root = page.getElementById("explorer");
const box = words => [...root.querySelectorAll(".choices label")].find(one => one.textContent.startsWith(words)).querySelector("select");
const seen = () => [...root.querySelectorAll("td")].map(cell => cell.title).join("|");
const set = (control, value) => {
  control.value = value;
  control.dispatchEvent(new Event(control.type === "range" ? "input" : "change", { bubbles: true }));
};
const found = { first: seen(), sliders: [], measures: [], keys: [] };
// The scenario last: on its one path every cell says the same.
for (const slider of [...root.querySelectorAll("input[type=range]")].reverse()) {
  const before = seen();
  set(slider, slider.value === slider.max ? slider.min : slider.max);
  found.sliders.push([slider.getAttribute("aria-label"), slider.getAttribute("aria-valuetext"), before !== seen()]);
}
for (const option of box("Measure").options) {
  set(box("Measure"), option.value);
  found.measures.push([option.value, root.querySelector("td").getAttribute("aria-label")]);
}
set(box("Market"), "ETH");
found.market = root.querySelector("td").getAttribute("aria-label");
const rows = box("Rows").value;
set(box("Rows"), box("Columns").value);
found.swapped = box("Columns").value === rows;
root.querySelector("td[tabindex='0']").focus();
for (const key of ["ArrowUp", "ArrowUp", "ArrowLeft", "ArrowLeft", "ArrowDown", "ArrowRight"]) {
  page.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
  found.keys.push(page.activeElement.tagName + " " + root.querySelector(".readout").textContent);
}
found.tabbable = root.querySelectorAll("td[tabindex='0']").length;
document.querySelector("pre").textContent = JSON.stringify(found);
"""


def around(page, name, script, width, *options):
    """Open the report in a frame of exactly this width, run a script beside it, return what it found."""
    outer = page.with_name(f"around_{name}.html")
    frame = f'<iframe width="{width}" height="3000" srcdoc="{html.escape(page.read_text(encoding="utf-8"))}"></iframe>'
    run = f"<script>addEventListener('load', () => {{ {script} }})</script>"
    outer.write_text(f"<!doctype html><meta charset=utf-8><pre></pre>{frame}{run}", encoding="utf-8")
    done = browse(outer, "--window-size=1400,3200", *options, "--dump-dom")
    assert not re.findall(r"CONSOLE.*", done.stderr)
    return json.loads(html.unescape(re.search(r"<pre>(.*?)</pre>", done.stdout)[1]))


@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
def test_sliders_choices_and_keys_show_other_cells_with_their_intervals(page, width):
    found = around(page, f"use_{width}", USE, width)
    assert found["first"]
    assert [label for label, *_ in found["sliders"]] == ["maintenance ÷ initial margin", "scenario"]
    assert all(changed for *_, changed in found["sliders"]), found["sliders"]
    assert found["sliders"][-1][1] == "crash"
    assert len(found["measures"]) == 8
    for measure, words in found["measures"]:
        assert measure in words
        assert "an outcome" in words
    assert ", ETH: " in found["market"]
    assert found["swapped"]
    assert all(step.startswith("TD mean deleveraged notional, ETH: ") for step in found["keys"])
    assert len(set(found["keys"])) > 1
    assert found["tabbable"] == 1


def test_a_cell_says_its_interval_its_paths_and_its_standing(page):
    first = around(page, "first", USE, 1200)["first"].replace("\xa0", " ").split("|")
    assert len(first) == 6
    assert all(re.search(r"64 paths.*2 h; (safe|risky|undecided)$", words) for words in first), first


MEASURE = """
const frame = document.querySelector("iframe"), page = frame.contentDocument;
page.querySelectorAll("details").forEach(fold => fold.open = true);
const root = page.documentElement, width = root.clientWidth;
const inScroll = node => node.closest(".scroll") !== null;
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
document.querySelector("pre").textContent = JSON.stringify({
  width, scroll: root.scrollWidth, cut, spilled, drawings: drawings.length,
  smallest: Math.min(...drawings.map(drawing => drawing.getBoundingClientRect().width)),
  background: getComputedStyle(page.body).backgroundColor, ink: getComputedStyle(page.body).color,
});
"""


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
@pytest.mark.parametrize("which", ["page", "contagion"])
def test_it_fits_and_follows_the_theme(which, width, theme, request):
    scheme = f"--blink-settings=preferredColorScheme={0 if theme == 'dark' else 1}"
    found = around(request.getfixturevalue(which), f"{width}_{theme}", MEASURE, width, scheme)
    assert found["width"] >= width - 20
    assert found["scroll"] <= found["width"], found
    assert found["cut"] == []
    assert found["spilled"] == 0
    assert found["drawings"] >= 8
    assert found["smallest"] > 200
    dark = sum(map(int, re.findall(r"\d+", found["background"])[:3])) < 3 * 128
    assert dark == (theme == "dark")
    assert found["ink"] != found["background"]
