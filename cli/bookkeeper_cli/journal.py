"""`ticket` and `ingest`: files lent to jobs without a network, and their journals taken in."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, Final

import typer

from bookkeeper_cli import catalogs, render
from bookkeeper_cli.app import noun, verb
from bookkeeper_cli.words import Json, whole

app = noun("Jobs without a network.")


@verb(app, "ticket", example="bookkeeper ticket zmumu-mass --count 100 --wall 8h --destination out/ --out tickets/")
def ticket(
    project: Annotated[str, typer.Argument(metavar="PROJECT", help="The name of an open project.")],
    files_per_process: Annotated[str | None, typer.Option(metavar="N", help="Lend no more files than this.")] = None,
    partition: Annotated[str | None, typer.Option(metavar="N", help="Lend this partition.")] = None,
    count: Annotated[str, typer.Option(metavar="M", help="Write so many tickets, as far as there are files.")] = "1",
    wall: Annotated[str, typer.Option(metavar="TIME", help="The wall-clock limit of the jobs.")] = "8h",
    grace: Annotated[
        str, typer.Option(metavar="TIME", help="What it may take beyond that to bring the journals home.")
    ] = "1h",
    destination: Annotated[
        str | None, typer.Option(metavar="D", help="The folder or URL that outputs go to, and nowhere else.")
    ] = None,
    validate: Annotated[str, typer.Option(metavar="LEVEL", help="How ingest proves them: deep or quick.")] = "deep",
    adopt: Annotated[bool, typer.Option("--adopt", help="Write where another catalog wrote.")] = False,
    out: Annotated[
        str, typer.Option(metavar="DIR|FILE", help="Where the tickets go; a FILE must not be there yet.")
    ] = ".",
    json: Json = False,
) -> None:
    """Lend files to jobs that will have no network: a signed ticket for each.

    For the wall-clock limit and the grace together the files are theirs. A ticket is a secret: its file is for you only.
    """
    from bookkeeper.journal import ticket as lend
    from bookkeeper.journal import tickets

    jobs = whole("--count", count) or 1
    with catalogs.writing() as database:
        written = lend(
            database,
            project,
            out=out,
            count=jobs,
            wall=wall,
            grace=grace,
            files_per_process=whole("--files-per-process", files_per_process),
            partition=whole("--partition", partition, least=0),
            destination=destination,
            validate=validate,
            adopt=adopt,
        )
    made = [(path, tickets.read(path).ticket) for path in written]
    if json:
        rows = [
            {
                "ticket": str(path),
                "process": one.process,
                "files": [file.name for file in one.files],
                "partition": one.partition,
                "expires_at": one.expires_at,
            }
            for path, one in made
        ]
        render.table(rows, [], as_json=True)
        return
    for path, one in made:
        render.say(f"{path}: process {one.process}, {render.count(len(one.files), 'file')}")
    if len(made) < jobs:
        render.note(f"{len(made)} of {jobs} tickets: no more files can be lent now")


_COUNTS: Final = ("committed", "already committed", "rolled back")


@verb(app, "ingest", example="bookkeeper ingest journals/*.journal")
def ingest(
    journals: Annotated[list[str], typer.Argument(metavar="JOURNAL…", help="What `work --ticket` wrote.")],
    discard_refused: Annotated[
        bool, typer.Option("--discard-refused/--keep-refused", help="Delete what refused journals stored.")
    ] = True,
    json: Json = False,
) -> int:
    """Take in journals of jobs without a network, in any order, twice or late: each gets a verdict.

    Exits 0 if every journal counts or was rolled back by its job; else as the first that does not: 10 incomplete,
    7 refused, 8 not authentic, 9 waiting for its storage.
    """
    from bookkeeper.journal import ingest as take_in

    with catalogs.writing() as database:
        verdicts = take_in(database, journals, discard=discard_refused)
    if json:
        render.table([dataclasses.asdict(one) for one in verdicts], [], as_json=True)
    else:
        for one in verdicts:
            _tell(one)
    return next((one.exit_code for one in verdicts if one.exit_code), 0)


_NEXT: Final = {
    "incomplete": "ingest it again when its job has ended; if the job was killed, its files are free when the lease has passed",
    "not authentic": "bring it again as its job wrote it, to the catalog that made its ticket",
    "waiting": "ingest it again when the storage answers",
}


def _tell(one: Any) -> None:
    reason = f": {one.reason}" if one.reason else ""
    files = f", {render.count(one.files, 'file')}" if one.verdict in _COUNTS[:2] else ""
    who = f" (process {one.process})" if one.process is not None else ""
    render.say(f"{one.journal}: {one.verdict}{reason}{files}{who}")
    for url in one.outputs:
        render.say(f"  {url}")
    for url in one.discarded:
        render.say(f"  deleted {url}")
    for url in one.kept:
        render.say(f"  kept {url}")
    if one.verdict in _NEXT:
        render.note(f"  → {_NEXT[one.verdict]}")
    if one.note:
        render.note(f"{one.journal}: {one.note}; `bookkeeper check --repair` publishes")
