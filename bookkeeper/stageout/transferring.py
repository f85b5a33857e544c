"""Copy an output from a near storage to its destination under a temporary name, and prove that it arrived whole."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from bookkeeper.checksums import Adler32, normalise
from bookkeeper.errors import StorageError
from bookkeeper.stageout.claims import require_standing
from bookkeeper.stageout.copying import Staged
from bookkeeper.stageout.failures import translated
from bookkeeper.stageout.names import parent, parse_temporary, resolve
from bookkeeper.stageout.stores import Sink, Store, store_of

_AGAIN = "its process is rolled back, and its files are processed again"


class NearCopyBad(StorageError):
    """What lies at the near storage is not what was stored there, or is gone: no other try will bring it."""


def transfer(
    near_url: str,
    temp_url: str,
    *,
    size: int,
    checksum: str,
    on_progress: Callable[[int], None] = lambda _: None,
) -> Staged:
    """Copy the temporary ``near_url`` to ``temp_url``, prove what lies there, and return it. The near copy stays.

    Size and checksum are those that were recorded when the payload ended. ``on_progress(bytes)`` is told how many were
    copied, also while what was copied is proved; what it raises ends the copy.

    `NearCopyBad` where the near copy is gone (and its storage is not) or is another than was recorded; `StorageError`
    for all that may pass. Whatever is raised, this call's own temporary is removed first, as far as the storage lets it.
    """
    recorded, source, url = (size, normalise(checksum)), resolve(near_url), resolve(temp_url)
    near, store = store_of(source), store_of(url)
    _require_near_copy(near, source, size)
    with translated("write", url):
        require_standing(store, parse_temporary(url).destination)
        sink = store.create(url, size)
    try:
        _copy(near, source, sink, url, recorded, on_progress)
        with translated("write", url):
            sink.finish()
        with translated("read back", url):
            found = store.proof(url, lambda _: on_progress(size))
        if found != recorded:
            raise StorageError(
                f"{url} came back from the storage other than it was written: "
                f"{found[0]} bytes, {found[1]}; written were {size} bytes, {recorded[1]}",
                remedy="it is copied again; if that goes on, tell the operators of that storage",
            )
    except BaseException:
        sink.abandon()
        # What cannot be removed now is an orphan that `temporaries` lists; the first error is the one to tell.
        with suppress(OSError, StorageError):
            store.remove(url)
            store.remove_folder(parent(url))
        raise
    return Staged(size, recorded[1], url)


def _require_near_copy(near: Store, source: str, size: int) -> None:
    with translated("look at", source):
        there = near.look(source)
        if there is None:
            require_standing(near, parse_temporary(source).destination)
            raise NearCopyBad(f"the near copy {source} is gone", remedy=_AGAIN)
    if not there.is_file or there.size != size:
        raise NearCopyBad(f"the near copy {source} has {there.size} bytes, and {size} were stored", remedy=_AGAIN)


def _copy(
    near: Store, source: str, sink: Sink, url: str, recorded: tuple[int, str], on_progress: Callable[[int], None]
) -> None:
    running, copied = Adler32(), 0
    pieces = near.pieces(source)
    while True:
        with translated("read the near copy", source):
            piece = next(pieces, b"")
        if not piece:
            break
        running.update(piece)
        copied += len(piece)
        with translated("write", url):
            sink.write(memoryview(piece))
        on_progress(copied)
    if (copied, str(running)) != recorded:
        raise NearCopyBad(
            f"the near copy {source} is not what was stored: {copied} bytes, {running}; "
            f"stored were {recorded[0]} bytes, {recorded[1]}",
            remedy=_AGAIN,
        )
