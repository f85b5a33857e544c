"""The schema: migrated is declared, views are as documented, and a catalog of another kind is refused."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from bookkeeper import sqlite
from bookkeeper.api import create_catalog, open_catalog
from bookkeeper.errors import CatalogError, CatalogMissing, CatalogOutdated, CatalogTooNew, UsageError
from bookkeeper_schema import migrate
from bookkeeper_schema.tables import METADATA
from goodcatalog import lived, raw, started

VIEWS = {
    "consumption": "request, project, process_id, attempt, file, state, process_state, committed, node, delivered_at,"
    " opened_at, consumed_at, entries_read, bytes_read, reason",
    "uncommitted": "request, project, file, state, attempts, reason, last_process_id, last_node",
    "project_summary": "project, request, recovers, state, files, committed, held, available, parked,"
    " processes_active, processes_staged, processes_committed, processes_rolled_back, started_at, ended_at",
    "process_summary": "process_id, project, state, node, executor, job_id, partition_number, delivered, consumed,"
    " outputs, entries_read, bytes_read, wall_time_s, peak_rss_mb, started_at, ended_at, reason",
    "lineage": "output, output_url, output_state, process_id, project, file",
    "failures": "request, project, process_id, node, at, category, rule, confidence, message, fingerprint, evidence,"
    " remedy, step, exit_code, signal, files, wall_time_s, by, retried, recovered, parked, waiting",
    "performance": "request, project, process_id, node, state, wall_s, cpu_s, cpu_efficiency, peak_rss_mb, read_bytes,"
    " written_bytes, input_bytes, throughput_mbs, entries, entries_per_s, exit_code, at",
    "node_summary": "request, node, processes, running, committed, failed, stageout_failures, wall_time_s, waste_s,"
    " excluded_until, last_failure, failed_files, retried, recovered",
}
"""The documented columns, in their order: a contract with everybody's own queries."""


