"""SQLite as bookkeeper uses it: WAL mode, one fair queue of writers, two levels of durability.

* Every write transaction is ``BEGIN IMMEDIATE``: it never reads first and then finds that it cannot write.
* Writers queue on a ``flock`` beside the database, because SQLite's own busy handler starves some of them. The kernel
  releases the lock of a writer that is killed.
* ``synchronous`` cannot change inside a transaction, so durable moves have a connection of their own (FULL); history
  rides on NORMAL. A FULL commit makes every earlier commit durable too (https://sqlite.org/pragma.html#pragma_synchronous).
* WAL needs shared memory: one host, no network file system (https://sqlite.org/wal.html).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, TypeVar

from bookkeeper.database import SEALED, THE_NEW_ONE, too_large
from bookkeeper.errors import (
    BookkeeperError,
    CatalogBusy,
    CatalogError,
    CatalogMissing,
    Fenced,
    NotAllowed,
    UsageError,
)

BUSY_SECONDS: Final = 60.0
_HIDDEN_COLUMNS: Final = {("processes", "token")}

Run = Callable[..., sqlite3.Cursor]
C = TypeVar("C", "Queue", "Writer", sqlite3.Connection)


def path_of(url: str) -> Path:
    """Return the absolute path of ``sqlite:///relative.db``, ``sqlite:////absolute.db`` or a plain path."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        rest = "/" + url
    elif scheme != "sqlite":
        raise UsageError(
            f"{scheme}:// is no catalog that this version can open",
            remedy="use sqlite:///PATH or postgresql://HOST/NAME, for example sqlite:///bookkeeper.db",
        )
    if not rest.startswith("/") or rest in {"/", "/:memory:"} or "\0" in rest:
        raise UsageError(f"{url!r} names no file", remedy="use sqlite:///PATH, for example sqlite:///bookkeeper.db")
    return Path(rest[1:]).expanduser().absolute()


