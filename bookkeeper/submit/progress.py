"""What `submit` shows while it runs, and what it says at its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bookkeeper.errors import Incomplete, Paused
from bookkeeper.projects import RequestStatus


@dataclass(frozen=True, slots=True)
class Progress:
    """What `submit` is at. Rates are per second over the last half minute; ``eta`` and ``seconds`` are in seconds.

    ``phase`` is declaring, running, stopping or done. While declaring, ``scanned`` files of ``to_scan`` are known;
    afterwards ``status`` has the numbers of the request. ``running`` jobs are those on this host, whoever started them;
    ``entries`` were consumed by committed processes of this run. ``reasons`` are the last failures, newest last.
    ``waiting`` says why nothing is started although files are left, "" where nothing holds it up.
    """

    phase: str
    project: str
    status: RequestStatus | None = None
    running: int = 0
    entries: int = 0
    entries_per_s: float = 0.0
    files_per_s: float = 0.0
    eta: float | None = None
    seconds: float = 0.0
    reasons: tuple[str, ...] = ()
    waiting: str = ""
    scanned: int = 0
    to_scan: int | None = None


@dataclass(frozen=True, slots=True)
class Submitted:
    """How it ended.

    ``interrupted``: it was told to stop, and the project is left open. ``untold`` are the plug-ins and targets of
    notifications that could not be told everything; `bookkeeper plugin run SPEC` tries again.
    """

    project: str
    status: RequestStatus
    interrupted: bool = False
    reasons: tuple[str, ...] = ()
    untold: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 complete, 11 paused, 10 otherwise."""
        if self.status.complete:
            return 0
        return Paused.exit_code if self.status.open_state == "paused" else Incomplete.exit_code


OnUpdate = Callable[[Progress], None]
"""Called with every new `Progress`, several times a second."""
