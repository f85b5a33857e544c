"""`init`, `check`, `sql`, `backup`, `validate`: the catalog as a whole, and files by hand."""

from __future__ import annotations

import itertools
import shlex
from typing import Annotated, Any, Final

import typer

from bookkeeper.errors import QueryError, Unsound, UsageError
from bookkeeper_cli import catalogs, render
from bookkeeper_cli.app import noun, verb
from bookkeeper_cli.render import Column
from bookkeeper_cli.words import Json

app = noun("The catalog as a whole.")


@verb(app, "init", example="bookkeeper init")
def init(json: Json = False) -> None:
    """Create the catalog, or upgrade the one that is there."""
    with catalogs.creating() as (database, fresh):
        if json:
            render.json_object({"url": database.url, "id": database.id, "created": fresh})
        elif fresh:
            render.say(f"created the catalog {database.name}")
            render.next_step("bookkeeper file declare 'data/*.root'")
        else:
            render.say(f"the catalog {database.name} is there and up to date")


@verb(app, "check", example="bookkeeper check --repair")
def check(
    repair: Annotated[
        bool, typer.Option("--repair", help="Publish what is committed, and delete orphaned temporary files.")
    ] = False,
    storage: Annotated[bool, typer.Option(help="Look at the destinations too.")] = True,
    checksum: Annotated[bool, typer.Option("--checksum", help="Read every published output whole.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Compare every index of the database with its table.")] = False,
    json: Json = False,
) -> int:
    """Prove that the catalog is sound, and look for what a crash may have left.

    Exits 0 unless an invariant is violated (14): orphans, live leases and outputs to publish are notes.
    """
    from bookkeeper import check as checking

    repaired: list[str] = []
    if repair:
        with catalogs.writing() as database, render.progress("repairing") as move:
            steps = itertools.count(1)
            repaired = checking.repair(database, on_step=lambda _: move(next(steps), None))
    with catalogs.reading() as database, render.progress("checking") as move:
        found = checking.check(
            database,
            storage=storage,
            checksum=checksum,
            full=full,
            on_progress=lambda _, done, total: move(done, total),
        )
    findings = [finding.as_dict() for finding in found]
    violations = sum(finding["severity"] == "violation" for finding in findings)
    if json:
        render.json_object({"sound": not violations, "repaired": repaired, "findings": findings})
    else:
        _tell(findings, repaired, violations)
    return Unsound.exit_code if violations else 0


def _tell(findings: list[dict[str, Any]], repaired: list[str], violations: int) -> None:
    for step in repaired:
        render.say(f"repaired: {step}")
    for finding in findings:
        render.say(f"{finding['severity']}: {finding['message']}")
        if finding["remedy"]:
            render.say(f"  → {finding['remedy']}")
    if violations:
        render.say(f"the catalog is not sound: {render.count(violations, 'violation')}")
    else:
        notes = f", {render.count(len(findings), 'note')}" if findings else ""
        render.say(f"the catalog is sound{notes}")


@verb(app, "sql", example='bookkeeper sql "SELECT project, files, committed FROM project_summary"')
def sql(
    query: Annotated[str, typer.Argument(metavar="QUERY", help="One SELECT statement; - reads it from stdin.")],
    json: Json = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
) -> None:
    """Answer one SQL query, read-only whatever is typed: over the tables and the documented views."""
    if json and csv:
        raise UsageError("--json and --csv exclude each other", remedy="leave one of them out")
    if query == "-":
        import sys

        query = sys.stdin.read()
    with catalogs.reading() as database:
        names, rows = database.table(query)
    if not names:
        raise QueryError("this statement asks for nothing", remedy="only SELECT is answered")
    keys = _distinct(names)
    found = [dict(zip(keys, row, strict=True)) for row in rows]
    render.table(found, [Column(key, key) for key in keys], as_json=json, as_csv=csv, empty="no rows")


def _distinct(names: list[str]) -> list[str]:
    """Return column names, those that repeat with a number."""
    seen: dict[str, int] = {}
    keys = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        keys.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return keys


@verb(app, "backup", example="bookkeeper backup /backup/bookkeeper-2025-06-01.db")
def backup(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Where to write it; nothing is overwritten.")],
    json: Json = False,
) -> None:
    """Write a consistent copy of the catalog while jobs run.

    The copy is stamped: when it is put to use, every process that ran at the time is fenced.
    """
    from bookkeeper.backup import backup as copy

    with catalogs.reading() as database, render.progress("backing up", "pages") as move:
        info = copy(database, file, on_progress=move)
    if json:
        render.json_object(info.as_dict())
        return
    live = f"; {render.count(info.live, 'process', 'processes')} at work will be fenced there" if info.live else ""
    render.say(f"wrote {info.path}, {render.size(info.size)}{live}")
    render.next_step(f"bookkeeper --catalog {shlex.quote('sqlite:///' + info.path)} check   (how to use it)")


_VALID: Final = (
    Column("path"),
    Column("level"),
    Column("size", show=render.size, right=True),
    Column("entries"),
    Column("unproved", "not proved"),
)


@verb(app, "validate", example="bookkeeper validate out/mass-17.root")
def validate(
    paths: Annotated[list[str], typer.Argument(metavar="PATH…", help="Files on this host.")],
    quick: Annotated[
        bool, typer.Option("--quick", help="Look at the beginning, the end and the entries only.")
    ] = False,
    json: Json = False,
) -> int:
    """Prove files whole: format, structure, every compressed block. Says what it cannot prove.

    Exits 8 if any file is not what it should be.
    """
    from bookkeeper.errors import ValidationError
    from bookkeeper.validation import validate as prove

    good: list[dict[str, Any]] = []
    bad: list[ValidationError] = []
    with render.progress("validating", "files") as move:
        for done, path in enumerate(paths):
            move(done, len(paths))
            try:
                proof = prove(path, "quick" if quick else "deep")
            except ValidationError as error:
                bad.append(error)
            else:
                good.append(
                    {
                        "path": path,
                        "level": proof.level,
                        "size": proof.size,
                        "entries": dict(proof),
                        "checks": list(proof.checks),
                        "unproved": list(proof.unproved),
                    }
                )
    if good or json:
        render.table(good, _VALID, as_json=json)
    for fault in bad:
        remedy = fault.remedy or "take a good copy of the file"
        render.error(fault.message, remedy, fault.exit_code, as_json=json)
    return ValidationError.exit_code if bad else 0
