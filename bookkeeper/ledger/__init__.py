"""The kernel: every change of state of a file, a process, a project or an output. One function a move.

A job's way through it: `start.start_process`, `deliver.next_files` and `deliver.mark`, `commit.commit` (or
`giveback.roll_back`), `outputs.published`. `door.SqlLedger` opens the transactions around them.
"""

from bookkeeper.ledger.door import SqlLedger

__all__ = ["SqlLedger"]
