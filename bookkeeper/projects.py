"""Projects as people speak of them: start, list, show, pause, resume, end, park, unpark."""

from __future__ import annotations

import getpass
import json
import socket
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from bookkeeper import datasets
from bookkeeper.catalog import NOW, Database, Tx, check_name, integrity_errors
from bookkeeper.database import SEALED
from bookkeeper.errors import Conflict, NotFound, UsageError
from bookkeeper.events import record
from bookkeeper.ledger import parking, requests
from bookkeeper.ledger.requests import Application, Rules
from bookkeeper.operations import operation
from bookkeeper.retries import refusal

EXISTING: Final = """
SELECT j.id, j.recovers, j.application_family, j.application_name, j.application_version, r.snapshot_id, d.name,
       r.partition_by, r.partition_size, r.max_attempts, r.files_per_process, r.lease, r.max_wall, r.output_required, r.policy,
       r.near_limit, r.transfer_deadline, r.link_limit, r.id
  FROM projects j JOIN requests r ON r.id = j.request_id
  JOIN snapshots s ON s.id = r.snapshot_id JOIN datasets d ON d.id = s.dataset_id
 WHERE j.name = :name
"""

NEW_RULES: Final = """
UPDATE requests SET max_attempts = :max_attempts, files_per_process = :files_per_process, lease = :lease,
       max_wall = :max_wall, output_required = :output_required, policy = :policy,
       near_limit = :near_limit, transfer_deadline = :transfer_deadline, link_limit = :link_limit
 WHERE id = :request
"""

NEAR: Final = ("near_limit", "transfer_deadline", "link_limit")

CHANGEABLE: Final = ("max_attempts", "files_per_process", "lease", "max_wall", "output_required", "policy", *NEAR)
"""The rules that a project may be given anew."""

LONGEST_WAIT: Final = 30 * 86400.0
"""Seconds for which files can be held back."""

NOT_IN_SNAPSHOT: Final = "SELECT 1 FROM snapshot_files WHERE snapshot_id = :snapshot AND file_id = :file"

SUMMARY: Final = "SELECT * FROM project_summary WHERE project = :name"

ALL: Final = "SELECT * FROM project_summary ORDER BY started_at, project"

LEFT_TO_DELIVER: Final = """
SELECT 1 FROM ledger l WHERE l.request_id = :request AND l.state IN ('available', 'held') LIMIT 1
"""

PARTITIONS: Final = """
SELECT COALESCE(max(l.partition_number) + 1, 0) AS partitions FROM ledger l
 WHERE l.request_id = (SELECT id FROM requests WHERE name = :request) AND l.partition_number IS NOT NULL
"""

EMPTY_HANDED: Final = """
SELECT p.id FROM processes p
 WHERE p.request_id = (SELECT id FROM requests WHERE name = :request) AND p.state IN ('active', 'staged') AND p.delivered = 0
"""