@pytest.fixture
def migrated(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    create_catalog(f"sqlite:///{tmp_path}/bookkeeper.db").close()
    with closing(sqlite.connect(tmp_path / "bookkeeper.db")) as connection:
        yield connection


def objects(connection: sqlite3.Connection, kind: str) -> dict[str, str]:
    rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = ? AND sql IS NOT NULL", (kind,))
    return {name: sql.strip() for name, sql in rows if name != "alembic_version"}


def spelled(connection: sqlite3.Connection, kind: str) -> dict[str, tuple[list[str], list[str]]]:
    """The DDL by name: its columns in order, then its constraints, which have none."""
    found = {}
    for name, sql in objects(connection, kind).items():
        parts = list(clauses(" ".join(sql.split())))
        constraints = [
            part for part in parts if part.startswith(("CONSTRAINT", "FOREIGN KEY", "UNIQUE", "PRIMARY KEY"))
        ]
        found[name] = [part for part in parts if part not in constraints], sorted(constraints)
    return found


def clauses(sql: str) -> Iterator[str]:
    """What the outermost parentheses of a statement hold, and what stands before and after them."""
    depth, begins = 0, 0
    for place, letter in enumerate(sql):
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if (depth, letter) in ((1, "("), (1, ","), (0, ")")):
            yield sql[begins:place].strip()
            begins = place + 1
    yield sql[begins:].strip()


@pytest.mark.parametrize("kind", ["table", "index"])
def test_migrated_is_declared_to_the_letter(migrated: sqlite3.Connection, tmp_path: Path, kind: str) -> None:
    from sqlalchemy import create_engine

    engine = create_engine(f"sqlite:///{tmp_path}/declared.db")
    METADATA.create_all(engine)
    engine.dispose()
    with closing(sqlite3.connect(tmp_path / "declared.db")) as declared:
        assert spelled(migrated, kind) == spelled(declared, kind)


def test_a_migrated_catalog_has_its_views_and_triggers(migrated: sqlite3.Connection) -> None:
    assert objects(migrated, "view").keys() == migrate.view_sources().keys() == VIEWS.keys()
    assert objects(migrated, "trigger").keys() == migrate.trigger_sources("sqlite").keys()


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_has_the_documented_columns(migrated: sqlite3.Connection, view: str) -> None:
    columns = [row[1] for row in migrated.execute(f"PRAGMA table_info({view})")]
    assert columns == VIEWS[view].split(", ")


def test_the_newest_revision_is_alembics_head() -> None:
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory.from_config(migrate.alembic_config())
    assert scripts.get_current_head() == migrate.HEAD
    assert list(migrate.REVISIONS) == [script.revision for script in scripts.walk_revisions()][::-1]


def test_creating_again_keeps_everything(tmp_path: Path) -> None:
    catalog, _ = lived(tmp_path)
    before = [catalog.id, *catalog.sql("SELECT * FROM project_summary")]
    catalog.close()
    with create_catalog(catalog.url) as again:
        assert [again.id, *again.sql("SELECT * FROM project_summary")] == before


def test_a_catalog_of_a_newer_program_is_refused(tmp_path: Path) -> None:
    catalog, _ = started(tmp_path)
    with raw(catalog) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    for opener in (open_catalog, create_catalog):
        with pytest.raises(CatalogTooNew, match=f"schema 9999; this bookkeeper knows up to {migrate.HEAD}"):
            opener(catalog.url)


def test_a_catalog_of_an_older_program_names_the_upgrade(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog, _ = started(tmp_path)
    monkeypatch.setattr(migrate, "REVISIONS", ("0000", *migrate.REVISIONS))
    with raw(catalog) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0000'")
    with pytest.raises(CatalogOutdated) as error:
        open_catalog(catalog.url)
    assert "bookkeeper init" in error.value.remedy


def test_another_databases_file_is_no_catalog(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "other.db")) as other:
        other.execute("CREATE TABLE theirs (x)")
    with pytest.raises(CatalogMissing, match="no catalog"):
        open_catalog(f"sqlite:///{tmp_path}/other.db")
    with pytest.raises(CatalogError, match="no catalog"):
        create_catalog(f"sqlite:///{tmp_path}/other.db")
    (tmp_path / "text.db").write_text("not a database at all, but long enough to be read as the header of one" * 10)
    with pytest.raises(CatalogError, match="no sound SQLite database"):
        open_catalog(f"sqlite:///{tmp_path}/text.db")


TRIGGERS = {
    "snapshot_files_no_update": ("UPDATE snapshot_files SET version = 2", "a snapshot is immutable"),
    "snapshot_files_no_delete": ("DELETE FROM snapshot_files", "a snapshot is immutable"),
    "events_no_update": ("UPDATE events SET kind = 'other'", "events are append-only"),
    "events_no_delete": ("DELETE FROM events", "events are append-only"),
    "deliveries_no_delete": ("DELETE FROM deliveries", "deliveries are the history: never deleted"),
    "ledger_no_delete": ("DELETE FROM ledger", "a file never leaves its request"),
}


def test_every_trigger_is_tested() -> None:
    assert TRIGGERS.keys() == migrate.trigger_sources("sqlite").keys()


@pytest.mark.parametrize("trigger", TRIGGERS)
def test_what_is_history_cannot_be_changed(tmp_path: Path, trigger: str) -> None:
    statement, words = TRIGGERS[trigger]
    catalog, _ = lived(tmp_path)
    with pytest.raises(UsageError, match=re.escape(words)), catalog.database.transaction() as tx:
        tx.run(statement)


FIRST = """
INSERT INTO catalog (id, uuid, epoch, created_at) VALUES (1, 'u', 1, 0);
INSERT INTO files (id, name, size, declared_at) VALUES (1, 'a', 1, 0), (2, 'b', 1, 0);
INSERT INTO datasets (id, name, kind, definition, created_at) VALUES (1, 'all', 'names', '["*"]', 0);
INSERT INTO snapshots (id, dataset_id, files, bytes, taken_at) VALUES (1, 1, 2, 2, 0);
INSERT INTO snapshot_files (snapshot_id, file_id, version) VALUES (1, 1, 1), (1, 2, 1);
INSERT INTO requests (id, name, snapshot_id, files, max_attempts, files_per_process, lease) VALUES (1, 'p', 1, 2, 3, 1, 600);
INSERT INTO projects (id, name, request_id, application_family, application_name, application_version, station, owner,
                      uncharged, rollbacks, files, started_at) VALUES (1, 'p', 1, 'f', 'n', '1', 's', 'o', 2, 1, 2, 0);
INSERT INTO processes (id, request_id, project_id, state, token, files_per_process, group_limit, delivered, last_seq, lease,
                       lease_until, started_at, ended_at, reason)
VALUES (1, 1, 1, 'rolled_back', 't', 1, 1, 1, 1, 600, 0, 0, 1, 'it crashed');
INSERT INTO deliveries (process_id, file_id, seq, attempt, state, charged, delivered_at, opened_at)
VALUES (1, 1, 1, 1, 'opened', 1, 0, 0);
INSERT INTO ledger (request_id, file_id, project_id, process_id, version, attempts, alone) VALUES (1, 1, 1, 1, 1, 1, 1), (1, 2, 1, NULL, 1, 0, 0);
"""

SECOND = (
    FIRST.replace("uncharged, rollbacks", "rests, rollbacks").replace(
        "max_attempts, files_per_process, lease) VALUES (1, 'p', 1, 2, 3, 1, 600)",
        "max_attempts, files_per_process, lease, policy) VALUES (1, 'p', 1, 2, 3, 1, 600, '{\"pause\":4}')",
    )
    + "INSERT INTO excluded_nodes (node, since, until, reason, by, times) VALUES ('wn17', 0, 1, 'its disk', 'me', 3);"
)


def old_catalog(path: Path, revision: str, rows: str) -> None:
    from alembic import command
    from sqlalchemy import create_engine

    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        command.upgrade(migrate.alembic_config(connection), revision)
    engine.dispose()
    with closing(sqlite3.connect(path)) as old:
        old.executescript(rows)


def test_a_catalog_of_the_second_revision_keeps_its_rows_and_gives_out_tokens(tmp_path: Path) -> None:
    from bookkeeper import access

    path = tmp_path / "old.db"
    old_catalog(path, "0002", SECOND)
    with pytest.raises(CatalogOutdated, match="0002"):
        open_catalog(f"sqlite:///{path}")
    with create_catalog(f"sqlite:///{path}") as catalog:
        assert catalog.sql("SELECT rests, policy FROM projects, requests") == [{"rests": 2, "policy": '{"pause":4}'}]
        assert catalog.sql("SELECT node, times FROM excluded_nodes") == [{"node": "wn17", "times": 3}]
        assert catalog.check() == []
        token = access.create(catalog.database, "alice", scope="work", projects=["p"]).token
        access.Guard(catalog.database).identify(f"Bearer {token}").require("work", "p")


def test_a_catalog_of_the_first_revision_is_upgraded_with_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    old_catalog(path, "0001", FIRST)
    with pytest.raises(CatalogOutdated, match="0001"):
        open_catalog(f"sqlite:///{path}")
    with create_catalog(f"sqlite:///{path}") as catalog:
        project = catalog.project("p")
        assert (project.status().available, project.status().delayed) == (2, 0)
        assert {row["file"]: row["attempts"] for row in project.uncommitted()} == {"a": 1, "b": 0}
        for expected in ("b", "a"):  # the one that failed comes last
            process = project.start_process()
            (file,) = process.next_files()
            assert file.name == expected
            file.consumed()
            process.commit(no_output=True)
        assert project.status().complete
        assert catalog.check() == []
