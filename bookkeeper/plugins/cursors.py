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
from collections.abc import Sequence
from typing import Any, Final

from bookkeeper.catalog import NOW, Database, Tx
from bookkeeper.operations import operation

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


@operation("work", name="cursors.create")
def create(database: Database, names: Sequence[str], *, beginning: bool = False) -> None:
    """Make the cursors that are not there yet: at the end of the log, or at its ``beginning``."""
    if any(look(database, name) is None for name in names):
        with database.transaction() as tx:
            tx.many(CREATE, [{"name": name, "beginning": beginning} for name in names])


@operation("read", name="cursors.look")
def look(database: Database, name: str) -> dict[str, Any] | None:
    """Return a cursor; ``seconds`` are those until its claim or its waiting ends."""
    return database.one(ONE, {"name": name})


@operation("work", name="cursors.forward")
def forward(database: Database, name: str, event: int) -> None:
    """Move a cursor that nobody claims over events that its plug-in does not want."""
    with database.transaction() as tx:
        tx.run(FORWARD, {"name": name, "event": event})


def claim(database: Database, name: str, me: str, seconds: float) -> Claim | None:
    """Claim a cursor for so long; None where another has it, or it waits for its next attempt."""
    found = look(database, name)
    gone = found["claimed_by"] if found and _is_gone(found["claimed_by"]) else None
    with database.transaction() as tx:
        row = tx.run(CLAIM, {"name": name, "me": me, "seconds": seconds, "gone": gone}).fetchone()
    return None if row is None else Claim(database, name, me, seconds, event=row[0], attempts=row[1])


class Claim:
    """A claimed cursor. ``event`` is the last that the plug-in was told, ``attempts`` those that failed for the next."""

    def __init__(self, database: Database, name: str, me: str, seconds: float, *, event: int, attempts: int) -> None:
        self.event, self.attempts = event, attempts
        self._database, self._seconds = database, seconds
        self._key = {"name": name, "me": me}
        self._saved = time.monotonic()

    def told(self, event: int) -> None:
        """Note that the plug-in was told; written down now and then. Raises `Lost`."""
        self.event, self.attempts = event, 0
        if time.monotonic() - self._saved > SAVE:
            self.renew()

    def renew(self) -> None:
        """Write down how far it is, and claim it anew. Raises `Lost`."""
        with self._database.transaction() as tx:
            self._mine(tx, MOVE, event=self.event, attempts=self.attempts, seconds=self._seconds)
        self._saved = time.monotonic()

    def failed(self, tx: Tx, event: int, attempts: int, seconds: float) -> None:
        """Let it wait before the next attempt; ``event`` is the last that it need not be told. Raises `Lost`."""
        self.event, self.attempts = event, attempts
        self._mine(tx, BACK_OFF, event=event, attempts=attempts, seconds=seconds)

    def release(self) -> None:
        """Let go of it. What another did meanwhile stays as it is."""
        with self._database.transaction() as tx:
            tx.run(RELEASE, {**self._key, "event": self.event, "attempts": self.attempts})

    def _mine(self, tx: Tx, statement: str, **values: Any) -> None:
        if tx.run(statement, {**self._key, **values}).rowcount != 1:
            raise Lost


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
