"""Intend jobs, and record that a batch system has them, or has not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from bookkeeper.catalog import NOW, Database, Tx, storable
from bookkeeper.errors import NotAllowed
from bookkeeper.events import record
from bookkeeper.ledger import requests
from bookkeeper.operations import operation

INTENDED: Final = "SELECT jobs FROM submissions WHERE tag = :tag"

OPEN: Final = """
SELECT count(*) FROM submissions s JOIN jobs b ON b.submission_id = s.id
 WHERE s.request_id = :request AND b.ended_at IS NULL
"""

INTEND: Final = f"""
INSERT INTO submissions (request_id, project_id, executor, tag, jobs, host, folder, asks, intended_at)
VALUES (:request, :project, :executor, :tag, :jobs, :host, :folder, :asks, {NOW}) RETURNING id
"""

JOB: Final = f"INSERT INTO jobs (submission_id, number, changed_at) VALUES (:submission, :number, {NOW})"

SETTLE: Final = f"""
UPDATE submissions SET settled_at = {NOW}, batch_id = :batch_id, reason = :reason
 WHERE id = :submission AND settled_at IS NULL RETURNING project_id, executor, tag
"""

SUBMITTED: Final = f"""
UPDATE jobs SET state = 'idle', batch_id = :batch_id, changed_at = {NOW}
 WHERE submission_id = :submission AND number = :number AND state = 'intended'
"""

NEVER: Final = f"""
UPDATE jobs SET state = 'lost', reason = :reason, verdict = 'never submitted', changed_at = {NOW}, ended_at = {NOW}
 WHERE submission_id = :submission AND state = 'intended'
"""


@operation("work", project="project", again=True)
def intend(
    database: Database,
    project: str,
    *,
    tag: str,
    executor: str,
    host: str,
    folder: str,
    asks: dict[str, Any],
    wanted: int,
) -> int:
    """Record that jobs are about to be submitted, so many that ``wanted`` of the request are in the queue; return how many.

    Those that are there are counted in the same transaction: two that want jobs at once get them once. ``tag`` is one
    that no other submission has; said again, it is answered the same. 0 where enough are there, or the project is not
    open.
    """

    def move(tx: Tx) -> int:
        tx.lock_request(project=project, alone=True)
        known = tx.run(INTENDED, {"tag": tag}).fetchone()
        if known is not None:
            return int(known[0])
        found = requests.find(tx, project)
        count = wanted - int(tx.run(OPEN, {"request": found.request}).fetchone()[0])
        if count <= 0 or found.state != "open":
            return 0
        row = {"request": found.request, "project": found.id, "executor": executor, "tag": tag, "jobs": count}
        (submission,) = tx.run(
            INTEND, {**row, "host": host, "folder": storable(folder), "asks": json.dumps(asks)}
        ).fetchone()
        tx.many(JOB, [{"submission": submission, "number": number} for number in range(count)])
        return count

    return database.run(move, durable=True)


@operation("work", project="project", again=True)
def submitted(database: Database, project: str, submission: int, *, batch_id: str, jobs: Sequence[str]) -> bool:
    """Record that a batch system has the jobs, and what it calls them, by their numbers; tell whether that is news."""

    def move(tx: Tx) -> bool:
        check(tx, project, submission)
        row = tx.run(SETTLE, {"submission": submission, "batch_id": batch_id, "reason": None}).fetchone()
        if row is None:
            return False
        of, executor, tag = row
        named = [{"submission": submission, "number": number, "batch_id": one} for number, one in enumerate(jobs)]
        tx.many(SUBMITTED, named)
        record(
            tx,
            "job.submitted",
            {"executor": executor, "tag": tag, "batch_id": batch_id, "jobs": len(jobs)},
            project=of,
        )
        return True

    return database.run(move, durable=True)


@operation("work", project="project", again=True)
def not_submitted(database: Database, project: str, submission: int, *, reason: str) -> bool:
    """Record that the batch system has none of the jobs and is to get none; tell whether that is news."""

    def move(tx: Tx) -> bool:
        check(tx, project, submission)
        said = storable(reason)
        row = tx.run(SETTLE, {"submission": submission, "batch_id": None, "reason": said}).fetchone()
        if row is None:
            return False
        tx.run(NEVER, {"submission": submission, "reason": said})
        of, executor, tag = row
        record(tx, "job.refused", {"executor": executor, "tag": tag, "reason": reason}, project=of)
        return True

    return database.run(move, durable=True)


OF: Final = """
SELECT s.project_id FROM submissions s JOIN projects j ON j.request_id = s.request_id WHERE s.id = :submission AND j.name = :project
"""


def check(tx: Tx, project: str, submission: int) -> int:
    """Return the project that a submission was made for.

    Raises `NotAllowed` for one of another request: who may speak for one project speaks for no other.
    """
    row = tx.run(OF, {"submission": submission, "project": project}).fetchone()
    if row is None:
        raise NotAllowed(f"submission {submission} is none of project {project}")
    return int(row[0])
