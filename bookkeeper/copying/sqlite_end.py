"""Copy from, and to, an SQLite file."""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from bookkeeper import sqlite
from bookkeeper.catalog import Database
from bookkeeper.copying.ends import Source, Target
from bookkeeper.copying.forms import Form, Row, forms
from bookkeeper.errors import CatalogError, Conflict
from bookkeeper.filesystems import refuse_network_file_system
from bookkeeper.snapshots import Snapshot, snapshot
from bookkeeper.stageout.failures import translated
from bookkeeper.stageout.local import LocalStore, sync

SEALS: Final = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND name GLOB 'sealed_*'"
SEAL: Final = """
CREATE TRIGGER sealed_{table}_{verb} BEFORE {verb} ON {table} BEGIN SELECT RAISE(ABORT, '{words}'); END
"""
LIVE: Final = "SELECT count(*) FROM processes WHERE state IN ('active', 'staged')"


class SqliteSource(Source):
    """A catalog in a file, read in one transaction."""

    def __init__(self, taken: Snapshot) -> None:
        from sqlalchemy.dialects.sqlite import dialect

        self.forms = forms(dialect(paramstyle="qmark"))
        self._taken = taken

    def rows(self, form: Form) -> Iterator[Row]:
        """See `Source.rows`."""
        return form.rows(self._taken.stream(form.select))

    def count(self, form: Form) -> int:
        """See `Source.count`."""
        return int(next(self._taken.stream(form.count))[0])


@contextlib.contextmanager
def source(database: Database) -> Iterator[Source]:
    """Read a catalog at one moment, for a block."""
    with snapshot(database, tokens=True) as taken:
        yield SqliteSource(taken)


class SqliteTarget(Target):
    """A file under a hidden name, which gets its own when it is whole and on disk."""

    def __init__(self, path: Path) -> None:
        from sqlalchemy.dialects.sqlite import dialect

        self.name = str(path)
        self.certain = True
        self.forms = forms(dialect(paramstyle="qmark"))
        self._path = path
        self.beside = path.with_name(f".{path.name[:100]}.{secrets.token_hex(6)}.part")
        self._connection: sqlite3.Connection | None = None

    def prepare(self) -> None:
        """See `Target.prepare`."""
        from sqlalchemy import create_engine
        from sqlalchemy.exc import DBAPIError
        from sqlalchemy.pool import StaticPool

        from bookkeeper_schema.migrate import upgrade

        self._connection = sqlite3.connect(self.beside, isolation_level=None)
        # nobody else knows this file, and it is thrown away unless it is finished: no journal, one sync at the end
        for pragma in ("journal_mode = OFF", "synchronous = OFF"):
            self._connection.execute(f"PRAGMA {pragma}")
        engine = create_engine("sqlite://", creator=lambda: self._connection, poolclass=StaticPool)
        try:
            with engine.begin() as connection:
                upgrade(connection)
        except DBAPIError as error:
            raise (error.orig if isinstance(error.orig, sqlite3.Error) else error) from error
        self._connection.execute("PRAGMA foreign_keys = ON")
        self._connection.execute("BEGIN IMMEDIATE")

    def _open(self) -> sqlite3.Connection:
        assert self._connection is not None
        return self._connection

    def write(self, form: Form, rows: Iterable[Row]) -> None:
        """See `Target.write`."""
        self._open().executemany(form.insert, rows)

    def rows(self, form: Form) -> Iterator[Row]:
        """See `Target.rows`."""
        return form.rows(self._open().execute(form.select))

    def finish(self) -> None:
        """See `Target.finish`."""
        connection = self._open()
        connection.execute("COMMIT")
        damage = [str(row[0]) for row in connection.execute("PRAGMA quick_check(3)") if row[0] != "ok"]
        if damage:
            raise CatalogError(f"the copy is damaged: {'; '.join(damage)}", remedy="try another disk")
        self.close()
        with translated("write", self._path):
            descriptor = os.open(self.beside, os.O_RDONLY)
            try:
                sync(descriptor)
            finally:
                os.close(descriptor)
            _refuse_taken(self._path)
            self.certain = False
            try:
                LocalStore().place(str(self.beside), str(self._path))
            except FileExistsError:
                self.certain = True
                _refuse_taken(self._path)
                raise

    def close(self) -> None:
        """Let go of the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


@contextlib.contextmanager
def target(url: str) -> Iterator[Target]:
    """Make a catalog in a file that is not there yet, for a block; nothing is left of it unless it was finished."""
    path = sqlite.path_of(url)
    _refuse_taken(path)
    if not path.parent.is_dir():
        raise CatalogError(f"the folder {path.parent} does not exist", remedy=f"mkdir -p {path.parent}")
    refuse_network_file_system(path)
    made = SqliteTarget(path)
    try:
        yield made
    except sqlite3.Error as error:
        raise sqlite.translate(error, path) from error
    finally:
        made.close()
        for leftover in (made.beside, Path(f"{made.beside}-journal")):
            leftover.unlink(missing_ok=True)


def _refuse_taken(path: Path) -> None:
    if os.path.lexists(path):
        raise Conflict(f"{path} exists; a copy never overwrites", remedy="name another file, or move it away")
    for rest in (Path(f"{path}-wal"), Path(f"{path}-journal")):
        if os.path.lexists(rest):
            raise Conflict(f"{rest} belongs to a database that is gone", remedy="name another file, or move it away")


def seal(database: Database, words: str) -> tuple[int, bool]:
    """Let a catalog refuse every change from now on; return its live processes, and whether it was sealed now.

    Where processes are live, it is not. Whoever has it open already is refused, too.
    """
    from bookkeeper_schema.tables import METADATA

    with database.transaction(durable=True) as tx:
        if tx.run(SEALS).fetchone() is not None:
            return 0, False
        (live,) = tx.run(LIVE).fetchone()
        if not live:
            for table in METADATA.sorted_tables:
                for verb in ("INSERT", "UPDATE", "DELETE"):
                    tx.run(SEAL.format(table=table.name, verb=verb, words=words.replace("'", "''")))
    return live, not live


def unseal(database: Database) -> None:
    """Let a catalog be written to again."""
    with database.transaction(durable=True) as tx:
        for (name,) in tx.run(SEALS).fetchall():
            tx.run(f'DROP TRIGGER "{name}"')
