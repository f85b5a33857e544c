"""What a TTree says of itself: its entries, its branches, and where their baskets lie.

Source of the format: ROOT, ``io/doc/TFile/ttree.md``, and the streamer information of TTree 16 to 20 and TBranch 10 to
13 (ROOT 4 to 6). Objects carry a byte count, so everything else in them is passed over unread.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field

from bookkeeper.rootfile import blocks
from bookkeeper.rootfile.container import Key
from bookkeeper.rootfile.source import Cursor, Fault, Source, Unfamiliar

_COUNTED = 0x40000000
_NEW_CLASS = 0xFFFFFFFF
_CLASS = 0x80000000
_MAP_OFFSET = 2
_IS_REFERENCED = 0x10
BASKET_HEAD = 19
_DEEPEST = 200
_HEAD = 4096

# After fEntries, up to the arrays or fBranches, by version of TTree; the 4-byte fNClusterRange is read by itself.
_TREE_FIELDS = {16: ("qqqdiiiqqqqq", "", False), 17: ("qqqdiiiiqqqqq", "", False), 18: ("qqqqdiiiiqqqqqq", "", False)}
_TREE_FIELDS |= {19: ("qqqqdiiii", "qqqqqq", False), 20: ("qqqqdiiii", "qqqqqq", True)}


@dataclass(slots=True)
class Branch:
    """One branch: the tables of its baskets on disk, and the entries of those kept inside the tree."""

    name: str
    entries: int
    first_entry: int
    seeks: array[int]
    nbytes: array[int]
    first_entries: array[int]
    embedded: list[int] = field(default_factory=list)
    elsewhere: str = ""
    has_branches: bool = False


@dataclass(slots=True)
class Tree:
    """A tree's entries and all its branches, nested ones too."""

    entries: int
    branches: list[Branch]


def _versioned(cursor: Cursor) -> tuple[int, int]:
    """Read byte count and version; return the version and where the object ends."""
    count = cursor.one("I")
    start = cursor.position
    if not count & _COUNTED:
        raise Unfamiliar(cursor.thing, f"an object at {start - 4} has no byte count")
    length = count & ~_COUNTED
    version = cursor.one("h")
    if length < 2 or start + length > cursor.whole:
        raise cursor.fault(f"an object at {start - 4} claims {length} bytes, {cursor.whole - start} are there")
    return version, start + length


def _pass(cursor: Cursor) -> None:
    """Pass over one object that has a byte count."""
    _, end = _versioned(cursor)
    cursor.move(end)


def _object_head(cursor: Cursor) -> None:
    """Pass over TObject: version, identity, bits, and a process id where one is referenced."""
    _, _, bits = cursor.take("hII")
    if bits & _IS_REFERENCED:
        cursor.skip(2)


def _name(cursor: Cursor) -> str:
    """Read a TNamed and return its name."""
    _, end = _versioned(cursor)
    _object_head(cursor)
    name = cursor.string()
    cursor.move(end)
    return name


def _to_entries(cursor: Cursor, class_name: str) -> tuple[int, int, int]:
    """Go to a tree's fEntries and read it; return version, entries, end."""
    if class_name != "TTree":  # TNtuple and TNtupleD begin with the TTree that they are
        _versioned(cursor)
    version, end = _versioned(cursor)
    if version not in _TREE_FIELDS:
        raise Unfamiliar(cursor.thing, f"it is a {class_name} of version {version}")
    for _ in range(4):  # TNamed, TAttLine, TAttFill, TAttMarker
        _pass(cursor)
    entries = cursor.one("q")
    if entries < 0:
        raise cursor.fault(f"{entries} entries are claimed")
    return version, entries, end


def entries_of(source: Source, key: Key, path: str) -> int:
    """Return a tree's entries from the beginning of its description alone."""
    data = blocks.head(source, *key.payload, _HEAD, path)
    if len(data) < key.objlen:
        try:
            return _to_entries(Cursor(data, path, whole=key.objlen), key.class_name)[1]
        except Unfamiliar:
            raise
        except Fault:  # a very long title: the beginning was too short
            data = blocks.load(source, *key.payload, path)
    return _to_entries(Cursor(data, path), key.class_name)[1]


def tree_of(source: Source, key: Key, path: str) -> Tree:
    """Return a tree with the tables of all its branches. `Unfamiliar` where its version is not one of ours."""
    cursor = Cursor(blocks.load(source, *key.payload, path), path)
    version, entries, end = _to_entries(cursor, key.class_name)
    before, after, features = _TREE_FIELDS[version]
    cursor.take(before)
    if after:
        ranges = cursor.one("I")
        cursor.take(after)
        for _ in range(2):  # fClusterRangeEnd, fClusterSize
            cursor.skip(1 + 8 * ranges)
    if features:
        _pass(cursor)
    branches = list(_branches(cursor, key.keylen, 0))
    if cursor.position > end:
        raise cursor.fault("its branches reach beyond its end")
    return Tree(entries, branches)


