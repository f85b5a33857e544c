"""`PostgresDatabase`: the doors to a catalog in PostgreSQL, and what happens when a race or the server is lost."""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Final, TypeVar

import psycopg

from bookkeeper.database import Auditor, Database, Parameters, Rows, Tx
from bookkeeper.errors import BookkeeperError, CatalogError, QueryError
from bookkeeper.postgres.connections import Pool, Writer, connect
from bookkeeper.postgres.errors import LOST_RACE, is_lost, query_error, translate
from bookkeeper.postgres.statements import translated

T = TypeVar("T")

RACES: Final = 20
"""How often a move is made again that lost a race."""

PATIENCE: Final = 30.0
"""Seconds for which a move is made again while the server does not answer."""

LONGEST_PAUSE: Final = 2.0

LIMIT_TIME: Final = "SELECT set_config('statement_timeout', %s, true)"
READING: Final = ("select", "with", "values", "table", "explain")
"""What a query begins with."""

PUBLISHING: Final = 7307


class PostgresDatabase(Database):
    """A catalog in the database that ``url`` names."""

    dialect: ClassVar[str] = "postgresql"

    def __init__(self, url: str, *, id: str, epoch: int, stamped: bool, name: str) -> None:
        super().__init__(id=id, epoch=epoch, stamped=stamped, folder=state_folder() / id, name=name)
        self._url = url
        self._pool = Pool(url, name)

    @property
    def url(self) -> str:
        """See `Database.url`."""
        return self._url

    def transaction(self, *, durable: bool = False) -> Writer:
        """See `Database.transaction`. A race that is lost is an error here; `run` makes the move again."""
        return self._pool.writer(durable=durable)

    def run(self, move: Callable[[Tx], T], *, durable: bool = False) -> T:
        """See `Database.run`.

        A move that lost a race was undone whole, and is made again. Where the connection is lost, nobody knows whether
        the move was made: it is made again all the same, for a move that is repeated answers as it did.
        """
        return _patiently(lambda: self._once(move, durable=durable), self.name)

    def _once(self, move: Callable[[Tx], T], *, durable: bool) -> T:
        writer = self._connected(lambda: self._pool.writer(durable=durable))
        connection = writer.connection
        try:
            answer = move(writer.begin())
            connection.execute("COMMIT")
            return answer
        except BaseException as error:
            self._pool.hints.clear()
            if isinstance(error, psycopg.Error) and is_lost(error, connection):
                self._pool.forget()
                raise _Lost(translate(error, self.name, connection)) from error
            with contextlib.suppress(psycopg.Error):
                connection.execute("ROLLBACK")
            if isinstance(error, LOST_RACE) or not isinstance(error, psycopg.Error):
                raise
            raise translate(error, self.name, connection) from error

    @contextlib.contextmanager
    def sole_publisher(self) -> Iterator[bool]:
        """See `Database.sole_publisher`: an advisory lock of a connection, which ends with it."""
        try:
            connection = connect(self._url, "-c lock_timeout=0")
        except psycopg.Error as error:
            raise translate(error, self.name) from error
        with contextlib.closing(connection):
            connection.execute("SELECT pg_advisory_lock(%s, 0)", (PUBLISHING,))
            yield True

    def rows(self, query: str, parameters: Parameters = ()) -> list[dict[str, Any]]:
        """See `Database.rows`."""
        names, found = self.table(query, parameters)
        return [dict(zip(names, row, strict=True)) for row in found]

    def table(
        self, query: str, parameters: Parameters = (), *, most: int | None = None, seconds: float | None = None
    ) -> tuple[list[str], list[tuple[Any, ...]]]:
        """See `Database.table`: one statement, in a transaction of its own that reads only and is undone."""
        word = query.lstrip(" \t\r\n(").partition(" ")[0].split("\n")[0].lower()
        if word not in READING and not query.lstrip().startswith("--"):
            raise QueryError(
                "this statement would change the catalog, or reads what it may not", remedy="only SELECT is answered"
            )
        return _patiently(lambda: self._ask(query, parameters, most, seconds), self.name)

    def _ask(
        self, query: str, parameters: Parameters, most: int | None, seconds: float | None
    ) -> tuple[list[str], list[tuple[Any, ...]]]:
        connection = self._connected(self._pool.reader)
        try:
            connection.execute("BEGIN READ ONLY")
            try:
                text = translated(query, bound=bool(parameters))
                if seconds is not None:
                    connection.execute(LIMIT_TIME, (f"{seconds * 1000:.0f}",))
                cursor = connection.cursor()
                if most is None:
                    rows = cursor.execute(text, parameters or None).fetchall()
                else:  # one by one, so that no answer is held whole
                    rows = list(islice(cursor.stream(text, parameters or None), most))
                return [column.name for column in cursor.description or ()], rows
            finally:
                if not connection.closed:
                    connection.execute("ROLLBACK")
        except psycopg.Error as error:
            if is_lost(error, connection):
                self._pool.forget()
                raise _Lost(translate(error, self.name, connection)) from error
            raise query_error(error, self.name) from error

    def _connected(self, connect: Callable[[], T]) -> T:
        try:
            return connect()
        except CatalogError as error:
            if isinstance(error.__cause__, psycopg.Error) and is_lost(error.__cause__, None):
                raise _Lost(error) from error.__cause__
            raise

    @contextlib.contextmanager
    def auditor(self) -> Iterator[Auditor]:
        """See `Database.auditor`."""
        try:
            with contextlib.closing(connect(self._url, "-c default_transaction_read_only=on -c jit=off")) as connection:
                yield _Auditor(connection)
        except psycopg.Error as error:
            raise translate(error, self.name) from error

    def begin_time_line(self) -> None:
        """See `Database.begin_time_line`: nothing is to be prepared."""

    def close(self) -> None:
        """See `Database.close`."""
        self._pool.close()


