"""What the next jobs of a request ask for: bounded work, however long its history is."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Final

from bookkeeper.catalog import Database
from bookkeeper.estimates.limits import Limit, limit_of
from bookkeeper.estimates.sizing import MEMORY, WALL, Killed, Size, size
from bookkeeper.operations import operation

COMMITTED: Final = 200
"""The newest committed processes that are looked at."""

ROLLED_BACK: Final = 500
"""The newest processes looked at that were rolled back: many of them found nothing to do."""

FRESH: Final = 10.0
"""Seconds for which an answer is good while nothing fails."""

USED: Final = """
SELECT p.ended_at - p.started_at AS wall_s, CAST(e.body ->> 'peak_rss_mb' AS DOUBLE PRECISION) AS peak_mb
  FROM (SELECT id, started_at, ended_at FROM processes
         WHERE request_id = (SELECT request_id FROM projects WHERE name = :project) AND state = 'committed'
         ORDER BY project_id DESC, id DESC LIMIT :most) p
  LEFT JOIN events e ON e.id = (SELECT MAX(n.id) FROM events n
                                 WHERE n.process_id = p.id AND n.kind = 'perf.recorded')
"""

FAILED: Final = """
SELECT p.ended_at - p.started_at AS wall_s,
       f.body ->> 'rule' AS rule,
       CAST(f.body ->> 'exit_code' AS INTEGER) AS exit_code,
       CAST(f.body ->> 'hold_code' AS INTEGER) AS hold_code,
       CAST(m.body ->> 'peak_rss_mb' AS DOUBLE PRECISION) AS peak_mb,
       CAST(s.body ->> 'memory_mb' AS DOUBLE PRECISION) AS asked_mb,
       CAST(s.body ->> 'wall_s' AS DOUBLE PRECISION) AS asked_s
  FROM (SELECT id, started_at, ended_at FROM processes
         WHERE request_id = (SELECT request_id FROM projects WHERE name = :project) AND state = 'rolled_back'
         ORDER BY project_id DESC, id DESC LIMIT :most) p
  JOIN events f ON f.id = (SELECT MAX(n.id) FROM events n
                            WHERE n.process_id = p.id AND n.kind = 'failure.classified')
  LEFT JOIN events m ON m.id = (SELECT MAX(n.id) FROM events n
                                 WHERE n.process_id = p.id AND n.kind = 'perf.recorded')
  LEFT JOIN events s ON s.id = (SELECT MAX(n.id) FROM events n
                                 WHERE n.process_id = p.id AND n.kind = 'job.sized')
"""

MAX_WALL: Final = """
SELECT max_wall FROM requests WHERE id = (SELECT request_id FROM projects WHERE name = :project)
"""


@dataclass(frozen=True, slots=True)
class Ask:
    """What a job asks for, and why: memory in MB (2^20 bytes), wall time in seconds. None asks for nothing."""

    memory: Size
    wall: Size

    @property
    def memory_mb(self) -> float | None:
        """The memory to ask for."""
        return self.memory.ask

    @property
    def wall_s(self) -> float | None:
        """The wall time to ask for."""
        return self.wall.ask

    @property
    def evidence(self) -> dict[str, str]:
        """Why, of everything that is asked for."""
        asked = {"memory": self.memory, "wall": self.wall}
        return {name: one.evidence for name, one in asked.items() if one.ask is not None}


@operation("read")
def ask_for(
    database: Database, project: str, *, memory_mb: float | None = None, max_memory_mb: float | None = None
) -> Ask:
    """Return what the next job of the project's request should ask for.

    ``memory_mb`` is what the spec asks for, ``max_memory_mb`` its limit. The limit of the wall time is the request's
    ``max_wall``, past which a process is ended anyway. The newest processes alone are looked at.
    """
    used = database.rows(USED, {"project": project, "most": COMMITTED})
    failed = database.rows(FAILED, {"project": project, "most": ROLLED_BACK})
    row = database.one(MAX_WALL, {"project": project})
    max_wall = row["max_wall"] if row else None
    starved = [Killed(one["peak_mb"], one["asked_mb"]) for one in failed if _limit(one) is Limit.MEMORY]
    late = [Killed(one["wall_s"], one["asked_s"]) for one in failed if _limit(one) is Limit.TIME]
    peaks = [one["peak_mb"] for one in used if one["peak_mb"] is not None]
    return Ask(
        memory=size(MEMORY, peaks, starved, memory_mb, max_memory_mb),
        wall=size(WALL, [max(0.0, one["wall_s"]) for one in used], late, None, max_wall),
    )


class Asks:
    """`ask_for`, asked again only after a failure, or after some seconds."""

    def __init__(self, database: Database, project: str, memory_mb: float | None, max_memory_mb: float | None) -> None:
        self._database, self._project = database, project
        self._memory_mb, self._max_memory_mb = memory_mb, max_memory_mb
        self._known: tuple[int, float, Ask] | None = None

    def now(self, rollbacks: int) -> Ask:
        """Return what to ask for; ``rollbacks`` is how many processes of the request were rolled back so far."""
        if self._known is None or self._known[0] != rollbacks or time.monotonic() - self._known[1] > FRESH:
            ask = ask_for(self._database, self._project, memory_mb=self._memory_mb, max_memory_mb=self._max_memory_mb)
            self._known = (rollbacks, time.monotonic(), ask)
        return self._known[2]


def _limit(row: dict[str, Any]) -> Limit | None:
    return limit_of(
        row["rule"],
        exit_code=row["exit_code"],
        hold_code=row["hold_code"],
        peak_mb=row["peak_mb"],
        asked_mb=row["asked_mb"],
    )
