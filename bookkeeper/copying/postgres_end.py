"""Copy from, and to, a PostgreSQL database."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any, Final

import psycopg
from psycopg import sql

from bookkeeper.catalog import Database
from bookkeeper.copying.ends import BATCH, Source, Target
from bookkeeper.copying.forms import Form, Row, forms
from bookkeeper.errors import CatalogError, Conflict
from bookkeeper.postgres import catalogs
from bookkeeper.postgres.connections import connect
from bookkeeper.postgres.errors import first_line, translate

SNAPSHOT: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
LIVE: Final = "SELECT count(*) FROM processes WHERE state IN ('active', 'staged')"
SEALED: Final = "SELECT 1 FROM pg_trigger WHERE tgname = 'sealed' AND tgrelid = to_regclass('catalog')"
REFUSE: Final = """
CREATE OR REPLACE FUNCTION bookkeeper_sealed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION USING MESSAGE = TG_ARGV[0], ERRCODE = 'object_not_in_prerequisite_state'; END $$
"""
SEAL: Final = """
CREATE TRIGGER sealed BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON {}
FOR EACH STATEMENT EXECUTE FUNCTION bookkeeper_sealed({})
"""

Connection = psycopg.Connection[tuple[Any, ...]]


def _stream(connection: Connection, form: Form) -> Iterator[Row]:
    """Yield a table's rows through a cursor of the server's: as many at a time as fit."""
    with connection.cursor(name=f"copy_{form.name}") as cursor:
        cursor.itersize = BATCH
        cursor.execute(form.select.encode())
        yield from form.rows(cursor)


def _forms() -> list[Form]:
    from sqlalchemy.dialects.postgresql import dialect

    return forms(dialect())  # type: ignore[no-untyped-call]


class PostgresSource(Source):
    """A catalog on a server, read in one transaction."""

    def __init__(self, connection: Connection) -> None:
        self.forms = _forms()
        self._connection = connection

    def rows(self, form: Form) -> Iterator[Row]:
        """See `Source.rows`."""
        return _stream(self._connection, form)

    def count(self, form: Form) -> int:
        """See `Source.count`."""
        row = self._connection.execute(form.count.encode()).fetchone()
        return 0 if row is None else int(row[0])


@contextlib.contextmanager
def source(database: Database) -> Iterator[Source]:
    """Read a catalog at one moment, for a block."""
    with _connected(database) as connection:
        connection.execute(SNAPSHOT)
        yield PostgresSource(connection)


class PostgresTarget(Target):
    """A database whose tables are made, filled and compared in one transaction."""

    def __init__(self, connection: Connection, name: str) -> None:
        self.name = name
        self.certain = True
        self.forms = _forms()
        self._connection = connection

    def prepare(self) -> None:
        """See `Target.prepare`. SQLAlchemy is given a transaction that is open already, and leaves it open."""
        from sqlalchemy import create_engine
        from sqlalchemy.exc import DBAPIError
        from sqlalchemy.pool import StaticPool

        from bookkeeper_schema.migrate import upgrade

        engine = create_engine("postgresql+psycopg://", creator=lambda: self._connection, poolclass=StaticPool)
        self._alchemy = engine.connect()
        try:
            upgrade(self._alchemy)
        except DBAPIError as error:
            raise (error.orig if isinstance(error.orig, psycopg.Error) else error) from error

    def write(self, form: Form, rows: Iterable[Row]) -> None:
        """See `Target.write`: by COPY."""
        statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
            sql.Identifier(form.name), sql.SQL(", ").join(map(sql.Identifier, form.columns))
        )
        try:
            with self._connection.cursor() as cursor, cursor.copy(statement) as stream:
                for row in rows:
                    stream.write_row(row)
        except psycopg.DataError as error:
            where = (error.diag.context or form.name).splitlines()[0]
            raise CatalogError(
                f"{self.name} cannot hold this: {first_line(error)} ({where})",
                remedy="see the row in the original with `bookkeeper sql`; the copy was not made",
            ) from error

    def rows(self, form: Form) -> Iterator[Row]:
        """See `Target.rows`."""
        return _stream(self._connection, form)

    def finish(self) -> None:
        """See `Target.finish`: let the numbers of new rows go on, gather statistics, and commit."""
        for form in self.forms:
            if form.counts_itself is not None:
                self._connection.execute(
                    sql.SQL(
                        "SELECT setval(pg_get_serial_sequence({}, {}), max({})) FROM {} HAVING max({}) IS NOT NULL"
                    ).format(
                        sql.Literal(form.name),
                        sql.Literal(form.counts_itself),
                        sql.Identifier(form.counts_itself),
                        sql.Identifier(form.name),
                        sql.Identifier(form.counts_itself),
                    )
                )
        self._connection.execute("ANALYZE")
        self._connection.execute("SET LOCAL synchronous_commit = on")
        self.certain = False
        try:
            self._connection.commit()
        except psycopg.Error:
            self.certain = not self._connection.closed  # then it is the server's word that nothing was committed
            raise


@contextlib.contextmanager
def target(url: str) -> Iterator[Target]:
    """Make a catalog in a database without tables, for a block; nothing is left of it unless it was finished.

    A database that is not there is made.
    """
    name = catalogs.name_of(url)
    try:
        with contextlib.closing(_empty(url)) as connection:
            made = PostgresTarget(connection, name)
            try:
                yield made
            except psycopg.Error as error:
                raise translate(error, name, connection) from error
    except psycopg.Error as error:
        raise translate(error, name) from error


def _empty(url: str) -> Connection:
    """Open a database that has no tables, and begin its one transaction. Raises `Conflict` where it has some."""
    connection = catalogs.connect_creating(url)
    if catalogs.has_tables(connection):
        connection.close()
        raise Conflict(
            f"{catalogs.name_of(url)} has tables; a copy never overwrites", remedy="name a database that has none"
        )
    return connection


def seal(database: Database, words: str) -> tuple[int, bool]:
    """Let a catalog refuse every change from now on; return its live processes, and whether it was sealed now."""
    with _connected(database) as connection, connection.transaction():
        connection.execute("LOCK TABLE catalog, processes IN SHARE ROW EXCLUSIVE MODE")
        if connection.execute(SEALED).fetchone() is not None:
            return 0, False
        row = connection.execute(LIVE).fetchone()
        live = 0 if row is None else int(row[0])
        if not live:
            connection.execute(REFUSE)
            for form in _forms():
                connection.execute(sql.SQL(SEAL).format(sql.Identifier(form.name), sql.Literal(words)))
    return live, not live


def unseal(database: Database) -> None:
    """Let a catalog be written to again."""
    with _connected(database) as connection, connection.transaction():
        for form in _forms():
            connection.execute(sql.SQL("DROP TRIGGER IF EXISTS sealed ON {}").format(sql.Identifier(form.name)))


@contextlib.contextmanager
def _connected(database: Database) -> Iterator[Connection]:
    try:
        with contextlib.closing(connect(database.url)) as connection:
            yield connection
    except psycopg.Error as error:
        raise translate(error, database.name) from error
