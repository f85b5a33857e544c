"""Create, upgrade and open a catalog in a file."""

from __future__ import annotations

import contextlib
import sqlite3
import uuid
from pathlib import Path

from bookkeeper.database import NOW
from bookkeeper.errors import CatalogError, CatalogMissing
from bookkeeper.filesystems import refuse_network_file_system
from bookkeeper.revisions import check_revision
from bookkeeper.sqlite import connections
from bookkeeper.sqlite.database import SqliteDatabase


def create(url: str) -> SqliteDatabase:
    """Create the catalog at ``url``, or upgrade the one that is there; return it open.

    The parent folder must exist. A crash leaves no catalog or a whole one. Raises `CatalogError`.
    """
    path = connections.path_of(url)
    if not path.parent.is_dir():
        raise CatalogError(f"the folder {path.parent} does not exist", remedy=f"mkdir -p {path.parent}")
    refuse_network_file_system(path)
    upgrade(path)
    return open_existing(url)


def open_existing(url: str) -> SqliteDatabase:
    """Open the catalog at ``url``.

    Raises `CatalogMissing`, `CatalogOutdated` (run ``bookkeeper init``), `CatalogTooNew`, `CatalogError`.
    A backup says so by ``stamped``; `bookkeeper.ledger.restore.put_to_use` must come before any other write to it.
    """
    path = connections.path_of(url)
    refuse_network_file_system(path)
    try:
        with contextlib.closing(connections.connect_read_only(path)) as reader:
            _require_head(_revision_of(reader), path)
            row = reader.execute("SELECT uuid, epoch, stamped_at FROM catalog").fetchone()
    except sqlite3.Error as error:
        raise connections.translate(error, path) from error
    if row is None:
        raise CatalogError(f"{path} is an unfinished catalog", remedy="delete it and run `bookkeeper init`")
    return SqliteDatabase(path, id=row["uuid"], epoch=row["epoch"], stamped=row["stamped_at"] is not None)


def _revision_of(connection: sqlite3.Connection) -> str | None:
    """Return the schema revision of a database, None where it is no catalog."""
    known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone()
    if known is None:
        return None
    row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return None if row is None else str(row[0])


def _require_head(revision: str | None, path: Path) -> None:
    if revision is None:
        raise CatalogMissing(f"{path} is an SQLite database but no catalog")
    check_revision(revision, str(path))


def upgrade(path: Path) -> None:
    """Create the schema at ``path``, or bring an older one to this program's, in one transaction."""
    from sqlalchemy import create_engine, event
    from sqlalchemy.exc import DBAPIError
    from sqlalchemy.pool import StaticPool

    from bookkeeper_schema.migrate import HEAD, REVISIONS
    from bookkeeper_schema.migrate import upgrade as migrate

    try:
        with contextlib.closing(connections.connect(path, create=True)) as raw:
            revision = _revision_of(raw)
            if revision is None and raw.execute("SELECT 1 FROM sqlite_master").fetchone():
                raise CatalogError(f"{path} is an SQLite database but no catalog", remedy="name another with --catalog")
            if revision is not None and revision not in REVISIONS:
                check_revision(revision, str(path))
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
        raise (connections.translate(error.orig, path) if isinstance(error.orig, sqlite3.Error) else error) from error
    except sqlite3.Error as error:
        raise connections.translate(error, path) from error
