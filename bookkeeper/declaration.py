"""Declare files: take a list of any length into the catalog, whole or not at all.

The records are checked and put aside first, and written in one transaction after the last one came: nothing is
declared of a list with a fault in it, and jobs do not wait while a slow scan goes on.

A file is *the same* if its size is, and its checksum where both are known. What a record says of it in addition (a
checksum, locations, keys of metadata, …) is added. A record that says something else is a change, which ``update``
allows: of the content, it makes a new version; of the description alone (entries, trees, metadata), it does not.
"""

from __future__ import annotations

import json
import marshal
import tempfile
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple

from bookkeeper import events
from bookkeeper.catalog import NOW, Database, Tx
from bookkeeper.errors import FileChanged, UsageError
from bookkeeper.operations import operation
from bookkeeper.records import FIELDS, FileRow, Locations, PlainRow, checked
from bookkeeper_schema.states import FileState

if TYPE_CHECKING:
    from bookkeeper.records import Record

CHUNK: Final = 1000  # rows: what was just written is still in SQLite's cache when it is asked for
SHOWN: Final = 5
SPOOL_IN_MEMORY: Final = 32 << 20  # bytes

# What runs once a file is bound by position: names would cost a tenth of the time.
_LAST: Final = "SELECT coalesce(max(id), 0) FROM files"
_INSERT: Final = """
INSERT INTO files (name, size, checksum, entries, tree, trees, metadata, declared_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (name) DO NOTHING
"""
_NOW: Final = f"SELECT {NOW}"
_INSERTED: Final = "SELECT id FROM files WHERE id > :last ORDER BY id"
_NAMES_OF_INSERTED: Final = "SELECT name, id FROM files WHERE id > :last"
_KNOWN: Final = """
SELECT id, name, size, checksum, entries, tree, trees, metadata, state FROM files WHERE name = :name
"""
_RANK: Final = "SELECT count(*) FROM files WHERE id > :first AND id < :id"
_KEEP_VERSION: Final = f"""
INSERT INTO file_versions (file_id, version, size, checksum, entries, until)
SELECT id, version, size, checksum, entries, {NOW} FROM files WHERE id = :id
"""
_REPLACE: Final = """
UPDATE files
   SET version = version + 1, size = :size, checksum = :checksum, entries = :entries, tree = :tree, trees = :trees,
       metadata = :metadata, state = 'current'
 WHERE id = :id
"""
_DESCRIBE: Final = """
UPDATE files
   SET checksum = :checksum, entries = :entries, tree = :tree, trees = :trees, metadata = :metadata, state = 'current'
 WHERE id = :id
"""
_FORGET_LOCATIONS: Final = "DELETE FROM locations WHERE file_id = :id"
_LOCATE: Final = "INSERT INTO locations (file_id, url) VALUES (?, ?) ON CONFLICT (file_id, url) DO NOTHING"


_Chunk = list[tuple[PlainRow, Locations]]


@dataclass(frozen=True, slots=True)
class Declared:
    """How many files a list brought: new ones; known ones that are the same; and ones that were updated or restored."""

    new: int
    unchanged: int
    updated: int


def _ready(number: int, record: Record) -> dict[str, Any]:
    """Return a record as it travels to a server. A wrong one is refused here already, as `declare` does."""
    checked(number, record)
    get = record.get if isinstance(record, Mapping) else partial(getattr, record)
    said = {field: get(field) for field in FIELDS}
    if (urls := said["locations"]) and not isinstance(urls, str):
        said["locations"] = list(urls)
    return {field: value for field, value in said.items() if value is not None}


