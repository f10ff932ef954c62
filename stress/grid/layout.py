"""The shape of a run: axes, markets, blocks; and where in it a record belongs."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from stress.errors import StoreError
from stress.grid.terms import CELL_TERMS

_OWN_NAMES = {"paths", "failed", "market", "block", "component", "bin", "bin_edge", "row", "shock"}
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
