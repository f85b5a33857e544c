"""The kernel: every change of state of a file, a process, a project or an output. One function a move.

A job's way through it: `start.start_process`, `deliver.next_files` and `deliver.mark`, `commit.commit` (or
`giveback.roll_back`), `outputs.published`. `door.SqlLedger` opens the transactions around them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bookkeeper.ledger.door import SqlLedger
from bookkeeper.operations import Remote

if TYPE_CHECKING:
    from bookkeeper.catalog import Database
    from bookkeeper.protocol import Ledger

__all__ = ["SqlLedger", "ledger_of"]


def ledger_of(database: Database) -> Ledger:
    """Return the ledger of a catalog: over its database, or through its server."""
    if isinstance(database, Remote):
        return database.ledger()
    return SqlLedger(database)
