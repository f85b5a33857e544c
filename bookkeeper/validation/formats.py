"""Formats that the standard library can judge, by their suffix. Sources of the formats stand with each check."""

from __future__ import annotations

import importlib.util
import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import IO

from bookkeeper.errors import ValidationError
from bookkeeper.rootfile.source import Fault
from bookkeeper.validation import archives
from bookkeeper.validation.found import Found

CHUNK = 1 << 20
_JSON_WHOLE = 1 << 26
_PAGE = (b"<!doctype html", b"<html")


def prove_format(name: str, deep: bool) -> Found:
    """Prove a file that is no ROOT file by what its suffix says; `ValidationError` names file and fault."""
    found = Found()
    path = Path(name)
    try:
        with path.open("rb") as stream:
            beginning = stream.read(8)
            stream.seek(0)
            _by_suffix(path.name.lower())(stream, beginning, deep, found)
    except Fault as fault:
        raise ValidationError(f"{name}: {fault}") from fault
    except OSError as error:
        raise ValidationError(f"{name}: it cannot be read: {error.strerror or error}") from error
    return found


Check = Callable[[IO[bytes], bytes, bool, Found], None]


def _by_suffix(name: str) -> Check:
    """Return the check of a format; archives of archives are judged from the inside."""
    if name.endswith((".tar", ".tar.gz", ".tar.bz2", ".tar.xz", ".tgz", ".tbz2", ".txz")):
        return _tar
    return _CHECKS.get(Path(name).suffix, _unknown)


def _archive(kind: str, magic: tuple[bytes, ...], read: Callable[[IO[bytes]], None]) -> Check:
    """Make the check of a packed format: its first bytes, and, deep, everything unpacked."""

    def check(stream: IO[bytes], beginning: bytes, deep: bool, found: Found) -> None:
        if not beginning.startswith(magic):
            raise Fault(kind, f"it is none: it starts with {beginning!r}")
        if deep:
            archives.unpack(kind, read, stream)
            found.checks.append(f"the {kind} unpacks to its end")
        else:
            found.unproved.append(f"the {kind} was not unpacked")

    return check


def _tar(stream: IO[bytes], beginning: bytes, deep: bool, found: Found) -> None:
    """A tar archive, packed or not, has no first bytes of its own: its first member tells."""
    archives.unpack("tar archive", archives.tar_head, stream)
    stream.seek(0)
    _archive("tar archive", (b"",), archives.tar)(stream, beginning, deep, found)


def _unknown(stream: IO[bytes], beginning: bytes, deep: bool, found: Found) -> None:
    """Accept anything that is not empty, and say that this proves little."""
    found.checks.append("it is not empty")
    found.unproved.append("its format is not known: nothing of its content was judged")


def _text(stream: IO[bytes], beginning: bytes, deep: bool, found: Found) -> None:
    """Refuse bytes that no text has, and an error page of a server's."""
    if stream.read(512).lstrip().lower().startswith(_PAGE):
        raise Fault("text", "it is a page of HTML")
    stream.seek(0)
    if deep:
        while chunk := stream.read(CHUNK):
            if b"\0" in chunk:
                raise Fault("text", "it holds NUL bytes: it is no text")
        found.checks.append("it is text")
        stream.seek(0)
    found.unproved.append("nothing tells whether lines are missing")


def _json(stream: IO[bytes], beginning: bytes, deep: bool, found: Found) -> None:
    """RFC 8259: one value, of which the end shows when it is missing."""
    size = os.fstat(stream.fileno()).st_size
    if beginning.lstrip()[:1] not in b'{["-0123456789tfn':
        raise Fault("JSON", f"it is none: it starts with {beginning!r}")
    if deep and size <= _JSON_WHOLE:
        _loads(stream.read(), "JSON")
        found.checks.append("it is one JSON value")
    else:
        found.unproved.append("the JSON was not parsed" + (f": it has more than {_JSON_WHOLE} bytes" if deep else ""))


def _json_lines(stream: IO[bytes], beginning: bytes, deep: bool, found: Found) -> None:
    """A JSON value a line; the last line must be ended."""
    if not deep:
        return _json(stream, beginning, deep, found)
    number, line = 0, b""
    while line := stream.readline(_JSON_WHOLE) or b"":
        number += 1
        if not line.endswith(b"\n"):
            raise Fault(f"line {number}", "it has no end")
        if line.strip():
            _loads(line, f"line {number}")
    found.checks.append(f"each of its {number} lines is JSON")
    found.unproved.append("nothing tells whether lines are missing")
    return None


def _loads(data: bytes, thing: str) -> None:
    try:
        json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Fault(thing, f"it cannot be parsed: {error}") from error


def _parquet(stream: IO[bytes], beginning: bytes, deep: bool, found: Found) -> None:
    """Apache Parquet, ``README.md``: the magic at both ends, the length of the footer before the last."""
    size = os.fstat(stream.fileno()).st_size
    stream.seek(max(0, size - 8))
    length, end = struct.unpack("<I4s", stream.read(8).rjust(8, b"\0"))
    if size < 12 or beginning[:4] not in (b"PAR1", b"PARE") or end != beginning[:4] or length > size - 12:
        raise Fault("parquet", "it does not begin, or does not end, as one: it is another file or truncated")
    if deep and importlib.util.find_spec("pyarrow"):
        archives.unpack("parquet", archives.parquet, stream)
        found.checks.append("every row group was read")
    else:
        found.unproved.append("row groups were not read" + (": pyarrow is not installed" if deep else ""))


def _hdf5(stream: IO[bytes], beginning: bytes, deep: bool, found: Found) -> None:
    """HDF5 File Format Specification, III.A: the superblock at 0, 512, 1024, … states where the file ends."""
    size = os.fstat(stream.fileno()).st_size
    place = 0
    while place + 64 <= size:
        stream.seek(place)
        block = stream.read(64)
        if block[:8] == b"\x89HDF\r\n\x1a\n":
            break
        place = place * 2 or 512
    else:
        raise Fault("HDF5", f"it is none: it starts with {beginning!r}")
    version = block[8]
    width = block[13] if version < 2 else block[9]
    if version > 3 or width not in (2, 4, 8):
        raise Fault("HDF5", "its superblock is none")
    addresses = {0: 24, 1: 28}.get(version, 12)
    end = int.from_bytes(block[addresses + 2 * width :][:width], "little")
    if end > size:
        raise Fault("HDF5", f"it is truncated: {size} of {end} bytes are there")
    found.checks.append("it has the size that its superblock states")
    found.unproved.append("the content of its data sets was not read")


_CHECKS: dict[str, Check] = {
    ".json": _json,
    ".jsonl": _json_lines,
    ".csv": _text,
    ".gz": _archive("gzip file", (b"\x1f\x8b",), archives.gzip_),
    ".bz2": _archive("bzip2 file", (b"BZh",), archives.bzip2),
    ".xz": _archive("xz file", (b"\xfd7zXZ\0",), archives.xz),
    ".zip": _archive("zip archive", (b"PK\3\4", b"PK\5\6"), archives.zip_),
    ".npz": _archive("NumPy archive", (b"PK\3\4", b"PK\5\6"), archives.npz),
    ".npy": _archive("NumPy array", (b"\x93NUMPY",), archives.npy),
    ".parquet": _parquet,
    ".h5": _hdf5,
    ".hdf5": _hdf5,
}
