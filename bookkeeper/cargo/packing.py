"""One archive of many files, the same bytes for the same files."""

from __future__ import annotations

import gzip
import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from bookkeeper.errors import StorageError, UsageError


def pack(files: Mapping[str, Path], archive: Path) -> None:
    """Write files, by their names in it, into a tar archive compressed by gzip; whole or not at all.

    Of permissions only "executable" is kept, of links what they lead to, and no owner and no time: the same files make
    the same archive. Raises `UsageError` for what cannot be read, `StorageError` for an archive that cannot be written.
    """
    with (
        written(archive) as stream,
        gzip.GzipFile(filename="", mode="wb", fileobj=stream, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as members,
    ):
        for name in sorted(files):
            _add(members, name, files[name])


def _add(members: tarfile.TarFile, name: str, path: Path) -> None:
    try:
        source = path.open("rb")
    except OSError as error:
        raise UsageError(f"{path} cannot travel with the job: {error.strerror}") from error
    with source:
        status = os.fstat(source.fileno())
        member = tarfile.TarInfo(name)
        member.size, member.mode = status.st_size, 0o755 if status.st_mode & 0o100 else 0o644
        members.addfile(member, source)


@contextmanager
def written(target: Path, mode: int = 0o644) -> Iterator[IO[bytes]]:
    """Give a file to write, which takes the name ``target`` when it is whole and on disk. Raises `StorageError`."""
    try:
        descriptor, part = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                yield stream
                stream.flush()
                os.fchmod(descriptor, mode)
                os.fsync(descriptor)
            os.replace(part, target)  # noqa: PTH105 - a text
        except BaseException:
            Path(part).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise StorageError(f"{target} cannot be written: {error.strerror or error}") from error


def write(target: Path, content: bytes, mode: int = 0o644) -> None:
    """Write a file whole, or not at all."""
    with written(target, mode) as stream:
        stream.write(content)


def place(source: Path, target: Path, *, copy: Callable[[Path, Path], object] = os.link) -> None:
    """Give a file a second name, or copy it where its file system has no such thing; what is there is replaced."""
    part = target.with_name(f".{target.name}.part")
    try:
        part.unlink(missing_ok=True)
        try:
            copy(source, part)
        except OSError:
            shutil.copy2(source, part)
        os.replace(part, target)  # noqa: PTH105 - a text
    except OSError as error:
        raise StorageError(f"{target} cannot be written: {error.strerror or error}") from error
