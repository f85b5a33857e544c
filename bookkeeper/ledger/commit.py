"""commit: the moment at which what a process consumed counts.

The manifest decides, whole or not at all, in one transaction that is on disk before anyone is told.
Killed before it: the process is live until its lease runs out, then rolled back. Killed after it: committed; whoever
comes next publishes. The answer lost: the job commits again and is told the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from bookkeeper.catalog import NOW, Tx, integrity_errors, storable
from bookkeeper.ledger.giveback import charge, release
from bookkeeper.ledger.guards import GuardFailed, fate, refuse, tell_complete, who
from bookkeeper.ledger.outputs import outputs_of, require_own
from bookkeeper.protocol import Fate, FileMark, Manifest, Mark, OutputRecord, ProcessKey, StoredOutput
from bookkeeper.retries import Ended, Ruling

COMMIT: Final = f"""
UPDATE processes SET state = 'committed', ended_at = {NOW}, no_output = :no_output
 WHERE id = :id AND token = :token
   AND (state = 'active'
        OR state = 'staged' AND NOT EXISTS (SELECT 1 FROM transfers t WHERE t.process_id = processes.id))
RETURNING id, request_id, project_id, delivered, partition_number,
          (SELECT max_attempts FROM requests WHERE requests.id = processes.request_id), node, started_at,
          (SELECT output_required FROM requests WHERE requests.id = processes.request_id),
          (SELECT count(*) FROM outputs WHERE outputs.process_id = processes.id AND outputs.state = 'staged')
"""

COMMIT_ARRIVED: Final = f"""
UPDATE processes SET state = 'committed', ended_at = {NOW}
 WHERE id = :id AND state = 'staged'
   AND NOT EXISTS (SELECT 1 FROM transfers t WHERE t.process_id = processes.id AND t.state <> 'arrived')
RETURNING id, request_id, project_id, delivered, partition_number,
          (SELECT max_attempts FROM requests WHERE requests.id = processes.request_id), node, started_at,
          (SELECT count(*) FROM deliveries d WHERE d.process_id = processes.id AND d.state = 'consumed'),
          (SELECT count(*) FROM deliveries d WHERE d.process_id = processes.id AND d.state = 'opened')
"""

COMMIT_OUTPUTS: Final = "UPDATE outputs SET state = 'committed' WHERE process_id = :id AND state = 'staged'"

CONSUMED: Final = f"""
UPDATE deliveries SET state = 'consumed', opened_at = COALESCE(opened_at, {NOW}), consumed_at = COALESCE(consumed_at, {NOW}),
       entries_read = COALESCE(:entries, entries_read), bytes_read = COALESCE(:bytes, bytes_read)
 WHERE process_id = :id AND file_id = :file AND state IN ('delivered', 'opened', 'consumed')
"""

ALL_CONSUMED: Final = f"""
UPDATE deliveries SET state = 'consumed', opened_at = COALESCE(opened_at, {NOW}), consumed_at = COALESCE(consumed_at, {NOW})
 WHERE process_id = :id AND state IN ('delivered', 'opened', 'consumed')
"""

GIVEN: Final = "SELECT file_id FROM deliveries WHERE process_id = :id"

CLOSED: Final = """
UPDATE deliveries SET state = :mark, reason = :reason, changed = :changed
 WHERE process_id = :id AND file_id = :file AND state IN ('delivered', 'opened', :mark)
"""

UNREAD: Final = "UPDATE deliveries SET seq = seq WHERE process_id = :id AND file_id = :file AND state = 'delivered'"

HELD_BY_ME: Final = "SELECT count(*) FROM ledger WHERE process_id = :id AND state = 'held'"

LEDGER: Final = """
UPDATE ledger SET state = 'committed'
 WHERE process_id = :id AND state = 'held'
   AND file_id IN (SELECT file_id FROM deliveries WHERE process_id = :id AND state = 'consumed')
"""

PARTITION_SIZE: Final = "SELECT count(*) FROM ledger WHERE request_id = :request AND partition_number = :partition"

OUTPUT: Final = f"""
INSERT INTO outputs (request_id, process_id, key, state, destination, temp_url, final_url, size, checksum, entries, unproved,
                     recorded_at)
VALUES (:request, :id, :key, :state, :destination, :temp_url, :final_url, :size, :checksum, :entries, :unproved, {NOW})
"""

STAGED_OUTPUT: Final = """
UPDATE outputs SET state = 'committed', entries = COALESCE(:entries, entries), unproved = :unproved
 WHERE process_id = :id AND temp_url = :temp_url AND final_url = :final_url AND size = :size AND checksum = :checksum
   AND state = 'staged'
"""

REQUEST_TOTAL: Final = "UPDATE requests SET committed = committed + :count WHERE id = :request"

PROJECT_TOTAL: Final = f"""
UPDATE projects SET committed = committed + :count, commits = commits + 1, rests = 0, last_commit_at = {NOW}
 WHERE id = :project
