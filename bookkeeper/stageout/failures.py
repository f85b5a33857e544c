"""Say in words what went wrong with storage, and what to do next."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from bookkeeper.errors import StorageError

_AGAIN = "then submit again: the files of a failed process are free"

# errno: what happened, what to do next.
_WORDS: dict[int, tuple[str, str]] = {
    errno.ENOSPC: ("the disk is full", f"free space there or choose another destination, {_AGAIN}"),
    errno.EDQUOT: ("the quota is used up", f"free space there, ask for more or choose another destination, {_AGAIN}"),
    errno.EFBIG: (
        "the file is larger than is allowed",
        "see `ulimit -f` and the limits of the file system, or let a process write less (fewer files per process)",
    ),
    errno.EACCES: (
        "permission is denied",
        f"let this user write there (`ls -ld`, `chmod`) or choose another, {_AGAIN}",
    ),
    errno.EPERM: ("the operation is not permitted", "see the owner, the mode and the attributes (`ls -ld`, `lsattr`)"),
    errno.EROFS: ("the file system is mounted read-only", f"mount it writable or choose another destination, {_AGAIN}"),
    errno.ENOENT: ("it is not there, or vanished", f"see that the destination is mounted and has its folder, {_AGAIN}"),
    errno.ENOTDIR: ("a part of the path is no folder", "choose another destination"),
    errno.EEXIST: ("it exists already", "every upload has a name of its own, opened once: use a new upload number"),
    errno.EIO: ("the device failed (input/output error)", f"see the system log of that storage, {_AGAIN}"),
    errno.ESTALE: ("the file handle is stale: the file server lost it", f"mount the file system again, {_AGAIN}"),
    errno.ELOOP: ("it is a symbolic link", "name the file itself"),
    errno.ENAMETOOLONG: ("the path is too long", "use a shorter name or destination"),
    errno.EXDEV: (
        "it lies on another file system",
        "destination and its .bookkeeper folder must be on one file system",
    ),
}


def explain(error: OSError, doing: str, url: str) -> StorageError:
    """Return the `StorageError` that says: cannot ``doing`` ``url``, because of ``error``."""
    number = errno.ENOENT if isinstance(error, FileNotFoundError) else error.errno
    if isinstance(error, FileExistsError):
        number = errno.EEXIST
    happened, remedy = _WORDS.get(
        number or 0, (error.strerror or str(error) or type(error).__name__, "look at that storage")
    )
    return StorageError(f"cannot {doing} {url}: {happened}", remedy=remedy)


@contextmanager
def translated(doing: str, url: str | os.PathLike[str]) -> Iterator[None]:
    """Turn an `OSError` of the block into a `StorageError` naming ``url``; let every other error through."""
    try:
        yield
    except OSError as error:
        raise explain(error, doing, os.fspath(url)) from error


def vanished(destination: str) -> StorageError:
    """Return the error for a destination without its claim: not mounted, deleted, or never claimed."""
    return StorageError(
        f"the destination {destination} vanished: its claim {destination}/.bookkeeper/claim is not there",
        remedy="mount or restore it; bookkeeper does not make it again, because another folder may stand in its place",
    )