WHOLE: Final = f"""
SELECT r.name AS request, r.files, r.committed,
       (SELECT count(*) FROM processes p CROSS JOIN ledger l
         WHERE p.request_id = r.id AND p.state IN ('active', 'staged') AND l.process_id = p.id AND l.state = 'held') AS held,
       (SELECT count(*) FROM projects j CROSS JOIN ledger l
         WHERE j.request_id = r.id AND l.project_id = j.id AND l.state = 'parked') AS parked,
       (SELECT count(*) FROM projects j CROSS JOIN ledger l
         WHERE j.request_id = r.id AND j.state <> 'ended' AND l.project_id = j.id AND l.state = 'available'
           AND l.not_before > {NOW}) AS delayed,
       (SELECT count(*) FROM projects j CROSS JOIN ledger l
         WHERE j.request_id = r.id AND j.state <> 'ended' AND l.project_id = j.id AND l.state = 'available'
           AND l.not_before = 0 AND l.attempts > 0) AS struck,
       (SELECT min(l.not_before) FROM projects j CROSS JOIN ledger l
         WHERE j.request_id = r.id AND j.state <> 'ended' AND l.project_id = j.id AND l.state = 'available'
           AND l.not_before > {NOW}) AS next_at,
       (SELECT j.rest_until FROM projects j
         WHERE j.request_id = r.id AND j.state = 'open' AND j.rest_until > {NOW}) AS rest_until,
       (SELECT count(*) FROM outputs o WHERE o.request_id = r.id AND o.state = 'committed') AS unpublished,
       (SELECT count(*) FROM processes p WHERE p.request_id = r.id AND p.state = 'staged') AS staged,
       r.near_bytes, r.near_limit,
       (SELECT count(*) FROM processes p WHERE p.request_id = r.id AND p.state IN ('active', 'staged')) AS live,
       (SELECT sum(j.commits) FROM projects j WHERE j.request_id = r.id) AS commits,
       (SELECT sum(j.rollbacks) FROM projects j WHERE j.request_id = r.id) AS rollbacks,
       (SELECT j.name FROM projects j WHERE j.request_id = r.id AND j.state <> 'ended') AS open_project,
       (SELECT j.state FROM projects j WHERE j.request_id = r.id AND j.state <> 'ended') AS open_state,
       (SELECT j.reason FROM projects j WHERE j.request_id = r.id AND j.state = 'paused') AS pause_reason,
       (SELECT min(j.started_at) FROM projects j WHERE j.request_id = r.id) AS started_at,
       (SELECT max(j.ended_at) FROM projects j WHERE j.request_id = r.id) AS ended_at
  FROM requests r WHERE r.id = (SELECT request_id FROM projects WHERE name = :name)
"""


@dataclass(frozen=True, slots=True)
class StartedProject:
    """What `start` did: the project, whether it is new, and what its dataset has that its snapshot has not."""

    name: str
    created: bool
    files: int
    grown: int


@dataclass(frozen=True, slots=True)
class RequestStatus:
    """A whole request in numbers: constant work, however many files it has.

    Times are UTC epoch seconds; ``unpublished`` counts outputs that count and were not yet seen under their final names.
    ``delayed`` of the available files wait for their next try, the first of them until ``next_at``; ``struck`` of the
    others failed before, and come in small groups. Until ``rest_until`` nothing is delivered at all, nor while
    ``near_bytes`` at near storages are ``near_limit`` or more. ``staged`` of the ``live`` processes wait for transfers.
    """

    request: str
    files: int
    committed: int
    held: int
    parked: int
    delayed: int
    struck: int
    next_at: float | None
    rest_until: float | None
    unpublished: int
    staged: int
    near_bytes: int
    near_limit: int | None
    live: int
    commits: int
    rollbacks: int
    open_project: str | None
    open_state: str | None
    pause_reason: str | None
    started_at: float
    ended_at: float | None

    @property
    def available(self) -> int:
        """Files that wait for a process, now or later."""
        return self.files - self.committed - self.held - self.parked

    @property
    def near_is_full(self) -> bool:
        """Whether so much waits at near storages that nothing more is delivered."""
        return self.near_limit is not None and self.near_bytes >= self.near_limit

    @property
    def complete(self) -> bool:
        """Whether every file is committed and every output published."""
        return self.committed == self.files and self.unpublished == 0

    def as_dict(self) -> dict[str, Any]:
        """Return the numbers for JSON."""
        return {**asdict(self), "available": self.available, "complete": self.complete}


