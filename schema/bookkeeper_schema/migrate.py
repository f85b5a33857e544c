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

HEAD: Final = "0004"
"""The newest revision this program knows; a test holds that it is Alembic's head."""

REVISIONS: Final = ("0001", "0002", "0003", "0004")
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
    """Return the ``CREATE TRIGGER`` statement of every trigger for a dialect (``sqlite``), by name."""
    source = (files("bookkeeper_schema") / "triggers" / f"{dialect}.sql").read_text(encoding="utf-8")
    statements = re.findall(r"^CREATE TRIGGER.*?END;$", source, flags=re.S | re.M)
    return {statement.split()[2]: statement for statement in statements}


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

    dialect = connection.dialect.name
    for name in view_sources():
        connection.exec_driver_sql(f"DROP VIEW IF EXISTS {name}")
    for name in trigger_sources(dialect):
        connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {name}")
    command.upgrade(alembic_config(connection), "head")
    for statement in (*view_sources().values(), *trigger_sources(dialect).values()):
        connection.exec_driver_sql(statement)
