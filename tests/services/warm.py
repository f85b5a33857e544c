"""``bookkeeper serve``, started a hundred times in a minute: every server is forked from a process that has imported it all.

What is killed is the command itself, in a process of its own; only the second that Python takes to import is saved. The
module is also the program that forks: it reads a line of JSON for each thing to do, the command's words or "kill".
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from services.servers import ServerProcess

IMPORTED = (
    "bookkeeper_cli.serve", "bookkeeper.server.assembly", "bookkeeper.server.operations", "bookkeeper.server.pages.routes",
    "bookkeeper.server.running", "bookkeeper.sqlite.catalogs", "bookkeeper.postgres.catalogs", "bookkeeper.plugins.notify",
    "bookkeeper.watching", "bookkeeper.failures.explanation", "uvicorn.lifespan.on", "uvicorn.loops.uvloop",
    "uvicorn.protocols.http.httptools_impl", "fastapi", "fastapi.responses", "prometheus_client",
)  # fmt: skip
"""What the command imports when it is told to serve."""


class WarmServer(ServerProcess):
    """A `ServerProcess` that starts quickly."""

    def __init__(self, catalog: str, folder: Path, *options: str) -> None:
        super().__init__(catalog, folder, *options)
        self._forker: subprocess.Popen[str] | None = None
        self._pid = 0

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._pid

    def __enter__(self) -> WarmServer:
        pipe = subprocess.PIPE
        with self.log.open("a") as log:
            self._forker = subprocess.Popen(
                [sys.executable, "-m", "services.warm"], cwd=Path(__file__).parents[1], stdin=pipe, stdout=pipe,
                stderr=log, text=True, start_new_session=True,
            )  # fmt: skip
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        assert self._forker is not None
        os.killpg(self._forker.pid, signal.SIGKILL)
        self._forker.communicate()

    def spawn(self) -> None:
        """See `ServerProcess.spawn`."""
        self._say(["--catalog", self.catalog, "serve", "--port", str(self._port), *(self.options or ("--open",))])
        self._pid = int(self._line().split()[1])

    def await_url(self) -> str:
        """See `ServerProcess.await_url`."""
        while "http://" not in (line := self._line()):
            assert line, self.log.read_text()
        self.url = next(word.rstrip(".,") for word in line.split() if word.startswith("http://"))
        self._port = int(self.url.rpartition(":")[2])
        return self.url

    def _end(self, how: signal.Signals) -> int:
        self._say(how)
        while not (line := self._line()).startswith("dead"):
            assert line, self.log.read_text()
        return int(line.split()[1])

    def _say(self, what: Any) -> None:
        assert self._forker is not None and self._forker.stdin is not None
        self._forker.stdin.write(json.dumps(what) + "\n")
        self._forker.stdin.flush()

    def _line(self) -> str:
        assert self._forker is not None and self._forker.stdout is not None
        return self._forker.stdout.readline()


def main() -> None:
    """Fork and kill as told."""
    import bookkeeper_cli.main
    from bookkeeper.server import operations

    operations.load()
    for name in IMPORTED:
        importlib.import_module(name)

    child = 0
    for line in sys.stdin:
        told = json.loads(line)
        if isinstance(told, int):
            os.kill(child, told)
            print("dead", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
            continue
        child = os.fork()
        if child == 0:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.write(1, f"pid {os.getpid()}\n".encode())
            os._exit(bookkeeper_cli.main.main(told))


if __name__ == "__main__":
    main()
