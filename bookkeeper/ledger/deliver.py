"""next_files and mark: from "a job asks for its next file" to "it says what became of it".

A crash inside loses nothing: the transaction is whole or absent. The answer lost, the job repeats its ``seq`` and gets
the same list. A process that was rolled back meets its guard and is `Fenced`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from bookkeeper.catalog import NOW, Tx, storable
from bookkeeper.errors import NotAllowed, NotFound, UsageError
from bookkeeper.ledger import choosing
from bookkeeper.ledger.guards import ANY_OVERDUE, refuse, who
from bookkeeper.protocol import Delivered, FileInfo, FileMark, Mark, ProcessKey, Status

GUARD: Final = f"""
UPDATE processes SET lease_until = {NOW} + lease, graced = false
 WHERE id = :id AND token = :token AND state = 'active'
RETURNING request_id, project_id, partition_number, files_per_process, group_limit, delivered, last_seq,
          (SELECT CASE WHEN rest_until > {NOW} AND state = 'open' THEN 'resting' ELSE state END
             FROM projects WHERE projects.id = processes.project_id),
          (SELECT partition_by FROM requests WHERE requests.id = processes.request_id),
          EXISTS (SELECT 1 FROM ledger WHERE project_id = processes.project_id AND state = 'available'
                     AND not_before > 0 AND not_before <= {NOW}),
          (SELECT reason FROM excluded_nodes x WHERE x.node = CAST(processes.node AS TEXT) AND x.until > {NOW}), node,
          (SELECT near_bytes FROM requests WHERE requests.id = processes.request_id AND near_bytes >= near_limit)
"""

_PINNED = """l.file_id, l.attempts + l.setbacks, l.solo, l.version, f.version, f.state, f.name, COALESCE(v.size, f.size),
       CASE WHEN v.file_id IS NULL THEN f.checksum ELSE v.checksum END,
       CASE WHEN v.file_id IS NULL THEN f.entries ELSE v.entries END, f.tree,
       (SELECT group_concat(url, char(10)) FROM locations x WHERE x.file_id = f.id)"""
"""As `_FILE`, in the version that the ledger pins: `v` is that version where the file was declared anew since."""

RIPEN: Final = f"""
UPDATE ledger SET not_before = 0
 WHERE project_id = :project AND state = 'available' AND not_before > 0 AND not_before <= {NOW}
"""

SOME_LEFT: Final = """
SELECT 1
 WHERE EXISTS (SELECT 1 FROM processes
                WHERE request_id = :request AND state IN ('active', 'staged') AND id <> :id AND delivered > 0)
    OR EXISTS (SELECT 1 FROM ledger WHERE project_id = :project AND state = 'available')
"""
"""One statement, which sees one moment: a file that another process gives back is held before and available after."""

GIVEN: Final = f"""
SELECT {_PINNED}
  FROM deliveries d CROSS JOIN ledger l CROSS JOIN files f
  LEFT JOIN file_versions v ON v.file_id = l.file_id AND v.version = l.version
 WHERE d.process_id = :id AND d.seq = :seq AND l.request_id = :request AND l.file_id = d.file_id AND f.id = d.file_id
 ORDER BY l.attempts, d.file_id
"""

ALL_GIVEN: Final = f"""
SELECT {_PINNED}, d.state, d.entries_read, d.bytes_read, d.reason, d.changed
  FROM deliveries d CROSS JOIN processes p CROSS JOIN ledger l CROSS JOIN files f
  LEFT JOIN file_versions v ON v.file_id = l.file_id AND v.version = l.version
 WHERE d.process_id = :id AND p.id = d.process_id AND l.request_id = p.request_id AND l.file_id = d.file_id
   AND f.id = d.file_id
 ORDER BY d.seq, l.attempts, d.file_id
"""

TAKE: Final = """
UPDATE ledger SET state = 'held', process_id = :id
 WHERE request_id = :request AND file_id = :file AND state = 'available'
