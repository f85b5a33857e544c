"""What happened and what came of it: deliveries, outputs, destinations, events."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, CheckConstraint, Column, Float, ForeignKey, Index, text
from sqlmodel import Field, SQLModel

from bookkeeper_schema.states import DeliveryState, OutputState
from bookkeeper_schema.tables.columns import BigInt, one_of


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


class Destination(SQLModel, table=True):
    """A place that outputs go to, claimed by this catalog: where ``check`` looks for orphans."""

    __tablename__ = "destinations"

    url: str = Field(primary_key=True)
    claimed_at: float = Field(sa_type=Float)


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


class Journal(SQLModel, table=True):
    """A journal of a job without a network, as far as it was taken in. Of a process at most one decides.

    ``run`` is the name that the job made for itself: two jobs with one ticket have two.
    """

    __tablename__ = "journals"
    __table_args__ = (
        CheckConstraint("length(run) > 0", name="journals_run"),
        CheckConstraint("records >= 0", name="journals_records"),
        Index(
            "journals_decided",
            "process_id",
            unique=True,
            sqlite_where=text("decided"),
            postgresql_where=text("decided"),
        ),
    )

    run: str = Field(primary_key=True)
    process_id: int = Field(sa_column=Column(BigInt, ForeignKey("processes.id"), nullable=False))
    records: int = Field(sa_type=BigInt)
    decided: bool
    taken_at: float = Field(sa_type=Float)


class Cursor(SQLModel, table=True):
    """How far a plug-in has read the events. ``attempts`` failed so far at the next one; claimed by one reader at a time."""

    __tablename__ = "cursors"

    name: str = Field(primary_key=True)
    event_id: int = Field(sa_type=BigInt)
    attempts: int = Field(default=0, sa_column_kwargs={"server_default": text("0")})
    claimed_until: float | None = Field(default=None, sa_type=Float)
    claimed_by: str | None = None
