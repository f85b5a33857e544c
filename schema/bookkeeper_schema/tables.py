"""Every table of a catalog, with the constraints that make wrong states unrepresentable.

Times are seconds since the epoch, UTC, by the catalog's clock; sizes are bytes. ``bookkeeper_schema.migrate`` creates
these tables by migrations; a test holds that both are the same, to the letter of the DDL.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    text,
)
from sqlmodel import Field, SQLModel

from bookkeeper_schema.states import (
    DeliveryState,
    FileState,
    LedgerState,
    OutputState,
    PartitionBy,
    ProcessState,
    ProjectState,
)

BigInt = BigInteger().with_variant(Integer, "sqlite")
"""64 bits everywhere; on SQLite the type that makes a primary key the row id."""


def one_of(column: str, states: type[StrEnum], name: str) -> CheckConstraint:
    """Allow a column the values of an enum, or NULL where the column is nullable."""
    values = ", ".join(f"'{state.value}'" for state in states)
    return CheckConstraint(f"{column} IN ({values})", name=name)


class Catalog(SQLModel, table=True):
    """One row: who this catalog is."""

    __tablename__ = "catalog"
    __table_args__ = (CheckConstraint("id = 1", name="catalog_is_one_row"),)

    id: int = Field(primary_key=True)
    uuid: str = Field(unique=True)
    epoch: int
    created_at: float = Field(sa_type=Float)
    stamped_at: float | None = Field(default=None, sa_type=Float)


class File(SQLModel, table=True):
    """A catalogued data file, in its current version."""

    __tablename__ = "files"
    __table_args__ = (
        CheckConstraint("size >= 0", name="files_size"),
        CheckConstraint("entries >= 0", name="files_entries"),
        CheckConstraint("version >= 1", name="files_version"),
        CheckConstraint("checksum LIKE 'adler32:________'", name="files_checksum"),
        CheckConstraint("length(name) > 0", name="files_name"),
        one_of("state", FileState, "files_state"),
    )

    id: int | None = Field(default=None, sa_column=Column(BigInt, primary_key=True))
    name: str = Field(unique=True)
    size: int = Field(sa_type=BigInt)
    checksum: str | None = None
    entries: int | None = Field(default=None, sa_type=BigInt)
    tree: str | None = None
    version: int = Field(default=1, sa_column_kwargs={"server_default": text("1")})
    state: str = Field(default=FileState.CURRENT, sa_column_kwargs={"server_default": text("'current'")})
    declared_at: float = Field(sa_type=Float)
    trees: dict[str, int] | None = Field(default=None, sa_column=Column("trees", JSON(none_as_null=True)))
    user_metadata: dict[str, Any] | None = Field(default=None, sa_column=Column("metadata", JSON(none_as_null=True)))


class FileVersion(SQLModel, table=True):
    """What a file was before ``file declare --update`` took in its new content."""

    __tablename__ = "file_versions"
    __table_args__ = ({"sqlite_with_rowid": False},)

    file_id: int = Field(sa_column=Column(BigInt, ForeignKey("files.id"), primary_key=True, autoincrement=False))
    version: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    size: int = Field(sa_type=BigInt)
    checksum: str | None = None
    entries: int | None = Field(default=None, sa_type=BigInt)
    until: float = Field(sa_type=Float)


class Location(SQLModel, table=True):
    """Where a copy of a file lies: an absolute local path or a URL."""

    __tablename__ = "locations"
    __table_args__ = ({"sqlite_with_rowid": False},)

    file_id: int = Field(sa_column=Column(BigInt, ForeignKey("files.id"), primary_key=True, autoincrement=False))
    url: str = Field(primary_key=True)


class Dataset(SQLModel, table=True):
    """A dataset definition: globs over logical names, a query, or an explicit list."""

    __tablename__ = "datasets"
    __table_args__ = (CheckConstraint("kind IN ('names', 'where', 'list')", name="datasets_kind"),)

    id: int | None = Field(default=None, sa_column=Column(BigInt, primary_key=True))
    name: str = Field(unique=True)
    kind: str
    definition: list[str] = Field(sa_column=Column(JSON, nullable=False))
    created_at: float = Field(sa_type=Float)


class DatasetFile(SQLModel, table=True):
    """One file of an explicit list."""

    __tablename__ = "dataset_files"
    __table_args__ = ({"sqlite_with_rowid": False},)

    dataset_id: int = Field(sa_column=Column(BigInt, ForeignKey("datasets.id"), primary_key=True, autoincrement=False))
    file_id: int = Field(sa_column=Column(BigInt, ForeignKey("files.id"), primary_key=True, autoincrement=False))


class Snapshot(SQLModel, table=True):
    """The frozen file list that a definition had at one moment."""

    __tablename__ = "snapshots"

    id: int | None = Field(default=None, sa_column=Column(BigInt, primary_key=True))
    dataset_id: int = Field(sa_column=Column(BigInt, ForeignKey("datasets.id"), nullable=False, index=True))
    files: int = Field(sa_type=BigInt)
    bytes: int = Field(sa_type=BigInt)
    entries: int | None = Field(default=None, sa_type=BigInt)
    taken_at: float = Field(sa_type=Float)


class SnapshotFile(SQLModel, table=True):
    """One file of a snapshot, in the version that it had. Never changed, never deleted (triggers refuse)."""

    __tablename__ = "snapshot_files"
    __table_args__ = ({"sqlite_with_rowid": False},)

    snapshot_id: int = Field(
        sa_column=Column(BigInt, ForeignKey("snapshots.id"), primary_key=True, autoincrement=False)
    )
    file_id: int = Field(sa_column=Column(BigInt, ForeignKey("files.id"), primary_key=True, autoincrement=False))
    version: int


class Request(SQLModel, table=True):
    """A root project and all recovery projects descended from it: the owner of the ledger and of its rules.

    ``files`` and ``committed`` are totals, changed only in the transactions that change the ledger.
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


