"""Where processes run: on this host, or wherever a batch system says.

An executor knows nothing of the ledger: what it starts are workers, which speak for themselves. There are two sorts. An
`Executor` holds its jobs in its hands, as ``local`` does; others are found by the entry-point group
``bookkeeper.executors``: a name, and a callable with the signature of `Factory`. A plug-in may bring some, too. A
`BatchSystem` (``htcondor``, ``slurm``, ``dask``) keeps jobs in a queue of its own, and `bookkeeper.watching` looks after
them; others are found by the group ``bookkeeper.batch_systems``: a name, and a callable as `make` of ``batch_system``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from bookkeeper.catalog import Database
from bookkeeper.errors import UsageError
from bookkeeper.worker import Job, Outcome

if TYPE_CHECKING:
    from bookkeeper.executors.batch import BatchSystem
    from bookkeeper.plugins import Plugins

GROUP: Final = "bookkeeper.executors"
BATCH_GROUP: Final = "bookkeeper.batch_systems"

BATCH: Final = ("htcondor", "slurm", "dask")
"""The batch systems that come with bookkeeper: a package each, whose ``make`` returns the system."""


@dataclass(frozen=True, slots=True)
class JobStatus:
    """What is known of a job that was submitted.

    ``process_id`` is None as long as its worker opened no process; ``outcome`` is None where it ended without telling,
    and ``problem`` what it left in its log then. ``code`` is its exit code, negative the signal that ended it.
    """

    job: str
    over: bool
    process_id: int | None = None
    outcome: Outcome | None = None
    code: int | None = None
    problem: str = ""


class Executor(Protocol):
    """Runs jobs of one request."""

    def free(self, memory_mb: float | None = None) -> int:
        """Return how many jobs that ask for so much memory may be submitted now.

        Those that an earlier `submit` left running count. At least one may where none runs.
        """
        ...

    def running(self) -> int:
        """Return how many jobs of the request run here, whoever submitted them."""
        ...

    def submit(self, job: Job) -> str:
        """Start a job; return its name. It goes on if this program dies."""
        ...

    def status(self) -> Sequence[JobStatus]:
        """Return what is known of every job that this executor submitted; one that is over is told once."""
        ...

    def cancel(self) -> None:
        """Tell every job that this executor submitted to stop: it rolls back. Told again, they are killed."""
        ...

    def wait(self, seconds: float) -> None:
        """Return when a job may have ended, at the latest after ``seconds``."""
        ...

    def close(self) -> None:
        """Let go; jobs that run go on."""
        ...


class Factory(Protocol):
    """Makes an executor for a request: its name, and how many jobs may run at once."""

    def __call__(self, database: Database, request: str, jobs: int) -> Executor:
        """Return the executor."""
        ...


def kinds(plugins: Plugins | None = None) -> list[str]:
    """Return the kinds of executors that can be used here; those that plug-ins offer are among them."""
    from importlib.metadata import entry_points

    found = {point.name for point in entry_points(group=GROUP)} | set(batch_kinds())
    return ["local", *sorted((found | set(plugins.executors() if plugins else ())) - {"local"})]


def batch_kinds() -> list[str]:
    """Return the kinds of batch systems that are known here, whether or not one of the kind can be reached."""
    from importlib.metadata import entry_points
    from importlib.util import find_spec

    ours = {kind for kind in BATCH if find_spec(f"bookkeeper.executors.{kind}") is not None}
    return sorted(ours | {point.name for point in entry_points(group=BATCH_GROUP)})


def is_batch(kind: str) -> bool:
    """Tell whether a kind is that of a batch system."""
    return kind in batch_kinds()


def batch_system(kind: str, folder: Path, options: Mapping[str, Any]) -> BatchSystem:
    """Return the batch system of a kind.

    ``folder`` is where the catalog keeps the folders of its submissions, ``options`` the table of the kind in a spec.
    Raises `UsageError` where there is none, or an option is wrong.
    """
    from importlib import import_module
    from importlib.metadata import entry_points

    if not is_batch(kind):
        raise UsageError(f"{kind!r} is no batch system here", remedy=f"use {' or '.join(batch_kinds())}")
    for point in entry_points(group=BATCH_GROUP, name=kind):
        return cast("BatchSystem", point.load()(folder, options))
    return cast("BatchSystem", import_module(f"bookkeeper.executors.{kind}").make(folder, options))


def outlive(kind: str, options: Mapping[str, Any]) -> bool:
    """Tell whether jobs go on when who submitted them ends: in a Dask cluster that it made itself they do not."""
    return kind != "dask" or bool(options.get("scheduler"))


def make(kind: str, database: Database, request: str, jobs: int, *, plugins: Plugins | None = None) -> Executor:
    """Return an executor of a kind. Raises `UsageError` where there is none."""
    if kind == "local":
        from bookkeeper.executors.local import LocalExecutor

        return LocalExecutor(database, request, jobs)
    from importlib.metadata import entry_points

    if plugins is not None and (factory := plugins.executors().get(kind)) is not None:
        return cast(Factory, factory)(database, request, jobs)
    for point in entry_points(group=GROUP, name=kind):
        return cast(Factory, point.load())(database, request, jobs)
    raise UsageError(f"{kind!r} is no executor here", remedy=f"use {' or '.join(kinds(plugins))}")
