"""Prove what a catalog says of itself: the database is whole, and no invariant is broken.

Every query is one statement, which sees one moment: jobs at work do not disturb it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from typing import Final

from bookkeeper.catalog import NOW, Database
from bookkeeper.check.finding import Finding, Progress, about
from bookkeeper.database import Auditor
from bookkeeper_schema import invariants

BROKEN: Final = (
    "the catalog contradicts itself: stop the jobs, copy it with `bookkeeper backup`, and report it; "
    "a backup from before may be the way back"
)

CONSTRAINT: Final = ("CHECK constraint failed", "NULL value in")
"""What the proof of a whole database also tells, and is no damage to it."""

NAMES: Final = {
    "file": "SELECT name FROM files WHERE id = ?",
    "request": "SELECT name FROM requests WHERE id = ?",
    "project": "SELECT name FROM projects WHERE id = ?",
}

NUMBERED: Final = re.compile(r"\b(file|request|project) (\d+)\b")

NOTED: Final = (
    (
        "live-processes",
        "processes are at work",
        "they end by themselves; `bookkeeper status` shows them",
        f"""SELECT 'process ' || id || COALESCE(' on ' || node, '') FROM processes
             WHERE state IN ('active', 'staged') AND lease_until >= {NOW} ORDER BY id""",
    ),
    (
        "expired-leases",
        "processes have not been heard of for longer than their lease",
        "the next process that starts, or asks for files, rolls them back",
        f"""SELECT 'process ' || id || COALESCE(' on ' || node, '') FROM processes
             WHERE state IN ('active', 'staged') AND lease_until < {NOW} ORDER BY id""",
    ),
    (
        "revoking-processes",
        "processes are half reopened: their files count until their objects are gone",
        "`bookkeeper check --repair`, or the same `bookkeeper project reopen` again, goes on",
        "SELECT 'process ' || id || ': ' || reason FROM processes WHERE state = 'revoking' ORDER BY id",
    ),
    (
        "shared-locations",
        "locations belong to more than one file name: a project over both counts the same data twice",
        "`bookkeeper file retire` withdraws the name that is one too many",
        """SELECT x.url || ' is ' || group_concat(f.name, ' and ') FROM locations x JOIN files f ON f.id = x.file_id
            WHERE f.state = 'current' GROUP BY x.url HAVING count(*) > 1 ORDER BY x.url""",
    ),
)


def damage(connection: Auditor, database: Database, *, full: bool) -> Iterator[Finding]:
    """Find damage to the database itself, and references to what is not there: where nobody else watches over it."""
    if database.dialect != "sqlite":
        return
    rows = connection.execute("PRAGMA integrity_check" if full else "PRAGMA quick_check").fetchall()
    said = [str(row[0]) for row in rows if row[0] != "ok"]
    broken = [what for what in said if what.startswith(CONSTRAINT)]
    yield from about(
        "violation",
        "damaged-database",
        f"the database {database.name} is damaged (nothing else was looked at)",
        (what for what in said if what not in broken),
        "restore the newest backup, then `bookkeeper check`; find out what the disk did",
    )
    yield from about("violation", "broken-constraint", "rows are what their tables forbid", broken, BROKEN)
    yield from about(
        "violation",
        "dangling-reference",
        "rows refer to what is not there",
        (
            f"a row of {row['table']} to {row['parent']}"
            for row in connection.execute("PRAGMA foreign_key_check").fetchall()
        ),
        BROKEN,
    )


def broken_invariants(connection: Auditor, on_progress: Progress) -> Iterator[Finding]:
    """Find every thing that breaks an invariant."""
    every = invariants.load()
    for number, invariant in enumerate(every, 1):
        words = f"This does not hold: {invariant.words.rstrip('.')}"
        things = (str(row[0]) for row in connection.execute(invariant.query))
        yield from about("violation", invariant.code, words, things, BROKEN, spell=partial(_with_names, connection))
        on_progress("invariants", number, len(every))


def _with_names(connection: Auditor, thing: str) -> str:
    """Write names for the numbers of files, requests and projects, where they have any."""

    def name(match: re.Match[str]) -> str:
        row = connection.execute(NAMES[match[1]], (int(match[2]),)).fetchone()
        return match[0] if row is None else f"{match[1]} {row[0]}"

    return NUMBERED.sub(name, thing)


def unfinished(connection: Auditor, *, stamped: bool) -> Iterator[Finding]:
    """Note what is under way."""
    for code, words, remedy, query in NOTED:
        yield from about("note", code, words, (str(row[0]) for row in connection.execute(query)), remedy)
    if stamped:
        message = "this catalog is a backup, or was moved here, and was not put to use yet"
        yield Finding("note", "unused-backup", message, "the first command that writes puts it to use")