@operation("work", name="files.declare", raised={"update": "admin"}, upload="records", each=_ready)
def declare(
    database: Database,
    records: Iterable[Record],
    *,
    update: bool = False,
    on_progress: Callable[[int], object] | None = None,
) -> Declared:
    """Take files into the catalog, in one durable transaction; return what was new.

    A retired file that is declared again with the same content is current again. Locations given with new content
    replace the old ones; where none are given, these stay. ``on_progress`` is told the number of records written.
    Raises `UsageError` for a record that is wrong or contradicts another, `FileChanged` for files that differ from
    the catalogued ones, unless ``update``: then nothing is declared.
    """
    with tempfile.SpooledTemporaryFile(max_size=SPOOL_IN_MEMORY) as spool:
        chunks = _put_aside(records, spool)
        with database.transaction(durable=True) as tx:
            tx.lock("declare files")
            declaration = _Declaration(tx, update=update)
            for chunk in chunks:
                declaration.take(chunk)
                if on_progress is not None:
                    on_progress(declaration.taken)
            if declaration.changed:
                raise _file_changed(declaration.changed, declaration.changes)
    return Declared(declaration.new, declaration.unchanged, declaration.updated)


def _put_aside(records: Iterable[Record], spool: IO[bytes]) -> Iterator[_Chunk]:
    """Check every record now; return the rows in chunks, which ``spool`` holds."""
    numbered = enumerate(records, start=1)
    lengths = array("q")
    while chunk := [checked(number, record) for number, record in islice(numbered, CHUNK)]:
        lengths.append(spool.write(marshal.dumps(chunk)))
    spool.seek(0)
    return (marshal.loads(spool.read(length)) for length in lengths)  # noqa: S302 - written by this very call


class _Declaration:
    """One list on its way into the catalog."""

    def __init__(self, tx: Tx, *, update: bool) -> None:
        self.tx = tx
        self.update = update
        self.taken = self.new = self.unchanged = self.updated = 0
        self.changed: dict[str, str] = {}  # the first files that differ, and how
        self.changes = 0
        self.first: int = tx.run(_LAST).fetchone()[0]
        self.now: tuple[float] = tx.run(_NOW).fetchone()
        self.numbers_of_new: array[int] = array("q")  # record numbers, in the order of the ids
        self.numbers_of_known: dict[int, int] = {}

    def take(self, chunk: _Chunk) -> None:
        """Take in a chunk: insert what is new at once, look at the others one by one."""
        last = self.tx.run(_LAST).fetchone()[0]
        now = self.now
        inserted = self.tx.many(_INSERT, [row + now for row, _ in chunk])
        if inserted == len(chunk):  # then the ids are in the order of the rows
            ids = self.tx.run(_INSERTED, {"last": last})
            self.numbers_of_new.extend(range(self.taken + 1, self.taken + 1 + inserted))
            self.tx.many(_LOCATE, [(id, url) for (id,), (_, urls) in zip(ids, chunk, strict=True) for url in urls])
        else:
            self._take_mixed(chunk, dict(self.tx.run(_NAMES_OF_INSERTED, {"last": last}).fetchall()))
        self.new += inserted
        self.taken += len(chunk)

    def _take_mixed(self, chunk: _Chunk, new: dict[str, int]) -> None:
        for number, (row, locations) in enumerate(chunk, start=self.taken + 1):
            id = new.pop(row[0], None)
            if id is None:
                self._meet(number, FileRow(*row), locations)
            else:
                self.numbers_of_new.append(number)
                self._locate(id, locations)

    def _meet(self, number: int, row: FileRow, locations: Locations) -> None:
        """Take in a record of a file that is in the catalog."""
        known = _Known(*self.tx.run(_KNOWN, {"name": row.name}).fetchone())
        earlier = self._earlier_number(known.id)
        content, description = known.differences(row)
        differences = [*content, *description]
        if differences and earlier is not None:
            raise UsageError(
                f"records {earlier} and {number} are both called {row.name} and differ: {', '.join(differences)};"
                " nothing was declared",
                remedy="give each file a name of its own, or leave one of the records out",
            )
        if differences and not self.update:
            self.changes += 1
            if len(self.changed) < SHOWN:
                self.changed[row.name] = ", ".join(differences)
        elif content:
            self._replace(known, row, locations)
        else:
            self._describe(known, row, locations)
        if earlier is None:
            self.numbers_of_known[known.id] = number
            changed = bool(differences) or known.retired
            self.updated += changed
            self.unchanged += not changed

    def _replace(self, known: _Known, row: FileRow, locations: Locations) -> None:
        self.tx.run(_KEEP_VERSION, {"id": known.id})
        self.tx.run(_REPLACE, known.replaced_by(row))
        if locations:
            self.tx.run(_FORGET_LOCATIONS, {"id": known.id})
        self._finish(known, locations)

    def _describe(self, known: _Known, row: FileRow, locations: Locations) -> None:
        described = known.completed_by(row)
        if known.retired or described != known:
            self.tx.run(_DESCRIBE, described._asdict())
        self._finish(known, locations)

    def _finish(self, known: _Known, locations: Locations) -> None:
        self._locate(known.id, locations)
        if known.retired:
            events.record(self.tx, "file.restored", file=known.id)

    def _locate(self, id: int, locations: Locations) -> None:
        if locations:
            self.tx.many(_LOCATE, [(id, url) for url in locations])

    def _earlier_number(self, id: int) -> int | None:
        if id <= self.first:
            return self.numbers_of_known.get(id)
        rank: int = self.tx.run(_RANK, {"first": self.first, "id": id}).fetchone()[0]
        return self.numbers_of_new[rank]


