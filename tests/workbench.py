"""A catalog over real ROOT files, and commands to run over them: what the tests of jobs share."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import bookkeeper
from bookkeeper.worker import Job, Outcome, OutputSpec, work
from services.reach import Reach, local

COPY_FIRST = ("cp", "{inputs}", "{output}")
"""With one file a process: the output is a copy of the input."""

WAIT_FOR_SIGNAL = """
import signal, sys, time
from pathlib import Path
def told(number, frame):
    Path("told").write_text(str(number))
    sys.exit(0)
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, told)
Path("running").write_text(sys.argv[1])
while True:
    time.sleep(0.02)
"""
STUBBORN = WAIT_FOR_SIGNAL.replace("    sys.exit(0)\n", "")


def until(condition: Callable[[], Any], what: str = "the condition", seconds: float = 180) -> Any:
    """Wait until the condition is true; return its value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what} did not come true"
        threading.Event().wait(0.02)
    return value


def to_its_end(process: subprocess.Popen[Any], seconds: float = 600) -> tuple[Any, Any]:
    """Wait for the end of a process, and return what it printed; one that does not end is killed."""
    with process:
        try:
            return process.communicate(timeout=seconds)
        except BaseException:
            kill(process)
            raise


def kill(process: subprocess.Popen[Any]) -> None:
    """Kill a process that is still there; where it has a session of its own, all of that."""
    if process.poll() is None:
        if os.getpgid(process.pid) == process.pid:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    process.wait()


def alive(pid: int) -> bool:
    """Tell whether a process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        if sys.platform == "linux":
            return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


class Bench:
    """A catalog in ``folder`` with a project ``p`` over ROOT files of 500 events each; outputs go to ``out/``."""

    def __init__(self, folder: Path, data: Path, reach: Reach = local, **rules: Any) -> None:
        self.folder = folder
        self.out = folder / "out"
        self.catalog = bookkeeper.open_catalog(reach(folder / "catalog.db"))
        self.catalog.declare_files(bookkeeper.scan([data]))
        self.catalog.define_dataset("all", where="name like '%'")
        self.project = self.catalog.start_project("p", "all", **rules)
        self.output = OutputSpec("m-{process}.root", str(self.out))

    def script(self, text: str) -> tuple[str, ...]:
        """Return the command that runs a Python program over the inputs."""
        (self.folder / "payload.py").write_text(text)
        return (sys.executable, "-S", "payload.py", "{inputs}")

    def job(self, *command: str, **changes: Any) -> Job:
        """Return a job of one file in the bench's folder, with one output."""
        plain = Job(
            "p", command or COPY_FIRST, str(self.folder), (self.output,), files_per_process=1, wait=False, grace=5
        )
        return replace(plain, **changes)

    def work(self, *command: str, **changes: Any) -> Outcome:
        """Run one process here."""
        return work(self.catalog.database, self.job(*command, **changes))

    def worker(self, job: Job, **options: Any) -> subprocess.Popen[str]:
        """Start a worker as a process of its own."""
        words = [sys.executable, "-P", "-m", "bookkeeper.worker", self.catalog.url, "-"]
        pipe = subprocess.PIPE
        started = subprocess.Popen(
            words, stdin=pipe, stdout=pipe, stderr=pipe, text=True, start_new_session=True, **options
        )
        assert started.stdin
        started.stdin.write(job.as_json())
        started.stdin.close()
        started.stdin = None
        return started

    def published(self) -> list[str]:
        """Return the names of what lies in the destination."""
        return sorted(path.name for path in self.out.glob("*.root")) if self.out.exists() else []

    def temporaries(self) -> list[Path]:
        """Return what lies in the destination under temporary names."""
        return list(self.out.glob(".bookkeeper/*/*"))

    def one(self, query: str, *parameters: Any) -> Any:
        """Return the first value of a query."""
        (row,) = self.catalog.sql(query, parameters)
        return next(iter(row.values()))

    def attempts(self) -> list[int]:
        """Return the charged attempts of every file."""
        return [row["attempts"] for row in self.catalog.sql("SELECT attempts FROM ledger ORDER BY file_id")]

    def setbacks(self) -> list[int]:
        """Return how often every file had a part in a failure that says nothing about it."""
        return [row["setbacks"] for row in self.catalog.sql("SELECT setbacks FROM ledger ORDER BY file_id")]

    def ledger(self) -> list[str]:
        """Return the state of every file."""
        return [row["state"] for row in self.catalog.sql("SELECT state FROM ledger ORDER BY file_id")]

    def events(self, kind: str, process: int) -> list[dict[str, Any]]:
        """Return the bodies of the events of a process."""
        import json

        query = "SELECT body FROM events WHERE kind = ? AND process_id = ? ORDER BY id"
        return [json.loads(row["body"]) for row in self.catalog.sql(query, (kind, process))]
