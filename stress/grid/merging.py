"""Merging block records, in any order, into the raw grid and its loss rows.

Sums over blocks are correctly rounded (`math.fsum`), hence the same for any order.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from stress.grid.layout import Layout, Piece
from stress.grid.records import Record, array_hash
from stress.grid.terms import AVERAGED, BIN_EDGES, BY_MARKET, CELL_TERMS, EVENTS, LOSS_TERMS, describe
from stress.vocabulary import MARKET_OUTCOMES, PATH_OUTCOMES, Term

LOSS_ROWS = 1_000_000  # rows of the group `losses`, over the whole run


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
        if piece.first_cell == 0:  # the piece that took the hash of the block's paths
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
        if term in BY_MARKET:
            blocked = market_sums[..., index, None, :]
            name = f"block_sum_{term.name}_by_market"
            build.add(name, blocked, ("block", "component", "market"), term, "sum over the block: ")
    for index, term in enumerate(CELL_TERMS):
        build.add(term.name, constants[..., index], (), term)
    data = build.dataset
    data["liquidatable_at_start"] = data["mean_liquidatable_at_start"]
    nothing = total == 0
    loss = next(term for term in AVERAGED if term.name == "mutualised_loss")
    build.add("worst_loss", np.where(nothing, np.nan, worst), (), loss, "largest of all paths: ")
    build.add(
        "ledger_residual",
        np.where(nothing, np.nan, residual),
        (),
        next(term for term in PATH_OUTCOMES if term.name == "ledger_residual"),
    )
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
