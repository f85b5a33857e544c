"""A catalog in one SQLite file, for one host: no server, nothing to install."""

from bookkeeper.sqlite.catalogs import create, open_existing
from bookkeeper.sqlite.connections import Writer, connect, connect_read_only, exclusively, path_of, translate
from bookkeeper.sqlite.database import SqliteDatabase

__all__ = [
    "SqliteDatabase",
    "Writer",
    "connect",
    "connect_read_only",
    "create",
    "exclusively",
    "open_existing",
    "path_of",
    "translate",
]
