"""What was decided after failures: how often, and the last ones with their reasons."""

from __future__ import annotations

import json
from typing import Any, Final

from bookkeeper.catalog import Database

LAST: Final = 5

KINDS: Final = """
SELECT COALESCE(e.body ->> 'decisions', '[]') AS decisions, COUNT(*) AS times
  FROM requests r JOIN projects j ON j.request_id = r.id
  JOIN events e ON e.project_id = j.id AND e.kind = 'retry.decided'
 WHERE r.name = :request GROUP BY e.body ->> 'decisions'
"""

NEWEST: Final = """
SELECT e.at, e.process_id, e.kind, e.body
  FROM requests r JOIN projects j ON j.request_id = r.id
  JOIN events e ON e.project_id = j.id AND e.kind = 'retry.decided'
 WHERE r.name = :request ORDER BY e.id DESC LIMIT :limit
"""

HELD_UP: Final = """
SELECT e.at, e.process_id, e.kind, e.body
  FROM requests r JOIN projects j ON j.request_id = r.id
  JOIN events e ON e.project_id = j.id AND e.kind IN ('project.paused', 'project.rested')
 WHERE r.name = :request ORDER BY e.id DESC LIMIT :limit
"""


def made(database: Database, request: str, limit: int) -> dict[str, Any]:
    """Return ``counts`` (decision → times), the ``last`` decisions, and the last times that the project was held up."""
    counts: dict[str, int] = {}
    for row in database.rows(KINDS, {"request": request}):
        for decision in dict.fromkeys(json.loads(row["decisions"])):
            counts[decision] = counts.get(decision, 0) + row["times"]
    last = {"request": request, "limit": min(limit, LAST)}
    return {
        "counts": dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))),
        "last": [_told(row) for row in database.rows(NEWEST, last)] if counts else [],
        "pauses": [_told(row) for row in database.rows(HELD_UP, last)],
    }


def _told(row: dict[str, Any]) -> dict[str, Any]:
    return {"at": row["at"], "process_id": row["process_id"], "kind": row["kind"], **json.loads(row["body"])}
