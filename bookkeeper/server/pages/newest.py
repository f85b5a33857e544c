"""The newest of something, a page at a time: each statement walks an index backwards from a key, and stops.

Processes are indexed by request, state and project, events by project and kind. So the newest of a request are the
newest of each of these parts, merged: no statement looks at more rows than a page shows.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from bookkeeper.catalog import Database
from bookkeeper_schema.states import ProcessState

TOP: Final = 1 << 62
"""A key above all keys: before it comes everything."""

PROJECTS_SHOWN: Final = 50
"""Projects of a request that are looked at, the newest: one and its recoveries."""

PROJECTS: Final = """
SELECT j.id, j.name, j.state, j.files, j.committed, j.commits, j.rollbacks, j.owner, j.started_at, j.ended_at, j.reason,
       (SELECT k.name FROM projects k WHERE k.id = j.recovers) AS recovers,
       j.application_family || '/' || j.application_name || '/' || j.application_version AS application
  FROM projects j WHERE j.request_id = (SELECT id FROM requests WHERE name = :request) ORDER BY j.id DESC LIMIT :limit
"""

PROCESSES: Final = """
SELECT p.id, p.state, p.node, p.job_id, p.partition_number, p.delivered, p.started_at, p.ended_at, p.reason
  FROM processes p
 WHERE p.request_id = (SELECT id FROM requests WHERE name = :request) AND p.state = :state AND p.project_id = :project
   AND p.id < :before
 ORDER BY p.id DESC LIMIT :limit
"""

KINDS: Final = """
WITH RECURSIVE kinds(kind) AS (
  SELECT MIN(e.kind) FROM events e WHERE e.project_id = :project
  UNION ALL
  SELECT (SELECT MIN(e.kind) FROM events e WHERE e.project_id = :project AND e.kind > kinds.kind)
    FROM kinds WHERE kinds.kind IS NOT NULL
)
SELECT kind FROM kinds WHERE kind IS NOT NULL
"""

EVENTS: Final = """
SELECT e.id, e.at, e.kind, e.process_id, f.name AS file, e.body
  FROM events e LEFT JOIN files f ON f.id = e.file_id
 WHERE e.project_id = :project AND e.kind = :kind AND e.id < :before ORDER BY e.id DESC LIMIT :limit
"""

PARKED: Final = """
SELECT l.file_id AS id, f.name AS file, l.reason, l.attempts, l.process_id, p.node
  FROM ledger l JOIN files f ON f.id = l.file_id LEFT JOIN processes p ON p.id = l.process_id
 WHERE l.project_id = :project AND l.state = 'parked' AND l.file_id > :after ORDER BY l.file_id LIMIT :limit
"""

OUTPUTS: Final = """
SELECT o.id, o.key, o.state, o.final_url AS url, o.size, o.checksum, o.entries, o.published_at
  FROM outputs o WHERE o.process_id = :process ORDER BY o.id LIMIT :limit
"""


class Page(NamedTuple):
    """Rows, and the key after which the next page begins; None where there is none."""

    rows: list[dict[str, Any]]
    next: int | None


def projects(database: Database, request: str) -> list[dict[str, Any]]:
    """Return the projects of a request, newest first."""
    return database.rows(PROJECTS, {"request": request, "limit": PROJECTS_SHOWN})


def processes(
    database: Database,
    request: str,
    of: Sequence[Mapping[str, Any]],
    *,
    states: Iterable[str] = ProcessState,
    before: int = TOP,
    limit: int = 50,
) -> Page:
    """Return the newest processes of a request's projects, in these states, with ids below ``before``."""
    parts = [
        _marked(
            database.rows(
                PROCESSES,
                {
                    "request": request,
                    "project": one["id"],
                    "state": str(state),
                    "before": before,
                    "limit": limit + 1,
                },
            ),
            project=one["name"],
        )
        for one in of
        for state in states
    ]
    return _newest(parts, limit)


def events(
    database: Database,
    of: Sequence[Mapping[str, Any]],
    *,
    before: int = TOP,
    limit: int = 50,
    without: Collection[str] = (),
) -> Page:
    """Return the newest events of a request's projects, with ids below ``before``, but for those of some kinds."""
    parts = []
    for one in of:
        kinds = [row["kind"] for row in database.rows(KINDS, {"project": one["id"]})]
        for kind in (kind for kind in kinds if kind not in without):
            asked = {"project": one["id"], "kind": kind, "before": before, "limit": limit + 1}
            parts.append(_marked(database.rows(EVENTS, asked), project=one["name"]))
    found = _newest(parts, limit)
    for row in found.rows:
        row["body"] = body(row["body"])
    return found


def failures(database: Database, of: Sequence[Mapping[str, Any]], limit: int) -> list[dict[str, Any]]:
    """Return the newest explanations of failures: one of each process, newest first."""
    parts = [
        database.rows(EVENTS, {"project": one["id"], "kind": "failure.classified", "before": TOP, "limit": limit})
        for one in of
        if one["rollbacks"]
    ]
    found: dict[int, dict[str, Any]] = {}
    for row in _newest(parts, limit).rows:
        found.setdefault(row["process_id"], {"at": row["at"], "process_id": row["process_id"], **body(row["body"])})
    return list(found.values())


def parked(database: Database, of: Sequence[Mapping[str, Any]], *, after: int = 0, limit: int = 50) -> Page:
    """Return parked files of a request's projects, with ids above ``after``."""
    parts = [
        _marked(database.rows(PARKED, {"project": one["id"], "after": after, "limit": limit + 1}), project=one["name"])
        for one in of
    ]
    rows = sorted((row for part in parts for row in part), key=lambda row: int(row["id"]))
    return Page(rows[:limit], rows[limit - 1]["id"] if len(rows) > limit else None)


def outputs(
    database: Database, request: str, of: Sequence[Mapping[str, Any]], *, before: int = TOP, limit: int = 25
) -> Page:
    """Return the outputs of the newest processes that may have some, at most so many processes at a time."""
    having = ("committed", "staged", "revoking", "revoked")
    found = processes(database, request, of, states=having, before=before, limit=limit)
    rows = [
        {**row, "process_id": one["id"], "node": one["node"]}
        for one in found.rows
        for row in database.rows(OUTPUTS, {"process": one["id"], "limit": limit})
    ]
    return Page(rows, found.next)


def body(stored: Any) -> dict[str, Any]:
    """Return the body of an event, whether the driver has read its JSON or not."""
    read = json.loads(stored) if isinstance(stored, str | bytes) else stored
    return read if isinstance(read, dict) else {}


def _marked(rows: list[dict[str, Any]], **more: Any) -> list[dict[str, Any]]:
    for row in rows:
        row.update(more)
    return rows


def _newest(parts: Iterable[list[dict[str, Any]]], limit: int) -> Page:
    """Merge rows that come newest first."""
    merged = heapq.merge(*parts, key=lambda row: -int(row["id"]))
    rows = [row for row, _ in zip(merged, range(limit + 1), strict=False)]
    return Page(rows[:limit], rows[limit - 1]["id"] if len(rows) > limit else None)