"""

DELIVER: Final = f"""
INSERT INTO deliveries (process_id, file_id, seq, attempt, delivered_at) VALUES (:id, :file, :seq, :attempt, {NOW})
"""

GAVE: Final = """
UPDATE processes SET last_seq = :seq, delivered = delivered + :count, group_limit = :limit, partition_number = :partition
 WHERE id = :id
"""

SEEN: Final = "UPDATE processes SET last_seq = :seq WHERE id = :id AND last_seq < :seq"

OPENED: Final = f"""
UPDATE deliveries SET state = 'opened', opened_at = {NOW}
 WHERE process_id = :id AND file_id = :file AND state = 'delivered'
"""

CONSUMED: Final = f"""
UPDATE deliveries SET state = 'consumed', opened_at = COALESCE(opened_at, {NOW}), consumed_at = {NOW},
       entries_read = :entries, bytes_read = :bytes
 WHERE process_id = :id AND file_id = :file AND state IN ('delivered', 'opened')
"""

CLOSED: Final = """
UPDATE deliveries SET state = :mark, reason = :reason, changed = :changed
 WHERE process_id = :id AND file_id = :file AND state IN ('delivered', 'opened')
"""

DELIVERY: Final = """
SELECT d.state, f.name FROM deliveries d JOIN files f ON f.id = d.file_id WHERE d.process_id = :id AND d.file_id = :file
"""


def next_files(
    tx: Tx, key: ProcessKey, seq: int, limit: int, done: Sequence[FileMark] = (), *, swept: bool = True
) -> Delivered | None:
    """Record what is done and hand out up to ``limit`` more files; a partition comes whole.

    Files with fewer charged attempts come first; a file with ``n`` failures behind it, charged or not, comes with at most
    ``ceil(files_per_process / 2**n) - 1`` companions in its whole process. A file whose time has not come waits; while
    the project rests, or the node is excluded, nothing is given. A ``seq`` that was answered takes nothing more, even if
    the answer was empty: whoever asked has gone on. None, unless ``swept``, where there are no files now and overdue
    processes may hold some: roll them back and ask again.
    """
    if seq < 1 or limit < 1:
        raise UsageError("next_files counts its calls and its files from 1")
    tx.lock_request(process=key.id)
    row = tx.run(GUARD, who(key)).fetchone()
    if row is None:
        refuse(tx, key, "take files")
    request, project, partition, files_per_process, group_limit, delivered, last_seq, project_state = row[:8]
    partition_by, ripe, excluded, node, near_bytes = row[8:]
    why = ""
    if done:
        _mark_all(tx, key, done, partition_by is not None)
    if seq <= last_seq:
        again = tx.run(GIVEN, {"id": key.id, "seq": seq, "request": request}).fetchall()
        if again:
            return Delivered(tuple(_info(found) for found in again), Status.FILES, partition, project_state)
    group: list[Any] = []
    smallest, chosen = group_limit, partition
    if ripe:
        tx.run(RIPEN, {"project": project})
    if excluded is not None:
        status, why = Status.EXCLUDED, f"node {node} is excluded: {excluded}"
    elif project_state == "resting":
        status, why, project_state = Status.NONE_NOW, "the project rests after failures", "open"
    elif near_bytes is not None and project_state == "open":
        status, why = Status.NONE_NOW, f"{near_bytes:,} bytes wait at the near storage for their transfer"
    elif project_state != "open":
        status = Status.EXHAUSTED if project_state == "ended" else Status.NONE_NOW
    elif partition_by is not None:
        chosen, group, status = choosing.partition(tx, request, project, partition, delivered)
    else:
        room = choosing.Room(request, project, node, limit, files_per_process, group_limit, delivered)
        group, smallest, status = choosing.group(tx, room)
    if group and seq <= last_seq:
        group, status = [], Status.NONE_NOW
    if not group:
        if status is Status.NONE_NOW and project_state == "open":
            if not swept and tx.run(ANY_OVERDUE).fetchone():
                return None
            if not _some_are_left(tx, request, project, key.id):
                status = Status.EXHAUSTED
        tx.run(SEEN, {"id": key.id, "seq": seq})
        return Delivered((), status, partition, project_state, why)
    taken = tx.many(TAKE, [{"id": key.id, "request": request, "file": found[0]} for found in group])
    assert taken == len(group), "files that were chosen are taken by nobody else"
    tx.many(DELIVER, [{"id": key.id, "file": found[0], "seq": seq, "attempt": found[1] + 1} for found in group])
    tx.run(
        GAVE,
        {"id": key.id, "seq": seq, "count": len(group), "limit": smallest, "partition": chosen},
    )
    return Delivered(tuple(_info(found) for found in group), Status.FILES, chosen, project_state)


def _some_are_left(tx: Tx, request: int, project: int, process: int) -> bool:
    """Tell whether a row of the request is available, or held by another process."""
    return tx.run(SOME_LEFT, {"request": request, "project": project, "id": process}).fetchone() is not None


def _info(found: Any) -> FileInfo:
    urls = found[11]
    return FileInfo(
        found[0], found[6], found[7], found[8], found[9], found[10], tuple(urls.split("\n")) if urls else ()
    )


def deliveries_of(tx: Tx, process: int) -> tuple[tuple[FileInfo, FileMark | None], ...]:
    """Return every file a process was given, in order, with the last mark recorded (None: delivered only)."""
    answer: list[tuple[FileInfo, FileMark | None]] = []
    for row in tx.run(ALL_GIVEN, {"id": process}):
        state, entries, size, reason, changed = row[12:]
        known = None if state == "delivered" else FileMark(row[0], Mark(state), entries, size, reason, bool(changed))
        answer.append((_info(row), known))
    return tuple(answer)


def mark(tx: Tx, key: ProcessKey, marks: Sequence[FileMark]) -> None:
    """Record what became of files, forward only; a mark repeated or overtaken changes nothing."""
    row = tx.run(GUARD, who(key)).fetchone()
    if row is None:
        refuse(tx, key, "mark files")
    _mark_all(tx, key, marks, row[8] is not None)


def _mark_all(tx: Tx, key: ProcessKey, marks: Sequence[FileMark], partitioned: bool) -> None:
    for one in marks:
        parameters = {"id": key.id, "file": one.file_id}
        if one.mark is Mark.OPENED:
            changed = tx.run(OPENED, parameters).rowcount
        elif one.mark is Mark.CONSUMED:
            changed = tx.run(CONSUMED, {**parameters, "entries": one.entries, "bytes": one.bytes}).rowcount
        elif one.mark is Mark.UNREAD:
            raise UsageError("unread is said in a manifest only")
        elif partitioned:
            raise NotAllowed(
                f"process {key.id} has a whole partition: a file of it cannot be {one.mark} alone",
                remedy="roll the process back; `bookkeeper project park` takes a bad file out of its partition",
            )
        else:
            changed = tx.run(
                CLOSED,
                {
                    **parameters,
                    "mark": one.mark,
                    "reason": storable(one.reason or "no reason given"),
                    "changed": one.changed,
                },
            ).rowcount
        if not changed:
            _why_unmarked(tx, key, one)


def _why_unmarked(tx: Tx, key: ProcessKey, one: FileMark) -> None:
    """Let a repeated or overtaken mark pass; raise for a file not delivered, and for a contradiction."""
    row = tx.run(DELIVERY, {"id": key.id, "file": one.file_id}).fetchone()
    if row is None:
        raise NotFound(
            f"process {key.id} was given no file {one.file_id}", remedy="mark files that next_files returned"
        )
    state, name = row
    closing = (Mark.SKIPPED, Mark.FAILED)
    if state != one.mark and (one.mark in closing or (one.mark is Mark.CONSUMED and state in closing)):
        raise NotAllowed(
            f"{name} is {state} in process {key.id}: it cannot become {one.mark}", remedy="roll back instead"
        )
