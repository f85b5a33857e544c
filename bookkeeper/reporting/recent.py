"""What failed lately, at a glance: constant work, however many failures there are."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from bookkeeper.catalog import Database
from bookkeeper.operations import operation

LOOKED_AT: Final = 100

NEWEST: Final = """
SELECT e.process_id, COALESCE(e.body ->> 'category', 'unknown') AS category FROM events e
 WHERE e.kind = 'failure.classified'
   AND e.project_id = (SELECT MAX(j.id) FROM projects j
                        WHERE j.request_id = (SELECT id FROM requests WHERE name = :request) AND j.rollbacks > 0)
 ORDER BY e.id DESC LIMIT :limit
"""


@operation("read")
def top_category(database: Database, request: str) -> dict[str, Any] | None:
    """Return the commonest category of the newest failures of a request: ``category``, ``processes``, ``of``.

    Of the last project that had any, and of no more than a hundred failures; None where nothing failed.
    """
    rows = database.rows(NEWEST, {"request": request, "limit": LOOKED_AT})
    newest: dict[int, str] = {}
    for row in rows:
        newest.setdefault(row["process_id"], row["category"])
    if not newest:
        return None
    category, processes = Counter(newest.values()).most_common(1)[0]
    return {"category": category, "processes": processes, "of": len(newest)}
