"""Small studies on both presets give the numbers they gave; a change of numbers needs its line in CHANGELOG."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.golden.studies import (
    README,
    ROOT,
    STUDIES,
    digest,
    example,
    finished,
    measured,
    moved,
    printed,
    stored,
    text_of,
    within,
)


@pytest.mark.parametrize("name", STUDIES)
def test_numbers_are_the_golden_ones(name):
    golden, now = stored(name), measured(name)
    assert golden.keys() == now.keys()
    assert {variable: len(values) for variable, values in golden.items()} == {v: len(now[v]) for v in now}
    wrong = {
        variable: moved(variable, golden[variable], now[variable])
        for variable in golden
        if not all(within(variable, a, b) for a, b in zip(golden[variable], now[variable], strict=True))
    }
    assert not wrong, "largest relative moves; if they are meant: make golden"


@pytest.mark.parametrize("name", STUDIES)
def test_golden_study_sees_every_event_it_is_meant_to_pin(name):
    """A file of zeros would pin nothing."""
    golden = stored(name)
    assert max(golden["events_mutualised_loss"]) > 0
    assert max(golden["events_adl"]) > 0
    assert max(golden["mean_liquidated_notional"]) > 0


def numerics_changed(changelog: str) -> str:
    """Return the text under the first heading *Numerics changed*."""
    return changelog.partition("### Numerics changed")[2].partition("\n#")[0]


def test_changelog_says_how_the_golden_numbers_came_about():
    """The digest covers every golden byte, so no number changes without a line that a person wrote."""
    said = numerics_changed((ROOT / "CHANGELOG.md").read_text())
    assert f"golden `{digest()}`" in said, "run make golden, then write the line that it asks for"


def test_files_are_written_as_make_golden_writes_them():
    for name in STUDIES:
        assert (ROOT / f"tests/golden/{name}.json").read_text() == text_of(stored(name))


def test_readme_prints_what_its_command_prints():
    shown = README.search((ROOT / "README.md").read_text())
    assert shown is not None
    assert shown[2] == printed("reference"), "make golden writes the table"


def test_readme_shows_the_heat_map_of_its_command(tmp_path):
    """The example's every number is this run's; its figures are written with it by `make golden`."""
    shown = ROOT / "results/example"
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", (ROOT / "README.md").read_text())
    assert pictures == ["results/example/heat-map.png"]
    example("reference", tmp_path)
    assert sorted(file.name for file in shown.iterdir()) == sorted(file.name for file in tmp_path.iterdir())
    # How to reproduce names the sources, which change more often than numbers.
    numbers = [(folder / "report.md").read_text().partition("## How to reproduce")[0] for folder in (shown, tmp_path)]
    assert numbers[0] == numbers[1], "make golden writes the example"
    for name in pictures:
        assert (ROOT / name).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_readme_python_gives_the_same_bytes(tmp_path, monkeypatch):
    block = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(block[1], names)
    assert names["run"].result_hash == finished("reference").result_hash
    assert (names["run"].path / "report.html").is_file()
