"""Exit codes and signals: one says what the other does."""

from __future__ import annotations

import signal as _signal
from typing import Final

LINUX: Final = {
    1: "SIGHUP", 2: "SIGINT", 3: "SIGQUIT", 4: "SIGILL", 5: "SIGTRAP", 6: "SIGABRT", 7: "SIGBUS", 8: "SIGFPE",
    9: "SIGKILL", 10: "SIGUSR1", 11: "SIGSEGV", 12: "SIGUSR2", 13: "SIGPIPE", 14: "SIGALRM", 15: "SIGTERM",
    24: "SIGXCPU", 25: "SIGXFSZ", 31: "SIGSYS",
}  # fmt: skip
"""Names of signals by their numbers on Linux, where jobs run, whatever machine explains them (signal(7), x86 and Arm)."""

_NAMES: Final = set(LINUX.values()) | {one.name for one in _signal.Signals}
_MOST: Final = 64


def signal_name(value: int | str) -> str | None:
    """Return the name of a signal (``SIGSEGV``) from its number or name; None where there is none."""
    if isinstance(value, int):
        return LINUX.get(value)
    name = value.strip().upper()
    if name.isdigit():
        return LINUX.get(int(name[:4]))
    name = name if name.startswith("SIG") else f"SIG{name}"
    return name if name in _NAMES else None


def signal_of(exit_code: int) -> int | None:
    """Return the signal that an exit code tells of: ``-n`` (subprocess), ``128 + n`` (shells), ``256 + n`` (PBS)."""
    if -_MOST <= exit_code < 0:
        return -exit_code
    return next((exit_code - base for base in (128, 256) if exit_code - base in LINUX), None)


def readings(exit_code: int) -> tuple[int, ...]:
    """Return what an exit code may stand for: itself, and the code in a wait status as `os.system` returns it."""
    return (exit_code, exit_code >> 8) if exit_code > 255 and exit_code % 256 == 0 else (exit_code,)
