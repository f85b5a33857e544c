"""The few things that copying and publishing need from a storage, whatever it is.

Methods raise `OSError` as the operating system does (`FileNotFoundError`, `FileExistsError`, …); the verbs above
turn it into words. Other errors of a driver come out as `StorageError`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from bookkeeper.checksums import Adler32
from bookkeeper.stageout.names import is_local


@dataclass(frozen=True, slots=True)
class Entry:
    """What lies at an address, or one line of a folder's listing.

    ``size`` in bytes, -1 where the storage does not tell; ``modified`` in epoch seconds where the storage tells; ``identity`` is the same for two names of
    one file, `None` where the storage knows no such thing.
    """

    name: str
    is_file: bool
    size: int
    modified: float | None = None
    identity: tuple[int, int] | None = None


class Sink(Protocol):
    """An object being written, once, from its start to its end."""

    def write(self, piece: memoryview) -> None:
        """Write all of ``piece``."""

    def finish(self) -> None:
        """Bring everything to the storage, for good, and close."""

    def abandon(self) -> None:
        """Close, whatever was written."""


class Store(Protocol):
    """A storage. Addresses are those of `names.resolve`."""

    # Publishing copies or may replace: only one publisher at a time may do it.
    needs_one_publisher: bool
    # `place` makes a second physical copy, which must be proved before the first goes.
    copies: bool

    def look(self, url: str) -> Entry | None:
        """Return what is at ``url`` itself (a link is not followed), `None` if nothing."""

    def list(self, url: str) -> Iterator[Entry]:
        """Return what is directly in a folder; nothing if there is no such folder."""

    def measure(self, url: str, on_chunk: Callable[[int], None] | None = None) -> tuple[int, str]:
        """Read an object from the storage, past any cache, and return (size, checksum)."""

    def pieces(self, url: str) -> Iterator[bytes]:
        """Read an object from its start to its end, a piece at a time."""

    def proof(self, url: str, on_chunk: Callable[[int], None] | None = None) -> tuple[int, str]:
        """Return what lies there now as (size, checksum): as the storage computes it anew, or as `measure` reads it."""

    def read_small(self, url: str) -> bytes | None:
        """Return the content of a small object, `None` if there is none."""

    def write_small(self, url: str, data: bytes, *, replace: bool) -> None:
        """Make a small object whole or not at all; `FileExistsError` if it is there and not to be replaced."""

    def make_folder(self, url: str) -> None:
        """Make a folder and its parents where missing."""

    def create(self, url: str, size: int) -> Sink:
        """Open a new object of ``size`` bytes in a folder that is made if missing (its parent is not).

        `FileExistsError` if it is there.
        """

    def place(self, temporary: str, final: str) -> None:
        """Give an object its final name, for good, replacing nothing; the temporary name may stay."""

    def take_back(self, final: str) -> None:
        """Delete a final object that `place` made just now, and that is not what it should be."""

    def abort_uploads(self, folder: str, before: float) -> int:
        """Give up uploads below a folder that began before that time and never became objects; return how many."""

    def settle(self, final: str) -> None:
        """Make a final name that is there already survive a power loss."""

    def remove(self, url: str) -> bool:
        """Delete an object; return whether there was one."""

    def remove_folder(self, url: str) -> bool:
        """Delete a folder if it is empty; return whether it was and is gone."""


def measured(pieces: Iterable[bytes], on_chunk: Callable[[int], None] | None = None) -> tuple[int, str]:
    """Return (size, checksum) of what is read piece by piece; ``on_chunk`` is told the length of each."""
    running, size = Adler32(), 0
    for piece in pieces:
        running.update(piece)
        size += len(piece)
        if on_chunk is not None:
            on_chunk(len(piece))
    return size, str(running)


def store_of(address: str) -> Store:
    """Return the storage that an address (of `names.resolve`) lies in."""
    if is_local(address):
        from bookkeeper.stageout.local import LocalStore

        return LocalStore()
    if address.startswith(("root://", "roots://")):
        from bookkeeper.stageout.xrootd import XRootDStore

        return XRootDStore(address)
    if address.startswith(("s3://", "s3a://")):
        from bookkeeper.stageout.s3 import S3Store

        return S3Store(address)
    if address.startswith(("dav://", "davs://")):
        from bookkeeper.stageout.webdav import DavStore

        return DavStore(address)
    from bookkeeper.stageout.remote import RemoteStore

    return RemoteStore(address)
