"""Storage behind ``root://``, through XRootD's own client: exclusive creation, its rename, and the server's Adler-32.

The server numbers its errors (kXR_…, XProtocol.hh); those that the operating system knows too are told as it tells them.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final

from bookkeeper.errors import UsageError
from bookkeeper.stageout.stores import Entry, measured

BLOCK: Final = 4 << 20

PATIENCE: Final = 60
"""Seconds for one answer of a server; a checksum, which it has to read the file for, has an hour."""

_ERRNO: Final = {
    3002: errno.ENAMETOOLONG,
    3003: errno.EBUSY,
    3005: errno.EIO,
    3007: errno.EIO,
    3009: errno.ENOSPC,
    3010: errno.EACCES,
    3011: errno.ENOENT,
    3015: errno.EISDIR,
    3016: errno.EISDIR,
    3018: errno.EEXIST,
    3021: errno.EDQUOT,
    3025: errno.EROFS,
    3032: errno.ETIMEDOUT,
}


def _xrootd() -> Any:
    try:
        from XRootD import client
    except ImportError as error:
        raise UsageError(
            "root:// needs XRootD's client, which is not installed here",
            remedy="`pip install 'sam-bookkeeper[xrootd]'`",
        ) from error
    return client


def _check(status: Any, url: str) -> None:
    """Raise the `OSError` that an answer is, if it is none; without a number that is known, with the client's words."""
    if status.ok:
        return
    message = " ".join(str(status.message).replace("\0", " ").split())
    number = _ERRNO.get(int(status.errno), 0)
    if number:
        raise OSError(number, os.strerror(number), url)
    raise OSError(0, message, url)


class XRootDSink:
    """An object being written, which nobody else created."""

    def __init__(self, url: str) -> None:
        from XRootD.client.flags import OpenFlags

        self.url, self._offset = url, 0
        self._file = _xrootd().File()
        status, _ = self._file.open(url, OpenFlags.NEW | OpenFlags.MAKEPATH, timeout=PATIENCE)
        _check(status, url)

    def write(self, piece: memoryview) -> None:
        """Write all of ``piece``."""
        for start in range(0, len(piece), BLOCK):
            data = bytes(piece[start : start + BLOCK])
            status, _ = self._file.write(data, self._offset, len(data), timeout=PATIENCE)
            _check(status, self.url)
            self._offset += len(data)

    def finish(self) -> None:
        """Let the server bring everything to its disk, and close."""
        for status, _ in (self._file.sync(timeout=PATIENCE), self._file.close(timeout=PATIENCE)):
            _check(status, self.url)

    def abandon(self) -> None:
        """Close, whatever was written."""
        with suppress(OSError, ValueError):
            self._file.close(timeout=PATIENCE)


