"""Market files: a market model, read with the lines of its keys."""

from __future__ import annotations

from pathlib import Path

from stress.config.documents import read_document
from stress.config.refusals import read_model
from stress.paths import MarketModel


def load_market(path: Path | str) -> MarketModel:
    """Return the market model of a file; every refusal names file, line, key, value, rule, fix."""
    return read_model(MarketModel, read_document(path))
