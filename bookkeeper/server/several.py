"""Several processes that serve one catalog from one socket: for PostgreSQL, which has many writers.

The parent binds the socket and starts them; it starts another for one that died, and ends them all when it is asked to.
Each has its own writer with its own groups, its own metrics and limits.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NoReturn

from bookkeeper.server.app import Settings
from bookkeeper.server.running import Place, Server, guarded, listening

if TYPE_CHECKING:
    import socket

    from bookkeeper.catalog import Database

ASKED: Final = (signal.SIGTERM, signal.SIGINT)
"""The signals that ask to end."""

SHORT_LIFE: Final = 5.0
"""Seconds: a process that dies younger is followed by the next after as long."""


def serve_several(
    database: Database,
    place: Place,
    workers: int,
    on_ready: Callable[[str], object],
    *,
    open_to_all: bool,
    settings: Settings | None,
) -> None:
    """Serve from so many processes until SIGTERM or SIGINT."""
    url = database.url
    database.close()  # no connection goes into a child
    guarded(place, open_to_all=open_to_all)
    stopping = False
    running: dict[int, float] = {}

    def stop(signum: int, frame: Any) -> None:
        nonlocal stopping
        stopping = True
        for pid in running:
            _send(pid, signal.SIGTERM)

    with listening(place) as (bound, address):
        for asked in ASKED:
            signal.signal(asked, stop)
        first = True
        while not stopping or running:
            while not stopping and len(running) < workers:
                ready = partial(on_ready if first else _say_nothing, address)
                with _unasked():  # who is asked now has a child that is not known yet
                    if not stopping:
                        running[_start(url, place, bound, ready, open_to_all, settings)] = time.monotonic()
                first = False
            try:
                pid, _ = os.wait()
            except ChildProcessError:
                break
            born = running.pop(pid, 0.0)
            if not stopping and time.monotonic() - born < SHORT_LIFE:
                time.sleep(SHORT_LIFE)


def _start(
    url: str,
    place: Place,
    bound: socket.socket,
    ready: Callable[[], object],
    open_to_all: bool,
    settings: Settings | None,
) -> int:
    """Start one process; return its id. It is `_unasked` until it ends at once when it is asked to."""
    pid = os.fork()
    if pid == 0:
        _serve_and_exit(url, place, bound, ready, open_to_all, settings)
    return pid


def _serve_and_exit(
    url: str,
    place: Place,
    bound: socket.socket,
    ready: Callable[[], object],
    open_to_all: bool,
    settings: Settings | None,
) -> NoReturn:
    code = 1
    try:
        for asked in ASKED:
            signal.signal(asked, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ASKED)
        from bookkeeper.catalog import open_existing
        from bookkeeper.server.assembly import parts_of

        database = open_existing(url)
        parts = parts_of(database, open_to_all=open_to_all, settings=settings)
        Server(database, place, parts, ready).run(sockets=[bound])
        database.close()
        code = 0
    except BaseException:  # noqa: BLE001 - a child that goes on as its parent would be worse
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


@contextlib.contextmanager
def _unasked() -> Iterator[None]:
    """Let signals that ask to end come when the block is over, not in it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ASKED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _send(pid: int, signum: signal.Signals) -> None:
    try:
        os.kill(pid, signum)
    except ProcessLookupError:
        return


def _say_nothing(url: str) -> None:
    """The address was told by the first process."""
