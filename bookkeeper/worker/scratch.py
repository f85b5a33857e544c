"""The private folder that a process works in, and what a killed worker left of one."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

PREFIX: Final = "bookkeeper-scratch-"


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Make a folder that only this user may enter, below ``$TMPDIR``; it is removed when the block is left.

    The folder is locked as long as its worker lives. Folders whose worker was killed are removed here, by the next one.
    """
    _sweep()
    folder, lock = _make()
    try:
        yield folder
    finally:
        _remove(folder)
        os.close(lock)


def _make() -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX)).resolve()
        lock = _lock(folder)
        if lock is not None:
            return folder, lock


def _lock(folder: Path) -> int | None:
    """Lock a folder; None where another has it, or removed it meanwhile."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if folder.stat().st_ino == os.fstat(descriptor).st_ino:
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(descriptor)
    return None


def _sweep() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        lock = _lock(folder) if _is_ours(folder) else None
        if lock is not None:
            _remove(folder)
            os.close(lock)


def _is_ours(folder: Path) -> bool:
    try:
        return folder.lstat().st_uid == os.getuid()
    except FileNotFoundError:
        return False


def _remove(folder: Path) -> None:
    """Remove a folder, also where the command took away its own rights to parts of it."""
    shutil.rmtree(folder, ignore_errors=True)
    if not folder.exists():
        return
    for parent, names, _ in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            if not path.is_symlink():
                with suppress(OSError):  # what cannot be changed cannot be removed, and stays
                    path.chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)
