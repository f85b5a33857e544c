"""What happens to outputs after the commit: published; or, when a person reopens their process, revoked.

Storage is not touched here. Publication renames first and records then: killed in between, the next publisher finds the
final name with the recorded checksum, which counts as done.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bookkeeper.catalog import NOW, Tx
from bookkeeper.errors import NotAllowed, NotFound, UsageError
from bookkeeper.events import record
from bookkeeper.ledger.guards import GuardFailed, move_share, tag, target_project, tell_complete
from bookkeeper.protocol import OutputRecord, ProcessKey, StoredOutput
from bookkeeper.stageout.names import final_url, parse_temporary

_OUTPUT = """id, process_id, state, key, destination, temp_url, final_url, size, checksum, entries, unproved"""

OUTPUTS_OF: Final = f"SELECT {_OUTPUT} FROM outputs WHERE process_id = :id ORDER BY id"

TO_PUBLISH: Final = f"""
SELECT {_OUTPUT} FROM outputs
 WHERE request_id = (SELECT p.request_id FROM processes p WHERE p.id = :id) AND state = 'committed' ORDER BY id
"""

PUBLISHED: Final = f"""
UPDATE outputs SET state = 'published', published_at = {NOW}
 WHERE id = :output AND state = 'committed'
   AND request_id = (SELECT me.request_id FROM processes me WHERE me.id = :process)
   AND EXISTS (SELECT 1 FROM processes p WHERE p.id = outputs.process_id AND p.state = 'committed')
RETURNING request_id, (SELECT project_id FROM processes p WHERE p.id = outputs.process_id), process_id
"""

OUTPUT_STATE: Final = """
SELECT o.state, p.state, o.final_url FROM outputs o JOIN processes p ON p.id = o.process_id
 WHERE o.id = :output AND o.request_id = (SELECT me.request_id FROM processes me WHERE me.id = :process)
"""

REVOKING: Final = "UPDATE processes SET state = 'revoking', reason = :reason WHERE id = :id AND state = 'committed'"

REVOKE_OUTPUTS: Final = """
UPDATE outputs SET state = 'revoked' WHERE process_id = :id AND state IN ('committed', 'published')
"""

REVOKED: Final = """
UPDATE processes SET state = 'revoked' WHERE id = :id AND state = 'revoking' RETURNING request_id, project_id
"""

FREE_COMMITTED: Final = """
UPDATE ledger SET state = 'available', project_id = :target
 WHERE request_id = :request AND process_id = :id AND state = 'committed'
   AND file_id IN (SELECT file_id FROM deliveries WHERE process_id = :id AND state = 'consumed')
"""

TOTALS: Final = "UPDATE requests SET committed = committed - :count WHERE id = :request"

PROJECT_TOTALS: Final = """
UPDATE projects SET committed = committed - :count, commits = commits - 1 WHERE id = :project
"""

PROCESS: Final = """
SELECT p.state, j.request_id FROM processes p JOIN projects j ON j.id = p.project_id WHERE p.id = :id
"""

DOWNSTREAM: Final = """
SELECT DISTINCT x.file_id, p.project_id
  FROM outputs o JOIN locations x ON x.url = o.final_url
  LEFT JOIN deliveries d ON d.file_id = x.file_id
  LEFT JOIN processes p ON p.id = d.process_id
 WHERE o.process_id = :id
"""

DESTINATION: Final = f"INSERT INTO destinations (url, claimed_at) VALUES (:url, {NOW}) ON CONFLICT (url) DO NOTHING"


def outputs_of(tx: Tx, process: int) -> tuple[StoredOutput, ...]:
    """Return the recorded outputs of a process."""
    return tuple(_stored(row) for row in tx.run(OUTPUTS_OF, {"id": process}))


def to_publish(tx: Tx, process: int) -> tuple[StoredOutput, ...]:
    """Return the outputs of a process's request that count and were not yet seen under their final names."""
    return tuple(_stored(row) for row in tx.run(TO_PUBLISH, {"id": process}))


