"""Locks that are files: the kernel lets go of one when its holder is gone, however it died."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from bookkeeper.errors import StorageError


@contextlib.contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Take a lock without waiting; tell whether it was to be had.

    Its file is made, and the folder, where there is none. Raises `StorageError` where they cannot be.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StorageError(f"{error.filename} cannot be made: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
    else:
        yield True
    finally:
        os.close(lock)
