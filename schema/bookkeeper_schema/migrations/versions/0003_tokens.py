"""Tokens for the catalog server: who was given which, until when, and whether it was revoked."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "tokens",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("projects", sa.String(), nullable=True),
        sa.Column("key_id", sa.String(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=False),
        sa.Column("revoked_at", sa.Float(), nullable=True),
        sa.Column("revoked_by", sa.String(), nullable=True),
        sa.CheckConstraint("scope IN ('read', 'work', 'operate', 'admin')", name="tokens_scope"),
        sa.CheckConstraint("expires_at > created_at", name="tokens_expires"),
        sa.CheckConstraint("length(name) > 0", name="tokens_name"),
        sa.CheckConstraint("(revoked_at IS NULL) = (revoked_by IS NULL)", name="tokens_revoked"),
        sa.CheckConstraint("length(projects) > 0", name="tokens_projects"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("tokens_by_name", "tokens", ["name"], unique=False)
