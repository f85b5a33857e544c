"""What commands print, kept beside the catalog: ``logs/<process>.out`` and ``.err``, each capped in size.

Beside them lies ``logs/<process>.perf.json``: what the command cost, and, of a process of a batch system,
``logs/<process>.job.gz``: what its job printed, compressed and capped.

Of a long log the first half and the last half of the cap are kept, with a line between them that says how much is
missing. While it grows the file may be half as long again; whoever follows it (``tail -f``) sees every line at once.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple, TextIO

from bookkeeper.catalog import Database
from bookkeeper.errors import NotFound, StorageError
from bookkeeper.operations import Remote, operation
from bookkeeper.performance import perf_path_for

CAP: Final = 1 << 20
"""Bytes of each stream that are kept, unless a job says otherwise."""

_DROPPED: Final = "\n[... {} bytes were not kept ...]\n"
_IS_DROPPED: Final = re.compile(r"\n\[\.\.\. \d+ bytes were not kept \.\.\.\]\n")


HEADS: Final = ("==> standard output of the command <==\n", "==> standard error of the command <==\n")
"""What stands before what a command printed, where a job that travelled passes it on."""


class Log(NamedTuple):
    """What a process printed; ``truncated`` tells whether a part of it was not kept."""

    stdout: str
    stderr: str
    truncated: bool


def folder(database: Database) -> Path:
    """Return where the logs of a catalog lie."""
    return database.folder / "logs"


def paths(database: Database, process_id: int) -> tuple[Path, Path]:
    """Return the files of a process's standard output and standard error."""
    return folder(database) / f"{process_id}.out", folder(database) / f"{process_id}.err"


def perf_path(database: Database, process_id: int) -> Path:
    """Return the file with what the command of a process cost (`bookkeeper.performance`)."""
    return Path(perf_path_for(folder(database) / str(process_id)))


def read(database: Database, process_id: int) -> Log:
    """Return what the command of a process printed. Raises `NotFound` where nothing was kept.

    With a catalog behind a server: what was kept on this host, else what was kept on the server's.
    """
    here = (*paths(database, process_id), job_path(database, process_id))
    if isinstance(database, Remote) and not any(path.exists() for path in here):
        return kept(database, process_id)
    return _read(database, process_id)


@operation("read", name="logs.read")
def kept(database: Database, process_id: int) -> Log:
    """Return what is kept beside the catalog."""
    return _read(database, process_id)


def _read(database: Database, process_id: int) -> Log:
    texts: list[str | None] = []
    for path in paths(database, process_id):
        try:
            texts.append(path.read_text(encoding="utf-8", errors="replace"))
        except FileNotFoundError:
            texts.append(None)
    if texts == [None, None]:
        if (passed_on := _passed_on(_of_job(database, process_id))) is not None:
            return passed_on
        known = database.one("SELECT node FROM processes WHERE id = :id", {"id": process_id})
        if known is None:
            raise NotFound(
                f"there is no process {process_id}", remedy="`bookkeeper status PROJECT` names the last ones"
            )
        raise NotFound(
            f"nothing was kept of process {process_id}" + (f", which ran on {known['node']}" if known["node"] else ""),
            remedy="it ran no command, or its logs are on that node",
        )
    stdout, stderr = (text or "" for text in texts)
    return Log(stdout, stderr, any(_IS_DROPPED.search(text or "") for text in texts))


def job_path(database: Database, process_id: int) -> Path:
    """Return the file with what the batch job of a process printed."""
    return folder(database) / f"{process_id}.job.gz"


def keep_job(database: Database, process_id: int, parts: Sequence[Path]) -> bool:
    """Keep what a batch job printed (its standard output and standard error) with its process; tell whether it was.

    Of each the beginning and the end are kept, `CAP` bytes in all. Kept again, it is the newest.
    """
    import gzip

    texts = [_capped(path) for path in parts]
    if not any(texts):
        return False
    path = job_path(database, process_id)
    whole = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with gzip.open(whole, "wb") as stream:
            stream.write(json.dumps([text.decode("utf-8", "replace") for text in texts]).encode())
        whole.replace(path)
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}") from error
    return True


