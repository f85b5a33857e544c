"""start_process: a job opens its transaction.

A crash before the commit of this transaction leaves nothing; after it, a process whose lease runs out. The answer lost,
the job asks again with its nonce and gets the same process. A second run of the same batch job has another nonce.
"""

from __future__ import annotations

from typing import Final

from bookkeeper.catalog import NOW, Tx
from bookkeeper.errors import Fenced, NodeExcluded, NotAllowed, NotFound, Paused
from bookkeeper.ledger.guards import secret, tag
from bookkeeper.ledger.nodes import exclusion, until_words
from bookkeeper.protocol import ProcessKey, Started, StartProcess

START: Final = f"""
INSERT INTO processes (request_id, project_id, token, node, executor, job_id, partition_number,
                       files_per_process, group_limit, lease, lease_until, wall_until, started_at)
SELECT r.id, j.id, :token/*text*/, :node/*text*/, :executor, :job_id, :partition/*bigint*/,
       COALESCE(:files_per_process, r.files_per_process), COALESCE(:files_per_process, r.files_per_process),
       COALESCE(:lease, r.lease), {NOW} + COALESCE(:lease, r.lease), {NOW} + r.max_wall, {NOW}
  FROM projects j JOIN requests r ON r.id = j.request_id
 WHERE j.name = :project AND j.state = 'open'
   AND NOT EXISTS (SELECT 1 FROM excluded_nodes x WHERE x.node = :node/*text*/ AND x.until > {NOW})
    ON CONFLICT (project_id, token) DO NOTHING
"""

STARTED: Final = """
SELECT p.id, p.state, p.reason, p.partition_number, p.files_per_process, p.lease, r.id, r.name,
       r.partition_by, r.output_required, (SELECT uuid FROM catalog)
  FROM projects j JOIN requests r ON r.id = j.request_id JOIN processes p ON p.project_id = j.id
 WHERE j.name = :project AND p.token = :token
"""

WHY_NOT: Final = """
SELECT j.state, j.reason, (SELECT k.name FROM projects k WHERE k.request_id = j.request_id AND k.state <> 'ended')
  FROM projects j WHERE j.name = :project
"""

HAS_PARTITION: Final = "SELECT 1 FROM ledger WHERE request_id = :request AND partition_number = :partition LIMIT 1"


def start_process(tx: Tx, start: StartProcess) -> Started:
    """Open a process of an open project, or return the one that this nonce opened before.

    Raises `NotFound`, `Paused`, `NotAllowed`, `NodeExcluded`, and `Fenced` where that earlier process was rolled back.
    """
    token = secret(start.nonce)
    tx.lock_request(project=start.project)
    tx.run(
        START,
        {
            "project": start.project,
            "token": token,
            "node": start.node,
            "executor": start.executor,
            "job_id": start.job_id,
            "partition": start.partition,
            "files_per_process": start.files_per_process,
            "lease": start.lease,
        },
    )
    row = tx.run(STARTED, {"project": start.project, "token": token}).fetchone()
    if row is None:
        raise _why_not(tx, start)
    process, state, reason, partition, files_per_process, lease, request_id, request, partition_by, required, uuid = row
    if state not in ("active", "staged", "committed"):
        raise Fenced(f"process {process} of this job is over: {reason or state}", remedy="start another process")
    if start.partition is not None:
        _check_partition(tx, start.partition, request_id, request, partition_by)
    return Started(
        key=ProcessKey(process, start.nonce),
        request=request,
        project=start.project,
        lease=lease,
        files_per_process=files_per_process,
        partitioned=partition_by is not None,
        partition=partition,
        output_required=bool(required),
        catalog_id=uuid,
        tag=tag(start.nonce),
    )


def _why_not(tx: Tx, start: StartProcess) -> NotFound | Paused | NotAllowed | NodeExcluded:
    project = start.project
    row = tx.run(WHY_NOT, {"project": project}).fetchone()
    if row is None:
        return NotFound(f"there is no project {project!r}", remedy="`bookkeeper project list` names them")
    state, reason, successor = row
    if state == "paused":
        return Paused(
            f"project {project} is paused: {reason}", remedy=f"`bookkeeper project resume {project}` when mended"
        )
    if state == "open":
        return _excluded(tx, start.node or "")
    if successor is not None:
        return NotAllowed(f"project {project} has ended", remedy=f"its files are now in {successor}")
    return NotAllowed(f"project {project} has ended", remedy=f"`bookkeeper recover {project}` takes up what is missing")


def _excluded(tx: Tx, node: str) -> NodeExcluded:
    until, reason = exclusion(tx, node) or (0.0, "it was until just now")
    return NodeExcluded(
        f"node {node} is excluded {until_words(until)}: {reason}",
        remedy=f"`bookkeeper node admit {node}` lets it work again",
    )


def _check_partition(tx: Tx, partition: int, request_id: int, request: str, partition_by: str | None) -> None:
    if partition_by is None:
        raise NotAllowed(f"request {request} has no partitions", remedy="start the process without one")
    if tx.run(HAS_PARTITION, {"request": request_id, "partition": partition}).fetchone() is None:
        raise NotFound(f"request {request} has no partition {partition}", remedy="partitions are numbered from 0")
