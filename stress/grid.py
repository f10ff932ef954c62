"""The store: what a block leaves behind, how blocks merge, how the grid is written and read.

A block record is a plain mapping of arrays, one file per task. Merging reads the records in block
order and sums with `math.fsum` (correctly rounded, hence the same for any order). The grid is one
Zarr (version 3) store that opens with `xarray.open_zarr` alone; its group `losses` holds the paths
with a loss as rows. Block counts are integers; weights are integers in units of 2**-32.

Legend: c = cells of the record, k = averaged outcomes, e = events, m = markets, l = loss rows.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import shutil
import warnings
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from stress.errors import StoreError
from stress.vocabulary import MARKET_OUTCOMES, PATH_OUTCOMES, SCHEMA_VERSION, Term

Record = dict[str, np.ndarray]

NOMINAL_WEIGHT = 1 << 32
LOSS_ROWS = 1_000_000  # rows of the group `losses`, over the whole run

EVENTS: tuple[Term, ...] = (
    Term("mutualised_loss", "i8", "paths", ">= 0", "mutualised loss above the loss floor; losses of the vault count only above 1 % of its equity", "sweep"),
    Term("fund_exhaustion", "i8", "paths", ">= 0", "a claim larger than the balance of the insurance fund", "sweep"),
    Term("adl", "i8", "paths", ">= 0", "at least one contract auto-deleveraged", "sweep"),
    Term("market_makers_default", "i8", "paths", ">= 0", "equity of the market makers fell below zero", "sweep"),
)  # fmt: skip
AVERAGED: tuple[Term, ...] = tuple(
    term for term in PATH_OUTCOMES if (term.dtype == "f8" and term.name != "ledger_residual") or term.unit == "accounts"
)
CELL_TERMS: tuple[Term, ...] = (
    Term("open_interest", "f8", "USD", ">= 0", "open interest carried at t = 0, long side, at the marks", "sweep"),
    Term("gross_notional", "f8", "USD", ">= 0", "notional of all rows at t = 0", "sweep"),
    Term("trader_equity", "f8", "USD", "signed", "equity of all traders at t = 0", "sweep"),
    Term("vault_equity_at_start", "f8", "USD", ">= 0", "equity of the backstop vault at t = 0", "sweep"),
    Term("fund", "f8", "USD", ">= 0", "balance of the insurance fund at t = 0", "sweep"),
    Term("loss_floor", "f8", "USD", ">= 0", "a mutualised loss must exceed it to count as an event", "sweep"),
    Term("vault_loss_floor", "f8", "USD", ">= 0", "a default loss of the vault must exceed it to count for the event", "sweep"),
)  # fmt: skip
LOSS_TERMS: tuple[Term, ...] = (
    Term("cell", "i8", "index", ">= 0", "cell in C order over the cell axes", "sweep"),
    Term("path", "i8", "index", ">= 0", "path id; replay it with `perpstress path`", "sweep"),
    Term("weight", "i8", "2^-32", ">= 0", "likelihood weight; nominal 2^32", "sweep"),
    Term("events", "i8", "bits", ">= 0", "bit i set: event i of `event_names` happened", "sweep"),
    *(
        term
        for term in PATH_OUTCOMES
        if term.name
        in ("mutualised_loss", "bad_debt", "peak_uncovered_loss", "adl_notional", "exhaustion_step",
            "first_liquidation_step", "first_adl_step")
    ),
)  # fmt: skip

BINS_PER_DECADE = 64
# 0, then 1 .. 1e10 USD, then infinity: the first bin is "below 1 USD", the last "1e10 USD and more".
BIN_EDGES = np.concatenate(([0.0], 10.0 ** (np.arange(10 * BINS_PER_DECADE + 1) / BINS_PER_DECADE), [np.inf]))


# ------------------------------------------------------------------------------- block records


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
    kept = np.flatnonzero(events.any(axis=1) | (loss > 0) | (paths["peak_uncovered_loss"] > 0))
    record: Record = {
        "paths": np.int64(len(paths)),
        "events": events.sum(axis=0, dtype=np.int64),
        "sums": sums,
        "spreads": np.array([math.fsum(row) for row in deviations]),
        "market_sums": np.array(
            [[math.fsum(column) for column in markets[term.name].T] for term in MARKET_OUTCOMES], dtype=np.float64
        ),
        "histogram": np.bincount(
            np.searchsorted(BIN_EDGES, loss, side="right") - 1, minlength=len(BIN_EDGES) - 1
        ).astype(np.int64),
        "worst": np.float64(loss.max(initial=0.0)),
        "residual": np.float64(paths["ledger_residual"].max(initial=0.0)),
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
        "paths": np.int64(0),
        "events": np.zeros(len(EVENTS), np.int64),
        "sums": np.full(len(AVERAGED), np.nan),
        "spreads": np.full(len(AVERAGED), np.nan),
        "market_sums": np.full((len(MARKET_OUTCOMES), markets), np.nan),
        "histogram": np.zeros(len(BIN_EDGES) - 1, np.int64),
        "worst": np.float64(np.nan),
        "residual": np.float64(np.nan),
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


# --------------------------------------------------------------------------------------- merge

_OWN_NAMES = {"paths", "failed", "market", "block", "component", "bin", "bin_edge", "row"}
_OWN_NAMES |= {term.name for term in CELL_TERMS}


class Layout(NamedTuple):
    """The shape of a run: axes by name with their values, markets, paths per path point, block size."""

    path_axes: dict[str, tuple[Any, ...]]
    cell_axes: dict[str, tuple[Any, ...]]
    markets: tuple[str, ...]
    paths: tuple[int, ...]
    block_paths: int

    @property
    def blocks(self) -> int:
        """Number of blocks of the path point that has most paths."""
        return -(-max(self.paths) // self.block_paths)

    @property
    def path_shape(self) -> tuple[int, ...]:
        """Lengths of the path axes."""
        return tuple(len(values) for values in self.path_axes.values())

    @property
    def cell_shape(self) -> tuple[int, ...]:
        """Lengths of the cell axes."""
        return tuple(len(values) for values in self.cell_axes.values())

    @property
    def path_points(self) -> int:
        """Number of points of the path axes."""
        return math.prod(self.path_shape)

    @property
    def cells(self) -> int:
        """Number of cells."""
        return math.prod(self.cell_shape)

    def block_range(self, path_point: int, block: int) -> tuple[int, int]:
        """Return the first path of a block and how many it has at this path point (0: none)."""
        first = block * self.block_paths
        return first, max(0, min(self.block_paths, self.paths[path_point] - first))


def refuse_axes(layout: Layout) -> None:
    """Raise where an axis has a name that the store needs itself."""
    for name in (*layout.path_axes, *layout.cell_axes):
        if name in _OWN_NAMES:
            raise StoreError(
                "an axis cannot have the name of an array of the store",
                key=f"axes.{name}",
                fix=f"name its rule or a market too, such as RULE.{name}",
            )


class Piece(NamedTuple):
    """Where a record belongs: block, point of the path axes, cells first_cell .. first_cell + cells."""

    block: int
    path_point: int
    first_cell: int
    cells: int


def merge(layout: Layout, pieces: Iterable[tuple[Piece, Record]]) -> tuple[xr.Dataset, xr.Dataset]:
    """Merge block records, given in any order, into the raw grid and its loss rows.

    The grid has counts, sums and spreads; `stress.measures.estimate` adds what follows from them.
    """
    shape = (layout.path_points, layout.cells)
    blocks = (*shape, layout.blocks)
    count = np.zeros(blocks, np.int64)
    events = np.zeros((*blocks, len(EVENTS)), np.int64)
    sums = np.full((*blocks, len(AVERAGED)), np.nan)
    spreads = np.full((*blocks, len(AVERAGED)), np.nan)
    market_sums = np.full((*blocks, len(MARKET_OUTCOMES), len(layout.markets)), np.nan)
    histogram = np.zeros((*shape, len(BIN_EDGES) - 1), np.int64)
    worst, residual = np.full(shape, -np.inf), np.full(shape, -np.inf)
    constants = np.full((*shape, len(CELL_TERMS)), np.nan)
    hashes = np.full(blocks, "", dtype="U32")
    path_hash = np.full((layout.path_points, layout.blocks), "", dtype=object)
    rows: dict[tuple[int, int, int], Record] = {}

    for piece, record in pieces:
        point, block = piece.path_point, piece.block
        cells = slice(piece.first_cell, piece.first_cell + piece.cells)
        count[point, cells, block] = record["paths"]
        events[point, cells, block] = record["events"]
        sums[point, cells, block] = record["sums"]
        spreads[point, cells, block] = record["spreads"]
        market_sums[point, cells, block] = record["market_sums"]
        histogram[point, cells] += record["histogram"]
        worst[point, cells] = np.fmax(worst[point, cells], record["worst"])
        residual[point, cells] = np.fmax(residual[point, cells], record["residual"])
        # Constants do not depend on the block: any block of the cell that did not fail has them.
        constants[point, cells] = np.where(np.isnan(record["constants"]), constants[point, cells], record["constants"])
        hashes[point, cells, block] = record["cell_hash"]
        path_hash[point, block] = str(record["path_hash"])
        ends = np.cumsum(record["loss_rows"])
        for offset, end in enumerate(ends):
            span = slice(end - record["loss_rows"][offset], end)
            rows[point, piece.first_cell + offset, block] = {
                term.name: record[f"loss_{term.name}"][span] for term in LOSS_TERMS[1:]
            }

    done = count > 0
    total = count.sum(axis=-1)
    block_mean = sums / np.where(done, count, 1)[..., None]
    with np.errstate(invalid="ignore", divide="ignore"):
        totals = _fsum_blocks(np.where(done[..., None], sums, 0.0))
        means = totals / total[..., None]
        # Chan, Golub, LeVeque 1983: within-block spread plus the spread of block means.
        between = count[..., None] * (block_mean - means[:, :, None, :]) ** 2
        spread = _fsum_blocks(np.where(done[..., None], spreads + between, 0.0))
        errors = np.sqrt(spread / (total * (total - 1.0))[..., None])
        market_means = _fsum_blocks(np.where(done[..., None, None], market_sums, 0.0)) / total[..., None, None]

    build = _Builder(layout)
    build.add("paths", total, (), Term("paths", "i8", "paths", ">= 0", "paths counted", "sweep"))
    build.add("block_paths", count, ("block",), Term("block_paths", "i8", "paths", ">= 0", "paths of the block counted", "sweep"))  # fmt: skip
    failed = total < np.array(layout.paths)[:, None]
    build.add("failed", failed, (), Term("failed", "i8", "flag", "", "at least one block of the cell failed; see attrs: failures", "sweep"))  # fmt: skip
    for index, term in enumerate(EVENTS):
        build.add(f"events_{term.name}", events[..., index].sum(axis=-1), (), term)
        build.add(f"block_events_{term.name}", events[..., index, None], ("block", "component"), term)
    for index, term in enumerate(AVERAGED):
        build.add(f"mean_{term.name}", means[..., index], (), term, "mean over paths: ")
        build.add(f"se_{term.name}", errors[..., index], (), term, "standard error of the mean: ")
        build.add(
            f"block_sum_{term.name}", sums[..., index, None], ("block", "component"), term, "sum over the block: "
        )
    for index, term in enumerate(MARKET_OUTCOMES):
        build.add(f"mean_{term.name}_by_market", market_means[..., index, :], ("market",), term, "mean over paths: ")
    for index, term in enumerate(CELL_TERMS):
        build.add(term.name, constants[..., index], (), term)
    data = build.dataset
    data["liquidatable_at_start"] = data["mean_liquidatable_at_start"]
    nothing = total == 0
    loss = next(term for term in AVERAGED if term.name == "mutualised_loss")
    build.add("worst_loss", np.where(nothing, np.nan, worst), (), loss, "largest of all paths: ")
    build.add("ledger_residual", np.where(nothing, np.nan, residual), (), PATH_OUTCOMES[-2])
    build.add(
        "histogram_mutualised_loss", histogram, ("bin",), loss._replace(unit="paths", dtype="i8"), "paths by size: "
    )
    losses, seen = _loss_rows(layout, rows)
    build.add("paths_with_loss", seen, (), Term("paths_with_loss", "i8", "rows", ">= 0", "paths with any loss, claim or event", "sweep"))  # fmt: skip
    data["bin_edges"] = (
        "bin_edge",
        BIN_EDGES,
        {"unit": "USD", "meaning": "bin i of the histogram is edge i to edge i + 1"},
    )
    data["block_first_path"] = ("block", np.arange(layout.blocks) * layout.block_paths, {"meaning": "first path id"})
    block_hash = np.array(
        [[array_hash({"cells": hashes[p, :, b]}) for b in range(layout.blocks)] for p in range(shape[0])], dtype=object
    )
    for name, values, meaning in (
        ("path_hash", path_hash, "BLAKE2b-128 over the block's paths; equal hashes are equal paths"),
        ("block_hash", block_hash, "BLAKE2b-128 over the block's records of all cells, in the order of the cells"),
    ):
        shaped = values.reshape(*layout.path_shape, layout.blocks)
        data[name] = ((*layout.path_axes, "block"), shaped, {"meaning": meaning})
    data.attrs = {
        "path_axes": list(layout.path_axes),
        "cell_axes": list(layout.cell_axes),
        "block_paths": layout.block_paths,
    }
    return data, losses


def _fsum_blocks(values: np.ndarray) -> np.ndarray:
    """Sum over axis 2 (blocks), correctly rounded."""
    moved = np.moveaxis(values, 2, -1)
    return np.array([math.fsum(row) for row in moved.reshape(-1, moved.shape[-1])]).reshape(moved.shape[:-1])


def _loss_rows(layout: Layout, rows: Mapping[tuple[int, int, int], Record]) -> tuple[xr.Dataset, np.ndarray]:
    """Join the loss rows: by path point, cell, path; at most the largest LOSS_ROWS / cells of a cell."""
    cap = max(1, LOSS_ROWS // (layout.path_points * layout.cells))
    seen = np.zeros((layout.path_points, layout.cells), np.int64)
    columns: dict[str, list[np.ndarray]] = {name: [] for name in ("path_point", *(term.name for term in LOSS_TERMS))}
    for point, cell in np.ndindex(*seen.shape):
        parts = [rows[point, cell, block] for block in range(layout.blocks) if (point, cell, block) in rows]
        if not parts:
            continue
        joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        seen[point, cell] = len(joined["path"])
        largest = np.lexsort((joined["path"], -joined["peak_uncovered_loss"], -joined["mutualised_loss"]))[:cap]
        kept = np.sort(largest)
        columns["path_point"].append(np.full(len(kept), point))
        columns["cell"].append(np.full(len(kept), cell))
        for name, column in joined.items():
            columns[name].append(column[kept])
    terms = (Term("path_point", "i8", "index", ">= 0", "point of the path axes, in C order"), *LOSS_TERMS)
    losses = xr.Dataset(
        {
            term.name: ("row", np.concatenate([np.zeros(0, term.dtype), *columns[term.name]]), describe(term))
            for term in terms
        },
        attrs={"event_names": [term.name for term in EVENTS], "rows_per_cell_at_most": cap},
    )
    return losses, seen


def describe(term: Term, prefix: str = "") -> dict[str, str]:
    """Return the attributes under which a term stands in the store."""
    return {"unit": term.unit, "sign": term.sign, "meaning": prefix + term.meaning, "source": term.source}


class _Builder:
    """Turns arrays with leading (path point, cell) into variables on the axes of the layout."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.dims = (*layout.path_axes, *layout.cell_axes)
        coords = {name: (name, coordinate(values)) for name, values in {**layout.path_axes, **layout.cell_axes}.items()}
        self.dataset = xr.Dataset(coords={**coords, "market": ("market", coordinate(layout.markets))})

    def add(self, name: str, values: np.ndarray, dims: tuple[str, ...], term: Term, prefix: str = "") -> None:
        shaped = values.reshape(*self.layout.path_shape, *self.layout.cell_shape, *values.shape[2:])
        self.dataset[name] = ((*self.dims, *dims), shaped, describe(term, prefix))


