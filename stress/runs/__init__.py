"""Runs: prepare a folder, sweep its blocks, finish the grid; open, inspect, compare and check it later."""

from stress.runs.comparison import Comparison, compare, comparison_table
from stress.runs.finished import Run, open_run, trace_table
from stress.runs.folder import Place, lock, prepare, write_whole
from stress.runs.job import Swept, finalize, run, sweep_blocks
from stress.runs.progress import progress_bar

__all__ = [
    "Comparison",
    "Place",
    "Run",
    "Swept",
    "compare",
    "comparison_table",
    "finalize",
    "lock",
    "open_run",
    "prepare",
    "progress_bar",
    "run",
    "sweep_blocks",
    "trace_table",
    "write_whole",
]
