"""park, unpark, hold_back: files out of delivery, and back. Each is one transaction; repeated, it changes nothing more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from bookkeeper.catalog import NOW, Tx, storable
from bookkeeper.errors import NotAllowed, NotFound
from bookkeeper.events import record
from bookkeeper.ledger.guards import move_share, target_project
from bookkeeper.ledger.requests import ProjectRow

HOLD_BACK: Final = f"""
UPDATE ledger SET not_before = {NOW} + :seconds
 WHERE request_id = :request AND file_id = :file AND state = 'available'
"""

HOLD_BACK_PARTITION: Final = f"""
UPDATE ledger SET not_before = {NOW} + :seconds
 WHERE request_id = :request AND state = 'available'
   AND file_id IN (SELECT k.file_id FROM ledger k WHERE k.request_id = :request AND k.partition_number = :partition)
"""

ROW: Final = """
SELECT l.file_id, l.state, l.project_id, l.process_id, l.partition_number, l.version, f.version, f.state
  FROM ledger l JOIN files f ON f.id = l.file_id
 WHERE l.request_id = :request AND f.name = :name
"""

PARKED: Final = """
SELECT l.file_id, l.state, l.project_id, l.process_id, l.partition_number, l.version, f.version, f.state, f.name
  FROM projects j JOIN ledger l ON l.project_id = j.id JOIN files f ON f.id = l.file_id
 WHERE j.request_id = :request AND l.state = 'parked' ORDER BY l.file_id
"""

PARK: Final = """
UPDATE ledger SET state = 'parked', reason = :reason, partition_number = NULL
 WHERE request_id = :request AND file_id = :file AND state IN ('available', 'parked')
"""

UNPARK: Final = """
UPDATE ledger SET state = 'available', reason = NULL, solo = true, project_id = :target, partition_number = :partition,
       setbacks = 0, setbacks_alone = 0, not_before = 0,
       version = :version
 WHERE request_id = :request AND file_id = :file AND state = 'parked'
"""

NEW_PARTITION: Final = """
SELECT COALESCE(max(partition_number), -1) + 1 FROM ledger WHERE request_id = :request AND partition_number IS NOT NULL
"""

PARTITIONED: Final = "SELECT partition_by FROM requests WHERE id = :request"


def park(tx: Tx, project: ProjectRow, names: Sequence[str], reason: str) -> int:
    """Take files out of delivery, and out of their partitions, until a person decides; return how many.

    Raises `NotFound`, and `NotAllowed` for files that are held or committed.
    """
    for name in names:
        row = _row(tx, project, name)
        if row[1] in ("held", "committed"):
            verb = "held" if row[1] == "held" else "committed"
            raise NotAllowed(
                f"{name} is {verb} by process {row[3]}",
                remedy="wait until it is given back" if row[1] == "held" else "`bookkeeper project reopen` frees it",
            )
        tx.run(PARK, {"request": project.request, "file": row[0], "reason": storable(reason)})
        record(tx, "file.parked", {"reason": reason}, project=row[2], file=row[0])
    return len(names)


def hold_back(tx: Tx, project: ProjectRow, names: Sequence[str], seconds: float, reason: str) -> int:
    """Deliver files not before some seconds from now; return how many waited for a process.

    A file of a partition holds back its whole partition.
    """
    held_back = 0
    for name in names:
        row = _row(tx, project, name)
        asked = {"request": project.request, "file": row[0], "partition": row[4], "seconds": seconds}
        if tx.run(HOLD_BACK if row[4] is None else HOLD_BACK_PARTITION, asked).rowcount:
            held_back += 1
            record(tx, "file.held_back", {"seconds": seconds, "reason": reason}, project=row[2], file=row[0])
    return held_back


def unpark(tx: Tx, project: ProjectRow, names: Sequence[str] | None, *, repin: bool = False) -> int:
    """Give parked files back to delivery, alone next, attempts kept; ``names=None`` means all. Return how many.

    A file of a partition brings its whole partition. ``repin`` accepts the content that the catalog has now.
    """
    parked = {row[0]: row for row in tx.run(PARKED, {"request": project.request}).fetchall()}
    if names is not None:
        asked = [_row(tx, project, name) for name in names]
        for name, row in zip(names, asked, strict=True):
            if row[1] != "parked":
                raise NotAllowed(f"{name} is not parked: it is {row[1]}")
        partitions = {row[4] for row in asked if row[4] is not None}
        chosen = {row[0] for row in asked} | {row[0] for row in parked.values() if row[4] in partitions}
        parked = {file: row for file, row in parked.items() if file in chosen}
    partitioned = tx.run(PARTITIONED, {"request": project.request}).fetchone()[0] is not None
    for file, _, own, _, partition, pinned, current, state, name in parked.values():
        if state != "current":
            raise NotAllowed(f"{name} is retired", remedy="declare it again first, or leave it parked")
        if pinned != current and not repin:
            raise NotAllowed(f"{name} changed since the snapshot", remedy="--repin accepts the content declared now")
        if partition is None and partitioned:
            partition = tx.run(NEW_PARTITION, {"request": project.request}).fetchone()[0]
        target = target_project(tx, project.request, own)
        freed = {"request": project.request, "file": file, "target": target, "partition": partition}
        tx.run(UNPARK, {**freed, "version": current})  # as it was looked at: it may be declared anew meanwhile
        move_share(tx, origin=own, target=target, count=1)
        record(tx, "file.unparked", {"repin": repin and pinned != current}, project=target, file=file)
    return len(parked)


def _row(tx: Tx, project: ProjectRow, name: str) -> Any:
    row = tx.run(ROW, {"request": project.request, "name": name}).fetchone()
    if row is None:
        raise NotFound(f"{name} is no file of project {project.name}", remedy="`bookkeeper file list` names files")
    return row
