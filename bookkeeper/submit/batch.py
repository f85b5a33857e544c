"""Run a spec whose jobs go to a batch system: look after them until nothing is left, or only hand them over."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from bookkeeper import executors, projects
from bookkeeper.catalog import Database
from bookkeeper.errors import UsageError
from bookkeeper.ledger.door import forgive, sweep
from bookkeeper.operations import Remote
from bookkeeper.spec import Spec
from bookkeeper.submit.progress import OnUpdate, Progress, Submitted
from bookkeeper.transfers import Crew
from bookkeeper.watching import Babysitter, Standing, Systems, waiting
from bookkeeper.watching.settling import order_of

TICK: Final = 0.5
"""Seconds between two looks, unless the batch system tells something before."""

PATIENCE: Final = 5.0
"""Seconds that a batch system may be silent when `submit` begins, and nothing of the request was ever handed over."""

WINDOW: Final = 300.0
"""Seconds over which rates are taken: batch jobs are slower than those of this host."""

LEAP: Final = 2.0
"""Seconds from which on a step of the wall clock against the steady one is taken for a sleep of this host."""


def check(spec: Spec, database: Database, *, detach: bool = False) -> None:
    """Raise `UsageError` for what the batch system of a spec would refuse; nothing is submitted."""
    asks = spec.executor.asks(spec.folder)
    if detach and not executors.outlive(spec.executor.kind, asks.options):
        raise UsageError(
            "the Dask cluster would end with this command, and all jobs with it",
            remedy="name a scheduler in [executor.dask], or leave out --detach",
        )
    systems = Systems(database)
    try:
        systems.of(spec.executor.kind, asks).check(asks)
    finally:
        systems.close()


def written(spec: Spec, address: str, folder: Path) -> list[Path]:
    """Write into ``folder`` what one submission would consist of, and return the files; the batch system is given none."""
    asks = spec.executor.asks(spec.folder)
    system = executors.batch_system(spec.executor.kind, folder, asks.options)
    try:
        system.check(asks)
        order = order_of(address, spec, spec.project.name, folder.name, spec.executor.jobs, folder, asks)
        made = list(system.prepare(order))
    finally:
        system.close()
    return sorted({*made, *(path for path in folder.iterdir() if path.is_file())})


class BatchRun:
    """One run of `submit` with a batch system. Killed, or told to stop: the jobs go on, and so does the next one."""

    def __init__(
        self,
        spec: Spec,
        database: Database,
        jobs: int | None,
        adopt: bool,
        on_update: OnUpdate,
        stop: threading.Event,
    ) -> None:
        self._spec, self._database, self._on_update, self._stop = spec, database, on_update, stop
        self._systems = Systems(database)
        self._crew = Crew(database) if spec.near and not isinstance(database, Remote) else None
        self._sitter = Babysitter(database, spec.project.name, spec, self._systems, most=jobs, adopt=adopt)
        self._began, self._offset = time.monotonic(), time.time() - time.monotonic()
        self._history: deque[tuple[float, int]] = deque()
        self._reasons: deque[str] = deque(maxlen=5)

    def to_the_end(self, *, detach: bool = False) -> Submitted:
        """Look after the request until nothing is left, it waits for a person, or ``stop`` is set.

        ``detach``: only until the jobs that are wanted now are in the queue.
        """
        try:
            interrupted, standing = False, self._begin()
            while not (detach or standing.over or _paused(standing)):
                if self._stop.is_set():
                    interrupted = True
                    break
                self._sitter.system().wait(TICK)
                standing = self._step()
        except KeyboardInterrupt:
            interrupted = True
        finally:
            self._systems.close()
            if self._crew is not None:
                self._crew.close()
        status = projects.status(self._database, self._spec.project.name)
        return Submitted(self._spec.project.name, status, interrupted or detach, tuple(self._reasons))

    def _begin(self) -> Standing:
        """Look once; where nothing of the request was ever handed over, and the batch system is silent, a few times more.

        Raises `ExecutorUnavailable` then: that is nearly always said wrong, and does not mend itself.
        """
        standing = self._step()
        while (silence := self._sitter.silence) is not None and not self._stop.is_set():
            if time.monotonic() - self._began > PATIENCE:
                raise silence
            self._stop.wait(TICK)
            standing = self._step()
        return standing

    def _step(self) -> Standing:
        if not isinstance(self._database, Remote):  # a server looks after that itself, by its own clock
            offset = time.time() - time.monotonic()
            if offset - self._offset > LEAP:
                forgive(self._database, f"this host slept for {offset - self._offset:.0f} s")
            self._offset = offset
            sweep(self._database)
        if self._crew is not None:
            self._crew.step()
        standing = self._sitter.step()
        for problem in standing.problems:
            if problem not in self._reasons:
                self._reasons.append(problem)
        self._show(standing)
        return standing

    def _show(self, standing: Standing) -> None:
        status, now = standing.status, time.monotonic()
        self._history.append((now, status.committed))
        while now - self._history[0][0] > WINDOW:
            self._history.popleft()
        then, committed = self._history[0]
        per_s = (status.committed - committed) / (now - then) if now > then else 0.0
        left = status.available + status.held
        self._on_update(
            Progress(
                phase="running",
                project=status.open_project or self._spec.project.name,
                status=status,
                running=standing.jobs.get("running", 0),
                files_per_s=per_s,
                eta=left / per_s if per_s > 0 else None,
                seconds=now - self._began,
                reasons=tuple(self._reasons),
                waiting=waiting(self._database, status) or in_queue(standing.jobs, standing.problems),
            )
        )


def in_queue(jobs: Mapping[str, int], problems: Sequence[str] = ()) -> str:
    """Return what waits in the queue of a batch system, in words, and what is wrong, where nothing runs; else ""."""
    if jobs.get("running") or not jobs:
        return ""
    words = {"intended": "about to be submitted", "idle": "in the queue", "held": "held", "suspended": "suspended"}
    counts = ", ".join(f"{count} {words.get(state, state)}" for state, count in sorted(jobs.items()))
    return f"no job runs: {counts}" + "".join(f"; {problem}" for problem in problems[:1])


def _paused(standing: Standing) -> bool:
    return standing.status.open_state == "paused" and not standing.jobs.get("running")
