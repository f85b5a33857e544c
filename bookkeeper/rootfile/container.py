"""ROOT's container: the file header, keys, directories and the list of free segments.

Source of the format: ROOT, ``io/doc/TFile`` (``header.md``, ``datarecord.md``, ``tdirectory.md``, ``freesegments.md``).
All numbers are big-endian; offsets have four bytes, or eight in files and keys whose version says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from bookkeeper.rootfile.source import Cursor, Fault, Source

BIG_FILE = 1_000_000
BIG_KEY = 1000
DIRECTORIES = frozenset({"TDirectory", "TDirectoryFile"})
TREES = frozenset({"TTree", "TNtuple", "TNtupleD"})
NTUPLES = frozenset({"ROOT::RNTuple", "ROOT::Experimental::RNTuple"})
_KEY_VERSIONS = frozenset({1, 2, 3, 4})
_DEEPEST = 100


@dataclass(frozen=True, slots=True)
class Header:
    """What the first bytes of a ROOT file say; offsets in bytes from its start."""

    version: int
    begin: int
    end: int
    seek_free: int
    bytes_free: int
    free_count: int
    bytes_name: int
    seek_info: int
    bytes_info: int


@dataclass(frozen=True, slots=True)
class Key:
    """One record's head: ``nbytes`` on disk, of which ``keylen`` are this head; ``objlen`` bytes decompressed."""

    nbytes: int
    version: int
    objlen: int
    keylen: int
    cycle: int
    seek: int
    class_name: str
    name: str
    title: str
    head: int
    """Bytes of the head up to the end of the title; a basket's key goes on after it."""

    @property
    def payload(self) -> tuple[int, int, int]:
        """Offset, length on disk, and length when decompressed."""
        return self.seek + self.keylen, self.nbytes - self.keylen, self.objlen


def read_key(cursor: Cursor) -> Key:
    """Read one key head at the cursor; `Fault` where its numbers contradict each other."""
    start = cursor.position
    nbytes, version, objlen, _, keylen, cycle = cursor.take("ihiIhh")
    if version % BIG_KEY not in _KEY_VERSIONS or version // BIG_KEY > 1:
        raise cursor.fault(f"its key has the version {version}, which is none")
    seek, _ = cursor.take("qq" if version > BIG_KEY else "ii")
    class_name, name, title = cursor.string(), cursor.string(), cursor.string()
    length = cursor.position - start
    if keylen < length or nbytes < keylen or objlen < nbytes - keylen:
        raise cursor.fault(f"its key claims {nbytes} bytes, {keylen} of them key, and {objlen} decompressed")
    return Key(nbytes, version, objlen, keylen, cycle, seek, class_name, name, title, length)