def translate(error: sqlite3.Error, path: Path) -> BookkeeperError:
    """Return a driver's error as one of ours; the message names the catalog."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return CatalogBusy(f"{path} stayed locked for {BUSY_SECONDS:.0f} s")
    if code == sqlite3.SQLITE_FULL:
        return CatalogError(
            f"{path}: the disk is full; nothing was changed", remedy="free some space, then do the same again"
        )
    if code in {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH}:
        return CatalogError(
            f"{path} is not writable ({error})", remedy="check the permissions of the file and its folder"
        )
    if code == sqlite3.SQLITE_CANTOPEN:
        return CatalogError(f"{path} cannot be opened ({error})", remedy="check the path and its permissions")
    if code in {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}:
        return CatalogError(f"{path} is no sound SQLite database ({error})", remedy="restore the backup")
    if str(error).startswith(SEALED):
        return NotAllowed(f"{path}: {error}", remedy=THE_NEW_ONE)
    if code == sqlite3.SQLITE_CONSTRAINT:
        return UsageError(f"the catalog refuses this ({error}); nothing was changed")
    if code == sqlite3.SQLITE_IOERR:
        return CatalogError(
            f"{path}: the disk failed ({error})", remedy="check the disk; the last transaction was not made"
        )
    return CatalogError(f"{path}: {error}")


class Tx:
    """A write transaction: what every move of the kernel gets as its first argument.

    ``run(statement, parameters)`` executes one statement and returns its cursor; ``many`` executes it for each set of
    parameters and returns the number of rows it changed in all.
    """

    __slots__ = ("_connection", "run")
    hints: Final = None

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.run: Run = connection.execute

    @property
    def changes(self) -> int | None:
        """How many rows this connection has changed so far: who compares two moments knows whether anything changed."""
        return self._connection.total_changes

    def many(self, statement: str, rows: Iterable[Mapping[str, Any] | tuple[Any, ...]]) -> int:
        """Execute ``statement`` for each of ``rows``; return the number of rows changed."""
        return self._connection.executemany(statement, rows).rowcount

    def lock_request(self, *, process: int | None = None, project: str | None = None, alone: bool = False) -> None:
        """Keep moves of whole projects and moves of single processes of a request apart: here one writer is alone."""

    def lock(self, what: str) -> None:
        """Let only one transaction at a time do ``what``: here one writer is alone."""


class Queue:
    """One thread's place in the queue of writers. Transactions of a thread do not nest: the second would wait for ever."""

    __slots__ = ("_lock", "_taken")

    def __init__(self, path: Path) -> None:
        self._lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        self._taken = False

    def enter(self) -> None:
        """Wait for the turn to write."""
        if self._taken:
            raise RuntimeError("a write transaction is open in this thread already: finish it first")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._taken = True

    def leave(self) -> None:
        """Let the next one write."""
        self._taken = False
        fcntl.flock(self._lock, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the queue's file."""
        os.close(self._lock)


class Writer:
    """The door to write transactions of one thread at one durability: ``with writer as tx``."""

    __slots__ = ("_before", "_connection", "_durable", "_path", "_queue", "_tx")

    def __init__(self, path: Path, queue: Queue, *, durable: bool) -> None:
        self._path = path
        self._queue = queue
        self._durable = durable
        self._before = 0
        self._connection = connect(path)
        self._connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        self._tx = Tx(self._connection)

    def __enter__(self) -> Tx:
        self._queue.enter()
        try:
            if self._connection.in_transaction:  # an interrupt came between BEGIN and the body
                self._connection.execute("ROLLBACK")
            self._connection.execute("BEGIN IMMEDIATE")
        except BaseException as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            self._queue.leave()
            if isinstance(error, sqlite3.Error):
                raise translate(error, self._path) from error
            raise
        self._before = self._connection.total_changes
        return self._tx

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        connection = self._connection
        try:
            if kind is None:
                connection.execute("COMMIT")
            elif connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error as failure:
            if connection.in_transaction:
                with contextlib.suppress(sqlite3.Error):  # the first failure is the one to tell
                    connection.execute("ROLLBACK")
            raise translate(failure, self._path) from failure
        finally:
            self._queue.leave()
        if (self._durable and connection.total_changes == self._before) or isinstance(error, Fenced):
            self._settle()
        if isinstance(error, sqlite3.Error):
            raise translate(error, self._path) from error
        if isinstance(error, OverflowError):
            raise too_large() from error

    def _settle(self) -> None:
        """Make what was only read durable too: an answer such as "committed already" must survive a loss of power.

        Whoever wrote it synced it before it could be read here, unless it was killed between the two.
        """
        with contextlib.suppress(FileNotFoundError):  # no log: all of it is in the database, synced
            log = os.open(f"{self._path}-wal", os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(log)
            finally:
                os.close(log)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


@contextlib.contextmanager
def exclusively(path: Path) -> Iterator[None]:
    """Hold the lock file at ``path`` for a block; wait for whoever has it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


class Pool:
    """The connections of a catalog: per thread, opened when first used, closed after it ended, made anew after a fork."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._pid, self._local = os.getpid(), threading.local()
        self._guard = threading.Lock()
        self._open: list[tuple[threading.Thread, Queue | Writer | sqlite3.Connection]] = []
        self._inherited: list[object] = []

    def writer(self, *, durable: bool) -> Writer:
        """Return this thread's door to write transactions."""
        name = "durable" if durable else "normal"
        found: Writer | None = getattr(self._mine(), name, None)
        return (
            found if found is not None else self._keep(name, lambda: Writer(self.path, self._queue(), durable=durable))
        )

    def reader(self) -> sqlite3.Connection:
        """Return this thread's read-only connection; rows are mappings."""
        found: sqlite3.Connection | None = getattr(self._mine(), "reader", None)
        return found if found is not None else self._keep("reader", lambda: connect_read_only(self.path))

    def _queue(self) -> Queue:
        found: Queue | None = getattr(self._local, "queue", None)
        return found if found is not None else self._keep("queue", lambda: Queue(self.path))

    def _mine(self) -> threading.local:
        if os.getpid() != self._pid:  # SQLite connections do not survive a fork, and to close one here harms its owner
            self._inherited += [self._local, *self._open]
            self._pid, self._local, self._open = os.getpid(), threading.local(), []
        return self._local

    def _keep(self, name: str, make: Callable[[], C]) -> C:
        try:
            made = make()
        except sqlite3.Error as error:
            raise translate(error, self.path) from error
        except OSError as error:
            raise CatalogError(f"{self.path}: {error.strerror}", remedy="check its folder's permissions") from error
        setattr(self._local, name, made)
        self._close(lambda thread: not thread.is_alive())
        with self._guard:
            self._open.append((threading.current_thread(), made))
        return made

    def _close(self, of: Callable[[threading.Thread], bool]) -> None:
        with self._guard:
            doomed = [one for one in self._open if of(one[0])]
            self._open = [one for one in self._open if one not in doomed]
        for _, connection in doomed:
            connection.close()

    def close(self) -> None:
        """Close every connection of every thread."""
        self._local = threading.local()
        self._close(lambda _: True)


def connect(path: Path, *, create: bool = False) -> sqlite3.Connection:
    """Open a catalog for writing. Raises `CatalogMissing` where there is none and it is not to be created."""
    if not create and not path.exists():
        raise CatalogMissing(f"there is no catalog at {path}")
    mode = "rwc" if create else "rw"
    connection = sqlite3.connect(
        f"{path.as_uri()}?mode={mode}",
        uri=True,
        isolation_level=None,
        timeout=BUSY_SECONDS,
        check_same_thread=False,
        cached_statements=256,
    )
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


@contextlib.contextmanager
def limited(connection: sqlite3.Connection, seconds: float | None) -> Iterator[sqlite3.Connection]:
    """Let what a connection does within a block end after so many seconds: it is interrupted then."""
    if seconds is None:
        yield connection
        return
    deadline = time.monotonic() + seconds
    connection.set_progress_handler(lambda: time.monotonic() > deadline, 10_000)
    try:
        yield connection
    finally:
        connection.set_progress_handler(None, 0)


def use_wal(path: Path) -> None:
    """Let a database write ahead, as a catalog must and a backup does not."""
    try:
        with contextlib.closing(connect(path)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
    except sqlite3.Error as error:
        raise translate(error, path) from error


def connect_read_only(path: Path) -> sqlite3.Connection:
    """Open a catalog for reading only, by every means SQLite has: the open mode, ``query_only`` and an authorizer.

    Tokens read as NULL.
    """
    if not path.exists():
        raise CatalogMissing(f"there is no catalog at {path}")
    connection = sqlite3.connect(
        f"{path.as_uri()}?mode=ro", uri=True, isolation_level=None, timeout=BUSY_SECONDS, check_same_thread=False
    )
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA query_only = ON")
    connection.set_authorizer(_authorize)
    return connection


def _authorize(action: int, first: str | None, second: str | None, database: str | None, source: str | None) -> int:
    if action == sqlite3.SQLITE_READ:
        return sqlite3.SQLITE_IGNORE if (first, second) in _HIDDEN_COLUMNS else sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_FUNCTION:
        return sqlite3.SQLITE_DENY if second == "load_extension" else sqlite3.SQLITE_OK
    if action in {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_RECURSIVE, sqlite3.SQLITE_TRANSACTION}:
        return sqlite3.SQLITE_OK
    if (
        action == sqlite3.SQLITE_PRAGMA
        and first in {"table_info", "table_xinfo", "table_list", "index_list"}
        and source is None
    ):
        return sqlite3.SQLITE_OK
    return sqlite3.SQLITE_DENY
