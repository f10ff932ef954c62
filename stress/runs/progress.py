"""Progress and time left, on stderr."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

Progress = Callable[[int, int], None]


@contextlib.contextmanager
def progress_bar(title: str) -> Iterator[Progress]:
    """Show finished blocks and the time left on stderr; without a terminal, a line now and then."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines(title)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("tasks,"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, TextColumn("left"), console=console) as bar:
        shown = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(shown, completed=done, total=total)


class _Lines:
    """Progress for logs: one line every fifteen seconds.

    The pace is that since the first task was done: before it, everything was compiled.
    """

    def __init__(self, title: str) -> None:
        self.title = title
        self.printed = time.monotonic()
        self.first: tuple[float, int] | None = None

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if self.first is None:
            self.first = now, done
        if now - self.printed < 15 and done < total:
            return
        self.printed = now
        since, before = self.first
        left = f", {(now - since) / (done - before) * (total - done):.0f} s left" if done > before else ""
        print(f"{self.title}: {done} of {total} tasks{left}", file=sys.stderr)  # noqa: T201
