"""Finish what was left unfinished, where that is safe: publish, take back, collect.

Every step may be repeated, and may be killed at any instruction: the next repair goes on. Jobs, submit, recover and
other repairs may be at work meanwhile. Nothing is deleted but uploads of closed processes, and no final name is touched
that the catalog did not record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from bookkeeper import recovery, stageout
from bookkeeper.catalog import Database
from bookkeeper.check.storage import DESTINATIONS
from bookkeeper.check.temporaries import Claim, claim_on
from bookkeeper.database import Auditor
from bookkeeper.errors import BookkeeperError
from bookkeeper.ledger.restore import put_to_use
from bookkeeper.operations import Remote
from bookkeeper.publishing import publish_pending
from bookkeeper.transfers import tidying

REVOKING: Final = """
SELECT p.id, p.reason, j.name AS project FROM processes p JOIN projects j ON j.id = p.project_id
 WHERE p.state = 'revoking' ORDER BY p.id
"""

Step = Callable[[str], None]


def repair(database: Database, *, older_than: float | None = None, on_step: Step = lambda _: None) -> list[str]:
    """Finish what can be finished safely; return in words what was done, and what could not be.

    Committed outputs are published, half reopened processes taken back, uploads of closed processes deleted once
    their process has been over for ``older_than`` seconds (None: one lease of its own; sooner, a worker that has not
    heard of its end may still be writing). ``on_step`` is told each step before it is made.
    """
    put_to_use(database)
    return [
        *_publish(database, on_step),
        *_near_copies(database, on_step),
        *_take_back(database, on_step),
        *_collect(database, older_than, on_step),
    ]


def _publish(database: Database, on_step: Step) -> Iterator[str]:
    for url, problem in publish_pending(database, on_step=on_step):
        yield f"published {url}" if problem is None else f"not published: {problem}"


def _near_copies(database: Database, on_step: Step) -> Iterator[str]:
    """Give up what is overdue, and delete what lies near and is needed no more."""
    if isinstance(database, Remote):
        return
    if count := tidying.tend(database):
        yield f"took back {count} transfers that nobody made"
    if tidying.untidy(database):
        on_step("delete near copies of what has arrived")
        yield from tidying.tidy(database)


def _take_back(database: Database, on_step: Step) -> Iterator[str]:
    for row in database.rows(REVOKING):
        on_step(f"take back process {row['id']}")
        try:
            freed = recovery.reopen(database, row["project"], row["id"], row["reason"], on_step=on_step)
            yield f"took back process {row['id']}: {freed} files are free again"
        except BookkeeperError as error:
            yield f"process {row['id']} is not taken back yet: {error}"


def _collect(database: Database, older_than: float | None, on_step: Step) -> Iterator[str]:
    if isinstance(database, Remote):
        yield "not cleaned up: orphaned uploads are deleted by `bookkeeper check --repair` on the host of the catalog"
        return
    for row in database.rows(DESTINATIONS):
        destination = row["url"]
        try:
            if stageout.claimed_by(destination) == database.id:
                with database.auditor() as connection:
                    yield from _collect_in(connection, destination, older_than, on_step)
        except BookkeeperError as error:
            yield f"not cleaned up: {error}"


def _collect_in(connection: Auditor, destination: str, older_than: float | None, on_step: Step) -> Iterator[str]:
    for upload in stageout.temporaries(destination):
        if claim_on(connection, upload, older_than) is Claim.ORPHANED:
            on_step(f"delete {upload.url}")
            if stageout.discard(upload.url):
                yield f"deleted {upload.url}"
    if count := stageout.tidy(destination):
        yield f"deleted {count} empty upload folders in {destination}"
