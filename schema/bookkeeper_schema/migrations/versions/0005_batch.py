"""Batch systems: submissions, whose intent is recorded before they take place, and the jobs in them."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "submissions",
        sa.Column("id", BIG, nullable=False),
        sa.Column("request_id", BIG, nullable=False),
        sa.Column("project_id", BIG, nullable=False),
        sa.Column("executor", sa.String(), nullable=False),
        sa.Column("tag", sa.String(), nullable=False),
        sa.Column("jobs", sa.Integer(), nullable=False),
        sa.Column("host", sa.String(), nullable=False),
        sa.Column("folder", sa.String(), nullable=False),
        sa.Column("asks", sa.JSON(), nullable=False),
        sa.Column("batch_id", sa.String(), nullable=True),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("position", sa.String(), nullable=True),
        sa.Column("intended_at", sa.Float(), nullable=False),
        sa.Column("settled_at", sa.Float(), nullable=True),
        sa.CheckConstraint("jobs >= 1", name="submissions_jobs"),
        sa.CheckConstraint("batch_id IS NULL OR settled_at IS NOT NULL", name="submissions_settled"),
        sa.ForeignKeyConstraint(["request_id"], ["requests.id"]),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("submissions_tag", "submissions", ["tag"], unique=True)
    op.create_index("submissions_request", "submissions", ["request_id", "executor"])
    op.create_table(
        "jobs",
        sa.Column("submission_id", BIG, autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("batch_id", sa.String(), nullable=True),
        sa.Column("state", sa.String(), server_default=sa.text("'intended'"), nullable=False),
        sa.Column("starts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("node", sa.String(), nullable=True),
        sa.Column("process_id", BIG, nullable=True),
        sa.Column("hold_code", sa.Integer(), nullable=True),
        sa.Column("hold_subcode", sa.Integer(), nullable=True),
        sa.Column("exit_code", sa.Integer(), nullable=True),
        sa.Column("signal", sa.Integer(), nullable=True),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("verdict", sa.String(), nullable=True),
        sa.Column("changed_at", sa.Float(), nullable=False),
        sa.Column("started_at", sa.Float(), nullable=True),
        sa.Column("ended_at", sa.Float(), nullable=True),
        sa.CheckConstraint(
            "state IN ('intended', 'idle', 'running', 'suspended', 'held', 'completed', 'removed', 'lost')",
            name="jobs_state",
        ),
        sa.CheckConstraint("number >= 0 AND starts >= 0", name="jobs_counts"),
        sa.CheckConstraint("(state IN ('completed', 'removed', 'lost')) = (ended_at IS NOT NULL)", name="jobs_ended"),
        sa.ForeignKeyConstraint(["submission_id"], ["submissions.id"]),
        sa.ForeignKeyConstraint(["process_id"], ["processes.id"]),
        sa.PrimaryKeyConstraint("submission_id", "number"),
        sqlite_with_rowid=False,
    )
    op.create_index("jobs_batch", "jobs", ["batch_id"])
    op.create_index(
        "jobs_open",
        "jobs",
        ["submission_id"],
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_index(
        "jobs_unjudged",
        "jobs",
        ["submission_id"],
        sqlite_where=sa.text("ended_at IS NOT NULL AND verdict IS NULL"),
        postgresql_where=sa.text("ended_at IS NOT NULL AND verdict IS NULL"),
    )
    op.create_index("processes_job", "processes", ["job_id"])
