"""Outputs that jobs store near, and what becomes of them on their way to their destinations."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("requests", sa.Column("near_bytes", BIG, server_default=sa.text("0"), nullable=False))
    op.add_column("requests", sa.Column("near_limit", BIG, nullable=True))
    op.add_column(
        "requests", sa.Column("transfer_deadline", sa.Float(), server_default=sa.text("86400"), nullable=False)
    )
    op.add_column("requests", sa.Column("link_limit", sa.Integer(), server_default=sa.text("4"), nullable=False))
    op.create_table(
        "transfers",
        sa.Column("output_id", BIG, autoincrement=False, nullable=False),
        sa.Column("process_id", BIG, nullable=False),
        sa.Column("request_id", BIG, nullable=False),
        sa.Column("near_url", sa.String(), nullable=False),
        sa.Column("link", sa.String(), nullable=False),
        sa.Column("state", sa.String(), server_default=sa.text("'waiting'"), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("failures", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("category", sa.String(), nullable=True),
        sa.Column("error", sa.String(), nullable=True),
        sa.Column("claim", sa.String(), nullable=True),
        sa.Column("claimed_until", sa.Float(), nullable=True),
        sa.Column("next_at", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.Column("bytes_done", BIG, server_default=sa.text("0"), nullable=False),
        sa.Column("began_at", sa.Float(), nullable=True),
        sa.Column("arrived_url", sa.String(), nullable=True),
        sa.Column("arrived_at", sa.Float(), nullable=True),
        sa.Column("queued_at", sa.Float(), nullable=False),
        sa.Column("deadline", sa.Float(), nullable=False),
        sa.CheckConstraint("state IN ('waiting', 'running', 'arrived', 'given_up', 'done')", name="transfers_state"),
        sa.CheckConstraint("(state = 'running') = (claim IS NOT NULL)", name="transfers_claim"),
        sa.CheckConstraint("(claim IS NULL) = (claimed_until IS NULL)", name="transfers_claimed_until"),
        sa.CheckConstraint("state <> 'arrived' OR arrived_url IS NOT NULL", name="transfers_arrived"),
        sa.CheckConstraint("failures BETWEEN 0 AND attempts AND bytes_done >= 0", name="transfers_counts"),
        sa.ForeignKeyConstraint(["output_id"], ["outputs.id"]),
        sa.ForeignKeyConstraint(["process_id"], ["processes.id"]),
        sa.ForeignKeyConstraint(["request_id"], ["requests.id"]),
        sa.PrimaryKeyConstraint("output_id"),
    )
    op.create_index("transfers_near", "transfers", ["near_url"], unique=True)
    op.create_index("transfers_process", "transfers", ["process_id"])
    for name, columns, where in (
        ("transfers_waiting", ["link", "request_id", "next_at"], "state = 'waiting'"),
        ("transfers_running", ["link", "request_id", "claimed_until"], "state = 'running'"),
        ("transfers_near_copies", ["output_id"], "state IN ('arrived', 'given_up')"),
    ):
        op.create_index(name, "transfers", columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
