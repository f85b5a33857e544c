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

PENDING: Final = """
SELECT o.id, o.destination, o.temp_url, o.final_url, o.size, o.checksum
  FROM outputs o JOIN processes p ON p.id = o.process_id
 WHERE o.state = 'committed' AND p.state = 'committed' ORDER BY o.id
"""

PENDING_OF: Final = """
SELECT o.id, o.destination, o.temp_url, o.final_url, o.size, o.checksum
  FROM outputs o JOIN processes p ON p.id = o.process_id
 WHERE o.state = 'committed' AND p.state = 'committed'
   AND o.request_id = (SELECT request_id FROM projects WHERE name = :project) ORDER BY o.id
"""


class Attempt(NamedTuple):
    """One output that was to be published, and why it could not be (None where it was)."""

    url: str
    problem: str | None


def publish_pending(
    database: Database,
    project: str | None = None,
    on_step: Callable[[str], None] = lambda _: None,
    *,
    remote_only: bool = False,
) -> list[Attempt]:
    """Publish and record every waiting output, of one project's request or of the whole catalog; return what came of it.

    ``remote_only`` leaves out paths, which may lie on another host and which workers publish by themselves.

    Waits for its turn: one publisher at a time is what makes it safe behind URLs without an atomic rename.
    """
    query, of = (PENDING, {}) if project is None else (PENDING_OF, {"project": project})

    def waiting() -> list[dict[str, Any]]:
        return [row for row in database.rows(query, of) if not remote_only or "://" in row["final_url"]]

    if not waiting():
        return []
    attempts: list[Attempt] = []
    with database.sole_publisher():
        for row in waiting():
            on_step(f"publish {row['final_url']}")
            problem = None
            try:
                stageout.require_claim(row["destination"], database.id)
                stageout.publish(
                    row["temp_url"], row["final_url"], size=row["size"], checksum=row["checksum"], exclusive=True
                )
                database.run(partial(outputs.published, output_ids=[row["id"]]))
            except BookkeeperError as error:
                problem = str(error)
            attempts.append(Attempt(row["final_url"], problem))
    return attempts