@operation("read", name="logs.of_job")
def of_job(database: Database, process_id: int) -> Log | None:
    """Return what the batch job of a process printed, None where nothing was kept."""
    return _of_job(database, process_id)


def _of_job(database: Database, process_id: int) -> Log | None:
    import gzip

    try:
        with gzip.open(job_path(database, process_id), "rb") as stream:
            out, err = json.loads(stream.read())
    except (FileNotFoundError, EOFError, ValueError):
        return None
    return Log(out, err, any(_IS_DROPPED.search(text) for text in (out, err)))


def pass_on(parts: Sequence[Path], stream: TextIO) -> None:
    """Write what a command printed, both logs, to a stream that comes back from a node of which nothing else does."""
    for path, head in zip(parts, HEADS, strict=True):
        with contextlib.suppress(FileNotFoundError):
            text = path.read_text(encoding="utf-8", errors="replace")
            stream.write(f"{head}{text}" if text.endswith("\n") or not text else f"{head}{text}\n")


def _passed_on(job: Log | None) -> Log | None:
    """Return what a command printed out of what its job did, None where it passed nothing on."""
    if job is None or HEADS[0] not in job.stderr:
        return None
    _, _, printed = job.stderr.partition(HEADS[0])
    out, _, err = printed.partition(HEADS[1])
    return Log(out, err, job.truncated)


def _capped(path: Path) -> bytes:
    """Return the beginning and the end of a file, with a line between them that says how much is missing."""
    half = CAP // 4
    try:
        with path.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            if size <= 2 * half:
                return stream.read()
            head = stream.read(half)
            stream.seek(size - half)
            return head + _DROPPED.format(size - 2 * half).encode() + stream.read(half)
    except OSError:
        return b""


class CappedLog:
    """A file that keeps the beginning and the end of what is written to it.

    A disk that takes no more is no reason to stop a command: what cannot be written is counted among the bytes that
    were not kept.
    """

    def __init__(self, path: Path, cap: int = CAP) -> None:
        self._half = max(cap // 2, 1)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise StorageError(f"the log {path} cannot be written: {error.strerror}") from error
        self._total = 0  # bytes that came
        self._start = self._half  # where the tail begins in the file
        self._end = 0  # where the file ends
        self._lost = 0  # bytes of the tail that are no longer, or never were, in the file

    def write(self, data: bytes) -> None:
        """Append."""
        self._total += len(data)
        try:
            self._append(data)
            if self._end - self._start > 2 * self._half:
                self._compact()
        except OSError:
            self._lost += len(data)

    def tail(self, size: int = 4096) -> str:
        """Return the end of what is kept."""
        return os.pread(self._descriptor, size, max(0, self._end - size)).decode("utf-8", "replace")

    def close(self) -> None:
        """Bring the file to its final size."""
        if self._descriptor < 0:
            return
        with contextlib.suppress(OSError):  # on a full disk the log lacks the line about what is missing
            if self._end - self._start > self._half or self._lost:
                self._compact()
        os.close(self._descriptor)
        self._descriptor = -1

    def _append(self, data: bytes) -> None:
        written = os.pwrite(self._descriptor, data, self._end)
        self._end += written
        self._lost += len(data) - written

    def _compact(self) -> None:
        """Keep only the last half of the cap behind the head, and say how much is missing between."""
        kept = os.pread(self._descriptor, self._half, max(self._end - self._half, min(self._start, self._end)))
        head = min(self._half, self._end)
        marker = _DROPPED.format(self._total - head - len(kept)).encode()
        os.ftruncate(self._descriptor, head)
        self._end = head
        self._append(marker)
        self._start = self._end
        self._append(kept)
