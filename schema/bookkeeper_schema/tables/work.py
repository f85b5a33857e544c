"""What is to be done, and by whom: requests, projects, processes, and the ledger between them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, CheckConstraint, Column, Float, ForeignKey, ForeignKeyConstraint, Index, text
from sqlmodel import Field, SQLModel

from bookkeeper_schema.states import LedgerState, PartitionBy, ProcessState, ProjectState
from bookkeeper_schema.tables.columns import BigInt, one_of


class Request(SQLModel, table=True):
    """A root project and all recovery projects descended from it: the owner of the ledger and of its rules.

    ``files`` and ``committed`` are totals, changed only in the transactions that change the ledger. ``policy`` is how
    failures are explained and retried, where the request says more than the defaults. ``near_bytes`` of its outputs lie at
    near storages; from ``near_limit`` on nothing is delivered. A transfer has ``transfer_deadline`` seconds, and of those
    over one link ``link_limit`` run at once.
    """

    __tablename__ = "requests"
    __table_args__ = (
        CheckConstraint("committed BETWEEN 0 AND files", name="requests_committed"),
        CheckConstraint("max_attempts >= 1", name="requests_max_attempts"),
        CheckConstraint("files_per_process >= 1", name="requests_files_per_process"),
        CheckConstraint("lease > 0", name="requests_lease"),
        CheckConstraint("max_wall > 0", name="requests_max_wall"),
        CheckConstraint("(partition_by IS NULL) = (partition_size IS NULL)", name="requests_partition"),
        CheckConstraint("partition_size >= 1", name="requests_partition_size"),
        one_of("partition_by", PartitionBy, "requests_partition_by"),
    )

    id: int | None = Field(default=None, sa_column=Column(BigInt, primary_key=True))
    name: str = Field(unique=True)
    snapshot_id: int = Field(sa_column=Column(BigInt, ForeignKey("snapshots.id"), nullable=False))
    files: int = Field(sa_type=BigInt)
    committed: int = Field(default=0, sa_type=BigInt, sa_column_kwargs={"server_default": text("0")})
    max_attempts: int
    files_per_process: int
    partition_by: str | None = None
    partition_size: int | None = Field(default=None, sa_type=BigInt)
    lease: float = Field(sa_type=Float)
    max_wall: float | None = Field(default=None, sa_type=Float)
    output_required: bool = Field(sa_column_kwargs={"server_default": text("false")})
    policy: dict[str, Any] | None = Field(default=None, sa_column=Column(JSON(none_as_null=True)))
    near_bytes: int = Field(default=0, sa_type=BigInt, sa_column_kwargs={"server_default": text("0")})
    near_limit: int | None = Field(default=None, sa_type=BigInt)
    transfer_deadline: float = Field(default=86400.0, sa_type=Float, sa_column_kwargs={"server_default": text("86400")})
    link_limit: int = Field(default=4, sa_column_kwargs={"server_default": text("4")})


class Project(SQLModel, table=True):
    """One effort to process what a request still misses. A request has at most one that is not ended.

    ``files`` and ``committed`` are its own share of the request's; ``commits`` and ``rollbacks`` count its processes in
    those states. Failures since the later of ``last_commit_at`` and ``resumed_at`` are a run. Until ``rest_until``
    nothing is delivered: the last of ``rests`` in a row.
    """

    __tablename__ = "projects"
    __table_args__ = (
        one_of("state", ProjectState, "projects_state"),
        CheckConstraint("committed BETWEEN 0 AND files", name="projects_committed"),
        CheckConstraint("(state = 'ended') = (ended_at IS NOT NULL)", name="projects_ended"),
        CheckConstraint("state <> 'paused' OR reason IS NOT NULL", name="projects_pause_reason"),
        CheckConstraint("recovers <> id", name="projects_recovers_another"),
        Index(
            "projects_one_open",
            "request_id",
            unique=True,
            sqlite_where=text("state <> 'ended'"),
            postgresql_where=text("state <> 'ended'"),
        ),
        Index(
            "projects_one_root",
            "request_id",
            unique=True,
            sqlite_where=text("recovers IS NULL"),
            postgresql_where=text("recovers IS NULL"),
        ),
        Index("projects_of_request", "id", "request_id", unique=True),
        Index("projects_request", "request_id"),
    )

    id: int | None = Field(default=None, sa_column=Column(BigInt, primary_key=True))
    name: str = Field(unique=True)
    request_id: int = Field(sa_column=Column(BigInt, ForeignKey("requests.id"), nullable=False))
    recovers: int | None = Field(default=None, sa_column=Column(BigInt, ForeignKey("projects.id")))
    application_family: str
    application_name: str
    application_version: str
    station: str
    owner: str
    state: str = Field(default=ProjectState.OPEN, sa_column_kwargs={"server_default": text("'open'")})
    fenced: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})
    reason: str | None = None
    commits: int = Field(default=0, sa_column_kwargs={"server_default": text("0")})
    rollbacks: int = Field(default=0, sa_column_kwargs={"server_default": text("0")})
    files: int = Field(sa_type=BigInt)
    committed: int = Field(default=0, sa_type=BigInt, sa_column_kwargs={"server_default": text("0")})
    started_at: float = Field(sa_type=Float)
    ended_at: float | None = Field(default=None, sa_type=Float)
    last_commit_at: float | None = Field(default=None, sa_type=Float)
    resumed_at: float | None = Field(default=None, sa_type=Float)
    rest_until: float | None = Field(default=None, sa_type=Float)
    rests: int = Field(default=0, sa_column_kwargs={"server_default": text("0")})


class Process(SQLModel, table=True):
    """One job's transaction: node, batch job id, lease, token.

    ``token`` is the SHA-256 of the secret that the job made at its start, in hexadecimal. ``lease`` is in seconds.
    """

    __tablename__ = "processes"
    __table_args__ = (
        one_of("state", ProcessState, "processes_state"),
        CheckConstraint("(state IN ('active', 'staged')) = (ended_at IS NULL)", name="processes_ended"),
        CheckConstraint("state <> 'rolled_back' OR reason IS NOT NULL", name="processes_reason"),
        CheckConstraint("delivered >= 0 AND group_limit >= 1 AND last_seq >= 0", name="processes_counts"),
        CheckConstraint("files_per_process >= 1", name="processes_files_per_process"),
        CheckConstraint("lease > 0", name="processes_lease"),
        ForeignKeyConstraint(["project_id", "request_id"], ["projects.id", "projects.request_id"]),
        Index("processes_token", "project_id", "token", unique=True),
        Index(
            "processes_live",
            "lease_until",
            sqlite_where=text("state IN ('active', 'staged')"),
            postgresql_where=text("state IN ('active', 'staged')"),
        ),
        Index(
            "processes_revoking",
            "id",
            sqlite_where=text("state = 'revoking'"),
            postgresql_where=text("state = 'revoking'"),
        ),
        Index("processes_request", "request_id", "state", "project_id"),
        Index("processes_node", "request_id", "node", "ended_at"),
        Index("processes_job", "job_id"),
    )

    id: int | None = Field(default=None, sa_column=Column(BigInt, primary_key=True))
    request_id: int = Field(sa_type=BigInt)
    project_id: int = Field(sa_type=BigInt)
    state: str = Field(default=ProcessState.ACTIVE, sa_column_kwargs={"server_default": text("'active'")})
    token: str
    node: str | None = None
    executor: str | None = None
    job_id: str | None = None
    partition_number: int | None = Field(default=None, sa_type=BigInt)
    files_per_process: int
    group_limit: int
    delivered: int = Field(default=0, sa_column_kwargs={"server_default": text("0")})
    last_seq: int = Field(default=0, sa_column_kwargs={"server_default": text("0")})
    lease: float = Field(sa_type=Float)
    lease_until: float = Field(sa_type=Float)
    wall_until: float | None = Field(default=None, sa_type=Float)
    graced: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})
    no_output: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})
    started_at: float = Field(sa_type=Float)
    ended_at: float | None = Field(default=None, sa_type=Float)
    reason: str | None = None


class LedgerRow(SQLModel, table=True):
    """One file of one request: who holds it, and whether it is committed.

    The primary key is the promise: a file is in a request once. ``process_id`` is the process that holds or committed
    the file, else the last one that held it. ``version`` pins the file's content. ``setbacks`` counts failures that say
    nothing about the file, ``setbacks_alone`` those while it was alone; an available one is not delivered before ``not_before`` (0: at once).
    """

    __tablename__ = "ledger"
    __table_args__ = (
        one_of("state", LedgerState, "ledger_state"),
        CheckConstraint("state NOT IN ('held', 'committed') OR process_id IS NOT NULL", name="ledger_holder"),
        CheckConstraint("state <> 'parked' OR reason IS NOT NULL", name="ledger_park_reason"),
        CheckConstraint("attempts >= 0 AND alone BETWEEN 0 AND attempts", name="ledger_attempts"),
        ForeignKeyConstraint(["project_id", "request_id"], ["projects.id", "projects.request_id"]),
        Index(
            "ledger_available",
            "project_id",
            "not_before",
            "attempts",
            "partition_number",
            "file_id",
            sqlite_where=text("state = 'available'"),
            postgresql_where=text("state = 'available'"),
        ),
        Index(
            "ledger_setbacks",
            "project_id",
            sqlite_where=text("state = 'available' AND setbacks > 0"),
            postgresql_where=text("state = 'available' AND setbacks > 0"),
        ),
        Index(
            "ledger_held",
            "process_id",
            "file_id",
            sqlite_where=text("state = 'held'"),
            postgresql_where=text("state = 'held'"),
        ),
        Index(
            "ledger_parked",
            "project_id",
            "file_id",
            sqlite_where=text("state = 'parked'"),
            postgresql_where=text("state = 'parked'"),
        ),
        Index(
            "ledger_partition",
            "request_id",
            "partition_number",
            sqlite_where=text("partition_number IS NOT NULL"),
            postgresql_where=text("partition_number IS NOT NULL"),
        ),
        {"sqlite_with_rowid": False},
    )

    request_id: int = Field(sa_column=Column(BigInt, primary_key=True, autoincrement=False))
    file_id: int = Field(sa_column=Column(BigInt, ForeignKey("files.id"), primary_key=True, autoincrement=False))
    project_id: int = Field(sa_type=BigInt)
    state: str = Field(default=LedgerState.AVAILABLE, sa_column_kwargs={"server_default": text("'available'")})
    process_id: int | None = Field(default=None, sa_column=Column(BigInt, ForeignKey("processes.id")))
    version: int
    attempts: int = Field(default=0, sa_column_kwargs={"server_default": text("0")})
    alone: int = Field(default=0, sa_column_kwargs={"server_default": text("0")})
    solo: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})
    partition_number: int | None = Field(default=None, sa_type=BigInt)
    reason: str | None = None
    setbacks: int = Field(default=0, sa_column_kwargs={"server_default": text("0")})
    setbacks_alone: int = Field(default=0, sa_column_kwargs={"server_default": text("0")})
    not_before: float = Field(default=0, sa_type=Float, sa_column_kwargs={"server_default": text("0")})


class ExcludedNode(SQLModel, table=True):
    """A node that is given nothing until a time: too much failed there, or a person says so. ``times`` counts how often."""

    __tablename__ = "excluded_nodes"

    node: str = Field(primary_key=True)
    since: float = Field(sa_type=Float)
    until: float = Field(sa_type=Float)
    reason: str
    by: str
    times: int = Field(default=1, sa_column_kwargs={"server_default": text("1")})
