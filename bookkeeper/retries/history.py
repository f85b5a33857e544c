"""What happened before: the failures of a project since its last success, and the last processes of a node.

Every question reads a bounded number of rows by an index, however many files and processes there are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from bookkeeper.catalog import NOW, Tx
from bookkeeper.failures import FailureCategory
from bookkeeper.retries.ruling import Ended
from bookkeeper_schema.states import Step

LONGEST_RUN: Final = 40
"""Failures that are looked at: more than any brake needs."""

PASSING: Final = (FailureCategory.TRANSIENT_IO, FailureCategory.EXECUTOR)
"""Categories that time mends."""

BLAMELESS_CATEGORIES: Final = (*PASSING, FailureCategory.CONFIGURATION)
"""What says nothing about a file."""

BLAMELESS_STEPS: Final = (Step.STAGE_EXECUTABLE, Step.OUTPUT_STORAGE)
"""Steps whose failure says nothing about a file."""

LONGER: Final = 3
"""How many times longer than a failed process another has to run to be believed to do better: it may be about to fail, too."""

PROJECT: Final = """
SELECT COALESCE(last_commit_at, 0), COALESCE(resumed_at, 0), COALESCE(rest_until, 0), rests,
       (SELECT committed FROM requests r WHERE r.id = projects.request_id)
  FROM projects WHERE id = :project
"""

RUN: Final = f"""
SELECT newest.process_id, p.node, newest.body ->> 'category', newest.body ->> 'fingerprint', newest.body ->> 'step', p.ended_at,
       p.ended_at - p.started_at, EXISTS (SELECT 1 FROM deliveries d WHERE d.process_id = p.id AND d.opened_at IS NOT NULL)
  FROM (SELECT id, process_id, body FROM events
         WHERE project_id = :project AND kind = 'failure.classified' ORDER BY id DESC LIMIT :most) AS newest
  JOIN processes p ON p.id = newest.process_id
 WHERE p.ended_at > :since
   AND NOT EXISTS (SELECT 1 FROM excluded_nodes x WHERE x.node = p.node AND x.until > {NOW})
 ORDER BY newest.id DESC LIMIT :limit
"""

GOT_FURTHER: Final = f"""
SELECT 1 FROM processes
 WHERE request_id = :request AND state IN ('committed', 'revoking', 'revoked') AND project_id = :project
   AND id > :process AND delivered > 0
UNION ALL
SELECT 1 FROM processes
 WHERE request_id = :request AND state IN ('active', 'staged') AND project_id = :project
   AND id > :process AND delivered > 0 AND {NOW} - started_at > {LONGER} * :seconds
 LIMIT 1
"""

TRUSTED_AGAIN: Final = "SELECT until FROM excluded_nodes WHERE node = :node"

ON_NODE: Final = """
SELECT p.id, p.ended_at, e.body ->> 'category', e.body ->> 'step', p.state,
       EXISTS (SELECT 1 FROM deliveries d WHERE d.process_id = p.id AND d.opened_at IS NOT NULL)
  FROM processes p
  LEFT JOIN events e ON e.id = (SELECT max(x.id) FROM events x WHERE x.process_id = p.id AND x.kind = 'failure.classified')
 WHERE p.request_id = :request AND p.node = :node AND p.ended_at > :since
 ORDER BY p.ended_at DESC, p.id DESC LIMIT :limit
"""

WORKED: Final = """
SELECT 1 FROM (SELECT state FROM processes WHERE request_id = :request AND node = :node
                ORDER BY ended_at DESC LIMIT :limit) AS ended_last
 WHERE state IN ('committed', 'revoking', 'revoked') LIMIT 1
"""

ELSEWHERE: Final = """
SELECT min(started_at) FROM processes
 WHERE request_id = :request AND state IN ('active', 'staged') AND node <> :node AND delivered > 0
"""

OTHERS: Final = """
SELECT 1 FROM processes
 WHERE request_id = :request AND state IN ('active', 'staged') AND id <> :process AND delivered > 0 LIMIT 1
