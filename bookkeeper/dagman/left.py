"""What is left of a partition: asked by the scripts before they lend it, and after a try of it failed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bookkeeper.catalog import NOW, Database
from bookkeeper.operations import operation

LEFT: Final = f"""
SELECT count(*) AS files,
       COALESCE(sum(CASE WHEN l.state = 'committed' THEN 1 ELSE 0 END), 0) AS committed,
       COALESCE(sum(CASE WHEN l.state = 'parked' THEN 1 ELSE 0 END), 0) AS parked,
       COALESCE(sum(CASE WHEN l.state = 'held' THEN 1 ELSE 0 END), 0) AS held,
       COALESCE(sum(CASE WHEN l.state = 'available' AND l.not_before > {NOW} THEN 1 ELSE 0 END), 0) AS delayed,
       max(CASE WHEN l.state = 'parked' THEN l.reason END) AS reason
  FROM ledger l
 WHERE l.request_id = (SELECT request_id FROM projects WHERE name = :project) AND l.partition_number = :partition
"""


@dataclass(frozen=True, slots=True)
class Left:
    """The files of one partition, counted by where they are; ``reason`` is why one of them is parked."""

    files: int
    committed: int
    parked: int
    held: int
    delayed: int
    reason: str | None


@operation("read")
def partition_left(database: Database, project: str, partition: int) -> Left:
    """Return where the files of a partition are, in any project of the request."""
    row = database.one(LEFT, {"project": project, "partition": partition})
    assert row is not None
    return Left(**dict(row))
