"""What the events of a job event log, and the ads of the schedd, say of jobs.

The numbers and words are those of the manual: https://htcondor.readthedocs.io/en/latest/codes-other-values/index.html
and https://htcondor.readthedocs.io/en/latest/classad-attributes/job-classad-attributes.html.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from bookkeeper.executors.batch import Known, Seen
from bookkeeper.executors.htcondor.eventlog import Event
from bookkeeper_schema.states import OVER, JobState

SUBMIT, EXECUTE, EXECUTABLE_ERROR, EVICTED, TERMINATED, SHADOW_EXCEPTION = 0, 1, 2, 4, 5, 7
ABORTED, SUSPENDED, UNSUSPENDED, HELD, RELEASED = 9, 10, 11, 12, 13
DISCONNECTED, RECONNECTED, RECONNECT_FAILED, CLUSTER_REMOVED = 22, 23, 24, 36

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

STATUS: Final = {
    1: JobState.IDLE, 2: JobState.RUNNING, 3: JobState.REMOVED, 4: JobState.COMPLETED, 5: JobState.HELD,
    6: JobState.RUNNING, 7: JobState.SUSPENDED,
}  # fmt: skip
"""JobStatus; 6: it transfers its output."""

ON_A_NODE: Final = (JobState.RUNNING, JobState.SUSPENDED)

AGAIN: Final = "started again, and nobody told that it had stopped: its shadow or its machine died"
NEVER_MADE: Final = "its cluster was removed before it was made"


def of_events(events: Iterable[Event], known: Known) -> Iterator[Seen]:
    """Yield what events say of the jobs of a submission.

    A job that starts while the log has it running was started before: its shadow died without a word, and what it ran
    then is not its own any more.
    """
    states = {number: state for number, (_, state) in known.open.items()}
    cluster = int(known.batch_id)
    for event in events:
        kind, number = int(event["EventTypeNumber"]), int(event.get("Proc", -1))
        if int(event.get("Cluster", -1)) != cluster:
            continue
        if kind == CLUSTER_REMOVED:
            made = int(event.get("NextProcId", 0))
            at = float(event.timestamp)  # type: ignore[attr-defined]
            for never in [one for one in known.open if one >= made]:
                yield Seen(never, "removed", at, JobState.REMOVED, reason=NEVER_MADE)
            continue
        if kind not in NAMES or number < 0:
            continue
        seen = _of_event(kind, number, event, again=kind == EXECUTE and states.get(number) in ON_A_NODE)
        if seen.state is not None and states.get(number) not in OVER:
            states[number] = seen.state
        yield seen


def _of_event(kind: int, number: int, event: Event, *, again: bool) -> Seen:
    ended = kind in (TERMINATED, EVICTED)
    return Seen(
        number=number,
        kind=NAMES[kind],
        at=float(event.timestamp),  # type: ignore[attr-defined]
        state=STATES.get(kind),
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
            return words(text)
    if again:
        return AGAIN
    return "evicted from its slot" if kind == EVICTED else None


def words(text: object) -> str:
    """Return what HTCondor says on one line, as long as a person reads it."""
    return " ".join(str(text).split())[:500]


def _node(event: Event) -> str | None:
    """Return the machine of a slot: the name behind its last ``@``, else the address in ``ExecuteHost``."""
    slot = str(event.get("SlotName") or "")
    if "@" in slot:
        return slot.rpartition("@")[2] or None
    host = str(event.get("ExecuteHost") or "")
    return host.strip("<>").partition(":")[0] or None


def _number(event: Mapping[str, Any], name: str) -> int | None:
    value = event.get(name)
    try:
        return None if value is None else int(value)
    except (TypeError, ValueError):
        return None


def _usage(event: Event) -> dict[str, Any]:
    """Return what the job used (memory in MB, disk in KB, bytes over the network), and the code of an eviction."""
    names = {
        "MemoryUsage": "memory_mb", "DiskUsage": "disk_kb", "SentBytes": "sent", "ReceivedBytes": "received",
        "ReasonCode": "reason_code",
    }  # fmt: skip
    return {ours: float(event[theirs]) for theirs, ours in names.items() if isinstance(event.get(theirs), int | float)}


def of_ad(number: int, state: JobState, ad: Mapping[str, Any], *, started: bool) -> Iterator[Seen]:
    """Tell what a job's ad says other than is known. ``started``: also that it runs.

    Where there is an event log, that a job runs is the log's to say: told twice, it would be taken for two starts.
    """
    found = STATUS.get(int(ad.get("JobStatus") or 0))
    if found is None or found is state or (found in ON_A_NODE and not started):
        return
    held, over = found is JobState.HELD, found is JobState.COMPLETED
    signal = _number(ad, "ExitSignal") if over and ad.get("ExitBySignal") else None
    said = ad.get("HoldReason") if held else ad.get("RemoveReason")
    yield Seen(
        number=number,
        kind="reconciled",
        at=float(ad.get("EnteredCurrentStatus") or time.time()),
        state=found,
        died=found not in ON_A_NODE and (state in ON_A_NODE or found is not JobState.IDLE),
        node=str(ad["RemoteHost"]).rpartition("@")[2] if ad.get("RemoteHost") else None,
        hold_code=_number(ad, "HoldReasonCode") if held else None,
        hold_subcode=_number(ad, "HoldReasonSubCode") if held else None,
        exit_code=_number(ad, "ExitCode") if over and signal is None else None,
        signal=signal,
        reason=words(said) if said else None,
    )