"""

FILES: Final = "SELECT file_id FROM deliveries WHERE process_id = :process"

ANY_OPENED: Final = "SELECT 1 FROM deliveries WHERE process_id = :process AND opened_at IS NOT NULL LIMIT 1"

FAILED_ELSEWHERE: Final = """
SELECT 1 FROM deliveries d CROSS JOIN processes p
 WHERE p.id = d.process_id AND d.file_id = :file AND p.request_id = :request AND p.delivered = 1 AND p.state = 'rolled_back' AND p.node <> :node
   AND EXISTS (SELECT 1 FROM events e WHERE e.process_id = p.id AND e.kind = 'failure.classified')
 LIMIT 1
"""

ALONE_ON: Final = """
SELECT DISTINCT p.node FROM deliveries d CROSS JOIN processes p
 WHERE p.id = d.process_id AND d.file_id = :file AND d.charged AND p.request_id = :request AND p.delivered = 1
"""

OTHER_SETBACKS: Final = """
SELECT count(*) FROM deliveries d CROSS JOIN processes p
 WHERE p.id = d.process_id AND d.file_id = :file AND NOT d.charged AND p.request_id = :request AND p.state = 'rolled_back'
   AND p.id <> :process AND (p.delivered = 1 OR p.partition_number IS NOT NULL)
   AND (SELECT e.body ->> 'category' FROM events e
         WHERE e.process_id = p.id AND e.kind = 'failure.classified' ORDER BY e.id DESC LIMIT 1) <> :category
"""

SETBACKS: Final = "SELECT max(setbacks) FROM ledger WHERE process_id = :process AND state = 'held'"

GIVEN: Final = """
SELECT f.id, f.name, (SELECT group_concat(url, char(10)) FROM locations x WHERE x.file_id = f.id)
  FROM deliveries d JOIN files f ON f.id = d.file_id WHERE d.process_id = :process
"""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a project stands. Times are epoch seconds, 0 for never; ``committed`` counts files of the request."""

    last_commit_at: float
    resumed_at: float
    rest_until: float
    rests: int
    committed: int

    @property
    def run_since(self) -> float:
        """Since when failures are a run."""
        return max(self.last_commit_at, self.resumed_at)


@dataclass(frozen=True, slots=True)
class Failed:
    """A process that failed: where, why, in which step, when it ended, how many seconds it took, and whether it had
    opened a file."""

    process: int
    node: str | None
    category: str
    fingerprint: str
    step: str | None
    ended_at: float
    seconds: float = 0.0
    opened: bool = True

    @property
    def blames_files(self) -> bool:
        """Whether it says something about its files."""
        return self.opened and self.category not in BLAMELESS_CATEGORIES and self.step not in BLAMELESS_STEPS

    @property
    def depends_on_files(self) -> bool:
        """Whether another file might have fared better."""
        return self.opened and self.category not in PASSING and self.step not in BLAMELESS_STEPS


def standing(tx: Tx, project: int) -> Standing:
    """Return where the project stands."""
    return Standing(*tx.run(PROJECT, {"project": project}).fetchone())


def run_of(tx: Tx, project: int, since: float) -> list[Failed]:
    """Return the failed processes of a project since a time, the newest first, each once.

    What failed on a node that is excluded now is that node's matter.
    """
    found: dict[int, Failed] = {}
    asked = {"project": project, "since": since, "limit": LONGEST_RUN, "most": 4 * LONGEST_RUN}
    for row in tx.run(RUN, asked):
        found.setdefault(row[0], Failed(*row))
    return list(found.values())


def got_further(tx: Tx, ended: Ended, failed: Failed) -> bool:
    """Tell whether a process that was started later committed, or has run for much longer than the failed one did.

    What was started before says nothing: it may run another version, or read from a storage that answered then.
    """
    asked = {"request": ended.request, "project": ended.project, "process": failed.process, "seconds": failed.seconds}
    return tx.run(GOT_FURTHER, asked).fetchone() is not None


