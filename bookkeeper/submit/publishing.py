"""Publish what workers committed and could not publish: their storage was away, or they were killed in between."""

from __future__ import annotations

from typing import Final

from bookkeeper import stageout
from bookkeeper.catalog import Database
from bookkeeper.errors import BookkeeperError
from bookkeeper.ledger import outputs

PENDING: Final = """
SELECT o.id, o.destination, o.temp_url, o.final_url, o.size, o.checksum
  FROM outputs o JOIN processes p ON p.id = o.process_id
 WHERE o.state = 'committed' AND p.state = 'committed'
   AND o.request_id = (SELECT request_id FROM projects WHERE name = :name) ORDER BY o.id
"""


def publish_pending(database: Database, project: str) -> list[str]:
    """Bring what counts in a request and has not its final name yet to it; return in words what could not be done.

    Waits for its turn: one publisher at a time makes it safe behind URLs without an atomic rename.
    """
    if not database.rows(PENDING, {"name": project}):
        return []
    problems: list[str] = []
    with database.sole_publisher():
        for row in database.rows(PENDING, {"name": project}):
            try:
                stageout.require_claim(row["destination"], database.id)
                stageout.publish(
                    row["temp_url"], row["final_url"], size=row["size"], checksum=row["checksum"], exclusive=True
                )
                with database.transaction() as tx:
                    outputs.published(tx, [row["id"]])
            except BookkeeperError as error:
                problems.append(str(error))
    return problems
