"""`SqliteDatabase`: the doors to a catalog in one file."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from bookkeeper.database import Database, Parameters, too_large
from bookkeeper.errors import QueryError
from bookkeeper.sqlite import connections
from bookkeeper.sqlite.connections import Pool, Writer


class SqliteDatabase(Database):
    """A catalog in the file ``path``."""

    dialect: ClassVar[str] = "sqlite"

    def __init__(self, path: Path, *, id: str, epoch: int, stamped: bool = False) -> None:
        super().__init__(id=id, epoch=epoch, stamped=stamped, folder=path.with_name(path.name + ".d"), name=str(path))
        self.path = path
        self._pool = Pool(path)

    @property
    def url(self) -> str:
        """See `Database.url`."""
        return f"sqlite:///{self.path}"

    def transaction(self, *, durable: bool = False) -> Writer:
        """See `Database.transaction`."""
        return self._pool.writer(durable=durable)

    @contextlib.contextmanager
    def sole_publisher(self) -> Iterator[bool]:
        """See `Database.sole_publisher`: a lock file of the kernel's."""
        with connections.exclusively(self.path.with_name(f"{self.path.name}.publish.lock")):
            yield True

    def rows(self, query: str, parameters: Parameters = ()) -> list[dict[str, Any]]:
        """See `Database.rows`."""
        try:
            return [dict(row) for row in self._pool.reader().execute(query, parameters)]
        except (sqlite3.Error, sqlite3.Warning, OverflowError) as error:
            raise self._query_error(error) from error

    def table(
        self, query: str, parameters: Parameters = (), *, most: int | None = None, seconds: float | None = None
    ) -> tuple[list[str], list[tuple[Any, ...]]]:
        """See `Database.table`."""
        try:
            with connections.limited(self._pool.reader(), seconds) as reader:
                cursor = reader.execute(query, parameters)
                rows = cursor.fetchall() if most is None else cursor.fetchmany(most)
                return [column[0] for column in cursor.description or ()], [tuple(row) for row in rows]
        except (sqlite3.Error, sqlite3.Warning, OverflowError) as error:
            if seconds is not None and getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT:
                words, remedy = "the query took too long", "ask for less, or ask on the host of the catalog"
                raise QueryError(words, remedy=remedy) from error
            raise self._query_error(error) from error

    @contextlib.contextmanager
    def auditor(self) -> Iterator[sqlite3.Connection]:
        """See `Database.auditor`."""
        try:
            with contextlib.closing(connections.connect(self.path)) as connection:
                connection.execute("PRAGMA query_only = ON")
                connection.row_factory = sqlite3.Row
                yield connection
        except sqlite3.Error as error:
            raise connections.translate(error, self.path) from error

    def begin_time_line(self) -> None:
        """See `Database.begin_time_line`: a backup has no write-ahead log."""
        connections.use_wal(self.path)

    def close(self) -> None:
        """See `Database.close`."""
        self._pool.close()

    def _query_error(self, error: Exception) -> Exception:
        if isinstance(error, OverflowError):
            return too_large()
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        if code in {sqlite3.SQLITE_AUTH, sqlite3.SQLITE_READONLY} or str(error) == "not authorized":
            return QueryError(
                "this statement would change the catalog, or reads what it may not", remedy="only SELECT is answered"
            )
        if isinstance(error, sqlite3.ProgrammingError | sqlite3.Warning) or code in {
            sqlite3.SQLITE_ERROR,
            sqlite3.SQLITE_RANGE,
        }:
            return QueryError(
                f"the query cannot be answered: {error}",
                remedy="`bookkeeper sql 'SELECT name, sql FROM sqlite_schema'` shows the views, the tables and their columns",
            )
        if isinstance(error, sqlite3.Error):
            return connections.translate(error, self.path)
        return error
