"""The pages of an RNTuple: that the schema, the clusters and the page lists agree, and that each page is whole.

Source of the format: see `rntuple`. Elements are counted for every column whose number in an entry the schema fixes:
outside of collections and variants, a field's first column has one element an entry (times its array sizes).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bookkeeper.rootfile import blocks
from bookkeeper.rootfile.rntuple import (
    HEADER,
    PAGE_LIST,
    Group,
    NTuple,
    read_features,
    read_list,
    read_locator,
    read_record,
    read_text,
)
from bookkeeper.rootfile.source import Cursor, Fault, Source

_COLLECTION, _VARIANT = 1, 3
_REPETITIVE = 1
_DEFERRED = 1
_SHARDED = 1


@dataclass(frozen=True, slots=True)
class Field:
    """A field: its parent (itself at the top), its role in the structure, and the size of an array."""

    parent: int
    role: int
    repetition: int


@dataclass(frozen=True, slots=True)
class Column:
    """A column: bits of an element, and elements of an entry where the schema fixes them."""

    bits: int
    per_entry: int | None


@dataclass(frozen=True, slots=True)
class Page:
    """A page: where it lies, its bytes on disk and when decompressed, and whether a checksum follows it."""

    offset: int
    nbytes: int
    size: int
    checked: bool
    thing: str

    def prove(self, source: Source) -> str:
        """Prove its checksum where it has one, and that it decompresses to its size; return the compression."""
        if self.checked:
            import xxhash

            running = xxhash.xxh3_64()
            for start in range(0, self.nbytes, 1 << 22):
                running.update(source.read(self.offset + start, min(1 << 22, self.nbytes - start)))
            if running.digest()[::-1] != source.read(self.offset + self.nbytes, 8):
                raise Fault(self.thing, f"the checksum of the page at byte {self.offset} does not match")
        if self.nbytes > self.size:
            raise Fault(self.thing, f"the page at byte {self.offset} has {self.nbytes} bytes for {self.size}")
        return blocks.prove(source, self.offset, self.nbytes, self.size, self.thing)


def pages(ntuple: NTuple) -> Iterator[Page]:
    """Yield every page; that entries of clusters and elements of columns add up is proved on the way."""
    header, checksum = ntuple.envelope(ntuple.header, HEADER)
    stated, extension, groups = ntuple.read_footer()
    if stated != checksum:
        raise Fault(f"{ntuple.path}: footer", "it belongs to another header")
    columns = _schema(header, extension)
    if not columns and any(group.entries for group in groups):
        raise Fault(ntuple.path, "entries are claimed, and no column holds them")
    ends: dict[int, int] = {}
    for group in groups:
        yield from _group(ntuple, group, columns, ends, checksum)


def _schema(header: Cursor, extension: Cursor) -> list[Column]:
    """Return the columns that the header declares, and those added later."""
    read_features(header)
    for _ in range(3):  # name, description, writer
        read_text(header)
    read_record(extension)
    fields: list[Field] = []
    columns: list[Column] = []
    for cursor in (header, extension):
        _read_fields(cursor, fields)
        _read_columns(cursor, fields, columns)
    return columns


def _read_fields(cursor: Cursor, fields: list[Field]) -> None:
    """Append the fields of a list frame."""
    count, stop = read_list(cursor)
    for _ in range(count):
        end = read_record(cursor)
        _, _, parent, role, flags = cursor.take("IIIHH")
        for _ in range(4):  # name, type, alias, description
            read_text(cursor)
        fields.append(Field(parent, role, cursor.one("Q") if flags & _REPETITIVE else 1))
        cursor.move(end)
    cursor.move(stop)


def _read_columns(cursor: Cursor, fields: list[Field], columns: list[Column]) -> None:
    """Append the columns of a list frame."""
    count, stop = read_list(cursor)
    seen: set[tuple[int, int]] = set()
    for _ in range(count):
        end = read_record(cursor)
        _, bits, owner, flags, representation = cursor.take("HHIHH")
        if owner >= len(fields) or not 0 < bits <= 64:
            raise cursor.fault(f"a column of {bits} bits belongs to the field {owner} of {len(fields)}")
        first = (owner, representation) not in seen
        seen.add((owner, representation))
        columns.append(Column(bits, _per_entry(fields, owner) if first and not flags & _DEFERRED else None))
        cursor.move(end)
    cursor.move(stop)


def _per_entry(fields: list[Field], number: int) -> int | None:
    """Return how many elements of a field's first column an entry has; None where that varies."""
    count = fields[number].repetition
    for _ in range(len(fields)):
        parent = fields[number].parent
        if parent == number or parent >= len(fields):
            return count
        if fields[parent].role in (_COLLECTION, _VARIANT):
            return None
        number = parent
        count *= fields[number].repetition
    return None


