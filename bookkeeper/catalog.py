"""Open or create a catalog, by its address; and what may be written into one."""

from __future__ import annotations

import re
import sqlite3
import sys
from typing import Final

from bookkeeper.database import NOW, Database, Tx
from bookkeeper.errors import UsageError

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
    "exists",
    "integrity_errors",
    "open_existing",
    "storable",
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
        return text.replace("\0", "\\x00") if "\0" in text else text
    return text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\x00")


def create(url: str) -> Database:
    """Create the catalog at ``url``, or upgrade the one that is there; return it open.

    A file's folder must exist; a PostgreSQL database is made where the server allows it. A crash leaves no catalog or a
    whole one. Raises `CatalogError`.
    """
    if is_remote(url):
        raise UsageError(
            "a catalog is created, and upgraded, on its own host",
            remedy="there, `bookkeeper init` makes it and `bookkeeper serve` opens it to others",
        )
    if is_postgres(url):
        from bookkeeper import postgres

        return postgres.create(url)
    from bookkeeper import sqlite

    return sqlite.create(url)


def open_existing(url: str) -> Database:
    """Open the catalog at ``url``, which may be that of a server: ``https://HOST:PORT``.

    Raises `CatalogMissing`, `CatalogOutdated` (run ``bookkeeper init``), `CatalogTooNew`, `CatalogError`.
    A copy says so by ``stamped``; `bookkeeper.ledger.restore.put_to_use` must come before any other write to it.
    """
    if is_remote(url):
        from bookkeeper.client.catalog import RemoteCatalog

        return RemoteCatalog(url)
    if is_postgres(url):
        from bookkeeper import postgres

        return postgres.open_existing(url)
    from bookkeeper import sqlite

    return sqlite.open_existing(url)


def exists(url: str) -> bool:
    """Tell whether there is a catalog at ``url``, of whatever version; False too where the server does not answer."""
    if is_remote(url):
        return True
    if is_postgres(url):
        from bookkeeper import postgres

        return postgres.exists(url)
    from bookkeeper import sqlite

    return sqlite.path_of(url).exists()


def is_remote(url: str) -> bool:
    """Tell whether an address names a server."""
    return url.lower().startswith(("http://", "https://"))


def is_postgres(url: str) -> bool:
    """Tell whether an address names a PostgreSQL database."""
    return url.startswith(("postgresql://", "postgres://"))
