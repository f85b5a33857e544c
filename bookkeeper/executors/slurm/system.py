"""Slurm as a batch system: arrays handed over by ``sbatch``, and all of them looked at in one question."""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from bookkeeper.errors import UsageError
from bookkeeper.executors import credentials
from bookkeeper.executors.batch import Accepted, Asks, Known, Order, Seen
from bookkeeper.executors.slurm import asking, options, script, states
from bookkeeper.executors.slurm.asking import Standing
from bookkeeper.executors.slurm.commands import Refused, run
from bookkeeper_schema.states import JobState

TOGETHER: Final = 200
"""Jobs that one command is given."""

_OVER: Final = ("invalid job id", "already completing or completed", "job has already finished", "is completing")


class SlurmSystem:
    """See `BatchSystem`. What is known of a person's jobs is asked for once in ``poll`` seconds, whoever wants to know."""

    kind = "slurm"

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._options = options.SlurmOptions.of(given)
        self._accounting = asking.Accounting(self._options.programs)
        self._queue: dict[str, Standing] = {}
        self._asked_at = float("-inf")
        self._closing = threading.Event()
        self._lock = threading.Lock()

    def check(self, asks: Asks) -> None:
        """See `BatchSystem.check`."""
        options.words(asks, self._options)
        credentials.check(asks)
        if asks.transfer != "shared":
            raise UsageError(
                "Slurm does not carry files to its nodes",
                remedy='write [executor] transfer = "shared": nodes have to see the folder of the catalog',
            )
        if asks.container is not None:
            raise UsageError(
                "[executor] container is not for Slurm",
                remedy='start it by the command: ["apptainer", "exec", "image.sif", …]',
            )

    def prepare(self, order: Order) -> Sequence[Path]:
        """See `BatchSystem.prepare`."""
        return script.write(order, options.words(order.asks, self._options))

    def submit(self, order: Order) -> Accepted:
        """See `BatchSystem.submit`."""
        self.prepare(order)
        asked = options.words(order.asks, self._options)
        arrays: list[str] = []
        for chunk in script.chunks(order.count):
            try:
                answer = self._run("sbatch", script.command_line(order, asked, chunk))
                arrays.append(answer.strip().splitlines()[-1].split(";")[0])
            except (Refused, IndexError) as error:
                self._cancel(arrays)
                raise UsageError(
                    f"Slurm does not take the jobs: {error}", remedy="see [executor] of the spec"
                ) from error
        self._stale()
        return _accepted(arrays, order.count)

    def find(self, order: Order) -> Accepted | None:
        """See `BatchSystem.find`."""
        names = [script.name_of(order, chunk) for chunk in script.chunks(order.count)]
        self._stale()
        found = _arrays_left(order)
        known = [*self._jobs().values(), *self._accounting.named(names).values()]
        for standing in known:
            if standing.name in names:
                found[standing.name].add(int(standing.job.partition("_")[0]))
        if len(found) == len(names):
            for name in names:  # had it been handed over twice, the second would not be known to anybody
                self._cancel(str(one) for one in sorted(found[name])[1:])
            return _accepted([str(min(found[name])) for name in names], order.count)
        self._cancel(str(one) for arrays in found.values() for one in arrays)
        return None

    def follow(self, known: Known) -> tuple[str | None, Sequence[Seen]]:
        """See `BatchSystem.follow`. The position is how often each open job was run again, and why it waits."""
        if not known.open:
            return known.position, []
        return _compared(known, self._look([known]))

    def reconcile(self, known: Sequence[Known]) -> Mapping[int, Sequence[Seen]]:
        """See `BatchSystem.reconcile`."""
        self._stale()
        standings = self._look(known)
        told: dict[int, Sequence[Seen]] = {}
        for one in known:
            _, seen = _compared(one, standings)
            lost = [
                Seen(
                    number, "LOST", time.time(), JobState.LOST, died=True, reason=f"Slurm does not know job {batch_id}"
                )
                for number, (batch_id, _) in one.open.items()
                if batch_id not in standings
            ]
            if seen or lost:
                told[one.id] = [*seen, *lost]
        return told

    def remove(self, jobs: Sequence[str], reason: str) -> None:
        """See `BatchSystem.remove`."""
        self._cancel(jobs)
        self._stale()

    def hold(self, jobs: Sequence[str], reason: str) -> None:
        """See `BatchSystem.hold`. What runs is stopped, and waits in the queue."""
        self._stale()
        queue = self._jobs()
        running = [job for job in jobs if job in queue and queue[job].word in states.RUNS | states.STOPPED]
        waiting = [job for job in jobs if job in queue and queue[job].word in states.WAITING]
        self._each("scontrol", ["hold"], waiting)
        self._each("scontrol", ["requeuehold"], running)
        self._stale()

    def release(self, jobs: Sequence[str]) -> None:
        """See `BatchSystem.release`."""
        self._each("scontrol", ["release"], jobs)
        self._stale()

    def fetch(self, known: Known, number: int) -> None:
        """What jobs print gets into the folder by itself."""

    def forget(self, known: Known) -> None:
        """Slurm forgets jobs by itself."""

    def renew(self, known: Known) -> None:
        """Jobs read the files with credentials where they are; one that has expired is told."""
        credentials.check(known.asks)

    def wait(self, seconds: float) -> None:
        """See `BatchSystem.wait`. Slurm calls nobody: it is asked again when ``poll`` seconds are over."""
        due = self._asked_at + self._options.poll - time.monotonic()
        self._closing.wait(max(0.0, min(seconds, due if due > 0 else self._options.poll)))

    def close(self) -> None:
        """See `BatchSystem.close`."""
        self._closing.set()

    def _run(self, program: str, words: Sequence[str]) -> str:
        return run(program, words, folder=self._options.programs)

    def _stale(self) -> None:
        """What was asked for last is no longer what is."""
        self._asked_at = float("-inf")

    def _jobs(self) -> dict[str, Standing]:
        """Return this person's jobs, as Slurm told not longer than ``poll`` seconds ago."""
        with self._lock:
            if time.monotonic() - self._asked_at >= self._options.poll:
                self._queue = asking.queue(self._options.programs)
                self._asked_at = time.monotonic()
            return self._queue

    def _look(self, known: Sequence[Known]) -> dict[str, Standing]:
        """Return how the open jobs of submissions stand; what is not there is nowhere.

        Slurm forgets a job some minutes after its end. Then accounting tells, and where there is none, the file that
        a job leaves at its end.
        """
        queue, found = self._jobs(), {}
        missing: dict[str, tuple[Known, int]] = {}
        for one in known:
            for number, (batch_id, _) in one.open.items():
                standing = _of(queue, batch_id)
                if standing is not None and one.tag in standing.name:
                    found[batch_id] = standing
                else:
                    missing[batch_id] = (one, number)
        if missing:
            arrays = {batch_id.partition("_")[0] for batch_id in missing}
            books = self._accounting.jobs(arrays)
            for batch_id, (one, _) in missing.items():
                standing = _of(books, batch_id)
                if standing is not None and one.tag in standing.name:
                    found[batch_id] = standing
        for batch_id, (one, number) in missing.items():
            if batch_id not in found and (left := _left(one.folder, number)) is not None and left.job == batch_id:
                found[batch_id] = left
        return found

    def _cancel(self, jobs: Iterable[str]) -> None:
        self._each("scancel", ["--quiet"], list(jobs), joined=False)

    def _each(self, program: str, verb: Sequence[str], jobs: Sequence[str], *, joined: bool = True) -> None:
        """Give jobs to a command, some at a time; one that is over already is no failure."""
        for place in range(0, len(jobs), TOGETHER):
            part = list(jobs[place : place + TOGETHER])
            try:
                self._run(program, [*verb, ",".join(part)] if joined else [*verb, *part])
            except Refused as refused:
                if not any(one in str(refused).lower() for one in _OVER):
                    raise


