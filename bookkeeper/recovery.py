"""What is uncommitted and why; recovery projects; taking back an output that was lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from bookkeeper.catalog import Database, Tx
from bookkeeper.errors import NotFound, UsageError
from bookkeeper.ledger import outputs, requests
from bookkeeper.operations import operation
from bookkeeper.protocol import StoredOutput

REQUEST_OF: Final = "SELECT r.name FROM requests r JOIN projects j ON j.request_id = r.id WHERE j.name = :name"

UNCOMMITTED: Final = "SELECT * FROM uncommitted WHERE request = :request"

OF_REQUEST: Final = "SELECT 1 FROM processes WHERE id = :process AND request_id = :request"

SAMPLE: Final = 1000
"""Rows of each part of the uncommitted files that `top_reasons` looks at."""

WAITING: Final = """
       CASE WHEN p.id IS NULL THEN 'never delivered'
            WHEN d.state IN ('skipped', 'failed') THEN d.state || ': ' || d.reason
            WHEN p.state = 'rolled_back' THEN 'process ' || p.id || ' rolled back: ' || p.reason
            WHEN p.state = 'revoked' THEN 'process ' || p.id || ' revoked: ' || p.reason
            ELSE 'left unread by process ' || p.id END AS reason
"""
"""Why a file that is available does not count yet: as the view `uncommitted` says it, whose rows have no key."""

LAST_HAD: Final = """
  LEFT JOIN processes p ON p.id = l.process_id
  LEFT JOIN deliveries d ON d.process_id = l.process_id AND d.file_id = l.file_id
"""

AVAILABLE: Final = """
 FROM requests r CROSS JOIN projects j CROSS JOIN ledger l
WHERE r.name = :request AND j.request_id = r.id AND l.project_id = j.id AND l.state = 'available'
"""

TOP_REASONS: Final = f"""
SELECT CASE WHEN reason LIKE 'process % rolled back: %' THEN substr(reason, instr(reason, ' rolled back: ') + 1)
            WHEN reason LIKE 'process % revoked: %' THEN substr(reason, instr(reason, ' revoked: ') + 1)
            WHEN reason LIKE 'held by process %' THEN 'held by a live process'
            WHEN reason LIKE 'left unread by process %' THEN 'left unread'
            ELSE reason END AS why, state, count(*) AS files, part
  FROM (SELECT * FROM (SELECT 'parked' AS part, state, reason FROM uncommitted
                        WHERE request = :request AND state = 'parked' LIMIT :sample) AS parked
        UNION ALL
        SELECT * FROM (SELECT 'held' AS part, state, reason FROM uncommitted
                        WHERE request = :request AND state = 'held' LIMIT :sample) AS held
        UNION ALL
        SELECT l.part, 'available' AS state, {WAITING}
          FROM (SELECT 'tried' AS part, l.process_id, l.file_id {AVAILABLE}
                   AND l.not_before = 0 AND l.attempts > 0 LIMIT :sample) AS l {LAST_HAD}
        UNION ALL
        SELECT l.part, 'available' AS state, {WAITING}
          FROM (SELECT 'delayed' AS part, l.process_id, l.file_id {AVAILABLE}
                   AND l.not_before > 0 LIMIT :sample) AS l {LAST_HAD}
        UNION ALL
        SELECT l.part, 'available' AS state, {WAITING}
          FROM (SELECT 'fresh' AS part, l.process_id, l.file_id {AVAILABLE}
                   AND l.not_before = 0 AND l.attempts = 0 LIMIT :sample) AS l {LAST_HAD}) AS sampled
 GROUP BY why, state, part ORDER BY files DESC, why
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a recovery would do: which files it takes, which stay, and why. Counts are files."""

    request: str
    takes: int
    held: int
    parked: int
    committed: int
    files: int
    stands: str | None

    @property
    def needed(self) -> bool:
        """Whether there is anything to recover."""
        return self.takes + self.held > 0


@operation("read", slow=True)
def uncommitted(database: Database, project: str) -> list[dict[str, Any]]:
    """Return the rows of the view `uncommitted` of the project's request: every file that does not count, and why."""
    return database.rows(UNCOMMITTED, {"request": _request_of(database, project)})


