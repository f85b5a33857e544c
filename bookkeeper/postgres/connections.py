"""Connections to PostgreSQL as bookkeeper uses them: prepared statements, two levels of durability, requests that lock.

* Moves of single processes of a request may run side by side; a move of a whole project (end, recover, park, reopen, …) is
  alone in its request. Both say so by an advisory lock of the request, which is taken before anything is read: row locks
  would be written to the one row of the project by every call of every job.
* READ COMMITTED: every statement sees what was committed before it began, and a guarded UPDATE tests its guard again
  after it waited. Rows are taken in the order request, process, ledger, totals.
* History may be lost with the server's power (``synchronous_commit`` off), a durable move may not, nor what it has read:
  a commit is on disk before others can see it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from itertools import islice
from types import TracebackType
from typing import Any, Final, TypeVar

import psycopg
from psycopg import sql
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.rows import tuple_row
from psycopg.types.numeric import FloatLoader

from bookkeeper.database import Rows
from bookkeeper.errors import UsageError
from bookkeeper.postgres.errors import translate
from bookkeeper.postgres.statements import translated

SPACE: Final = 7305
"""Marks our advisory locks of requests among those of other users of the same database."""

NAMED: Final = 7306
"""Marks our advisory locks of things that one at a time may do."""

CHUNK: Final = 1000
"""Rows that are sent at once."""

CONNECT_SECONDS: Final = 10
LOCK_SECONDS: Final = 60
READ_SECONDS: Final = 600

KERNEL: Final = (
    "-c plan_cache_mode=force_generic_plan -c enable_seqscan=off -c enable_bitmapscan=off"
    " -c enable_hashjoin=off -c enable_mergejoin=off -c jit=off"
    f" -c lock_timeout={LOCK_SECONDS}s -c idle_in_transaction_session_timeout=120s"
    " -c default_transaction_isolation=read\\ committed"
)

_LOCK: Final = {
    (False, "process"): "SELECT pg_advisory_xact_lock_shared(7305, request_id::int) FROM processes WHERE id = %(of)s",
    (True, "process"): "SELECT pg_advisory_xact_lock(7305, request_id::int) FROM processes WHERE id = %(of)s",
    (False, "project"): "SELECT pg_advisory_xact_lock_shared(7305, request_id::int) FROM projects WHERE name = %(of)s",
    (True, "project"): "SELECT pg_advisory_xact_lock(7305, request_id::int) FROM projects WHERE name = %(of)s",
}

_COLUMNS: Final = """
SELECT column_name FROM information_schema.columns
 WHERE table_schema = current_schema() AND table_name = 'processes' ORDER BY ordinal_position
"""
_NO_TOKEN: Final = sql.SQL("NULL::text AS token")

C = TypeVar("C")


class AsText(Loader):
    """JSON as the text that it is: what it means is for whoever reads it."""

    def load(self, data: Buffer) -> str:
        """Return the text."""
        return bytes(data).decode()


class AsNumber(FloatLoader):
    """Sums of whole numbers, which PostgreSQL counts without limit, as whole numbers."""

    def load(self, data: Buffer) -> Any:
        """Return a whole number, else one with a fraction."""
        text = bytes(data).decode()
        return int(text) if text.lstrip("-").isdigit() else float(text)


def connect(url: str, options: str = "") -> psycopg.Connection[tuple[Any, ...]]:
    """Open a connection in which nothing is a transaction unless it says so. Raises psycopg's errors."""
    connection = psycopg.connect(
        url,
        autocommit=True,
        prepare_threshold=0,
        row_factory=tuple_row,
        options=options,
        connect_timeout=CONNECT_SECONDS,
        application_name="bookkeeper",
        client_encoding="utf8",
        keepalives_idle=30,
        keepalives_interval=10,
        keepalives_count=3,
    )
    connection.prepared_max = 1000
    for kind in ("json", "jsonb"):
        connection.adapters.register_loader(kind, AsText)
    connection.adapters.register_loader("numeric", AsNumber)
    return connection


class PostgresTx:
    """A write transaction; see `bookkeeper.database.Tx`."""

    __slots__ = ("_connection", "hints")

    def __init__(self, connection: psycopg.Connection[tuple[Any, ...]], hints: dict[int, int]) -> None:
        self._connection = connection
        self.hints = hints

    def run(self, statement: str, parameters: Any = ()) -> Rows:
        """Execute one statement."""
        return self._connection.execute(translated(statement), parameters)

    def many(self, statement: str, rows: Iterable[Mapping[str, Any] | tuple[Any, ...]]) -> int:
        """Execute ``statement`` for each of ``rows``; return the number of rows changed."""
        changed, left, text = 0, iter(rows), translated(statement)
        while chunk := list(islice(left, CHUNK)):  # whoever makes the rows may ask the database for them
            cursor = self._connection.cursor()
            if len(chunk) == 1:
                cursor.execute(text, chunk[0])
            else:
                cursor.executemany(text, chunk)
            changed += max(cursor.rowcount, 0)
        return changed

    def lock_request(self, *, process: int | None = None, project: str | None = None, alone: bool = False) -> None:
        """See `Tx.lock_request`."""
        of: int | str | None = process if process is not None else project
        self._connection.execute(_LOCK[alone, "process" if process is not None else "project"], {"of": of})

    def lock(self, what: str) -> None:
        """See `Tx.lock`."""
        self._connection.execute("SELECT pg_advisory_xact_lock(7306, hashtext(%(what)s))", {"what": what})