class XRootDStore:
    """A storage that speaks XRootD."""

    needs_one_publisher = True  # its rename is the server's: not every one refuses to replace
    copies = False

    def __init__(self, url: str) -> None:
        client = _xrootd()
        address = client.URL(url)
        if not address.is_valid():
            raise UsageError(f"{url} is no address of XRootD", remedy="root://host:port//absolute/path")
        self._client = client
        self._server = client.FileSystem(f"{address.protocol}://{address.hostid}")

    def look(self, url: str) -> Entry | None:
        """Return what is at ``url``, `None` if nothing."""
        status, found = self._server.stat(_path(url), timeout=PATIENCE)
        try:
            _check(status, url)
        except FileNotFoundError:
            return None
        return _entry(url.rpartition("/")[2], found)

    def list(self, url: str) -> Iterator[Entry]:
        """Return what is directly in a folder, by name."""
        from XRootD.client.flags import DirListFlags

        status, found = self._server.dirlist(_path(url), DirListFlags.STAT, timeout=PATIENCE)
        try:
            _check(status, url)
        except FileNotFoundError:
            return
        for one in sorted(found, key=lambda entry: str(entry.name)):
            entry = self.look(f"{url}/{one.name}") if one.statinfo is None else _entry(one.name, one.statinfo)
            if entry is not None:
                yield entry

    def measure(self, url: str, on_chunk: Callable[[int], None] | None = None) -> tuple[int, str]:
        """Read an object and return (size, checksum)."""
        return measured(self.pieces(url), on_chunk)

    def pieces(self, url: str) -> Iterator[bytes]:
        """Read an object from its start to its end."""
        from XRootD.client.flags import OpenFlags

        file, offset = self._client.File(), 0
        _check(file.open(url, OpenFlags.READ, timeout=PATIENCE)[0], url)
        try:
            while True:
                status, piece = file.read(offset, BLOCK, timeout=PATIENCE)
                _check(status, url)
                if not piece:
                    return
                yield piece
                offset += len(piece)
        finally:
            file.close(timeout=PATIENCE)

    def proof(self, url: str, on_chunk: Callable[[int], None] | None = None) -> tuple[int, str]:
        """Return size and Adler-32 as the server computes it; where it offers none, as `measure` reads them."""
        from XRootD.client.flags import QueryCode

        status, answer = self._server.query(QueryCode.CHECKSUM, _path(url), timeout=60 * PATIENCE)
        said = bytes(answer or b"").replace(b"\0", b" ").decode("ascii", "replace").split()
        if not status.ok or len(said) != 2 or said[0] != "adler32" or not re.fullmatch(r"[0-9a-fA-F]{1,8}", said[1]):
            return self.measure(url, on_chunk)
        there = self.look(url)
        return (there.size if there else -1), f"adler32:{said[1].lower().zfill(8)}"

    def read_small(self, url: str) -> bytes | None:
        """Return the content of a small object, `None` if there is none."""
        try:
            return b"".join(self.pieces(url))
        except FileNotFoundError:
            return None

    def write_small(self, url: str, data: bytes, *, replace: bool) -> None:
        """Make a small object; exclusively, unless it may replace what is there."""
        if replace:
            self.remove(url)
        sink = XRootDSink(url)
        try:
            sink.write(memoryview(data))
            sink.finish()
        except OSError:
            sink.abandon()
            raise

    def make_folder(self, url: str) -> None:
        """Make a folder and its parents."""
        from XRootD.client.flags import MkDirFlags

        with suppress(FileExistsError):
            _check(self._server.mkdir(_path(url), MkDirFlags.MAKEPATH, timeout=PATIENCE)[0], url)

    def create(self, url: str, size: int) -> XRootDSink:
        """Open a new object."""
        return XRootDSink(url)

    def place(self, temporary: str, final: str) -> None:
        """Rename an object; the caller saw that the final name is free, and nobody else publishes."""
        _check(self._server.mv(_path(temporary), _path(final), timeout=PATIENCE)[0], final)

    def take_back(self, final: str) -> None:
        """Delete a final object."""
        self.remove(final)

    def abort_uploads(self, folder: str, before: float) -> int:
        """Do nothing: what was not completed is seen as an object."""
        return 0

    def settle(self, final: str) -> None:
        """Do nothing: what a server has acknowledged is its to keep."""

    def remove(self, url: str) -> bool:
        """Delete an object; return whether there was one."""
        try:
            _check(self._server.rm(_path(url), timeout=PATIENCE)[0], url)
        except FileNotFoundError:
            return False
        return True

    def remove_folder(self, url: str) -> bool:
        """Delete a folder if it is empty; return whether it was and is gone."""
        if any(True for _ in self.list(url)):
            return False
        try:
            _check(self._server.rmdir(_path(url), timeout=PATIENCE)[0], url)
        except OSError:  # the folder is empty and does no harm
            return False
        return True


def _path(url: str) -> str:
    """Return the path on the server: ``root://host//a/b`` is ``/a/b`` there."""
    return "/" + url.partition("://")[2].partition("/")[2].lstrip("/")


def _entry(name: str, found: Any) -> Entry:
    from XRootD.client.flags import StatInfoFlags

    odd = found.flags & (StatInfoFlags.IS_DIR | StatInfoFlags.OTHER)
    return Entry(name, not odd, int(found.size), float(found.modtime))
