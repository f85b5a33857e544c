"""One failed process: what was explained of it, on what evidence, and what was decided."""

from __future__ import annotations

import json
from typing import Any, Final

from bookkeeper.catalog import Database
from bookkeeper.errors import NotFound
from bookkeeper.operations import operation

FILES_SHOWN: Final = 10

PROCESS: Final = """
SELECT p.id AS process_id, r.name AS request, j.name AS project, p.state, p.node, p.executor, p.job_id, p.delivered AS files,
       p.started_at, p.ended_at, p.ended_at - p.started_at AS wall_time_s, p.reason
  FROM processes p JOIN projects j ON j.id = p.project_id JOIN requests r ON r.id = p.request_id WHERE p.id = :id
"""

EVENTS: Final = """
SELECT id, at, kind, body FROM events
 WHERE process_id = :id AND kind IN ('failure.classified', 'retry.decided', 'perf.recorded') ORDER BY id
"""

FILES: Final = """
SELECT f.name AS file, d.state, d.charged, d.reason, l.state AS now
  FROM deliveries d JOIN files f ON f.id = d.file_id
  LEFT JOIN ledger l ON l.request_id = (SELECT request_id FROM processes WHERE id = :id) AND l.file_id = d.file_id
 WHERE d.process_id = :id ORDER BY d.charged DESC, f.name LIMIT :limit
"""


@operation("read")
def failure_of(database: Database, process: int) -> dict[str, Any]:
    """Return all that is known of the failure of a process.

    Its columns; ``explanation`` (the newest: category, rule, evidence, source, confidence, remedy, message, stderr, …),
    ``earlier`` (explanations that it replaced), ``decision`` (of the retry; None), ``performance``, ``deliveries`` (the
    first files), ``next``. Raises `NotFound` where there is no such process, or where it did not fail.
    """
    row = database.one(PROCESS, {"id": process})
    if row is None:
        raise NotFound(f"there is no process {process}", remedy="`bookkeeper failures PROJECT` names those that failed")
    events: dict[str, list[dict[str, Any]]] = {}
    for event in database.rows(EVENTS, {"id": process}):
        events.setdefault(event["kind"], []).append({"at": event["at"], **json.loads(event["body"])})
    explained = events.get("failure.classified")
    if not explained or row["state"] != "rolled_back":
        raise NotFound(_no_failure(row), remedy=f"`bookkeeper logs {process}` shows what its command wrote")
    *earlier, newest = explained
    files = database.rows(FILES, {"id": process, "limit": FILES_SHOWN})
    found = {
        **row,
        "explanation": newest,
        "earlier": [{key: one.get(key) for key in ("at", "category", "rule", "by")} for one in earlier],
        "decision": events.get("retry.decided", [None])[-1],
        "performance": events.get("perf.recorded", [None])[-1],
        "deliveries": [{**one, "charged": bool(one["charged"])} for one in files],
    }
    return {**found, "next": _next(found)}


def _no_failure(row: dict[str, Any]) -> str:
    if row["state"] == "rolled_back":
        return f"process {row['process_id']} was rolled back without a failure: {row['reason']}"
    return f"process {row['process_id']} did not fail: it is {row['state'].replace('_', ' ')}"


def _next(found: dict[str, Any]) -> list[str]:
    steps = [f"bookkeeper logs {found['process_id']} --stderr --tail 40"]
    parked = [one["file"] for one in found["deliveries"] if one["now"] == "parked"]
    if parked:
        steps.append(f"bookkeeper project unpark {found['project']} {parked[0]}   (when it is mended)")
    return [
        *steps,
        f"bookkeeper failures {found['project']} --rule {found['explanation'].get('rule')}   (others like it)",
    ]