class _Lost(Exception):
    """The server went away. ``error`` is what to tell when it stays away."""

    def __init__(self, error: BookkeeperError) -> None:
        super().__init__(str(error))
        self.error = error


def _patiently(act: Callable[[], T], name: str) -> T:
    """Do it again where a race was lost, a few times, and while the server does not answer, for a while."""
    races, losses, deadline = 0, 0, time.monotonic() + PATIENCE
    while True:
        try:
            return act()
        except LOST_RACE as error:
            races += 1
            if races > RACES:
                raise translate(error, name) from error
            time.sleep(random.uniform(0, 0.002 * 2 ** min(races, 7)))  # noqa: S311 - who waits how long is no secret
        except _Lost as lost:
            if time.monotonic() > deadline:
                raise lost.error from lost.__cause__
            losses += 1
            time.sleep(random.uniform(0, min(LONGEST_PAUSE, 0.02 * 2**losses)))  # noqa: S311


class _Auditor:
    def __init__(self, connection: psycopg.Connection[tuple[Any, ...]]) -> None:
        self._connection = connection

    def execute(self, statement: str, parameters: Parameters = (), /) -> Rows:
        """Execute one query; its rows are read by name or number."""
        cursor = self._connection.cursor(row_factory=_named)
        return cursor.execute(translated(statement, bound=bool(parameters)), parameters or None)


class _Row(tuple[Any, ...]):
    names: dict[str, int]

    def __getitem__(self, key: Any) -> Any:
        return super().__getitem__(self.names[key] if isinstance(key, str) else key)

    def keys(self) -> list[str]:
        """The names of the columns: with them a row is a mapping to ``dict``."""
        return list(self.names)


def _named(cursor: Any) -> Callable[[Any], Any]:
    names = {column.name: number for number, column in enumerate(cursor.description or ())}
    kind = type("Row", (_Row,), {"names": names})
    return lambda values: kind(values)


def state_folder() -> Path:
    """Return where on this host lies what belongs to catalogs on others: ``$XDG_STATE_HOME/bookkeeper``."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "bookkeeper"
