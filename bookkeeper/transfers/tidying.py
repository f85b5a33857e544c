"""What is left when outputs have arrived, or were given up: publish, and delete what lies near. All of it is repeatable."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, Final

from bookkeeper import stageout
from bookkeeper.catalog import NOW, Database
from bookkeeper.errors import BookkeeperError
from bookkeeper.failures import Evidence
from bookkeeper.ledger import transfers
from bookkeeper.publishing import publish_of
from bookkeeper.retries import judge_of
from bookkeeper_schema.states import Step

ANY_SILENT: Final = f"SELECT 1 FROM transfers WHERE state = 'running' AND claimed_until < {NOW} LIMIT 1"

OVERDUE: Final = f"""
SELECT t.output_id, t.process_id, o.final_url, t.error, t.deadline - t.queued_at AS allowed, t.attempts
  FROM transfers t JOIN outputs o ON o.id = t.output_id
 WHERE t.state = 'waiting' AND t.deadline < {NOW}
"""

UNPUBLISHED: Final = """
SELECT DISTINCT o.process_id FROM transfers t CROSS JOIN outputs o
 WHERE o.id = t.output_id AND t.state IN ('arrived', 'given_up') AND o.state = 'committed'
   AND EXISTS (SELECT 1 FROM processes p WHERE p.id = o.process_id AND p.state = 'committed')
 ORDER BY 1
"""

NEAR_COPIES: Final = """
SELECT t.output_id, t.near_url, t.state, t.arrived_url FROM transfers t JOIN outputs o ON o.id = t.output_id
 WHERE t.state IN ('arrived', 'given_up') AND (t.state = 'given_up' OR o.state IN ('published', 'revoked'))
 ORDER BY t.output_id
"""

ANYTHING: Final = """
SELECT 1 WHERE EXISTS (SELECT 1 FROM transfers t JOIN outputs o ON o.id = t.output_id
                        WHERE t.state IN ('arrived', 'given_up')
                          AND (t.state = 'given_up' OR o.state IN ('published', 'revoked')
                               OR o.state = 'committed' AND EXISTS (SELECT 1 FROM processes p
                                                   WHERE p.id = o.process_id AND p.state = 'committed')))
"""


def tend(database: Database) -> int:
    """Take back the tries of transfer workers that fell silent, and give up what is overdue; return how many of both.

    Touches the catalog only, so that no storage holds it up.
    """
    count = 0
    if database.rows(ANY_SILENT):
        count += database.run(transfers.silent)
    for row in database.rows(OVERDUE):
        count += database.run(partial(transfers.give_up, **_verdict(database, row)), durable=True)
    return count


def _verdict(database: Database, row: dict[str, Any]) -> dict[str, Any]:
    last = f": {row['error']}" if row["error"] else ": nobody tried"
    reason = f"{row['final_url']} did not arrive within {row['allowed']:.0f} s, in {row['attempts']} tries{last}"
    evidence = Evidence(message=reason, step=Step.OUTPUT_STORAGE)
    judge = judge_of(database, row["process_id"], evidence)
    return {"output": row["output_id"], "process": row["process_id"], "reason": reason, "judge": judge}


def untidy(database: Database) -> bool:
    """Tell whether something waits to be published, or to be deleted."""
    return bool(database.rows(ANYTHING))


def tidy(database: Database) -> Iterator[str]:
    """Publish what arrived, and delete near copies that are needed no more; yield in words what could not be done."""
    for row in database.rows(UNPUBLISHED):
        for url, problem in publish_of(database, row["process_id"]):
            if problem is not None:
                yield f"{url} is not published: {problem}"
    for row in database.rows(NEAR_COPIES):
        try:
            stageout.discard(row["near_url"])
            if row["state"] == "given_up" and row["arrived_url"] is not None:
                stageout.discard(row["arrived_url"])
        except BookkeeperError as error:
            yield f"{row['near_url']} is not deleted: {error}"
            continue
        database.run(partial(transfers.near_copy_gone, output=row["output_id"]))
