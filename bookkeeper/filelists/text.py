"""What all formats of lists share: lines of text, absolute locations, and what is said of a list that cannot be read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from bookkeeper.errors import StorageError, UsageError

LONGEST: Final = 16 << 20
"""Bytes or characters that one record may have."""


def raw_lines(path: Path, name: str) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a file and their numbers, without the byte order mark."""
    try:
        with path.open("rb") as stream:
            number = 0
            while raw := stream.readline(LONGEST + 1):
                number += 1
                if len(raw) > LONGEST:
                    raise UsageError(f"{name}, line {number}: the line is longer than {LONGEST >> 20} MB")
                yield number, raw.removeprefix(b"\xef\xbb\xbf") if number == 1 else raw
    except OSError as error:
        raise unreadable(name, error) from error


def decoded(raw: bytes, where: str) -> str:
    """Return UTF-8 as text. Raises `UsageError`."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{where}: this is not UTF-8 ({error.reason})", remedy="convert the list to UTF-8") from None


def absolute_all(locations: Any) -> Any:
    """Return locations, absolute where they are texts; what else there is goes on as it is, to be refused."""
    if isinstance(locations, str):
        locations = [locations]
    if not isinstance(locations, list):
        return locations
    return [absolute(location) if isinstance(location, str) else location for location in locations]


def absolute(location: str) -> str:
    """Return a URL as it is, and a path from the working folder on."""
    return location if "://" in location else os.path.abspath(location)  # noqa: PTH100 - a text, not a Path


def unreadable(name: str, error: OSError) -> StorageError:
    """Return the error for a list that the system does not let us read."""
    return StorageError(f"{name} cannot be read: {error.strerror}", remedy="check the path and its permissions")
