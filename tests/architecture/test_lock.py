"""The lock file holds what pyproject.toml asks for: versions and hashes, and no address of anything."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
ASKED = [
    Requirement(line)
    for line in (
        *PROJECT["project"]["dependencies"],
        *PROJECT["dependency-groups"]["dev"],
        *PROJECT["build-system"]["requires"],
    )
]
ENTRY = re.compile(r"^(?P<name>[a-z0-9][\w.-]*)==(?P<version>\S+)(?P<marker> ; .+?)? \\$")
HASH = re.compile(r"^    --hash=sha256:[0-9a-f]{64}(?: \\)?$")
REASON = re.compile(r"^ *#")


def locked() -> dict[str, set[str]]:
    """Return the versions of each package in the lock; one package may have one per Python."""
    found: dict[str, set[str]] = {}
    hashes = 1
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        if entry := ENTRY.match(line):
            assert hashes, "a version without a hash"
            found.setdefault(canonicalize_name(entry["name"]), set()).add(entry["version"])
            hashes = 0
        elif HASH.match(line):
            hashes += 1
        else:
            assert REASON.match(line), f"neither version, hash nor comment: {line}"
    assert hashes
    return found


def test_every_version_has_hashes_and_no_address():
    assert len(locked()) > 100
    assert not re.search(r"://|@|--(?:extra-)?index|--find-links|--trusted", (ROOT / "requirements.lock").read_text())


@pytest.mark.parametrize("asked", ASKED, ids=lambda asked: asked.name)
def test_the_lock_satisfies_the_project(asked):
    versions = locked()[canonicalize_name(asked.name)]
    assert all(asked.specifier.contains(version) for version in versions)


def test_versions_under_which_prefect_breaks_are_excluded_by_the_project_itself():
    """A flow that does not start (fastapi) is seen at once, a schedule that never fires (sqlalchemy) is not."""
    bounds = {asked.name: asked.specifier for asked in ASKED}
    for version in ("0.151.0", "0.155.0", "0.165.0"):
        assert not bounds["fastapi"].contains(version)
    assert not bounds["sqlalchemy"].contains("2.1.9")
    assert not bounds["prefect"].contains("3.9.1")
    assert bounds["fastapi"].contains("0.150.0")
    assert bounds["sqlalchemy"].contains("2.0.58")
