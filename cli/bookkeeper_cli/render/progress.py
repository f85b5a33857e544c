"""Long work: a bar on a terminal, nothing in a pipe."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Final

from bookkeeper_cli.render.streams import console, on_terminal

Progress = Callable[[int, int | None], None]
"""Called with what is done and the total, None where it is not known."""

_PER_SECOND: Final = 10


@contextlib.contextmanager
def progress(what: str, unit: str = "") -> Iterator[Progress]:
    """Show a bar (on the terminal, where messages go) while the block runs; it is gone afterwards."""
    if not on_terminal(errors=True):
        yield lambda done, total: None
        return
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn(f"{{task.completed:,.0f}}/{{task.fields[shown]}} {unit}", markup=False),
        TimeRemainingColumn(),
        console=console(errors=True),
        transient=True,
        refresh_per_second=_PER_SECOND,
    )
    with bar:
        task = bar.add_task(what, total=None, shown="?")

        def move(done: int, total: int | None) -> None:
            bar.update(task, completed=done, total=total, shown="?" if total is None else f"{total:,}")

        yield move
