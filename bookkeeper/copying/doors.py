"""Which end does it: by the database that holds a catalog, and by the address of the new one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import ModuleType

from bookkeeper.catalog import Database
from bookkeeper.copying.ends import Source, Target
from bookkeeper.database import SEALED
from bookkeeper.errors import NotAllowed, UsageError


def source_of(database: Database) -> contextlib.AbstractContextManager[Source]:
    """Read a catalog at one moment, for a block."""
    found: contextlib.AbstractContextManager[Source] = _end(database).source(database)
    return found


def target_at(url: str) -> contextlib.AbstractContextManager[Target]:
    """Make a new catalog at an address, for a block."""
    found: contextlib.AbstractContextManager[Target] = _named(url).target(url)
    return found


@contextlib.contextmanager
def sealed(database: Database, target: Target) -> Iterator[None]:
    """Let a catalog refuse every change while, and after, it is moved; not if the block fails and left no new one.

    Killed in the block it stays sealed: then there may be a new one. Raises `NotAllowed` while processes are live.
    """
    end = _end(database)
    live, now = end.seal(database, f"{SEALED}: it moves, or has moved, to {target.name}")
    if live:
        raise NotAllowed(
            f"{live} process{'es are' if live > 1 else ' is'} at work, whose results would be lost",
            remedy="let them end, or end their projects with `bookkeeper project end --fence`, then move",
        )
    try:
        yield
    except BaseException:
        if now and target.certain:
            end.unseal(database)
        raise


def _end(database: Database) -> ModuleType:
    return _of(database.dialect)


def _named(url: str) -> ModuleType:
    if url.startswith(("http://", "https://")):
        raise UsageError(
            f"{url} is a server, not a database", remedy="do this on its host, and name the database itself"
        )
    return _of("postgresql" if url.startswith(("postgresql://", "postgres://")) else "sqlite")


def _of(dialect: str) -> ModuleType:
    if dialect == "postgresql":
        from bookkeeper.copying import postgres_end

        return postgres_end
    from bookkeeper.copying import sqlite_end

    return sqlite_end