"""


def commit(tx: Tx, key: ProcessKey, manifest: Manifest) -> tuple[StoredOutput, ...]:
    """Make everything count, or raise `GuardFailed` and leave nothing changed. Return the outputs to publish."""
    tx.lock_request(process=key.id)
    row = tx.run(COMMIT, {**who(key), "no_output": manifest.no_output}).fetchone()
    if row is None:
        if fate(tx, key)[0] is not Fate.COMMITTED:
            refuse(tx, key, "commit")
        return outputs_of(tx, key.id)
    ended = Ended(*row[:8])
    output_required, staged = row[8:]
    check_outputs(manifest, output_required=bool(output_required))
    consumed = decide(tx, ended, manifest)
    _count(tx, ended, consumed)
    if staged:
        _commit_staged(tx, ended.id, manifest.outputs, staged)
    else:
        insert(tx, key, ended.request, manifest.outputs, "committed")
    if manifest.outputs:
        return outputs_of(tx, ended.id)
    if consumed:
        tell_complete(tx, ended.request, ended.project, ended.id)
    return ()


def commit_arrived(tx: Tx, process: int) -> tuple[StoredOutput, ...]:
    """Commit a staged process as its manifest said when it was staged, if all its outputs have arrived; return them.

    Nothing where it is not staged, or some are still on their way. Raises `GuardFailed` and leaves nothing changed.
    """
    row = tx.run(COMMIT_ARRIVED, {"id": process}).fetchone()
    if row is None:
        return ()
    ended = Ended(*row[:8])
    consumed, undecided = row[8:]
    if undecided:
        raise GuardFailed(f"process {process} leaves {undecided} opened files undecided")
    _count(tx, ended, consumed)
    tx.run(COMMIT_OUTPUTS, {"id": process})
    return outputs_of(tx, process)


def _count(tx: Tx, ended: Ended, consumed: int) -> None:
    """Make what was consumed count, and let go of the rest."""
    committed = tx.run(LEDGER, {"id": ended.id}).rowcount if consumed else 0
    if committed != consumed:
        raise GuardFailed(f"process {ended.id} holds {committed} of the {consumed} files it consumed")
    if ended.partition is not None and ended.delivered:
        check_whole(tx, ended, consumed)
    if consumed < ended.delivered:
        left_out = Ruling()
        charge(tx, ended, left_out)
        release(tx, ended, "", left_out)
    tx.run(REQUEST_TOTAL, {"request": ended.request, "count": consumed})
    tx.run(PROJECT_TOTAL, {"project": ended.project, "count": consumed})


def decide(tx: Tx, ended: Ended, manifest: Manifest) -> int:
    """Write what the manifest says of every file into the history; return how many were consumed."""
    files = manifest.files
    if {one.file_id for one in files} != {file for (file,) in tx.run(GIVEN, {"id": ended.id})} or len(
        files
    ) != ended.delivered:
        raise GuardFailed(f"the manifest decides {len(files)} files, not exactly the {ended.delivered} delivered")
    if all(one.mark is Mark.CONSUMED and one.entries is None and one.bytes is None for one in files):
        consumed, told = len(files), tx.run(ALL_CONSUMED, {"id": ended.id}).rowcount if files else 0
    else:
        consumed, told = _decide_each(tx, ended.id, files)
    if told != len(files):
        raise GuardFailed("the manifest contradicts what was marked before")
    return consumed


def _decide_each(tx: Tx, process: int, files: Sequence[FileMark]) -> tuple[int, int]:
    """Write file by file; return how many were consumed and how many could be written at all."""
    statements = {Mark.CONSUMED: CONSUMED, Mark.SKIPPED: CLOSED, Mark.FAILED: CLOSED, Mark.UNREAD: UNREAD}
    consumed = told = 0
    for one in files:
        if one.mark not in statements:
            raise GuardFailed("the manifest leaves an opened file undecided")
        told += tx.run(statements[one.mark], {"id": process, "file": one.file_id, **_said(one)}).rowcount
        consumed += one.mark is Mark.CONSUMED
    return consumed, told


def _said(one: FileMark) -> dict[str, Any]:
    return {
        "mark": one.mark,
        "entries": one.entries,
        "bytes": one.bytes,
        "reason": storable(one.reason or "no reason given"),
        "changed": one.changed,
    }


def check_outputs(manifest: Manifest, *, output_required: bool) -> None:
    """Raise `GuardFailed` unless there is an output, or none was declared where that is allowed."""
    if manifest.no_output and manifest.outputs:
        raise GuardFailed("the manifest names outputs and says that there are none")
    if not manifest.outputs and not manifest.no_output:
        raise GuardFailed("there is no output, and none was declared (no_output)")
    if manifest.no_output and output_required:
        raise GuardFailed("the project requires an output of every process")


def check_whole(tx: Tx, ended: Ended, consumed: int) -> None:
    """Raise `GuardFailed` unless every file of the partition was delivered and consumed."""
    size = tx.run(PARTITION_SIZE, {"request": ended.request, "partition": ended.partition}).fetchone()[0]
    if consumed != size or ended.delivered != size:
        raise GuardFailed(
            f"partition {ended.partition} has {size} files, {consumed} were consumed: whole or not at all"
        )


def insert(tx: Tx, key: ProcessKey, request: int, outputs: Sequence[OutputRecord], state: str) -> None:
    """Record outputs. Raises `GuardFailed` where one is not the process's own, or a name is taken."""
    try:
        for output in outputs:
            require_own(key, output)
            tx.run(OUTPUT, {"request": request, "id": key.id, "state": state, **_columns(output)})
    except integrity_errors() as error:
        names = ", ".join(output.final_url for output in outputs)
        raise GuardFailed(f"an output's name is taken ({names}): {error}") from error


def _commit_staged(tx: Tx, process: int, outputs: Sequence[OutputRecord], staged: int) -> None:
    found = sum(tx.run(STAGED_OUTPUT, {"id": process, **_columns(output)}).rowcount for output in outputs)
    if found != staged or found != len(outputs):
        raise GuardFailed(f"the manifest proves {found} of {staged} staged outputs")


def _columns(output: OutputRecord) -> dict[str, Any]:
    return {name: getattr(output, name) for name in OutputRecord.__slots__}
