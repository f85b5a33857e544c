"""What can interrupt a worker: signals, and the loss of its process. Nothing is ever raised in the middle of a step.

A signal is only noted; the worker looks at it where it waits. What may take long is done in a thread, so that the
worker waits always, and rolls back in time even if a storage never answers.
"""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Final, TypeVar

from bookkeeper.errors import BookkeeperError

T = TypeVar("T")

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PATIENCE: Final = 5.0
"""Seconds that an interrupted task has to end by itself, tidily."""


class Interrupted(Exception):
    """The worker was told to stop, by a signal."""

    def __init__(self, number: int) -> None:
        super().__init__(f"the worker was told to stop by {signal_words(number)}")
        self.number = number


class Watch:
    """Notes signals while it is entered (in the main thread only), and that the process was rolled back from outside."""

    def __init__(self) -> None:
        self.signals: list[int] = []
        self.lost: BookkeeperError | None = None
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        self._before: dict[int, Any] = {}
        self._wakeup = -1
        self._mask: set[int] | None = None

    def __enter__(self) -> Watch:
        if threading.current_thread() is threading.main_thread():
            deaf = {signal.SIGHUP} if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else set()  # `nohup`
            self._before = {number: signal.signal(number, self._on_signal) for number in SIGNALS if number not in deaf}
            # Whichever thread the kernel gives a signal to, the waiting one wakes up.
            self._wakeup = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
            # A worker is started with its signals held back until somebody listens.
            self._mask = signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
            signal.set_wakeup_fd(self._wakeup)
            for number, handler in self._before.items():
                signal.signal(number, handler)

    def __del__(self) -> None:  # not before: a task that was abandoned may still wake us
        os.close(self._read)
        os.close(self._write)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.signals.append(number)
        self._wake()

    def on_fenced(self, error: BookkeeperError) -> None:
        """Note that the process is over; called from the thread of its heart."""
        self.lost = error
        self._wake()

    def _wake(self) -> None:
        try:
            os.write(self._write, b"!")
        except BlockingIOError:
            return  # it is full of wake-ups already

    @property
    def interrupted(self) -> bool:
        """Whether the worker is to stop."""
        return bool(self.signals) or self.lost is not None

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when something happens."""
        return self._read

    def drain(self) -> None:
        """Take the wake-ups."""
        try:
            os.read(self._read, 4096)
        except BlockingIOError:
            return

    def check(self, *_: object) -> None:
        """Raise `Fenced` or `Interrupted` if the worker is to stop."""
        if self.lost is not None:
            raise self.lost
        if self.signals:
            raise Interrupted(self.signals[0])

    def wait(self, seconds: float) -> None:
        """Wait, unless the worker is to stop: see `check`."""
        self._wait(seconds)
        self.check()

    def _wait(self, seconds: float | None) -> None:
        if select.select([self._read], [], [], seconds)[0]:
            self.drain()

    def run(self, task: Callable[[], T]) -> T:
        """Return what the task returns, or raise what it raises. If the worker is to stop, do not wait for its end."""
        self.check()
        running = _Task(task, self._wake)
        running.start()
        while not running.over and not self.interrupted:
            self._wait(None)
        deadline = time.monotonic() + PATIENCE
        while not running.over and time.monotonic() < deadline and len(self.signals) < 2:
            self._wait(0.5)
        if not running.over:
            self.check()
        if running.error is not None:
            raise running.error
        result: T = running.result
        return result


class _Task(threading.Thread):
    def __init__(self, task: Callable[[], Any], wake: Callable[[], None]) -> None:
        super().__init__(name="task", daemon=True)
        self._task, self._wake = task, wake
        self.over = False
        self.result: Any = None
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.result = self._task()
        except BaseException as error:  # noqa: BLE001 - it is raised in the thread that waits
            self.error = error
        self.over = True
        self._wake()


def signal_words(number: int) -> str:
    """Return a signal in words: ``signal 9 (SIGKILL)``."""
    try:
        return f"signal {number} ({signal.Signals(number).name})"
    except ValueError:
        return f"signal {number}"
