"""What a file may be declared as: one record, checked and in the form that the catalog holds.

A record is a mapping, or an object with these attributes (`bookkeeper.scanning.FileRecord`):

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
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from bookkeeper.checksums import is_normal, normalise
from bookkeeper.drivers import refuse_secrets
from bookkeeper.errors import UsageError
from bookkeeper.query.language import NO_CHARACTER, check_key

if TYPE_CHECKING:
    from bookkeeper.scanning import FileRecord

    Record = FileRecord | Mapping[str, Any]

FIELDS: Final = ("name", "size", "checksum", "entries", "tree", "trees", "metadata", "locations")

_FIELDS: Final = frozenset(FIELDS)
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_LARGEST: Final = 2**63 - 1
_key_problem: Final = lru_cache(maxsize=4096)(check_key)
_encode: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


class FileRow(NamedTuple):
    """A record as it is bound to statements; ``trees`` and ``metadata`` are JSON, or None where there is nothing."""

    name: str
    size: int
    checksum: str | None
    entries: int | None
    tree: str | None
    trees: str | None
    metadata: str | None


PlainRow = tuple[str, int, str | None, int | None, str | None, str | None, str | None]
"""The fields of a `FileRow`, which are a plain tuple where there are millions of them."""

Locations = tuple[str, ...]


def checked(number: int, record: Record) -> tuple[PlainRow, Locations]:
    """Return the row of one record, and its locations. Raises `UsageError` naming the record (``number``, from 1), field and value."""
    try:
        if isinstance(record, dict | Mapping):
            if not record.keys() <= _FIELDS:
                raise _unknown_field(record)
            get = record.get
        else:
            get = {field: getattr(record, field) for field in FIELDS}.get
        trees, metadata, locations = get("trees"), get("metadata"), get("locations")
        return (
            _name(get("name")),
            _count("size", get("size")),
            None if (checksum := get("checksum")) is None else _checksum(checksum),
            None if (entries := get("entries")) is None else _count("entries", entries),
            None if (tree := get("tree")) is None else _tree(tree),
            _trees(trees) if trees else None,
            _metadata(metadata) if metadata else None,
        ), _locations(locations) if locations else ()
    except AttributeError:
        problem = f"{record!r:.80} is no record of a file"
        raise UsageError(f"record {number}: {problem}", remedy=f"a record has {', '.join(FIELDS)}") from None
    except _Wrong as wrong:
        name = record.get("name") if isinstance(record, Mapping) else record.name
        named = isinstance(name, str) and name and name.isprintable()
        which = f"record {number} ({name:.100})" if named else f"record {number}"
        raise UsageError(f"{which}: {wrong}; nothing was declared", remedy=wrong.remedy) from None


class _Wrong(Exception):
    def __init__(self, problem: str, remedy: str = "correct the record and declare again") -> None:
        super().__init__(problem)
        self.remedy = remedy


def _unknown_field(record: Mapping[str, Any]) -> _Wrong:
    unknown = min(str(key) for key in record.keys() - _FIELDS)
    return _Wrong(f"{unknown!r:.80} is no field of a file", f"the fields are {', '.join(FIELDS)}")


def _refused(field: str, value: object, allowed: str) -> _Wrong:
    said = "is missing" if value is None else f"is {value!r:.100}"
    return _Wrong(f"{field} {said}; it must be {allowed}")


def _name(name: object) -> str:
    if type(name) is str and 0 < len(name) <= 1000 and _clean(name) and name[0] != "/" and name[-1] != "/":
        return name
    raise _refused("name", name, "a text of 1 to 1000 characters, none a control character, no / at its ends")


def _count(field: str, value: object) -> int:
    if type(value) is int and 0 <= value <= _LARGEST:
        return value
    raise _refused(field, value, "a whole number, 0 or more")


def _tree(tree: object) -> str:
    if type(tree) is str and tree and _clean(tree):
        return tree
    raise _refused("tree", tree, "the name of a tree, or nothing")


def _checksum(checksum: object) -> str:
    if isinstance(checksum, str):
        if is_normal(checksum):
            return checksum
        with suppress(UsageError):
            return normalise(checksum)
    raise _refused("checksum", checksum, "adler32: and eight hexadecimal digits, or nothing")


def _trees(trees: object) -> str:
    if not isinstance(trees, Mapping) or not all(type(name) is str and _clean(name) for name in trees):
        raise _refused("trees", trees, "the number of entries by the name of the tree")
    return _encode({name: _count(f"trees {name}", entries) for name, entries in trees.items()})


def _metadata(metadata: object) -> str | None:
    """Return metadata as JSON, put together here: an encoder made anew for each record would cost more than all else."""
    if not isinstance(metadata, dict | Mapping):
        raise _refused("metadata", metadata, "values by keys")
    parts = []
    for key, value in metadata.items():
        if problem := _key_problem(key):
            raise _Wrong(f"the metadata key {key!r:.80} cannot be used", problem)
        kind = type(value)
        if kind is str:
            if value.isascii() and value.isprintable() and '"' not in value and "\\" not in value:
                parts.append(f'"{key}":"{value}"')
            elif not NO_CHARACTER.search(value):
                parts.append(f'"{key}":{_encode(value)}')
            else:
                raise _refused(f"metadata {key}", value, "a text without NUL, in UTF-8")
        elif kind is int and -_LARGEST <= value <= _LARGEST:
            parts.append(f'"{key}":{value}')
        elif kind is bool or (kind is float and math.isfinite(value)):
            parts.append(f'"{key}":{_encode(value)}')
        elif value is not None:
            raise _refused(f"metadata {key}", value, "a text, a finite number, true or false")
    return f"{{{','.join(parts)}}}" if parts else None


def _locations(locations: object) -> Locations:
    if isinstance(locations, str):
        locations = (locations,)
    if not isinstance(locations, tuple | list | Iterable):
        raise _refused("locations", locations, "a list of absolute paths or URLs")
    found = tuple(locations)
    for location in found:
        if type(location) is not str or not _clean(location) or not (location[:1] == "/" or "://" in location):
            raise _refused("locations", location, "absolute paths or URLs")
        if "@" in location:  # seldom, and there may be millions
            refuse_secrets(location)
    return found


def _clean(text: str) -> bool:
    return (text.isascii() and text.isprintable()) or _CONTROL.search(text) is None
