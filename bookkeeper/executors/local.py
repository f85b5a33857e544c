"""Run jobs on this host, each a worker in a session of its own, which survives whoever started it.

How many run is told by locked files, ``slots/<request>/<n>.lock`` beside the catalog: a worker inherits the lock of its
slot, and the kernel lets go of it when the worker is gone, however it died. So the next `submit` counts what an earlier
one left running, and no number of a process is ever trusted.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bookkeeper import logs
from bookkeeper.catalog import Database
from bookkeeper.errors import StorageError
from bookkeeper.executors import JobStatus, memory
from bookkeeper.worker import Job, Outcome
from bookkeeper.worker.watch import SIGNALS, signal_words

LOG_CAP: Final = 1 << 18
"""Bytes from which on the log of a slot begins anew; the one before is kept beside it."""


@dataclass
class _Worker:
    """A worker that runs: its process, the log of its slot and where its part begins, its memory, what it said so far."""

    process: subprocess.Popen[bytes]
    log: Path
    begins: int
    memory_mb: float | None = None
    said: bytearray = field(default_factory=bytearray)

    @property
    def name(self) -> str:
        return str(self.process.pid)

    def messages(self) -> Iterator[dict[str, object]]:
        for line in self.said.split(b"\n"):
            with contextlib.suppress(ValueError):  # a line cut off by a kill
                yield json.loads(line)


class LocalExecutor:
    """Workers on this host, at most ``jobs`` of a request at once, and no more than its memory holds."""

    def __init__(self, database: Database, request: str, jobs: int) -> None:
        self._database, self._jobs, self._request = database, jobs, request
        self._slots = database.folder / "slots" / request
        self._workers: dict[int, _Worker] = {}  # by the descriptor of their standard output
        try:
            self._slots.mkdir(parents=True, exist_ok=True)
            logs.folder(database).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"{error.filename} cannot be made: {error.strerror}") from error

    def running(self) -> int:
        """See `Executor.running`."""
        taken = 0
        for path in self._slots.glob("*.lock"):
            slot = self._lock(int(path.stem))
            if slot is None:
                taken += 1
            else:
                os.close(slot)
        return taken

    def free(self, memory_mb: float | None = None) -> int:
        """See `Executor.free`."""
        running = self.running()
        slots = max(0, self._jobs - running)
        if not slots or memory_mb is None:
            return slots
        promised = ((worker.process.pid, worker.memory_mb) for worker in self._workers.values())
        fitting = int(memory.unpromised_mb(promised) // memory_mb)
        return min(slots, max(fitting, 0 if running else 1))

    def submit(self, job: Job) -> str:
        """See `Executor.submit`."""
        number, slot = next((number, slot) for number in range(1 << 20) if (slot := self._lock(number)) is not None)
        try:
            worker = self._start(number, slot, job.memory_mb)
        finally:
            os.close(slot)  # the worker has it now
        self._workers[worker.process.stdout.fileno()] = worker  # type: ignore[union-attr]
        with contextlib.suppress(BrokenPipeError), worker.process.stdin as stdin:  # type: ignore[union-attr]
            stdin.write(job.as_json().encode())
        return worker.name

    def status(self) -> Sequence[JobStatus]:
        """See `Executor.status`."""
        return [self._status(descriptor) for descriptor in list(self._workers)]

    def cancel(self) -> None:
        """See `Executor.cancel`."""
        for worker in self._workers.values():
            if worker.process.poll() is None:
                worker.process.send_signal(signal.SIGINT)

    def wait(self, seconds: float) -> None:
        """See `Executor.wait`."""
        ready, _, _ = select.select(list(self._workers), [], [], seconds)
        for descriptor in ready:
            self._read(descriptor)

    def close(self) -> None:
        """See `Executor.close`."""
        for worker in self._workers.values():
            worker.process.stdout.close()  # type: ignore[union-attr]
            worker.process.returncode = worker.process.poll() or 0  # it goes on, and is nobody's child soon
        self._workers.clear()

    def _start(self, number: int, slot: int, memory_mb: float | None) -> _Worker:
        log = self._log(number)
        with log.open("ab") as stream:
            begins = stream.tell()
            # Signals wait until the worker listens: none is lost, and none hits it while it starts.
            mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
            try:
                process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "bookkeeper.worker", self._database.url, "-"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=stream,
                    cwd="/",
                    pass_fds=(slot,),
                    start_new_session=True,
                )
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.set_blocking(process.stdout.fileno(), False)  # type: ignore[union-attr]
        return _Worker(process, log, begins, memory_mb)

    def _log(self, number: int) -> Path:
        log = logs.folder(self._database) / f"worker-{self._request}-{number}.log"
        with contextlib.suppress(FileNotFoundError):
            if log.stat().st_size > LOG_CAP:
                log.replace(log.with_suffix(".log.1"))
        return log

    def _read(self, descriptor: int) -> bool:
        """Take in what a worker says; tell whether its end was reached."""
        worker = self._workers[descriptor]
        try:
            while data := os.read(descriptor, 1 << 16):
                worker.said += data
        except BlockingIOError:
            return False
        return True

    def _status(self, descriptor: int) -> JobStatus:
        worker = self._workers[descriptor]
        over = self._read(descriptor)
        if over:
            worker.process.wait()
            worker.process.stdout.close()  # type: ignore[union-attr]
            del self._workers[descriptor]
        process_id, outcome = None, None
        for message in worker.messages():
            process_id = message.get("process", process_id)
            if "outcome" in message:
                outcome = Outcome.from_mapping(message["outcome"])  # type: ignore[arg-type]
        problem = _problem(worker) if over and outcome is None else ""
        if over:
            _remove_empty(worker.log)
        return JobStatus(worker.name, over, process_id, outcome, worker.process.returncode, problem)  # type: ignore[arg-type]

    def _lock(self, number: int) -> int | None:
        """Lock a slot and return its descriptor; None where a worker has it."""
        slot = os.open(self._slots / f"{number}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(slot, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(slot)
            return None
        return slot


def _problem(worker: _Worker) -> str:
    """Return how a worker ended that told nothing, and the last line of what it left in its log."""
    code = worker.process.returncode
    how = f"killed by {signal_words(-code)}" if code < 0 else f"exit code {code}"
    try:
        with worker.log.open("rb") as stream:
            stream.seek(worker.begins)
            lines = stream.read(1 << 16).decode("utf-8", "replace").split("\n")
    except FileNotFoundError:
        return how
    spoken = [line.strip() for line in lines if line.strip()]
    return f"{how}: {spoken[-1][:300]}" if spoken else how


def _remove_empty(log: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size == 0:
            log.unlink()
