"""Real catalog servers for tests: one in a thread of this process, or one in a process of its own that can be killed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from bookkeeper.catalog import Database
from bookkeeper.client.ledger import HttpLedger
from bookkeeper.client.transport import Transport
from bookkeeper.server import Settings
from bookkeeper.server.running import Parts, Place, Server, listening

STILL = Settings(tick=3600.0, rate=1e9, burst=1e9)
"""A server that does nothing by itself, for tests that say when time passes."""


@contextlib.contextmanager
def serving(database: Database, parts: Parts | None = None, place: Place | None = None) -> Iterator[str]:
    """Serve a catalog from a thread for a block; give the server's URL."""
    place = place or Place(port=0)
    ready, failed = threading.Event(), []
    with listening(place) as (bound, url):
        server = Server(database, place, parts or Parts(settings=STILL), ready.set)

        def run() -> None:
            try:
                server.run(sockets=[bound])
            except BaseException as error:
                failed.append(error)
                raise
            finally:
                ready.set()

        thread = threading.Thread(target=run, name="server")
        thread.start()
        try:
            assert ready.wait(60), "the server did not start"
            assert not failed, failed
            yield url
        finally:
            server.should_exit = True
            thread.join(60)
            assert not thread.is_alive(), "the server did not end"


@contextlib.contextmanager
def http_ledger(database: Database, parts: Parts | None = None) -> Iterator[HttpLedger]:
    """A ledger that speaks to a server of this catalog."""
    with serving(database, parts) as url, contextlib.closing(Transport(url)) as transport:
        yield HttpLedger(transport)


class ServerProcess:
    """``bookkeeper serve`` in a process of its own, on one port for life: to be killed and started again."""

    def __init__(self, catalog: str, folder: Path, *options: str) -> None:
        self.catalog, self.options = catalog, options
        self.log = folder / "server.log"
        self.url = ""
        self._port = 0
        self._running: subprocess.Popen[str] | None = None

    def __enter__(self) -> ServerProcess:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._running is not None
        return self._running.pid

    def start(self) -> str:
        """Start it, and wait until it answers; its URL, the same each time."""
        self.spawn()
        return self.await_url()

    def spawn(self) -> None:
        """Start it."""
        words = ["--catalog", self.catalog, "serve", "--port", str(self._port)]
        words += self.options or ("--open",)
        with self.log.open("a") as log:
            self._running = subprocess.Popen(
                [sys.executable, "-m", "bookkeeper_cli.main", *words],
                stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True,
            )  # fmt: skip

    def await_url(self) -> str:
        """Wait until it answers; its URL."""
        assert self._running is not None and self._running.stdout is not None
        self.url = _url_in(self._running.stdout) or ""
        assert self.url, self.log.read_text()
        self._port = int(self.url.rpartition(":")[2])
        return self.url

    def kill(self) -> None:
        """Kill it, as a power cut would."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Ask it to end; its exit code."""
        return self._end(signal.SIGTERM)

    def restart(self) -> None:
        """Kill it and start it again."""
        self.kill()
        self.start()

    def _end(self, how: signal.Signals) -> int:
        running, self._running = self._running, None
        if running is None:
            return 0
        assert running.stdout is not None
        if how is signal.SIGKILL:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(running.pid, how)
        else:
            running.send_signal(how)
        code = running.wait(60)
        running.stdout.close()
        return code


def _url_in(output: IO[str]) -> str | None:
    for line in output:
        for word in line.split():
            if word.startswith(("http://", "https://")):
                return word.rstrip(".,")
    return None
