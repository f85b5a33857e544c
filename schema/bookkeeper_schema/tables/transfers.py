"""Outputs on their way from near storages to their destinations."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, Float, ForeignKey, Index, text
from sqlmodel import Field, SQLModel

from bookkeeper_schema.states import TransferState
from bookkeeper_schema.tables.columns import BigInt, one_of


class Transfer(SQLModel, table=True):
    """One output that its job stored near, to be copied to its destination: its process is staged until then.

    ``link`` is from which host to which; ``claim`` names the try under way (a new one each time) until ``claimed_until``;
    ``attempts`` tries were begun, and ``failures`` of them failed, the last one for the reason ``error`` of the kind
    ``category``. ``arrived_url`` is the temporary at the destination that was proved whole.
    """

    __tablename__ = "transfers"
    __table_args__ = (
        one_of("state", TransferState, "transfers_state"),
        CheckConstraint("(state = 'running') = (claim IS NOT NULL)", name="transfers_claim"),
        CheckConstraint("(claim IS NULL) = (claimed_until IS NULL)", name="transfers_claimed_until"),
        CheckConstraint("state <> 'arrived' OR arrived_url IS NOT NULL", name="transfers_arrived"),
        CheckConstraint("failures BETWEEN 0 AND attempts AND bytes_done >= 0", name="transfers_counts"),
        Index("transfers_near", "near_url", unique=True),
        Index("transfers_process", "process_id"),
        Index(
            "transfers_waiting",
            "link",
            "request_id",
            "next_at",
            sqlite_where=text("state = 'waiting'"),
            postgresql_where=text("state = 'waiting'"),
        ),
        Index(
            "transfers_running",
            "link",
            "request_id",
            "claimed_until",
            sqlite_where=text("state = 'running'"),
            postgresql_where=text("state = 'running'"),
        ),
        Index(
            "transfers_near_copies",
            "output_id",
            sqlite_where=text("state IN ('arrived', 'given_up')"),
            postgresql_where=text("state IN ('arrived', 'given_up')"),
        ),
    )

    output_id: int = Field(sa_column=Column(BigInt, ForeignKey("outputs.id"), primary_key=True, autoincrement=False))
    process_id: int = Field(sa_column=Column(BigInt, ForeignKey("processes.id"), nullable=False))
    request_id: int = Field(sa_column=Column(BigInt, ForeignKey("requests.id"), nullable=False))
    near_url: str
    link: str
    state: str = Field(default=TransferState.WAITING, sa_column_kwargs={"server_default": text("'waiting'")})
    attempts: int = Field(default=0, sa_column_kwargs={"server_default": text("0")})
    failures: int = Field(default=0, sa_column_kwargs={"server_default": text("0")})
    category: str | None = None
    error: str | None = None
    claim: str | None = None
    claimed_until: float | None = Field(default=None, sa_type=Float)
    next_at: float = Field(default=0, sa_type=Float, sa_column_kwargs={"server_default": text("0")})
    bytes_done: int = Field(default=0, sa_type=BigInt, sa_column_kwargs={"server_default": text("0")})
    began_at: float | None = Field(default=None, sa_type=Float)
    arrived_url: str | None = None
    arrived_at: float | None = Field(default=None, sa_type=Float)
    queued_at: float = Field(sa_type=Float)
    deadline: float = Field(sa_type=Float)
