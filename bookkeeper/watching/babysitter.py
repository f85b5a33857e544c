"""Look after one request whose jobs are in a batch system: one step after the other, each from what is, not from memory.

Whatever a step does is done once, however many do it: see `bookkeeper.jobs`, `settling`, and the moves of the ledger.
"""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from bookkeeper import estimates, jobs, projects
from bookkeeper.catalog import Database
from bookkeeper.errors import BookkeeperError, ExecutorUnavailable
from bookkeeper.failures import Evidence
from bookkeeper.ledger.door import bury
from bookkeeper.projects import RequestStatus
from bookkeeper.publishing import publish_pending
from bookkeeper.watching import holding, printed, taking
from bookkeeper.watching.settling import settle
from bookkeeper.watching.systems import Systems, known_of
from bookkeeper.watching.waiting import deliverable
from bookkeeper_schema.states import JobState

if TYPE_CHECKING:
    from bookkeeper.executors.batch import Asks, Known
    from bookkeeper.spec import Spec

BACK_OFF: Final = (1.0, 60.0)
"""Seconds until jobs are submitted again after those before did nothing, or the storage did not take what is to be
published: at first, at most."""

RECONCILE: Final = 60.0
"""Seconds between two questions to the batch system itself about what it has."""

RENEW: Final = 300.0
"""Seconds between two looks at whether credentials are newer than those the jobs have."""


@dataclass
class Standing:
    """What a step found: the numbers of the request, its open jobs by state, and what went wrong, in words."""

    status: RequestStatus
    jobs: dict[str, int] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    @property
    def open(self) -> int:
        """How many jobs are in the queue."""
        return sum(self.jobs.values())

    @property
    def over(self) -> bool:
        """Whether nothing is left to look after."""
        return self.status.open_project is None and self.open == 0 and self.status.unpublished == 0


