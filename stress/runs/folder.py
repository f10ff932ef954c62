"""The folder of a run: made beside its final name, locked while it is worked on, written whole.

    results/<study>/<id>.partial/   study.json, inputs/…, blocks/…    any number of attempts
    results/<study>/<id>/           study.json, inputs/…, grid.zarr, run.json, report.*

The final name comes by one rename, so a finished run is never torn. `id` names study, sources and
library versions. Everything but run.json is the same for every way of running.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stress import provenance, sweep
from stress.config import Study
from stress.errors import StoreError


@dataclass(frozen=True)
class Place:
    """Where a run lives; names only, so that it can be handed between processes."""

    study_hash: str
    final: str
    working: str

    @property
    def finished(self) -> bool:
        """Whether the run is whole and no block of it is missing."""
        return (Path(self.final) / "grid.zarr").is_dir() and not (Path(self.final) / "blocks").exists()


def prepare(study: Study, results: Path | str, name: str | None = None) -> Place:
    """Make the working folder with the resolved study, unless the run is already whole.

    `name` of the run's folder; default: the run's id. What is wrong with the study or its data is
    said here, by the names and lines of the user's own files.
    """
    sweep.Workbench(study).check()
    name = name or provenance.run_id(study.content_hash)
    final = Path(results).resolve() / study.name / name
    place = Place(study.content_hash, str(final), str(final.with_name(f"{name}.partial")))
    if place.finished:
        return place
    working = Path(place.working)
    if (final / "blocks").exists() and not working.exists():
        # Finished with failures: it becomes unfinished again, and only what failed is done again.
        final.rename(working)
    (working / "blocks").mkdir(parents=True, exist_ok=True)
    text = json.dumps(study.resolved(), indent=1, ensure_ascii=False)
    for reference, fingerprint in study.data_hashes.items():
        # A run keeps what it read, so that it can be opened, verified and replayed on its own.
        kept = f"inputs/{fingerprint[:8]}-{Path(reference).name.removeprefix(f'{fingerprint[:8]}-')}"
        (working / "inputs").mkdir(exist_ok=True)
        write_whole(working / kept, study.locate(reference).read_bytes())
        text = text.replace(json.dumps(reference, ensure_ascii=False), json.dumps(kept, ensure_ascii=False))
    write_whole(working / "study.json", text.encode())
    return place


def write_whole(file: Path, content: bytes) -> None:
    """Write a file so that it is either absent, old, or new and whole."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(file)


@contextlib.contextmanager
def lock(working: Path) -> Iterator[None]:
    """Hold the working folder for this process; the kernel lets go when the process dies, however it dies."""
    try:
        stream = (working / "lock").open("a+")
    except FileNotFoundError:
        raise StoreError(
            "another process has just finished this run", file=str(working), fix="run the same command again to see it"
        ) from None
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stream.seek(0)
            raise StoreError(
                f"another process is running this study: {stream.read().strip() or 'unknown'}",
                file=str(working),
                fix="wait for it, or use another --results folder",
            ) from None
        stream.truncate(0)
        stream.write(f"process {os.getpid()} on {provenance.machine()['host']}")
        stream.flush()
        try:
            yield
        finally:
            stream.truncate(0)
