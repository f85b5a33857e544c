"""The catalog's side of publication: bring to their final names the outputs that count and whose workers could not.

Their storage was away, or their worker was killed between its commit and the renaming.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final, NamedTuple

from bookkeeper import stageout
from bookkeeper.catalog import Database
from bookkeeper.errors import BookkeeperError
from bookkeeper.ledger import outputs
from bookkeeper.operations import operation

PENDING: Final = """
SELECT o.id, o.process_id, o.destination, o.temp_url, o.final_url, o.size, o.checksum
  FROM outputs o JOIN processes p ON p.id = o.process_id
 WHERE o.state = 'committed' AND p.state = 'committed' ORDER BY o.id
"""

PENDING_OF: Final = """
SELECT o.id, o.process_id, o.destination, o.temp_url, o.final_url, o.size, o.checksum
  FROM outputs o JOIN processes p ON p.id = o.process_id
 WHERE o.state = 'committed' AND p.state = 'committed'
   AND o.request_id = (SELECT request_id FROM projects WHERE name = :project) ORDER BY o.id
"""


PENDING_BY: Final = """
SELECT o.id, o.process_id, o.destination, o.temp_url, o.final_url, o.size, o.checksum
  FROM outputs o JOIN processes p ON p.id = o.process_id
 WHERE o.process_id = :process AND o.state = 'committed' AND p.state = 'committed' ORDER BY o.id
"""

PENDING_IN: Final = "SELECT id FROM outputs WHERE process_id = :process AND state = 'committed'"


class Attempt(NamedTuple):
    """One output that was to be published, and why it could not be (None where it was)."""

    url: str
    problem: str | None


def publish_pending(
    database: Database,
    project: str | None = None,
    on_step: Callable[[str], None] = lambda _: None,
) -> list[Attempt]:
    """Publish and record every waiting output, of one project's request or of the whole catalog; return what came of it.

    Waits for its turn: one publisher at a time is what makes it safe behind URLs without an atomic rename. Where the
    catalog is behind a server, that publisher is the server, and the others are published from here.
    """
    if not pending(database, project):
        return []
    attempts: list[Attempt] = []
    with database.sole_publisher() as sole:
        for row in pending(database, project):
            if sole or "://" not in row["final_url"]:
                attempts.append(_publish(database, row, on_step))
    if not sole:
        attempts += publish_behind_urls(database, project)
    return attempts


@operation("read")
def pending(database: Database, project: str | None = None) -> list[dict[str, Any]]:
    """Return the outputs that count and were not yet seen under their final names."""
    if project is None:
        return database.rows(PENDING)
    return database.rows(PENDING_OF, {"project": project})


@operation("work", project="project", slow=True, again=True)
def publish_behind_urls(database: Database, project: str | None = None) -> list[Attempt]:
    """Publish what waits in destinations behind URLs that this catalog claimed: one publisher at a time."""

    def waiting() -> list[dict[str, Any]]:
        return [row for row in pending(database, project) if "://" in stageout.resolve(row["final_url"])]

    if not waiting():
        return []
    with database.sole_publisher():
        return [_publish(database, row, lambda _: None) for row in waiting()]


def publish_of(database: Database, process: int) -> list[Attempt]:
    """Publish the waiting outputs of one process. A storage that does not answer is found out before others wait for it."""
    rows, attempts = database.rows(PENDING_BY, {"process": process}), []
    for row in rows:
        try:
            stageout.require_claim(row["destination"], database.id)
        except BookkeeperError as error:
            attempts.append(Attempt(row["final_url"], str(error)))
            continue
        if "://" not in stageout.resolve(row["final_url"]):
            attempts.append(_publish(database, row, lambda _: None))
            continue
        with database.sole_publisher():
            if row in database.rows(PENDING_BY, {"process": process}):
                attempts.append(_publish(database, row, lambda _: None))
    return attempts


@operation("work", process="process", again=True)
def record_published(database: Database, process: int, output: int) -> None:
    """Record that an output of a process was seen under its final name."""
    if not any(row["id"] == output for row in database.rows(PENDING_IN, {"process": process})):
        return
    database.run(partial(outputs.published, process=process, output_ids=[output]))


def _publish(database: Database, row: dict[str, Any], on_step: Callable[[str], None]) -> Attempt:
    on_step(f"publish {row['final_url']}")
    try:
        stageout.require_claim(row["destination"], database.id)
        stageout.publish(row["temp_url"], row["final_url"], size=row["size"], checksum=row["checksum"], exclusive=True)
        record_published(database, row["process_id"], row["id"])
    except BookkeeperError as error:
        return Attempt(row["final_url"], str(error))
    return Attempt(row["final_url"], None)
