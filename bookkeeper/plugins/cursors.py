"""How far each plug-in was told the log, and who is telling it: one row of the table ``cursors`` each.

A dispatcher claims a cursor for a while before it calls the plug-in, so that two of them do not tell it twice. A claim
that its owner does not renew runs out; that of a process of this host which is gone is taken at once. A cursor that
nobody claims and whose ``claimed_until`` lies ahead waits for its next attempt.
"""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from bookkeeper.catalog import NOW, Database, Tx
from bookkeeper.operations import operation
from bookkeeper.plugins import log

CREATE: Final = """
INSERT INTO cursors (name, event_id, attempts)
SELECT :name, CASE WHEN :beginning THEN 0 ELSE COALESCE((SELECT max(id) FROM events), 0) END, 0
 WHERE true ON CONFLICT (name) DO NOTHING
"""

CLAIM: Final = f"""
UPDATE cursors SET claimed_by = :me, claimed_until = {NOW} + :seconds
 WHERE name = :name AND (claimed_until IS NULL OR claimed_until <= {NOW} OR claimed_by IN (:me, :gone))
RETURNING event_id, attempts
"""

MOVE: Final = f"""
UPDATE cursors SET event_id = :event, attempts = :attempts, claimed_until = {NOW} + :seconds
 WHERE name = :name AND claimed_by = :me
"""

RELEASE: Final = """
UPDATE cursors SET event_id = :event, attempts = :attempts, claimed_by = NULL, claimed_until = NULL
 WHERE name = :name AND claimed_by = :me
"""

BACK_OFF: Final = f"""
UPDATE cursors SET event_id = :event, attempts = :attempts, claimed_by = NULL, claimed_until = {NOW} + :seconds
 WHERE name = :name AND claimed_by = :me
"""

FORWARD: Final = f"""
UPDATE cursors SET event_id = :event, attempts = 0
 WHERE name = :name AND event_id < :event AND (claimed_until IS NULL OR claimed_until <= {NOW})
"""

ONE: Final = f"""
SELECT name, event_id, attempts, claimed_by, claimed_until, claimed_until - {NOW} AS seconds FROM cursors WHERE name = :name
"""

SAVE: Final = 1.0
"""Seconds between two notes of how far a plug-in was told, while it is told one event after the other."""


class Lost(Exception):
    """The claim is another's by now: this dispatcher was silent for too long."""


def new_owner() -> str:
    """Return a name for a dispatcher: its host, its process, and a word that is nobody else's."""
    return f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(4)}"


@operation("work", name="cursors.create", again=True)
def create(database: Database, names: Sequence[str], *, beginning: bool = False) -> None:
    """Make the cursors that are not there yet: at the end of the log, or at its ``beginning``."""
    if any(look(database, name) is None for name in names):
        rows = [{"name": name, "beginning": beginning} for name in names]
        database.run(lambda tx: tx.many(CREATE, rows))


@operation("read", name="cursors.look")
def look(database: Database, name: str) -> dict[str, Any] | None:
    """Return a cursor; ``seconds`` are those until its claim or its waiting ends."""
    return database.one(ONE, {"name": name})


@operation("work", name="cursors.forward", again=True)
def forward(database: Database, name: str, event: int) -> None:
    """Move a cursor that nobody claims over events that its plug-in does not want."""
    database.run(lambda tx: tx.run(FORWARD, {"name": name, "event": event}).rowcount)


@operation("work", name="cursors.take", again=True)
def take(database: Database, name: str, me: str, seconds: float, gone: str | None = None) -> tuple[int, int] | None:
    """Claim a cursor for so long, also from one that is ``gone``; return its event and attempts, None where it is taken."""
    asked = {"name": name, "me": me, "seconds": seconds, "gone": gone}
    row = database.run(lambda tx: tx.run(CLAIM, asked).fetchone())
    return None if row is None else (row[0], row[1])


@operation("work", name="cursors.move", again=True)
def move(database: Database, name: str, me: str, seconds: float, event: int, attempts: int) -> bool:
    """Write down how far a claimed cursor is, and claim it anew; tell whether it was still ours."""
    values = {"name": name, "me": me, "seconds": seconds, "event": event, "attempts": attempts}
    return database.run(lambda tx: tx.run(MOVE, values).rowcount) == 1


@operation("work", name="cursors.release", again=True)
def release(database: Database, name: str, me: str, event: int, attempts: int) -> None:
    """Let go of a claimed cursor."""
    values = {"name": name, "me": me, "event": event, "attempts": attempts}
    database.run(lambda tx: tx.run(RELEASE, values).rowcount)


@operation("work", name="cursors.put_off")
def put_off(
    database: Database,
    name: str,
    me: str,
    seconds: float,
    event: int,
    attempts: int,
    *,
    failed: Mapping[str, Any],
    project: str | None,
) -> bool:
    """Record an attempt that failed, and let the cursor wait for the next; tell whether it was still ours."""
    values = {"name": name, "me": me, "seconds": seconds, "event": event, "attempts": attempts}

    def change(tx: Tx) -> bool:
        if tx.run(BACK_OFF, values).rowcount != 1:
            return False
        log.append(tx, log.FAILED, failed, project=project)
        return True

    return database.run(change)


def claim(database: Database, name: str, me: str, seconds: float) -> Claim | None:
    """Claim a cursor for so long; None where another has it, or it waits for its next attempt."""
    found = look(database, name)
    gone = found["claimed_by"] if found and _is_gone(found["claimed_by"]) else None
    taken = take(database, name, me, seconds, gone)
    return None if taken is None else Claim(database, name, me, seconds, event=taken[0], attempts=taken[1])


class Claim:
    """A claimed cursor. ``event`` is the last that the plug-in was told, ``attempts`` those that failed for the next."""

    def __init__(self, database: Database, name: str, me: str, seconds: float, *, event: int, attempts: int) -> None:
        self.event, self.attempts = event, attempts
        self._database, self._seconds = database, seconds
        self._name, self._me = name, me
        self._saved = time.monotonic()

    def told(self, event: int) -> None:
        """Note that the plug-in was told; written down now and then. Raises `Lost`."""
        self.event, self.attempts = event, 0
        if time.monotonic() - self._saved > SAVE:
            self.renew()

    def renew(self) -> None:
        """Write down how far it is, and claim it anew. Raises `Lost`."""
        if not move(self._database, self._name, self._me, self._seconds, self.event, self.attempts):
            raise Lost
        self._saved = time.monotonic()

    def failed(
        self, event: int, attempts: int, seconds: float, problem: Mapping[str, Any], *, project: str | None
    ) -> None:
        """Record an attempt that failed, and let it wait before the next; ``event`` is the last that it need not be told.

        Raises `Lost`.
        """
        self.event, self.attempts = event, attempts
        if not put_off(self._database, self._name, self._me, seconds, event, attempts, failed=problem, project=project):
            raise Lost

    def release(self) -> None:
        """Let go of it. What another did meanwhile stays as it is."""
        release(self._database, self._name, self._me, self.event, self.attempts)


def _is_gone(owner: str | None) -> bool:
    """Tell whether the owner of a claim was a process of this host that does not run any more."""
    host, _, rest = (owner or "").partition("/")
    if host != socket.gethostname():
        return False
    try:
        os.kill(int(rest.partition("/")[0]), 0)
    except ProcessLookupError:
        return True
    except (PermissionError, ValueError, OverflowError):
        return False
    return False
