"""Which files a process is given next: in order, in groups that shrink with their failures, or a whole partition.

Nothing is taken here but what no longer may be: a file that is not what it was at the snapshot is parked on the way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from bookkeeper.catalog import NOW, Tx
from bookkeeper.events import record
from bookkeeper.protocol import Status

ELSEWHERE: Final = 60
"""Seconds that a file which failed on a node is left to other nodes, while there are any: two nodes know more than one."""

_FILE = """l.file_id, l.attempts + l.setbacks, l.solo, l.version, f.version, f.state, f.name, f.size, f.checksum, f.entries, f.tree,
       (SELECT group_concat(url, char(10)) FROM locations x WHERE x.file_id = f.id)"""

JUST_NOW: Final = 10
"""Seconds that a node without a live process is still believed to send the next one."""

LATELY: Final = 50
"""The last processes among which other nodes are looked for."""

CANDIDATES: Final = f"""
SELECT {_FILE}
  FROM ledger l CROSS JOIN files f
 WHERE f.id = l.file_id AND l.project_id = :project AND l.state = 'available' AND l.not_before = 0
 ORDER BY l.attempts, l.partition_number, l.file_id
 LIMIT :limit
--pg FOR UPDATE OF l SKIP LOCKED
"""

FURTHER_ON: Final = f"""
SELECT {_FILE}
  FROM ledger l CROSS JOIN files f
 WHERE f.id = l.file_id AND l.project_id = :project AND l.state = 'available' AND l.not_before = 0
   AND l.attempts = 0 AND l.partition_number IS NULL AND l.file_id > :after
 ORDER BY l.attempts, l.partition_number, l.file_id
 LIMIT :limit
--pg FOR UPDATE OF l SKIP LOCKED
"""
"""In the order of the index, to the letter: otherwise PostgreSQL sorts all that is left."""

FAILED_HERE: Final = f"""
SELECT l.file_id FROM ledger l CROSS JOIN processes p
 WHERE l.request_id = :request AND l.file_id = :file AND p.id = l.process_id AND p.node = :node
   AND p.ended_at > {NOW} - {ELSEWHERE}
   AND EXISTS (SELECT 1 FROM (SELECT request_id, node, ended_at FROM processes ORDER BY id DESC LIMIT {LATELY}) o
                WHERE o.request_id = :request AND o.node <> :node AND (o.ended_at IS NULL OR o.ended_at > {NOW} - {JUST_NOW})
                  AND NOT EXISTS (SELECT 1 FROM excluded_nodes x WHERE x.node = CAST(o.node AS TEXT) AND x.until > {NOW}))
"""

NOT_FAILED_HERE: Final = f"""
SELECT {_FILE}
  FROM ledger l CROSS JOIN files f
 WHERE f.id = l.file_id AND l.project_id = :project AND l.state = 'available' AND l.not_before = 0
   AND NOT EXISTS (SELECT 1 FROM processes p
                    WHERE p.id = l.process_id AND p.node = :node AND p.ended_at > {NOW} - {ELSEWHERE})
 ORDER BY l.attempts, l.partition_number, l.file_id
 LIMIT :limit
--pg FOR UPDATE OF l SKIP LOCKED
"""

NEXT_PARTITION: Final = """
SELECT partition_number FROM ledger
 WHERE project_id = :project AND state = 'available' AND not_before = 0
 ORDER BY attempts, partition_number
 LIMIT 1
"""

OF_PARTITION: Final = f"""
SELECT {_FILE}, CASE WHEN l.state = 'available' AND l.not_before > {NOW} THEN 'waits' ELSE l.state END
  FROM ledger l CROSS JOIN files f
 WHERE f.id = l.file_id AND l.request_id = :request
   AND l.file_id IN (SELECT k.file_id FROM ledger k WHERE k.request_id = :request AND k.partition_number = :partition)
 ORDER BY l.file_id
