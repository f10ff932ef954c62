"""Block records: plain mappings of arrays, reduced from outcomes, written whole, checked when read.

Legend: P = paths of the block, m = markets, e = events, c = cells of the record.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stress.errors import StoreError
from stress.grid.terms import AVERAGED, BIN_EDGES, CELL_TERMS, EVENTS, LOSS_TERMS, NOMINAL_WEIGHT
from stress.vocabulary import MARKET_OUTCOMES

Record = dict[str, np.ndarray]


def reduce_cell(paths: np.ndarray, markets: np.ndarray, events: np.ndarray, first_path: int) -> Record:
    """Reduce the outcomes of one block and one cell to its record.

    Parameters
    ----------
    paths : (P,) structured PATH_OUTCOMES, in path order.
    markets : (P, m) structured MARKET_OUTCOMES.
    events : (P, e) bool, columns as EVENTS.

    Sums are correctly rounded (`math.fsum`), so they do not depend on how the block was chunked.
    """
    values = np.stack([paths[term.name].astype(np.float64) for term in AVERAGED])
    sums = np.array([math.fsum(row) for row in values])
    with np.errstate(invalid="ignore"):  # an unlimited fund makes inf - inf: its spread is not a number
        deviations = (values - (sums / len(paths))[:, None]) ** 2
    loss = paths["mutualised_loss"]
    kept = np.flatnonzero(
        events.any(axis=1) | (loss > 0) | (paths["peak_uncovered_loss"] > 0) | (paths["fund_paid"] > 0)
    )
    record: Record = {
        "paths": np.array(len(paths), np.int64),
        "events": events.sum(axis=0, dtype=np.int64),
        "sums": sums,
        "spreads": np.array([math.fsum(row) for row in deviations]),
        "market_sums": np.array(
            [[math.fsum(column) for column in markets[term.name].T] for term in MARKET_OUTCOMES], dtype=np.float64
        ),
        "histogram": np.bincount(
            np.searchsorted(BIN_EDGES, loss, side="right") - 1, minlength=len(BIN_EDGES) - 1
        ).astype(np.int64),
        "worst": np.array(loss.max(initial=0.0)),
        "residual": np.array(paths["ledger_residual"].max(initial=0.0)),
        "loss_path": first_path + kept,
        "loss_weight": np.full(len(kept), NOMINAL_WEIGHT, np.int64),
        "loss_events": (events[kept] @ (1 << np.arange(len(EVENTS)))).astype(np.int64),
    }
    for term in LOSS_TERMS[4:]:
        record[f"loss_{term.name}"] = paths[term.name][kept].astype(term.dtype)
    return record


def empty_cell(markets: int) -> Record:
    """Return the record of a cell that failed: no paths, sums that are not numbers, no rows."""
    record: Record = {
        "paths": np.array(0, np.int64),
        "events": np.zeros(len(EVENTS), np.int64),
        "sums": np.full(len(AVERAGED), np.nan),
        "spreads": np.full(len(AVERAGED), np.nan),
        "market_sums": np.full((len(MARKET_OUTCOMES), markets), np.nan),
        "histogram": np.zeros(len(BIN_EDGES) - 1, np.int64),
        "worst": np.array(np.nan),
        "residual": np.array(np.nan),
    }
    for term in LOSS_TERMS[1:]:
        record[f"loss_{term.name}"] = np.zeros(0, term.dtype)
    return record


def stack_cells(
    cells: Sequence[Record], constants: Sequence[Mapping[str, float]], failures: Sequence[Any], path_hash: str
) -> Record:
    """Join the records of a tile's cells into the record that is written; a hash per cell included.

    `constants` has one mapping per cell (CELL_TERMS by name; empty where the cell failed),
    `failures` one entry per cell: None or {"type", "message", "traceback"}.
    """
    record: Record = {
        name: np.stack([cell[name] for cell in cells]) for name in cells[0] if not name.startswith("loss_")
    }
    for term in LOSS_TERMS[1:]:
        record[f"loss_{term.name}"] = np.concatenate([cell[f"loss_{term.name}"] for cell in cells])
    rows = np.array([len(cell["loss_path"]) for cell in cells], dtype=np.int64)
    record["loss_rows"] = rows
    record["constants"] = np.array([[given.get(t.name, np.nan) for t in CELL_TERMS] for given in constants])
    record["failures"] = np.array(json.dumps(list(failures)))
    record["path_hash"] = np.array(path_hash)
    record["cell_hash"] = np.array(
        [array_hash({**cell, "constants": row}) for cell, row in zip(cells, record["constants"], strict=True)]
    )
    return record


def array_hash(arrays: Mapping[str, np.ndarray]) -> str:
    """Return the BLAKE2b-128 of named arrays: names, types, shapes and bytes in the order of the names."""
    state = hashlib.blake2b(digest_size=16)
    for name in sorted(arrays):
        array = np.asarray(arrays[name])
        state.update(f"{name}|{array.shape}|".encode())
        if array.dtype.kind in "OUT":
            state.update(json.dumps([str(item) for item in array.ravel()]).encode())
        else:
            state.update(array.dtype.str.encode())
            if array.dtype.kind == "f":
                # A NaN has many bit patterns, and a store gives back one of its own choice.
                array = np.where(np.isnan(array), np.nan, array)
            state.update(np.ascontiguousarray(array).tobytes())
    return state.hexdigest()


def write_record(file: Path, record: Record) -> str:
    """Write a record so that `file` is either absent or whole, also after a crash; return its hash."""
    fingerprint = array_hash(record)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, hash=np.array(fingerprint), **record)
    # The name of the process keeps two writers of the same block apart; both write the same bytes.
    temporary = file.with_name(f".{file.name}.{os.getpid()}.{id(buffer):x}.tmp")
    with temporary.open("wb") as stream:
        stream.write(buffer.getbuffer())
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(file)
    return fingerprint


def read_record(file: Path) -> Record:
    """Read a record and check it against its own hash."""
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            record = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as damage:
        raise StoreError(
            f"this block cannot be read: {damage}", file=str(file), fix="delete the file and run the study again"
        ) from damage
    stated = str(record.pop("hash", ""))
    if stated != array_hash(record):
        raise StoreError(
            "this block does not have the hash it states", file=str(file), fix="delete it and run the study again"
        )
    return record
