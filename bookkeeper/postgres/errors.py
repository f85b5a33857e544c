"""What PostgreSQL's and psycopg's errors mean to whoever asked."""

from __future__ import annotations

from typing import Final

import psycopg
from psycopg import errors

from bookkeeper.database import SEALED, THE_NEW_ONE
from bookkeeper.errors import BookkeeperError, CatalogBusy, CatalogError, NotAllowed, QueryError, UsageError

LOST_RACE: Final = (errors.SerializationFailure, errors.DeadlockDetected)
"""The transaction was undone whole, because another won: to be made again."""

SHUTTING_DOWN: Final = (errors.AdminShutdown, errors.CrashShutdown, errors.CannotConnectNow, errors.IdleInTransactionSessionTimeout)  # fmt: skip

AGAIN: Final = "see whether the server runs and takes connections; then do the same again"


def is_lost(error: psycopg.Error, connection: psycopg.Connection | None) -> bool:
    """Tell whether an error is that the server went away, or does not answer yet."""
    if isinstance(error, SHUTTING_DOWN):
        return True
    return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError) and (
        connection is None or connection.closed
    )


def first_line(error: psycopg.Error) -> str:
    """Return what the server said, on one line, without a connection string."""
    primary = error.diag.message_primary if error.diag is not None else None
    text = primary or str(error).strip() or type(error).__name__
    return text.splitlines()[0][:300]


def translate(error: psycopg.Error, name: str, connection: psycopg.Connection | None = None) -> BookkeeperError:
    """Return a driver's error as one of ours; the message names the catalog."""
    said = first_line(error)
    if isinstance(error, errors.ObjectNotInPrerequisiteState) and said.startswith(SEALED):
        return NotAllowed(f"{name}: {said}", remedy=THE_NEW_ONE)
    if isinstance(error, errors.LockNotAvailable):
        return CatalogBusy(f"{name} stayed locked ({said})", remedy="find what holds it in pg_stat_activity; try again")
    if isinstance(error, errors.DiskFull):
        return CatalogError(f"{name}: the server's disk is full; nothing was changed", remedy="free some space there")
    if isinstance(error, errors.ReadOnlySqlTransaction):
        return CatalogError(f"{name} cannot be written to ({said})", remedy="name the primary server, not a standby")
    if isinstance(error, errors.InsufficientPrivilege):
        return CatalogError(f"{name}: {said}", remedy="connect as the owner of the catalog's tables")
    if isinstance(error, errors.TooManyConnections):
        return CatalogError(f"{name}: {said}", remedy="raise max_connections, or serve the catalog: `bookkeeper serve`")
    if isinstance(error, psycopg.IntegrityError):
        return UsageError(f"{name} refuses this ({said}); nothing was changed")
    if isinstance(error, psycopg.DataError):
        return UsageError(f"{name} cannot hold this ({said}); nothing was changed")
    if isinstance(error, LOST_RACE):
        return CatalogBusy(f"{name}: others changed the same at the same time ({said})", remedy="do the same again")
    if is_lost(error, connection):
        return CatalogError(f"{name} does not answer: {said}", remedy=AGAIN)
    return CatalogError(f"{name}: {said}")


def query_error(error: psycopg.Error, name: str) -> BookkeeperError:
    """Return why a query of a reader was not answered."""
    if isinstance(error, errors.ReadOnlySqlTransaction | errors.InsufficientPrivilege):
        return QueryError(
            "this statement would change the catalog, or reads what it may not", remedy="only SELECT is answered"
        )
    if isinstance(error, errors.QueryCanceled):
        return QueryError("the query took too long, and was stopped", remedy="ask for less at a time")
    if isinstance(error, psycopg.ProgrammingError | psycopg.DataError):
        return QueryError(
            f"the query cannot be answered: {first_line(error)}",
            remedy="`bookkeeper sql 'SELECT table_name, column_name FROM information_schema.columns'` shows what there is",
        )
    return translate(error, name)