"""

PARK_STALE: Final = """
UPDATE ledger SET state = 'parked', reason = :reason WHERE request_id = :request AND file_id = :file AND state = 'available'
"""


@dataclass(frozen=True, slots=True)
class Room:
    """Who asks for files, and how many it may have."""

    request: int
    project: int
    node: str | None
    limit: int
    files_per_process: int
    group_limit: int
    delivered: int

    @property
    def smallest(self) -> int:
        """The most files that its whole process may have."""
        return min(self.files_per_process, self.group_limit)


def group(tx: Tx, room: Room) -> tuple[list[Any], int, Status]:
    """Choose files in order until the smallest limit among them is reached: (rows, that limit, why none)."""
    smallest = room.smallest
    if smallest <= room.delivered:
        return [], smallest, Status.FULL
    while True:
        candidates = _candidates(tx, room)
        stale = [found for found in candidates if _stale(found)]
        if not stale:
            break
        for found in stale:
            _park_stale(tx, room.request, room.project, found)
    chosen: list[Any] = []
    for found in candidates:
        failures, solo = found[1], found[2]
        own = 1 if solo else max(1, -(-room.files_per_process >> failures))
        if room.delivered + len(chosen) + 1 > min(smallest, own):
            break
        smallest = min(smallest, own)
        chosen.append(found)
    return chosen, smallest, Status.FULL if candidates else Status.NONE_NOW


def _candidates(tx: Tx, room: Room) -> list[Any]:
    """Return the next files in order; those that just failed on this node are left to others, while there are others."""
    asked = {"project": room.project, "limit": min(room.limit, room.smallest - room.delivered)}
    found = _further_on(tx, asked) or tx.run(CANDIDATES, asked).fetchall()
    if room.node is None or not any(one[1] for one in found):
        return found
    here = {"request": room.request, "node": room.node}
    if not any(one[1] and tx.run(FAILED_HERE, {**here, "file": one[0]}).fetchone() for one in found):
        return found
    return tx.run(NOT_FAILED_HERE, {**asked, "node": room.node}).fetchall()


def _further_on(tx: Tx, asked: dict[str, int]) -> list[Any]:
    """Return files behind the last one that was chosen, if there are enough; of no use where ``tx`` keeps no hints.

    PostgreSQL keeps every taken row at the head of the index for as long as anybody looks at an older state of the database,
    and each search would walk over all of them.
    """
    if tx.hints is None:
        return []
    project, after = asked["project"], tx.hints.get(asked["project"], 0)
    found = tx.run(FURTHER_ON, {**asked, "after": after}).fetchall()
    if len(found) < asked["limit"]:
        tx.hints.pop(project, None)
        return []
    tx.hints[project] = found[-1][0]
    return found


def partition(
    tx: Tx, request: int, project: int, asked: int | None, delivered: int
) -> tuple[int | None, list[Any], Status]:
    """Choose a whole partition, the one asked for or the next: (its number, its rows, why none)."""
    if delivered:
        return asked, [], Status.FULL
    tx.lock(f"partitions of request {request}")
    while True:
        number = asked
        if number is None:
            row = tx.run(NEXT_PARTITION, {"project": project}).fetchone()
            if row is None:
                return None, [], Status.NONE_NOW
            number = row[0]
        rows = tx.run(OF_PARTITION, {"request": request, "partition": number}).fetchall()
        states = {found[-1] for found in rows}
        if states != {"available"}:
            return asked, [], Status.NONE_NOW if states & {"held", "waits"} else Status.EXHAUSTED
        stale = [found for found in rows if _stale(found)]
        if not stale:
            return number, rows, Status.FILES
        for found in rows:
            _park_stale(tx, request, project, found, because_of=stale[0])


def _stale(found: Any) -> bool:
    return bool(found[3] != found[4] or found[5] != "current")


def _park_stale(tx: Tx, request: int, project: int, found: Any, because_of: Any = None) -> None:
    """Take a file out of delivery whose pinned content is no longer the catalogued one."""
    cause = found if because_of is None else because_of
    what = "was retired" if cause[5] != "current" else "changed"
    reason = (
        f"{what} since the snapshot"
        if cause[0] == found[0]
        else f"{cause[6]} in its partition {what} since the snapshot"
    )
    tx.run(PARK_STALE, {"request": request, "file": found[0], "reason": reason})
    record(tx, "file.parked", {"reason": reason}, project=project, file=found[0])
