"""Look at a process tree again and again, from a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final, Protocol

from bookkeeper.performance.account import Account, Seen
from bookkeeper.performance.portable import PsutilWalk
from bookkeeper.performance.procfs import ProcWalk

START: Final = 1 / 16
"""The first pause, in poll intervals; each is twice the one before, until it is one: a brief command is seen too."""
THOROUGH: Final = 4
"""Every fourth look is a thorough one, and so is the last."""
PATIENCE: Final = 2.0
"""Seconds to wait for a look under way at the end. A system that takes longer to tell has stopped telling."""

_UNTOLD: Final = (OSError, ValueError, IndexError)
"""The system does not tell, or not in its usual words: that look is left out."""


class Walk(Protocol):
    """A way to look at a process tree."""

    inclusive: bool

    def look(self, *, thorough: bool) -> dict[int, Seen]:
        """Return every process of the tree that is there, by id; empty once all are gone.

        ``thorough``: do also what costs more, such as to count bytes.
        """
        ...

    def close(self) -> None:
        """Let go of what is open."""
        ...


def walk(pid: int) -> Walk | None:
    """Return the cheapest way to look at the tree below ``pid``; None where there is none, or no such process."""
    ways: tuple[Callable[[int], Walk], ...] = (ProcWalk, PsutilWalk)
    for way in ways:
        try:
            return way(pid)
        except (*_UNTOLD, ImportError):
            continue
    return None


class Sampler:
    """Looks at the tree below ``pid`` every ``interval`` seconds until it is stopped or all have ended. Never raises."""

    def __init__(self, pid: int, interval: float) -> None:
        self._interval = interval
        self._walk = walk(pid)
        self.account = Account(inclusive=self._walk is not None and self._walk.inclusive)
        self._halt = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"sampler-{pid}", daemon=True)

    def start(self) -> None:
        """Look once, here, and from now on from the thread."""
        if self._walk is None:
            return
        try:
            if self._look(self._walk, thorough=True):
                self._thread.start()
                return
        except RuntimeError:  # this user may start no more threads: what was seen now is all
            pass
        self._walk.close()

    def stop(self) -> None:
        """Have it look once more, and end."""
        self._halt.set()
        if self._thread.is_alive():
            self._thread.join(PATIENCE)

    def _run(self) -> None:
        assert self._walk is not None
        pause, looks, going = self._interval * START, 0, True
        while going:
            last = self._halt.wait(pause)
            looks += 1
            going = self._look(self._walk, thorough=last or looks % THOROUGH == 0) and not last
            pause = min(2 * pause, self._interval)
        self._walk.close()

    def _look(self, way: Walk, *, thorough: bool) -> bool:
        """Tell whether any of the tree is left."""
        try:
            seen = way.look(thorough=thorough)
        except _UNTOLD:
            return True
        self.account.take(seen)
        return bool(seen)
