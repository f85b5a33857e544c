"""What a file may be declared as: one record, checked and in the form that the catalog holds.

A record is a mapping, or an object with these attributes (`bookkeeper.scan.FileRecord`):

=============  ======================================================================================
``name``       logical name: 1 to 1000 characters, no control characters, no ``/`` at its ends
``size``       bytes, 0 or more
``checksum``   ``adler32:`` and eight hexadecimal digits, or None
``entries``    entries of ``tree``, 0 or more, or None
``tree``       the tree or RNTuple that counts, or None
``trees``      entries of every tree by its name
``metadata``   texts, numbers, true or false by key; None is as absent
``locations``  absolute paths or URLs
=============  ======================================================================================
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypedDict

from bookkeeper.checksums import is_normal, normalise
from bookkeeper.errors import UsageError
from bookkeeper.query.language import NO_CHARACTER, check_key

if TYPE_CHECKING:
    from bookkeeper.scan import FileRecord

    Record = FileRecord | Mapping[str, Any]

FIELDS: Final = ("name", "size", "checksum", "entries", "tree", "trees", "metadata", "locations")

_FIELDS: Final = frozenset(FIELDS)
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_LARGEST: Final = 2**63 - 1
_encode: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


class FileRow(TypedDict):
    """A record as it is bound to statements; ``trees`` and ``metadata`` are JSON, or None where there is nothing."""

    name: str
    size: int
    checksum: str | None
    entries: int | None
    tree: str | None
    trees: str | None
    metadata: str | None
    locations: tuple[str, ...]


def checked(number: int, record: Record) -> FileRow:
    """Return the row of one record. Raises `UsageError` naming the record (``number``, from 1), field and value."""
    try:
        if isinstance(record, Mapping):
            return _row(record)
        return _row({field: getattr(record, field) for field in FIELDS})
    except AttributeError:
        problem = f"{record!r:.80} is no record of a file"
        raise UsageError(f"record {number}: {problem}", remedy=f"a record has {', '.join(FIELDS)}") from None
    except _Wrong as wrong:
        name = record.get("name") if isinstance(record, Mapping) else getattr(record, "name", None)
        named = isinstance(name, str) and name and name.isprintable()
        which = f"record {number} ({name:.100})" if named else f"record {number}"
        raise UsageError(f"{which}: {wrong}; nothing was declared", remedy=wrong.remedy) from None


class _Wrong(Exception):
    def __init__(self, problem: str, remedy: str = "correct the record and declare again") -> None:
        super().__init__(problem)
        self.remedy = remedy


def _row(record: Mapping[str, Any]) -> FileRow:
    if not record.keys() <= _FIELDS:
        unknown = min(str(key) for key in record.keys() - _FIELDS)
        raise _Wrong(f"{unknown!r:.80} is no field of a file", f"the fields are {', '.join(FIELDS)}")
    get = record.get
    name = get("name")
    if not isinstance(name, str) or not name or len(name) > 1000 or _unprintable(name) or "/" in (name[0], name[-1]):
        raise _refused("name", name, "a text of 1 to 1000 characters, none a control character, no / at its ends")
    size = get("size")
    if type(size) is not int or not 0 <= size <= _LARGEST:
        raise _refused("size", size, "a whole number of bytes, 0 or more")
    entries = get("entries")
    if entries is not None and (type(entries) is not int or not 0 <= entries <= _LARGEST):
        raise _refused("entries", entries, "a whole number, 0 or more, or nothing")
    tree = get("tree")
    if tree is not None and (not isinstance(tree, str) or not tree or _unprintable(tree)):
        raise _refused("tree", tree, "the name of a tree, or nothing")
    trees, metadata, locations = get("trees"), get("metadata"), get("locations")
    return {
        "name": name,
        "size": size,
        "checksum": _checksum(get("checksum")),
        "entries": entries,
        "tree": tree,
        "trees": _trees(trees) if trees else None,
        "metadata": _metadata(metadata) if metadata else None,
        "locations": _locations(locations) if locations else (),
    }


def _checksum(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, str):
        if is_normal(value):
            return value
        with suppress(UsageError):
            return normalise(value)
    raise _refused("checksum", value, "adler32: and eight hexadecimal digits, or nothing")


def _trees(trees: object) -> str:
    if isinstance(trees, Mapping):
        for name, entries in trees.items():
            if not isinstance(name, str) or _unprintable(name):
                break
            if type(entries) is not int or not 0 <= entries <= _LARGEST:
                break
        else:
            return _encode(dict(trees))
    raise _refused("trees", trees, "the number of entries by the name of the tree")


def _metadata(metadata: object) -> str | None:
    if not isinstance(metadata, Mapping):
        raise _refused("metadata", metadata, "values by keys")
    for key, value in metadata.items():
        if problem := check_key(key):
            raise _Wrong(f"the metadata key {key!r:.80} cannot be used", problem)
        kind = type(value)
        if not (
            value is None
            or kind is bool
            or (kind is str and not NO_CHARACTER.search(value))
            or (kind is int and -_LARGEST <= value <= _LARGEST)
            or (kind is float and math.isfinite(value))
        ):
            raise _refused(f"metadata {key}", value, "a text, a finite number, true or false")
    given = {key: value for key, value in metadata.items() if value is not None}
    return _encode(given) if given else None


def _locations(locations: object) -> tuple[str, ...]:
    if isinstance(locations, str):
        locations = (locations,)
    if not isinstance(locations, Iterable):
        raise _refused("locations", locations, "a list of absolute paths or URLs")
    found = tuple(locations)
    for location in found:
        if not isinstance(location, str) or _unprintable(location) or not _is_absolute(location):
            raise _refused("locations", location, "absolute paths or URLs")
    return found


def _is_absolute(location: str) -> bool:
    return location.startswith("/") or re.match(r"[A-Za-z][A-Za-z0-9+.-]*:/", location) is not None


def _unprintable(text: str) -> bool:
    return not (text.isascii() and text.isprintable()) and _CONTROL.search(text) is not None


def _refused(field: str, value: object, allowed: str) -> _Wrong:
    said = "is missing" if value is None else f"is {value!r:.100}"
    return _Wrong(f"{field} {said}; it must be {allowed}")