def published(tx: Tx, process: int, output_ids: Sequence[int]) -> None:
    """Record that outputs of a process's request were seen under their final names.

    Raises `NotFound`, and `NotAllowed` where their process is not committed.
    """
    for output in output_ids:
        done = tx.run(PUBLISHED, {"output": output, "process": process}).fetchone()
        if done is not None:
            tell_complete(tx, *done)
            continue
        row = tx.run(OUTPUT_STATE, {"output": output, "process": process}).fetchone()
        if row is None:
            raise NotFound(f"there is no output {output}")
        if row[0] != "published":
            raise NotAllowed(f"{row[2]} cannot be published: it is {row[0]} and its process {row[1]}")


def begin_reopen(tx: Tx, process: int, request: int, reason: str) -> tuple[StoredOutput, ...]:
    """Forbid publication of a committed process; its files stay committed until its objects are seen absent.

    Return the outputs whose objects are to be deleted. A process that is already being revoked goes on; of one that is
    revoked nothing is left to delete (its final names may be another's by now).
    """
    row = tx.run(PROCESS, {"id": process}).fetchone()
    if row is None or row[1] != request:
        raise NotFound(f"this request has no process {process}", remedy="`bookkeeper project show` lists its processes")
    if row[0] == "revoked":
        return ()
    if row[0] not in ("committed", "revoking"):
        raise NotAllowed(f"process {process} is {row[0]}: only a committed process can be reopened")
    tx.run(REVOKING, {"id": process, "reason": reason})
    return outputs_of(tx, process)


def finish_reopen(tx: Tx, process: int) -> int:
    """Free the files of a process whose objects are gone; return how many. Repeated, it changes nothing.

    What was made from its outputs is flagged by `lineage.revoked` events.
    """
    tx.lock_request(process=process, alone=True)
    row = tx.run(REVOKED, {"id": process}).fetchone()
    if row is None:
        return 0
    request, project = row
    tx.run(REVOKE_OUTPUTS, {"id": process})
    target = target_project(tx, request, project)
    freed = tx.run(FREE_COMMITTED, {"id": process, "request": request, "target": target}).rowcount
    tx.run(TOTALS, {"request": request, "count": freed})
    tx.run(PROJECT_TOTALS, {"project": project, "count": freed})
    move_share(tx, origin=project, target=target, count=freed)
    record(tx, "process.revoked", {"files": freed}, project=project, process=process)
    for file, other in tx.run(DOWNSTREAM, {"id": process}).fetchall():
        record(tx, "lineage.revoked", {"process": process}, project=other, file=file)
    return freed


def require_own(key: ProcessKey, output: OutputRecord) -> None:
    """Raise `GuardFailed` unless an output lies, and will lie, where this process may put one.

    Whoever publishes or deletes it later does so with rights of their own: a job names nothing but uploads of its own
    process, and final names in the same destination.
    """
    try:
        temporary = parse_temporary(output.temp_url)
        final = final_url(output.destination, output.final_url.rpartition("/")[2])
    except UsageError as error:
        raise GuardFailed(f"the manifest names an output that cannot be: {error}") from error
    mine = temporary.process_id == key.id and temporary.nonce.startswith(tag(key.token))
    if not mine or temporary.destination != (output.near or output.destination) or output.final_url != final:
        raise GuardFailed(f"{output.temp_url} is no upload of process {key.id} that could become {output.final_url}")


def will_write_to(tx: Tx, destination: str) -> None:
    """Remember a destination, so that orphans are looked for there."""
    tx.run(DESTINATION, {"url": destination})


def _stored(row: tuple[object, ...]) -> StoredOutput:
    identity, process, state, *record_ = row
    return StoredOutput(identity, process, state, OutputRecord(*record_))  # type: ignore[arg-type]
