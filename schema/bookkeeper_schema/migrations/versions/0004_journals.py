"""Journals of jobs without a network: which run of which process was taken in, how far, and which one decided."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "journals",
        sa.Column("run", sa.String(), nullable=False),
        sa.Column("process_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("records", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("decided", sa.Boolean(), nullable=False),
        sa.Column("taken_at", sa.Float(), nullable=False),
        sa.CheckConstraint("length(run) > 0", name="journals_run"),
        sa.CheckConstraint("records >= 0", name="journals_records"),
        sa.ForeignKeyConstraint(["process_id"], ["processes.id"]),
        sa.PrimaryKeyConstraint("run"),
    )
    op.create_index(
        "journals_decided",
        "journals",
        ["process_id"],
        unique=True,
        sqlite_where=sa.text("decided"),
        postgresql_where=sa.text("decided"),
    )
