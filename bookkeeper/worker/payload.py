"""Run the command of a job: its guardian, its logs, its signals, its end."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bookkeeper.errors import UsageError
from bookkeeper.logs import CappedLog
from bookkeeper.performance import PerformanceRecorder
from bookkeeper.worker import guardian
from bookkeeper.worker.watch import Watch, signal_words

LAST_WORDS: Final = 1.0
"""Seconds that what the command printed has to arrive after its end, if something it left running holds the pipe."""

_INVISIBLE: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")
_HINTS: Final = {
    errno.ENOEXEC: "a script needs a first line such as #!/usr/bin/env python3",
    errno.ENOENT: "the interpreter that its first line names does not exist",
    errno.E2BIG: "give the inputs through $BOOKKEEPER_INPUTS, or lower files_per_process",
    errno.EACCES: "its file system may forbid it (noexec), or its interpreter is not executable",
}


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended: exit code (negative: the signal), and its last words."""

    code: int
    last_words: str

    @property
    def reason(self) -> str:
        """Why it failed, in words: ``exit code 1: RuntimeError: bad basket``."""
        how = f"exit code {self.code}" if self.code >= 0 else f"killed by {signal_words(-self.code)}"
        return f"{how}: {self.last_words}" if self.last_words else how


def run(
    command: Sequence[str],
    *,
    workdir: str,
    environment: Mapping[str, str],
    scratch: Path,
    logs: tuple[CappedLog, CappedLog],
    watch: Watch,
    grace: float,
    recorder: PerformanceRecorder,
) -> Ended:
    """Run a command to its end. ``command[0]`` is a path; the logs take standard output and standard error.

    The ``recorder`` measures all that it starts, however it ends.
    If the worker is to stop, the command gets the signal, and is killed after ``grace`` seconds or at the second
    signal; look at the watch afterwards. Raises `UsageError` where it cannot be executed.
    """
    with _Payload(command, workdir, environment, scratch, logs, recorder) as payload:
        return payload.follow(watch, grace)


class _Payload:
    """A command that runs, as its worker sees it."""

    def __init__(
        self,
        command: Sequence[str],
        workdir: str,
        environment: Mapping[str, str],
        scratch: Path,
        logs: tuple[CappedLog, CappedLog],
        recorder: PerformanceRecorder,
    ) -> None:
        self._program, self._logs, self._recorder = command[0], logs, recorder
        self._answers = b""
        self._pid: int | None = None
        self._end: dict[str, Any] | None = None
        ours: list[int] = []
        theirs: list[int] = []
        for _ in ("stdout", "stderr", "status"):
            reader, writer = os.pipe()
            ours.append(reader)
            theirs.append(writer)
        life, self._life = os.pipe()
        theirs.append(life)
        self._pipes = ours
        out, err, status, life = theirs
        words = [sys.executable, "-I", "-S", guardian.__file__, str(life), str(status), str(scratch), *command]
        try:
            self._guardian = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=workdir,
                env=dict(environment),
                pass_fds=(life, status),
                start_new_session=True,
            )
        except OSError as error:
            self._close()
            raise self._not_executable(error.errno or 0) from error
        finally:
            for descriptor in theirs:
                os.close(descriptor)

    def __enter__(self) -> _Payload:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()
        self._guardian.wait()

    def _close(self) -> None:
        for descriptor in (self._life, *self._pipes):
            os.close(descriptor)

    def follow(self, watch: Watch, grace: float) -> Ended:
        """Pass on what it prints and what it is told, until it ended."""
        with selectors.DefaultSelector() as selector:
            self._watch_pipes(selector)
            selector.register(watch.fileno(), selectors.EVENT_READ, watch.drain)
            with self._recorder:
                self._until_it_ends(selector, watch, grace)
            selector.unregister(watch.fileno())
            deadline = time.monotonic() + LAST_WORDS
            while selector.get_map() and time.monotonic() < deadline:
                self._turn(selector, max(0.0, deadline - time.monotonic()))
        assert self._end is not None
        return Ended(code=self._end["code"], last_words=self._end.get("words") or last_words(*self._logs))

    def _until_it_ends(self, selector: selectors.BaseSelector, watch: Watch, grace: float) -> None:
        kill_at: float | None = None
        while self._end is None:
            self._turn(selector, None if kill_at is None else max(0.0, kill_at - time.monotonic()))
            if watch.interrupted and kill_at is None:
                self._tell(watch.signals[0] if watch.signals else signal.SIGTERM)
                kill_at = time.monotonic() + grace
            if kill_at is not None and (time.monotonic() >= kill_at or len(watch.signals) > 1):
                self._tell(signal.SIGKILL)
                kill_at = time.monotonic() + 1.0

    def _watch_pipes(self, selector: selectors.BaseSelector) -> None:
        out, err, status = self._pipes
        for descriptor, log in ((out, self._logs[0]), (err, self._logs[1])):
            selector.register(descriptor, selectors.EVENT_READ, log.write)
        selector.register(status, selectors.EVENT_READ, self._hear)

    def _turn(self, selector: selectors.BaseSelector, seconds: float | None) -> None:
        for key, _ in selector.select(seconds):
            if key.fd not in self._pipes:
                key.data()
                continue
            data = os.read(key.fd, 1 << 16)
            if data:
                key.data(data)
                continue
            selector.unregister(key.fd)
            if key.fd == self._pipes[2] and self._end is None:
                self._orphaned()

    def _hear(self, data: bytes) -> None:
        """Take in what the guardian says."""
        *lines, self._answers = (self._answers + data).split(b"\n")
        for line in lines:
            answer = json.loads(line)
            if "errno" in answer:
                raise self._not_executable(answer["errno"])
            if "pid" in answer:
                self._pid = answer["pid"]
                self._recorder.monitor_process(answer["pid"])
            if "code" in answer:
                self._end = answer
                self._recorder.at_least(
                    peak_rss_mb=answer["peak_rss_kb"] / 1024,
                    cpu_s=answer["cpu_s"],
                    read_bytes=answer["read_bytes"],
                    written_bytes=answer["written_bytes"],
                )

    def _tell(self, number: int) -> None:
        """Have a signal sent to the whole group of the command."""
        with contextlib.suppress(BrokenPipeError):  # it just ended
            os.write(self._life, bytes([number]))

    def _orphaned(self) -> None:
        """Somebody killed the guardian: nobody but us is left to end the command."""
        if self._pid is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._pid, signal.SIGKILL)
        self._end = {"code": -signal.SIGKILL, "words": "its guardian was killed"}

    def _not_executable(self, number: int) -> UsageError:
        return UsageError(
            f"{self._program} cannot be executed: {os.strerror(number)}",
            remedy=_HINTS.get(number, "try it by hand in the same folder"),
        )


TRACEBACK: Final = "Traceback (most recent call last):"


def last_words(stdout: CappedLog, stderr: CappedLog) -> str:
    """Return what a command said last: the exception of a Python traceback, else its last line.

    Taken from standard error, else from standard output.
    """
    for log in (stderr, stdout):
        lines = [_INVISIBLE.sub("", line).rstrip() for line in re.split(r"[\r\n]+", log.tail())]
        spoken = [line for line in lines if line.strip()]
        if not spoken:
            continue
        begins = max((number for number, line in enumerate(spoken) if line == TRACEBACK), default=len(spoken))
        thrown = [line for line in spoken[begins + 1 :] if not line.startswith((" ", "\t"))]
        return (thrown or spoken[-1:])[0].strip()[:300]
    return ""
