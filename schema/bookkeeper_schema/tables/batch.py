"""What was handed to batch systems: submissions, and the jobs in them. None of it decides anything in the ledger."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, CheckConstraint, Column, Float, ForeignKey, Index, text
from sqlmodel import Field, SQLModel

from bookkeeper_schema.states import JobState
from bookkeeper_schema.tables.columns import BigInt, one_of


class Submission(SQLModel, table=True):
    """Jobs that were, or are about to be, handed to a batch system together.

    The row is there before the batch system is asked. ``tag`` goes with the jobs and is found again in the queue, so
    that whoever finds a submission that is not ``settled`` (submitted, or failed) can tell whether it took place. ``jobs`` are its
    jobs, ``asks`` what the batch system was asked for, ``batch_id`` what it answered. ``position`` is how far its jobs'
    events were taken in.
    """

    __tablename__ = "submissions"
    __table_args__ = (
        CheckConstraint("jobs >= 1", name="submissions_jobs"),
        CheckConstraint("batch_id IS NULL OR settled_at IS NOT NULL", name="submissions_settled"),
        Index("submissions_tag", "tag", unique=True),
        Index("submissions_request", "request_id", "executor"),
    )

    id: int | None = Field(default=None, sa_column=Column(BigInt, primary_key=True))
    request_id: int = Field(sa_column=Column(BigInt, ForeignKey("requests.id"), nullable=False))
    project_id: int = Field(sa_column=Column(BigInt, ForeignKey("projects.id"), nullable=False))
    executor: str
    tag: str
    jobs: int
    host: str
    folder: str
    asks: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    batch_id: str | None = None
    reason: str | None = None
    position: str | None = None
    intended_at: float = Field(sa_type=Float)
    settled_at: float | None = Field(default=None, sa_type=Float)


class BatchJob(SQLModel, table=True):
    """One job of a submission. ``process_id`` is the last process that it opened: a job may run more than once."""

    __tablename__ = "jobs"
    __table_args__ = (
        one_of("state", JobState, "jobs_state"),
        CheckConstraint("number >= 0 AND starts >= 0", name="jobs_counts"),
        CheckConstraint("(state IN ('completed', 'removed', 'lost')) = (ended_at IS NOT NULL)", name="jobs_ended"),
        Index("jobs_batch", "batch_id"),
        Index(
            "jobs_open",
            "submission_id",
            sqlite_where=text("ended_at IS NULL"),
            postgresql_where=text("ended_at IS NULL"),
        ),
        Index(
            "jobs_unjudged",
            "submission_id",
            sqlite_where=text("ended_at IS NOT NULL AND verdict IS NULL"),
            postgresql_where=text("ended_at IS NOT NULL AND verdict IS NULL"),
        ),
        {"sqlite_with_rowid": False},
    )

    submission_id: int = Field(
        sa_column=Column(BigInt, ForeignKey("submissions.id"), primary_key=True, autoincrement=False)
    )
    number: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    batch_id: str | None = None
    state: str = Field(default=JobState.INTENDED, sa_column_kwargs={"server_default": text("'intended'")})
    starts: int = Field(default=0, sa_column_kwargs={"server_default": text("0")})
    node: str | None = None
    process_id: int | None = Field(default=None, sa_column=Column(BigInt, ForeignKey("processes.id")))
    hold_code: int | None = None
    hold_subcode: int | None = None
    exit_code: int | None = None
    signal: int | None = None
    reason: str | None = None
    verdict: str | None = None
    changed_at: float = Field(sa_type=Float)
    started_at: float | None = Field(default=None, sa_type=Float)
    ended_at: float | None = Field(default=None, sa_type=Float)
