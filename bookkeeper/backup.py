"""Copy a catalog while it is in use: one file, consistent, proved, and stamped as a backup.

The copy is of one moment and holds up nobody: SQLite's backup API reads inside one transaction of the write-ahead log
(https://sqlite.org/backup.html). It is made under a hidden name beside the target, which gets its name only when the
copy is whole and on disk: a kill leaves ``.<name>.<random>.part``, or a backup.

The stamp makes the copy a time line of its own: the first command that writes to it raises its epoch and fences every
process that was live (`bookkeeper.ledger.restore`).
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from bookkeeper import sqlite
from bookkeeper.catalog import Database
from bookkeeper.errors import CatalogError, Conflict, UsageError
from bookkeeper.ledger.restore import STAMP
from bookkeeper.operations import refuse
from bookkeeper.stageout.failures import translated
from bookkeeper.stageout.local import LocalStore, sync

PAGES: Final = 2048
"""Pages copied between two calls of ``on_progress``."""

ABOUT: Final = """
SELECT uuid, epoch, stamped_at, (SELECT count(*) FROM processes WHERE state IN ('active', 'staged')) FROM catalog
"""


@dataclass(frozen=True, slots=True)
class BackupInfo:
    """A backup that was made: where, its size in bytes, of which catalog and when (epoch seconds, UTC).

    ``live`` counts the processes that were at work at that moment: what they commit later is not in it.
    """

    path: str
    size: int
    catalog_id: str
    epoch: int
    taken_at: float
    live: int

    def as_dict(self) -> dict[str, Any]:
        """Return the facts for JSON."""
        return asdict(self)


def backup(
    database: Database, target: str | os.PathLike[str], *, on_progress: Callable[[int, int], None] = lambda *_: None
) -> BackupInfo:
    """Copy a catalog to ``target``, which must not exist; ``on_progress(done, total)`` counts pages.

    Jobs go on meanwhile. Raises `Conflict` where the target exists, `CatalogError` where its folder does not, or the
    copy cannot be written or proved; then nothing is left behind.
    """
    refuse(database, "a catalog is not backed up", remedy="on the host of the catalog: `bookkeeper backup FILE`")
    if not isinstance(database, sqlite.SqliteDatabase):
        raise UsageError(
            f"{database.name} is no file: `pg_dump` makes backups of it",
            remedy="`bookkeeper copy` makes a catalog in a file of it",
        )
    path = Path(target).expanduser().absolute()
    _refuse_taken(path)
    if not path.parent.is_dir():
        raise CatalogError(f"the folder {path.parent} does not exist", remedy=f"mkdir -p {path.parent}")
    beside = path.with_name(f".{path.name}.{secrets.token_hex(6)}.part")
    try:
        try:
            facts = _copy(database.path, beside, on_progress)
        except sqlite3.Error as error:
            raise sqlite.translate(error, path) from error
        with translated("write", path):
            _settle(beside, database.path)
            try:
                LocalStore().place(str(beside), str(path))
            except FileExistsError:
                _refuse_taken(path)
                raise
            size = path.stat().st_size
    finally:
        for leftover in (beside, Path(f"{beside}-journal")):
            leftover.unlink(missing_ok=True)
    return BackupInfo(str(path), size, *facts)


def _refuse_taken(path: Path) -> None:
    if os.path.lexists(path):
        raise Conflict(f"{path} exists; a backup never overwrites", remedy="name another file, or move it away")


def _copy(original: Path, beside: Path, on_progress: Callable[[int, int], None]) -> tuple[str, int, float, int]:
    """Copy, stamp and prove; return UUID, epoch, moment and live processes of the copy."""
    with _source(original) as source, _alone(beside) as copy:
        source.backup(copy, pages=PAGES, progress=lambda _, left, total: on_progress(total - left, total))
    with translated("write", beside):
        _leave_wal(beside)
    with _alone(beside) as copy:
        copy.execute("PRAGMA synchronous = FULL")
        copy.execute(STAMP)
        damage = [str(row[0]) for row in copy.execute("PRAGMA quick_check(3)") if row[0] != "ok"]
        if damage:
            raise CatalogError(
                f"the copy is damaged: {'; '.join(damage)}",
                remedy="`bookkeeper check` tells whether the catalog itself is; else try another disk",
            )
        uuid, epoch, taken_at, live = copy.execute(ABOUT).fetchone()
    return uuid, epoch, taken_at, live


@contextlib.contextmanager
def _source(path: Path) -> Iterator[sqlite3.Connection]:
    """Open the catalog inside one read transaction: writers go on, and the copy never starts over."""
    with contextlib.closing(sqlite.connect(path)) as source:
        source.execute("PRAGMA query_only = ON")
        source.execute("BEGIN")
        source.execute("SELECT 1 FROM catalog").fetchone()
        yield source


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[sqlite3.Connection]:
    """Open the new file without locks: nobody else knows its name, and it may lie where locks do not hold."""
    with contextlib.closing(
        sqlite3.connect(f"{path.as_uri()}?mode=rwc&nolock=1", uri=True, isolation_level=None)
    ) as copy:
        yield copy


def _leave_wal(path: Path) -> None:
    """Make a copied database one that needs no log beside it and can be read where nothing may be written.

    Bytes 18 and 19 are the write and read version: 1 is a rollback journal, 2 a write-ahead log
    (https://sqlite.org/fileformat.html#file_format_version_numbers). The copy is whole, and SQLite does not have it open.
    """
    with path.open("r+b") as stream:
        stream.seek(18)
        stream.write(b"\x01\x01")


def _settle(path: Path, original: Path) -> None:
    """Give the copy the permissions of the catalog, and bring it to the disk."""
    path.chmod(original.stat().st_mode & 0o777)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)
