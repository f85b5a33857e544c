"""What bookkeeper asks of a batch system, and what one tells: the narrow door behind which HTCondor, Slurm and Dask lie.

A `BatchSystem` knows neither files nor the ledger, and writes nothing into the catalog: it hands over jobs, tells what
became of them, and holds, releases and removes them. `bookkeeper.jobs` keeps what it told; `BatchExecutor` and the
babysitter (`bookkeeper.watching`) decide.

Submitting is never repeated blindly. The intent, with a tag that no other submission has, is in the catalog before
`BatchSystem.submit` is called, and the tag travels with the jobs. Killed in between, whoever comes next asks
`BatchSystem.find` for the tag: it tells the jobs, or that there are none, and then they are submitted. A submission has
a folder of its own, ``<catalog folder>/batch/<tag>``, in which lie ``job.json`` (what every job of it runs), what the
batch system was given, and what jobs print.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from bookkeeper.jobs.seen import HELD_ITSELF, Seen
from bookkeeper_schema.states import JobState

__all__ = ["HELD_ITSELF", "LEFT", "Accepted", "Asks", "BatchSystem", "Known", "Order", "Seen"]

LEFT: Final = "left"
"""A file in the folder of a submission, as long as something of it is left that has to be forgotten."""


@dataclass(frozen=True, slots=True)
class Asks:
    """What a batch system is asked for, for each job of a submission; None where it decides.

    ``memory_mb`` and ``disk_mb`` are MB of 2^20 bytes, ``run_time_s`` seconds of wall clock. ``queue`` is a Slurm
    partition or a CERN job flavour, ``account`` who pays. ``environment`` is set for the job, ``extra`` are lines of an
    HTCondor submit description, or options of ``sbatch``. ``transfer``: ``shared`` where nodes see the folders of this host, ``files`` where
    all that a job needs travels with it. ``proxy`` and ``token`` are files with credentials (X.509, SciTokens).
    ``options`` is the table of the executor's own name: ``[executor.htcondor]``, ….
    """

    memory_mb: float | None = None
    disk_mb: float | None = None
    run_time_s: float | None = None
    cpus: int | None = None
    queue: str | None = None
    account: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    extra: tuple[str, ...] = ()
    transfer: str = "shared"
    proxy: str | None = None
    token: str | None = None
    container: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Order:
    """Jobs to hand over together: ``count`` of them, all alike, each running ``command`` (a program and its words).

    ``tag`` is the submission's; ``folder`` is its folder, which exists. ``files`` are what has to travel with each job,
    besides the program, where ``asks.transfer`` is ``files``; the words of ``command`` name them by their basenames then. Job ``n`` prints
    into ``out.<n>`` and ``err.<n>`` of the folder. Each job finds its own batch id in ``$BOOKKEEPER_JOB_ID``.
    """

    tag: str
    count: int
    command: tuple[str, ...]
    folder: Path
    asks: Asks
    files: tuple[Path, ...] = ()
    title: str = "bookkeeper"


@dataclass(frozen=True, slots=True)
class Accepted:
    """The batch system has them: ``batch_id`` of all, and of each job by its number in the order.

    ``page`` is the address at which people see them run, where the batch system has such (Dask's dashboard).
    """

    batch_id: str
    jobs: tuple[str, ...]
    page: str | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """A submission as the catalog has it, for a batch system to look at.

    ``position`` is what `follow` returned last, None at first; ``open`` are the jobs not known to be over: by number,
    batch id and state.
    """

    id: int
    tag: str
    folder: Path
    batch_id: str
    position: str | None
    jobs: int
    open: Mapping[int, tuple[str, JobState]]
    asks: Asks


class BatchSystem(Protocol):
    """One batch system, as the babysitter needs it. Made by ``make(options)`` of its module; imports nothing heavy before.

    Methods raise `BookkeeperError` (`ExecutorUnavailable` where it cannot be reached now: whatever was asked is asked
    again later).
    """

    kind: str

    def check(self, asks: Asks) -> None:
        """Raise `UsageError` for what this batch system cannot do or would refuse; asks nobody where it can be avoided."""
        ...

    def prepare(self, order: Order) -> Sequence[Path]:
        """Write the files of a submission into its folder, and return them (``--dry-run`` stops here). Repeatable."""
        ...

    def submit(self, order: Order) -> Accepted:
        """Hand the jobs over: `prepare`, and submit, once. Killed in here, it may have taken place: see `find`."""
        ...

    def find(self, order: Order) -> Accepted | None:
        """Return the submission of this tag, wherever its jobs are (queue or history), None where there is none.

        Some of several jobs may be there when it was killed in the middle: they are removed, and None is returned.
        """
        ...

    def follow(self, known: Known) -> tuple[str | None, Sequence[Seen]]:
        """Return what happened since ``known.position``, in order, and the position behind it.

        The position is taken in together with what happened, in one transaction: what is returned may be asked for
        again, and two may ask at once. Cheap: reads a log, or asks one question for all jobs of a kind at once.
        """
        ...

    def reconcile(self, known: Sequence[Known]) -> Mapping[int, Sequence[Seen]]:
        """Ask the batch system itself about all open jobs of these submissions, in one question; by submission id.

        Tells only what differs from ``known.open``: a job that it does not know any more and whose end nobody saw is
        told as ``lost``.
        """
        ...

    def remove(self, jobs: Sequence[str], reason: str) -> None:
        """Take jobs (batch ids) out of the queue; what runs is told to stop first. Those that are over are none."""
        ...

    def hold(self, jobs: Sequence[str], reason: str) -> None:
        """Keep jobs from running until they are released."""
        ...

    def release(self, jobs: Sequence[str]) -> None:
        """Let held jobs run again."""
        ...

    def fetch(self, known: Known, number: int) -> None:
        """Bring what a job printed into ``out.<n>`` and ``err.<n>`` of its folder, where it does not get there by itself."""
        ...

    def forget(self, known: Known) -> None:
        """All jobs are over and their logs fetched: take what is left of them out of the queue (spooled jobs). Repeatable.

        One whose `submit` made `LEFT` in the folder beforehand, and whose `forget` removes it in the end, is asked until then.
        """
        ...

    def renew(self, known: Known) -> None:
        """Pass on credentials that are newer than those the jobs have."""
        ...

    def wait(self, seconds: float) -> None:
        """Return when something may have happened, at the latest after ``seconds``."""
        ...

    def close(self) -> None:
        """Let go; jobs go on."""
        ...
