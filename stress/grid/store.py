"""The Zarr store (version 3): one hash over its arrays, written once, checked when read."""

from __future__ import annotations

import os
import shutil
import warnings
from pathlib import Path

import xarray as xr

from stress.errors import StoreError
from stress.grid.records import array_hash
from stress.vocabulary import SCHEMA_VERSION


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
