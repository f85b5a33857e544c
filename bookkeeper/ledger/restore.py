"""The first opening of a backup: raise the epoch and fence every process of the old time line.

Jobs that ran when the backup was taken may have committed since in the original; here nobody knows. Their processes
are rolled back, so their tokens speak for nothing; `check` lists what lies in the destinations unknown.
"""

from __future__ import annotations

from typing import Final

from bookkeeper.catalog import NOW, Database, Tx
from bookkeeper.events import record
from bookkeeper.ledger.giveback import fence

STAMP: Final = f"UPDATE catalog SET stamped_at = {NOW}"

RAISE: Final = "UPDATE catalog SET epoch = epoch + 1, stamped_at = NULL WHERE stamped_at IS NOT NULL RETURNING epoch"

WHO: Final = "SELECT uuid, epoch FROM catalog"

RESTORED: Final = "the catalog was restored from a backup"
"""Why the processes of the old time line were rolled back: in the original they may have gone on."""

LIVE: Final = "SELECT id FROM processes WHERE state IN ('active', 'staged')"


def raise_epoch(tx: Tx) -> tuple[str, int]:
    """Put a stamped catalog to use; return its UUID and epoch. Another opener may have done it already."""
    row = tx.run(RAISE).fetchone()
    if row is not None:
        fenced = sum(fence(tx, process, RESTORED) for (process,) in tx.run(LIVE).fetchall())
        record(tx, "catalog.restored", {"epoch": row[0], "fenced": fenced})
    uuid, epoch = tx.run(WHO).fetchone()
    return uuid, epoch


def put_to_use(database: Database) -> None:
    """Make a backup a catalog of its own time line before anything else is written to it."""
    if database.stamped:
        database.begin_time_line()
        database.id, database.epoch = database.run(raise_epoch, durable=True)
        database.stamped = False
