"""Moves of whole projects: open, pause, resume, end, recover.

Each is one transaction. Ending and recovering are repeatable: two operators at once get the same recovery project.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

from bookkeeper.catalog import NOW, Tx, storable
from bookkeeper.errors import NotAllowed, NotFound
from bookkeeper.events import record
from bookkeeper.ledger.giveback import fence
from bookkeeper.ledger.guards import move_share

REQUEST: Final = """
INSERT INTO requests (name, snapshot_id, files, max_attempts, files_per_process, partition_by, partition_size, lease,
                      max_wall, output_required, policy, near_limit, transfer_deadline, link_limit)
SELECT :name, s.id, s.files, :max_attempts, :files_per_process, :partition_by, :partition_size/*bigint*/, :lease, :max_wall/*double precision*/,
       :output_required, :policy/*json*/, :near_limit/*bigint*/, :transfer_deadline/*double precision*/, :link_limit/*int*/
  FROM snapshots s WHERE s.id = :snapshot
RETURNING id
"""

ROOT: Final = f"""
INSERT INTO projects (name, request_id, application_family, application_name, application_version, station, owner, files,
                      started_at)
SELECT r.name, r.id, :family, :application, :version, :station, :owner, r.files, {NOW} FROM requests r WHERE r.id = :request
RETURNING id
"""

LEDGER: Final = """
INSERT INTO ledger (request_id, file_id, project_id, version)
SELECT :request, file_id, :project, version FROM snapshot_files WHERE snapshot_id = :snapshot ORDER BY file_id
"""

SNAPSHOT_WEIGHTS: Final = """
SELECT s.file_id, s.version, f.size, f.entries, f.name
  FROM snapshot_files s JOIN files f ON f.id = s.file_id WHERE s.snapshot_id = :snapshot ORDER BY s.file_id
"""

LEDGER_ROW: Final = """
INSERT INTO ledger (request_id, file_id, project_id, version, partition_number)
VALUES (:request, :file, :project, :version, :partition)
"""

PROJECT: Final = "SELECT id, name, request_id, state, reason, recovers, fenced FROM projects WHERE name = :name"

OPEN: Final = """
SELECT id, name, request_id, state, reason, recovers, fenced FROM projects
 WHERE request_id = :request AND state <> 'ended'
"""

PAUSE: Final = """
UPDATE projects SET state = 'paused', reason = :reason WHERE id = :project AND state IN ('open', 'paused')
"""

RESUME: Final = f"""
UPDATE projects SET state = 'open', reason = NULL, resumed_at = {NOW}, rests = 0, rest_until = NULL
 WHERE id = :project AND (state = 'paused' OR state = 'open' AND rest_until > {NOW})
"""

TRY_AGAIN: Final = """
UPDATE ledger SET setbacks = 0, setbacks_alone = 0 WHERE project_id = :project AND state = 'available' AND setbacks > 0
"""

END: Final = f"""
UPDATE projects SET state = 'ended', ended_at = {NOW}, fenced = :fenced WHERE id = :project AND state <> 'ended'
"""

FENCE: Final = "UPDATE projects SET fenced = true WHERE request_id = :request AND state = 'ended' AND NOT fenced"

LIVE: Final = "SELECT id FROM processes WHERE request_id = :request AND state IN ('active', 'staged')"

MISSING: Final = """
SELECT r.files - r.committed
       - (SELECT count(*) FROM projects j JOIN ledger l ON l.project_id = j.id
           WHERE j.request_id = r.id AND l.state = 'parked')
  FROM requests r WHERE r.id = :request
"""

WAIT_NO_MORE: Final = """
UPDATE ledger SET not_before = 0 WHERE project_id = :project AND state = 'available' AND not_before > 0
"""

RECOVERY: Final = f"""
INSERT INTO projects (name, request_id, recovers, application_family, application_name, application_version, station, owner,
                      files, started_at)
