"""Open or create a catalog, and the doors into it: `transaction` to write, `rows` to read.

Only doors open and commit transactions; everything else gets one as its first argument.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from bookkeeper import sqlite
from bookkeeper.errors import CatalogError, CatalogMissing, CatalogOutdated, CatalogTooNew, QueryError, UsageError
from bookkeeper.filesystems import refuse_network_file_system
from bookkeeper.sqlite import NOW, Tx, Writer

T = TypeVar("T")

DEFAULT_URL: Final = "sqlite:///bookkeeper.db"
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
"""What projects, datasets and outputs may be called."""

__all__ = [
    "DEFAULT_URL",
    "NOW",
    "Database",
    "Tx",
    "check_name",
    "create",
    "integrity_errors",
    "open_existing",
    "storable",
    "upgrade",
]


def check_name(kind: str, name: str) -> str:
    """Return ``name`` if a thing of this kind may be called so; raise `UsageError` otherwise."""
    if not NAME.fullmatch(name) or len(name) > 200:
        raise UsageError(
            f"{name!r} is no name for {'an' if kind[0] in 'aeiou' else 'a'} {kind}",
            remedy="use letters, digits and _ . + -, beginning with a letter or digit, at most 200",
        )
    return name


def integrity_errors() -> tuple[type[Exception], ...]:
    """Return what the drivers in use raise where a constraint refuses a row: for ``except integrity_errors()``."""
    psycopg = sys.modules.get("psycopg")
    return (sqlite3.IntegrityError,) if psycopg is None else (sqlite3.IntegrityError, psycopg.IntegrityError)


def storable(text: str) -> str:
    """Return a text as a database takes it: what is no character (a byte of a file name, say) becomes ``\\udce9``."""
    if text.isascii():
        return text
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


class Database:
    """An open catalog: who it is, and its doors.

    ``id`` is its UUID; ``epoch`` rises each time a backup is put to use; ``stamped`` says that this is a backup not
    used yet.
    """

    def __init__(self, path: Path, *, id: str, epoch: int, stamped: bool = False) -> None:
        self.path = path
        self.id = id
        self.epoch = epoch
        self.stamped = stamped
        self._pool = sqlite.Pool(path)

    @property
    def url(self) -> str:
        """The address that opens this catalog again, absolute."""
        return f"sqlite:///{self.path}"

    @property
    def folder(self) -> Path:
        """What belongs to the catalog beside the database (logs, the slots of local jobs): ``<name>.d``."""
        return self.path.with_name(self.path.name + ".d")

    def transaction(self, *, durable: bool = False) -> Writer:
        """Return the door to one write transaction: ``with database.transaction(durable=True) as tx``.

        ``durable``: on disk before the block is left. Leaving by an exception rolls back.
        """
        return self._pool.writer(durable=durable)

    def run(self, move: Callable[[Tx], T], *, durable: bool = False) -> T:
        """Make one move of the kernel in one write transaction, and return its answer.

        Whatever makes moves goes through here: a database that can lose a race makes the move again, and one that
        serves many callers makes the moves of several in one transaction. So a move must be repeatable, and have no
        effect but through its ``tx``.
        """
        with self.transaction(durable=durable) as tx:
            return move(tx)

    @contextlib.contextmanager
    def sole_publisher(self) -> Iterator[bool]:
        """Hold, for a block, what only one side may have: publishing to, and revoking from, stores without rename.

        A lock file of the kernel's: whoever is killed lets go of it.
        """
        with sqlite.exclusively(self.path.with_name(f"{self.path.name}.publish.lock")):
            yield True

    def rows(self, query: str, parameters: Mapping[str, Any] | Sequence[Any] = ()) -> list[dict[str, Any]]:
        """Return the rows of one query, read-only whatever it says. Raises `QueryError`."""
        try:
            return [dict(row) for row in self._pool.reader().execute(query, parameters)]
        except (sqlite3.Error, sqlite3.Warning) as error:
            raise self._query_error(error) from error

    def table(
        self,
        query: str,
        parameters: Mapping[str, Any] | Sequence[Any] = (),
        *,
        most: int | None = None,
        seconds: float | None = None,
    ) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Return the column names and the rows of one query, read-only; names may repeat. Raises `QueryError`.

        ``most`` rows are read at most, for at most ``seconds``.
        """
        try:
            with sqlite.limited(self._pool.reader(), seconds) as reader:
                cursor = reader.execute(query, parameters)
                rows = cursor.fetchall() if most is None else cursor.fetchmany(most)
                return [column[0] for column in cursor.description or ()], [tuple(row) for row in rows]
        except (sqlite3.Error, sqlite3.Warning) as error:
            raise self._query_error(error) from error

    def one(self, query: str, parameters: Mapping[str, Any] | Sequence[Any] = ()) -> dict[str, Any] | None:
        """Return the first row of one query, or None."""
        found = self.rows(query, parameters)
        return found[0] if found else None

    def now(self) -> float:
        """Return the catalog's clock: seconds since the epoch."""
        return float(self.rows(f"SELECT {NOW} AS now")[0]["now"])

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()

    def _query_error(self, error: Exception) -> Exception:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        if code in {sqlite3.SQLITE_AUTH, sqlite3.SQLITE_READONLY} or str(error) == "not authorized":
            return QueryError(
                "this statement would change the catalog, or reads what it may not", remedy="only SELECT is answered"
            )
        if code == sqlite3.SQLITE_INTERRUPT:
            return QueryError("the query took too long", remedy="ask for less, or ask on the host of the catalog")
        if isinstance(error, sqlite3.ProgrammingError | sqlite3.Warning) or code in {
            sqlite3.SQLITE_ERROR,
            sqlite3.SQLITE_RANGE,
        }:
            return QueryError(
                f"the query cannot be answered: {error}",
                remedy="`bookkeeper sql 'SELECT name, sql FROM sqlite_schema'` shows the views, the tables and their columns",
            )
        if isinstance(error, sqlite3.Error):
            return sqlite.translate(error, self.path)
        return error


