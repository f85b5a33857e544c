"""Datasets: names for sets of files, and snapshots that freeze what a name meant at one moment.

A definition is one of three kinds: globs over logical names (``names``), a query (``where``), or an explicit list of
files (``list``). The first two mean other files as files are declared; a snapshot never changes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from bookkeeper import files as catalogued
from bookkeeper import query
from bookkeeper.catalog import NOW, Database, Tx, check_name
from bookkeeper.errors import Conflict, NotAllowed, NotFound, UsageError
from bookkeeper.operations import operation
from bookkeeper.query import Fragment

_INSERT: Final = f"""
INSERT INTO datasets (name, kind, definition, created_at) VALUES (:name, :kind, :definition, {NOW})
ON CONFLICT (name) DO NOTHING RETURNING id
"""
_SELECT: Final = "SELECT id, name, kind, definition, created_at FROM datasets"
_GET: Final = f"{_SELECT} WHERE name = :name"
_REDEFINE: Final = "UPDATE datasets SET kind = :kind, definition = :definition WHERE id = :id"
_LISTED: Final = "SELECT file_id FROM dataset_files WHERE dataset_id = :id"
_FORGET_LIST: Final = "DELETE FROM dataset_files WHERE dataset_id = :id"
_LIST: Final = "INSERT INTO dataset_files (dataset_id, file_id) VALUES (:id, :file)"
_SNAPSHOT: Final = f"""
INSERT INTO snapshots (dataset_id, files, bytes, entries, taken_at)
VALUES (:dataset, 0, 0, NULL, {NOW}) RETURNING id, taken_at
"""
_FREEZE: Final = """
INSERT INTO snapshot_files (snapshot_id, file_id, version)
SELECT :snapshot, files.id, files.version FROM files WHERE {condition} ORDER BY files.id
"""
_COUNT: Final = "SELECT count(*) AS files FROM files WHERE {condition}"
_TOTALS: Final = """
SELECT count(*), coalesce(sum(f.size), 0), CASE WHEN count(f.entries) = count(*) THEN sum(f.entries) END
  FROM snapshot_files s JOIN files f ON f.id = s.file_id WHERE s.snapshot_id = :snapshot
"""
_SET_TOTALS: Final = "UPDATE snapshots SET files = :files, bytes = :bytes, entries = :entries WHERE id = :snapshot"
_SNAPSHOTS: Final = """
SELECT s.id, s.files, s.bytes, s.entries, s.taken_at
  FROM snapshots s JOIN datasets d ON d.id = s.dataset_id WHERE d.name = :name ORDER BY s.id
