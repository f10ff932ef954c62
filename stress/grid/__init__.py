"""The store: what a block leaves behind, how blocks merge, how the grid is written and read.

A block record is a plain mapping of arrays, one file per task. The grid is one Zarr store that opens
with `xarray.open_zarr` alone; its group `losses` holds the paths with a loss as rows. Block counts
are integers; weights are integers in units of 2**-32.
"""

from stress.grid.layout import Layout, Piece, refuse_axes
from stress.grid.merging import merge
from stress.grid.records import (
    Record,
    array_hash,
    empty_cell,
    read_record,
    reduce_cell,
    stack_cells,
    write_record,
)
from stress.grid.store import read, result_hash, write
from stress.grid.terms import (
    AVERAGED,
    BIN_EDGES,
    BINS_PER_DECADE,
    BY_MARKET,
    CELL_TERMS,
    EVENTS,
    LOSS_TERMS,
    NOMINAL_WEIGHT,
    describe,
)

__all__ = [
    "AVERAGED",
    "BINS_PER_DECADE",
    "BIN_EDGES",
    "BY_MARKET",
    "CELL_TERMS",
    "EVENTS",
    "LOSS_TERMS",
    "NOMINAL_WEIGHT",
    "Layout",
    "Piece",
    "Record",
    "array_hash",
    "describe",
    "empty_cell",
    "merge",
    "read",
    "read_record",
    "reduce_cell",
    "refuse_axes",
    "result_hash",
    "stack_cells",
    "write",
    "write_record",
]
