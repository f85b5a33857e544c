"""Tell every subscriber what happened, each in a thread of its own, beside whatever else a program does."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Final

from bookkeeper.catalog import Database
from bookkeeper.errors import BookkeeperError
from bookkeeper.plugins import cursors, log
from bookkeeper.plugins.lanes import AGAIN, Lane, Patience
from bookkeeper.plugins.loading import Plugins
from bookkeeper.plugins.notify import Notify, notifiers
from bookkeeper.plugins.subscribers import Subscriber, listeners

TICK: Final = 1.0
"""Seconds between two looks at the end of the log."""

FLUSH: Final = 10.0
"""Seconds that the end of a run waits for subscribers."""


def subscribers(plugins: Plugins, notify: Sequence[Notify] = (), request: str | None = None) -> list[Subscriber]:
    """Return everybody who is told events: plug-ins, and the targets of notifications of a request."""
    found: list[Subscriber] = [*listeners(plugins, request)]
    if notify and request is not None:
        found += notifiers(notify, plugins.notifiers(), request)
    return found


def subscribe(database: Database, subscribers: Sequence[Subscriber], *, beginning: bool = False) -> None:
    """Let subscribers that are new be told everything from now on, or from the ``beginning`` of the log."""
    if not subscribers:
        return
    cursors.create(database, [one.name for one in subscribers], beginning=beginning)


class Dispatcher:
    """Tells subscribers events as they are recorded: ``with Dispatcher(database, subscribers):``.

    What they were not told before the first dispatcher knew them stays untold, unless ``beginning``. While nothing
    happens it costs one look at an index per second.
    """

    def __init__(
        self,
        database: Database,
        subscribers: Sequence[Subscriber],
        *,
        patience: Patience | None = None,
        beginning: bool = False,
    ) -> None:
        self._database = database
        self._stop = threading.Event()
        me = cursors.new_owner()
        subscribe(database, subscribers, beginning=beginning)
        self._runners = [
            _Runner(Lane(database, one, me, self._stop, patience or Patience()), self._stop) for one in subscribers
        ]
        self._watch = threading.Thread(target=self._look_out, name="bookkeeper plug-ins", daemon=True)

    def start(self) -> None:
        """Begin to tell."""
        if self._runners:
            self._watch.start()
        for runner in self._runners:
            runner.start()

    def close(self, seconds: float = FLUSH, *, longest: float = math.inf) -> list[str]:
        """Tell what is left, for at most so long; then end. Return the names of those who were not told everything.

        Those who would have to be waited for ``longest`` seconds or more at once are left alone. Calls that do not
        return are abandoned. What was not told is told by the next dispatcher.
        """
        deadline = time.monotonic() + seconds
        for runner in self._runners:
            runner.end(deadline, longest)
        try:
            for runner in self._runners:
                if runner.is_alive():
                    left = deadline - time.monotonic()
                    runner.join(max(0.0, left) if math.isfinite(left) else None)
        finally:
            self._stop.set()
            for runner in self._runners:
                runner.wake()
            for thread in (*self._runners, self._watch):
                if thread.is_alive():
                    thread.join()
        return [runner.lane.name for runner in self._runners if runner.left]

    def __enter__(self) -> Dispatcher:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _look_out(self) -> None:
        seen = -1
        while not self._stop.wait(TICK):
            try:
                newest = log.newest(self._database)
            except BookkeeperError:
                continue  # the runners meet the same, and tell
            if newest != seen:
                seen = newest
                for runner in self._runners:
                    runner.wake()


class _Runner(threading.Thread):
    """The thread of one lane. ``left``: it ended with something untold."""

    def __init__(self, lane: Lane, stop: threading.Event) -> None:
        super().__init__(name=f"bookkeeper plug-in lane {lane.name}", daemon=True)
        self.lane, self.left = lane, True
        self._stop_asked, self._woken = stop, threading.Event()
        self._longest = math.inf
        self._deadline: float | None = None

    def wake(self) -> None:
        """Let it look at the log."""
        self._woken.set()

    def end(self, deadline: float, longest: float) -> None:
        """Let it end when all is told, or what is left could be told only after the deadline, or after ``longest``."""
        self._longest, self._deadline = longest, deadline
        self.wake()

    def run(self) -> None:
        """Step until told to stop."""
        while not self._stop_asked.is_set():
            deadline = self._deadline
            self._woken.clear()
            try:
                wait = self.lane.step(flush=deadline is not None)
            except BookkeeperError:
                wait = AGAIN  # the catalog is busy, or its disk is full: what is untold stays in the log
            if deadline is not None and (wait is None or wait >= self._longest or time.monotonic() + wait > deadline):
                break
            if wait is None or wait > 0:
                self._woken.wait(wait)
        try:
            self.left = self.lane.behind()
            self.lane.close()
        except BookkeeperError:
            self.left = True