"""
_NAMES: Final = "SELECT name FROM datasets ORDER BY name LIMIT 1000"


@dataclass(frozen=True, slots=True)
class Dataset:
    """A definition. ``definition`` are its globs, its one query, or nothing for a list.

    ``files`` is how many current files it means now; ``warnings`` are what is odd about it, in words.
    """

    id: int
    name: str
    kind: str
    definition: tuple[str, ...]
    created_at: float
    files: int = 0
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SnapshotInfo:
    """A frozen list of files: how many, their bytes, and their entries where all of these are known."""

    id: int
    files: int
    bytes: int
    entries: int | None
    taken_at: float


@operation("work", again=True)
def define(
    database: Database,
    name: str,
    *,
    names: str | Iterable[str] | None = None,
    where: str | None = None,
    files: Iterable[str] | None = None,
    update: bool = False,
) -> Dataset:
    """Define a dataset by globs over names, by a query, or by a list of names of files: by one of them.

    The same definition again is no error; another is a `Conflict`, unless ``update``. Snapshots that were taken stay
    as they are. Raises `UsageError`, `QueryError`, and `NotFound` for names in the list that no file has.
    """
    check_name("dataset", name)
    if sum(given is not None for given in (names, where, files)) != 1:
        raise UsageError(
            f"the dataset {name!r} needs exactly one kind of definition", remedy="give --names, --where or --from-list"
        )
    warnings: tuple[str, ...] = ()
    if where is not None:
        kind, definition = "where", [where.strip()]
        warnings = query.warnings(database, query.parse(where))
    elif names is not None:
        kind, definition = "names", [names] if isinstance(names, str) else list(dict.fromkeys(names))
        query.name_matches(definition)
    else:
        kind, definition = "list", []
    _store(database, name, kind, definition, files or (), update=update)
    return replace(get(database, name), warnings=warnings)


def _store(
    database: Database, name: str, kind: str, definition: list[str], listed: Iterable[str], *, update: bool
) -> None:
    text = json.dumps(definition, ensure_ascii=False)
    with database.transaction(durable=True) as tx:
        wanted, unknown = catalogued.ids_of(tx, listed)
        if unknown:
            raise catalogued.not_found(database, unknown)
        if kind == "list" and not wanted:
            raise UsageError(f"the list for the dataset {name!r} is empty", remedy="give at least one name of a file")
        row = tx.run(_INSERT, {"name": name, "kind": kind, "definition": text}).fetchone()
        if row is None:
            dataset = _dataset(tx.run(_GET, {"name": name}).fetchone())
            there = {file for (file,) in tx.run(_LISTED, {"id": dataset.id})}
            if (dataset.kind, dataset.definition, there) == (kind, tuple(definition), wanted):
                return
            if not update:
                raise Conflict(
                    f"the dataset {name!r} is defined otherwise: {_in_words(dataset)}",
                    remedy="`--update` replaces the definition (snapshots stay); or take another name",
                )
            tx.run(_REDEFINE, {"id": dataset.id, "kind": kind, "definition": text})
            tx.run(_FORGET_LIST, {"id": dataset.id})
            id = dataset.id
        else:
            id = row[0]
        tx.many(_LIST, ({"id": id, "file": file} for file in sorted(wanted)))


@operation("read")
def get(database: Database, name: str) -> Dataset:
    """Return a dataset, with the count of the files that it means now. Raises `NotFound`."""
    return _counted(database, _defined(database, name))


def _defined(database: Database, name: str) -> Dataset:
    row = database.one(_GET, {"name": name})
    if row is None:
        raise _not_found([row["name"] for row in database.rows(_NAMES)], name)
    return _dataset(tuple(row.values()))


@operation("read")
def list_all(database: Database) -> list[Dataset]:
    """Return every dataset by name, with the count of the files that each means now."""
    return [_counted(database, _dataset(tuple(row.values()))) for row in database.rows(f"{_SELECT} ORDER BY name")]


@operation("read")
def files_of(database: Database, name: str) -> Iterator[dict[str, Any]]:
    """Yield the current files that the dataset means now, by name; as `bookkeeper.files.find`. Raises `NotFound`."""
    return catalogued.find_where(database, _current(_defined(database, name)))


def take_snapshot(tx: Tx, name: str) -> SnapshotInfo:
    """Freeze the current files of a dataset, inside the caller's transaction.

    Raises `NotFound`, and `NotAllowed` where the dataset is empty.
    """
    row = tx.run(_GET, {"name": name}).fetchone()
    if row is None:
        raise _not_found([other for (other,) in tx.run(_NAMES)], name)
    dataset = _dataset(row)
    condition = _current(dataset)
    snapshot, taken_at = tx.run(_SNAPSHOT, {"dataset": dataset.id}).fetchone()
    tx.run(condition.within(_FREEZE), {**condition.parameters, "snapshot": snapshot})
    count, size, entries = tx.run(_TOTALS, {"snapshot": snapshot}).fetchone()
    if not count:
        raise NotAllowed(
            f"the dataset {name!r} is empty: {_in_words(dataset)} means no current file",
            remedy=f"`bookkeeper dataset show {name}` and `bookkeeper file list` show what there is",
        )
    tx.run(_SET_TOTALS, {"snapshot": snapshot, "files": count, "bytes": size, "entries": entries})
    return SnapshotInfo(snapshot, count, size, entries, taken_at)


@operation("work")
def snapshot(database: Database, name: str) -> SnapshotInfo:
    """Freeze the current files of a dataset. Raises as `take_snapshot`."""
    with database.transaction(durable=True) as tx:
        return take_snapshot(tx, name)


@operation("read")
def snapshots(database: Database, name: str) -> list[SnapshotInfo]:
    """Return the snapshots of a dataset, oldest first. Raises `NotFound`."""
    rows = database.rows(_SNAPSHOTS, {"name": name})
    if not rows:
        get(database, name)
    return [SnapshotInfo(**row) for row in rows]


@operation("read")
def grown_since(database: Database, name: str, snapshot: int) -> int:
    """Return how many current files the dataset means now that are not in the snapshot. Raises `NotFound`."""
    new = Fragment(
        "NOT EXISTS (SELECT 1 FROM snapshot_files s WHERE s.snapshot_id = :snapshot AND s.file_id = files.id)",
        {"snapshot": snapshot},
    )
    return _count(database, _current(_defined(database, name)) & new)


def _dataset(row: tuple[Any, ...]) -> Dataset:
    id, name, kind, definition, created_at = row
    return Dataset(id, name, kind, tuple(json.loads(definition)), created_at)


def _counted(database: Database, dataset: Dataset) -> Dataset:
    return replace(dataset, files=_count(database, _current(dataset)))


def _count(database: Database, condition: Fragment) -> int:
    row = database.one(condition.within(_COUNT), condition.parameters)
    return row["files"] if row else 0


def _current(dataset: Dataset) -> Fragment:
    """Return the condition that a file is current and in the dataset."""
    current = Fragment("files.state = 'current'")
    if dataset.kind == "names":
        return current & query.name_matches(dataset.definition)
    if dataset.kind == "where":
        return current & query.compile(query.parse(dataset.definition[0]))
    listed = "files.id IN (SELECT file_id FROM dataset_files WHERE dataset_id = :dataset)"
    return current & Fragment(listed, {"dataset": dataset.id})


def _in_words(dataset: Dataset) -> str:
    if dataset.kind == "list":
        return "its list of files"
    return f"{dataset.kind} {', '.join(dataset.definition)}"


def _not_found(known: list[str], name: str) -> NotFound:
    from difflib import get_close_matches

    alike = get_close_matches(name[:200], known, n=2)
    hint = f"did you mean {' or '.join(alike)}? " if alike else ""
    return NotFound(
        f"there is no dataset {name[:200]!r}",
        remedy=f"{hint}`bookkeeper dataset list` shows them, `bookkeeper dataset define` makes one",
    )
