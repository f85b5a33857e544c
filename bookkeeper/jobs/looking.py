"""Jobs as people and babysitters look at them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from bookkeeper.catalog import Database
from bookkeeper.operations import operation

SUBMISSIONS: Final = """
SELECT s.id, s.executor, s.tag, s.jobs, s.host, s.folder, s.asks, s.batch_id, s.reason, s.position, s.intended_at,
       s.settled_at, j.name AS project,
       (SELECT count(*) FROM jobs b WHERE b.submission_id = s.id AND b.ended_at IS NULL) AS open
  FROM submissions s JOIN projects j ON j.id = s.project_id
 WHERE s.request_id = (SELECT request_id FROM projects WHERE name = :project)
   AND s.id IN (SELECT b.submission_id FROM jobs b WHERE b.ended_at IS NULL)
 ORDER BY s.id
"""

OPEN_JOBS: Final = """
SELECT b.submission_id, b.number, b.batch_id, b.state, b.starts, b.node, b.hold_code, b.hold_subcode, b.reason,
       b.verdict, b.changed_at
  FROM jobs b CROSS JOIN submissions s
 WHERE s.id = b.submission_id AND s.request_id = (SELECT request_id FROM projects WHERE name = :project) AND b.ended_at IS NULL
 ORDER BY b.submission_id, b.number
"""

BUSY: Final = """
SELECT count(*) AS busy FROM processes p
 WHERE p.request_id = (SELECT request_id FROM projects WHERE name = :project) AND p.state = 'active' AND p.delivered > 0
   AND EXISTS (SELECT 1 FROM jobs b WHERE b.batch_id = p.job_id AND b.ended_at IS NULL)
"""

TABLE: Final = """
SELECT b.batch_id AS job, b.state, b.starts, b.node, p.id AS process_id, p.state AS process_state, b.hold_code, b.hold_subcode,
       b.exit_code, b.signal, b.reason, b.verdict, b.changed_at, b.started_at, b.ended_at, s.executor, s.batch_id AS submission,
       s.tag, s.host, b.number, j.name AS project
  FROM submissions s JOIN jobs b ON b.submission_id = s.id JOIN projects j ON j.id = s.project_id
  LEFT JOIN processes p ON p.id = COALESCE(b.process_id, (SELECT max(q.id) FROM processes q
              WHERE q.job_id = b.batch_id AND q.request_id = s.request_id AND q.executor = s.executor))
 WHERE s.request_id = (SELECT request_id FROM projects WHERE name = :project)
   AND (:everything/*integer*/ = 1 OR b.ended_at IS NULL OR b.verdict <> 'agree')
 ORDER BY s.id, b.number
"""

OF_PROCESS: Final = """
SELECT b.submission_id, b.number, b.batch_id AS job, b.state, s.executor, s.host, s.folder, s.tag, s.jobs, s.asks,
       s.position, s.batch_id, j.name AS project
  FROM processes p JOIN jobs b ON b.batch_id = p.job_id JOIN submissions s ON s.id = b.submission_id
  JOIN projects j ON j.id = s.project_id
 WHERE p.id = :process AND s.request_id = p.request_id AND s.executor = p.executor
 ORDER BY s.id DESC LIMIT 1
"""

OVER: Final = """
SELECT s.id, s.executor, s.tag, s.jobs, s.host, s.folder, s.asks, s.batch_id, s.position, j.name AS project
  FROM submissions s JOIN projects j ON j.id = s.project_id
 WHERE s.tag = :tag AND NOT EXISTS (SELECT 1 FROM jobs b WHERE b.submission_id = s.id AND b.ended_at IS NULL)
"""

FRUITLESS: Final = """
SELECT b.process_id, b.state, b.exit_code, b.signal, b.hold_code, b.hold_subcode, b.reason, s.reason AS refused
  FROM submissions s JOIN jobs b ON b.submission_id = s.id
  JOIN projects j ON j.request_id = s.request_id AND j.state <> 'ended'
 WHERE s.request_id = (SELECT request_id FROM projects WHERE name = :project) AND b.ended_at IS NOT NULL
   AND s.intended_at > COALESCE(j.resumed_at, j.started_at)
 ORDER BY b.ended_at DESC, b.submission_id DESC, b.number DESC LIMIT :most/*bigint*/
"""


@operation("read")
def submissions(database: Database, project: str) -> list[dict[str, Any]]:
    """Return the submissions of a request that have jobs which are not known to be over, oldest first.

    ``asks`` is what the batch system was asked for; ``settled_at`` is None where nobody knows whether it has the jobs;
    ``unfinished`` are its jobs that are not over: number, batch_id, state, starts, node, hold_code, hold_subcode, reason,
    verdict (of a held job: that it is to be removed), changed_at.
    """
    found = {row["id"]: {**row, "asks": _asks(row["asks"]), "unfinished": []} for row in _rows(database, project)}
    if found:
        for job in database.rows(OPEN_JOBS, {"project": project}):
            if job["submission_id"] in found:  # between two looks another may have come
                found[job["submission_id"]]["unfinished"].append(job)
    return list(found.values())


def _rows(database: Database, project: str) -> list[dict[str, Any]]:
    return database.rows(SUBMISSIONS, {"project": project})


def _asks(said: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(said) if isinstance(said, str) else said
    return found


@operation("read")
def standing(database: Database, project: str) -> int:
    """Return how many jobs of a request have a process that was given files."""
    row = database.one(BUSY, {"project": project})
    return int(row["busy"]) if row else 0


@operation("read")
def table(database: Database, project: str, *, everything: bool = False) -> Iterator[dict[str, Any]]:
    """Return the jobs of a request: those that are not over, and those of which batch system and catalog differ.

    ``everything``: all. Keys: job, state, starts, node, process_id, process_state, hold_code, hold_subcode, exit_code,
    signal, reason, verdict, changed_at, started_at, ended_at, executor, submission, tag, host, number, project. A process
    is there as soon as it was opened, though nobody has heard of it from the batch system.
    """
    yield from database.rows(TABLE, {"project": project, "everything": int(everything)})


@operation("read")
def of_process(database: Database, process: int) -> dict[str, Any] | None:
    """Return the job that a process ran in: its submission, number, host and folder; None where no batch system ran it."""
    row = database.one(OF_PROCESS, {"process": process})
    return None if row is None else {**row, "asks": _asks(row["asks"])}


@operation("read")
def over(database: Database, tag: str) -> dict[str, Any] | None:
    """Return the submission with this tag if all its jobs are over: what `submissions` says of one, but of no job."""
    row = database.one(OVER, {"tag": tag})
    return None if row is None else {**row, "asks": _asks(row["asks"])}


@operation("read")
def fruitless(database: Database, project: str, most: int) -> list[dict[str, Any]]:
    """Return the jobs that were over last since the project was started or resumed, newest first, ``most`` of them."""
    return database.rows(FRUITLESS, {"project": project, "most": most})
