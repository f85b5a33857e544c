"""The first catalog: files, datasets, projects, the ledger, its history, outputs and events."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "catalog",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("uuid", sa.String(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("stamped_at", sa.Float(), nullable=True),
        sa.CheckConstraint("id = 1", name="catalog_is_one_row"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uuid"),
    )
    op.create_table(
        "datasets",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("definition", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.CheckConstraint("kind IN ('names', 'where', 'list')", name="datasets_kind"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "destinations",
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("claimed_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("url"),
    )
    op.create_table(
        "files",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("size", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("checksum", sa.String(), nullable=True),
        sa.Column("entries", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("tree", sa.String(), nullable=True),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("state", sa.String(), server_default=sa.text("'current'"), nullable=False),
        sa.Column("declared_at", sa.Float(), nullable=False),
        sa.Column("trees", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("metadata", sa.JSON(none_as_null=True), nullable=True),
        sa.CheckConstraint("checksum LIKE 'adler32:________'", name="files_checksum"),
        sa.CheckConstraint("state IN ('current', 'retired')", name="files_state"),
        sa.CheckConstraint("entries >= 0", name="files_entries"),
        sa.CheckConstraint("length(name) > 0", name="files_name"),
        sa.CheckConstraint("size >= 0", name="files_size"),
        sa.CheckConstraint("version >= 1", name="files_version"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "dataset_files",
        sa.Column(
            "dataset_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("file_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(
            ["dataset_id"],
            ["datasets.id"],
        ),
        sa.ForeignKeyConstraint(
            ["file_id"],
            ["files.id"],
        ),
        sa.PrimaryKeyConstraint("dataset_id", "file_id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "file_versions",
        sa.Column("file_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("size", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("checksum", sa.String(), nullable=True),
        sa.Column("entries", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("until", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(
            ["file_id"],
            ["files.id"],
        ),
        sa.PrimaryKeyConstraint("file_id", "version"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "locations",
        sa.Column("file_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("url", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["file_id"],
            ["files.id"],
        ),
        sa.PrimaryKeyConstraint("file_id", "url"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "snapshots",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("dataset_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("files", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("bytes", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("entries", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("taken_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(
            ["dataset_id"],
            ["datasets.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_snapshots_dataset_id"), "snapshots", ["dataset_id"], unique=False)
    op.create_table(
        "requests",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("snapshot_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("files", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column(
            "committed",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            server_default=sa.text("0"),
            nullable=False,
        ),
        sa.Column("max_attempts", sa.Integer(), nullable=False),
        sa.Column("files_per_process", sa.Integer(), nullable=False),
        sa.Column("partition_by", sa.String(), nullable=True),
        sa.Column("partition_size", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("lease", sa.Float(), nullable=False),
        sa.Column("max_wall", sa.Float(), nullable=True),
        sa.Column("output_required", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.CheckConstraint("partition_by IN ('files', 'bytes', 'entries')", name="requests_partition_by"),
        sa.CheckConstraint("(partition_by IS NULL) = (partition_size IS NULL)", name="requests_partition"),
        sa.CheckConstraint("committed BETWEEN 0 AND files", name="requests_committed"),
        sa.CheckConstraint("files_per_process >= 1", name="requests_files_per_process"),
        sa.CheckConstraint("lease > 0", name="requests_lease"),
        sa.CheckConstraint("max_attempts >= 1", name="requests_max_attempts"),
        sa.CheckConstraint("max_wall > 0", name="requests_max_wall"),
        sa.CheckConstraint("partition_size >= 1", name="requests_partition_size"),
        sa.ForeignKeyConstraint(
            ["snapshot_id"],
            ["snapshots.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "snapshot_files",
        sa.Column(
            "snapshot_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("file_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["file_id"],
            ["files.id"],
        ),
        sa.ForeignKeyConstraint(
            ["snapshot_id"],
            ["snapshots.id"],
        ),
        sa.PrimaryKeyConstraint("snapshot_id", "file_id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "projects",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("request_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("recovers", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("application_family", sa.String(), nullable=False),
        sa.Column("application_name", sa.String(), nullable=False),
        sa.Column("application_version", sa.String(), nullable=False),
        sa.Column("station", sa.String(), nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("state", sa.String(), server_default=sa.text("'open'"), nullable=False),
        sa.Column("fenced", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("uncharged", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("commits", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("rollbacks", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("files", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column(
            "committed",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            server_default=sa.text("0"),
            nullable=False,
        ),
        sa.Column("started_at", sa.Float(), nullable=False),
        sa.Column("ended_at", sa.Float(), nullable=True),
        sa.CheckConstraint("(state = 'ended') = (ended_at IS NOT NULL)", name="projects_ended"),
        sa.CheckConstraint("state <> 'paused' OR reason IS NOT NULL", name="projects_pause_reason"),
        sa.CheckConstraint("state IN ('open', 'paused', 'ended')", name="projects_state"),
        sa.CheckConstraint("committed BETWEEN 0 AND files", name="projects_committed"),
        sa.CheckConstraint("recovers <> id", name="projects_recovers_another"),
        sa.ForeignKeyConstraint(
            ["recovers"],
            ["projects.id"],
        ),
        sa.ForeignKeyConstraint(
            ["request_id"],
            ["requests.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )
    op.create_index("projects_of_request", "projects", ["id", "request_id"], unique=True)
    op.create_index(
        "projects_one_open",
        "projects",
        ["request_id"],
        unique=True,
        sqlite_where=sa.text("state <> 'ended'"),
        postgresql_where=sa.text("state <> 'ended'"),
    )
    op.create_index(
        "projects_one_root",
        "projects",
        ["request_id"],
        unique=True,
        sqlite_where=sa.text("recovers IS NULL"),
        postgresql_where=sa.text("recovers IS NULL"),
    )
    op.create_index("projects_request", "projects", ["request_id"], unique=False)
    op.create_table(
        "processes",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("request_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("project_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("state", sa.String(), server_default=sa.text("'active'"), nullable=False),
        sa.Column("token", sa.String(), nullable=False),
        sa.Column("node", sa.String(), nullable=True),
        sa.Column("executor", sa.String(), nullable=True),
        sa.Column("job_id", sa.String(), nullable=True),
        sa.Column("partition_number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("files_per_process", sa.Integer(), nullable=False),
        sa.Column("group_limit", sa.Integer(), nullable=False),
        sa.Column("delivered", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("last_seq", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("lease", sa.Float(), nullable=False),
        sa.Column("lease_until", sa.Float(), nullable=False),
        sa.Column("wall_until", sa.Float(), nullable=True),
        sa.Column("graced", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("no_output", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("started_at", sa.Float(), nullable=False),
        sa.Column("ended_at", sa.Float(), nullable=True),
        sa.Column("reason", sa.String(), nullable=True),
        sa.CheckConstraint("(state IN ('active', 'staged')) = (ended_at IS NULL)", name="processes_ended"),
        sa.CheckConstraint("state <> 'rolled_back' OR reason IS NOT NULL", name="processes_reason"),
        sa.CheckConstraint(
            "state IN ('active', 'staged', 'committed', 'rolled_back', 'revoking', 'revoked')", name="processes_state"
        ),
        sa.CheckConstraint("delivered >= 0 AND group_limit >= 1 AND last_seq >= 0", name="processes_counts"),
        sa.CheckConstraint("files_per_process >= 1", name="processes_files_per_process"),
        sa.CheckConstraint("lease > 0", name="processes_lease"),
        sa.ForeignKeyConstraint(
            ["project_id", "request_id"],
            ["projects.id", "projects.request_id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "processes_live",
        "processes",
        ["lease_until"],
        unique=False,
        sqlite_where=sa.text("state IN ('active', 'staged')"),
        postgresql_where=sa.text("state IN ('active', 'staged')"),
    )
    op.create_index("processes_request", "processes", ["request_id", "state", "project_id"], unique=False)
    op.create_index(
        "processes_revoking",
        "processes",
        ["id"],
        unique=False,
        sqlite_where=sa.text("state = 'revoking'"),
        postgresql_where=sa.text("state = 'revoking'"),
    )
    op.create_index("processes_token", "processes", ["project_id", "token"], unique=True)
    op.create_table(
        "deliveries",
        sa.Column(
            "process_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("file_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(), server_default=sa.text("'delivered'"), nullable=False),
        sa.Column("charged", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("changed", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("delivered_at", sa.Float(), nullable=False),
        sa.Column("opened_at", sa.Float(), nullable=True),
        sa.Column("consumed_at", sa.Float(), nullable=True),
        sa.Column("entries_read", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("bytes_read", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("reason", sa.String(), nullable=True),
        sa.CheckConstraint("(state = 'consumed') = (consumed_at IS NOT NULL)", name="deliveries_consumed"),
        sa.CheckConstraint(
            "state IN ('delivered', 'opened', 'consumed', 'skipped', 'failed')", name="deliveries_state"
        ),
        sa.CheckConstraint("state NOT IN ('opened', 'consumed') OR opened_at IS NOT NULL", name="deliveries_opened"),
        sa.CheckConstraint("state NOT IN ('skipped', 'failed') OR reason IS NOT NULL", name="deliveries_reason"),
        sa.CheckConstraint("attempt >= 1 AND seq >= 1", name="deliveries_counts"),
        sa.CheckConstraint("entries_read >= 0 AND bytes_read >= 0", name="deliveries_read"),
        sa.ForeignKeyConstraint(
            ["file_id"],
            ["files.id"],
        ),
        sa.ForeignKeyConstraint(
            ["process_id"],
            ["processes.id"],
        ),
        sa.PrimaryKeyConstraint("process_id", "file_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("deliveries_file", "deliveries", ["file_id"], unique=False)
    op.create_table(
        "events",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("project_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("process_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("file_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["file_id"],
            ["files.id"],
        ),
        sa.ForeignKeyConstraint(
            ["process_id"],
            ["processes.id"],
        ),
        sa.ForeignKeyConstraint(
            ["project_id"],
            ["projects.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("events_process", "events", ["process_id", "kind"], unique=False)
    op.create_index("events_project", "events", ["project_id", "kind"], unique=False)
    op.create_table(
        "ledger",
        sa.Column(
            "request_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("file_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("project_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("state", sa.String(), server_default=sa.text("'available'"), nullable=False),
        sa.Column("process_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("alone", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("solo", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("partition_number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("reason", sa.String(), nullable=True),
        sa.CheckConstraint("state <> 'parked' OR reason IS NOT NULL", name="ledger_park_reason"),
        sa.CheckConstraint("state IN ('available', 'held', 'committed', 'parked')", name="ledger_state"),
        sa.CheckConstraint("state NOT IN ('held', 'committed') OR process_id IS NOT NULL", name="ledger_holder"),
        sa.CheckConstraint("attempts >= 0 AND alone BETWEEN 0 AND attempts", name="ledger_attempts"),
        sa.ForeignKeyConstraint(
            ["file_id"],
            ["files.id"],
        ),
        sa.ForeignKeyConstraint(
            ["process_id"],
            ["processes.id"],
        ),
        sa.ForeignKeyConstraint(
            ["project_id", "request_id"],
            ["projects.id", "projects.request_id"],
        ),
        sa.PrimaryKeyConstraint("request_id", "file_id"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ledger_available",
        "ledger",
        ["project_id", "attempts", "partition_number", "file_id"],
        unique=False,
        sqlite_where=sa.text("state = 'available'"),
        postgresql_where=sa.text("state = 'available'"),
    )
    op.create_index(
        "ledger_held",
        "ledger",
        ["process_id", "file_id"],
        unique=False,
        sqlite_where=sa.text("state = 'held'"),
        postgresql_where=sa.text("state = 'held'"),
    )
    op.create_index(
        "ledger_parked",
        "ledger",
        ["project_id", "file_id"],
        unique=False,
        sqlite_where=sa.text("state = 'parked'"),
        postgresql_where=sa.text("state = 'parked'"),
    )
    op.create_index(
        "ledger_partition",
        "ledger",
        ["request_id", "partition_number"],
        unique=False,
        sqlite_where=sa.text("partition_number IS NOT NULL"),
        postgresql_where=sa.text("partition_number IS NOT NULL"),
    )
    op.create_table(
        "outputs",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("request_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("process_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("destination", sa.String(), nullable=False),
        sa.Column("temp_url", sa.String(), nullable=False),
        sa.Column("final_url", sa.String(), nullable=False),
        sa.Column("size", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("checksum", sa.String(), nullable=False),
        sa.Column("entries", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("unproved", sa.String(), nullable=True),
        sa.Column("recorded_at", sa.Float(), nullable=False),
        sa.Column("published_at", sa.Float(), nullable=True),
        sa.CheckConstraint("(state = 'published') <= (published_at IS NOT NULL)", name="outputs_published"),
        sa.CheckConstraint("checksum LIKE 'adler32:________'", name="outputs_checksum"),
        sa.CheckConstraint(
            "state IN ('staged', 'committed', 'published', 'discarded', 'revoked')", name="outputs_state"
        ),
        sa.CheckConstraint("size >= 0", name="outputs_size"),
        sa.ForeignKeyConstraint(
            ["process_id"],
            ["processes.id"],
        ),
        sa.ForeignKeyConstraint(
            ["request_id"],
            ["requests.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "outputs_final",
        "outputs",
        ["final_url"],
        unique=True,
        sqlite_where=sa.text("state NOT IN ('discarded', 'revoked')"),
        postgresql_where=sa.text("state NOT IN ('discarded', 'revoked')"),
    )
    op.create_index("outputs_process", "outputs", ["process_id"], unique=False)
    op.create_index("outputs_temporary", "outputs", ["temp_url"], unique=True)
    op.create_index(
        "outputs_to_publish",
        "outputs",
        ["request_id"],
        unique=False,
        sqlite_where=sa.text("state = 'committed'"),
        postgresql_where=sa.text("state = 'committed'"),
    )


def downgrade() -> None:
    raise NotImplementedError("catalogs only move forward; restore the backup")
