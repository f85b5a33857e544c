"""`submit`: run a spec, and show how it goes."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from bookkeeper_cli import catalogs, render
from bookkeeper_cli.app import noun, verb
from bookkeeper_cli.status import look, verdict
from bookkeeper_cli.words import Json, whole

if TYPE_CHECKING:
    from bookkeeper.catalog import Database

app = noun("Run what a spec describes.")

SECONDS: Final = (3.0, 0.5)
"""How often to show how it goes: in a pipe, on a terminal."""


@verb(app, "submit", example="bookkeeper submit mass.toml --jobs 4")
def submit(
    spec: Annotated[str, typer.Argument(metavar="SPEC.toml", help="The description of project, job and output.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would run; change nothing.")] = False,
    jobs: Annotated[str | None, typer.Option(metavar="N", help="Jobs at a time; else as the spec says.")] = None,
    json: Json = False,
) -> int:
    """Start or resume the project that a spec names, and run its jobs until no file is left.

    Exits 0 complete, 10 incomplete, 11 paused. Ctrl-C stops it in good order; the same command goes on.
    """
    number = whole("--jobs", jobs)
    if dry_run:
        return _show_plan(spec, json)
    return submit_spec(spec, number, as_json=json)


def _show_plan(path: str, as_json: bool) -> int:
    from bookkeeper.submit import plan

    from bookkeeper.errors import CatalogMissing
    from bookkeeper.spec import load

    spec = load(path)
    with contextlib.ExitStack() as stack:
        try:
            database: Database | None = stack.enter_context(catalogs.reading())
        except CatalogMissing:
            database = None
        planned = plan(spec, database)
    if as_json:
        render.json_object(planned.as_dict())
    else:
        for line in planned.lines():
            render.say(line)
    return 0


def submit_spec(path: str, jobs: int | None, *, as_json: bool) -> int:
    """Run a spec to its end; return the exit code: complete, incomplete, paused, or interrupted."""
    from bookkeeper.submit import submit as run

    from bookkeeper.spec import load

    spec = load(path)
    with catalogs.writing() as database:
        with _stopped_by_signals() as (stop, caught), _shown(database, quietly=as_json) as on_update:
            submitted = run(spec, database, jobs=jobs, on_update=on_update, stop=stop)
        view = look(database, submitted.project)
    if as_json:
        render.json_object(view)
    else:
        render.status_lines(view)
    return 128 + caught[0] if caught and not view["complete"] else verdict(view)


@contextlib.contextmanager
def _stopped_by_signals() -> Iterator[tuple[threading.Event, list[int]]]:
    """Let Ctrl-C and SIGTERM ask for a stop in good order; the second one interrupts."""
    stop, caught = threading.Event(), list[int]()

    def ask(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        caught.append(number)
        stop.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop, caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _shown(database: Database, *, quietly: bool) -> Iterator[Any]:
    """Show the screen of the request while its jobs run: in place, or a line now and then."""
    if quietly:
        yield lambda progress: None
        return
    with render.watching() as show:
        due = 0.0

        def on_update(progress: Any) -> None:
            nonlocal due
            if time.monotonic() >= due:
                due = time.monotonic() + SECONDS[render.on_terminal()]
                show(look(database, progress.project))

        yield on_update
