"""Contagion: what a shock in one market liquidates and loses in every market, cross minus isolated margin.

A scenario that moves one market and leaves the others as they are (`scenarios.ShockScenario.alone`) is a row of
the matrix, every market a column. The two margin modes see the same paths, so their difference is paired. On one
stated path it is an outcome; on drawn paths it is a difference of means with an interval and a path count.
Floor: above measures, whose grid it reads and extends; below the reports.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from stress.grid import BY_MARKET, describe
from stress.measures import mean_over_blocks
from stress.vocabulary import Term

MODES = ("cross", "isolated")
PARTS = {"": "in the market", "_elsewhere": "in the other markets", "_total": "in all markets"}
_PATHS = Term("paths", "i8", "paths", ">= 0", "paths that both margin modes have seen", "contagion")


def extend(data: xr.Dataset, shocked: Mapping[str, str]) -> xr.Dataset:
    """Return the grid with the contagion matrix, or as it is where it holds none.

    Parameters
    ----------
    data : the grid (see `stress.measures.estimate`).
    shocked : the market that moves alone, by scenario; other scenarios are left out.

    New variables, on (shock, other axes of paths and cells, market): `contagion_X` with `_low`, `_high`, mean over
    paths of X under cross minus under isolated margin, USD, signed, for X in `grid.BY_MARKET`; the same summed over
    the markets that were not shocked (`contagion_X_elsewhere`) and over all (`_total`). `shocked_market` names the
    market of each shock. Blocks are independent, so their differences give Student's interval; with fewer than two
    blocks the bounds are not a number.
    """
    modes = data.indexes.get("margin_mode")
    if modes is None or not shocked or any(mode not in modes for mode in MODES):
        return data
    rows = data.sel(scenario=list(shocked)).rename(scenario="shock")
    cross, isolated = (rows.sel(margin_mode=mode, drop=True) for mode in MODES)
    used = (cross["block_paths"] > 0) & (cross["block_paths"] == isolated["block_paths"])
    count = cross["block_paths"].where(used, 0)
    out = data.assign_coords(
        shock=("shock", np.array(list(shocked), dtype=object)),
        shocked_market=("shock", np.array(list(shocked.values()), dtype=object)),
    )
    here = out["market"] == out["shocked_market"]
    for term in BY_MARKET:
        name = f"block_sum_{term.name}_by_market"
        difference = (cross[name] - isolated[name]).sum("component").where(used, 0.0)
        summed = {"": difference, "_elsewhere": difference.where(~here, 0.0).sum("market")}
        summed["_total"] = difference.sum("market")
        for part, values in summed.items():
            for end, bound in mean_over_blocks(values, count).items():
                meaning = f"cross minus isolated margin, {PARTS[part]}, mean over paths{_ENDS[end]}: "
                said = describe(term._replace(sign="signed"), meaning)
                out[f"contagion_{term.name}{part}{end}"] = bound.assign_attrs(said)
    out["contagion_paths"] = count.sum("block").assign_attrs(describe(_PATHS))
    return out


_ENDS = {"": "", "_low": ", lower bound of 95 %", "_high": ", upper bound of 95 %"}
