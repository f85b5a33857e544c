"""Prove a catalog: what must hold in it, and that its outputs are where it says. Repair what is safe to repair.

`check` looks and changes nothing; it may run beside jobs at work. What breaks an invariant is a *violation*; what is
only unfinished, or not known to the catalog, is a *note*.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from bookkeeper.catalog import Database
from bookkeeper.check import soundness, storage
from bookkeeper.check.finding import Finding, Progress, silent
from bookkeeper.check.repair import repair
from bookkeeper.operations import Remote, operation

__all__ = ["Finding", "Progress", "check", "repair"]


def check(
    database: Database,
    *,
    storage: bool = True,
    checksum: bool = False,
    full: bool = False,
    on_progress: Progress = silent,
) -> list[Finding]:
    """Return what is wrong with a catalog (violations first) and what is worth a note; an empty list when all is well.

    ``storage=False`` looks at the catalog alone. ``checksum=True`` reads every published output whole. ``full=True``
    also compares every index of the database with its table. Through a server, the catalog alone is looked at. ``on_progress(what, done, total)`` is called on the way.
    """
    if isinstance(database, Remote):
        return [*proved(database, full=full), *(_ELSEWHERE if storage else ())]
    found = list(_findings(database, with_storage=storage, checksum=checksum, full=full, on_progress=on_progress))
    return sorted(found, key=lambda finding: finding.severity != "violation")


@operation("operate", slow=True, again=True)
def proved(database: Database, *, full: bool = False) -> list[Finding]:
    """Return what is wrong with a catalog, without a look at destinations."""
    return check(database, storage=False, full=full)


_ELSEWHERE: Final = (
    Finding(
        "note",
        "destinations-not-looked-at",
        "what lies in the destinations was not compared with the catalog: that is done on the host of the catalog",
        "there, `bookkeeper check`",
    ),
)


def _findings(
    database: Database, *, with_storage: bool, checksum: bool, full: bool, on_progress: Progress
) -> Iterator[Finding]:
    with database.auditor() as connection:
        damaged = list(soundness.damage(connection, database, full=full))
        yield from damaged
        if any(finding.code == "damaged-database" for finding in damaged):
            return
        yield from soundness.broken_invariants(connection, on_progress)
        yield from soundness.unfinished(connection, stamped=database.stamped)
        if with_storage:
            yield from storage.survey(connection, database.id, checksum=checksum, on_progress=on_progress)
