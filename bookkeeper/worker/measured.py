"""What the command of a process cost: an event, and a file beside its logs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from bookkeeper.performance import PerformanceRecorder
from bookkeeper.process import DeliveredFile, Process
from bookkeeper.worker.report import Said

MOST_FILES: Final = 100
"""Files whose time is in the event: the slowest ones."""


def recorder_of(process: Process) -> PerformanceRecorder:
    """Return what measures the command of a process."""
    return PerformanceRecorder(f"{process.project}:process_{process.id}")


def keep(recorder: PerformanceRecorder, given: Sequence[DeliveredFile], path: Path) -> None:
    """Note the throughput over all files that the command was given, and write the ``.perf.json``.

    A disk that takes no more is no reason to fail: the event says the same.
    """
    recorder.set_throughput(sum(file.size for file in given))
    with suppress(OSError):
        recorder.save(path)


def body_of(
    recorder: PerformanceRecorder,
    *,
    code: int,
    node: str,
    given: Sequence[DeliveredFile],
    consumed: Sequence[DeliveredFile],
    said: Mapping[int, Said],
) -> dict[str, Any]:
    """Return the body of ``perf.recorded``. What is not known is None.

    ``given`` are the files that the command got, ``consumed`` those it read to their end, none where it failed; ``said``
    is what it reported, by file id.
    """
    entries = entries_of(consumed)
    wall = recorder.wall_time_s
    times = [(one.seconds, file.name) for file in given if (one := said.get(file.id)) and one.seconds is not None]
    return {
        "exit_code": code,
        "wall_s": wall,
        "cpu_s": recorder.cpu_s,
        "peak_rss_mb": recorder.peak_rss_mb,
        "read_bytes": recorder.read_bytes,
        "written_bytes": recorder.written_bytes,
        "input_bytes": sum(file.size for file in given),
        "throughput_mbs": recorder.throughput_mbs,
        "entries": entries,
        "entries_per_s": round(entries / wall, 1) if entries is not None and wall else None,
        "node": node,
        "files": [{"file": name, "seconds": seconds} for seconds, name in sorted(times, reverse=True)[:MOST_FILES]],
    }


def entries_of(consumed: Sequence[DeliveredFile]) -> int | None:
    """Return the entries of files: those that were read, or else the catalogued ones; None where one has neither."""
    counts = [file.entries if file.entries_read is None else file.entries_read for file in consumed]
    known = [count for count in counts if count is not None]
    return sum(known) if counts and len(known) == len(counts) else None
