"""Read a job event log from where reading stopped the last time.

`htcondor2.JobEventLog` parses the events. What it cannot do is done here: it remembers an offset, but not of which file, so a
log that was rotated, cut, replaced or copied would be read from the middle of an event; and where an event is half
written it waits a second. A position is the file (device, inode), the offset, a checksum of what stands before it, and
the time of the last event.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Final

END: Final = b"\n...\n"
"""What stands behind an event."""

BEFORE: Final = 256
"""Bytes before an offset by which a file is known again."""

Event = Mapping[str, Any]
"""An `htcondor2.JobEvent`."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where reading stopped."""

    file: str = ""
    offset: int = 0
    before: int = 0
    at: int = 0

    @classmethod
    def of(cls, said: str | None) -> Position:
        """Return what `text` gave; the beginning for what says nothing."""
        return cls(**json.loads(said)) if said else cls()

    def text(self) -> str:
        """Return it as the catalog keeps it."""
        return json.dumps(asdict(self), separators=(",", ":"))


def read(path: Path, said: str | None) -> tuple[str | None, list[Event]]:
    """Return the events behind a position, in order, and the position behind them; a log that is not there tells nothing.

    Of a log that was rotated (``events.log.1``, ``events.log.old``, …) the rest is read first. One that was cut or
    replaced is read from its beginning, without what is older than the last event that was told.
    """
    position = Position.of(said)
    events: list[Event] = []
    for piece, begins in _pieces(path, position):
        found, position = _read(piece, replace(position, offset=begins, file=_identity(piece)))
        events += found
    return (said if position == Position.of(said) else position.text()), events


def _pieces(path: Path, position: Position) -> Iterator[tuple[Path, int]]:
    """Yield the files to read, the oldest first, each with the offset to begin at."""
    try:
        identity = _identity(path)
    except FileNotFoundError:
        return
    if position.file in ("", identity) or _goes_on(path, position):  # the last: it is a copy of what was read
        yield path, position.offset if _goes_on(path, position) else 0
        return
    for other in sorted(path.parent.glob(f"{path.name}.*")):
        if _identity(other) == position.file and _goes_on(other, position):
            yield other, position.offset
    yield path, 0


def _identity(path: Path) -> str:
    found = path.stat()
    return f"{found.st_dev}:{found.st_ino}"


def _goes_on(path: Path, position: Position) -> bool:
    """Tell whether a file has, up to the offset, what was read there."""
    return path.stat().st_size >= position.offset and _before(path, position.offset) == position.before


def _before(path: Path, offset: int) -> int:
    if offset == 0:
        return 0
    with path.open("rb") as stream:
        begins = max(0, offset - BEFORE)
        return zlib.crc32(os.pread(stream.fileno(), offset - begins, begins))


def _read(path: Path, position: Position) -> tuple[list[Event], Position]:
    """Return the events of a file from an offset on, and the position behind the last whole one."""
    import htcondor2

    offset = position.offset
    anew = offset == 0 and position.at > 0
    newest: Any = None
    whole, count = _whole(path, offset)
    if whole == offset:
        return [], position
    log = htcondor2.JobEventLog.__new__(htcondor2.JobEventLog)
    log.__setstate__(({"_deadline": 0, "_filename": str(path)}, offset))  # as one that was pickled there
    events: list[Event] = []
    try:
        while offset < whole:
            for event in islice(log.events(stop_after=0), count):
                newest = event
                if not anew or event.timestamp >= position.at:
                    events.append(event)
            reached = log.__getstate__()[1]
            if reached == offset:  # it stops at what is no event, too, and mostly goes on behind it when asked again
                break
            offset = reached
            count = 1
    finally:
        log.close()
    offset = whole
    last = position.at if newest is None else max(position.at, newest.timestamp)
    return events, Position(position.file, offset, _before(path, offset), last)


def _whole(path: Path, offset: int) -> tuple[int, int]:
    """Return where the last event ends that is whole, and how many events there are up to there, at most.

    Asked for one that is half written, `htcondor2.JobEventLog` waits a second for the rest.
    """
    with path.open("rb") as stream:
        stream.seek(offset)
        data = stream.read()
    end = data.rfind(END)
    return (offset, 0) if end < 0 else (offset + end + len(END), data.count(END))
