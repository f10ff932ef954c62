"""Where a result comes from: study, sources, libraries, machine.

`identity` names what the numbers depend on (study, package sources, versions of the libraries that
compute); it stands in the store and names the run's folder. `machine` names what they must not
depend on (host, times, paths); it goes to run.json only.
"""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parent
# Sources that cannot move a number in the store.
_PRESENTATION = ("report", "glossary.py", "cli.py", "__main__.py")
# Libraries whose version can: they generate, compile, sum or store.
_NUMERICAL = ("numpy", "numba", "llvmlite", "scipy")
_OTHERS = ("xarray", "zarr", "pandas", "pyarrow", "pydantic", "distributed", "prefect")


def digest(*parts: bytes) -> str:
    """Return the BLAKE2b-128 of `parts` as hexadecimal text; each part is preceded by its length."""
    state = hashlib.blake2b(digest_size=16)
    for part in parts:
        state.update(len(part).to_bytes(8, "little"))
        state.update(part)
    return state.hexdigest()


@functools.cache
def source_hash() -> str:
    """Return the hash of every source file of the package that can move a number."""
    files = sorted(path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).parts[0] not in _PRESENTATION)
    return digest(*(part for path in files for part in (str(path.relative_to(PACKAGE)).encode(), path.read_bytes())))


@functools.cache
def _versions(names: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def identity(study_hash: str) -> dict[str, str]:
    """Return what the numbers depend on, as flat text; the same on every machine of one wheel set."""
    return {
        "study_hash": study_hash,
        "source_hash": source_hash(),
        "version": _versions(("perpstress",))["perpstress"],
        "python": platform.python_version(),
        **_versions(_NUMERICAL),
    }


def run_id(study_hash: str) -> str:
    """Return the name of the run's folder: 12 hexadecimal digits of `identity`.

    A changed source or library gets its own folder, so blocks of two versions can never be mixed.
    """
    return digest(*(f"{key}={value}".encode() for key, value in sorted(identity(study_hash).items())))[:12]


def file_hash(path: Path) -> str:
    """Return the BLAKE2b-128 of a file's bytes (data that a study names)."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def machine() -> dict[str, Any]:
    """Return where and with what the run was made; nothing here enters a hash."""
    return {
        "host": platform.node(),
        "pid": os.getpid(),
        "platform": platform.platform(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "python": sys.version.split()[0],
        "libraries": _versions(_NUMERICAL + _OTHERS),
        "lock": _lock(),
        "git": _git(),
    }


def _cpu() -> dict[str, str]:
    """Return model and instruction set as the operating system names them."""
    described = {"isa": platform.machine(), "model": platform.processor() or "unknown"}
    listing = Path("/proc/cpuinfo")
    if listing.exists():
        fields = dict(
            (key.strip(), value.strip())
            for key, _, value in (line.partition(":") for line in listing.read_text().splitlines())
        )
        described["model"] = fields.get("model name", described["model"])
        flags = set(fields.get("flags", fields.get("Features", "")).split())
        described["vector"] = ",".join(sorted(flags & {"sse4_2", "avx", "avx2", "fma", "avx512f", "asimd", "sve"}))
    return described


def _lock() -> str | None:
    """Return the hash of requirements.lock where the package lies beside it, else None."""
    file = PACKAGE.parent / "requirements.lock"
    return file_hash(file) if file.is_file() else None


def _git() -> dict[str, Any] | None:
    """Return commit and dirty flag where the package lies in a git checkout of its own, else None."""
    root = PACKAGE.parent
    if not (root / ".git").exists():
        return None

    def ask(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()

    try:
        return {"commit": ask("rev-parse", "HEAD"), "dirty": bool(ask("status", "--porcelain", "--", "stress"))}
    except (OSError, subprocess.SubprocessError) as failure:
        return {"commit": "unknown", "reason": str(failure)}
