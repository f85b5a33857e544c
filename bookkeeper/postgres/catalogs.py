"""Create, upgrade and open a catalog in PostgreSQL."""

from __future__ import annotations

import contextlib
import uuid
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import errors, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from bookkeeper.errors import CatalogError, CatalogMissing, UsageError
from bookkeeper.postgres.connections import connect
from bookkeeper.postgres.database import PostgresDatabase
from bookkeeper.postgres.errors import translate
from bookkeeper.postgres.statements import CLOCK
from bookkeeper.revisions import check_revision

CREATING: Final = 7308

_IDENTITY: Final = "SELECT uuid, epoch, stamped_at FROM catalog"


def name_of(url: str) -> str:
    """Return what messages call a catalog: its address without a password, and without options."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    user = parts.netloc.rpartition("@")[0].partition(":")[0]
    return urlunsplit((parts.scheme, f"{user}@{host}" if user else host, parts.path, "", ""))


def create(url: str) -> PostgresDatabase:
    """Create the catalog at ``url``, or upgrade the one that is there; return it open.

    A database that does not exist is made, with names in the order of their bytes, where the server allows it.
    """
    _require_readable(url)
    try:
        upgrade(url)
    except psycopg.OperationalError as error:
        if not _is_missing(error):
            raise translate(error, name_of(url)) from error
        _create_database(url)
        upgrade(url)
    except psycopg.Error as error:
        raise translate(error, name_of(url)) from error
    return open_existing(url)


def open_existing(url: str) -> PostgresDatabase:
    """Open the catalog at ``url``. Raises as `bookkeeper.catalog.open_existing`."""
    _require_readable(url)
    name = name_of(url)
    try:
        with contextlib.closing(connect(url)) as connection:
            revision = _revision_of(connection)
            if revision is None:
                raise CatalogMissing(f"there is no catalog at {name}")
            check_revision(revision, name)
            row = connection.execute(_IDENTITY).fetchone()
    except psycopg.OperationalError as error:
        if _is_missing(error):
            raise CatalogMissing(f"there is no database at {name}") from error
        raise translate(error, name) from error
    except psycopg.Error as error:
        raise translate(error, name) from error
    assert row is not None
    return PostgresDatabase(url, id=row[0], epoch=row[1], stamped=row[2] is not None, name=name)


def exists(url: str) -> bool:
    """Tell whether there is a catalog at ``url``, of whatever version."""
    with contextlib.suppress(psycopg.Error), contextlib.closing(connect(url)) as connection:
        return _revision_of(connection) is not None
    return False


def upgrade(url: str) -> None:
    """Create the schema, or bring an older one to this program's, in one transaction."""
    from sqlalchemy import create_engine
    from sqlalchemy.exc import DBAPIError
    from sqlalchemy.pool import NullPool

    from bookkeeper_schema.migrate import HEAD
    from bookkeeper_schema.migrate import upgrade as migrate

    with contextlib.closing(psycopg.connect(url, connect_timeout=10, application_name="bookkeeper")) as raw:
        raw.execute("SELECT pg_advisory_xact_lock(%s)", (CREATING,))
        revision = _revision_of(raw)
        if revision is not None and revision != HEAD:
            with contextlib.suppress(CatalogError):  # an older one is what this is for
                check_revision(revision, name_of(url))
            _refuse_newer(revision, url)
        if revision is None and has_tables(raw):
            raise CatalogError(f"{name_of(url)} is a database but no catalog", remedy="name an empty one")
        if revision == HEAD:
            return
        engine = create_engine("postgresql+psycopg://", creator=lambda: raw, poolclass=NullPool)
        try:
            with engine.connect() as connection:
                migrate(connection)
                connection.exec_driver_sql(
                    f"INSERT INTO catalog (id, uuid, epoch, created_at) SELECT 1, %s, 1, {CLOCK}"
                    " WHERE NOT EXISTS (SELECT 1 FROM catalog)",
                    (str(uuid.uuid4()),),
                )
                connection.commit()
        except DBAPIError as error:
            raise (error.orig if isinstance(error.orig, psycopg.Error) else error) from error


def connect_creating(url: str) -> psycopg.Connection[tuple[Any, ...]]:
    """Open a connection to the database at ``url``, which is made if it is not there, alone among those that create."""
    _require_readable(url)
    try:
        connection = connect(url)
    except psycopg.OperationalError as error:
        if not _is_missing(error):
            raise translate(error, name_of(url)) from error
        _create_database(url)
        connection = connect(url)
    connection.autocommit = False
    connection.execute("SELECT pg_advisory_xact_lock(%s)", (CREATING,))
    return connection


def _refuse_newer(revision: str, url: str) -> None:
    from bookkeeper_schema.migrate import REVISIONS

    if revision not in REVISIONS:
        check_revision(revision, name_of(url))


def _create_database(url: str) -> None:
    """Make the database that ``url`` names; another may have made it meanwhile."""
    parts = conninfo_to_dict(url)
    wanted = str(parts.get("dbname", ""))
    there = make_conninfo(url, dbname="postgres")
    try:
        with contextlib.closing(psycopg.connect(there, autocommit=True, connect_timeout=10)) as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'").format(
                    sql.Identifier(wanted)
                )
            )
    except errors.DuplicateDatabase:
        return
    except psycopg.Error as error:
        raise CatalogError(
            f"there is no database at {name_of(url)}, and none could be made ({translate(error, 'the server')})",
            remedy=f"make it as a user who may: createdb -T template0 -E UTF8 --locale=C {wanted}",
        ) from error


def _revision_of(connection: psycopg.Connection[Any]) -> str | None:
    row = connection.execute("SELECT to_regclass('alembic_version')").fetchone()
    if row is None or row[0] is None:
        return None
    found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return None if found is None else str(found[0])


def has_tables(connection: psycopg.Connection[Any]) -> bool:
    """Tell whether a database holds anything already."""
    query = "SELECT 1 FROM pg_tables WHERE schemaname = current_schema() LIMIT 1"
    return connection.execute(query).fetchone() is not None


def _is_missing(error: psycopg.OperationalError) -> bool:
    """Tell whether a connection failed because there is no such database: libpq gives no code for that."""
    return 'database "' in str(error) and "does not exist" in str(error)


def _require_readable(url: str) -> None:
    try:
        named = conninfo_to_dict(url).get("dbname")
    except psycopg.ProgrammingError as error:
        raise UsageError(
            f"{name_of(url)} is no address of PostgreSQL ({error})", remedy="use postgresql://USER@HOST:PORT/NAME"
        ) from error
    if not named:
        raise UsageError(f"{name_of(url)} names no database", remedy="use postgresql://USER@HOST:PORT/NAME")