def _of(standings: Mapping[str, Standing], batch_id: str) -> Standing | None:
    """Return how a job stands. The last job of an array, taken away before it began, stands under the array's own id."""
    found = standings.get(batch_id)
    if found is None and (last := standings.get(batch_id.partition("_")[0])) and last.word in states.ENDED:
        return last
    return found


def _accepted(arrays: Sequence[str], count: int) -> Accepted:
    """Return the answer for jobs in these arrays."""
    jobs = [f"{array}_{task}" for chunk, array in enumerate(arrays) for task in range(script.size(count, chunk))]
    return Accepted("+".join(arrays), tuple(jobs))


def _left(folder: Path, number: int) -> Standing | None:
    """Return what a job says of its own end: its id is in the file, too, that its script wrote."""
    try:
        code, at, job = (folder / f"exit.{number}").read_text().split()
        exit_code, ended_at = int(code), float(at)
    except (OSError, ValueError):
        return None
    signal = exit_code - 128 if exit_code > 128 else 0
    state = "FAILED" if exit_code else "COMPLETED"
    return Standing(job, folder.name, state, code=exit_code, signal=signal, started_at=ended_at, ended_at=ended_at)


def _arrays_left(order: Order) -> dict[str, set[int]]:
    """Return the arrays, by their name, that jobs which ended say they were of."""
    found: dict[str, set[int]] = defaultdict(set)
    for path in order.folder.glob("exit.*"):
        number = path.suffix[1:]
        if number.isdigit() and (left := _left(order.folder, int(number))) is not None:
            found[script.name_of(order, int(number) // script.ARRAY)].add(int(left.job.partition("_")[0]))
    return found


def _compared(known: Known, standings: Mapping[str, Standing]) -> tuple[str | None, Sequence[Seen]]:
    """Return the position behind what is known now, and what happened since ``known.position``."""
    before: Mapping[str, Any] = json.loads(known.position) if known.position else {}
    ran, waits = before.get("restarts", {}), before.get("waits", {})
    restarts: dict[str, int] = {}
    why: dict[str, str] = {}
    seen: list[Seen] = []
    for number, (batch_id, was) in sorted(known.open.items()):
        now = standings.get(batch_id)
        if now is None:
            restarts |= {str(number): ran[str(number)]} if str(number) in ran else {}
            continue
        happened = list(states.happened(number, was, ran.get(str(number), 0), now, known.folder / f"err.{number}"))
        stuck = states.stuck(now)
        if not happened and waits.get(str(number), "") != stuck:
            happened = [Seen(number, now.word, time.time(), reason=stuck)]
        seen += happened
        if now.word not in states.ENDED:
            again = sum(one.kind == states.REQUEUED for one in happened)
            counted = max(now.restarts, ran.get(str(number), 0) + again)
            restarts |= {str(number): counted} if counted else {}
            why |= {str(number): stuck} if stuck else {}
    position = {"restarts": restarts, "waits": why}
    told = {name: value for name, value in position.items() if value}
    return (json.dumps(told, separators=(",", ":")) if told else None), seen