SELECT r.name || '-recovery-' || ((SELECT count(*) FROM projects k WHERE k.request_id = r.id) + :taken), r.id, j.id,
       j.application_family, j.application_name, j.application_version, j.station, j.owner, 0, {NOW}
  FROM projects j JOIN requests r ON r.id = j.request_id WHERE j.id = :project
    ON CONFLICT (name) DO NOTHING
RETURNING id
"""

NEWEST: Final = "SELECT max(id) FROM projects WHERE request_id = :request"

SHARES: Final = """
SELECT j.id, (SELECT count(*) FROM ledger l WHERE l.project_id = j.id AND l.state = 'available')
  FROM projects j WHERE j.request_id = :request AND j.id <> :target
"""

TAKE_OVER: Final = "UPDATE ledger SET project_id = :target WHERE project_id = :origin AND state = 'available'"


@dataclass(frozen=True, slots=True)
class Rules:
    """How a request is worked on. ``lease`` and ``max_wall`` are seconds; ``partition_size`` is in its own unit.

    From ``near_limit`` bytes at near storages on nothing is delivered; an output has ``transfer_deadline`` seconds to
    arrive from there, and of its transfers over one link ``link_limit`` run at once.
    """

    max_attempts: int = 3
    files_per_process: int = 100
    partition_by: str | None = None
    partition_size: int | None = None
    lease: float = 600.0
    max_wall: float | None = None
    output_required: bool = False
    policy: Mapping[str, Any] | None = None
    near_limit: int | None = None
    transfer_deadline: float = 86400.0
    link_limit: int = 4


@dataclass(frozen=True, slots=True)
class Application:
    """What processes the files: family, name, version; and where and for whom."""

    family: str
    name: str
    version: str
    station: str
    owner: str


@dataclass(frozen=True, slots=True)
class ProjectRow:
    """A project as the kernel sees it."""

    id: int
    name: str
    request: int
    state: str
    reason: str | None
    recovers: int | None
    fenced: bool


def find(tx: Tx, name: str) -> ProjectRow:
    """Return a project by name, for a move of the whole of it: no process of the request moves meanwhile. Raises `NotFound`."""
    tx.lock_request(project=name, alone=True)
    row = tx.run(PROJECT, {"name": name}).fetchone()
    if row is None:
        raise NotFound(f"there is no project {name!r}", remedy="`bookkeeper project list` names them")
    return ProjectRow(*row)


def open_request(tx: Tx, name: str, snapshot: int, rules: Rules, application: Application) -> int:
    """Open a request over a snapshot with its root project and its ledger; return the project's id."""
    request = tx.run(
        REQUEST,
        {
            "name": name,
            "snapshot": snapshot,
            "max_attempts": rules.max_attempts,
            "files_per_process": rules.files_per_process,
            "partition_by": rules.partition_by,
            "partition_size": rules.partition_size,
            "lease": rules.lease,
            "max_wall": rules.max_wall,
            "output_required": rules.output_required,
            "policy": None if rules.policy is None else json.dumps(rules.policy),
            "near_limit": rules.near_limit,
            "transfer_deadline": rules.transfer_deadline,
            "link_limit": rules.link_limit,
        },
    ).fetchone()[0]
    project = tx.run(
        ROOT,
        {
            "request": request,
            "family": application.family,
            "application": application.name,
            "version": application.version,
            "station": application.station,
            "owner": application.owner,
        },
    ).fetchone()[0]
    if rules.partition_by is None:
        tx.run(LEDGER, {"request": request, "project": project, "snapshot": snapshot})
    else:
        tx.many(LEDGER_ROW, _partitioned(tx, request, project, snapshot, rules))
    return int(project)


