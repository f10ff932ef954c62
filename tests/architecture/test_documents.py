"""Pages agree with the tree: glossary, README, shipped configurations, and words that may not appear."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import docstring_parser
import pytest

from stress import glossary
from stress.cli import app
from stress.config import load_protocol, load_study, read_document
from stress.design import plan
from stress.errors import StressError
from stress.paths import MarketModel

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "GLOSSARY.md", "docs/speed.md")
# Folders that are made by running something.
MADE = {".venv", ".git", "results", ".hypothesis"}


def shipped() -> list[Path]:
    """Return the files of the project, as git sees them where there is a checkout."""
    if (ROOT / ".git").exists():
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.splitlines()
        return [ROOT / name for name in listed if (ROOT / name).is_file()]
    return [file for file in ROOT.rglob("*") if file.is_file() and not MADE & set(file.relative_to(ROOT).parts)]


def test_glossary_is_up_to_date():
    assert (ROOT / "GLOSSARY.md").read_text() == glossary.render(), "run: make docs"


@pytest.mark.parametrize("page", PAGES)
def test_links_inside_the_project_exist(page):
    text = (ROOT / page).read_text()
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text)
    missing = [
        target for target in targets if "://" not in target and not (ROOT / page).parent.joinpath(target).exists()
    ]
    assert not missing


@pytest.mark.parametrize("page", PAGES)
def test_commands_on_a_page_exist(page):
    """Every line of a sh block names a make target, a perpstress command or a module that is there."""
    verbs = set(re.findall(r"^([a-z0-9]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for block in re.findall(r"```sh\n(.*?)```", (ROOT / page).read_text(), re.DOTALL):
        for line in block.splitlines():
            words = shlex.split(line, comments=True)
            if not words:
                continue
            words = [word for word in words if "=" not in word.split("/")[0]]
            if words[0] == "make":
                assert set(words[1:]) <= verbs, line
            elif words[0].endswith("perpstress"):
                app.parse_args(words[1:], exit_on_error=False, print_error=False)
            elif words[0].endswith("python") and words[1] == "-m":
                path = ROOT / words[2].replace(".", "/")
                assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), line
            else:
                assert words[0] in {"git", "cd", "cp"}, line


@pytest.mark.parametrize("file", sorted((ROOT / "configs").rglob("*.yaml")), ids=lambda file: file.stem)
def test_configuration_loads(file):
    kind = file.parent.name
    if kind == "studies":
        if "replay:" in file.read_text():
            # It needs a price file, which does not ship; all before that is read.
            with pytest.raises(StressError, match=r"(?s)\.parquet.*--market-data"):
                load_study(file)
        else:
            assert plan(load_study(file)).cells
    elif kind == "protocols":
        assert load_protocol(file).rules()
    elif kind == "markets":
        assert MarketModel.model_validate(read_document(file).data).markets
    else:
        assert read_document(file).data


# Written in pieces, so that this file does not hold what it forbids.
FORBIDDEN = [
    r"/(?:home|root|Users)/\w+",
    "/" + r"work/\w+",
    r"py" + r"pi\.",
    r"files\.python" + r"hosted",
    r"https?://(?:local)?" + r"host",
    r"--index" + r"-url",
    r"\bL" + r"LM\b",
]


def test_nothing_names_a_machine_or_a_registry():
    found = []
    for file in shipped():
        if file.suffix in {".png", ".parquet", ".npz"} or file.name == "LICENSE":
            continue
        text = file.read_text(encoding="utf-8")
        found += [f"{file.relative_to(ROOT)}: {match[0]}" for rule in FORBIDDEN for match in re.finditer(rule, text)]
    assert not found


def test_no_market_data_ships():
    assert not [file for file in shipped() if file.suffix in {".parquet", ".gz", ".zip", ".feather"}]


def test_help_says_what_every_option_is():
    for name in app:
        if name.startswith("-"):
            continue
        told = {
            one.arg_name: one.description for one in docstring_parser.parse(app[name].default_command.__doc__).params
        }
        for option in app[name].assemble_argument_collection(default_parameter=app.default_parameter):
            assert option.parameter.help or told.get(option.field_info.name), f"{name} {option.name}"
            assert not any("empty" in one for one in option.names), f"{name} {option.names}"