class _Known(NamedTuple):
    """A file as it stands in the catalog; ``trees`` and ``metadata`` are JSON."""

    id: int
    name: str
    size: int
    checksum: str | None
    entries: int | None
    tree: str | None
    trees: str | None
    metadata: str | None
    state: str

    @property
    def retired(self) -> bool:
        return self.state == FileState.RETIRED

    def differences(self, row: FileRow) -> tuple[list[str], list[str]]:
        """Say in words how the record differs in content and in description; what only one of both says is none."""
        if self[2:8] == row[1:]:  # the common case, a thousand times a chunk
            return [], []
        known, given = _values(self.metadata), _values(row.metadata)
        content = [("size", self.size, row.size), ("checksum", self.checksum, row.checksum)]
        description = [
            ("entries", self.entries, row.entries),
            ("tree", self.tree, row.tree),
            ("trees", _values(self.trees) or None, _values(row.trees) or None),
            *((key, known.get(key), value) for key, value in given.items()),
        ]
        return _differences(content), _differences(description)

    def replaced_by(self, row: FileRow) -> dict[str, Any]:
        """Return the parameters of the file with the record's content; only keys of metadata outlive the old one."""
        return row._asdict() | {"id": self.id, "metadata": _merged(self.metadata, row.metadata)}

    def completed_by(self, row: FileRow) -> _Known:
        """Return the file with what the record says, and otherwise what is known."""
        return self._replace(
            checksum=row.checksum or self.checksum,
            entries=self.entries if row.entries is None else row.entries,
            tree=row.tree or self.tree,
            trees=row.trees or self.trees,
            metadata=_merged(self.metadata, row.metadata),
        )


def _differences(pairs: Iterable[tuple[str, Any, Any]]) -> list[str]:
    return [
        f"{what} {_shown(known)} → {_shown(given)}"
        for what, known, given in pairs
        if known is not None
        and given is not None
        and (known != given or isinstance(known, bool) != isinstance(given, bool))
    ]


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:79] + "…"


def _values(text: str | None) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text) if text else {}
    return found


def _merged(known: str | None, given: str | None) -> str | None:
    if known is None or given is None or known == given:
        return known or given
    return json.dumps({**json.loads(known), **json.loads(given)}, ensure_ascii=False, separators=(",", ":"))


def _file_changed(changed: Mapping[str, str], count: int) -> FileChanged:
    if count == 1:
        ((name, how),) = changed.items()
        return FileChanged(f"{name} is not what was declared: {how}; nothing was declared")
    lines = [f"  {name}: {how}" for name, how in changed.items()]
    if count > len(lines):
        lines.append(f"  and {count - len(lines)} more")
    return FileChanged("\n".join([f"{count} files are not what was declared; nothing was declared:", *lines]))
