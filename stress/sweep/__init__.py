"""The sweep: a plan of tasks, the work of one task, and any map function to run them.

A task is one block of paths, at one point of the path axes, through a tile of cells. It is small,
named and pure: the same task writes the same bytes wherever, whenever and in whatever order it
runs, so tiling, threads, processes and restarts never show in a result.
"""

from stress.sweep.block import compute, run_block
from stress.sweep.mapping import MapFunction, connect, execute, in_threads, on_dask
from stress.sweep.plan import Receipt, Task, cost
from stress.sweep.workbench import Workbench, forget, workbench

__all__ = [
    "MapFunction",
    "Receipt",
    "Task",
    "Workbench",
    "compute",
    "connect",
    "cost",
    "execute",
    "forget",
    "in_threads",
    "on_dask",
    "run_block",
    "workbench",
]
