"""The report of a run: a verdict in plain words, figures and tables with intervals, limits, how to reproduce.

`write` makes `report.html` (one self-contained file) and `report.md` with its figures; `summary` is
the part that fits a terminal. All of it is made from the store and the study, nothing is computed
again. Floor: above measures, below runs; a run is what has `data`, `study`, `plan`, `path`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stress.report import (
    contagion,
    explorer,
    funding,
    heat_maps,
    html,
    limits,
    losses,
    markdown,
    one_change,
    replays,
    terminal,
    verdict,
)
from stress.report.document import Document
from stress.report.reading import Reading

_SECTIONS = (
    heat_maps.section,
    contagion.section,
    replays.section,
    losses.named_cells,
    losses.exceedance,
    losses.who_pays,
    one_change.section,
    losses.by_market,
    funding.section,
    explorer.section,
    limits.failures,
    limits.section,
    limits.reproduce,
)


def compose(run: Any) -> Document:
    """Return the report of a run as data; a section with nothing to say is left out."""
    reading = Reading(run)
    sections = (section(reading) for section in _SECTIONS)
    return Document(
        title=reading.title,
        question=reading.study.question,
        verdict=verdict.give(reading),
        sections=tuple(section for section in sections if section is not None),
        identity=limits.identity(reading),
    )


def write(run: Any, folder: Path | str) -> Path:
    """Write `report.html`, `report.md` and the figures of the latter to `folder`; return the page's path.

    Parameters
    ----------
    run : the finished run: `data` (the grid as an xarray.Dataset), `study`, `plan`, `path`, and
        `trace(scenario, cell)` where single paths can be replayed.
    folder : where to write; it is made if it is not there.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    document = compose(run)
    text, pictures = markdown.render(document)
    for name, picture in pictures.items():
        folder.joinpath(name).write_bytes(picture)
    folder.joinpath("report.md").write_text(text, encoding="utf-8")
    page = folder / "report.html"
    page.write_text(html.render(document), encoding="utf-8")
    return page


def propose(run: Any, folder: Path | str, **header: Any) -> Path:
    """Write `proposal.md` and `payload.json` of the run's proposal to `folder` (see `stress.report.proposal`)."""
    from stress.report import proposal

    return proposal.write(run, folder, **header)


def summary(run: Any) -> Any:
    """Return the verdict and its table as something that `rich` prints."""
    return terminal.render(compose(run))
