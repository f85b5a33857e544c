"""Lists of files as people and programs write them: JSON, JSON lines, CSV, TSV, or the names of files, one a line.

Every list is read as a stream, also a JSON array. A list is a path, ``-`` (standard input) or a binary stream; its
format is the one given, else that of its suffix, else what its first bytes look like.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO, Final, Literal

from bookkeeper.errors import NotFound, UsageError
from bookkeeper.filelists.jsonlist import json_array, json_lines, objects
from bookkeeper.filelists.table import table
from bookkeeper.filelists.text import absolute, decoded, raw_lines, unreadable

Format = Literal["json", "jsonl", "csv", "tsv", "names"]
Source = str | os.PathLike[str] | BinaryIO

FORMATS: Final[tuple[Format, ...]] = ("json", "jsonl", "csv", "tsv", "names")
_HEAD: Final = 4096  # bytes
_SUFFIXES: Final[Mapping[str, Format]] = {
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".txt": "names",
    ".list": "names",
}


def read(source: Source, *, format: str | None = None) -> Iterator[dict[str, Any]]:
    """Yield the records of a list, as `bookkeeper.files.declare` takes them.

    CSV and TSV have a header; columns that no file has are metadata, and a column whose every value is a number, or
    true or false, is read as such (not so numbers with leading zeros). ``location`` and ``url`` hold one location,
    ``locations`` several with spaces between. A record that has a ``path`` and no ``size`` names a file to be looked
    at; a list of names has only such. Relative locations and paths are those of the working folder.
    Raises `UsageError` naming list, line or record, and field; `NotFound` where there is no such list.
    """
    with _as_file(source) as (path, name):
        yield from _records(path, name, _format(path, name, format))


def names(source: Source, *, format: str | None = None) -> Iterator[str]:
    """Yield the names in a list: its lines, or ``name`` of each record. Raises as `read`."""
    with _as_file(source) as (path, name):
        kind = _format(path, name, format)
        if kind == "names":
            yield from _lines(path, name)
            return
        for number, record in enumerate(_records(path, name, kind), start=1):
            if not isinstance(record.get("name"), str):
                raise UsageError(f"{name}, record {number}: there is no name", remedy="give each record a name")
            yield record["name"]


def _records(path: Path, name: str, kind: Format) -> Iterator[dict[str, Any]]:
    if kind == "json":
        return objects(json_array(path, name))
    if kind == "jsonl":
        return objects(json_lines(path, name))
    if kind == "names":
        return ({"path": absolute(line)} for line in _lines(path, name))
    return table(path, name, kind)


@contextmanager
def _as_file(source: Source) -> Iterator[tuple[Path, str]]:
    """Give the list as a file that can be read twice, and what to call it in messages."""
    if source != "-" and isinstance(source, str | os.PathLike):
        path = Path(source)
        try:
            path.stat()
        except FileNotFoundError:
            raise NotFound(f"there is no list {path}", remedy="check the path; `-` reads standard input") from None
        except (OSError, ValueError) as error:
            raise UsageError(f"the list {str(path)[:200]!r} cannot be read: {error}") from None
        if path.is_file():
            yield path, str(path)
            return
        if path.is_dir():
            raise UsageError(f"{path} is a folder, not a list of files", remedy="name a file, or declare the folder")
    with ExitStack() as stack:
        if source == "-":
            stream: IO[bytes] = sys.stdin.buffer
            name = "standard input"
        elif isinstance(source, str | os.PathLike):  # a pipe
            stream, name = stack.enter_context(Path(source).open("rb")), str(source)
        else:
            stream, name = source, str(getattr(source, "name", "the list"))
        copy = stack.enter_context(tempfile.NamedTemporaryFile(prefix="bookkeeper-list-"))
        shutil.copyfileobj(stream, copy)
        copy.flush()
        yield Path(copy.name), name


def _format(path: Path, name: str, given: str | None) -> Format:
    if given is not None:
        for known in FORMATS:
            if given == known:
                return known
        raise UsageError(f"{given!r} is no format of a list", remedy=f"it is one of {', '.join(FORMATS)}")
    suffix = _SUFFIXES.get(Path(name).suffix.lower())
    if suffix is not None:
        return suffix
    try:
        with path.open("rb") as stream:
            return _looks(stream.read(_HEAD))
    except OSError as error:
        raise unreadable(name, error) from error


def _looks(head: bytes) -> Format:
    """Return the format that the first bytes of a list look like."""
    head = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if head[:1] == b"[":
        return "json"
    if head[:1] == b"{":
        return "jsonl"
    header = head.partition(b"\n")[0].decode("utf-8", "replace").strip()
    columns: dict[Format, list[str]] = {"tsv": header.split("\t"), "csv": header.split(",")}
    for kind, named in columns.items():
        if len(named) > 1 and {"name", "path"} & {column.strip(' "') for column in named}:
            return kind
    return "names"


def _lines(path: Path, name: str) -> Iterator[str]:
    """Yield the lines that say something: not those that are empty or begin with ``#``."""
    for number, raw in raw_lines(path, name):
        line = decoded(raw, f"{name}, line {number}").strip()
        if line and not line.startswith("#"):
            yield line