class Project(SQLModel, table=True):
    """One effort to process what a request still misses. A request has at most one that is not ended.

    ``files`` and ``committed`` are its own share of the request's; ``commits`` and ``rollbacks`` count its processes in
    those states; ``uncharged`` counts failures in a row that say nothing about a file.
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
    uncharged: int = Field(default=0, sa_column_kwargs={"server_default": text("0")})
    commits: int = Field(default=0, sa_column_kwargs={"server_default": text("0")})
    rollbacks: int = Field(default=0, sa_column_kwargs={"server_default": text("0")})
    files: int = Field(sa_type=BigInt)
    committed: int = Field(default=0, sa_type=BigInt, sa_column_kwargs={"server_default": text("0")})
    started_at: float = Field(sa_type=Float)
    ended_at: float | None = Field(default=None, sa_type=Float)


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
    the file, else the last one that held it. ``version`` pins the file's content.
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
            "attempts",
            "partition_number",
            "file_id",
            sqlite_where=text("state = 'available'"),
            postgresql_where=text("state = 'available'"),
        ),
        Index(
            "ledger_held",
            "request_id",
            "process_id",
            "file_id",
            sqlite_where=text("state = 'held'"),
            postgresql_where=text("state = 'held'"),
        ),
        Index(
            "ledger_parked",
            "request_id",
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


class Delivery(SQLModel, table=True):
    """One file in one process. Never deleted: it is the history."""

    __tablename__ = "deliveries"
    __table_args__ = (
        one_of("state", DeliveryState, "deliveries_state"),
        CheckConstraint("state NOT IN ('opened', 'consumed') OR opened_at IS NOT NULL", name="deliveries_opened"),
        CheckConstraint("(state = 'consumed') = (consumed_at IS NOT NULL)", name="deliveries_consumed"),
        CheckConstraint("state NOT IN ('skipped', 'failed') OR reason IS NOT NULL", name="deliveries_reason"),
        CheckConstraint("attempt >= 1 AND seq >= 1", name="deliveries_counts"),
        CheckConstraint("entries_read >= 0 AND bytes_read >= 0", name="deliveries_read"),
        Index("deliveries_file", "file_id"),
        {"sqlite_with_rowid": False},
    )

    process_id: int = Field(sa_column=Column(BigInt, ForeignKey("processes.id"), primary_key=True, autoincrement=False))
    file_id: int = Field(sa_column=Column(BigInt, ForeignKey("files.id"), primary_key=True, autoincrement=False))
    seq: int
    attempt: int
    state: str = Field(default=DeliveryState.DELIVERED, sa_column_kwargs={"server_default": text("'delivered'")})
    charged: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})
    changed: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})
    delivered_at: float = Field(sa_type=Float)
    opened_at: float | None = Field(default=None, sa_type=Float)
    consumed_at: float | None = Field(default=None, sa_type=Float)
    entries_read: int | None = Field(default=None, sa_type=BigInt)
    bytes_read: int | None = Field(default=None, sa_type=BigInt)
    reason: str | None = None


class Output(SQLModel, table=True):
    """A file that a process produced: staged under a temporary name, published after the commit."""

    __tablename__ = "outputs"
    __table_args__ = (
        one_of("state", OutputState, "outputs_state"),
        CheckConstraint("size >= 0", name="outputs_size"),
        CheckConstraint("checksum LIKE 'adler32:________'", name="outputs_checksum"),
        CheckConstraint("(state = 'published') <= (published_at IS NOT NULL)", name="outputs_published"),
        Index("outputs_temporary", "temp_url", unique=True),
        Index(
            "outputs_final",
            "final_url",
            unique=True,
            sqlite_where=text("state NOT IN ('discarded', 'revoked')"),
            postgresql_where=text("state NOT IN ('discarded', 'revoked')"),
        ),
        Index("outputs_process", "process_id"),
        Index(
            "outputs_to_publish",
            "request_id",
            sqlite_where=text("state = 'committed'"),
            postgresql_where=text("state = 'committed'"),
        ),
    )

    id: int | None = Field(default=None, sa_column=Column(BigInt, primary_key=True))
    request_id: int = Field(sa_column=Column(BigInt, ForeignKey("requests.id"), nullable=False))
    process_id: int = Field(sa_column=Column(BigInt, ForeignKey("processes.id"), nullable=False))
    key: str
    state: str
    destination: str
    temp_url: str
    final_url: str
    size: int = Field(sa_type=BigInt)
    checksum: str
    entries: int | None = Field(default=None, sa_type=BigInt)
    unproved: str | None = None
    recorded_at: float = Field(sa_type=Float)
    published_at: float | None = Field(default=None, sa_type=Float)


class Event(SQLModel, table=True):
    """An append-only record of anything else (triggers refuse changes)."""

    __tablename__ = "events"
    __table_args__ = (
        Index("events_process", "process_id", "kind"),
        Index("events_project", "project_id", "kind"),
    )

    id: int | None = Field(default=None, sa_column=Column(BigInt, primary_key=True))
    at: float = Field(sa_type=Float)
    kind: str
    project_id: int | None = Field(default=None, sa_column=Column(BigInt, ForeignKey("projects.id")))
    process_id: int | None = Field(default=None, sa_column=Column(BigInt, ForeignKey("processes.id")))
    file_id: int | None = Field(default=None, sa_column=Column(BigInt, ForeignKey("files.id")))
    body: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))


class Destination(SQLModel, table=True):
    """A place that outputs go to, claimed by this catalog: where ``check`` looks for orphans."""

    __tablename__ = "destinations"

    url: str = Field(primary_key=True)
    claimed_at: float = Field(sa_type=Float)


METADATA = SQLModel.metadata
"""All of the above, for migrations and the comparison test."""
