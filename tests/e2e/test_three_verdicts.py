"""A safer, a riskier and an unclear proposal, each run for real: the box and the first figure alone say which, by how much, how sure."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import stress
from stress.config import read_document

pytestmark = pytest.mark.e2e

CONFIGS = Path(__file__).parents[2] / "configs"
CHANGES = {
    "safer": ({"leverage_cap": 50}, {"leverage_cap": 20}, 128),
    "riskier": ({"leverage_cap": 20}, {"leverage_cap": 50}, 128),
    "unclear": ({"leverage_cap": 20}, {"leverage_cap": 25}, 64),
}


@pytest.fixture(scope="module", params=CHANGES)
def box(request, tmp_path_factory):
    """What a reader sees of one run's page down to its first figure: (what should be said, words)."""
    current, proposed, paths = CHANGES[request.param]
    study = read_document(CONFIGS / "studies/first_look.yaml").data
    study |= {name: str(CONFIGS / study[name]) for name in ("protocol", "market")}
    study |= {"name": request.param, "current": current, "proposed": proposed, "paths": paths}
    study["axes"] = {"leverage_cap": sorted({10, current["leverage_cap"], proposed["leverage_cap"]})}
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "study.yaml").write_text(json.dumps(study))
    page = stress.run(folder / "study.yaml", results=folder, progress=False).report().read_text(encoding="utf-8")
    seen = re.sub(r"<style.*?</style>", "", page.split("</figure>")[0], flags=re.DOTALL)
    return request.param, " ".join(re.sub(r"<[^>]*>", " ", seen).replace("\xa0", " ").split())


def test_is_it_safer_by_how_much_how_sure(box):
    which, words = box
    headline = {"safer": "Yes, safer; within the 5 % tolerance.", "riskier": "No, riskier; above the 5 % tolerance."}
    assert headline.get(which, "Unclear whether safer or riskier; ") in words
    change = re.search(
        r"P\(mutualised loss within 6 h\) from .* to .*, ([+−][\d.]+) points, given a day that starts in panic", words
    )
    assert change, words
    sure = re.search(
        r"How sure: change ([+−][\d.]+) to ([+−][\d.]+) points \(95 % interval, ([a-z ]+)\), (\d+) paths\.", words
    )
    assert sure, words
    value, low, high = (float(text.replace("−", "-")) for text in (change[1], sure[1], sure[2]))
    assert low <= value <= high
    side = {"safer": "all below zero", "riskier": "all above zero", "unclear": "zero included"}
    assert sure[3] == side[which]
    assert (high < 0, low > 0) == (which == "safer", which == "riskier")
    assert all(mark in words for mark in ("current", "proposed", "tolerance"))
