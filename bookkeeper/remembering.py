"""What a project was submitted with: kept in the catalog, so that a recovery finds it again."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bookkeeper import events
from bookkeeper.catalog import Database
from bookkeeper.ledger import requests
from bookkeeper.operations import Remote, operation

if TYPE_CHECKING:
    from bookkeeper.spec import Spec

SUBMITTED: Final = "project.submitted"

REMEMBERED: Final = """
SELECT body FROM events
 WHERE kind = :kind AND project_id IN
       (SELECT id FROM projects WHERE request_id = (SELECT request_id FROM projects WHERE name = :project))
 ORDER BY id DESC LIMIT 1
"""


WATCHED: Final = """
SELECT j.name AS project, e.body FROM projects j JOIN events e ON e.id =
       (SELECT max(n.id) FROM events n WHERE n.kind = :kind AND n.project_id IN
               (SELECT k.id FROM projects k WHERE k.request_id = j.request_id))
 WHERE j.state <> 'ended' OR j.id = (SELECT max(k.id) FROM projects k WHERE k.request_id = j.request_id) AND EXISTS
       (SELECT 1 FROM submissions s JOIN jobs b ON b.submission_id = s.id
         WHERE s.request_id = j.request_id AND b.ended_at IS NULL)
 ORDER BY j.id
"""


def terms(spec: Spec, jobs: int | None) -> dict[str, Any]:
    """Return how many jobs run at a time, what each asks for of memory, and how much at most (MB)."""
    said = spec.executor
    return {
        "jobs": jobs or said.jobs,
        "memory_mb": said.memory_mb,
        "max_memory_mb": said.max_memory_mb,
    }


def remember(database: Database, spec: Spec, path: str, jobs: int | None) -> None:
    """Record which spec a project was submitted with, and what it says of its jobs."""
    where = {"spec": str(Path(path).absolute()), "host": socket.gethostname(), "executor": spec.executor.kind}
    said = where | terms(spec, jobs)
    if isinstance(database, Remote):
        record(database, spec.project.name, said)
    else:
        _record(database, spec.project.name, said)


@operation("work", project="project", again=True)
def record(database: Database, project: str, body: dict[str, Any]) -> None:
    """Record what a project was submitted with, by somebody elsewhere: no server runs anything because of it."""
    _record(database, project, {**body, "via": "server"})


def _record(database: Database, project: str, body: dict[str, Any]) -> None:
    database.run(lambda tx: events.record(tx, SUBMITTED, body, project=requests.find(tx, project).id))


@operation("read")
def remembered(database: Database, project: str) -> dict[str, Any] | None:
    """Return what any project of the request was submitted with last: ``spec``, its path, and `terms`."""
    row = database.one(REMEMBERED, {"kind": SUBMITTED, "project": project})
    return None if row is None else json.loads(row["body"])


@operation("read")
def to_watch(database: Database) -> list[dict[str, Any]]:
    """Return the projects that are not over, or have jobs in a queue: ``project``, and what `remembered` says of each.

    Of a request the open project, else the newest. Those that nobody submitted are left out.
    """
    rows = database.rows(WATCHED, {"kind": SUBMITTED})
    return [{"project": row["project"], **json.loads(row["body"])} for row in rows]
