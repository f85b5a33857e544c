"""Read a catalog as it is at one moment, row by row: what is written meanwhile is not seen, and memory stays bounded."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

from bookkeeper import sqlite
from bookkeeper.catalog import Database
from bookkeeper.errors import NotAllowed
from bookkeeper.sqlite import SqliteDatabase

ROWS: Final = 5_000
"""Rows that are in memory at a time, about."""

BEGIN: Final = "SELECT 1 FROM catalog"
"""What takes the snapshot: SQLite's begins with the first read."""


class Snapshot(Protocol):
    """A catalog at one moment."""

    def stream(self, query: str, parameters: Mapping[str, Any] = {}) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a query, whose parameters are ``:name``."""
        ...

    def named(self, query: str, parameters: Mapping[str, Any] = {}) -> tuple[list[str], Iterator[tuple[Any, ...]]]:
        """Return the names of the columns of a query, and its rows."""
        ...


class _SqliteSnapshot:
    """A read transaction of SQLite: writers go on beside it, in the write-ahead log."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path

    def stream(self, query: str, parameters: Mapping[str, Any] = {}) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a query."""
        try:
            for row in self._connection.execute(query, parameters):  # noqa: UP028 (`yield from` would close the cursor)
                yield row
        except sqlite3.Error as error:
            raise sqlite.translate(error, self._path) from error

    def named(self, query: str, parameters: Mapping[str, Any] = {}) -> tuple[list[str], Iterator[tuple[Any, ...]]]:
        """Return the names of the columns of a query, and its rows."""
        cursor = self._connection.execute(query, parameters)
        return [column[0] for column in cursor.description], cursor


class _PostgresSnapshot:
    """A read transaction of PostgreSQL. Its cursor is on the server, which sends some rows at a time; it has one at a time."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._cursor: Any = None

    def stream(self, query: str, parameters: Mapping[str, Any] = {}) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a query, until another is asked."""
        return self.named(query, parameters)[1]

    def named(self, query: str, parameters: Mapping[str, Any] = {}) -> tuple[list[str], Iterator[tuple[Any, ...]]]:
        """Return the names of the columns of a query, and its rows, until another is asked."""
        from bookkeeper.postgres import translated

        self.close()
        self._cursor = self._connection.cursor(name="snapshot")
        self._cursor.itersize = ROWS
        self._cursor.execute(translated(query), parameters)
        return [column.name for column in self._cursor.description], iter(self._cursor)

    def close(self) -> None:
        """Let go of the cursor."""
        if self._cursor is not None:
            self._cursor.close()


def snapshot(database: Database, *, tokens: bool = False) -> contextlib.AbstractContextManager[Snapshot]:
    """Read a catalog at one moment, for a block. Tokens may read as NULL unless they are asked for.

    Raises `NotAllowed` where the catalog is behind a server.
    """
    if isinstance(database, SqliteDatabase):
        return _of_sqlite(database.path, tokens)
    if getattr(database, "dialect", "") == "postgresql":
        return _of_postgres(database)
    raise NotAllowed(
        "a snapshot is taken of a database, not through a server",
        remedy="do this on the server's host, with --catalog naming the database itself",
    )


@contextlib.contextmanager
def _of_sqlite(path: Path, tokens: bool) -> Iterator[Snapshot]:
    try:
        with contextlib.closing(_whole(path) if tokens else sqlite.connect_read_only(path)) as connection:
            connection.row_factory = None
            connection.execute("BEGIN")
            connection.execute(BEGIN).fetchone()
            yield _SqliteSnapshot(connection, path)
    except sqlite3.Error as error:
        raise sqlite.translate(error, path) from error


def _whole(path: Path) -> sqlite3.Connection:
    """Open a catalog to read all of it, tokens too, and to write nothing."""
    connection = sqlite.connect(path)
    connection.execute("PRAGMA query_only = ON")
    return connection


@contextlib.contextmanager
def _of_postgres(database: Database) -> Iterator[Snapshot]:
    import psycopg

    from bookkeeper.postgres.connections import connect
    from bookkeeper.postgres.errors import translate

    try:
        with contextlib.closing(connect(database.url)) as connection:
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            with contextlib.closing(_PostgresSnapshot(connection)) as taken:
                yield taken
    except psycopg.Error as error:
        raise translate(error, database.name) from error
