"""Tell one subscriber what happened: after the commit, in the order of the log, at least once.

What becomes of a dispatcher that dies (kill -9, a loss of power):

=====================  ==================================================================================================
before the call        nothing was told. Its claim is void at once on the same host, after at most a minute elsewhere;
                       then the next dispatcher tells the event
in the call            the subscriber may have done its work, wholly or in part. The next dispatcher tells it again
after the call         as long as the cursor was not written (at most a second later, or when the log is at its end) the
                       events since then are told again; what they asked for (an amendment, a second opinion) is done
                       again, which changes nothing but the record. Once it was written, never again
=====================  ==================================================================================================

A call that raises, or does not return in time, is an attempt that failed: the event ``plugin.failed`` says so. It is
tried again later, five times in all; then that event is given up and the next one is told. No transaction is open, and
no other subscriber waits, while one is called.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bookkeeper.catalog import Database
from bookkeeper.errors import CatalogError
from bookkeeper.plugins import cursors, log
from bookkeeper.plugins.calls import Hanging, Stopped, call_within
from bookkeeper.plugins.loading import in_a_line
from bookkeeper.plugins.subscribers import Subscriber
from bookkeeper.plugins.values import Event

AGAIN: Final = 1.0
"""Seconds until a cursor that another dispatcher has claimed is looked at again."""

BATCH: Final = 500
"""Events read at once."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long subscribers are waited for, in seconds.

    A call may take ``timeout``. ``back_off`` are the waits from one failed attempt to the next; when as many have passed
    and the next attempt fails too, the event is given up. Events that are told together are gathered over ``gather``.
    """

    timeout: float = 30.0
    back_off: tuple[float, ...] = (2.0, 10.0, 60.0, 300.0)
    gather: float = 30.0

    @property
    def attempts(self) -> int:
        """Attempts in all. So many calls may be abandoned, too: then a subscriber is not called again by this dispatcher."""
        return len(self.back_off) + 1


class Lane:
    """One subscriber, and how far it was told."""

    def __init__(
        self, database: Database, subscriber: Subscriber, me: str, stop: threading.Event, patience: Patience
    ) -> None:
        self.name = subscriber.name
        self._database, self._subscriber, self._me, self._patience = database, subscriber, me, patience
        self._stop = stop
        self._told: int | None = None
        self._passed = 0
        self._ahead: deque[Event] = deque()
        self._abandoned: list[threading.Thread] = []

    def step(self, *, flush: bool = False) -> float | None:
        """Tell all that can be told now; return in how many seconds to look again, None: when there are new events.

        ``flush``: do not wait for more to gather.
        """
        self._abandoned = [thread for thread in self._abandoned if thread.is_alive()]
        if len(self._abandoned) >= self._patience.attempts:
            return self._patience.timeout
        if self._told is None:
            self._told = self._passed = self._cursor()
        claim: cursors.Claim | None = None
        try:
            while not self._stop.is_set():
                parcel, wait = self._parcel(flush)
                if not parcel:
                    self._pass_over()
                    return wait
                if claim is None:
                    claim = cursors.claim(self._database, self.name, self._me, 2 * self._patience.timeout)
                    if claim is None:
                        return self._until_free()
                    if claim.event > self._told:  # another dispatcher was here
                        self._jump(claim.event)
                        continue
                if (pause := self._tell(claim, parcel)) is not None:
                    return pause
            return None
        except cursors.Lost:
            self._told = None
            self._ahead.clear()
            return AGAIN
        finally:
            if claim is not None:
                claim.release()

    def close(self) -> None:
        """Move the cursor over the last events, which the subscriber does not want."""
        self._pass_over(least=1)

    def behind(self) -> bool:
        """Tell whether there is anything that it was not told, by this dispatcher or another."""
        self._jump(max(self._told or 0, self._cursor()))
        return bool(self._parcel(flush=True, peek=True)[0])

    def _pass_over(self, least: int = 10 * BATCH) -> None:
        """Move the cursor over events that the subscriber does not want, once they are many."""
        if self._told is not None and self._told - self._passed >= least:
            cursors.forward(self._database, self.name, self._told)
            self._passed = self._told

    def _cursor(self) -> int:
        found = cursors.look(self._database, self.name)
        return 0 if found is None else int(found["event_id"])

    def _until_free(self) -> float:
        found = cursors.look(self._database, self.name)
        waits = found and found["claimed_by"] is None
        return max(0.05, found["seconds"] or 0.0) if found and waits else AGAIN

    def _jump(self, event: int) -> None:
        self._told = event
        while self._ahead and self._ahead[0].id <= event:
            self._ahead.popleft()

    def _parcel(self, flush: bool, *, peek: bool = False) -> tuple[list[Event], float | None]:
        """Return what to tell next, one event or several that were gathered; else how long to wait for it."""
        assert self._told is not None
        while True:
            more = self._read()
            while self._ahead and not self._subscriber.wants(self._ahead[0]):
                self._told = self._ahead.popleft().id
            if self._ahead:
                break
            if not more:
                return [], None
        first = self._ahead[0]
        if not self._subscriber.gathers(first):
            return [first], None
        wanted = [event for event in self._ahead if self._subscriber.wants(event)]
        run = next((wanted[:end] for end, event in enumerate(wanted) if not self._subscriber.gathers(event)), wanted)
        age = time.time() - first.at
        if flush or peek or len(run) < len(wanted) or len(self._ahead) >= BATCH or not 0 <= age < self._patience.gather:
            return run, None
        return [], self._patience.gather - age

    def _read(self) -> bool:
        """Read on behind what was read already; tell whether there was anything."""
        if len(self._ahead) >= BATCH:
            return False
        after = self._ahead[-1].id if self._ahead else self._told or 0
        found = log.read(self._database, after, BATCH - len(self._ahead))
        self._ahead.extend(found)
        return bool(found)

    def _tell(self, claim: cursors.Claim, parcel: Sequence[Event]) -> float | None:
        """Tell it; return None when that is settled, else how long to wait before the next attempt."""
        seconds = self._patience.timeout
        try:
            call = self._subscriber.prepare(self._database, parcel)
            for effect in call_within(seconds, call, self.name, self._stop):
                effect(self._database)
        except Stopped as called_off:
            self._abandoned.append(called_off.thread)
            return 0.0
        except CatalogError:
            raise  # ours, not the subscriber's
        except Exception as error:  # noqa: BLE001 - whatever a plug-in raises is its failure, and is recorded
            if isinstance(error, Hanging):
                self._abandoned.append(error.thread)
            return self._failed(claim, parcel, in_a_line(error))
        claim.told(parcel[-1].id)
        self._jump(parcel[-1].id)
        return None

    def _failed(self, claim: cursors.Claim, parcel: Sequence[Event], problem: str) -> float:
        """Record an attempt that failed; return how long to wait."""
        first, last, attempt = parcel[0], parcel[-1], claim.attempts + 1
        given_up = attempt >= self._patience.attempts
        pause = 0.0 if given_up else self._patience.back_off[attempt - 1]
        body = {"plugin": self.name, "event": first.id, "kind": first.kind, "problem": problem}
        event, attempts = (last.id, 0) if given_up else (claim.event, attempt)
        body |= {"attempt": attempt, "given_up": given_up}
        claim.failed(event, attempts, pause, body, project=first.project)
        if given_up:
            self._jump(last.id)
        return pause
