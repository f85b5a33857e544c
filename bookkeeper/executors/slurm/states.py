"""Slurm's states and reasons, as what happened to a job."""

from __future__ import annotations

import pwd
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bookkeeper.executors.batch import HELD_ITSELF, Seen
from bookkeeper.executors.slurm.asking import Standing
from bookkeeper_schema.states import JobState

WAITING: Final = frozenset(("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "POWER_UP_NODE"))
RUNS: Final = frozenset(("RUNNING", "RESIZING", "SIGNALING", "STAGE_OUT"))
STOPPED: Final = frozenset(("SUSPENDED", "STOPPED"))
HELD: Final = frozenset(("REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD"))
REQUEUED: Final = "REQUEUED"
_ON_A_NODE: Final = (JobState.RUNNING, JobState.SUSPENDED)

ENDED: Final = {
    "COMPLETED": JobState.COMPLETED,
    "FAILED": JobState.COMPLETED,
    "TIMEOUT": JobState.COMPLETED,
    "OUT_OF_MEMORY": JobState.COMPLETED,
    "BOOT_FAIL": JobState.REMOVED,
    "CANCELLED": JobState.REMOVED,
    "DEADLINE": JobState.REMOVED,
    "LAUNCH_FAILED": JobState.REMOVED,
    "NODE_FAIL": JobState.REMOVED,
    "PREEMPTED": JobState.REMOVED,
    "RECONFIG_FAIL": JobState.REMOVED,
    "REVOKED": JobState.REMOVED,
}
"""The states in which a job is over (``man squeue``, job state codes). ``COMPLETING`` is none: its node is not done yet."""

_WORDS: Final = {
    "TIMEOUT": "it ran longer than its time limit",
    "OUT_OF_MEMORY": "it used more memory than it asked for",
    "BOOT_FAIL": "its node did not boot",
    "CANCELLED": "cancelled",
    "DEADLINE": "its deadline passed",
    "LAUNCH_FAILED": "its node could not start it",
    "NODE_FAIL": "its node failed",
    "PREEMPTED": "it had to make room for another job",
    "RECONFIG_FAIL": "its node failed",
    "REVOKED": "taken away by a sibling cluster",
}

_STUCK: Final = re.compile(
    r"BadConstraints|DependencyNeverSatisfied|Partition(?:Node|Time)Limit|PartitionDown|PartitionInactive|NodeDown"
    r"|Invalid(?:Account|QOS)|(?:Account|QOS)NotAllowed|ReqNodeNotAvail.*|Nodes? required for job are DOWN.*"
)
"""Reasons for waiting that want a person; the others change from tick to tick (``Priority``, ``Resources``)."""

_HOLDS: Final = re.compile(r"JobHeldUser|JobHeldAdmin|JobHoldMaxRequeue|.*[Rr]equeued.*[ _]held.*")
_HELD_ITSELF: Final = re.compile(r"JobHoldMaxRequeue|launch.failed.requeued.held")
"""What nobody asked for: the node could not start the job, or too often it had to be run again."""
_KILLED_FOR_MEMORY: Final = re.compile(
    rb"exceeded (?:job |step |virtual )?memory limit|oom[-_]kill|Out Of Memory|OUT_OF_MEMORY", re.IGNORECASE
)
_NODE: Final = ("BOOT_FAIL", "NODE_FAIL", "RECONFIG_FAIL", "REVOKED", "DEADLINE")
"""States of which Slurm's reason says more."""

_KILLED: Final = 137
"""What a job's script ends with whose command was killed by signal 9 a moment before the script itself was to be."""

_OUTPUT: Final = 53
"""The "signal" by which Slurm says that it could not open a job's output (``man sbatch``: the job never started)."""

_TAIL: Final = 1 << 14


def state_of(standing: Standing) -> JobState | None:
    """Return what a job is, None while Slurm has not made up its mind."""
    word = standing.word
    if word in WAITING:
        return JobState.HELD if _HOLDS.fullmatch(standing.reason) else JobState.IDLE
    if word in HELD:
        return JobState.HELD
    if word in RUNS:
        return JobState.RUNNING
    if word in STOPPED:
        return JobState.SUSPENDED
    return ENDED.get(word)


def happened(number: int, was: JobState, ran: int, now: Standing, stderr: Path) -> Iterator[Seen]:
    """Return what happened to a job that was in a state, after ``ran`` restarts, and stands as it does now.

    A job that Slurm ran again is told as such first: whatever ran of it before runs no more. ``stderr`` is where it
    prints errors, which tell of memory where Slurm's state does not.
    """
    state = state_of(now)
    if state is None:
        return
    # Slurm counts it a moment after the job waits again.
    if now.restarts > ran or (was in _ON_A_NODE and state in (JobState.IDLE, JobState.HELD)):
        before = now.started_at if state is JobState.RUNNING else None
        yield Seen(
            number,
            kind=REQUEUED,
            at=_at(now.submitted_at, before),
            state=JobState.IDLE,
            died=True,
            reason="Slurm runs it again: its node failed or was taken away, it was preempted, or somebody asked for it",
        )
        was = JobState.IDLE
    if state is was:
        return
    ended = now.word in ENDED
    if ended and was in (JobState.INTENDED, JobState.IDLE, JobState.HELD) and now.node and now.started_at:
        yield _runs(number, now)
    if ended:
        yield _end(number, state, now, stderr)
    elif state is JobState.RUNNING:
        yield _runs(number, now)
    else:
        code = HELD_ITSELF if state is JobState.HELD and _HELD_ITSELF.fullmatch(now.reason) else None
        yield Seen(number, now.word, _at(now.submitted_at), state, hold_code=code, reason=stuck(now) or None)


def _runs(number: int, now: Standing) -> Seen:
    return Seen(number, "RUNNING", _at(now.started_at), JobState.RUNNING, node=now.node or None)


def _end(number: int, state: JobState, now: Standing, stderr: Path) -> Seen:
    kind, reason = now.word, _WORDS.get(now.word)
    code: int | None = now.code
    signal: int | None = now.signal or None
    if kind == "FAILED" and (signal == 9 or code == _KILLED) and _killed_for_memory(stderr):
        kind, reason, signal = "OUT_OF_MEMORY", _WORDS["OUT_OF_MEMORY"], 9
    elif kind == "FAILED" and signal == _OUTPUT:
        kind, signal, code = "LAUNCH_FAILED", None, None
        reason = f"its node could not write to {stderr.parent}: do nodes see that folder?"
    elif kind == "FAILED" and now.reason and not now.node:
        kind, state, signal, code = "LAUNCH_FAILED", JobState.REMOVED, None, None
        why = f"{now.reason}: no node is such as it asks for" if now.reason == "BadConstraints" else now.reason
        reason = f"Slurm could not run it ({why})"
    elif kind == "CANCELLED":
        reason = f"cancelled{_by_whom(now.state)}"
        code = None
    elif kind == "FAILED":
        reason = f"killed by signal {signal}" if signal else f"exit code {code}"
    if kind not in ("COMPLETED", "FAILED", "OUT_OF_MEMORY"):
        code = None
    if kind in _NODE and now.reason:
        reason = f"{reason} ({now.reason})"
    if kind == "COMPLETED":
        reason = None
    return Seen(
        number,
        kind,
        _at(now.ended_at),
        state,
        died=True,
        node=now.node or None,
        exit_code=None if signal else code,
        signal=signal,
        reason=reason,
        detail={"state": now.state, "exit_code": f"{now.code}:{now.signal}"},
    )


def _by_whom(state: str) -> str:
    """Return `` by NAME`` of ``CANCELLED by 1001``."""
    _, found, who = state.partition(" by ")
    if not found:
        return ""
    try:
        return f" by {pwd.getpwuid(int(who)).pw_name}"
    except (ValueError, KeyError):
        return f" by user {who}"


def stuck(now: Standing) -> str:
    """Return why a job waits, where it is held or will not start by itself; else nothing."""
    if now.word in WAITING | HELD and (_HOLDS.fullmatch(now.reason) or _STUCK.fullmatch(now.reason)):
        return now.reason
    return ""


def _killed_for_memory(stderr: Path) -> bool:
    """Tell whether the end of what a job printed says that it was killed for memory."""
    try:
        with stderr.open("rb") as stream:
            stream.seek(max(0, stream.seek(0, 2) - _TAIL))
            return _KILLED_FOR_MEMORY.search(stream.read()) is not None
    except OSError:
        return False


def _at(*times: float | None) -> float:
    """Return the first time that is known; now where none is."""
    import time

    return next((one for one in times if one), None) or time.time()
