"""Storage behind a URL, through fsspec. What it promises is what its driver does: no exclusive names, no fsync.

So temporaries are never reused (their names are unique), every upload is read back, and publishing needs a caller
who promises to be the only publisher.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from datetime import datetime
from typing import Any

from bookkeeper.drivers import filesystem, named
from bookkeeper.errors import StorageError
from bookkeeper.stageout.names import parent
from bookkeeper.stageout.stores import Entry, Sink, measured

BLOCK = 4 << 20


class RemoteSink:
    """A remote object being written."""

    driver = staticmethod(named)

    def __init__(self, url: str, stream: Any) -> None:
        self.url = url
        self.stream = stream

    def write(self, piece: memoryview) -> None:
        """Write all of ``piece``; as bytes, because some drivers keep or measure what they are given."""
        with self.driver(self.url):
            self.stream.write(bytes(piece))

    def finish(self) -> None:
        """Send what is buffered and complete the object."""
        with self.driver(self.url):
            self.stream.close()

    def abandon(self) -> None:
        """Close, which on many stores completes a partial object: the caller removes it."""
        with suppress(OSError, StorageError), self.driver(self.url):
            self.stream.close()


class RemoteStore:
    """Any storage that fsspec reaches."""

    needs_one_publisher = True

    def __init__(self, url: str) -> None:
        from fsspec import AbstractFileSystem

        self.fs = filesystem(url)[0]
        # fsspec's own mv is a copy and a delete; drivers with a rename of their own override it.
        self.copies = type(self.fs).mv is AbstractFileSystem.mv

    def driver(self, url: str) -> AbstractContextManager[None]:
        """Name the object in what the driver raises that is no `OSError`."""
        return named(url)

    def look(self, url: str) -> Entry | None:
        """Return what is at ``url``, asked anew, `None` if nothing."""
        with self.driver(url):
            self.fs.invalidate_cache()
            try:
                return self._entry(self.fs.info(self._path(url)))
            except FileNotFoundError:
                return None

    def list(self, url: str) -> Iterator[Entry]:
        """Return what is directly in a folder, by name."""
        with self.driver(url):
            self.fs.invalidate_cache()
            try:
                path = self._path(url)
                # Some stores list a folder among its own content.
                listed = [info for info in self.fs.ls(path, detail=True) if info["name"].strip("/") != path.strip("/")]
                found = [self._entry(info) for info in listed]
            except FileNotFoundError:
                return
        yield from sorted(found, key=lambda entry: entry.name)

    def measure(self, url: str, on_chunk: Callable[[int], None] | None = None) -> tuple[int, str]:
        """Read an object through a new file object without a cache and return (size, checksum)."""
        return measured(self.pieces(url), on_chunk)

    def pieces(self, url: str) -> Iterator[bytes]:
        """Read an object from its start to its end, through a new file object without a cache."""
        with self.driver(url):
            self.fs.invalidate_cache()
            stream = self.fs.open(self._path(url), "rb", cache_type="none")
        try:
            while True:
                with self.driver(url):
                    piece = stream.read(BLOCK)
                if not piece:
                    return
                yield piece
        finally:
            stream.close()

    def proof(self, url: str, on_chunk: Callable[[int], None] | None = None) -> tuple[int, str]:
        """Return what `measure` reads."""
        return self.measure(url, on_chunk)

    def read_small(self, url: str) -> bytes | None:
        """Return the content of a small object, `None` if there is none."""
        with self.driver(url):
            self.fs.invalidate_cache()
            try:
                return bytes(self.fs.cat_file(self._path(url)))
            except FileNotFoundError:
                return None

    def write_small(self, url: str, data: bytes, *, replace: bool) -> None:
        """Write a small object; exclusively if the driver can, else after having looked."""
        if not replace and self.look(url) is not None:
            raise FileExistsError(url)
        with self.driver(url):
            stream = None
            if not replace:
                with suppress(ValueError, NotImplementedError):  # mode "x" is an offer that few drivers make
                    stream = self.fs.open(self._path(url), "xb")
            if stream is None:
                stream = self.fs.open(self._path(url), "wb")
            with stream:
                stream.write(data)

    def make_folder(self, url: str) -> None:
        """Make a folder and its parents, where the storage has folders."""
        with self.driver(url):
            self.fs.makedirs(self._path(url), exist_ok=True)

    def create(self, url: str, size: int) -> Sink:
        """Open a new object; that its name is new is looked up, and kept by the uniqueness of temporary names."""
        if self.look(url) is not None:
            raise FileExistsError(url)
        self.make_folder(parent(url))
        with self.driver(url):
            return RemoteSink(url, self.fs.open(self._path(url), "wb"))

    def place(self, temporary: str, final: str) -> None:
        """Rename an object, or copy it where the storage has no rename; the caller saw that the final name is free."""
        with self.driver(final):
            if self.copies:
                self.fs.cp_file(self._path(temporary), self._path(final))
            else:
                self.fs.mv(self._path(temporary), self._path(final))

    def take_back(self, final: str) -> None:
        """Delete a final object that `place` made and that is not what it should be."""
        self.remove(final)

    def abort_uploads(self, folder: str, before: float) -> int:
        """Do nothing: what was not completed is seen as an object, if at all."""
        return 0

    def settle(self, final: str) -> None:
        """Do nothing: what a remote storage has acknowledged is its to keep."""

    def remove(self, url: str) -> bool:
        """Delete an object; return whether there was one."""
        if self.look(url) is None:
            return False
        with self.driver(url):
            try:
                self.fs.rm_file(self._path(url))
            except FileNotFoundError:
                return False
        return True

    def remove_folder(self, url: str) -> bool:
        """Delete a folder if it is empty; return whether it was and is gone. Object stores have none to delete."""
        if self.look(url) is None or any(True for _ in self.list(url)):
            return False
        try:
            with self.driver(url):
                self.fs.rmdir(self._path(url))
        except (OSError, StorageError):  # drivers disagree on what they raise; the folder is empty and does no harm
            return False
        return True

    def _path(self, url: str) -> str:
        """Return what the driver calls the object: not all of them strip the protocol everywhere."""
        return str(self.fs._strip_protocol(url))

    def _entry(self, info: dict[str, Any]) -> Entry:
        name = str(info["name"]).rstrip("/").rpartition("/")[2]
        size = info.get("size")
        is_file = info.get("type") == "file"
        return Entry(name, is_file, int(size or 0) if size is not None or not is_file else -1, _modified(info))


def _modified(info: dict[str, Any]) -> float | None:
    """Return the time that a driver gives, under the names that drivers use, as epoch seconds."""
    for key in ("mtime", "LastModified", "last_modified", "modified", "updated", "created"):
        value = info.get(key)
        if isinstance(value, int | float):
            return float(value)
        if isinstance(value, datetime):
            return value.timestamp()
    return None
