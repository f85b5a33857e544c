"""`PerformanceRecorder`: what a job cost, from the entry of a block to its exit."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from bookkeeper.performance.account import N, larger
from bookkeeper.performance.sampler import Sampler

MB: Final = 1 << 20


class PerformanceRecorder:
    """Measures from the entry of a ``with`` block to its exit, by an exception too.

    ``task_name`` is a label; ``start_time`` and ``end_time`` are in UTC (ISO 8601); ``wall_time_s`` has three decimals,
    as has ``throughput_mbs`` (MB/s of 1,048,576 bytes). Of the process tree that it was told to monitor:
    ``peak_rss_mb``, the largest sum of resident memory (MB, one decimal), ``cpu_s``, user and system seconds, and
    ``read_bytes`` and ``written_bytes``, which went through system calls; ``samples`` is how often it looked. Everything
    is None where it is not known.
    """

    def __init__(self, task_name: str) -> None:
        self.task_name = task_name
        self.start_time: str | None = None
        self.end_time: str | None = None
        self.wall_time_s: float | None = None
        self.throughput_mbs: float | None = None
        self._began = 0.0
        self._wall: float | None = None
        self._input_bytes = 0
        self._samplers: list[Sampler] = []
        self._peak_rss_mb: float | None = None
        self._cpu_s: float | None = None
        self._read_bytes: int | None = None
        self._written_bytes: int | None = None

    def __enter__(self) -> PerformanceRecorder:
        self.start_time, self._began = _now(), time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._wall = time.perf_counter() - self._began
        self.wall_time_s, self.end_time = round(self._wall, 3), _now()
        for sampler in self._samplers:
            sampler.stop()
        if self._input_bytes > 0:  # it was told inside the block, when the wall time was not known yet
            self.set_throughput(self._input_bytes)

    def monitor_process(self, pid: int, poll_interval: float = 0.25) -> None:
        """Look at a process and all that descends from it every ``poll_interval`` seconds, until the block is left.

        Also at what leaves the tree: a process whose parent ended is looked at further. Nothing is raised where there
        is no such process, or no way to look. Of several monitored processes, CPU time and bytes are added up, and the
        memory is that of the largest.
        """
        sampler = Sampler(pid, max(poll_interval, 0.01))
        sampler.start()
        self._samplers.append(sampler)

    def at_least(
        self,
        *,
        peak_rss_mb: float | None = None,
        cpu_s: float | None = None,
        read_bytes: int | None = None,
        written_bytes: int | None = None,
    ) -> None:
        """Take in what the system said of the process when it ended (getrusage(2)): the larger number counts."""
        self._peak_rss_mb = larger(self._peak_rss_mb, peak_rss_mb)
        self._cpu_s = larger(self._cpu_s, cpu_s)
        self._read_bytes = larger(self._read_bytes, read_bytes)
        self._written_bytes = larger(self._written_bytes, written_bytes)

    def set_throughput(self, input_bytes: int) -> None:
        """Note how fast input was read: ``input_bytes`` by the wall time, in MB/s. 0 bytes or fewer say nothing.

        Inside the block the wall time so far counts, and at its end the whole.
        """
        wall = time.perf_counter() - self._began if self._wall is None else self._wall
        if input_bytes > 0 and wall > 0 and self.start_time is not None:
            self._input_bytes = input_bytes
            self.throughput_mbs = round(input_bytes / wall / MB, 3)

    @property
    def peak_rss_mb(self) -> float | None:
        """The largest memory that was seen, in MB; None where none was."""
        peaks = [one.account.peak_rss / MB for one in self._samplers if one.account.peak_rss is not None]
        peak = larger(self._peak_rss_mb, max(peaks, default=None))
        return None if peak is None else round(peak, 1)

    @property
    def cpu_s(self) -> float | None:
        """User and system seconds."""
        used = larger(self._cpu_s, _sum(one.account.cpu_s for one in self._samplers))
        return None if used is None else round(used, 3)

    @property
    def read_bytes(self) -> int | None:
        """Bytes read by system calls, from files, pipes and most sockets."""
        return larger(self._read_bytes, _sum(one.account.read for one in self._samplers))

    @property
    def written_bytes(self) -> int | None:
        """Bytes written by system calls."""
        return larger(self._written_bytes, _sum(one.account.written for one in self._samplers))

    @property
    def samples(self) -> int:
        """How often something was seen."""
        return sum(one.account.looks for one in self._samplers)

    def to_dict(self) -> dict[str, Any]:
        """Return the six fields of a ``.perf.json``."""
        return {
            "task_name": self.task_name,
            "start_time": self.start_time,
            "end_time": self.end_time,
            "wall_time_s": self.wall_time_s,
            "peak_rss_mb": self.peak_rss_mb,
            "throughput_mbs": self.throughput_mbs,
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the six fields as JSON; folders that are missing are made. Nobody sees half a file. Raises `OSError`."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.{os.getpid()}-{threading.get_ident()}")
        try:
            part.write_text(json.dumps(self.to_dict(), indent=2) + "\n", encoding="utf-8")
            part.replace(target)
        except OSError:
            with suppress(OSError):
                part.unlink()
            raise


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _sum(numbers: Iterable[N | None]) -> N | None:
    """Return the sum of what is known."""
    known = [number for number in numbers if number is not None]
    return sum(known) if known else None