class Writer:
    """The door to write transactions of one thread at one durability: ``with writer as tx``."""

    __slots__ = ("_broken", "_entered", "_name", "_tx", "connection")

    def __init__(self, url: str, name: str, hints: dict[int, int], *, durable: bool) -> None:
        self._name = name
        self._entered = False
        level = "on" if durable else "off"
        self.connection = connect(url, f"{KERNEL} -c synchronous_commit={level}")
        self._tx = PostgresTx(self.connection, hints)

    def __enter__(self) -> PostgresTx:
        if self._entered:
            raise RuntimeError("a write transaction is open in this thread already: finish it first")
        self.begin()
        self._entered = True
        return self._tx

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._entered = False
        try:
            if kind is None:
                self.connection.execute("COMMIT")
            elif not self.connection.closed:
                self.connection.execute("ROLLBACK")
        except psycopg.Error as failure:
            if kind is None or not self.connection.closed:
                raise translate(failure, self._name, self.connection) from failure
        if isinstance(error, psycopg.Error):
            raise translate(error, self._name, self.connection) from error
        if isinstance(error, OverflowError):
            raise UsageError(f"a number is too large for {self._name}; nothing was changed") from error

    def begin(self) -> PostgresTx:
        """Begin a transaction."""
        if self.connection.info.transaction_status:  # an interrupt came between BEGIN and the body
            self.connection.execute("ROLLBACK")
        self.connection.execute("BEGIN")
        return self._tx

    def close(self) -> None:
        """Close the connection."""
        with suppress(psycopg.Error):
            self.connection.close()


class Pool:
    """The connections of a catalog: per thread, opened when first used, closed after it ended, made anew after a fork."""

    def __init__(self, url: str, name: str) -> None:
        self._url, self._name = url, name
        self.hints: dict[int, int] = {}
        self._pid, self._local = os.getpid(), threading.local()
        self._guard = threading.Lock()
        self._open: list[tuple[threading.Thread, Any]] = []
        self._inherited: list[object] = []

    def writer(self, *, durable: bool) -> Writer:
        """Return this thread's door to write transactions."""
        return self._mine(
            "durable" if durable else "normal", lambda: Writer(self._url, self._name, self.hints, durable=durable)
        )

    def reader(self) -> psycopg.Connection[tuple[Any, ...]]:
        """Return this thread's connection for reading."""
        return self._mine("reader", lambda: connect_to_read(self._url))

    def forget(self) -> None:
        """Let go of this thread's connections, which are of no more use."""
        self._local = threading.local() if os.getpid() != self._pid else self._local
        me = threading.current_thread()
        for name in ("durable", "normal", "reader"):
            if hasattr(self._local, name):
                delattr(self._local, name)
        self._close(lambda thread: thread is me)

    def _mine(self, name: str, make: Callable[[], C]) -> C:
        if os.getpid() != self._pid:  # to use or close a connection here harms its owner
            self._inherited += [self._local, *self._open]
            self._pid, self._local, self._open = os.getpid(), threading.local(), []
        found: C | None = getattr(self._local, name, None)
        if found is not None:
            connection: Any = found.connection if isinstance(found, Writer) else found
            if not connection.closed:
                return found
            self.forget()
        try:
            made = make()
        except psycopg.Error as error:
            raise translate(error, self._name) from error
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
            with suppress(psycopg.Error):
                connection.close()

    def close(self) -> None:
        """Close every connection of every thread."""
        self._local = threading.local()
        self._close(lambda _: True)


def connect_to_read(url: str) -> psycopg.Connection[tuple[Any, ...]]:
    """Open a connection to answer queries with. Tokens read as NULL."""
    connection = connect(url, f"-c statement_timeout={READ_SECONDS}s -c jit=off")
    try:
        _hide_tokens(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _hide_tokens(connection: psycopg.Connection[tuple[Any, ...]]) -> None:
    """Put a view in front of the table of processes, and let nothing be written any more."""
    columns = [name for (name,) in connection.execute(_COLUMNS).fetchall()]
    if columns:
        seen = [_NO_TOKEN if name == "token" else sql.Identifier(name) for name in columns]
        view = sql.SQL("CREATE TEMPORARY VIEW processes AS SELECT {} FROM processes")
        connection.execute(view.format(sql.SQL(", ").join(seen)))
    connection.execute("SET default_transaction_read_only = on")
