"""What waits and what moves: read only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, NamedTuple

from bookkeeper.catalog import NOW, Database
from bookkeeper.operations import operation
from bookkeeper.projects import unknown

GROUPS: Final = f"""
SELECT t.link, t.request_id, r.link_limit,
       sum(CASE WHEN t.state = 'running' THEN 1 ELSE 0 END) AS running,
       sum(CASE WHEN t.state = 'waiting' AND t.next_at <= {NOW} THEN 1 ELSE 0 END) AS ready,
       min(CASE WHEN t.state = 'waiting' THEN t.next_at END) AS next_at
  FROM (SELECT link, request_id, state, next_at FROM transfers WHERE state = 'waiting'
        UNION ALL SELECT link, request_id, state, next_at FROM transfers WHERE state = 'running') t
  JOIN requests r ON r.id = t.request_id
 GROUP BY t.link, t.request_id, r.link_limit
"""

OF_PROJECT: Final = f"""
SELECT t.output_id AS output, t.process_id AS process, o.final_url AS url, t.near_url, t.link, t.state, o.size AS bytes,
       CASE WHEN t.state IN ('arrived', 'done') AND t.arrived_url IS NOT NULL THEN o.size ELSE t.bytes_done END AS bytes_done,
       t.attempts, t.failures, t.category, t.error, {NOW} - t.began_at AS running_for, t.next_at - {NOW} AS next_in,
       t.deadline - {NOW} AS left, COALESCE(t.arrived_at, {NOW}) - t.queued_at AS waited
  FROM transfers t JOIN outputs o ON o.id = t.output_id
 WHERE t.request_id = (SELECT request_id FROM projects WHERE name = :project)
 ORDER BY t.output_id
"""

TOTALS: Final = f"""
SELECT t.state, count(*) AS outputs, sum(o.size) AS bytes,
       sum(CASE WHEN t.state = 'running' THEN t.bytes_done ELSE 0 END) AS moving,
       sum(CASE WHEN t.arrived_at > {NOW} - 60 THEN o.size ELSE 0 END) AS lately,
       min(t.queued_at) - {NOW} AS first
  FROM transfers t JOIN outputs o ON o.id = t.output_id
 WHERE t.request_id = (SELECT request_id FROM projects WHERE name = :project)
 GROUP BY t.state
"""

KNOWN: Final = "SELECT 1 FROM projects WHERE name = :project"

WINDOW: Final = 60.0
"""Seconds over which the rate is taken."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """One output on its way. Sizes are bytes, times seconds; ``rate`` is in bytes/s, ``eta`` when it is there at that rate."""

    output: int
    process: int
    url: str
    near_url: str
    link: str
    state: str
    bytes: int
    bytes_done: int
    attempts: int
    failures: int
    category: str | None
    error: str | None
    next_in: float | None
    left: float
    waited: float
    rate: float | None
    eta: float | None

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Progress:
    """All transfers of a request: outputs by state, bytes that have arrived and that have not, bytes/s, and when it is done."""

    waiting: int
    running: int
    arrived: int
    given_up: int
    bytes_left: int
    bytes_arrived: int
    rate: float
    eta: float | None

    @property
    def open(self) -> int:
        """How many are on their way."""
        return self.waiting + self.running

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self)


class Group(NamedTuple):
    """The transfers of one request over one link."""

    link: str
    request: int
    limit: int
    running: int
    ready: int
    next_at: float | None


def groups(database: Database) -> list[Group]:
    """Return what is on its way, by link and request; of those with something to start, the one whose turn it is first.

    The turn is of the request that has least under way there, then of the one that waits longest.
    """
    found = [Group(*row.values()) for row in database.rows(GROUPS)]
    return sorted(found, key=lambda one: (one.ready == 0, one.running, one.next_at or 0.0))


def startable(found: Sequence[Group]) -> int:
    """Return how many transfers could start now."""
    total = 0
    for one in found:
        here = sum(other.running for other in found if other.link == one.link)
        total += min(one.ready, max(one.limit - here, 0 if one.running else 1))
    return total


@operation("read")
def progress(database: Database, project: str, state: str | None = None) -> list[Waiting]:
    """Return the transfers of the project's request, in order; of one state only where it is said. Raises `NotFound`."""
    _require(database, project)
    found = []
    for row in database.rows(OF_PROJECT, {"project": project}):
        if state is not None and row["state"] != state:
            continue
        running = row["state"] == "running"
        seconds = row.pop("running_for") if running else row.pop("running_for") and None
        rate = row["bytes_done"] / seconds if seconds and row["bytes_done"] else None
        eta = (row["bytes"] - row["bytes_done"]) / rate if rate else None
        next_in = max(0.0, row.pop("next_in")) if row["state"] == "waiting" else row.pop("next_in") and None
        found.append(Waiting(**row, next_in=next_in, rate=rate, eta=eta))
    return found


@operation("read")
def totals(database: Database, project: str) -> Progress:
    """Return the transfers of the project's request in numbers. Raises `NotFound`."""
    _require(database, project)
    by_state = {row["state"]: row for row in database.rows(TOTALS, {"project": project})}

    def of(state: str, what: str) -> int:
        return int(by_state[state][what]) if state in by_state else 0

    moving = of("running", "moving")
    left = of("waiting", "bytes") + of("running", "bytes") - moving
    lately = sum(int(row["lately"]) for row in by_state.values()) + moving
    since = min((float(row["first"]) for row in by_state.values()), default=0.0)
    rate = lately / max(1.0, min(WINDOW, -since))
    return Progress(
        waiting=of("waiting", "outputs"),
        running=of("running", "outputs"),
        arrived=of("arrived", "outputs") + of("done", "outputs"),
        given_up=of("given_up", "outputs"),
        bytes_left=left,
        bytes_arrived=of("arrived", "bytes") + of("done", "bytes"),
        rate=rate,
        eta=left / rate if rate and left else None,
    )


def _require(database: Database, project: str) -> None:
    if database.one(KNOWN, {"project": project}) is None:
        raise unknown(database, project)
