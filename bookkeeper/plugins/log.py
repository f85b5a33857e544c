"""Read the log of events, in the order of their numbers.

Writers of SQLite come one after the other, so that an event never appears behind one that was read already. Those of
PostgreSQL do not: an event is read when no transaction is open any more that may have a lower number.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from bookkeeper import events
from bookkeeper.catalog import Database, Tx
from bookkeeper.operations import operation
from bookkeeper.plugins.values import Decision, Event, Failure

CLASSIFIED: Final = "failure.classified"
DECIDED: Final = "retry.decided"
FAILED: Final = "plugin.failed"

FILES: Final = 1000
"""The most files that a failure names."""

NEWEST: Final = "SELECT max(id) AS id FROM events"

AFTER: Final = """
SELECT e.id, e.at, e.kind, j.name AS project, r.name AS request, e.process_id, f.name AS file, e.body
  FROM events e
  LEFT JOIN processes p ON p.id = e.process_id
  LEFT JOIN projects j ON j.id = COALESCE(e.project_id, p.project_id)
  LEFT JOIN requests r ON r.id = j.request_id
  LEFT JOIN files f ON f.id = e.file_id
 WHERE e.id > :after
--pg AND (bookkeeper_settled(e.xmin) OR e.id < (SELECT max(id) FROM events) - 10000000)
 ORDER BY e.id LIMIT :limit
"""

LAST_FAILURE: Final = """
SELECT id, at, body FROM events
 WHERE process_id = :process AND kind = :kind AND id <= :event ORDER BY id DESC LIMIT 1
"""

PROJECT: Final = "SELECT id FROM projects WHERE name = :name"

NODE: Final = "SELECT node FROM processes WHERE id = :process"

DELIVERED: Final = """
SELECT f.name FROM deliveries d JOIN files f ON f.id = d.file_id WHERE d.process_id = :process ORDER BY d.file_id LIMIT :limit
"""


@operation("read", name="log.newest")
def newest(database: Database) -> int:
    """Return the number of the newest event, 0 where there is none: one look at an index."""
    row = database.one(NEWEST)
    return 0 if row is None else row["id"] or 0


@operation("read", name="log.read")
def read(database: Database, after: int, limit: int) -> list[Event]:
    """Return the next events, at most ``limit``."""
    rows = database.rows(AFTER, {"after": after, "limit": limit})
    return [Event(**{**row, "body": json.loads(row["body"])}) for row in rows]


def append(tx: Tx, kind: str, body: Mapping[str, Any], *, project: str | None, process: int | None = None) -> None:
    """Record an event of a project that is known by its name."""
    row = tx.run(PROJECT, {"name": project}).fetchone()
    events.record(tx, kind, body, project=row[0] if row else None, process=process)


@operation("read", name="log.failure")
def failure(database: Database, event: Event) -> Failure | None:
    """Return the failure that an event tells of: its own, or the last of its process before it; None where there is none."""
    if event.process_id is None:
        return None
    known = {"process": event.process_id, "kind": CLASSIFIED, "event": event.id}
    row = database.one(LAST_FAILURE, known)
    if row is None:
        return None
    body: dict[str, Any] = json.loads(row["body"])
    node = database.one(NODE, {"process": event.process_id})
    names = database.rows(DELIVERED, {"process": event.process_id, "limit": FILES})
    words = {name: str(body.get(name) or "") for name in ("category", "rule", "evidence", "remedy", "message", "by")}
    return Failure(
        event=row["id"],
        at=row["at"],
        project=event.project or "",
        process_id=event.process_id,
        node=node["node"] if node else None,
        files=tuple(name["name"] for name in names),
        category=words["category"],
        rule=words["rule"],
        confidence=float(body.get("confidence") or 0.0),
        evidence=words["evidence"],
        remedy=words["remedy"],
        message=words["message"],
        step=body.get("step"),
        exit_code=body.get("exit_code"),
        signal=body.get("signal"),
        by=words["by"],
        body=body,
    )


def decision(event: Event) -> Decision:
    """Return the decision that an event tells of."""
    body = event.body
    return Decision(
        event=event.id,
        project=event.project or "",
        process_id=event.process_id,
        decisions=tuple(body.get("decisions") or ()),
        reason=str(body.get("reason") or ""),
        charged=int(body.get("charged") or 0),
        parked=int(body.get("parked") or 0),
        delay=body.get("delay"),
        suspects=tuple(body.get("suspects") or ()),
    )