def _class_name(cursor: Cursor, tag: int, keylen: int) -> str:
    """Return the class that a tag names: spelt out behind it, or at the place in the buffer that it refers to."""
    if tag == _NEW_CLASS:
        return cursor.terminated()
    place = Cursor(cursor.data, cursor.thing)
    place.skip((tag & ~_CLASS) - _MAP_OFFSET - keylen)
    if place.one("I") != _NEW_CLASS:
        raise cursor.fault(f"an object at {cursor.position} has no class")
    return place.terminated()


def _members(cursor: Cursor, keylen: int) -> Iterator[tuple[str, int] | None]:
    """Read a TObjArray: class and end of each object with the cursor at its beginning; None for an empty place."""
    version, end = _versioned(cursor)
    if version > 2:
        _object_head(cursor)
    if version > 1:
        cursor.string()
    count, _ = cursor.take("ii")
    if not 0 <= count <= (end - cursor.position) // 4:
        raise cursor.fault(f"{count} objects are claimed in {end - cursor.position} bytes")
    for _ in range(count):
        size = cursor.one("I")
        if not size:
            yield None
            continue
        if not size & _COUNTED or size == _NEW_CLASS:
            raise Unfamiliar(cursor.thing, f"an object at {cursor.position - 4} has no byte count")
        stop = cursor.position + (size & ~_COUNTED)
        tag = cursor.one("I")
        if not tag & _CLASS or stop > end:
            raise cursor.fault(f"an object at {cursor.position - 8} is none")
        yield _class_name(cursor, tag, keylen), stop
        cursor.move(stop)
    cursor.move(end)


def _branches(cursor: Cursor, keylen: int, depth: int) -> Iterator[Branch]:
    """Read the branches of a tree or branch, and theirs."""
    if depth > _DEEPEST:
        raise cursor.fault("its branches are nested too deep")
    for member in _members(cursor, keylen):
        if member is None:
            continue
        class_name, _ = member
        if class_name == "TBranchClones":
            raise Unfamiliar(cursor.thing, "it has a branch of class TBranchClones")
        if class_name != "TBranch":  # every other kind begins with the TBranch that it is
            _versioned(cursor)
        yield from _branch(cursor, keylen, depth)


def _branch(cursor: Cursor, keylen: int, depth: int) -> Iterator[Branch]:
    """Read one TBranch and the branches inside it."""
    version, end = _versioned(cursor)
    if not 10 <= version <= 13:
        raise Unfamiliar(cursor.thing, f"it has a branch of version {version}")
    name = _name(cursor)
    _pass(cursor)  # TAttFill
    _, _, _, written, _ = cursor.take("iiiiq")
    if version == 13:
        _pass(cursor)  # TIOFeatures
    _, places, _ = cursor.take("iii")
    entries = cursor.one("q")
    first_entry = cursor.one("q") if version > 10 else 0
    cursor.take("qq")
    inside = list(_branches(cursor, keylen, depth + 1))
    _pass(cursor)  # fLeaves
    embedded = [_basket_entries(cursor, stop) for member in _members(cursor, keylen) if member for _, stop in [member]]
    tables = [_table(cursor, kind, places, written) for kind in "iqq"]
    nbytes, first_entries, seeks = tables
    branch = Branch(name, entries, first_entry, seeks, nbytes, first_entries, embedded)
    branch.elsewhere, branch.has_branches = cursor.string(), bool(inside)
    if cursor.position > end:
        raise cursor.fault(f"branch {name} reaches beyond its end")
    yield branch
    yield from inside


def _basket_entries(cursor: Cursor, stop: int) -> int:
    """Return the entries of a basket kept inside the tree: its key, then version, three sizes, and fNevBuf."""
    start = cursor.position
    keylen = cursor.take("ihiIh")[-1]
    if keylen < BASKET_HEAD or start + keylen > stop:
        raise cursor.fault(f"a basket at {start} has a key of {keylen} bytes")
    cursor.move(start + keylen - BASKET_HEAD)
    return basket_head(cursor)[0]


def basket_head(cursor: Cursor) -> tuple[int, int]:
    """Read what follows a basket's key: return its entries, and where in key and content the entries end."""
    _, _, _, entries, last, _ = cursor.take("hiiiib")
    if entries < 0:
        raise cursor.fault(f"a basket claims {entries} entries")
    return entries, last


def _table(cursor: Cursor, kind: str, places: int, used: int) -> array[int]:
    """Read the used part of an array of ``places`` numbers behind its marker byte."""
    marker = cursor.one("B")
    numbers = array("q")
    if not marker:  # a null pointer: no array follows
        if used > 0:
            raise cursor.fault(f"{used} baskets are claimed, and no table of them is there")
        return numbers
    width = 8 if kind == "q" else 4
    if not 0 <= used <= places:
        raise cursor.fault(f"{used} baskets are claimed in a table of {places}")
    cursor.need(places * width)
    part = array(kind, cursor.raw(used * width))
    if sys.byteorder == "little":
        part.byteswap()
    cursor.skip((places - used) * width)
    return part if kind == "q" else array("q", part)
