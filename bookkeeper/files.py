"""Files of the catalog: look them up, follow their history, withdraw them. `declare` is in ``declaration.py``.

A file is a dict: id, name, size (bytes), checksum, entries, tree, trees (entries by tree), version, state, declared_at
(seconds since the epoch, UTC), metadata (a dict).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final

from bookkeeper import events, query
from bookkeeper.catalog import Database, Tx
from bookkeeper.declaration import Declared, declare
from bookkeeper.errors import NotFound, UsageError
from bookkeeper.operations import operation
from bookkeeper.query import Fragment
from bookkeeper_schema.states import FileState

__all__ = [
    "Declared",
    "History",
    "alike",
    "declare",
    "find",
    "find_where",
    "get",
    "history",
    "locations",
    "not_found",
    "retire",
]

PAGE: Final = 1000

_COLUMNS: Final = (
    "files.id, files.name, files.size, files.checksum, files.entries, files.tree, files.trees, files.version,"
    " files.state, files.declared_at, files.metadata"
)
_GET: Final = f"SELECT {_COLUMNS} FROM files WHERE files.name = :name"
_FIND: Final = f"""
SELECT {_COLUMNS} FROM files WHERE files.name > :after AND {{condition}} ORDER BY files.name LIMIT :page
"""
_LOCATIONS: Final = """
SELECT l.url FROM locations l JOIN files f ON f.id = l.file_id WHERE f.name = :name ORDER BY l.url
"""
_RETIRE: Final = "UPDATE files SET state = 'retired' WHERE name = :name AND state = 'current' RETURNING id"
_EXISTS: Final = "SELECT id FROM files WHERE name = :name"
_VERSIONS: Final = """
SELECT v.version, v.size, v.checksum, v.entries, v.until
  FROM file_versions v JOIN files f ON f.id = v.file_id WHERE f.name = :name
UNION ALL
SELECT version, size, checksum, entries, NULL FROM files WHERE name = :name
 ORDER BY version
"""
_CONSUMPTION: Final = "SELECT * FROM consumption WHERE file = :name ORDER BY delivered_at, process_id"
_EVENTS: Final = """
SELECT e.at, e.kind, e.body
  FROM events e JOIN files f ON f.id = e.file_id
 WHERE e.process_id IS NULL AND e.kind IN ('file.retired', 'file.restored') AND f.name = :name
 ORDER BY e.id
"""
_NEIGHBOURS: Final = """
SELECT name FROM (SELECT name FROM files WHERE name >= :name ORDER BY name LIMIT 100) AS after
UNION
SELECT name FROM (SELECT name FROM files WHERE name < :name ORDER BY name DESC LIMIT 100) AS before
UNION
SELECT name FROM (SELECT name FROM files ORDER BY id LIMIT 1000) AS first
"""


@dataclass(frozen=True, slots=True)
class History:
    """What became of a file: its versions (the current one last, without ``until``), its deliveries (rows of the
    view ``consumption``, newest last), and when it was retired or restored.
    """

    versions: list[dict[str, Any]]
    deliveries: list[dict[str, Any]]
    events: list[dict[str, Any]]


@operation("read")
def get(database: Database, name: str) -> dict[str, Any]:
    """Return one file. Raises `NotFound` with names that look alike."""
    row = database.one(_GET, {"name": name})
    if row is None:
        raise not_found(database, [name])
    return _as_file(row)


@operation("read")
def find(
    database: Database,
    *,
    glob: str | None = None,
    where: str | None = None,
    state: str | None = None,
    limit: int | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield the files that meet all conditions, by name: a glob over names, a query, a state.

    Raises `QueryError` and `UsageError` before the first file.
    """
    condition = Fragment()
    if glob is not None:
        condition &= query.name_matches([glob])
    if where is not None:
        condition &= query.compile(query.parse(where))
    if state is not None:
        if state not in set(FileState):
            raise UsageError(f"{state!r} is no state of a file", remedy=f"it is {' or '.join(FileState)}")
        condition &= Fragment("files.state = :state", {"state": state})
    if limit is not None and limit < 0:
        raise UsageError(f"the limit is {limit}", remedy="give 0 or more")
    return find_where(database, condition, limit=limit)


