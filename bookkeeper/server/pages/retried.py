"""What became of the files of the newest failed processes: a page looks at so many and no more."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from bookkeeper.catalog import Database
from bookkeeper.reporting.chosen import PLACES, slots
from bookkeeper.reporting.retried import KEYS

PROCESSES: Final = 500
"""Failed processes that are looked at, the newest."""

DELIVERIES: Final = 5_000
"""Files of them that are looked at; a process with more than are left is passed over."""

FAILED: Final = f"""
SELECT p.id, p.delivered FROM processes p
 WHERE p.id IN ({PLACES}) AND p.state = 'rolled_back' AND p.delivered > 0
   AND EXISTS (SELECT 1 FROM events e WHERE e.process_id = p.id AND e.kind = 'failure.classified')
 ORDER BY p.id DESC
"""

FILES: Final = f"""
SELECT d.process_id, p.request_id, d.file_id, l.state, CASE WHEN l.process_id <> d.process_id THEN 1 ELSE 0 END AS again
  FROM processes p CROSS JOIN deliveries d CROSS JOIN ledger l
 WHERE p.id IN ({PLACES}) AND d.process_id = p.id AND l.request_id = p.request_id AND l.file_id = d.file_id
"""


class Retried:
    """The files of failed processes; ``whole``: of all that were asked for."""

    def __init__(self, database: Database, processes: Iterable[int]) -> None:
        asked = sorted(set(processes), reverse=True)
        self.whole = len(asked) <= PROCESSES
        self._files: dict[int, list[dict[str, Any]]] = {}
        for portion in slots(self._chosen(database, asked[:PROCESSES])):
            for row in database.rows(FILES, portion):
                self._files.setdefault(row["process_id"], []).append(row)

    def _chosen(self, database: Database, asked: list[int]) -> list[int]:
        """Return the failed ones among processes, the newest first, that have no more files than are looked at."""
        chosen, left = [], DELIVERIES
        for portion in slots(asked):
            for row in database.rows(FAILED, portion):
                if row["delivered"] > left:
                    self.whole = False
                    continue
                chosen.append(row["id"])
                left -= row["delivered"]
        return chosen

    def of(self, processes: Iterable[int]) -> dict[str, int]:
        """Return the counts of different files of these processes: `bookkeeper.reporting.retried.KEYS`."""
        rows = [row for one in processes for row in self._files.get(one, ())]
        chosen = {
            "files": rows,
            "retried": [row for row in rows if row["again"]],
            "recovered": [row for row in rows if row["state"] == "committed"],
            "parked": [row for row in rows if row["state"] == "parked"],
            "waiting": [row for row in rows if row["state"] == "available"],
        }
        return {key: len({(row["request_id"], row["file_id"]) for row in chosen[key]}) for key in KEYS}
