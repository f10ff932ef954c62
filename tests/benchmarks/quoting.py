"""README's figures of speed, taken from a committed record: python -m tests.benchmarks --quote FILE."""

from __future__ import annotations

import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
# The record stands in the mark, so that the page says what it quotes and a test can hold it to that.
QUOTED = re.compile(r"(<!-- quoted from (?P<record>results/benchmarks/\S+\.json) -->\n).*?(\n<!-- end -->)", re.DOTALL)
ROWS = {
    "base": "1,000, calm",
    "accounts=10000": "10,000, calm",
    "severity=panic": "1,000, panic",
    "accounts=10000 severity=panic": "10,000, panic",
    "wide=True": "1,000, three or more markets each, calm",
}


def table(record: Path) -> str:
    """Return the cases of the bars as a table of Markdown."""
    cases = json.loads(record.read_text())["cases"]
    lines = [
        "| accounts | liquidated | exhaustive / culled | NumPy / culled | ns a fill | paths |",
        "| --- | " + "--: | " * 5,
    ]
    for name, words in ROWS.items():
        row = cases[name]
        ratios = f"{row['exhaustive_over_culled']:.1f}x | {row['numpy_over_culled']:.0f}x"
        lines.append(
            f"| {words} | {row['share_liquidated']:.1%} | {ratios} | {row['ns_per_fill']:,.0f} | {row['paths']} |"
        )
    return "\n".join(line.rstrip() for line in lines)


def quote(record: str) -> None:
    """Write README's table from a record."""
    page = ROOT / "README.md"
    new = QUOTED.sub(lambda found: f"<!-- quoted from {record} -->\n{table(ROOT / record)}{found[3]}", page.read_text())
    page.write_text(new)
