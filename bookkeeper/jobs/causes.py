"""Why a worker was told to stop, or its job started again: the batch system knows the reason, a little later."""

from __future__ import annotations

import contextlib
import json
import re
from itertools import groupby
from typing import Any, Final

from bookkeeper import failures
from bookkeeper.catalog import Database, Tx, storable
from bookkeeper.errors import NotFound
from bookkeeper.failures import Evidence
from bookkeeper.operations import operation
from bookkeeper.retries.judging import reclassified

UNNAMED: Final = """
SELECT p.id, p.reason, p.executor, e.kind, e.body
  FROM (SELECT id, reason, executor FROM processes
         WHERE request_id = (SELECT request_id FROM projects WHERE name = :project) AND state = 'rolled_back'
         ORDER BY project_id DESC, id DESC LIMIT 200) p
  JOIN events e ON e.process_id = p.id AND (e.kind IN ('job.held', 'job.evicted', 'job.removed')
       OR e.kind = 'job.running' AND CAST(e.body ->> 'died' AS TEXT) IN ('1', 'true'))
 WHERE p.reason LIKE 'the worker was told to stop by signal 15%' OR p.reason LIKE 'its job % was started again'
    OR p.reason LIKE 'its job % was evicted%'
 ORDER BY p.id, e.id
"""

NAME: Final = "UPDATE processes SET reason = :reason WHERE id = :process AND state = 'rolled_back' AND reason = :was"

TOGETHER: Final = 2.0
"""Seconds within which events of a job are one: it is evicted because it is held, or removed; that may be heard later."""

EVICTED: Final = re.compile(r"its job \S+ was evicted")

WORDS: Final = {
    "job.held": ("HELD", "held"),
    "job.removed": ("REMOVED", "removed"),
    "job.evicted": ("EVICTED", "evicted"),
    "job.running": ("EVICTED", "started again"),
}
"""What a process is said to have met, by the event that tells it; the first of them says most."""


@operation("work", project="project", again=True)
def name_causes(database: Database, project: str) -> int:
    """Give processes that were told to stop, or whose job runs anew, the reason of their batch system; return how many.

    The explanation of the failure is made anew, so that what the next jobs ask for follows from it.
    """
    found = database.rows(UNNAMED, {"project": project})
    told = groupby(found, key=lambda row: row["id"])
    return sum(_name(database, *_cause(list(rows))) for _, rows in told)


def _cause(rows: list[dict[str, Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the event that says why, of those that tell of one end, and what it says."""
    said = [(row, json.loads(row["body"]) if isinstance(row["body"], str) else row["body"]) for row in rows]
    first = float(said[0][1].get("at", 0.0))
    one_end = [pair for pair in said if float(pair[1].get("at", 0.0)) <= first + TOGETHER]
    return min(one_end, key=lambda pair: list(WORDS).index(pair[0]["kind"]))


def _name(database: Database, row: dict[str, Any], said: dict[str, Any]) -> bool:
    state, word = WORDS[row["kind"]]
    why = said.get("reason") or ""
    what = why if why.startswith(word) else f"{word}: {why}" if why else word
    reason = storable(f"its job {said.get('job')} was {what}")
    if reason == row["reason"] or (EVICTED.match(row["reason"]) and word not in ("held", "removed")):
        return False
    evidence = Evidence(
        message=reason, hold_code=said.get("hold_code"), hold_subcode=said.get("hold_subcode"), state=state
    )
    explanation = failures.explain(evidence)

    def move(tx: Tx) -> bool:
        if not tx.run(NAME, {"process": row["id"], "was": row["reason"], "reason": reason}).rowcount:
            return False
        with contextlib.suppress(NotFound):  # it counted as no failure
            reclassified(tx, row["id"], explanation, row["executor"] or "batch", evidence)
        return True

    return database.run(move, durable=True)
