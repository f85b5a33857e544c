"""Publish what workers committed and could not publish: a storage was away, or has no rename that never replaces."""

from __future__ import annotations

import fcntl
import os
from typing import Final

from bookkeeper import stageout
from bookkeeper.catalog import Database
from bookkeeper.errors import StorageError
from bookkeeper.ledger import outputs

PENDING: Final = """
SELECT o.id, o.temp_url, o.final_url, o.size, o.checksum
  FROM outputs o JOIN processes p ON p.id = o.process_id
 WHERE o.state = 'committed' AND p.state = 'committed'
   AND o.request_id = (SELECT request_id FROM projects WHERE name = :name) ORDER BY o.id
"""


def publish_pending(database: Database, project: str) -> list[str]:
    """Bring what counts in a request and has not its final name yet to it; return in words what could not be done.

    Only one caller at a time does it, for the sake of stores without a rename that never replaces.
    """
    problems: list[str] = []
    pending = database.rows(PENDING, {"name": project})
    if not pending:
        return problems
    try:
        database.folder.mkdir(exist_ok=True)
        lock = os.open(database.folder / "publish.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        return [f"{error.filename}: {error.strerror}"]
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for row in pending:
            try:
                stageout.publish(
                    row["temp_url"], row["final_url"], size=row["size"], checksum=row["checksum"], exclusive=True
                )
            except StorageError as error:
                problems.append(str(error))
                continue
            with database.transaction() as tx:
                outputs.published(tx, [row["id"]])
    except BlockingIOError:
        return problems  # another is at it
    finally:
        os.close(lock)
    return problems
