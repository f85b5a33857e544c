"""What it costs to measure: looking at process trees, and the events of a job."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from unittest.mock import patch

import psutil

from bookkeeper.api import Catalog
from bookkeeper.performance import PerformanceRecorder, procfs
from bookkeeper.worker import Job, OutputSpec, measured, work
from bookkeeper.worker.steps import Steps
from catalogs import make_catalog
from measure import Row, compare, seconds

SETTLE, WATCH = 1.5, 5.0
"""Seconds until a sampler goes at its own pace, and seconds for which it is watched."""

CYCLES = 60
JOBS = 5
"""Jobs in a sample: one is too brief to tell a few percent."""

ROOT = """
import subprocess, sys
children = [subprocess.Popen(["sleep", "600"]) for _ in range(int(sys.argv[1]) - 1)]
print(flush=True)
children[0].wait()
"""


def rows() -> Iterator[Row]:
    """Shares of a core at 4 Hz, then a job of `work` with and without what it records of itself."""
    core = "percent of one core"
    for processes, bound in ((10, 0.3), (100, 4.0)):
        with tree(processes) as pid:
            yield Row(f"a tree of {processes} at 4 Hz, /proc", 100 * share(pid), core, bound, "lower")
    with tree(10) as pid, patch.object(procfs, "PROC", "/no-proc"):
        yield Row("a tree of 10 at 4 Hz, psutil", 100 * share(pid), core, 1.0, "lower")
    yield cycle()


@contextmanager
def tree(processes: int) -> Iterator[int]:
    """Run a tree of so many processes; yield the number of its root."""
    words = [sys.executable, "-I", "-S", "-c", ROOT, str(processes)]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as root:
        assert root.stdout
        root.stdout.readline()
        everybody = [psutil.Process(root.pid), *psutil.Process(root.pid).children(recursive=True)]
        assert len(everybody) == processes
        try:
            yield root.pid
        finally:
            for process in everybody:
                with suppress(psutil.Error):
                    process.kill()


def share(pid: int) -> float:
    """The share of a core that a recorder takes: the CPU time of this program, which does nothing else."""
    with PerformanceRecorder("tree") as recorder:
        recorder.monitor_process(pid)
        idle = threading.Event()
        idle.wait(SETTLE)
        used, began = time.process_time(), time.monotonic()
        idle.wait(WATCH)
        used, watched = time.process_time() - used, time.monotonic() - began
    assert recorder.samples > 4 * WATCH
    return used / watched


class SilentSteps(Steps):
    """Steps that nobody hears of."""

    def _send(self) -> None:
        self._unsent = []


class BlindRecorder(PerformanceRecorder):
    """Looks at nothing and keeps nothing."""

    def monitor_process(self, pid: int, poll_interval: float = 0.25) -> None:
        return

    def save(self, path: object) -> None:
        return


def cycle() -> Row:
    """A job of one file that copies it: take, run, prove, store, commit, publish."""
    with tempfile.TemporaryDirectory(prefix="bookkeeper-performance-") as name:
        folder = Path(name)
        catalog = prepared(folder)
        output = OutputSpec("copy-{process}.bin", str(folder / "out"), validate="quick")
        job = Job("bench", ("cp", "{inputs}", "{output}"), name, (output,), files_per_process=1)

        def jobs() -> float:
            return seconds(lambda: [committed(catalog, job) for _ in range(JOBS)])

        def silent() -> float:
            blind: Callable[..., PerformanceRecorder] = lambda process: BlindRecorder("blind")  # noqa: E731
            with patch("bookkeeper.worker.work.Steps", SilentSteps), patch.object(measured, "recorder_of", blind):
                return jobs()

        row = compare(
            "a job that records steps and performance",
            jobs,
            silent,
            against="the same job in silence",
            bound=1.1,
            better="lower",
            rounds=CYCLES // JOBS,
        )
        catalog.close()
    return row


def prepared(folder: Path) -> Catalog:
    """A project over as many small files as there will be jobs."""
    catalog = make_catalog(folder / "bookkeeper.db")
    records = []
    for number in range(2 * CYCLES + 2 * JOBS):
        path = folder / f"{number}.bin"
        path.write_bytes(bytes([number % 256]) * 4096)
        records.append({"name": path.name, "size": 4096, "locations": [str(path)]})
    catalog.declare_files(records)
    catalog.define_dataset("all", names=["*"])
    catalog.start_project("bench", "all")
    return catalog


def committed(catalog: Catalog, job: Job) -> None:
    outcome = work(catalog.database, job)
    assert outcome.fate == "committed", outcome


if __name__ == "__main__":
    import measure

    measure.show(rows())
