"""Call code of others with a bound on the time that it may take."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

GLANCE: Final = 0.1
"""Seconds after which a caller looks whether it is told to stop."""


class Hanging(TimeoutError):
    """A call did not return in time. ``thread`` goes on with it, and is nobody's any more."""

    def __init__(self, seconds: float, thread: threading.Thread) -> None:
        super().__init__(f"it did not return within {seconds:g} s")
        self.thread = thread


class Stopped(Exception):
    """The caller was told to stop. ``thread`` goes on with the call."""

    def __init__(self, thread: threading.Thread) -> None:
        super().__init__("called off")
        self.thread = thread


def call_within(seconds: float, call: Callable[[], T], name: str, stop: threading.Event | None = None) -> T:
    """Call in a thread of its own; return what it returns, raise what it raises.

    What is no `Exception`, and would end more than the call, comes as a `RuntimeError` that says so. The thread is abandoned after so many seconds (`Hanging`), or when ``stop`` is set (`Stopped`).
    """
    returned: list[T] = []
    raised: list[Exception] = []

    def run() -> None:
        try:
            returned.append(call())
        except SystemExit:
            raised.append(RuntimeError("it called sys.exit"))
        except Exception as error:  # noqa: BLE001 - raised again below, in the thread that waits for it
            raised.append(error)
        except BaseException as error:  # noqa: BLE001 - as much its failure as any other, and of this thread only
            raised.append(RuntimeError(f"it raised {type(error).__name__}"))

    thread = threading.Thread(target=run, name=f"bookkeeper call of {name}", daemon=True)
    thread.start()
    deadline = time.monotonic() + seconds
    while thread.is_alive():
        left = deadline - time.monotonic()
        if left <= 0:
            raise Hanging(seconds, thread)
        thread.join(min(GLANCE, left))
        if stop is not None and stop.is_set() and thread.is_alive():
            raise Stopped(thread)
    if raised:
        raise raised[0]
    return returned[0]
