"""Write the export: beside its name first, in bounded memory, from one snapshot; the name is given when it is on disk."""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

from bookkeeper.catalog import Database
from bookkeeper.errors import Conflict, StorageError
from bookkeeper.export import describing, tables
from bookkeeper.export.contents import EXPORTED, Exported
from bookkeeper.failures.redaction import redacted
from bookkeeper.projects import unknown
from bookkeeper.snapshots import Snapshot, snapshot
from bookkeeper.stageout.failures import translated
from bookkeeper.stageout.local import LocalStore, sync

MARK: Final = 0x424B4558
"""SQLite's ``application_id`` of an export ("BKEX"): what ``overwrite`` may replace."""

BATCH: Final = 5_000
"""Rows written between two calls of ``on_progress``."""

FIND: Final = "SELECT r.id, r.name FROM projects j JOIN requests r ON r.id = j.request_id WHERE j.name = :project"
HOW_MUCH: Final = """
SELECT 3 * r.files + (SELECT COALESCE(SUM(p.delivered), 0) + COUNT(*) FROM processes p WHERE p.request_id = r.id)
       + (SELECT COUNT(*) FROM events e JOIN projects j ON e.project_id = j.id WHERE j.request_id = r.id)
  FROM requests r WHERE r.id = :request
"""
WHOSE: Final = "SELECT uuid, epoch FROM catalog"

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class ExportInfo:
    """An export that was made: where, its size in bytes, of which request, when (epoch seconds), and its rows by table."""

    path: str
    size: int
    request: str
    taken_at: float
    rows: dict[str, int]
    metadata: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the facts for JSON."""
        return asdict(self)


def export(
    database: Database,
    project: str,
    target: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    metadata: str | os.PathLike[str] | None = None,
    on_progress: Progress = lambda *_: None,
) -> ExportInfo:
    """Write the history of the request that ``project`` belongs to into a new SQLite file; return what was written.

    It is of one moment, and jobs go on meanwhile. ``overwrite`` replaces an older export, and never anything else.
    ``metadata`` names a JSON file to write, with titles and descriptions for Datasette. ``on_progress(done, total)`` counts
    rows. Raises `NotFound`, `Conflict` where the target exists, `StorageError` where it cannot be written: then nothing is left behind.
    """
    path = Path(target).expanduser().absolute()
    beside = path.with_name(f".{path.name[:100]}.{secrets.token_hex(6)}.part")
    with translated("write", path):
        _refuse(path, overwrite)
    with snapshot(database) as source:
        request = next(source.stream(FIND, {"project": project}), None)
        if request is None:
            raise unknown(database, project)
        try:
            facts = _facts(source, request[1])
            try:
                rows = _write(source, request[0], beside, facts, on_progress)
            except sqlite3.Error as error:
                raise _cannot(path, error) from error
            size = beside.stat().st_size
            with translated("write", path):
                _place(beside, path, overwrite)
        finally:
            for leftover in (beside, Path(f"{beside}-journal"), Path(f"{beside}-wal"), Path(f"{beside}-shm")):
                leftover.unlink(missing_ok=True)
    described = None if metadata is None else describing.write(metadata, path.stem, facts)
    return ExportInfo(str(path), size, request[1], facts["exported_at"], rows, described)


def _refuse(path: Path, overwrite: bool) -> None:
    """Raise unless ``path`` is free, or an older export that may be replaced."""
    if not path.parent.is_dir():
        raise StorageError(f"the folder {path.parent} does not exist", remedy=f"mkdir -p {path.parent}")
    if not os.path.lexists(path):
        return
    if not overwrite:
        raise Conflict(f"{path} exists", remedy="name another file; --overwrite replaces an older export")
    with path.open("rb") if path.is_file() and not path.is_symlink() else open(os.devnull, "rb") as stream:
        head = stream.read(100)
    # https://sqlite.org/fileformat.html: application_id is at byte 68
    if head[:16] != b"SQLite format 3\0" or int.from_bytes(head[68:72], "big") != MARK:
        raise Conflict(f"{path} is no export, and is not overwritten", remedy="name another file")


def _place(beside: Path, path: Path, overwrite: bool) -> None:
    descriptor = os.open(beside, os.O_RDONLY)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)
    if overwrite:
        _refuse(path, overwrite)
        beside.replace(path)
        LocalStore().settle(str(path))
        return
    try:
        LocalStore().place(str(beside), str(path))
    except FileExistsError:
        _refuse(path, overwrite)
        raise


def _facts(source: Snapshot, request: str) -> dict[str, Any]:
    import bookkeeper
    from bookkeeper_schema.migrate import HEAD

    uuid, epoch = next(source.stream(WHOSE))
    return {
        "request": request,
        "exported_at": round(time.time(), 3),
        "catalog": uuid,
        "epoch": epoch,
        "schema": HEAD,
        "bookkeeper": bookkeeper.__version__,
    }


def _write(
    source: Snapshot, request: int, beside: Path, facts: Mapping[str, Any], on_progress: Progress
) -> dict[str, int]:
    from sqlite_utils import Database as Target

    total = int(next(source.stream(HOW_MUCH, {"request": request}))[0])
    done = 0
    rows = {}
    with closing(sqlite3.connect(beside, isolation_level=None)) as connection:
        # nobody else knows this file, and it is thrown away unless it is finished: no journal, and one sync at the end
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute(f"PRAGMA application_id = {MARK}")
        target = Target(connection, execute_plugins=False)
        for table in EXPORTED:
            columns, found = source.named(table.query, {"request": request})
            tables.create(target, table, columns)
            rows[table.name] = 0
            for batch in _batches(found):
                target.table(table.name).insert_all([columns, *cleaned(table, columns, batch)], batch_size=BATCH)
                rows[table.name] += len(batch)
                done += len(batch)
                on_progress(min(done, total), total)
        for table in EXPORTED:
            tables.make_findable(target, table)
        describing.views(target)
        describing.inside(target, facts)
        target.analyze()
        damage = [str(row[0]) for row in connection.execute("PRAGMA quick_check(3)") if row[0] != "ok"]
    if damage:
        raise StorageError(f"the export is damaged: {'; '.join(damage)}", remedy="try another disk")
    on_progress(total, total)
    return rows


def _batches(rows: Iterator[tuple[Any, ...]]) -> Iterator[list[tuple[Any, ...]]]:
    while batch := list(islice(rows, BATCH)):
        yield batch


def cleaned(table: Exported, columns: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> Iterator[list[Any]]:
    """Yield rows as they may leave the catalog: texts of jobs and users without secrets, JSON as text, truth as 0 and 1."""
    screened = {columns.index(name) for name in table.screened}
    json_text = {columns.index(name) for name in table.json}
    for row in rows:
        clean = list(row)
        for place in json_text:
            clean[place] = _screened_json(clean[place], place in screened)
        for place in screened - json_text:
            if clean[place] is not None:
                clean[place] = redacted(str(clean[place]))
        yield clean


def _screened_json(value: Any, screen: bool) -> str | None:
    """Return a JSON column as text; PostgreSQL's driver may have read it already."""
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if screen and redacted(text) != text:
        text = json.dumps(_without_secrets(json.loads(text)), ensure_ascii=False)
    return text


def _without_secrets(value: Any) -> Any:
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, dict):
        return {redacted(key): _without_secrets(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_without_secrets(one) for one in value]
    return value


def _cannot(path: Path, error: sqlite3.Error) -> StorageError:
    full = getattr(error, "sqlite_errorcode", 0) & 0xFF in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}
    why = "the disk is full or failed" if full else str(error)
    return StorageError(f"{path} cannot be written: {why}", remedy="check the space and the permissions there")
