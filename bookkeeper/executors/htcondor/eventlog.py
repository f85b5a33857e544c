"""What a job event log tells, from where reading stopped the last time.

The position is the file (device and inode) and an offset in it. `htcondor2.JobEventLog` reads from there, and stops before
an event that is only half written. A log that was replaced, or is shorter than it was, is read from its beginning: what it
tells twice changes nothing. A log that is not there yet tells nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from bookkeeper.executors.batch import Known, Seen
from bookkeeper_schema.states import OVER, JobState

SUBMIT, EXECUTE, EXECUTABLE_ERROR, EVICTED, TERMINATED, SHADOW_EXCEPTION = 0, 1, 2, 4, 5, 7
ABORTED, SUSPENDED, UNSUSPENDED, HELD, RELEASED = 9, 10, 11, 12, 13
DISCONNECTED, RECONNECTED, RECONNECT_FAILED = 22, 23, 24

NAMES: Final = {
    SUBMIT: "submitted", EXECUTE: "running", EXECUTABLE_ERROR: "executable_error", EVICTED: "evicted",
    TERMINATED: "terminated", SHADOW_EXCEPTION: "shadow_exception", ABORTED: "removed", SUSPENDED: "suspended",
    UNSUSPENDED: "resumed", HELD: "held", RELEASED: "released", DISCONNECTED: "disconnected",
    RECONNECTED: "reconnected", RECONNECT_FAILED: "reconnect_failed",
}  # fmt: skip
"""The events that change something, by their numbers; all others tell how much a job uses, and the like."""

STATES: Final = {
    SUBMIT: JobState.IDLE, EXECUTE: JobState.RUNNING, EVICTED: JobState.IDLE, TERMINATED: JobState.COMPLETED,
    SHADOW_EXCEPTION: JobState.IDLE, ABORTED: JobState.REMOVED, SUSPENDED: JobState.SUSPENDED,
    UNSUSPENDED: JobState.RUNNING, HELD: JobState.HELD, RELEASED: JobState.IDLE, RECONNECT_FAILED: JobState.IDLE,
}  # fmt: skip

ENDS: Final = frozenset({EVICTED, TERMINATED, ABORTED, HELD, RECONNECT_FAILED, SHADOW_EXCEPTION})
"""After these nothing of the job runs any more, as far as the schedd knows."""

Event = Any
"""An `htcondor2.JobEvent`."""


def read(path: Path, position: str | None) -> tuple[str | None, list[Event]]:
    """Return the events behind a position, and the position behind them."""
    import htcondor2

    try:
        found = path.stat()
    except FileNotFoundError:
        return position, []
    before = json.loads(position) if position else {}
    file, offset = [found.st_dev, found.st_ino], int(before.get("offset", 0))
    if before.get("file") != file or found.st_size < offset:
        offset = 0
    if found.st_size == offset:
        return position, []
    log = htcondor2.JobEventLog.__new__(htcondor2.JobEventLog)
    log.__setstate__(({"_deadline": 0, "_filename": str(path)}, offset))  # as a log that was pickled there
    try:
        events = list(log.events(stop_after=0))
        offset = log.__getstate__()[1]
    finally:
        log.close()
    return json.dumps({"file": file, "offset": offset}), events


def tell(events: Iterable[Event], known: Known) -> Iterator[Seen]:
    """Yield what these events say of the jobs of a submission.

    A job that starts while it is known to run was started before: its shadow or its machine died without a word, and
    what it ran then is not its own any more.
    """
    states = {number: state for number, (_, state) in known.open.items()}
    cluster = int(known.batch_id)
    for event in events:
        kind, number = int(event.type), int(event.proc)
        if kind not in NAMES or event.cluster != cluster or number < 0:
            continue
        again = kind == EXECUTE and states.get(number) in (JobState.RUNNING, JobState.SUSPENDED)
        state = STATES.get(kind)
        if state is not None and states.get(number) not in OVER:
            states[number] = state
        ended = kind in (TERMINATED, EVICTED)
        yield Seen(
            number=number,
            kind=NAMES[kind],
            at=float(event.timestamp),
            state=state,
            died=kind in ENDS or again,
            node=_node(event) if kind == EXECUTE else None,
            hold_code=_number(event, "HoldReasonCode") if kind == HELD else None,
            hold_subcode=_number(event, "HoldReasonSubCode") if kind == HELD else None,
            exit_code=_number(event, "ReturnValue") if ended else None,
            signal=_number(event, "TerminatedBySignal") if ended else None,
            reason=_reason(kind, event, again=again),
            detail=_usage(event) if ended else {},
        )


def _reason(kind: int, event: Event, *, again: bool) -> str | None:
    if kind == TERMINATED:
        return None
    for name in ("HoldReason", "Reason", "DisconnectReason", "NoReconnectReason", "Message"):
        if (text := event.get(name)) is not None and str(text).strip():
            return " ".join(str(text).split())[:500]
    if again:
        return "started again, and nobody told that it had stopped: its shadow or its machine died"
    return "evicted from its slot" if kind == EVICTED else None


def _node(event: Event) -> str | None:
    """Return the machine of a slot: the name behind its last ``@``, else the address in ``ExecuteHost``."""
    slot = str(event.get("SlotName") or "")
    if "@" in slot:
        return slot.rpartition("@")[2] or None
    host = str(event.get("ExecuteHost") or "")
    return host.strip("<>").partition(":")[0] or None


def _number(event: Event, name: str) -> int | None:
    value = event.get(name)
    try:
        return None if value is None else int(value)
    except (TypeError, ValueError):
        return None


def _usage(event: Event) -> dict[str, Any]:
    """Return what the job used: memory in MB, disk in KB, bytes over the network."""
    names = {"MemoryUsage": "memory_mb", "DiskUsage": "disk_kb", "SentBytes": "sent", "ReceivedBytes": "received"}
    return {ours: float(event[theirs]) for theirs, ours in names.items() if isinstance(event.get(theirs), int | float)}
