"""What plug-ins are told, and what they answer: plain frozen values, without a door into the catalog."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bookkeeper.errors import UsageError


@dataclass(frozen=True, slots=True)
class Event:
    """One event of the log.

    ``id`` rises with time and is never used again; ``at`` is in seconds since the epoch, UTC. ``project`` is the one that
    it belongs to (that of its process, where it says none itself), ``request`` the request of that; ``file`` is a logical
    name. ``body`` is what was recorded.
    """

    id: int
    at: float
    kind: str
    project: str | None = None
    request: str | None = None
    process_id: int | None = None
    file: str | None = None
    body: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Failure:
    """A process that failed, and how that was explained (the event ``failure.classified``).

    ``files`` are the names that the process was given, at most 1000. ``by`` is who explained it: ``rules``,
    ``reclassify`` or ``plugin:NAME``. ``body`` is the whole event: the texts that were seen, codes and signals.
    """

    event: int
    at: float
    project: str
    process_id: int
    node: str | None
    files: tuple[str, ...]
    category: str
    rule: str
    confidence: float
    evidence: str
    remedy: str
    message: str
    step: str | None
    exit_code: int | None
    signal: int | None
    by: str
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided after a failure (the event ``retry.decided``).

    ``decisions`` are words such as ``strike``, ``back off``, ``isolate``, ``park``, ``brake``; ``charged`` files got a
    strike, ``parked`` were parked; ``delay`` is in seconds, None where nothing waits; ``suspects`` are names of files.
    """

    event: int
    project: str
    process_id: int | None
    decisions: tuple[str, ...]
    reason: str
    charged: int
    parked: int
    delay: float | None
    suspects: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HoldBack:
    """Deliver files not before ``seconds`` have passed. ``files``: None means the suspects, else all of the process."""

    seconds: float
    reason: str = ""
    files: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.seconds, int | float) or not 0 < self.seconds < float("inf"):
            raise UsageError(f"files cannot be held back for {self.seconds!r} seconds", remedy="give a number above 0")


@dataclass(frozen=True, slots=True)
class Park:
    """Park files: no delivery until a person decides. ``files`` as in `HoldBack`."""

    reason: str
    files: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        _need_reason("parking", self.reason)


@dataclass(frozen=True, slots=True)
class Pause:
    """Pause the project: no new processes and no deliveries until a person resumes it."""

    reason: str

    def __post_init__(self) -> None:
        _need_reason("pausing", self.reason)


Amendment = HoldBack | Park | Pause


def _need_reason(what: str, reason: object) -> None:
    if not isinstance(reason, str) or not reason.strip():
        raise UsageError(f"{what} needs a reason", remedy="it tells those who come later why")