@operation("work", project="name", here={"station": socket.gethostname, "owner": getpass.getuser}, again=True)
def start(
    database: Database,
    name: str,
    dataset: str,
    application: tuple[str, str, str],
    rules: Rules,
    *,
    unsaid: Collection[str] = (),
    station: str | None = None,
    owner: str | None = None,
) -> StartedProject:
    """Start a project over what the dataset means now; the same again keeps the first snapshot and tells of growth.

    Rules given again take effect, but for those that were left ``unsaid``; partitions are for ever. Raises `NotFound`
    (dataset), `Conflict` (same name for something else), `UsageError`.
    """
    check_name("project", name)
    check_rules(rules)
    family, program, version = application
    for kind, text in (("application family", family), ("application", program), ("application version", version)):
        check_name(kind, text)
    who = Application(family, program, version, station or socket.gethostname(), owner or getpass.getuser())

    def move(tx: Tx) -> StartedProject | int:
        tx.lock("start projects")
        tx.lock_request(project=name, alone=True)
        row = tx.run(EXISTING, {"name": name}).fetchone()
        if row is None:
            try:
                snapshot = datasets.take_snapshot(tx, dataset)
                project = requests.open_request(tx, name, snapshot.id, rules, who)
            except integrity_errors() as error:
                if SEALED in str(error):
                    raise
                raise Conflict(f"the name {name} is taken by another request ({error})") from error
            record(tx, "project.started", {"dataset": dataset, **asdict(rules)}, project=project)
            return StartedProject(name, True, snapshot.files, 0)
        _check_same(row, name, dataset, (family, program, version), rules)
        stored = dict(zip(CHANGEABLE, row[9:-1], strict=True))
        given = {**asdict(rules), "policy": None if rules.policy is None else json.dumps(rules.policy)}
        kept = {rule: stored[rule] if rule in unsaid else given[rule] for rule in CHANGEABLE}
        tx.run(NEW_RULES, {"request": row[-1], **kept})
        return int(row[5])

    started = database.run(move, durable=True)
    if isinstance(started, StartedProject):
        return started
    found = database.one("SELECT files FROM snapshots WHERE id = :id", {"id": started}) or {"files": 0}
    return StartedProject(name, False, found["files"], datasets.grown_since(database, dataset, started))


def check_rules(rules: Rules) -> None:
    """Raise `UsageError` where a rule has no sense."""
    for field in fields(rules):
        value = getattr(rules, field.name)
        if isinstance(value, int | float) and not isinstance(value, bool) and value <= 0:
            raise UsageError(f"{field.name} must be greater than 0, not {value}")
    if (rules.partition_by is None) != (rules.partition_size is None):
        raise UsageError("partitions need a measure and a size", remedy="for example partition_by = { files = 5 }")
    if rules.policy is not None and (problem := refusal(rules.policy)):
        raise UsageError(f"the policy {problem}", remedy="see [retry] of the reference page of the spec")
    if rules.partition_by not in (None, "files", "bytes", "entries"):
        raise UsageError(f"partitions are measured in files, bytes or entries, not {rules.partition_by!r}")


def _check_same(row: Any, name: str, dataset: str, application: tuple[str, str, str], rules: Rules) -> None:
    remedy = "choose another name for the new project"
    if row[1] is not None:
        raise Conflict(f"{name} is a recovery project already", remedy=remedy)
    if row[6] != dataset:
        raise Conflict(f"project {name} exists, over dataset {row[6]}, not {dataset}", remedy=remedy)
    if tuple(row[2:5]) != application:
        raise Conflict(f"project {name} exists, for {'/'.join(row[2:5])}, not {'/'.join(application)}", remedy=remedy)
    if (row[7], row[8]) != (rules.partition_by, rules.partition_size):
        was = f"partitions of {row[8]} {row[7]}" if row[7] else "no partitions"
        raise Conflict(f"project {name} exists, with {was}: partitions cannot change", remedy=remedy)


@operation("read")
def status(database: Database, name: str) -> RequestStatus:
    """Return the numbers of the request that the project belongs to. Raises `NotFound`."""
    row = database.one(WHOLE, {"name": name})
    if row is None:
        raise unknown(database, name)
    return RequestStatus(**row)


@operation("read")
def partitions(database: Database, request: str) -> int:
    """Return how many partitions a request was given; 0 where it has none."""
    row = database.one(PARTITIONS, {"request": request})
    return 0 if row is None else int(row["partitions"])


