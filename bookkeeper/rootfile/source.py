"""Random access to the bytes of a file, and a reader that never walks off their end."""

from __future__ import annotations

import os
import struct
import threading
from pathlib import Path
from typing import IO, Any, Protocol

from bookkeeper.drivers import filesystem, named


class Fault(Exception):
    """Something in a file is not what the format says: which object, and what is wrong with it.

    Internal to the readers; `validation` and `scan` translate it to `ValidationError` with the file's name.
    """

    def __init__(self, thing: str, what: str) -> None:
        super().__init__(f"{thing}: {what}")
        self.thing = thing
        self.what = what


class Unfamiliar(Fault):
    """A part of the format that this reader does not know, though another one may."""


class Source(Protocol):
    """Bytes at offsets. Safe to read from several threads."""

    size: int
    name: str

    def read(self, offset: int, count: int) -> bytes:
        """Return exactly ``count`` bytes at ``offset``; `Fault` where the file has fewer."""

    def close(self) -> None:
        """Release the file."""


def _within(source: Source, offset: int, count: int) -> None:
    """Refuse a range outside the file before anything is allocated for it."""
    if offset < 0 or count < 0 or offset + count > source.size:
        raise Fault("file", f"bytes {offset} to {offset + count} are claimed, but it has {source.size} bytes")


class LocalSource:
    """A file of this host, read by position without a shared cursor."""

    __slots__ = ("_fd", "name", "size")

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.name = os.fspath(path)
        self._fd = os.open(self.name, os.O_RDONLY)
        self.size = os.fstat(self._fd).st_size

    def read(self, offset: int, count: int) -> bytes:
        """Return exactly ``count`` bytes at ``offset``."""
        _within(self, offset, count)
        data = os.pread(self._fd, count, offset)
        while len(data) < count:  # a network file system may answer in parts
            more = os.pread(self._fd, count - len(data), offset + len(data))
            if not more:
                raise Fault("file", f"it ended at byte {offset + len(data)} while it was read")
            data += more
        return data

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._fd)


class RemoteSource:
    """A file that fsspec opens; its one cursor is guarded by a lock."""

    __slots__ = ("_lock", "_stream", "_system", "name", "size")

    def __init__(self, system: Any, path: str, name: str, size: int) -> None:
        self.name, self.size = name, size
        self._system = system  # an archive is closed when the last one to hold its file system lets go
        with named(name):
            self._stream: IO[bytes] = system.open(path, "rb")
        self._lock = threading.Lock()

    def read(self, offset: int, count: int) -> bytes:
        """Return exactly ``count`` bytes at ``offset``."""
        _within(self, offset, count)
        with self._lock, named(self.name):
            self._stream.seek(offset)
            data = self._stream.read(count)
        if len(data) != count:
            raise Fault("file", f"it ended at byte {offset + len(data)} while it was read")
        return data

    def close(self) -> None:
        """Close the stream."""
        self._stream.close()


def open_source(location: str | os.PathLike[str]) -> Source:
    """Open a local path or any URL that fsspec knows. Raises `OSError` as `open` does."""
    text = os.fspath(location)
    if "://" not in text:
        return LocalSource(Path(text))
    system, path = filesystem(text)
    with named(text):
        size = system.size(path)
    if size is None:
        raise OSError(f"{text}: the storage does not tell its size")
    return RemoteSource(system, path, text, int(size))


class Cursor:
    """Reads numbers and strings from bytes in order; running off their end is a `Fault` of ``thing``."""

    __slots__ = ("data", "end", "order", "position", "thing", "whole")

    def __init__(
        self, data: bytes, thing: str, position: int = 0, *, order: str = ">", whole: int | None = None
    ) -> None:
        self.data, self.thing, self.position, self.order = data, thing, position, order
        self.end = len(data)
        self.whole = self.end if whole is None else whole
        """Bytes of the object, of which the data may be only the beginning."""

    def fault(self, what: str) -> Fault:
        """Return the fault ``what`` of the thing being read."""
        return Fault(self.thing, what)

    def need(self, count: int) -> None:
        """Refuse unless ``count`` more bytes are there."""
        if count < 0 or self.position + count > self.end:
            raise self.fault(f"{count} bytes are claimed at {self.position}, {self.end - self.position} are there")

    def take(self, layout: str) -> tuple[Any, ...]:
        """Return the fields of a `struct` layout, in the reader's byte order."""
        layout = self.order + layout
        count = struct.calcsize(layout)
        self.need(count)
        fields = struct.unpack_from(layout, self.data, self.position)
        self.position += count
        return fields

    def one(self, layout: str) -> int:
        """Return a single integer of a `struct` layout."""
        value: int = self.take(layout)[0]
        return value

    def skip(self, count: int) -> None:
        """Pass over ``count`` bytes."""
        self.need(count)
        self.position += count

    def move(self, position: int) -> None:
        """Go to ``position``, which may not lie before this one."""
        self.skip(position - self.position)

    def raw(self, count: int) -> bytes:
        """Return the next ``count`` bytes."""
        self.need(count)
        self.position += count
        return self.data[self.position - count : self.position]

    def string(self) -> str:
        """Return a ROOT string: one length byte, or 255 and a four-byte length."""
        length = self.one("B")
        if length == 255:
            length = self.one("i")
        return self.raw(length).decode("utf-8", "replace")

    def terminated(self) -> str:
        """Return a string that a NUL byte ends."""
        stop = self.data.find(b"\0", self.position, self.position + 1024)
        if stop < 0:
            raise self.fault(f"the name at {self.position} has no end")
        text = self.raw(stop - self.position)
        self.skip(1)
        return text.decode("utf-8", "replace")
