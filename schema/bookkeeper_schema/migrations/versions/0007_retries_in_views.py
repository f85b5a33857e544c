"""The views `failures` and `node_summary` tell of retries. Every upgrade makes the views anew: no table changes."""

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass
