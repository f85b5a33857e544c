"""Who calls, and what became of that process: the answers where a guarded statement found no row."""

from __future__ import annotations

import hashlib
from typing import Final, NoReturn

from bookkeeper.catalog import NOW, Tx
from bookkeeper.errors import BookkeeperError, Fenced, NotAllowed, NotFound
from bookkeeper.events import record
from bookkeeper.protocol import Fate, ProcessKey

FATE: Final = "SELECT state, reason FROM processes WHERE id = :id AND token = :token"

ANY_OVERDUE: Final = f"""
SELECT 1 FROM processes WHERE state IN ('active', 'staged') AND (lease_until < {NOW} OR wall_until < {NOW}) LIMIT 1
"""

OPEN_PROJECT: Final = "SELECT id FROM projects WHERE request_id = :request AND state <> 'ended'"

MOVE_SHARE: Final = """
UPDATE projects SET files = files + CASE WHEN id = :target THEN :count/*bigint*/ ELSE -:count/*bigint*/ END
 WHERE id IN (:target, :origin)
"""


COMPLETE: Final = """
SELECT r.files FROM requests r
 WHERE r.id = :request AND r.committed = r.files
   AND NOT EXISTS (SELECT 1 FROM outputs o WHERE o.request_id = r.id AND o.state = 'committed')
"""


class GuardFailed(BookkeeperError):
    """A commit is not what it must be: the whole of it is undone, and the process rolled back."""


def secret(token: str) -> str:
    """Return what the catalog keeps of a token: its SHA-256.

    Only hashes are compared, so the time a comparison takes tells nothing about a token.
    """
    return hashlib.sha256(token.encode()).hexdigest()


def tag(token: str) -> str:
    """Return the public name of a token: twelve digits of its hash."""
    return secret(token)[:12]


def who(key: ProcessKey) -> dict[str, object]:
    """Return the parameters that every guarded statement names its process by."""
    return {"id": key.id, "token": secret(key.token)}


def fate(tx: Tx, key: ProcessKey) -> tuple[Fate, str | None]:
    """Return what became of a process, and why. Raises `NotFound`."""
    row = tx.run(FATE, who(key)).fetchone()
    if row is None:
        raise NotFound(
            f"there is no process {key.id} with this token", remedy="a token speaks for its own process only"
        )
    state, reason = row
    if state in ("active", "staged"):
        return Fate.LIVE, None
    if state == "committed":
        return Fate.COMMITTED, None
    return Fate.ROLLED_BACK, f"revoked: {reason}" if state in ("revoking", "revoked") else reason


def refuse(tx: Tx, key: ProcessKey, verb: str) -> NoReturn:
    """Raise why a guarded statement found no row: `Fenced`, `NotAllowed` or `NotFound`."""
    became, reason = fate(tx, key)
    if became is Fate.ROLLED_BACK:
        raise Fenced(f"process {key.id} was rolled back: {reason}", remedy="stop; its files went to other processes")
    if became is Fate.COMMITTED:
        raise NotAllowed(f"process {key.id} is committed: it can no longer {verb}", remedy="start another process")
    raise NotAllowed(
        f"process {key.id} is staged: it can no longer {verb}", remedy="it waits for its outputs; or roll it back"
    )


def target_project(tx: Tx, request: int, own: int) -> int:
    """Return the project that takes freed rows: the request's open one, else the row's own."""
    row = tx.run(OPEN_PROJECT, {"request": request}).fetchone()
    return own if row is None else int(row[0])


def move_share(tx: Tx, *, origin: int, target: int, count: int) -> None:
    """Keep the projects' own totals when ``count`` rows change hands."""
    if count and origin != target:
        tx.run(MOVE_SHARE, {"origin": origin, "target": target, "count": count})


def tell_complete(tx: Tx, request: int, project: int, process: int) -> None:
    """Record that the request is complete, if the commit or publication just made it so."""
    tx.lock(f"complete request {request}")  # of two that are the last, the second sees the first
    row = tx.run(COMPLETE, {"request": request}).fetchone()
    if row is not None:
        record(tx, "project.completed", {"files": row[0]}, project=project, process=process)
