"""What Dask's scheduler tells, as what happened to jobs."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bookkeeper.executors.batch import Known, Seen
from bookkeeper_schema.states import JobState


@dataclass(frozen=True, slots=True)
class Told:
    """What the scheduler knows (see `task.standing`), and the address of its dashboard."""

    workers: Collection[str]
    metadata: Mapping[str, Mapping[str, Any]]
    over: Mapping[str, str]
    page: str | None


def happened(known: Known, number: int, told: Told) -> Iterator[Seen]:
    """Return what happened to a job since the catalog knew of it."""
    batch_id, was = known.open[number]
    found = told.metadata.get(known.tag)
    if not found or not found.get("accepted"):
        reason = "Dask's scheduler does not know it: it was restarted"
        yield Seen(number, "SchedulerRestarted", time.time(), JobState.LOST, died=True, reason=reason)
        return
    run = (found.get("runs") or {}).get(str(number))
    mark = (found.get("unwanted") or {}).get(str(number)) or {}
    if run is not None:
        yield from _ran(number, was, run, mark, told)
        return
    if mark.get("what") == "removed":
        yield Seen(number, "REMOVED", mark["at"], JobState.REMOVED, died=True, reason=mark.get("reason") or None)
        return
    over = [why for key, why in told.over.items() if key.partition(".")[0] == batch_id]
    gave_up = next(filter(None, over), None)
    if gave_up is not None:
        reason = gave_up.strip().splitlines()[-1][:500]
        kind = "KilledWorker" if "KilledWorker" in gave_up or "different workers" in gave_up else "ERRED"
        yield Seen(number, kind, time.time(), JobState.REMOVED, died=True, reason=reason)
        return
    if over and not mark:
        reason = "its task ended without having run: the submission was not complete in time"
        yield Seen(number, "VOID", time.time(), JobState.REMOVED, died=True, reason=reason)
        return
    state = JobState.HELD if mark.get("what") == "held" else JobState.IDLE
    if state is not was:
        at = mark.get("at") or time.time()
        yield Seen(number, str(state).upper(), at, state, reason=mark.get("reason") or None)


def _ran(number: int, was: JobState, run: Mapping[str, Any], mark: Mapping[str, Any], told: Told) -> Iterator[Seen]:
    """Return what happened to a job that was started."""
    node, lost = run["node"], "ended" not in run and run["worker"] not in told.workers
    if was is not JobState.RUNNING:
        detail = {"worker": run["worker"]} | ({"dashboard": told.page} if told.page else {})
        yield Seen(number, "RUNNING", run["at"], JobState.RUNNING, node=node, detail=detail)
    if lost:
        reason = f"its worker {run['worker']} was lost"
        yield Seen(number, "KilledWorker", time.time(), JobState.REMOVED, died=True, node=node, reason=reason)
    elif "ended" in run:
        yield _ended(number, run, mark)


def _ended(number: int, run: Mapping[str, Any], mark: Mapping[str, Any]) -> Seen:
    code, at = run.get("code"), run["ended"]
    signal = -code if code is not None and code < 0 else None
    kind, state, reason = ("COMPLETED" if code == 0 else "FAILED"), JobState.COMPLETED, None
    if "problem" in run:
        kind, state, reason = "LAUNCH_FAILED", JobState.REMOVED, run["problem"]
    elif run.get("why") == "late":
        kind, reason = "TIMEOUT", "it ran longer than its time limit"
    elif run.get("why") == "stopped":
        kind, state, reason = "REMOVED", JobState.REMOVED, mark.get("reason") or "it was told to stop"
    elif code:
        reason = f"killed by signal {signal}" if signal else f"exit code {code}"
    exit_code = None if signal else code
    return Seen(number, kind, at, state, died=True, node=run["node"], exit_code=exit_code, signal=signal, reason=reason)
