"""A catalog in which everything happened, by the moves that do it: what `check` must find nothing wrong with."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from bookkeeper.api import Catalog, Project
from bookkeeper.ledger import SqlLedger
from bookkeeper.process import Process
from bookkeeper.protocol import FileMark, Manifest, Mark
from ledgers import new_catalog

ADLER = "adler32:00000001"


def declare(catalog: Catalog, count: int, *, update: bool = False, size: int = 10) -> None:
    """Declare files f00, f01, … of ``size`` bytes; they need not lie anywhere."""
    catalog.declare_files(
        ({"name": f"f{number:02}", "size": size, "checksum": ADLER} for number in range(count)), update=update
    )


def started(folder: Path, files: int = 8, *, catalog: Catalog | None = None, **rules: Any) -> tuple[Catalog, Project]:
    """Create a catalog in ``folder``, or take an empty one, with one project ``mass`` over ``files`` files."""
    catalog = catalog or new_catalog(folder / "bookkeeper.db")
    declare(catalog, files)
    catalog.define_dataset("all", names=["f*"])
    return catalog, catalog.start_project("mass", dataset="all", **rules)


def produce(process: Process, folder: Path, files: int = 2, *, commit: bool = True) -> Process:
    """Let a process consume files and stage out one output to ``folder/out``; commit it."""
    for file in process.next_files(files):
        file.consumed(entries=1)
    source = folder / f"payload-{process.id}.txt"
    source.write_text(f"made by {process.id}\n")
    process.stage_out(source, folder / "out", "mass-{process}.txt", validate=None)
    if commit:
        process.commit()
    return process


def manifest(process: Process) -> Manifest:
    """What a job says that consumed all of its files."""
    return Manifest([FileMark(file.id, Mark.CONSUMED, 1) for file in process.files], process.outputs)


def commit_only(catalog: Catalog, process: Process) -> None:
    """Commit, and die before anything is published."""
    SqlLedger(catalog.database).commit(process.key, manifest(process))


def abandon(catalog: Catalog, process: Process) -> None:
    """Roll back from outside, as an expired lease does: the worker knows nothing of it and deletes nothing."""
    SqlLedger(catalog.database).roll_back(process.key, "given up")


def lived(folder: Path, catalog: Catalog | None = None) -> tuple[Catalog, Project]:
    """A catalog whose project saw a commit, a roll back, a skip, a park, a reopening, and a recovery under way.

    Processes: 1 committed f00 f01; 2 staged, then rolled back; 3 committed with one file skipped; 4 revoked; then recovered, and
    5 (of the recovery project) is live with a file held and one opened. A second request has partitions.
    """
    catalog, project = started(folder, 12, catalog=catalog, files_per_process=2)
    produce(project.start_process(), folder)
    failed = produce(project.start_process(), folder, commit=False)
    SqlLedger(catalog.database).stage(failed.key, manifest(failed))
    failed.roll_back("the payload crashed")
    partly = project.start_process()
    first, second = partly.next_files(2)
    first.consumed(entries=1)
    second.skipped("2 baskets unreadable")
    partly.commit(no_output=True)
    produce(project.start_process(), folder)
    project.reopen(4, "the output was found to be wrong")
    project.park(["f11"], "known to be bad")
    recovery = project.recover()
    assert recovery is not None
    produce(recovery.start_process(), folder)
    live = recovery.start_process(lease="1h")
    live.next_files(2)[0].opened()
    parts = catalog.start_project("parts", dataset="all", partition_by={"files": 4})
    whole = parts.start_process()
    for file in whole.next_files(4):
        file.consumed(entries=1)
    whole.commit(no_output=True)
    return catalog, project


@contextmanager
def raw(catalog: Catalog) -> Iterator[sqlite3.Connection]:
    """A connection to the catalog's database on which nothing is refused: for mutants."""
    with closing(sqlite3.connect(catalog.database.path, isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute("PRAGMA ignore_check_constraints = ON")
        triggers = connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for (name,) in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        yield connection


def violations(catalog: Catalog, **options: Any) -> set[str]:
    """The codes of the invariants that `check` finds broken."""
    from bookkeeper.check import check

    return {finding.code for finding in check(catalog.database, **options) if finding.severity == "violation"}


def notes(catalog: Catalog, **options: Any) -> set[str]:
    """The codes of what `check` notes."""
    from bookkeeper.check import check

    return {finding.code for finding in check(catalog.database, **options) if finding.severity == "note"}
