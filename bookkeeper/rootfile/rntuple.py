"""What an RNTuple says of itself: its anchor, its envelopes, its schema, and where its pages lie.

Source of the format: ROOT, ``tree/ntuple/doc/BinaryFormatSpecification.md``, version 1.0. The anchor is a ROOT object
(big-endian); everything else is little-endian, in envelopes that end in the XXH3-64 of what they hold.
"""

from __future__ import annotations

from dataclasses import dataclass

from bookkeeper.rootfile import blocks
from bookkeeper.rootfile.container import Key
from bookkeeper.rootfile.source import Cursor, Fault, Source, Unfamiliar

HEADER, FOOTER, PAGE_LIST = 1, 2, 3
_ENVELOPES = {HEADER: "header", FOOTER: "footer", PAGE_LIST: "page list"}
_ANCHOR = "HHHHQQQQQQQ"
_LARGE_LOCATOR = 1


@dataclass(frozen=True, slots=True)
class Link:
    """Where an envelope lies: offset, bytes on disk, bytes when decompressed."""

    offset: int
    nbytes: int
    length: int


@dataclass(frozen=True, slots=True)
class Group:
    """A cluster group: its entries, its clusters, and the envelope that lists their pages."""

    first_entry: int
    entries: int
    clusters: int
    pages: Link


def read_list(cursor: Cursor, smallest: int = 8) -> tuple[int, int]:
    """Read the preamble of a list frame; return the number of items, and where the frame ends."""
    start = cursor.position
    size, count = cursor.take("qI")
    if size >= 0 or count * smallest > -size:
        raise cursor.fault(f"the list at {start} is none: it claims {count} items in {-size} bytes")
    cursor.need(-size - 12)
    return count, start - size


def read_record(cursor: Cursor) -> int:
    """Read the preamble of a record frame; return where it ends."""
    start = cursor.position
    size = cursor.one("q")
    if size < 8:
        raise cursor.fault(f"the record at {start} is none")
    cursor.need(size - 8)
    return start + size


def read_locator(cursor: Cursor) -> tuple[int, int]:
    """Return offset and bytes on disk."""
    size = cursor.one("i")
    if size < 0:
        if -size >> 24 != _LARGE_LOCATOR:
            raise Unfamiliar(cursor.thing, "an object lies outside the file")
        size = cursor.one("Q")
    return cursor.one("Q"), size


def read_text(cursor: Cursor) -> str:
    """Return a string behind its four-byte length."""
    return cursor.raw(cursor.one("I")).decode("utf-8", "replace")


def read_features(cursor: Cursor) -> None:
    """Refuse features: none is defined in version 1.0, and one that is unknown may change everything."""
    flags = cursor.one("Q")
    if flags:
        raise Unfamiliar(cursor.thing, f"it uses features ({flags:#x}) that are not known")


class NTuple:
    """One RNTuple, found by the key of its anchor."""

    def __init__(self, source: Source, key: Key, path: str) -> None:
        import xxhash

        self.source, self.path = source, path
        cursor = Cursor(blocks.load(source, *key.payload, path), f"{path}: anchor")
        cursor.skip(6)  # byte count and class version
        start = cursor.position
        epoch, major, minor, patch, *links, _ = cursor.take(_ANCHOR)
        checked = cursor.data[start : cursor.position]
        if cursor.one("Q") != xxhash.xxh3_64_intdigest(checked):
            raise cursor.fault("its checksum does not match")
        if epoch != 1:
            raise Unfamiliar(path, f"it has the experimental format {epoch}.{major}.{minor}.{patch}")
        self.header, self.footer = Link(*links[:3]), Link(*links[3:])

    def envelope(self, link: Link, kind: int) -> tuple[Cursor, int]:
        """Load an envelope and prove its checksum; return a reader of what it holds, and the checksum."""
        import xxhash

        thing = f"{self.path}: {_ENVELOPES[kind]}"
        data = blocks.load(self.source, link.offset, link.nbytes, link.length, thing)
        if len(data) < 16:
            raise Fault(thing, f"an envelope of {len(data)} bytes is none")
        checksum = xxhash.xxh3_64_intdigest(data[:-8])
        if checksum != int.from_bytes(data[-8:], "little"):
            raise Fault(thing, "its checksum does not match")
        cursor = Cursor(data[:-8], thing, order="<")
        mark = cursor.one("Q")
        if mark & 0xFFFF != kind or mark >> 16 != len(data):
            raise cursor.fault("what lies there is another envelope")
        return cursor, checksum

    def read_footer(self) -> tuple[int, Cursor, list[Group]]:
        """Return the header's checksum, a reader of the schema extension, and the cluster groups.

        The entries of the groups must follow each other from zero.
        """
        cursor, _ = self.envelope(self.footer, FOOTER)
        read_features(cursor)
        header_checksum = cursor.one("Q")
        extension = Cursor(cursor.data, cursor.thing, cursor.position, order="<")
        cursor.move(read_record(cursor))
        count, _ = read_list(cursor)
        groups: list[Group] = []
        entries = 0
        for _ in range(count):
            end = read_record(cursor)
            first, span, clusters = cursor.take("QQI")
            length = cursor.one("Q")
            groups.append(Group(first, span, clusters, Link(*read_locator(cursor), length)))
            if first != entries:
                raise cursor.fault(f"a cluster group starts at entry {first}, the one before ends at {entries}")
            entries += span
            cursor.move(end)
        return header_checksum, extension, groups

    def entries(self) -> int:
        """Return the number of entries, from anchor and footer alone."""
        return sum(group.entries for group in self.read_footer()[2])
