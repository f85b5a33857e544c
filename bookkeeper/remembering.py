"""What a project was submitted with: kept in the catalog, so that a recovery finds it again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bookkeeper import events
from bookkeeper.catalog import Database
from bookkeeper.ledger import requests
from bookkeeper.operations import operation

if TYPE_CHECKING:
    from bookkeeper.spec import Spec

SUBMITTED: Final = "project.submitted"

REMEMBERED: Final = """
SELECT body FROM events
 WHERE kind = :kind AND project_id IN
       (SELECT id FROM projects WHERE request_id = (SELECT request_id FROM projects WHERE name = :project))
 ORDER BY id DESC LIMIT 1
"""


def terms(spec: Spec, jobs: int | None) -> dict[str, Any]:
    """Return how many jobs run at a time, what each asks for of memory, and how much at most (MB)."""
    said = spec.executor
    return {"jobs": jobs or said.jobs, "memory_mb": said.memory_mb, "max_memory_mb": said.max_memory_mb}


def remember(database: Database, spec: Spec, path: str, jobs: int | None) -> None:
    """Record which spec a project was submitted with, and what it says of its jobs."""
    record(database, spec.project.name, {"spec": str(Path(path).absolute()), **terms(spec, jobs)})


@operation("work", project="project", again=True)
def record(database: Database, project: str, body: dict[str, Any]) -> None:
    """Record what a project was submitted with."""
    database.run(lambda tx: events.record(tx, SUBMITTED, body, project=requests.find(tx, project).id))


@operation("read")
def remembered(database: Database, project: str) -> dict[str, Any] | None:
    """Return what any project of the request was submitted with last: ``spec``, its path, and `terms`."""
    row = database.one(REMEMBERED, {"kind": SUBMITTED, "project": project})
    return None if row is None else json.loads(row["body"])
