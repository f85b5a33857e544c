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
            yield from self._connection.execute(query, parameters)
        except sqlite3.Error as error:
            raise sqlite.translate(error, self._path) from error

    def named(self, query: str, parameters: Mapping[str, Any] = {}) -> tuple[list[str], Iterator[tuple[Any, ...]]]:
        """Return the names of the columns of a query, and its rows."""
        cursor = self._connection.execute(query, parameters)
        return [column[0] for column in cursor.description], cursor


@contextlib.contextmanager
def snapshot(database: Database, *, tokens: bool = False) -> Iterator[Snapshot]:
    """Read a catalog at one moment, for a block. Tokens read as NULL unless they are asked for.

    Raises `NotAllowed` where the catalog is behind a server.
    """
    if not isinstance(database, Database):
        raise NotAllowed(
            "a snapshot is taken of a database, not through a server",
            remedy="do this on the server's host, with --catalog naming the database itself",
        )
    path = database.path
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