@operation("read")
def top_reasons(database: Database, project: str, limit: int = 5) -> list[dict[str, Any]]:
    """Return the commonest reasons why files do not count: ``why``, ``state``, ``files``, ``at_least``.

    Of each part of the files (parked, held, tried before, delayed, fresh) no more than a sample is looked at, so that the answer
    comes at once, however many files there are; where that was not all of the part, ``files`` is a lower bound.
    """
    rows = database.rows(TOP_REASONS, {"request": _request_of(database, project), "sample": SAMPLE})
    looked_at: dict[str, int] = {}
    for row in rows:
        looked_at[row["part"]] = looked_at.get(row["part"], 0) + row["files"]
    merged: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        new = {"why": row["why"], "state": row["state"], "files": 0, "at_least": False}
        one = merged.setdefault((row["why"], row["state"]), new)
        one["files"] += row["files"]
        one["at_least"] = one["at_least"] or looked_at[row["part"]] == SAMPLE
    return sorted(merged.values(), key=lambda one: -int(one["files"]))[:limit]


def _request_of(database: Database, project: str) -> str:
    row = database.one(REQUEST_OF, {"name": project})
    if row is None:
        from bookkeeper import projects

        raise projects.unknown(database, project)
    return str(row["name"])


@operation("read")
def plan(database: Database, project: str) -> Plan:
    """Return what `recover` would do now; changes nothing. Raises `NotFound`."""
    from bookkeeper import projects

    now = projects.status(database, project)
    stands = now.open_project if now.open_project != project else None
    return Plan(now.request, now.available, now.held, now.parked, now.committed, now.files, stands)


@operation("operate", project="project", again=True)
def recover(database: Database, project: str, *, fence: bool = False) -> str | None:
    """Return the name of the project that takes up what is missing; None where nothing is.

    Created once: two operators at once get the same. With ``fence``, live processes are rolled back first.
    """

    def move(tx: Tx) -> str | None:
        found = requests.recover(tx, requests.find(tx, project), fence_live=fence)
        if found is None:
            return None
        return str(tx.run("SELECT name FROM projects WHERE id = :id", {"id": found}).fetchone()[0])

    return database.run(move, durable=True)


def reopen(
    database: Database, project: str, process: int, reason: str, *, on_step: Callable[[str], None] = lambda _: None
) -> int:
    """Take back a committed process: forbid publication, delete its objects and see them absent, free its files.

    Return how many files are free again. Killed in between, the same call goes on. Raises `StorageError` where an
    object cannot be deleted or is not the recorded one: the files stay committed until it is gone.
    """
    with database.sole_publisher() as sole:
        doomed = begin_reopen(database, project, process, reason)
        here = [output for output in doomed if sole or "://" not in output.record.final_url]
        if len(here) < len(doomed):  # behind URLs, whoever alone publishes there deletes: the catalog's server
            delete_behind_urls(database, project, process, reason)
        for output in here:
            on_step(output.record.final_url)
            _delete(database, output)
        return finish_reopen(database, project, process)


@operation("operate", project="project", again=True)
def begin_reopen(database: Database, project: str, process: int, reason: str) -> tuple[StoredOutput, ...]:
    """Forbid that the outputs of a committed process are published; return those to delete."""
    if not reason.strip():
        raise UsageError("reopening needs a reason", remedy="--reason tells those who come later why")
    return database.run(
        lambda tx: outputs.begin_reopen(tx, process, requests.find(tx, project).request, reason.strip()), durable=True
    )


@operation("operate", project="project", slow=True, again=True)
def delete_behind_urls(database: Database, project: str, process: int, reason: str) -> None:
    """Delete the objects of a process that is reopened from destinations behind URLs that this catalog claimed."""
    from bookkeeper import stageout

    with database.sole_publisher():
        for output in begin_reopen(database, project, process, reason):
            if "://" in stageout.resolve(output.record.final_url):
                _delete(database, output)


@operation("operate", project="project", again=True)
def finish_reopen(database: Database, project: str, process: int) -> int:
    """Free the files of a process whose objects are gone; return how many. Repeated, it changes nothing."""

    def move(tx: Tx) -> int:
        if tx.run(OF_REQUEST, {"process": process, "request": requests.find(tx, project).request}).fetchone() is None:
            raise NotFound(f"process {process} is none of project {project}")
        return outputs.finish_reopen(tx, process)

    return database.run(move, durable=True)


def _delete(database: Database, output: StoredOutput) -> None:
    from bookkeeper import stageout

    stageout.require_claim(output.record.destination, database.id)
    stageout.discard(output.record.temp_url)
    stageout.remove_final(output.record.final_url, checksum=output.record.checksum)


@operation("read")
def published(database: Database, project: str) -> Iterator[dict[str, Any]]:
    """Return the published outputs of the request: key, url, size, checksum, entries, process_id, published_at."""
    yield from database.rows(
        "SELECT o.key, o.final_url AS url, o.size, o.checksum, o.entries, o.process_id, o.published_at"
        "  FROM outputs o WHERE o.state = 'published'"
        "   AND o.request_id = (SELECT request_id FROM projects WHERE name = :name) ORDER BY o.process_id, o.id",
        {"name": project},
    )
