"""See what lies in a destination: objects, temporaries, and what a killed process left behind."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass

from bookkeeper.errors import StorageError
from bookkeeper.stageout.failures import translated
from bookkeeper.stageout.names import CLAIM, HIDDEN, join, parse_upload, resolve
from bookkeeper.stageout.stores import store_of


@dataclass(frozen=True, slots=True)
class Temporary:
    """An upload that lies under its temporary name: ``size`` in bytes, ``modified`` in epoch seconds if it is known."""

    url: str
    process_id: int
    nonce: str
    n: int
    name: str
    size: int
    modified: float | None


def exists(url: str | os.PathLike[str]) -> bool:
    """Tell whether anything lies at ``url``; `StorageError` if the storage cannot say."""
    address = resolve(url)
    with translated("look at", address):
        return store_of(address).look(address) is not None


def object_size(url: str | os.PathLike[str]) -> int:
    """Return the size of an object in bytes; `StorageError` if it is not there or no file."""
    address = resolve(url)
    with translated("look at", address):
        entry = store_of(address).look(address)
        if entry is None:
            raise FileNotFoundError(address)
    if not entry.is_file:
        raise StorageError(f"{address} is no file", remedy="name the file itself")
    if entry.size < 0:
        raise StorageError(f"the storage of {address} does not tell its size", remedy="serve it as a plain file")
    return entry.size


def measure(url: str | os.PathLike[str]) -> tuple[int, str]:
    """Read an object whole and return its size in bytes and its checksum; `StorageError` if it cannot be read."""
    address = resolve(url)
    with translated("read", address):
        return store_of(address).measure(address)


def pieces(url: str | os.PathLike[str]) -> Iterator[bytes]:
    """Read an object from its start to its end, a piece at a time; `StorageError` if it cannot be read."""
    address = resolve(url)
    with translated("read", address):
        yield from store_of(address).pieces(address)


def temporaries(destination: str | os.PathLike[str]) -> Iterator[Temporary]:
    """Return every temporary in a destination, of whatever process; what bookkeeper did not name is left out."""
    address = resolve(destination)
    hidden = join(address, HIDDEN)
    with translated("list", hidden):
        store = store_of(address)
        for folder in store.list(hidden):
            upload = parse_upload(folder.name)
            if upload is None or folder.is_file:
                continue
            for entry in store.list(join(hidden, folder.name)):
                if entry.is_file:
                    url = join(hidden, folder.name, entry.name)
                    yield Temporary(url, *upload, entry.name, entry.size, entry.modified)


def objects(destination: str | os.PathLike[str]) -> Iterator[tuple[str, int]]:
    """Return (address, size in bytes) of every file directly in a destination that is not hidden."""
    address = resolve(destination)
    with translated("list", address):
        for entry in store_of(address).list(address):
            if entry.is_file and not entry.name.startswith("."):
                yield join(address, entry.name), entry.size


def tidy(destination: str | os.PathLike[str], *, older_than: float = 86400.0) -> int:
    """Delete empty upload folders, half-made claims and uncompleted uploads that a kill left, untouched for ``older_than`` seconds.

    Returns how many went. No temporary is touched: only the catalog knows which of those are still wanted.
    """
    address = resolve(destination)
    hidden = join(address, HIDDEN)
    before, gone = time.time() - older_than, 0
    with translated("tidy", hidden):
        store = store_of(address)
        gone += store.abort_uploads(hidden, before)
        for entry in store.list(hidden):
            if entry.modified is None or entry.modified > before:
                continue
            if entry.is_file:
                gone += entry.name.startswith(f"{CLAIM}.") and store.remove(join(hidden, entry.name))
            elif parse_upload(entry.name) is not None:
                gone += store.remove_folder(join(hidden, entry.name))
    return gone
