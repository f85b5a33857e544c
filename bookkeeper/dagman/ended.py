"""How the last job of a node ended, as its event log tells: the evidence where its journal has no end record."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from bookkeeper.failures.evidence import Evidence

BY_PERSON: Final = 1
"""The hold code of `condor_hold`."""

NEVER_RAN: Final = -1000
"""Return values from here on down are DAGMan's own: the job was removed, or could not be submitted."""


@dataclass(frozen=True, slots=True)
class Ended:
    """What is known of a job's end. ``removed`` is why it was taken out of the queue, where it was."""

    job: str = ""
    exit_code: int | None = None
    signal: int | None = None
    hold_code: int | None = None
    hold_subcode: int | None = None
    held: str = ""
    removed: str | None = None
    node: str | None = None

    @property
    def by_person(self) -> bool:
        """Whether it was removed though nothing was wrong with it: that is no failure."""
        return self.removed is not None and self.hold_code in (None, BY_PERSON)

    def words(self) -> str:
        """Say it in one line."""
        job = f"job {self.job}" if self.job else "the job"
        if self.removed is not None and self.held:
            return f"{job} was removed after it was held: {self.held}"
        if self.removed is not None:
            return f"{job} was removed: {self.removed}" if self.removed else f"{job} was removed"
        if self.signal is not None:
            return f"{job} was killed by signal {self.signal}"
        if self.exit_code is not None:
            return f"{job} exited with {self.exit_code} and left no end record"
        return f"{job} is gone and left no end record"

    def evidence(self, step: str | None = None) -> Evidence:
        """Return what a failure is explained by."""
        return Evidence(
            message=self.words(),
            exit_code=self.exit_code,
            signal=self.signal,
            hold_code=self.hold_code,
            hold_subcode=self.hold_subcode,
            state="removed" if self.removed is not None else None,
            step=step,
        )

    def returned(self, value: int | None) -> Ended:
        """Add what DAGMan told a POST script, where the log does not tell."""
        if value is None or self.removed is not None or self.signal is not None or self.exit_code is not None:
            return self
        if value <= NEVER_RAN:
            return replace(self, removed="")
        return replace(self, signal=-value) if value < 0 else replace(self, exit_code=value)


def last_job(log: Path) -> Ended:
    """Return how the last job in an event log ended; nothing is known where there is no log, or nobody to read it."""
    try:
        import htcondor2
    except ImportError:
        return Ended()
    if not log.exists():
        return Ended()
    found = Ended()
    try:
        with htcondor2.JobEventLog(str(log)) as events:
            for event in events.events(stop_after=0):
                found = _told(found, event, htcondor2.JobEventType)
    except htcondor2.HTCondorException:  # a line that was torn: what came before stands
        return found
    return found


def _told(so_far: Ended, event: Any, kinds: Any) -> Ended:
    job = f"{event.cluster}.{event.proc}"
    if job != so_far.job:
        so_far = Ended(job)
    kind = event.type
    if kind == kinds.EXECUTE:
        return replace(so_far, node=event.get("ExecuteHost"), exit_code=None, signal=None)
    if kind == kinds.JOB_HELD:
        reason = str(event.get("HoldReason", ""))
        return replace(
            so_far, hold_code=event.get("HoldReasonCode"), hold_subcode=event.get("HoldReasonSubCode"), held=reason
        )
    if kind == kinds.JOB_RELEASED:
        return replace(so_far, hold_code=None, hold_subcode=None, held="")
    if kind == kinds.JOB_ABORTED:
        return replace(so_far, removed=str(event.get("Reason", "")))
    if kind == kinds.JOB_TERMINATED:
        if event.get("TerminatedNormally", True):
            return replace(so_far, exit_code=event.get("ReturnValue"))
        return replace(so_far, signal=event.get("TerminatedBySignal"))
    return so_far
