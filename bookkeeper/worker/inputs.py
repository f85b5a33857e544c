"""Take the files of a process and bring them within reach of its command."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from bookkeeper.checksums import CHUNK, Adler32
from bookkeeper.errors import BookkeeperError, FileChanged, StorageError
from bookkeeper.process import POLL_SECONDS, DeliveredFile, Process
from bookkeeper.protocol import Status
from bookkeeper.worker.watch import Watch

BACK_OFF: Final = 1.5


def take(process: Process, watch: Watch, *, wait: bool) -> list[DeliveredFile]:
    """Take all files that the process may have. While others hold what is left, wait, if it is to ``wait``.

    Empty where there are none: `Process.status` and `Process.project_state` tell why.
    """
    pause, longest = POLL_SECONDS
    while True:
        files = process.next_files()
        if files or not wait or process.status is not Status.NONE_NOW or process.project_state != "open":
            return files
        watch.wait(pause)
        pause = min(pause * BACK_OFF, longest)


def within_reach(
    files: Sequence[DeliveredFile], folder: Path | None, check: Callable[[], None], *, whole: bool
) -> dict[int, str]:
    """Return the path or URL to read, by file id; with a ``folder``, of a copy in it whose checksum was compared.

    A file that cannot be had is failed and left out; if the process is to have them ``whole``, the first one raises.
    Raises `StorageError` where none is left, with the reasons.
    """
    places: dict[int, str] = {}
    problems: list[str] = []
    for file in files:
        check()
        try:
            place = file.location()
            places[file.id] = place if folder is None else _copy(file, place, folder, check)
        except (StorageError, FileChanged) as error:
            if whole:
                raise
            problems.append(str(error))
    if not places:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise StorageError(f"no input can be read: {problems[0]}{more}")
    return places


def _copy(file: DeliveredFile, place: str, folder: Path, check: Callable[[], None]) -> str:
    """Copy an input below ``folder`` under its own basename, and compare size and checksum."""
    target = folder / str(file.id) / (os.path.basename(place) or "input")  # noqa: PTH119 - of a path or a URL
    running, size = Adler32(), 0
    try:
        with closing(_pieces(place)) as pieces, _Sink(target) as sink:
            for data in pieces:
                check()
                running.update(data)
                size += len(data)
                sink.write(data)
    except (OSError, StorageError) as error:
        file.unusable(f"cannot be copied from {place}: {error}")
        raise StorageError(f"{file.name} cannot be copied from {place}: {error}") from error
    if size != file.size or (file.checksum is not None and str(running) != file.checksum):
        difference = f"{place}: {size} bytes, {running}; declared are {file.size} bytes, {file.checksum}"
        file.unusable(f"changed since it was declared: {difference}", changed=True)
        raise FileChanged(f"{file.name} is not what was declared: {difference}")
    return str(target)


def _pieces(place: str) -> Generator[bytes, None, None]:
    from bookkeeper import stageout

    if "://" in place:
        yield from stageout.pieces(place)
        return
    with Path(place).open("rb") as source:
        while data := source.read(CHUNK):
            yield data


class _Sink:
    """A file in scratch. That it cannot be written is not the fault of the input, and never an `OSError`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> _Sink:
        with self._translated():
            self._path.parent.mkdir(parents=True)
            self._stream = self._path.open("wb")
        return self

    def write(self, data: bytes) -> None:
        with self._translated():
            self._stream.write(data)

    def __exit__(self, *_: object) -> None:
        with self._translated():
            self._stream.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise BookkeeperError(
                f"the input copy {self._path} cannot be written: {error.strerror}",
                remedy="give $TMPDIR more space, or lower files_per_process",
            ) from error
