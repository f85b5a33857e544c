"""Every record of a file, from the first to the end that its header claims, and a small index of them."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

from bookkeeper.rootfile import blocks
from bookkeeper.rootfile.container import DIRECTORIES, Key, RootFile
from bookkeeper.rootfile.source import Cursor, Fault, Source
from bookkeeper.rootfile.ttree import BASKET_HEAD, basket_head

BLOB = "RBlob"
"""The class of records that hold envelopes and pages of an RNTuple, whose own tables say what is in them."""

_STRUCTURE = DIRECTORIES | {"TFile"}


@dataclass(frozen=True, slots=True)
class Payload:
    """What a record holds: where, its bytes on disk and when decompressed, and whose it is."""

    offset: int
    nbytes: int
    size: int
    thing: str
    checked: bool = False

    def prove(self, source: Source) -> str:
        """Prove that it decompresses to its size; return the compression."""
        return blocks.prove(source, self.offset, self.nbytes, self.size, self.thing)


class Records:
    """Start, size and entries (-1: no basket) of every record met; 24 bytes each."""

    def __init__(self) -> None:
        self._starts, self._nbytes, self._entries = array("q"), array("q"), array("q")
        self.baskets = 0

    def __len__(self) -> int:
        return len(self._starts)

    def add(self, key: Key, entries: int) -> None:
        """Take in the next record of the file."""
        self._starts.append(key.seek)
        self._nbytes.append(key.nbytes)
        self._entries.append(entries)
        self.baskets += entries >= 0

    def find(self, offset: int) -> tuple[int, int] | None:
        """Return size and entries of the record that starts at ``offset``."""
        place = bisect_left(self._starts, offset)
        if place == len(self._starts) or self._starts[place] != offset:
            return None
        return self._nbytes[place], self._entries[place]


def walk(root: RootFile, records: Records) -> Iterator[Payload]:
    """Yield what each record holds, in the order of the file, and note the record.

    Every byte must belong to a record or to a segment of the list of free ones.
    """
    header = root.header
    gaps = iter([*root.free_segments(), (header.end, header.end)])
    gap, after = next(gaps)
    position = header.begin
    while position < header.end:
        if position == gap:
            position = after
            gap, after = next(gaps)
            continue
        thing = f"record at byte {position}"
        key = root.key_at(position, thing)
        position += key.nbytes
        if position > gap:
            raise Fault(thing, f"it claims {key.nbytes} bytes, and reaches into what is free or beyond the end")
        if key.class_name == "TBasket":
            thing = f"basket of {key.name} at byte {key.seek}"
            records.add(key, _basket(root, key, thing))
        else:
            if key.head != key.keylen:
                raise Fault(thing, f"its key claims {key.keylen} bytes and has {key.head}")
            records.add(key, -1)
        if key.class_name != BLOB:
            yield Payload(*key.payload, thing, checked=key.class_name in _STRUCTURE)


def _basket(root: RootFile, key: Key, thing: str) -> int:
    """Return a basket's entries; where they end must lie within what it holds."""
    if key.keylen != key.head + BASKET_HEAD:
        raise Fault(thing, f"its key claims {key.keylen} bytes and has {key.head + BASKET_HEAD}")
    data = root.source.read(key.seek + key.head, BASKET_HEAD)
    entries, last = basket_head(Cursor(data, thing))
    offsets = key.objlen - (last - key.keylen)
    if last < key.keylen or offsets < 0 or 0 < offsets < 4 * entries:
        raise Fault(thing, f"{entries} entries are claimed up to byte {last} of {key.keylen + key.objlen}")
    return entries
