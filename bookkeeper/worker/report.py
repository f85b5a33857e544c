"""What a command says of its files: JSON lines, appended to ``$BOOKKEEPER_REPORT``.

::

    {"file": "<name or url>", "state": "opened" | "consumed" | "skipped" | "failed",
     "entries": 2304, "bytes": 178971, "seconds": 12.5, "reason": "2 baskets unreadable"}

Once a command reports anything, only what it reported consumed counts as consumed. A file that it opened and never
finished, or never spoke of, is `skipped`: it was given to the command, whose start opened it for the catalog, and the
command says that it is not in the output. It is free again when the process ends, and charged, so that a file that the
command never reports does not come back for ever.
"""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bookkeeper.errors import UsageError
from bookkeeper.process import DeliveredFile
from bookkeeper.protocol import Mark

STATES: Final = (Mark.OPENED, Mark.CONSUMED, Mark.SKIPPED, Mark.FAILED)
KEYS: Final = ("file", "state", "entries", "bytes", "seconds", "reason")
LONGEST: Final = 1 << 16
"""Bytes of one line."""
_ETERNITY: Final = 1e9  # seconds: 30 years


@dataclass(frozen=True, slots=True)
class Said:
    """What was said of one file last."""

    mark: Mark
    entries: int | None
    bytes: int | None
    reason: str | None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What a command said: by file id. ``torn`` is the number of a last line without end that is no JSON, else 0."""

    said: Mapping[int, Said]
    torn: int = 0


def read(path: Path, files: Sequence[DeliveredFile], given: Mapping[int, str]) -> Report:
    """Read a report about ``files``; ``given`` are the paths and URLs that the command got, by file id.

    Raises `UsageError` naming the line.
    """
    names = _names(files, given)
    said: dict[int, Said] = {}
    torn = 0
    for number, line, whole in _lines(path):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError) as error:  # the latter of absurdly nested lists
            if not whole:
                torn = number
                break
            raise _wrong(number, f"it is no JSON ({error})") from error
        file, now = _parse(number, entry, names)
        said[file] = _later(number, entry["file"], said.get(file), now)
    return Report(said, torn)


def decide(report: Report, files: Sequence[DeliveredFile]) -> None:
    """Note of every file what the report says; where it says nothing at all, all were consumed.

    Raises `UsageError` where a torn last line may have been the word on a file: its content may be in the output.
    """
    open_ends = [file.name for file in files if not _is_decided(report, file)]
    if report.torn and open_ends:
        raise _wrong(report.torn, f"it is torn, and nothing else says what became of {', '.join(open_ends[:3])}")
    for file in files:
        said = report.said.get(file.id)
        if not report.said:
            file.decided(Mark.CONSUMED)
        elif said is None:
            file.decided(Mark.SKIPPED, reason="the command did not report it")
        elif said.mark is Mark.OPENED:
            file.decided(Mark.SKIPPED, reason="the command opened it and did not report it consumed")
        else:
            reason = said.reason or (None if said.mark is Mark.CONSUMED else "the command gave no reason")
            file.decided(said.mark, entries=said.entries, bytes=said.bytes, reason=reason)


def mismatches(files: Sequence[DeliveredFile]) -> list[DeliveredFile]:
    """Return the consumed files whose reported entries are not the catalogued ones, with the reason set."""
    found = []
    for file in files:
        read_, known = file.entries_read, file.entries
        if file.state == "consumed" and read_ is not None and known is not None and read_ != known:
            reason = f"{read_} entries were read, {known} are catalogued"
            file.decided(Mark.FAILED, entries=read_, bytes=file.bytes_read, reason=reason)
            found.append(file)
    return found


def _is_decided(report: Report, file: DeliveredFile) -> bool:
    said = report.said.get(file.id)
    return said is not None and said.mark is not Mark.OPENED


def _lines(path: Path) -> Iterator[tuple[int, bytes, bool]]:
    """Yield number, content and whether it has an end, of every line."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            raise UsageError("the report is no regular file")
        stream = path.open("rb")
    except FileNotFoundError:
        return  # the command removed it: it says nothing
    except OSError as error:
        raise UsageError(f"the report cannot be read: {error.strerror}") from error
    with stream:
        number = 0
        while line := stream.readline(LONGEST):
            number += 1
            whole = line.endswith(b"\n")
            if not whole and len(line) == LONGEST:
                raise _wrong(number, f"it is longer than {LONGEST} bytes")
            yield number, line, whole


def _names(files: Sequence[DeliveredFile], given: Mapping[int, str]) -> dict[str, int]:
    """Return which file a name, a path or a URL means."""
    names = {place: file.id for file in files for place in file.locations}
    names.update((path, file) for file, path in given.items())
    names.update((file.name, file.id) for file in files)
    return names


def _parse(number: int, entry: Any, names: Mapping[str, int]) -> tuple[int, Said]:
    if not isinstance(entry, dict):
        raise _wrong(number, "it is no object", f"its keys are {', '.join(KEYS)}")
    if unknown := entry.keys() - set(KEYS):
        raise _wrong(number, f"unknown key {min(unknown)!r}", f"allowed: {', '.join(KEYS)}")
    file, state = entry.get("file"), entry.get("state")
    if not isinstance(file, str):
        raise _wrong(number, f"file must be a name or URL, not {file!r}")
    if file not in names:
        raise _wrong(number, f"unknown file {file!r:.300}", "name the files as they were given")
    if state not in STATES:
        raise _wrong(number, f"unknown state {state!r:.100}", f"allowed: {', '.join(STATES)}")
    for key in ("entries", "bytes"):
        value = entry.get(key)
        if value is not None and (type(value) is not int or not 0 <= value < 2**63):
            raise _wrong(number, f"{key} must be a whole number, 0 or more, not {value!r:.100}")
    seconds = entry.get("seconds")
    if seconds is not None and (type(seconds) not in (int, float) or not 0 <= seconds < _ETERNITY):
        raise _wrong(number, f"seconds must be a number, 0 or more, not {seconds!r:.100}")
    reason = entry.get("reason")
    if reason is not None and not isinstance(reason, str):
        raise _wrong(number, f"reason must be words, not {reason!r:.100}")
    words = reason and _storable(reason[:1000])
    return names[file], Said(Mark(state), entry.get("entries"), entry.get("bytes"), words, seconds)


def _storable(text: str) -> str:
    """Return a text that UTF-8 can hold: Python writes the bytes of a name that is no UTF-8 as halves of characters."""
    return text.encode("utf-8", "backslashreplace").decode()


def _later(number: int, file: str, before: Said | None, now: Said) -> Said:
    """Return what holds of a file that was spoken of twice: it goes forward only."""
    if before is None or before.mark is Mark.OPENED:
        return now
    if now.mark is Mark.OPENED:
        return before
    if now.mark is not before.mark:
        raise _wrong(number, f"{file} was {before.mark} and cannot become {now.mark}")
    return now


def _wrong(number: int, problem: str, hint: str = "") -> UsageError:
    return UsageError(f"report, line {number}: {problem}" + (f"; {hint}" if hint else ""))