class RootFile:
    """A ROOT file's container, over a `Source` that it does not own."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.header = self._read_header()

    def _read_header(self) -> Header:
        if self.source.size == 0:
            raise Fault("file", "it is empty")
        data = self.source.read(0, min(self.source.size, 100))
        if data[:4] != b"root":
            raise Fault("file", f"it is no ROOT file: it starts with {data[:16]!r}")
        cursor = Cursor(data, "file header", 4)
        version, begin = cursor.take("ii")
        end, seek_free = cursor.take("qq" if version >= BIG_FILE else "ii")
        bytes_free, free_count, bytes_name, units, _ = cursor.take("iiibi")
        seek_info, bytes_info = cursor.take("qi" if version >= BIG_FILE else "ii")
        if units not in (4, 8):
            raise cursor.fault(f"offsets of {units} bytes are claimed; they have 4 or 8")
        if not 60 <= begin <= end or bytes_name <= 0:
            raise cursor.fault(f"records are claimed from byte {begin} to {end}")
        return Header(
            version % BIG_FILE, begin, end, seek_free, bytes_free, free_count, bytes_name, seek_info, bytes_info
        )

    def check_whole(self) -> None:
        """Refuse a file that is shorter than its header claims."""
        if self.header.end > self.source.size:
            raise Fault("file", f"it is truncated: {self.source.size} of {self.header.end} bytes are there")

    def check_end(self) -> None:
        """Refuse unless the end that the header claims is the end of the file."""
        self.check_whole()
        if self.header.end < self.source.size:
            more = self.source.size - self.header.end
            raise Fault("file", f"{more} bytes follow the end at byte {self.header.end} that its header claims")

    def key_at(self, offset: int, thing: str) -> Key:
        """Read the key head at ``offset``; `Fault` unless the record lies within the file and says where it lies."""
        room = min(512, self.source.size - offset)
        data = self.source.read(offset, room)
        keylen = int.from_bytes(data[14:16], "big")
        if room < keylen <= self.source.size - offset:
            data = self.source.read(offset, keylen)
        key = read_key(Cursor(data, thing))
        if key.seek != offset:
            raise Fault(thing, f"the key at byte {offset} says that it lies at {key.seek}")
        if offset + key.nbytes > self.source.size:
            raise Fault(thing, f"{key.nbytes} bytes are claimed at byte {offset} of {self.source.size}")
        return key

    def free_segments(self) -> list[tuple[int, int]]:
        """Return the free segments inside the file as first byte and first byte after, in order."""
        header, thing = self.header, "list of free segments"
        if not header.seek_free:
            raise Fault(thing, "there is none: the file was not closed")
        key = self.key_at(header.seek_free, thing)
        cursor = Cursor(self.source.read(key.seek + key.keylen, key.nbytes - key.keylen), thing)
        if key.nbytes != header.bytes_free:
            raise Fault(thing, f"it has {key.nbytes} bytes, the file header says {header.bytes_free}")
        segments = []
        for _ in range(header.free_count):
            version = cursor.one("h")
            first, last = cursor.take("qq" if version > BIG_KEY else "ii")
            if first < header.begin or last < first:
                raise Fault(thing, f"a segment from byte {first} to {last} is none")
            segments.append((first, last + 1))
        inside = sorted(segment for segment in segments if segment[0] < header.end)
        if any(after > header.end for _, after in inside):
            raise Fault(thing, "a segment inside the file reaches beyond its end")
        if any(one[1] > other[0] for one, other in pairwise(inside)):
            raise Fault(thing, "its segments overlap")
        return inside

    def listing(self) -> Iterator[tuple[str, Key]]:
        """Yield path and key of everything in every directory, the directories too; every cycle."""
        yield from self._keys(self.header.begin + self.header.bytes_name, "", {self.header.begin}, 0)

    def _keys(self, offset: int, path: str, seen: set[int], depth: int) -> Iterator[tuple[str, Key]]:
        thing = path.rstrip("/") or "top directory"
        for key in self.directory(offset, thing):
            yield path + key.name, key
            if key.class_name in DIRECTORIES:
                if key.seek in seen or depth == _DEEPEST:
                    raise Fault(path + key.name, "the directory is listed twice or contains itself")
                seen.add(key.seek)
                yield from self._keys(key.seek + key.keylen, f"{path}{key.name}/", seen, depth + 1)

    def directory(self, offset: int, thing: str) -> list[Key]:
        """Return the keys that the directory record at ``offset`` lists."""
        cursor = Cursor(self.source.read(offset, min(42, max(0, self.source.size - offset))), thing)
        version, _, _, bytes_keys, _ = cursor.take("hIIii")
        if version % BIG_KEY > 10 or version < 0:
            raise Fault(thing, f"the directory has the version {version}, which is none")
        _, _, seek_keys = cursor.take("qqq" if version > BIG_KEY else "iii")
        if not seek_keys or not bytes_keys:
            raise Fault(thing, "it has no list of keys: the file was not closed")
        thing = f"list of keys of {thing}"
        key = self.key_at(seek_keys, thing)
        if key.nbytes != bytes_keys:
            raise Fault(thing, f"it has {key.nbytes} bytes, its directory says {bytes_keys}")
        cursor = Cursor(self.source.read(key.seek + key.keylen, key.nbytes - key.keylen), thing)
        return [read_key(cursor) for _ in range(self._key_count(cursor))]

    @staticmethod
    def _key_count(cursor: Cursor) -> int:
        count = cursor.one("i")
        if not 0 <= count <= len(cursor.data) // 26:  # the smallest key
            raise cursor.fault(f"{count} keys are claimed in {len(cursor.data)} bytes")
        return count

    def newest(self) -> dict[str, Key]:
        """Return trees and ntuples by path, the highest cycle of each."""
        found: dict[str, Key] = {}
        for path, key in self.listing():
            if key.class_name in TREES | NTUPLES and (path not in found or found[path].cycle < key.cycle):
                found[path] = key
        return found
