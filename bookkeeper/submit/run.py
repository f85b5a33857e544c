"""Keep workers going until nothing is left to deliver."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import replace
from typing import Final

from bookkeeper import executors, projects
from bookkeeper.catalog import Database
from bookkeeper.errors import BookkeeperError, CatalogError, NotAllowed, Paused, UsageError
from bookkeeper.estimates import Asks
from bookkeeper.executors import Executor, JobStatus
from bookkeeper.ledger.door import bury, forgive, sweep
from bookkeeper.operations import Remote
from bookkeeper.plugins import Dispatcher
from bookkeeper.projects import RequestStatus
from bookkeeper.publishing import publish_pending
from bookkeeper.spec import Spec
from bookkeeper.submit.batch import BatchRun, check
from bookkeeper.submit.preparing import audience, prepare
from bookkeeper.submit.progress import OnUpdate, Progress, Submitted
from bookkeeper.transfers import Crew
from bookkeeper.watching.waiting import deliverable, waiting
from bookkeeper.worker import Job, Outcome, job
from bookkeeper_schema.states import Step

TICK: Final = 0.2
"""Seconds between two looks at the catalog, unless a worker ends before."""

WINDOW: Final = 30.0
"""Seconds over which rates are taken."""

BACK_OFF: Final = (0.2, 5.0)
"""Seconds to wait before a worker is started again after one that found nothing, or did not start: first, longest."""

FAILED_STARTS: Final = 3
"""Workers in a row that do not get as far as taking files: after them, no more are started."""

LEAP: Final = 2.0
"""Seconds from which on a step of the wall clock against the steady one is taken for a sleep of this host."""

STOP_SECONDS: Final = 60.0
"""How long workers have to roll back before they are killed."""


def submit(
    spec: Spec,
    database: Database,
    *,
    jobs: int | None = None,
    adopt: bool = False,
    on_update: OnUpdate = lambda progress: None,
    stop: threading.Event | None = None,
    detach: bool = False,
) -> Submitted:
    """Run a spec until its request has nothing left to deliver, it is paused, or ``stop`` is set (or Ctrl-C comes).

    ``jobs`` overrides the spec's; ``adopt`` takes over destinations that another catalog wrote to.
    ``detach``: hand the jobs over to the batch system, and leave them to `bookkeeper watch`. Raises `Paused` for
    a project that is paused at the start, `NotAllowed` for one that ended incomplete and was not recovered,
    `BookkeeperError` where workers cannot start.
    """
    if executors.is_batch(spec.executor.kind):
        check(spec, database, detach=detach)
    elif detach:
        raise UsageError(
            "jobs of this host are not left alone: who watches them runs them",
            remedy="leave out --detach, or name a batch system in [executor]",
        )
    prepare(spec, database, on_update)
    dispatcher = Dispatcher(database, audience(spec))
    dispatcher.start()
    try:
        submitted = _submit(spec, database, jobs, adopt, on_update, stop or threading.Event(), detach=detach)
    finally:
        untold = dispatcher.close()
    return replace(submitted, untold=tuple(untold))


def _submit(
    spec: Spec,
    database: Database,
    jobs: int | None,
    adopt: bool,
    on_update: OnUpdate,
    stop: threading.Event,
    *,
    detach: bool,
) -> Submitted:
    name = spec.project.name
    status = projects.status(database, name)
    if status.open_project is None:
        publish_pending(database, name)
        status = projects.status(database, name)
        if status.complete:
            return Submitted(name, status)
        missing = status.files - status.committed
        raise NotAllowed(
            f"project {name} has ended, and {missing} of its {status.files} files are not committed ({status.parked} parked)",
            remedy=f"`bookkeeper recover {name}` takes up what is missing, then submit again",
        )
    if status.open_state == "paused":
        raise Paused(
            f"project {status.open_project} is paused: {status.pause_reason}",
            remedy=f"`bookkeeper project resume {status.open_project}` when mended, then submit again",
        )
    if executors.is_batch(spec.executor.kind):
        return BatchRun(spec, database, jobs, adopt, on_update, stop).to_the_end(detach=detach)
    kind, many = spec.executor.kind, jobs or spec.executor.jobs
    executor = executors.make(kind, database, status.request, many, plugins=spec.loaded)
    try:
        return _Run(spec, database, executor, adopt, on_update, stop).to_the_end()
    finally:
        executor.close()


class _Run:
    """One run of `submit`."""

    def __init__(
        self,
        spec: Spec,
        database: Database,
        executor: Executor,
        adopt: bool,
        on_update: OnUpdate,
        stop: threading.Event,
    ) -> None:
        self._spec, self._database, self._executor, self._adopt = spec, database, executor, adopt
        self._on_update, self._stop = on_update, stop
        self._asks = Asks(database, spec.project.name, spec.executor.memory_mb, spec.executor.max_memory_mb)
        self._began = time.monotonic()
        self._offset = time.time() - time.monotonic()
        self._ours: dict[str, JobStatus] = {}
        self._entries = 0
        self._reasons: deque[str] = deque(maxlen=5)
        self._history: deque[tuple[float, int, int]] = deque()
        self._pause, self._not_before = BACK_OFF[0], 0.0
        self._crew = Crew(database) if spec.near and not isinstance(database, Remote) else None
        self._failed_starts: list[str] = []
        self._excluded = False

    def to_the_end(self) -> Submitted:
        """Go on until nothing is left to do."""
        name = self._spec.project.name
        interrupted = False
        self._publish()
        try:
            status = self._go_on()
            interrupted = self._stop.is_set()
        except KeyboardInterrupt:
            interrupted = True
        except CatalogError:
            if self._stop.is_set():  # the catalog is away: the jobs are told to stop, and roll back as soon as they can
                self._executor.cancel()
            raise
        if interrupted:
            self._call_off()
            status = self._look("stopping")
        elif status.open_project is not None and status.open_state == "open":
            self._complain()
            projects.finish(self._database, status.open_project)
        if self._crew is not None:
            self._crew.close()
        self._publish()
        status = self._look("done")
        return Submitted(name, status, interrupted, tuple(self._reasons))

    def _go_on(self) -> RequestStatus:
        """Keep workers going; return the numbers when there is nothing to start any more and none of ours runs."""
        while True:
            self._reap()
            if not isinstance(self._database, Remote):  # a server looks after that itself, by its own clock
                if slept := self._slept():
                    forgive(self._database, f"this host slept for {slept:.0f} s")
                sweep(self._database)
            if self._crew is not None:
                self._crew.step()
            status = self._look("running")
            if self._stop.is_set():
                return status
            open_ = status.open_state == "open"
            more = open_ and status.available + status.held > 0 and len(self._failed_starts) < FAILED_STARTS
            if more:
                self._launch(status)
            elif not self._ours and not (self._spec.near and status.staged):
                return status
            self._executor.wait(TICK)

    def _files_a_worker(self, status: RequestStatus) -> int:
        """Return how many files a worker takes: at most so many, or those of an average partition."""
        if self._spec.job.partition_by:
            return max(1, status.files // max(1, projects.partitions(self._database, status.request)))
        return self._spec.job.files_per_process or self._spec.rules().files_per_process

    def _slept(self) -> float:
        """Return the seconds that this host slept, or its clock was put forward, since the last look; 0 if none."""
        offset = time.time() - time.monotonic()
        slept, self._offset = offset - self._offset, offset
        return slept if slept > LEAP else 0.0

    def _launch(self, status: RequestStatus) -> None:
        """Start as many workers as there are free slots, memory, and files that can be delivered now."""
        files = deliverable(status)
        if files == 0 or time.monotonic() < self._not_before:
            return
        empty_handed = projects.empty_handed(self._database, status.request) | {None}
        starting = sum(1 for one in self._ours.values() if one.process_id in empty_handed)
        groups = -(-(files - status.struck) // self._files_a_worker(status)) + status.struck  # those may come alone
        one = self._next_job(status)
        for _ in range(min(self._executor.free(one.memory_mb), groups - starting)):
            name = self._executor.submit(one)
            self._ours[name] = JobStatus(name, over=False)

    def _next_job(self, status: RequestStatus) -> Job:
        """Return the job of the spec that goes on, asking for what those before it needed."""
        ask = self._asks.now(status.rollbacks)
        one = self._spec.process(status.open_project)
        sized = replace(one, memory_mb=ask.memory_mb, wall_s=ask.wall_s, because=ask.evidence)
        return replace(sized, wait=False, adopt=self._adopt)

    def _reap(self) -> None:
        """Take in what the workers say."""
        for one in self._executor.status():
            self._ours[one.job] = one
            if one.over:
                del self._ours[one.job]
                self._learn(one)

    def _learn(self, ended: JobStatus) -> None:
        """Take in how a worker ended."""
        outcome = ended.outcome
        if outcome is None and ended.process_id is None and ended.code == NotAllowed.exit_code:
            return  # somebody ended or recovered the project while it started: the next look tells where to go on
        if outcome is None and ended.process_id is None:
            self._failed_starts.append(ended.problem)
        elif outcome is not None and _did_not_start(outcome):
            self._failed_starts.append(outcome.reason)
            self._excluded = outcome.fate == job.EXCLUDED
        else:
            self._failed_starts.clear()
        if self._failed_starts or (outcome is not None and outcome.fate in (job.NOTHING, job.PAUSED)):
            self._not_before = time.monotonic() + self._pause
            self._pause = min(self._pause * 2, BACK_OFF[1])
        else:
            self._pause, self._not_before = BACK_OFF[0], 0.0
        if outcome is None:
            self._reasons.append(f"worker {ended.job}: {ended.problem}")
            if ended.process_id is not None:
                bury(self._database, ended.process_id, f"its worker ended without a word: {ended.problem}")
            return
        self._entries += outcome.entries
        if outcome.reason and outcome.fate not in (job.NOTHING, job.PAUSED):
            self._reasons.append(f"process {outcome.process_id}: {outcome.reason}")

    def _complain(self) -> None:
        """Raise where workers do not start: it would go on for ever."""
        if len(self._failed_starts) >= FAILED_STARTS:
            admit = "`bookkeeper node admit NODE` when it is mended" if self._excluded else "mend it"
            raise BookkeeperError(
                f"{len(self._failed_starts)} workers in a row could not start: {self._failed_starts[-1]}",
                remedy=f"{admit}, and submit again; project {self._spec.project.name} is left open",
            )

    def _call_off(self) -> None:
        """Tell our workers to roll back, and wait for it; with little patience after another Ctrl-C."""
        self._executor.cancel()
        deadline = time.monotonic() + STOP_SECONDS
        try:
            while self._ours:
                self._executor.wait(TICK)
                self._reap()
                self._look("stopping")
                if time.monotonic() > deadline:
                    self._executor.cancel()
                    deadline = time.monotonic() + TICK
        except KeyboardInterrupt:
            self._executor.cancel()  # told again, they kill their commands at once
            raise

    def _publish(self) -> None:
        """Publish what workers left. Each of them does that first, too, so the begin and the end are enough for us."""
        for _, problem in publish_pending(self._database, self._spec.project.name):
            if problem is not None and problem not in self._reasons:
                self._reasons.append(problem)

    def _look(self, phase: str) -> RequestStatus:
        """Get the numbers and show them."""
        status = projects.status(self._database, self._spec.project.name)
        now = time.monotonic()
        self._history.append((now, status.committed, self._entries))
        while now - self._history[0][0] > WINDOW:
            self._history.popleft()
        then, committed, entries = self._history[0]
        span = now - then
        per_s = (status.committed - committed) / span if span else 0.0
        left = status.available + status.held
        held_up = waiting(self._database, status) if phase == "running" else ""
        self._on_update(
            Progress(
                phase=phase,
                project=status.open_project or self._spec.project.name,
                status=status,
                running=self._executor.running(),
                entries=self._entries,
                entries_per_s=(self._entries - entries) / span if span else 0.0,
                files_per_s=per_s,
                eta=left / per_s if per_s > 0 and not held_up else None,
                seconds=now - self._began,
                reasons=tuple(self._reasons),
                waiting=held_up,
            )
        )
        return status


def _did_not_start(outcome: Outcome) -> bool:
    """Tell whether a worker got nowhere, for a reason that is not in its files: its program is missing, its node excluded."""
    return outcome.fate == job.EXCLUDED or (outcome.fate == job.ROLLED_BACK and outcome.step == Step.STAGE_EXECUTABLE)
