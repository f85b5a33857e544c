"""stage: the outputs are stored, and wait: for a commit of their job, or for their transfer.

Killed before: the process is live until its lease has passed. Killed after: it is staged, with all that its commit needs;
its job may be gone. The answer lost: the job stages again and is told the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bookkeeper.catalog import NOW, Tx
from bookkeeper.ledger import transfers
from bookkeeper.ledger.commit import HELD_BY_ME, check_outputs, check_whole, decide, insert
from bookkeeper.ledger.guards import GuardFailed, fate, refuse, who
from bookkeeper.protocol import Fate, Manifest, OutputRecord, ProcessKey
from bookkeeper.retries import Ended

STAGE: Final = f"""
UPDATE processes SET state = 'staged', lease_until = {NOW} + lease
 WHERE id = :id AND token = :token AND state = 'active'
RETURNING request_id, delivered
"""

STAGE_NEAR: Final = f"""
UPDATE processes SET state = 'staged', wall_until = NULL,
       lease_until = {NOW} + lease + (SELECT r.transfer_deadline FROM requests r WHERE r.id = processes.request_id)
 WHERE id = :id AND token = :token AND state = 'active'
RETURNING id, request_id, project_id, delivered, partition_number,
          (SELECT max_attempts FROM requests WHERE requests.id = processes.request_id), node, started_at,
          (SELECT output_required FROM requests WHERE requests.id = processes.request_id)
"""

STORED: Final = """
SELECT o.key, o.destination, COALESCE(t.near_url, o.temp_url), o.final_url, o.size, o.checksum
  FROM outputs o LEFT JOIN transfers t ON t.output_id = o.id WHERE o.process_id = :id ORDER BY o.id
"""


def stage(tx: Tx, key: ProcessKey, manifest: Manifest) -> None:
    """Record the outputs of a process that waits for their transfer. Repeated, it changes nothing.

    Where some lie near, what the manifest says of every file becomes the history now, and is what the commit goes by
    (`bookkeeper.ledger.commit.commit_arrived`): nothing can be marked any more.
    """
    if any(output.near is not None for output in manifest.outputs):
        _stage_near(tx, key, manifest)
        return
    row = tx.run(STAGE, who(key)).fetchone()
    if row is None:
        if fate(tx, key)[0] is Fate.LIVE and _same_outputs(tx, key, manifest.outputs):
            return
        refuse(tx, key, "stage outputs")
    request, delivered = row
    if len({one.file_id for one in manifest.files}) != delivered:
        raise GuardFailed(f"the manifest decides {len(manifest.files)} files of {delivered} delivered")
    _require_held(tx, key, delivered)
    insert(tx, key, request, manifest.outputs, "staged")


def _stage_near(tx: Tx, key: ProcessKey, manifest: Manifest) -> None:
    tx.lock_request(process=key.id)
    row = tx.run(STAGE_NEAR, who(key)).fetchone()
    if row is None:
        # It may have been transferred, and so committed, before its job heard of it.
        if fate(tx, key)[0] is not Fate.ROLLED_BACK and _same_outputs(tx, key, manifest.outputs):
            return
        refuse(tx, key, "stage outputs")
    ended = Ended(*row[:8])
    check_outputs(manifest, output_required=bool(row[8]))
    consumed = decide(tx, ended, manifest)
    _require_held(tx, key, ended.delivered)
    if ended.partition is not None and ended.delivered:
        check_whole(tx, ended, consumed)
    insert(tx, key, ended.request, manifest.outputs, "staged")
    transfers.queue(tx, key.id, ended.request, manifest.outputs)


def _require_held(tx: Tx, key: ProcessKey, delivered: int) -> None:
    if tx.run(HELD_BY_ME, {"id": key.id}).fetchone()[0] != delivered:
        raise GuardFailed(f"process {key.id} does not hold every file it was given")


def _same_outputs(tx: Tx, key: ProcessKey, outputs: Sequence[OutputRecord]) -> bool:
    stored = [tuple(row) for row in tx.run(STORED, {"id": key.id})]
    return stored == [
        (one.key, one.destination, one.temp_url, one.final_url, one.size, one.checksum) for one in outputs
    ]
