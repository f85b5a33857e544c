"""Storage that is mounted here: exclusive creation, `fsync`, hard links, and renames that never replace."""

# Here every line is one system call, and its name should be seen: no pathlib.
# ruff: noqa: PTH102, PTH105, PTH106, PTH108, PTH112, PTH119, PTH120, PTH208

from __future__ import annotations

import errno
import os
import secrets
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress

from bookkeeper.checksums import CHUNK, Adler32
from bookkeeper.errors import StorageError
from bookkeeper.stageout.stores import Entry

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = (
    os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
)  # NONBLOCK: opening a pipe must not wait for a writer
_AT_FDCWD = -100
_RENAME_NOREPLACE = 1  # linux/fs.h
_RENAME_EXCL = 4  # sys/stdio.h of macOS
# What link(2) says where there are no hard links, or none for this file or user.
_NO_HARD_LINK = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EACCES}
_NOT_OFFERED = {errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS}


def open_regular(path: str) -> int:
    """Open a file for reading and return its descriptor; `OSError` for a link, a folder, a pipe or a device."""
    descriptor = os.open(path, _READ)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", path)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def write_all(descriptor: int, piece: memoryview) -> None:
    """Write all of ``piece``: near a full disk write(2) takes only a part and fails the next time."""
    while piece:
        piece = piece[os.write(descriptor, piece) :]


def sync(descriptor: int) -> None:
    """Bring a file's bytes to the storage."""
    if sys.platform == "darwin":
        # There fsync(2) stops at the drive's own cache; F_FULLFSYNC is refused by network file systems.
        import fcntl

        with suppress(OSError):
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
            return
    os.fsync(descriptor)