def coordinate(values: Sequence[Any]) -> np.ndarray:
    """Return axis values as an array: numbers stay numbers, anything else becomes text."""
    if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
        return np.array([float(value) for value in values])
    return np.array([str(value) for value in values], dtype=object)


# --------------------------------------------------------------------------------------- store


def result_hash(data: xr.Dataset, losses: xr.Dataset) -> str:
    """Return the BLAKE2b-128 over all arrays of the store, coordinates included, in order of name."""
    arrays = {f"grid/{name}": data[name].values for name in data.variables}
    arrays |= {f"losses/{name}": losses[name].values for name in losses.variables}
    return array_hash({str(name): array for name, array in arrays.items()})


def write(store: Path, data: xr.Dataset, losses: xr.Dataset) -> None:
    """Write the grid and its group `losses` to a new folder and flush it to disk.

    Not atomic by itself: the caller writes it beside its final name and renames (see `stress.runs`).
    """
    if store.exists():
        shutil.rmtree(store)
    with warnings.catch_warnings():
        # Consolidated metadata is what lets one read open the store; Zarr 3 has not standardised it yet.
        warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part")
        losses.to_zarr(store, group="losses", mode="w", zarr_format=3, consolidated=False)
        data.to_zarr(store, mode="a", zarr_format=3, consolidated=True)
    for file in store.rglob("*"):
        if file.is_file():
            with file.open("rb") as stream:
                os.fsync(stream.fileno())


def read(store: Path) -> tuple[xr.Dataset, xr.Dataset]:
    """Read a store into memory and check schema version and hash."""
    if not store.is_dir():
        raise StoreError("there is no finished grid here", file=str(store), fix="run the study (again) to finish it")
    try:
        with xr.open_zarr(store) as opened, xr.open_zarr(store, group="losses", consolidated=False) as rows:
            data, losses = opened.load(), rows.load()
    except (OSError, KeyError, ValueError) as damage:
        raise StoreError(f"this store cannot be read: {damage}", file=str(store)) from damage
    version = data.attrs.get("schema_version")
    if version != SCHEMA_VERSION:
        raise StoreError(
            f"this version reads schema {SCHEMA_VERSION}",
            file=str(store),
            key="schema_version",
            value=version,
            fix="open it with the version that wrote it (attrs: version), or run the study again",
        )
    if data.attrs.get("result_hash") != (found := result_hash(data, losses)):
        raise StoreError(
            f"the arrays hash to {found}", file=str(store), key="result_hash", value=data.attrs.get("result_hash")
        )
    return data, losses
