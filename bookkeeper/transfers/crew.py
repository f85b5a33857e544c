"""Transfer workers, and whoever keeps them going.

Each is a process of its own: a storage that never answers holds up one of them, never its neighbours nor who started it.
A worker goes on when its crew is killed, and ends by itself when nothing is left; one that falls silent is killed.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from bookkeeper.catalog import Database
from bookkeeper.ledger.transfers import Arrival
from bookkeeper.publishing import publish_of
from bookkeeper.transfers import carrying, queue, tidying

WORKERS: Final = 16
"""Transfer workers at once, whatever the links allow."""

LINGER: Final = 3.0
"""Seconds that a worker waits for more to do before it ends."""

LOOK: Final = 0.2
"""Seconds between two looks of a worker that waits."""

SILENCE: Final = 900.0
"""Seconds after which a worker that says nothing is killed: its claim ran out long ago."""

PAUSE: Final = (1.0, 300.0)
"""Seconds to the next try where a storage could not be tidied: at first, and at most."""


@dataclass
class _Worker:
    """A transfer worker that runs, and when it said something last."""

    process: subprocess.Popen[bytes]
    heard: float = field(default_factory=time.monotonic)


class Crew:
    """Keeps as many transfer workers going as there is work for. Several crews of one catalog do no harm."""

    def __init__(self, database: Database, *, workers: int = WORKERS) -> None:
        self._database, self._most = database, workers
        self._workers: list[_Worker] = []
        self._selector = selectors.DefaultSelector()
        self._pause, self._not_before = 0.0, 0.0

    @property
    def running(self) -> int:
        """How many transfer workers of this crew run."""
        return len(self._workers)

    def step(self) -> int:
        """Look after everything once, without waiting for any storage; return how many workers run now."""
        self._reap()
        tidying.tend(self._database)
        wanted = queue.startable(queue.groups(self._database))
        if not wanted and not self._workers and time.monotonic() >= self._not_before:
            wanted = int(tidying.untidy(self._database))
        # Those that wait for work take it within a moment; so never more are started than could begin at once.
        idle = len(self._workers) - self._under_way()
        for _ in range(min(wanted - max(0, idle), self._most - len(self._workers))):
            self._start()
        return len(self._workers)

    def wait(self, seconds: float) -> None:
        """Wait until a worker says something, at most for ``seconds``."""
        if self._workers:
            self._listen(seconds)
        else:
            time.sleep(seconds)

    def close(self) -> None:
        """Let go of the workers: they go on by themselves."""
        for worker in self._workers:
            self._forget(worker)
            worker.process.returncode = worker.process.poll() or 0
        self._workers.clear()
        self._selector.close()

    def _under_way(self) -> int:
        return sum(one.running for one in queue.groups(self._database))

    def _start(self) -> None:
        environment = {**DEFAULTS, **os.environ}
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "bookkeeper.transfers", self._database.url],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            cwd="/",
            env=environment,
            start_new_session=True,
        )
        worker = _Worker(process)
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        self._selector.register(process.stdout, selectors.EVENT_READ, worker)
        self._workers.append(worker)

    def _listen(self, seconds: float) -> None:
        for key, _ in self._selector.select(seconds):
            with contextlib.suppress(BlockingIOError):
                if os.read(key.fd, 1 << 16):
                    key.data.heard = time.monotonic()
                else:
                    self._forget(key.data)

    def _reap(self) -> None:
        self._listen(0)
        for worker in list(self._workers):
            if worker.process.poll() is None:
                if time.monotonic() - worker.heard > SILENCE:
                    worker.process.kill()
                continue
            self._forget(worker)
            self._workers.remove(worker)
            failed = worker.process.returncode != 0
            self._pause = min(PAUSE[1], max(PAUSE[0], self._pause * 2)) if failed else 0.0
            self._not_before = time.monotonic() + self._pause

    def _forget(self, worker: _Worker) -> None:
        stream = worker.process.stdout
        if stream is not None and not stream.closed:
            self._selector.unregister(stream)
            stream.close()


DEFAULTS: Final = {
    "XRD_CONNECTIONWINDOW": "15",
    "XRD_CONNECTIONRETRY": "2",
    "XRD_STREAMERRORWINDOW": "30",
    "XRD_REQUESTTIMEOUT": "120",
}
"""What XRootD's client is told, unless the environment says otherwise: an error is to be known soon, and tried again."""


def work(database: Database, tell: Callable[[], None] = lambda: None, *, linger: float = LINGER) -> int:
    """Be a transfer worker until nothing is left to do; return how many things could not be tidied up.

    ``tell`` is called whenever something was done.
    """
    until = time.monotonic() + linger
    problems: list[str] = []
    while True:
        one = carrying.claim_next(database)
        if one is not None:
            if carrying.carry(database, one) is Arrival.COMMITTED:
                publish_of(database, one.process)
            until = time.monotonic() + linger
            tell()
            continue
        if not problems and tidying.untidy(database):
            problems = list(_told(tidying.tidy(database), tell))
        if problems or time.monotonic() > until:
            return len(problems)
        time.sleep(LOOK)


def _told(problems: Iterator[str], tell: Callable[[], None]) -> Iterator[str]:
    for problem in problems:
        tell()
        yield problem