def _partitioned(tx: Tx, request: int, project: int, snapshot: int, rules: Rules) -> Iterator[dict[str, Any]]:
    """Fill partitions in the order of declaration, each up to its size; a file larger than that has its own."""
    limit = rules.partition_size or 1
    partition, filled, count = 0, 0, 0
    for file, version, size, entries, name in tx.run(SNAPSHOT_WEIGHTS, {"snapshot": snapshot}).fetchall():
        if rules.partition_by == "entries" and entries is None:
            raise NotAllowed(
                f"the entries of {name} are not known: it cannot be partitioned by entries",
                remedy="declare its entries, or partition by files or bytes",
            )
        weight = {"files": 1, "bytes": size, "entries": entries or 0}[rules.partition_by or "files"]
        if count and filled + weight > limit:
            partition, filled, count = partition + 1, 0, 0
        filled, count = filled + weight, count + 1
        yield {"request": request, "project": project, "file": file, "version": version, "partition": partition}


def pause(tx: Tx, project: ProjectRow, reason: str) -> None:
    """Stop starts and deliveries; what runs may commit. Raises `NotAllowed` where the project has ended."""
    if tx.run(PAUSE, {"project": project.id, "reason": storable(reason)}).rowcount == 0:
        raise NotAllowed(f"project {project.name} has ended: it cannot be paused")
    record(tx, "project.paused", {"reason": reason}, project=project.id)


def resume(tx: Tx, project: ProjectRow) -> bool:
    """Let a project that is paused or rests go on; tell whether it did. Raises `NotAllowed` where it has ended.

    What was mended counts no longer: files that wait for their next try are free at once.
    """
    if tx.run(RESUME, {"project": project.id}).rowcount:
        tx.run(TRY_AGAIN, {"project": project.id})
        tx.run(WAIT_NO_MORE, {"project": project.id})
        record(tx, "project.resumed", {}, project=project.id)
        return True
    if project.state == "ended":
        raise NotAllowed(f"project {project.name} has ended", remedy=f"`bookkeeper recover {project.name}` goes on")
    return False


def end(tx: Tx, project: ProjectRow, *, fence_live: bool = False) -> int:
    """End a project for ever; return how many live processes were fenced.

    Without the fence, live processes keep what they hold and may still commit. A repeated end is a good answer; a
    later one with the fence fences.
    """
    if tx.run(END, {"project": project.id, "fenced": fence_live}).rowcount:
        record(tx, "project.ended", {"fenced": fence_live}, project=project.id)
    return fence_request(tx, project.request) if fence_live else 0


def fence_request(tx: Tx, request: int) -> int:
    """Roll back every live process of a request whose project has ended; return how many."""
    tx.run(FENCE, {"request": request})
    processes = tx.run(
        f"{LIVE} AND project_id IN (SELECT id FROM projects WHERE request_id = :request AND state = 'ended')",
        {"request": request},
    ).fetchall()
    return sum(fence(tx, process, "its project was ended with the fence") for (process,) in processes)


def recover(tx: Tx, project: ProjectRow, *, fence_live: bool = False) -> int | None:
    """Return the one project that takes up what is neither committed nor parked, or None where nothing is.

    Ends ``project`` if it is the open one; a recovery that stands is returned as it is. Rows that live processes
    hold come to it when they are given back.
    """
    row = tx.run(OPEN, {"request": project.request}).fetchone()
    standing = None if row is None else ProjectRow(*row)
    if standing is not None and standing.id == project.id:
        end(tx, standing, fence_live=fence_live)
        standing = None
    elif fence_live:
        fence_request(tx, project.request)
    if tx.run(MISSING, {"request": project.request}).fetchone()[0] == 0:
        return None
    if standing is not None:
        return standing.id
    newest = tx.run(NEWEST, {"request": project.request}).fetchone()[0]
    target = _open_recovery(tx, newest)
    for origin, files in tx.run(SHARES, {"request": project.request, "target": target}).fetchall():
        if files:
            tx.run(TAKE_OVER, {"origin": origin, "target": target})
            move_share(tx, origin=origin, target=target, count=files)
    record(tx, "project.recovered", {"recovers": newest}, project=target)
    return target


def _open_recovery(tx: Tx, newest: int) -> int:
    """Open the project after ``newest`` under the first name that nobody else's project has."""
    for taken in count():
        row = tx.run(RECOVERY, {"project": newest, "taken": taken}).fetchone()
        if row is not None:
            return int(row[0])
    raise AssertionError("names never run out")