def find_where(database: Database, condition: Fragment, *, limit: int | None = None) -> Iterator[dict[str, Any]]:
    """Yield the files that meet a condition, by name, a page at a time: no result is held whole."""
    statement = condition.within(_FIND)
    after, left = "", limit
    while left is None or left > 0:
        page = PAGE if left is None else min(PAGE, left)
        rows = database.rows(statement, {**condition.parameters, "after": after, "page": page})
        yield from map(_as_file, rows)
        if len(rows) < page:
            return
        after, left = rows[-1]["name"], None if left is None else left - page


@operation("read")
def locations(database: Database, name: str) -> list[str]:
    """Return where copies of the file lie: absolute paths and URLs. Raises `NotFound`."""
    found = [row["url"] for row in database.rows(_LOCATIONS, {"name": name})]
    if not found:
        get(database, name)
    return found


@operation("operate")
def retire(database: Database, names: Iterable[str], reason: str) -> int:
    """Withdraw files, with the reason; return how many were current until now.

    New snapshots leave them out; jobs that are given one find out before they open it. All or, with an unknown
    name among them, none. Raises `NotFound`, `UsageError`.
    """
    if not reason.strip():
        raise UsageError("a file is not retired without a reason", remedy="give --reason")
    retired, unknown = 0, []
    with database.transaction(durable=True) as tx:
        for name in names:
            row = tx.run(_RETIRE, {"name": name}).fetchone()
            if row is not None:
                events.record(tx, "file.retired", {"reason": reason}, file=row[0])
                retired += 1
            elif tx.run(_EXISTS, {"name": name}).fetchone() is None:
                unknown.append(name)
        if unknown:
            raise not_found(database, unknown)
    return retired


@operation("read")
def history(database: Database, name: str) -> History:
    """Return what became of a file. Raises `NotFound`."""
    versions = database.rows(_VERSIONS, {"name": name})
    if not versions:
        raise not_found(database, [name])
    happened = [row | {"body": json.loads(row["body"])} for row in database.rows(_EVENTS, {"name": name})]
    return History(versions, database.rows(_CONSUMPTION, {"name": name}), happened)


def ids_of(tx: Tx, names: Iterable[str]) -> tuple[set[int], list[str]]:
    """Return the ids of the named files, and the names that no file has."""
    found, unknown = set(), []
    for name in names:
        row = tx.run(_EXISTS, {"name": name}).fetchone()
        if row is None:
            unknown.append(name)
        else:
            found.add(row[0])
    return found, unknown


def not_found(database: Database, names: list[str]) -> NotFound:
    """Return the error that no file has these names, with names that look alike."""
    shown = ", ".join(repr(name[:200]) for name in names[:5])
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    near = alike(database, names[0])
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return NotFound(
        f"no file is called {shown}{more}" if len(names) == 1 else f"no files are called {shown}{more}",
        remedy=f"{hint}`bookkeeper file list` shows the names, `bookkeeper file declare` adds files",
    )


def alike(database: Database, name: str) -> list[str]:
    """Return the names of files that look like a name that no file has, two at most."""
    base = name.rstrip("/").rpartition("/")[2]
    if base != name and database.one(_EXISTS, {"name": base}):
        return [base]
    candidates = [row["name"] for row in database.rows(_NEIGHBOURS, {"name": base[:1000]})]
    return get_close_matches(base[:1000], candidates, n=2)


def _as_file(row: dict[str, Any]) -> dict[str, Any]:
    row["trees"] = json.loads(row["trees"]) if row["trees"] else {}
    row["metadata"] = json.loads(row["metadata"]) if row["metadata"] else {}
    return row
