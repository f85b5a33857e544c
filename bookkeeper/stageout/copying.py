"""Copy an output to its destination under a temporary name, and prove that it arrived whole."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from bookkeeper.checksums import Adler32, normalise
from bookkeeper.errors import StorageError
from bookkeeper.stageout.claims import require_standing
from bookkeeper.stageout.failures import translated
from bookkeeper.stageout.local import open_regular
from bookkeeper.stageout.names import parent, parse_temporary, resolve
from bookkeeper.stageout.stores import Sink, Store, store_of

BLOCK = 1 << 20
BUFFERS = 4  # of BLOCK bytes: what is read but not yet written


@dataclass(frozen=True, slots=True)
class Staged:
    """An output at its temporary address, read back: size in bytes, checksum as ``adler32:0a1b2c3d``."""

    size: int
    checksum: str
    url: str


def stage_out(
    source: str | os.PathLike[str],
    temp_url: str,
    *,
    expected_checksum: str | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Staged:
    """Copy the local file ``source`` to ``temp_url`` (see `temporary_url`), read it back, and return what lies there.

    One pass reads, hashes and writes; then the copy is synced, dropped from the page cache, and read from the storage.
    ``expected_checksum`` is the source's as of the end of the payload: a source that changed since is refused.
    ``on_progress(done, total)`` is called in this thread; ``total`` is twice the size, for each byte is written and read
    back; what it raises ends the copy.

    `StorageError` where the source is no regular file (a symbolic link is not followed) or changes, the destination
    vanished, is full or may not be written, the temporary exists already, or other bytes come back. Whatever is raised,
    this call's own temporary is removed first, as far as the storage lets it.
    """
    expected = None if expected_checksum is None else normalise(expected_checksum)
    names = parse_temporary(temp_url)
    url = resolve(temp_url)
    store = store_of(url)
    path = os.fspath(source)
    with open_source(path) as (descriptor, size):
        progress = _Progress(size, on_progress)
        with translated("write", url):
            require_standing(store, names.destination)
            sink = store.create(url, size)
        try:
            checksum = copy(path, descriptor, size, sink, url, progress.add)
            if expected is not None and checksum != expected:
                raise StorageError(
                    f"{path} is not what the payload left: {checksum}, and it was {expected}",
                    remedy="find what writes to it after the payload ended (a child process left running?)",
                )
            with translated("write", url):
                sink.finish()
            _read_back(store, url, size, checksum, progress.add)
        except BaseException:
            sink.abandon()
            # What cannot be removed now is an orphan that `temporaries` lists; the first error is the one to tell.
            with suppress(OSError, StorageError):
                store.remove(url)
                store.remove_folder(parent(url))
            raise
    return Staged(size, checksum, url)


class _Progress:
    """Counts bytes and tells the caller."""

    def __init__(self, size: int, tell: Callable[[int, int], None] | None) -> None:
        self.done, self.total, self.tell = 0, 2 * size, tell

    def add(self, count: int) -> None:
        self.done += count
        if self.tell is not None:
            self.tell(self.done, self.total)


@contextmanager
def open_source(path: str) -> Iterator[tuple[int, int]]:
    """Open the source as (descriptor, size)."""
    with translated("read the output", path):
        descriptor = open_regular(path)
    try:
        with translated("read the output", path):
            size = os.fstat(descriptor).st_size
        yield descriptor, size
    finally:
        with suppress(OSError):  # it was only read: closing it can lose nothing
            os.close(descriptor)


def copy(path: str, descriptor: int, size: int, sink: Sink, url: str, on_chunk: Callable[[int], None]) -> str:
    """Copy ``size`` bytes, hash them on the way, and return the checksum: read and hash here, write in a second thread.

    Both release the interpreter's lock, which hides the hashing behind the writing.
    """
    from concurrent.futures import ThreadPoolExecutor
    from queue import SimpleQueue

    with translated("read the output", path):
        before = os.fstat(descriptor)
    free: SimpleQueue[memoryview | None] = SimpleQueue()
    full: SimpleQueue[tuple[memoryview, int] | None] = SimpleQueue()
    for _ in range(min(BUFFERS, size // BLOCK + 1)):
        free.put(memoryview(bytearray(min(BLOCK, size + 1))))

    def drain() -> None:
        try:
            while (item := full.get()) is not None:
                view, count = item
                with translated("write", url):
                    sink.write(view[:count])
                free.put(view)
        finally:
            free.put(None)  # a reader that waits for a buffer must learn that none will come

    running, copied = Adler32(), 0
    with ThreadPoolExecutor(1, "stage-out") as pool:
        writer = pool.submit(drain)
        try:
            while copied <= size and (view := free.get()) is not None:  # one byte more than there were is enough
                with translated("read the output", path):
                    count = os.readv(descriptor, [view])
                if not count:
                    break
                full.put((view, count))
                running.update(view[:count])
                copied += count
                on_chunk(count)
        finally:
            full.put(None)
        writer.result()
    with translated("read the output", path):
        after = os.fstat(descriptor)
    if copied != size or (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise StorageError(
            f"{path} changed while it was copied: {copied} bytes were read of {size}",
            remedy="find what writes to it after the payload ended (a child process left running?)",
        )
    return str(running)


def _read_back(store: Store, url: str, size: int, checksum: str, on_chunk: Callable[[int], None]) -> None:
    """Read the copy from the storage; `StorageError` if it is not what was written."""
    with translated("read back", url):
        found = store.proof(url, on_chunk)
    if found != (size, checksum):
        raise StorageError(
            f"{url} came back from the storage other than it was written: "
            f"{found[0]} bytes, {found[1]}; written were {size} bytes, {checksum}",
            remedy="do not trust that storage; tell its operators, and choose another destination",
        )
