"""Bring a database to the schema of this program: tables by Alembic, views and triggers from their files.

Views hold no data, so they are dropped and made anew by every upgrade. A migration that was released is never edited.
"""

from __future__ import annotations

import re
from importlib.resources import files
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection

HEAD: Final = "0007"
"""The newest revision this program knows; a test holds that it is Alembic's head."""

REVISIONS: Final = ("0001", "0002", "0003", "0004", "0005", "0006", "0007")
"""Every revision, oldest first: what an older catalog may have."""


def view_sources() -> dict[str, str]:
    """Return the ``CREATE VIEW`` statement of every documented view, by name."""
    folder = files("bookkeeper_schema") / "views"
    return {
        entry.name.removesuffix(".sql"): entry.read_text(encoding="utf-8")
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name)
        if entry.name.endswith(".sql")
    }


def trigger_sources(dialect: str) -> dict[str, str]:
    """Return the ``CREATE TRIGGER`` statement of every trigger for a dialect (``sqlite``, ``postgresql``), by name."""
    statements = re.findall(r"^CREATE TRIGGER.*?;$", _source(dialect), flags=re.M | re.S)
    if dialect == "sqlite":
        statements = re.findall(r"^CREATE TRIGGER.*?END;$", _source(dialect), flags=re.S | re.M)
    return {statement.split()[2]: statement for statement in statements}


def function_sources(dialect: str) -> list[str]:
    """Return the statements that make the functions which triggers of a dialect need."""
    return re.findall(r"^CREATE OR REPLACE FUNCTION.*?\$\$;$", _source(dialect), flags=re.S | re.M)


def _source(dialect: str) -> str:
    return (files("bookkeeper_schema") / "triggers" / f"{dialect}.sql").read_text(encoding="utf-8")


def alembic_config(connection: Connection | None = None) -> Config:
    """Return Alembic's configuration, pointing at the migrations shipped in this package."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(files("bookkeeper_schema") / "migrations"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def upgrade(connection: Connection) -> None:
    """Migrate the database behind ``connection`` to `HEAD` and remake its views and triggers.

    Runs inside the caller's transaction: the database has the new schema whole, or the old one.
    """
    from alembic import command
    from sqlalchemy import inspect

    dialect = connection.dialect.name
    for name in view_sources():
        connection.exec_driver_sql(f"DROP VIEW IF EXISTS {name}")
    for name, statement in trigger_sources(dialect).items():
        table = re.search(r" ON (\w+)", statement)
        assert table is not None
        if dialect == "sqlite":
            connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {name}")
        elif inspect(connection).has_table(table[1]):
            connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {name} ON {table[1]}")
    command.upgrade(alembic_config(connection), "head")
    statements = (*view_sources().values(), *function_sources(dialect), *trigger_sources(dialect).values())
    for statement in statements:
        connection.exec_driver_sql(statement.replace("%", "%%") if dialect == "postgresql" else statement)