class Babysitter:
    """Looks after one request. ``spec`` is None where it cannot be read: nothing new is submitted then."""

    def __init__(
        self,
        database: Database,
        project: str,
        spec: Spec | None,
        systems: Systems,
        *,
        most: int | None = None,
        adopt: bool = False,
    ) -> None:
        self._database, self.project, self.spec, self._systems = database, project, spec, systems
        self._most = most or (spec.executor.jobs if spec else 0)
        self._adopt = adopt
        self._host = socket.gethostname()
        said = spec.executor if spec else None
        self._sizes = estimates.Asks(
            database, project, said.memory_mb if said else None, said.max_memory_mb if said else None
        )
        self._pause, self._not_before = BACK_OFF[0], 0.0
        self._publish_pause, self._publish_at = BACK_OFF[0], 0.0
        self._reconcile_at, self._renew_at = 0.0, time.monotonic() + RENEW
        self._problems: list[str] = []
        self.silence: ExecutorUnavailable | None = None
        """Why nothing of the request could ever be handed over, by the last step."""

    def step(self, *, calmly: bool = False) -> Standing:
        """Look after everything once. ``calmly``: nothing new is submitted."""
        self._problems = []
        found = self._ours()
        self._follow([one for one in found if one["settled_at"] is not None])
        self._bury()
        jobs.name_causes(self._database, self.project)
        jobs.judge(self._database, self.project)
        status = projects.status(self._database, self.project)
        found = self._ours()
        holding.decide(self._database, self._systems, found, self._note)
        if status.open_project is None:
            holding.remove_waiting(self._systems, found, "nothing is left to do", self._note)
        elif status.open_state == "open":
            if status.available + status.held == 0:
                self._publish(status)
                projects.finish(self._database, status.open_project)
            elif not calmly and self.spec is not None:
                self._submit(status, found)
        self._publish(status)
        self._settle(self._ours())
        return self._standing()

    def system(self) -> Any:
        """Return the batch system of the spec. Raises `UsageError`."""
        assert self.spec is not None
        return self._systems.of(self.spec.executor.kind, self.spec.executor.asks(self.spec.folder))

    # -- what is in the queue --------------------------------------------------------------------------------------

    def _ours(self) -> list[dict[str, Any]]:
        """Return the submissions with open jobs that this host made: only here their batch system knows of them."""
        return [one for one in jobs.submissions(self._database, self.project) if one["host"] == self._host]

    def _follow(self, submissions: Sequence[Mapping[str, Any]]) -> None:
        """Take in what happened to jobs; now and then, what the batch system itself says."""
        for one in submissions:
            try:
                taking.follow(self._database, one["project"], self._systems.of_submission(one), known_of(one))
            except BookkeeperError as error:
                self._note(error)
        if time.monotonic() >= self._reconcile_at:
            self._reconcile()
        if time.monotonic() >= self._renew_at:
            self._renew_at = time.monotonic() + RENEW
            self._renew(submissions)

    def _reconcile(self) -> None:
        """Ask every batch system once about all that is open."""
        self._reconcile_at = time.monotonic() + RECONCILE
        groups: dict[int, tuple[Any, dict[int, tuple[str, Known]]]] = {}
        for one in self._ours():
            if one["settled_at"] is not None:
                try:
                    system = self._systems.of_submission(one)
                except BookkeeperError as error:
                    self._note(error)
                else:
                    groups.setdefault(id(system), (system, {}))[1][one["id"]] = one["project"], known_of(one)
        for system, ours in groups.values():
            try:
                for number, seen in system.reconcile([known for _, known in ours.values()]).items():
                    project, known = ours[number]
                    if seen:
                        taking.take_in(self._database, project, system, known, known.position, seen)
            except BookkeeperError as error:
                self._note(error)
        printed.forget_over(self._database, self._systems)

    def _renew(self, submissions: Sequence[Mapping[str, Any]]) -> None:
        for one in submissions:
            if one["asks"].get("proxy") or one["asks"].get("token"):
                try:
                    self._systems.of_submission(one).renew(known_of(one))
                except BookkeeperError as error:
                    self._note(error)

    def _bury(self) -> None:
        """Roll back the processes whose jobs are known to be dead."""
        for row in jobs.dead(self._database, self.project):
            reason, evidence, counted = death_of(row)
            bury(self._database, row["process"], reason, evidence=evidence, counted=counted)

    # -- what is missing -------------------------------------------------------------------------------------------

    def _submit(self, status: RequestStatus, found: Sequence[Mapping[str, Any]]) -> None:
        """Intend the jobs that are missing: as many as there are files to give, and as are wanted at once."""
        assert self.spec is not None and status.open_project is not None
        files = deliverable(status)
        if files == 0 or time.monotonic() < self._not_before:
            return
        groups = -(-(files - status.struck) // self._files_a_job(status)) + status.struck
        busy = jobs.standing(self._database, self.project)
        wanted = min(self._most, busy + groups + sum(holding.held_by_person(one) for one in found))
        if wanted <= sum(int(one["open"]) for one in found) or self._rest(status.open_project):
            return
        tag = f"bookkeeper-{self._database.id[:8]}-{secrets.token_hex(8)}"
        jobs.intend(
            self._database,
            status.open_project,
            tag=tag,
            executor=self.spec.executor.kind,
            host=self._host,
            folder=str(self._systems.folder / tag),
            asks=asdict(self.asks(status)),
            wanted=wanted,
        )

    def asks(self, status: RequestStatus) -> Asks:
        """Return what the next jobs ask for: what the spec says, and what those before them needed."""
        assert self.spec is not None
        said, ask = self.spec.executor.asks(self.spec.folder), self._sizes.now(status.rollbacks)
        return replace(said, memory_mb=ask.memory_mb, run_time_s=said.run_time_s or ask.wall_s)

    def _files_a_job(self, status: RequestStatus) -> int:
        assert self.spec is not None
        if self.spec.job.partition_by:
            return max(1, status.files // max(1, projects.partitions(self._database, status.request)))
        return self.spec.job.files_per_process or self.spec.rules().files_per_process

    def _rest(self, project: str) -> bool:
        """Tell whether the jobs before make it useless to submit more now; stop where none ever starts."""
        last = jobs.fruitless(self._database, self.project, jobs.LEAST)
        empty = [one for one in last if one["state"] == "completed" and one["exit_code"] in jobs.QUIET]
        if len(empty) == jobs.LEAST:
            self._not_before, self._pause = time.monotonic() + self._pause, min(self._pause * 2, BACK_OFF[1])
            return self._pause > BACK_OFF[0] * 2
        self._pause = BACK_OFF[0]
        if len(last) == jobs.LEAST and all(holding.did_not_start(one) for one in last):
            said = last[0]["refused"] or last[0]["reason"] or f"exit code {last[0]['exit_code']}"
            projects.pause(
                self._database, project, f"{jobs.LEAST} jobs in a row ended without having started a process: {said}"
            )
            return True
        return False

    def _settle(self, found: Sequence[Mapping[str, Any]]) -> None:
        """Hand over what is intended; where it is the first of the request, the batch system is asked before it is told."""
        self.silence, waiting = None, [one for one in found if one["settled_at"] is None]
        first = bool(waiting) and set(jobs.summary(self._database, self.project)["states"]) == {JobState.INTENDED}
        for one in waiting:
            try:
                settle(self._database, self._systems, one, self.spec, adopt=self._adopt, first=first)
            except BookkeeperError as error:
                self._note(error)
                if first and isinstance(error, ExecutorUnavailable):
                    self.silence = error

    # -- what is done ----------------------------------------------------------------------------------------------

    def _publish(self, status: RequestStatus) -> None:
        """Publish what workers left; where the storage does not take it, not at every step."""
        if not status.unpublished or time.monotonic() < self._publish_at:
            return
        failed = [problem for _, problem in publish_pending(self._database, self.project) if problem]
        self._problems += failed[:1]
        if failed:
            self._publish_at = time.monotonic() + self._publish_pause
            self._publish_pause = min(self._publish_pause * 2, BACK_OFF[1])
        else:
            self._publish_pause = BACK_OFF[0]

    def _standing(self) -> Standing:
        states: dict[str, int] = {}
        for one in jobs.submissions(self._database, self.project):
            for job in one["unfinished"]:
                states[job["state"]] = states.get(job["state"], 0) + 1
                if job["state"] == JobState.IDLE and job["reason"] and not job["starts"]:
                    self._problems.append(f"jobs wait: {job['reason']}")
        status = projects.status(self._database, self.project)
        return Standing(status, states, tuple(dict.fromkeys(self._problems)))

    def _note(self, error: BookkeeperError) -> None:
        self._problems.append(str(error))


def death_of(row: Mapping[str, Any]) -> tuple[str, Evidence, bool]:
    """Return why a process is dead, in words, and as evidence, and whether that counts as a failure."""
    job, said = row["batch_id"], row["reason"]
    because = f": {said}" if said else ""
    kind = str(row["kind"] or "")
    if row["why"] == 2:
        state, what = "EVICTED", f"its job {job} was started again"
    elif row["state"] == JobState.HELD:
        state, what = "HELD", f"its job {job} was held{because}"
    elif row["state"] == JobState.IDLE:
        state, what = "EVICTED", f"its job {job} was evicted{because}"
    elif row["state"] == JobState.REMOVED:
        state = "REMOVED" if kind in jobs.BY_HAND else kind
        what = (
            f"its job {job} was removed{because}" if kind in jobs.BY_HAND else f"its job {job} ended: {kind}{because}"
        )
    elif row["state"] == JobState.LOST:
        state, what = "NODE_LOST", f"its job {job} is gone{because}"
    else:
        how = f" by signal {row['signal']}" if row["signal"] else f" with exit code {row['exit_code']}"
        state, what = kind.upper(), f"its job {job} ended{how}{because}"
    evidence = Evidence(
        message=what,
        exit_code=row["exit_code"],
        signal=row["signal"],
        hold_code=row["hold_code"],
        hold_subcode=row["hold_subcode"],
        state=state,
    )
    removed = row["state"] == JobState.REMOVED and row["hold_code"] is None and kind in jobs.BY_HAND
    held = row["state"] == JobState.HELD and row["hold_code"] is None
    person = removed or held or row["hold_code"] == holding.BY_PERSON
    return what, evidence, not person