@operation("read")
def empty_handed(database: Database, request: str) -> set[int]:
    """Return the live processes of a request that were given nothing yet: they are about to take what is available."""
    return {int(row["id"]) for row in database.rows(EMPTY_HANDED, {"request": request})}


@operation("read")
def summary(database: Database, name: str) -> dict[str, Any]:
    """Return the project's row of the view `project_summary`. Raises `NotFound`."""
    row = database.one(SUMMARY, {"name": name})
    if row is None:
        raise unknown(database, name)
    return row


@operation("read")
def list_all(database: Database) -> list[dict[str, Any]]:
    """Return the view `project_summary`, oldest first."""
    return database.rows(ALL)


@operation("read")
def processes(database: Database, name: str) -> Iterator[dict[str, Any]]:
    """Return the rows of `process_summary` of every project of the request."""
    yield from database.rows(
        "SELECT * FROM process_summary WHERE project IN"
        " (SELECT j.name FROM projects j WHERE j.request_id = (SELECT request_id FROM projects WHERE name = :name))"
        " ORDER BY process_id",
        {"name": name},
    )


def unknown(database: Database, name: str) -> NotFound:
    """Return the error for a project that does not exist, with names that are near."""
    import difflib

    names = [row["name"] for row in database.rows("SELECT name FROM projects ORDER BY id DESC LIMIT 1000")]
    near = difflib.get_close_matches(name, names, n=3)
    remedy = f"did you mean {' or '.join(near)}?" if near else "`bookkeeper project list` names them"
    return NotFound(f"there is no project {name!r}", remedy=remedy)


@operation("operate", project="name", again=True)
def pause(database: Database, name: str, reason: str) -> None:
    """Stop starts and deliveries of a project; what runs may commit."""
    database.run(lambda tx: requests.pause(tx, requests.find(tx, name), reason), durable=True)


@operation("operate", project="name", again=True)
def resume(database: Database, name: str) -> bool:
    """Let a project that is paused or rests go on, at once; tell whether it did."""
    return database.run(lambda tx: requests.resume(tx, requests.find(tx, name)), durable=True)


@operation("operate", project="name")
def end(database: Database, name: str, *, fence: bool = False) -> int:
    """End a project for ever; return how many live processes were fenced."""
    return database.run(lambda tx: requests.end(tx, requests.find(tx, name), fence_live=fence), durable=True)


@operation("work", project="name", again=True)
def finish(database: Database, name: str) -> bool:
    """End a project that has nothing left to deliver; tell whether it did. What may still come leaves it open."""

    def move(tx: Tx) -> bool:
        project = requests.find(tx, name)
        if tx.run(LEFT_TO_DELIVER, {"request": project.request}).fetchone() is not None:
            return False
        requests.end(tx, project)
        return True

    return database.run(move, durable=True)


@operation("operate", project="name")
def park(database: Database, name: str, files: Sequence[str], reason: str) -> int:
    """Take files out of delivery until a person decides; return how many."""
    if not reason.strip():
        raise UsageError("parking needs a reason", remedy="--reason tells those who come later why")
    return database.run(lambda tx: parking.park(tx, requests.find(tx, name), files, reason.strip()), durable=True)


@operation("operate", project="name")
def hold_back(database: Database, name: str, files: Sequence[str], seconds: float, reason: str) -> int:
    """Deliver files not before some seconds from now; return how many of them waited for a process."""
    if not 0 < seconds <= LONGEST_WAIT:
        raise UsageError(
            f"files are held back for some time, at most 30 days, not {seconds} s", remedy="park them instead"
        )
    return database.run(lambda tx: parking.hold_back(tx, requests.find(tx, name), files, seconds, reason), durable=True)


@operation("operate", project="name")
def unpark(database: Database, name: str, files: Sequence[str] | None, *, repin: bool = False) -> int:
    """Give parked files (None: all) back to delivery, alone next; return how many."""
    return database.run(lambda tx: parking.unpark(tx, requests.find(tx, name), files, repin=repin), durable=True)
