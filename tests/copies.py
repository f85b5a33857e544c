"""Catalogs to copy and places to copy them to, on both databases."""

from __future__ import annotations

import itertools
import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bookkeeper import sqlite
from bookkeeper.copying import copy
from bookkeeper.copying.postgres_end import PostgresTarget
from bookkeeper.copying.sqlite_end import SqliteTarget
from bookkeeper_schema.tables import METADATA
from goodcatalog import lived
from services.postgres import Server

ENDS = [("sqlite", "sqlite"), ("sqlite", "postgresql"), ("postgresql", "sqlite"), ("postgresql", "postgresql")]

_numbers = itertools.count(1)


@dataclass
class Place:
    """A folder and a server. ``epoch`` is that of the catalog that was `filled`."""

    folder: Path
    server: Server
    epoch: int = 1
    names: list[str] = field(default_factory=list)

    def free(self, end: str) -> str:
        """The address of a catalog that is not there yet."""
        name = f"copy_{next(_numbers)}"
        return f"sqlite:///{self.folder}/{name}.db" if end == "sqlite" else self.server.url(name)

    def filled(self, end: str) -> str:
        """The address of a catalog in which everything happened, with one live process (of another time line's epoch)."""
        catalog, _ = lived(self.folder)
        with catalog.database.transaction() as tx:
            tx.many("INSERT INTO locations (file_id, url) VALUES (?, ?)", [(n, f"/in/{n}") for n in range(1, 13)])
            tx.run("UPDATE files SET metadata = '{\"run\": 7}', entries = 5 WHERE id = 1")
        catalog.close()
        if end == "sqlite":
            return catalog.url
        address = self.free(end)
        copy(catalog.url, address)
        self.execute(address, "UPDATE catalog SET stamped_at = NULL")  # as if it had been made there
        return address

    def execute(self, address: str, statement: str) -> None:
        """Let the server do something to one of its databases, which is made if it is not there."""
        from bookkeeper.postgres.catalogs import connect_creating

        with closing(connect_creating(address)) as connection:
            connection.execute(statement.encode())
            connection.commit()


def content(address: str) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table, read by the driver itself, in the order of its key; JSON as what it says."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    for table in METADATA.sorted_tables:
        names = [column.name for column in table.columns]
        query = f"SELECT {', '.join(names)} FROM {table.name}"
        rows = _sqlite(address, query) if address.startswith("sqlite") else _postgres(address, query)
        texts = [names.index(c.name) for c in table.columns if type(c.type).__name__ == "JSON"]
        keys = [names.index(c.name) for c in table.primary_key.columns]
        read = [tuple(_read(v) if n in texts else v for n, v in enumerate(row)) for row in rows]
        found[table.name] = sorted(read, key=lambda row: [row[key] for key in keys])
    return found


def _read(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


def _sqlite(address: str, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(sqlite.path_of(address))) as connection:
        return connection.execute(query).fetchall()


def _postgres(address: str, query: str) -> list[tuple[Any, ...]]:
    import psycopg

    with closing(psycopg.connect(address)) as connection:
        return connection.execute(query.encode()).fetchall()


def tampered(monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """Let what is written to a copy differ from what was read."""
    for kind in (SqliteTarget, PostgresTarget):
        honest = kind.write

        def write(self: Any, form: Any, rows: Any, honest: Any = honest) -> None:
            honest(self, form, _changed(form, list(rows), how))

        monkeypatch.setattr(kind, "write", write)


def _changed(form: Any, rows: list[Any], how: str) -> list[Any]:
    def put(row: Any, column: str, change: Any) -> Any:
        at = form.columns.index(column)
        return (*row[:at], change(row[at]), *row[at + 1 :])

    match form.name, how:
        case "locations", "lost":
            return rows[:-1]
        case "locations", "twice":
            return [*rows, put(rows[-1], "url", lambda url: f"{url}.again")]
        case "locations", "changed":
            return [put(rows[0], "url", lambda url: f"{url}.other"), *rows[1:]]
        case "processes", "a bit":
            import math

            return [put(rows[0], "started_at", lambda at: math.nextafter(at, 0)), *rows[1:]]
        case "events", "json":
            return [put(rows[0], "body", lambda text: json.dumps({**json.loads(text), "more": None})), *rows[1:]]
        case "files", "empty":
            return [put(rows[0], "tree", lambda tree: "" if tree is None else None), *rows[1:]]
    return rows
