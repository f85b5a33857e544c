"""Failures that say nothing about a file: back-off, rests, excluded nodes; and how far plug-ins have read the events."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("requests", sa.Column("policy", sa.JSON(none_as_null=True), nullable=True))
    op.drop_column("projects", "uncharged")
    op.add_column("projects", sa.Column("last_commit_at", sa.Float(), nullable=True))
    op.add_column("projects", sa.Column("resumed_at", sa.Float(), nullable=True))
    op.add_column("projects", sa.Column("rest_until", sa.Float(), nullable=True))
    op.add_column("projects", sa.Column("rests", sa.Integer(), server_default=sa.text("0"), nullable=False))
    op.create_index("processes_node", "processes", ["request_id", "node", "ended_at"])
    op.drop_index("ledger_available", table_name="ledger")
    op.add_column("ledger", sa.Column("setbacks", sa.Integer(), server_default=sa.text("0"), nullable=False))
    op.add_column("ledger", sa.Column("setbacks_alone", sa.Integer(), server_default=sa.text("0"), nullable=False))
    op.add_column("ledger", sa.Column("not_before", sa.Float(), server_default=sa.text("0"), nullable=False))
    available = sa.text("state = 'available'")
    op.create_index(
        "ledger_available",
        "ledger",
        ["project_id", "not_before", "attempts", "partition_number", "file_id"],
        sqlite_where=available,
        postgresql_where=available,
    )
    set_back = sa.text("state = 'available' AND setbacks > 0")
    op.create_index("ledger_setbacks", "ledger", ["project_id"], sqlite_where=set_back, postgresql_where=set_back)
    op.create_table(
        "excluded_nodes",
        sa.Column("node", sa.String(), nullable=False),
        sa.Column("since", sa.Float(), nullable=False),
        sa.Column("until", sa.Float(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("times", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.PrimaryKeyConstraint("node"),
    )
    op.create_table(
        "cursors",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("event_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("claimed_until", sa.Float(), nullable=True),
        sa.Column("claimed_by", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("name"),
    )
