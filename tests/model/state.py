"""One state of the model: nested tuples, so that it hashes and compares at the speed of C."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, TypeVar

T = TypeVar("T")

#: A set of files: bit ``f`` is set when file ``f`` belongs to it.
Mask = int

#: What somebody may do next: in words, and the state after it.
Move = tuple[str, "State"]
Moves = Iterator[Move]

ProjectState = Literal["open", "ended"]
RowState = Literal["available", "held", "committed"]
ProcessState = Literal["active", "staged", "committed", "rolled back", "revoking", "revoked"]
OutputState = Literal["none", "staged", "committed", "published", "discarded", "revoked"]
Place = Literal[
    "idle", "asking", "reading", "marking", "opening", "writing", "staging", "committing",
    "rolling back", "publishing", "copying", "deleting", "gone", "dead",
]  # fmt: skip

LIVE = ("active", "staged")


def replaced(row: tuple[T, ...], index: int, value: T) -> tuple[T, ...]:
    """The tuple with one member replaced."""
    return (*row[:index], value, *row[index + 1 :])


class Project(NamedTuple):
    """A project of the one request; ``recovers`` is the project it took over from, -1 for the root."""

    state: ProjectState
    recovers: int


class Row(NamedTuple):
    """The ledger's row of a file. ``process`` is -1 while nobody holds or has committed it."""

    state: RowState
    project: int
    process: int


class Process(NamedTuple):
    """A process, its deliveries (``given``, ``consumed``) and its one output."""

    state: ProcessState
    project: int
    key: str  # stands for the nonce and the token
    given: Mask
    consumed: Mask
    output: OutputState
    temporary: str  # the temporary name on record, "" before there is one


class Catalog(NamedTuple):
    """What the database holds. The ledger is indexed by file, processes and projects by their number."""

    projects: tuple[Project, ...]
    ledger: tuple[Row, ...]
    processes: tuple[Process, ...]

    def open_project(self) -> int:
        """The request's project that has not ended, or -1."""
        for number, project in enumerate(self.projects):
            if project.state == "open":
                return number
        return -1

    def with_process(self, number: int, **changes: Any) -> Catalog:
        """The catalog with some columns of one process changed."""
        changed = self.processes[number]._replace(**changes)
        return Catalog(self.projects, self.ledger, replaced(self.processes, number, changed))

    def committed_by(self, process: int) -> Mask:
        """The files that count as this process's."""
        return sum(1 << f for f, row in enumerate(self.ledger) if row.process == process and row.state == "committed")


class Content(NamedTuple):
    """The bytes of a stored object: written for which process, by which job, from which files, to the end or not."""

    process: int
    writer: int
    files: Mask
    whole: bool


#: Objects by name, sorted.
Folder = tuple[tuple[str, Content], ...]


class Store(NamedTuple):
    """The destination: objects under temporary names, and those a reader lists."""

    temporary: Folder
    final: Folder


class Job(NamedTuple):
    """Where a job stands in its program, and what it believes."""

    at: Place
    process: int = -1
    knows: Mask = 0  # the files it was told
    read: Mask = 0  # the files in its output
    temporary: str = ""  # the name it writes to


class Request(NamedTuple):
    """A call to the catalog. ``target`` is a project for ``start``, else a process.

    A request whose guard was ``checked`` is a transaction that was interrupted between its test and its update.
    """

    verb: str
    target: int
    key: str
    files: Mask = 0
    temporary: str = ""
    checked: bool = False


class Budget(NamedTuple):
    """How often each rare disturbance may still happen."""

    late_copies: int
    restarts: int
    reopens: int
    power_losses: int


class State(NamedTuple):
    """The whole world. ``durable`` is the catalog that a power loss leaves, None where there is no power loss."""

    catalog: Catalog
    store: Store
    jobs: tuple[Job, ...]
    late: frozenset[Request]  # copies that the network may deliver, again and again
    half_done: frozenset[Request]  # transactions between their test and their update
    budget: Budget
    durable: Catalog | None

    def with_catalog(self, catalog: Catalog) -> State:
        """The state with another catalog, not yet synced to disk."""
        return State(catalog, *self[1:])

    def with_store(self, temporary: Folder | None = None, final: Folder | None = None) -> State:
        """The state with another content of the storage."""
        store = self.store
        changed = Store(store.temporary if temporary is None else temporary, store.final if final is None else final)
        return State(self.catalog, changed, *self[2:])

    def with_job(self, number: int, **changes: Any) -> State:
        """The state with one job moved on."""
        jobs = replaced(self.jobs, number, self.jobs[number]._replace(**changes))
        return State(self.catalog, self.store, jobs, *self[3:])

    def with_new_job(self, number: int, at: Place = "idle") -> State:
        """The state with one job that has forgotten everything."""
        return State(self.catalog, self.store, replaced(self.jobs, number, Job(at)), *self[3:])