def sync_folder(path: str) -> None:
    """Bring a folder's names to the storage; file systems that have no such call keep them by themselves."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NOT_OFFERED:
            raise
    finally:
        os.close(descriptor)


def bypass_cache(descriptor: int) -> None:
    """Drop a file's synced pages from memory, so that the next read comes from the storage.

    Dirty pages stay: sync first. Where the file lives in memory (tmpfs) there is nothing to drop. On macOS the
    descriptor is told to keep nothing in the cache, hence is so treated before it writes, too.
    """
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    elif sys.platform == "darwin":
        import fcntl

        fcntl.fcntl(descriptor, fcntl.F_NOCACHE, 1)


def rename_without_replacing(old: str, new: str) -> None:
    """Rename a file; `FileExistsError` if the new name is taken; `StorageError` where the system has no such rename."""
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    names = os.fsencode(old), os.fsencode(new)
    if hasattr(library, "renameat2"):
        answer = library.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_NOREPLACE)
    elif hasattr(library, "renamex_np"):
        answer = library.renamex_np(*names, _RENAME_EXCL)
    else:
        answer = -1
        ctypes.set_errno(errno.ENOSYS)
    if answer == 0:
        return
    number = ctypes.get_errno()
    if number in _NOT_OFFERED:
        raise StorageError(
            f"cannot publish {new}: its file system has neither hard links nor a rename that never replaces",
            remedy="choose a destination on another file system",
        )
    raise OSError(number, os.strerror(number), old, None, new)


class LocalSink:
    """A local file being written."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.descriptor = os.open(path, _NEW, 0o666)
        if sys.platform == "darwin":
            bypass_cache(self.descriptor)

    def write(self, piece: memoryview) -> None:
        """Write all of ``piece``."""
        write_all(self.descriptor, piece)

    def finish(self) -> None:
        """Sync the file, its folder and that folder's name; then drop the file from memory."""
        sync(self.descriptor)
        bypass_cache(self.descriptor)
        self._close()  # a network file system may tell of a lost write only here
        folder = os.path.dirname(self.path)
        sync_folder(folder)
        sync_folder(os.path.dirname(folder))

    def abandon(self) -> None:
        """Close, if still open; the file is about to be removed, so a failure to close it says nothing more."""
        with suppress(OSError):
            self._close()

    def _close(self) -> None:
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class LocalStore:
    """File systems mounted on this machine."""

    needs_one_publisher = False
    copies = False

    def look(self, url: str) -> Entry | None:
        """Return what is at ``url`` itself, `None` if nothing."""
        try:
            found = os.lstat(url)
        except (FileNotFoundError, NotADirectoryError):
            return None
        is_file = stat.S_ISREG(found.st_mode)
        return Entry(os.path.basename(url), is_file, found.st_size, found.st_mtime, (found.st_dev, found.st_ino))

    def list(self, url: str) -> Iterator[Entry]:
        """Return what is directly in a folder, by name; what vanishes meanwhile is left out."""
        try:
            names = sorted(os.listdir(url))
        except (FileNotFoundError, NotADirectoryError):
            return
        for name in names:
            entry = self.look(f"{url.removesuffix('/')}/{name}")
            if entry is not None:
                yield entry

    def measure(self, url: str, on_chunk: Callable[[int], None] | None = None) -> tuple[int, str]:
        """Read a file from the storage and return (size, checksum)."""
        descriptor = open_regular(url)
        try:
            bypass_cache(descriptor)
            running, size = Adler32(), 0
            view = memoryview(bytearray(CHUNK))
            while count := os.readv(descriptor, [view]):
                running.update(view[:count])
                size += count
                if on_chunk is not None:
                    on_chunk(count)
            return size, str(running)
        finally:
            os.close(descriptor)

    def pieces(self, url: str) -> Iterator[bytes]:
        """Read a file from its start to its end."""
        with open(open_regular(url), "rb", buffering=0) as stream:
            while piece := stream.read(CHUNK):
                yield piece

    def proof(self, url: str, on_chunk: Callable[[int], None] | None = None) -> tuple[int, str]:
        """Return what `measure` reads."""
        return self.measure(url, on_chunk)

    def read_small(self, url: str) -> bytes | None:
        """Return the content of a small file, `None` if there is none."""
        try:
            descriptor = open_regular(url)
        except (FileNotFoundError, NotADirectoryError):
            return None
        with open(descriptor, "rb") as stream:
            return stream.read(CHUNK)

    def write_small(self, url: str, data: bytes, *, replace: bool) -> None:
        """Write a file beside, then link or rename it into place: a kill leaves it whole or absent."""
        beside = f"{url}.{secrets.token_hex(8)}"
        descriptor = os.open(beside, _NEW, 0o666)
        try:
            try:
                write_all(descriptor, memoryview(data))
                sync(descriptor)
            finally:
                os.close(descriptor)
            if replace:
                os.replace(beside, url)
                sync_folder(os.path.dirname(url))
            else:
                self.place(beside, url)
        finally:
            self.remove(beside)

    def make_folder(self, url: str) -> None:
        """Make a folder and its parents, each synced into its own parent."""
        missing = []
        while not os.path.isdir(url):
            missing.append(url)
            url = os.path.dirname(url)
        for path in reversed(missing):
            self._make_one_folder(path)
            sync_folder(os.path.dirname(path))

    def create(self, url: str, size: int) -> LocalSink:
        """Open a new file in its upload folder."""
        folder = os.path.dirname(url)
        self._make_one_folder(folder)
        try:
            return LocalSink(url)
        except OSError:
            self.remove_folder(folder)
            raise

    def place(self, temporary: str, final: str) -> None:
        """Hard-link a file to its final name, or rename it there where links are not possible; sync the folder."""
        try:
            os.link(temporary, final)
        except OSError as error:
            if error.errno not in _NO_HARD_LINK:
                raise
            rename_without_replacing(temporary, final)
        self.settle(final)

    def take_back(self, final: str) -> None:
        """Delete a final object."""
        self.remove(final)

    def abort_uploads(self, folder: str, before: float) -> int:
        """Do nothing: what was not completed is seen as an object."""
        return 0

    def settle(self, final: str) -> None:
        """Sync the folder of a file that has its final name."""
        sync_folder(os.path.dirname(final))

    def remove(self, url: str) -> bool:
        """Delete a file and sync its folder; return whether there was one."""
        try:
            os.unlink(url)
        except (FileNotFoundError, NotADirectoryError):
            return False
        with suppress(FileNotFoundError):  # another publisher may have tidied the empty folder away already
            sync_folder(os.path.dirname(url))
        return True

    def remove_folder(self, url: str) -> bool:
        """Delete a folder if it is empty; return whether it was and is gone."""
        try:
            os.rmdir(url)
        except FileNotFoundError:
            return False
        except OSError as error:
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                raise
            return False
        return True

    @staticmethod
    def _make_one_folder(path: str) -> None:
        try:
            os.mkdir(path)
        except FileExistsError:
            if not os.path.isdir(path):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path) from None