def is_remote(url: str) -> bool:
    """Tell whether a catalog is reached through a server."""
    return url.lower().startswith(("http://", "https://"))


def create(url: str) -> Database:
    """Create the catalog at ``url``, or upgrade the one that is there; return it open.

    The parent folder must exist. A crash leaves no catalog or a whole one. Raises `CatalogError`.
    """
    if is_remote(url):
        raise UsageError(
            "a catalog is created, and upgraded, on its own host",
            remedy="there, `bookkeeper init` makes it and `bookkeeper serve` opens it to others",
        )
    path = sqlite.path_of(url)
    if not path.parent.is_dir():
        raise CatalogError(f"the folder {path.parent} does not exist", remedy=f"mkdir -p {path.parent}")
    refuse_network_file_system(path)
    upgrade(path)
    return open_existing(url)


def open_existing(url: str) -> Database:
    """Open the catalog at ``url``, which may be that of a server: ``https://HOST:PORT``.

    Raises `CatalogMissing`, `CatalogOutdated` (run ``bookkeeper init``), `CatalogTooNew`, `CatalogError`.
    A backup says so by ``stamped``; `bookkeeper.ledger.restore.put_to_use` must come before any other write to it.
    """
    if is_remote(url):
        from bookkeeper.client.catalog import RemoteCatalog

        return cast(Database, RemoteCatalog(url))  # to all that is done through operations, it is one
    path = sqlite.path_of(url)
    refuse_network_file_system(path)
    try:
        with contextlib.closing(sqlite.connect_read_only(path)) as reader:
            _check_revision(_revision_of(reader), path)
            row = reader.execute("SELECT uuid, epoch, stamped_at FROM catalog").fetchone()
    except sqlite3.Error as error:
        raise sqlite.translate(error, path) from error
    if row is None:
        raise CatalogError(f"{path} is an unfinished catalog", remedy="delete it and run `bookkeeper init`")
    return Database(path, id=row["uuid"], epoch=row["epoch"], stamped=row["stamped_at"] is not None)


def _revision_of(connection: sqlite3.Connection) -> str | None:
    """Return the schema revision of a database, None where it is no catalog."""
    known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone()
    if known is None:
        return None
    row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return None if row is None else str(row[0])


def _check_revision(revision: str | None, path: Path) -> None:
    from bookkeeper_schema.migrate import HEAD, REVISIONS

    if revision is None:
        raise CatalogMissing(f"{path} is an SQLite database but no catalog")
    if revision not in REVISIONS:
        raise CatalogTooNew(f"{path} has schema {revision}; this bookkeeper knows up to {HEAD}")
    if revision != HEAD:
        raise CatalogOutdated(f"{path} has schema {revision}; this bookkeeper needs {HEAD}")


def upgrade(path: Path) -> None:
    """Create the schema at ``path``, or bring an older one to this program's, in one transaction."""
    from sqlalchemy import create_engine, event
    from sqlalchemy.exc import DBAPIError
    from sqlalchemy.pool import StaticPool

    from bookkeeper_schema.migrate import HEAD, REVISIONS
    from bookkeeper_schema.migrate import upgrade as migrate

    try:
        with contextlib.closing(sqlite.connect(path, create=True)) as raw:
            revision = _revision_of(raw)
            if revision is None and raw.execute("SELECT 1 FROM sqlite_master").fetchone():
                raise CatalogError(f"{path} is an SQLite database but no catalog", remedy="name another with --catalog")
            if revision is not None and revision not in REVISIONS:
                _check_revision(revision, path)
            if revision == HEAD:
                return
            for pragma in ("journal_mode = WAL", "foreign_keys = OFF", "synchronous = FULL"):
                raw.execute(f"PRAGMA {pragma}")
            engine = create_engine("sqlite://", creator=lambda: raw, poolclass=StaticPool)
            event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
            with engine.begin() as connection:
                migrate(connection)
                connection.exec_driver_sql(
                    f"INSERT INTO catalog (id, uuid, epoch, created_at) SELECT 1, ?, 1, {NOW}"
                    " WHERE NOT EXISTS (SELECT 1 FROM catalog)",
                    (str(uuid.uuid4()),),
                )
    except DBAPIError as error:
        raise (sqlite.translate(error.orig, path) if isinstance(error.orig, sqlite3.Error) else error) from error
    except sqlite3.Error as error:
        raise sqlite.translate(error, path) from error
