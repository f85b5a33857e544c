"""`DeliveredFile`: one input of a process, and what its job says of it."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from bookkeeper.errors import FileChanged, NotAllowed, StorageError, UsageError
from bookkeeper.protocol import FileInfo, FileMark, Mark

if TYPE_CHECKING:
    from bookkeeper.process.process import Process


class DeliveredFile:
    """A file that a process was given.

    ``size`` is in bytes, ``locations`` are absolute paths or URLs.
    """

    __slots__ = ("_last", "_process", "bytes_read", "changed", "entries_read", "info", "reason")

    def __init__(self, process: Process, info: FileInfo) -> None:
        self._process = process
        self.info = info
        self._last = Mark.UNREAD
        self.entries_read: int | None = None
        self.bytes_read: int | None = None
        self.reason: str | None = None
        self.changed = False

    def __repr__(self) -> str:
        return f"<DeliveredFile {self.name} {self.state}>"

    @property
    def state(self) -> str:
        """What this job knows: delivered, opened, consumed, skipped or failed."""
        return "delivered" if self._last is Mark.UNREAD else self._last.value

    @property
    def id(self) -> int:
        """The file's number in the catalog."""
        return self.info.id

    @property
    def name(self) -> str:
        """The logical name."""
        return self.info.name

    @property
    def size(self) -> int:
        """The pinned size in bytes."""
        return self.info.size

    @property
    def checksum(self) -> str | None:
        """The pinned checksum, ``adler32:0a1b2c3d``, where one is known."""
        return self.info.checksum

    @property
    def entries(self) -> int | None:
        """The catalogued number of entries, where known."""
        return self.info.entries

    @property
    def locations(self) -> tuple[str, ...]:
        """Where copies lie: absolute paths or URLs."""
        return self.info.locations

    def location(self, *, checksum: bool = False) -> str:
        """Return the first location that answers with the pinned size; with ``checksum``, all of it is read and compared.

        Raises `FileChanged` where one answers with another size or checksum, `StorageError` where none answers; the file
        is `failed` then (and parked, where it changed).
        """
        problems: list[str] = []
        for place in self.locations:
            found = _size_of(place)
            if found == self.size:
                if checksum:
                    self._require_checksum(place)
                return place
            if isinstance(found, int):
                raise self._changed(f"{place}: {found} bytes, {self.size} declared")
            problems.append(f"{place}: {found}")
        reason = "; ".join(problems) or "it has no location"
        self.unusable(f"cannot be reached: {reason}")
        raise StorageError(
            f"{self.name} cannot be reached: {reason}", remedy="`bookkeeper file locate` shows its locations"
        )

    def require_unchanged(self) -> None:
        """Raise `FileChanged` where a copy can be looked at and has not the pinned size; the file is `failed` then."""
        for place in self.locations:
            found = _size_of(place)
            if found == self.size:
                return
            if isinstance(found, int):
                raise self._changed(f"{place}: {found} bytes, {self.size} declared")

    def _require_checksum(self, place: str) -> None:
        if self.checksum is None:
            raise UsageError(f"{self.name} was declared without a checksum", remedy="compare sizes only")
        found = _checksum_of(place)
        if found != self.checksum:
            raise self._changed(f"{place}: {found}, {self.checksum} declared")

    def _changed(self, difference: str) -> FileChanged:
        self.unusable(f"changed since it was declared: {difference}", changed=True)
        return FileChanged(f"{self.name} is not what was declared: {difference}")

    def unusable(self, reason: str, *, changed: bool = False) -> None:
        """Fail the file; in a partition, which is whole or not at all, only note it for the roll back."""
        if self._process.started.partitioned:
            self.decided(Mark.FAILED, reason=reason, changed=changed)
        else:
            self.failed(reason, changed=changed)

    @contextlib.contextmanager
    def open(self, *, checksum: bool = False) -> Iterator[str]:
        """Give the path (or URL) to read; opened when the block begins, consumed when it ends without an exception.

        Before, its size, and with ``checksum`` all of it, is compared with what was declared: see `location`.
        """
        place = self.location(checksum=checksum)
        self.opened()
        yield place
        if self.state == "opened":
            self._process._later(self, Mark.CONSUMED)

    def opened(self) -> None:
        """Say that reading begins."""
        self._process._mark(self, Mark.OPENED)

    def consumed(self, entries: int | None = None, bytes: int | None = None) -> None:
        """Say that reading ended and the output contains the file."""
        self.entries_read, self.bytes_read = entries, bytes
        self._process._mark(self, Mark.CONSUMED)

    def skipped(self, reason: str) -> None:
        """Say that the file was left out on purpose: nothing of it is in the output."""
        self.reason = reason
        self._process._mark(self, Mark.SKIPPED)

    def failed(self, reason: str, *, changed: bool = False) -> None:
        """Say that the file could not be read: nothing of it is in the output. ``changed`` parks it at once."""
        self.reason, self.changed = reason, changed
        self._process._mark(self, Mark.FAILED)

    def decided(
        self,
        mark: Mark,
        *,
        entries: int | None = None,
        bytes: int | None = None,
        reason: str | None = None,
        changed: bool = False,
    ) -> None:
        """Note what became of the file without a call to the catalog: the manifest, or the roll back, will tell it."""
        self.entries_read, self.bytes_read, self.reason, self.changed = entries, bytes, reason, changed
        self._process._advance(self, mark)

    def _as_mark(self, mark: Mark) -> FileMark:
        return FileMark(self.id, mark, self.entries_read, self.bytes_read, self.reason, self.changed)

    def _verdict(self) -> FileMark:
        return self._as_mark(self._last)


def refuse_undecided(files: Collection[DeliveredFile], *, made: bool) -> None:
    """Raise `NotAllowed` where the files cannot be committed as they are: one is still open, or an output was made of none.

    A file of which nothing is said comes again. If an output had it nevertheless, it would be there twice.
    """
    undecided = [file.name for file in files if file._last is Mark.OPENED]
    if undecided:
        raise NotAllowed(
            f"{', '.join(undecided[:3])} opened and neither consumed, skipped nor failed",
            remedy="say what became of every opened file, then commit",
        )
    if made and files and all(file._last is Mark.UNREAD for file in files):
        raise NotAllowed(
            f"an output is stored, but nothing was said of the files of this process: {len(files)}",
            remedy="mark what is in the output as consumed (in Python: read it inside `with file.open()`)",
        )


def _size_of(place: str) -> int | str:
    """Return the size of the object at a path or URL, or why it cannot be told."""
    from bookkeeper import stageout

    try:
        if "://" not in place:
            return Path(place).stat().st_size
        return stageout.object_size(place)
    except OSError as error:
        return error.strerror or str(error)
    except StorageError as error:
        return str(error)


def _checksum_of(place: str) -> str:
    """Read the object at a path or URL and return its checksum. Raises `StorageError`."""
    from bookkeeper import stageout
    from bookkeeper.checksums import adler32_of

    if "://" in place:
        return stageout.measure(place)[1]
    try:
        return adler32_of(Path(place))
    except OSError as error:
        raise StorageError(f"{place} cannot be read: {error.strerror}") from error
