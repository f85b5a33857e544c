"""A submission followed as the catalog does: what a batch system tells is taken in, and asked about no more when it is over."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from bookkeeper.executors.batch import Accepted, Asks, BatchSystem, Known, Order, Seen
from bookkeeper_schema.states import JobState

OVER = (JobState.COMPLETED, JobState.REMOVED, JobState.LOST)


def order(folder: Path, tag: str, *command: str, count: int = 1, **asks: object) -> Order:
    """An order whose folder exists."""
    place = folder / "batch" / tag
    place.mkdir(parents=True, exist_ok=True)
    return Order(tag, count, command, place, Asks(**asks))  # type: ignore[arg-type]


@dataclass
class Followed:
    """What is known of a submission, and everything that was told of it."""

    system: BatchSystem
    known: Known
    seen: list[Seen] = field(default_factory=list)

    @classmethod
    def of(cls, system: BatchSystem, given: Order, accepted: Accepted | None = None) -> Followed:
        """Submit an order, unless it was, and follow it from the beginning."""
        accepted = accepted or system.submit(given)
        jobs = {number: (job, JobState.INTENDED) for number, job in enumerate(accepted.jobs)}
        return cls(system, Known(1, given.tag, given.folder, accepted.batch_id, None, given.count, jobs, given.asks))

    @property
    def jobs(self) -> list[str]:
        """The ids of the jobs that are not over."""
        return [job for job, _ in self.known.open.values()]

    def look(self, *, thorough: bool = False) -> None:
        """Take in what is new."""
        if thorough:
            seen = self.system.reconcile([self.known]).get(self.known.id, ())
            position = self.known.position
        else:
            position, seen = self.system.follow(self.known)
        left = dict(self.known.open)
        for one in seen:
            if one.state is not None:
                left[one.number] = (left[one.number][0], one.state)
        left = {number: job for number, job in left.items() if job[1] not in OVER}
        self.known = replace(self.known, position=position, open=left)
        self.seen += seen

    def kinds(self, number: int = 0) -> list[str]:
        """What happened to a job, in order."""
        return [one.kind for one in self.seen if one.number == number]

    def last(self, number: int = 0) -> Seen:
        """What happened to a job last."""
        return [one for one in self.seen if one.number == number][-1]

    def until(self, true: Callable[[Followed], object], seconds: float = 180) -> Followed:
        """Follow until something is true."""
        end = time.monotonic() + seconds
        while True:
            self.look()
            if true(self):
                return self
            assert time.monotonic() < end, self.seen
            self.system.wait(0.5)

    def until_over(self) -> Followed:
        """Follow until all jobs are over."""
        return self.until(lambda one: not one.known.open)

    def until_running(self) -> Followed:
        """Follow until all jobs that are not over run."""
        return self.until(lambda one: all(state is JobState.RUNNING for _, state in one.known.open.values()))
