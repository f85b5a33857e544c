"""The rules of the protocol, each of which can be taken away, and the disturbances it must survive."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from .state import Budget, Catalog, Job, Project, Row, State, Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """One configuration of the model. The defaults of the first block are the protocol as it is designed."""

    # --- the protocol's rules
    start_key: Literal["nonce", "batch job", "none"] = "nonce"  # what makes start_process idempotent
    tokens: bool = True  # a process answers only to the job it was given to, though its number may be given twice
    serialised_start: bool = True  # start_process tests the project and inserts in one serialised step
    serialised_next: bool = True  # next_files tests the process and takes files in one serialised step
    manifest: bool = True  # the commit carries the list of files; otherwise marks sent before it decide
    guard_rows: bool = True  # the commit requires that every file of the manifest is still held by the process
    whole_partition: bool = True  # a partition is committed whole or not at all
    free_to_open: bool = True  # files given back go to the open project; otherwise to the one they came from
    unique_temporaries: bool = True  # every upload has a name of its own; otherwise the final name and a suffix
    hidden_temporaries: bool = True  # who lists the destination does not see them
    delete_when_answered: bool = True  # a worker deletes its temporaries only after `rolled back` was answered
    never_replace: bool = True  # publication refuses to overwrite
    two_phase_reopen: bool = True  # reopen: revoke, delete, see absent, and only then free the files
    one_publisher: bool = True  # where there is no atomic rename only the catalog's side publishes
    transfer_deadline: bool = True  # a process handed to a transfer daemon still has a lease
    durable: frozenset[str] = frozenset({"start", "stage", "commit", "roll back"})  # on disk before it is answered

    # --- bounds
    files: int = 2
    jobs: int = 2
    processes: int = 3
    projects: int = 2
    group: int = 2  # files a process is given at most

    # --- circumstances and disturbances
    partitioned: bool = False  # all files are one partition, and the output is named after it
    atomic_rename: bool = True  # the store has one
    collector: bool = False  # temporaries of rolled-back processes are deleted by somebody else
    stages: bool = False  # a worker has its output on record before it commits
    daemons: int = 0  # asynchronous transfers, by so many
    crash: bool = True  # a job may stop anywhere, for good
    partial_work: bool = False  # a job may read only some of its files
    give_up: bool = True  # a job may tire of a commit that is not answered, and roll back
    lossy_marks: bool = True  # without a manifest: marks may get lost
    expiry: bool = True  # any lease may expire at any moment, so that clocks need no modelling
    ends: bool = True  # operators end projects and recover
    plain_end: bool = True  # `end` without --fence too
    near_losses: bool = False  # the copy that waits for a daemon may vanish
    late_copies: int = 1
    restarts: int = 0  # the batch system runs a dead job again
    reopens: int = 0
    power_losses: int = 0

    @property
    def every_file(self) -> int:
        """All files as a mask."""
        return (1 << self.files) - 1

    def with_room(self) -> Rules:
        """The same rules with room for the processes and projects that finish the request."""
        return replace(self, processes=self.processes + 8, projects=self.projects + 4)


def initial(rules: Rules) -> State:
    """A project that just started: every file available, nothing stored, no job begun."""
    catalog = Catalog((Project("open", -1),), (Row("available", 0, -1),) * rules.files, ())
    budget = Budget(rules.late_copies, rules.restarts, rules.reopens, rules.power_losses)
    jobs = (Job("idle"),) * (rules.jobs + rules.daemons)
    durable = catalog if rules.power_losses else None
    return State(catalog, Store((), ()), jobs, frozenset(), frozenset(), budget, durable)