def run_on_node(tx: Tx, ended: Ended, since: float, limit: int) -> list[Failed]:
    """Return the failed processes of a node since its last success, the newest first; those without a failure pass.

    What happened before ``since``, or before the node was last trusted again, is forgotten.
    """
    trusted = tx.run(TRUSTED_AGAIN, {"node": ended.node}).fetchone()
    begin = max(since, trusted[0] if trusted else 0.0)
    asked = {"request": ended.request, "node": ended.node, "since": begin, "limit": 3 * limit}
    rows = tx.run(ON_NODE, asked).fetchall()
    run = []
    for process, ended_at, category, step, state, opened in rows:
        if state in ("committed", "revoking", "revoked"):
            break
        if category is not None:
            run.append(Failed(process, ended.node, category, "", step, ended_at, opened=bool(opened)))
    return run[:limit]


def worked_before(tx: Tx, ended: Ended) -> bool:
    """Tell whether one of the last processes of a node committed something of this request."""
    asked = {"request": ended.request, "node": ended.node, "limit": LONGEST_RUN}
    return tx.run(WORKED, asked).fetchone() is not None


def live_elsewhere(tx: Tx, ended: Ended) -> float | None:
    """Return when the oldest live process on another node that has files was started; None where there is none."""
    row = tx.run(ELSEWHERE, {"request": ended.request, "node": ended.node}).fetchone()
    return None if row is None else row[0]


def others_at_work(tx: Tx, ended: Ended) -> bool:
    """Tell whether another live process of the request has files."""
    return tx.run(OTHERS, {"request": ended.request, "process": ended.id}).fetchone() is not None


def of_different_files(tx: Tx, run: Iterable[Failed], enough: int) -> list[Failed]:
    """Return failures of a run of which no two had a file in common, at most ``enough``.

    One that had not opened any counts, and so does one that time may mend, or of a step that has nothing to do with files.
    """
    seen: set[int] = set()
    chosen = []
    for one in run:
        files = {row[0] for row in tx.run(FILES, {"process": one.process})} if one.depends_on_files else set()
        if not files & seen:
            seen |= files
            chosen.append(one)
        if len(chosen) == enough:
            break
    return chosen


def failed_elsewhere(tx: Tx, failed: Failed, request: int) -> bool:
    """Tell whether a process had one file, and that failed alone on another node too: then it is the file's fault."""
    files = [row[0] for row in tx.run(FILES, {"process": failed.process}).fetchmany(2)]
    parameters = {"request": request, "node": failed.node}
    return len(files) == 1 and bool(tx.run(FAILED_ELSEWHERE, {**parameters, "file": files[0]}).fetchone())


def nodes_failed_alone(tx: Tx, request: int, file: int) -> set[str]:
    """Return the nodes on which a file failed while it was alone."""
    return {row[0] for row in tx.run(ALONE_ON, {"request": request, "file": file}) if row[0] is not None}


def other_setbacks(tx: Tx, ended: Ended, category: FailureCategory) -> int:
    """Return how often the file, or the partition, of a process was set back before while alone, by other categories."""
    row = tx.run(FILES, {"process": ended.id}).fetchone()
    if row is None or not ended.alone:
        return 0
    asked = {"file": row[0], "request": ended.request, "process": ended.id, "category": category.value}
    return int(tx.run(OTHER_SETBACKS, asked).fetchone()[0])


def named(tx: Tx, process: int, text: str) -> list[tuple[int, str]]:
    """Return the files of a process that a text names, by logical name, URL or its last part: (id, name)."""
    found = []
    for file, name, urls in tx.run(GIVEN, {"process": process}):
        words = {name, *(url for url in (urls or "").split("\n") if url)}
        words |= {word.rsplit("/", 1)[-1] for word in words}
        if any(_says(text, word) for word in words if len(word) > 2):
            found.append((file, name))
    return found


def _says(text: str, word: str) -> bool:
    """Tell whether a text has a word that neither goes on nor began before: ``a1.root`` is not in ``a11.root``."""
    place = text.find(word)
    while place >= 0:
        before, after = text[place - 1 : place], text[place + len(word) : place + len(word) + 1]
        if not (before.isalnum() or before in ("-", "_")) and not (after.isalnum() or after in ("-", "_")):
            return True
        place = text.find(word, place + 1)
    return False
