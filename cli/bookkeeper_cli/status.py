"""`status`, `outputs`, `logs`, `lineage`: see what is going on, and what came of it."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from bookkeeper_cli import catalogs, render
from bookkeeper_cli.app import noun, verb
from bookkeeper_cli.render import Column
from bookkeeper_cli.views import look, over, verdict
from bookkeeper_cli.words import Json, Project, process_number, whole

if TYPE_CHECKING:
    from bookkeeper.catalog import Database

app = noun("See what is going on, and what came of it.")

POLL_SECONDS: Final = 1.0

_LINEAGE: Final = """
SELECT output, output_url, output_state, process_id, project, file FROM lineage
 WHERE output_url = :what OR file = :what ORDER BY output_url, file
"""
_LINEAGE_BY_NAME: Final = """
SELECT output, output_url, output_state, process_id, project, file FROM lineage
 WHERE output_url LIKE :tail ESCAPE '!' ORDER BY output_url, file
"""


@verb(app, "status", example="bookkeeper status zmumu-mass --wait")
def status(
    project: Project,
    wait: Annotated[bool, typer.Option("--wait", help="Follow until it is complete, paused or ended.")] = False,
    json: Json = False,
) -> int:
    """Show a request on one screen: files by state, processes, reasons, rate, and what to type next.

    With --wait, the exit code tells complete (0), incomplete (10) and paused (11).
    """
    with catalogs.reading() as database:
        view = look(database, project)
        if wait and not over(view):
            view = _follow(database, project, view, quietly=json)
    if json:
        render.json_object(view)
    else:
        render.status_lines(view)
    return verdict(view) if wait else 0


def _follow(database: Database, project: str, view: dict[str, Any], *, quietly: bool) -> dict[str, Any]:
    tick = threading.Event()
    if quietly:
        while not over(view):
            tick.wait(POLL_SECONDS)
            view = look(database, project)
        return view
    with render.watching() as show:
        while True:
            show(view)
            if over(view):
                return view
            tick.wait(POLL_SECONDS)
            view = look(database, project)


@verb(app, "outputs", example="hadd -f all.root $(bookkeeper outputs zmumu-mass --paths)")
def outputs(
    project: Project,
    paths: Annotated[bool, typer.Option("--paths", help="Print the paths or URLs only, one per line.")] = False,
    json: Json = False,
) -> None:
    """List the published outputs of a request: URL, size, checksum, entries, process."""
    from bookkeeper import projects, recovery

    with catalogs.reading() as database:
        now = projects.status(database, project)
        rows = list(recovery.published(database, project))
    if paths:
        for row in rows:
            render.line(row["url"])
    else:
        columns = (
            Column("url"),
            Column("size", show=render.size, right=True),
            Column("checksum"),
            Column("entries", show=render.number, right=True),
            Column("process_id", "process", right=True),
        )
        render.table(rows, columns, as_json=json, empty=f"{now.request} has no published output yet")
    if not now.complete:
        render.note(f"note: {now.request} is not complete: {now.committed:,} of {now.files:,} files are committed")


@verb(app, "logs", example="bookkeeper logs 17 --stderr --tail 20")
def logs(
    process: Annotated[str, typer.Argument(metavar="PROCESS", help="The number of a process.")],
    stdout: Annotated[bool, typer.Option("--stdout", help="Only what it wrote to stdout.")] = False,
    stderr: Annotated[bool, typer.Option("--stderr", help="Only what it wrote to stderr.")] = False,
    tail: Annotated[str | None, typer.Option(metavar="N", help="Only the last N lines of each.")] = None,
    job: Annotated[
        bool,
        typer.Option("--job", help="What its batch job printed, beside what the command wrote: the worker's words."),
    ] = False,
    json: Json = False,
) -> None:
    """Print what the command of a process wrote. Of very long logs, the beginning and the end are kept."""
    number, last = process_number("PROCESS", process), whole("--tail", tail)
    with catalogs.reading() as database:
        if job:
            from bookkeeper.watching import log_of_job

            out, err, truncated = log_of_job(database, number)
        else:
            from bookkeeper import logs as kept

            out, err, truncated = kept.read(database, number)
    found = {"stdout": out if stdout or not stderr else None, "stderr": err if stderr or not stdout else None}
    shown = {name: _tail(text, last) for name, text in found.items() if text is not None}
    if json:
        render.json_object({"process_id": number, **shown, "truncated": truncated})
        return
    for name, text in shown.items():
        if len(shown) > 1 and text:
            render.line(f"── {name} of process {number}")
        render.raw(text if text.endswith("\n") or not text else text + "\n")
    if not any(shown.values()):
        render.note(f"process {number} wrote nothing that was kept")


def _tail(text: str, lines: int | None) -> str:
    return text if lines is None else "".join(text.splitlines(keepends=True)[-lines:])


@verb(app, "lineage", example="bookkeeper lineage mass-17.root")
def lineage(
    what: Annotated[
        str, typer.Argument(metavar="OUTPUT|FILE", help="The name or URL of an output, or the name of a file.")
    ],
    json: Json = False,
) -> None:
    """Show which files an output contains, or which outputs a file is in."""
    with catalogs.reading() as database:
        rows = database.rows(_LINEAGE, {"what": what})
        if not rows and "/" in what and "://" not in what:
            rows = database.rows(_LINEAGE, {"what": os.path.abspath(what)})  # noqa: PTH100 - as outputs are recorded
        elif not rows and "/" not in what:
            escaped = what.replace("!", "!!").replace("%", "!%").replace("_", "!_")
            rows = database.rows(_LINEAGE_BY_NAME, {"tail": f"%/{escaped}"})
        if not rows:
            from bookkeeper import files

            files.get(database, what)
    columns = (
        Column("output_url", "output"),
        Column("output_state", "state"),
        Column("process_id", "process", right=True),
        Column("project"),
        Column("file"),
    )
    render.table(rows, columns, as_json=json, empty=f"{what} is in no output yet")