def _group(ntuple: NTuple, group: Group, columns: list[Column], ends: dict[int, int], checksum: int) -> Iterator[Page]:
    """Yield the pages of a cluster group; ``ends`` keeps the elements of each column so far."""
    cursor, _ = ntuple.envelope(group.pages, PAGE_LIST)
    if cursor.one("Q") != checksum:
        raise cursor.fault("it belongs to another header")
    entries = _clusters(cursor, group)
    clusters, _ = read_list(cursor)
    if clusters != len(entries):
        raise cursor.fault(f"pages of {clusters} clusters are listed, there are {len(entries)}")
    for count in entries:
        listed, stop = read_list(cursor)
        if listed > len(columns):
            raise cursor.fault(f"pages of {listed} columns are listed, there are {len(columns)}")
        if any(column.per_entry and count for column in columns[listed:]):
            raise cursor.fault(f"pages of {listed} columns are listed, there are {len(columns)}")
        for number in range(listed):
            yield from _column(cursor, ntuple.path, number, columns[number], count, ends)
        cursor.move(stop)


def _clusters(cursor: Cursor, group: Group) -> list[int]:
    """Return the entries of each cluster; they must follow each other and fill the group."""
    count, stop = read_list(cursor)
    if count != group.clusters:
        raise cursor.fault(f"it lists {count} clusters, the footer says {group.clusters}")
    expected = group.first_entry
    clusters = []
    for _ in range(count):
        end = read_record(cursor)
        first, packed = cursor.take("QQ")
        entries = packed & (1 << 56) - 1
        if first != expected or packed >> 56 & _SHARDED:
            raise cursor.fault(f"a cluster starts at entry {first}, the one before ends at {expected}")
        clusters.append(entries)
        expected += entries
        cursor.move(end)
    cursor.move(stop)
    if expected != group.first_entry + group.entries:
        raise cursor.fault(f"its clusters end at entry {expected}, not {group.first_entry + group.entries}")
    return clusters


def _column(
    cursor: Cursor, path: str, number: int, column: Column, entries: int, ends: dict[int, int]
) -> Iterator[Page]:
    """Yield the pages of one column in one cluster; their elements must be as many as the entries ask for."""
    count, stop = read_list(cursor, smallest=16)
    thing = f"{path}: column {number}"
    elements = 0
    for _ in range(count):
        stated = cursor.one("i")
        offset, nbytes = read_locator(cursor)
        elements += abs(stated)
        yield Page(offset, nbytes, (abs(stated) * column.bits + 7) // 8, stated < 0, thing)
    start = cursor.one("q")
    cursor.move(stop)
    if start < 0:  # another representation of the same field holds this cluster
        return
    if column.per_entry is not None and elements != column.per_entry * entries:
        raise Fault(thing, f"{elements} elements lie in a cluster of {entries} entries, {column.per_entry} each")
    if count and start != ends.get(number, start):
        raise Fault(thing, f"a cluster starts at element {start}, the one before ends at {ends[number]}")
    ends[number] = start + elements
