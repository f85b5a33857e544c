"""What must never be true is refused by the tables themselves: a mutant for every constraint."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import CheckConstraint, ForeignKeyConstraint

from bookkeeper import access, nodes
from bookkeeper.api import Catalog
from bookkeeper.errors import UsageError
from bookkeeper_schema.tables import METADATA
from goodcatalog import lived, raw

CHECKS = {
    "catalog_is_one_row": "INSERT INTO catalog (id, uuid, epoch, created_at) VALUES (2, 'x', 1, 0)",
    "files_size": "UPDATE files SET size = -1",
    "files_entries": "UPDATE files SET entries = -1",
    "files_version": "UPDATE files SET version = 0",
    "files_checksum": "UPDATE files SET checksum = 'adler32:1'",
    "files_name": "UPDATE files SET name = '' WHERE id = 1",
    "files_state": "UPDATE files SET state = 'lost'",
    "datasets_kind": "UPDATE datasets SET kind = 'guess'",
    "requests_committed": "UPDATE requests SET committed = files + 1",
    "requests_max_attempts": "UPDATE requests SET max_attempts = 0",
    "requests_files_per_process": "UPDATE requests SET files_per_process = 0",
    "requests_lease": "UPDATE requests SET lease = 0",
    "requests_max_wall": "UPDATE requests SET max_wall = 0",
    "requests_partition": "UPDATE requests SET partition_by = 'files', partition_size = NULL",
    "requests_partition_size": "UPDATE requests SET partition_by = 'files', partition_size = 0",
    "requests_partition_by": "UPDATE requests SET partition_by = 'colour', partition_size = 1",
    "projects_state": "UPDATE projects SET state = 'closed' WHERE id = 2",
    "projects_committed": "UPDATE projects SET committed = files + 1",
    "projects_ended": "UPDATE projects SET ended_at = 1 WHERE state = 'open'",
    "projects_pause_reason": "UPDATE projects SET state = 'paused' WHERE state = 'open'",
    "projects_recovers_another": "UPDATE projects SET recovers = id WHERE id = 2",
    "processes_state": "UPDATE processes SET state = 'zombie' WHERE state = 'committed'",
    "processes_ended": "UPDATE processes SET ended_at = NULL WHERE state = 'committed'",
    "processes_reason": "UPDATE processes SET reason = NULL WHERE state = 'rolled_back'",
    "processes_counts": "UPDATE processes SET delivered = -1",
    "processes_files_per_process": "UPDATE processes SET files_per_process = 0",
    "processes_lease": "UPDATE processes SET lease = 0",
    "ledger_state": "UPDATE ledger SET state = 'lost' WHERE state = 'available'",
    "ledger_holder": "UPDATE ledger SET process_id = NULL WHERE state = 'committed'",
    "ledger_park_reason": "UPDATE ledger SET reason = NULL WHERE state = 'parked'",
    "ledger_attempts": "UPDATE ledger SET alone = attempts + 1",
    "deliveries_state": "UPDATE deliveries SET state = 'lost' WHERE state = 'delivered'",
    "deliveries_opened": "UPDATE deliveries SET opened_at = NULL WHERE state = 'opened'",
    "deliveries_consumed": "UPDATE deliveries SET consumed_at = NULL WHERE state = 'consumed'",
    "deliveries_reason": "UPDATE deliveries SET reason = NULL WHERE state = 'skipped'",
    "deliveries_counts": "UPDATE deliveries SET attempt = 0",
    "deliveries_read": "UPDATE deliveries SET entries_read = -1",
    "outputs_state": "UPDATE outputs SET state = 'lost'",
    "outputs_size": "UPDATE outputs SET size = -1",
    "outputs_checksum": "UPDATE outputs SET checksum = 'md5:0'",
    "outputs_published": "UPDATE outputs SET published_at = NULL WHERE state = 'published'",
    "journals_run": "UPDATE journals SET run = '' WHERE run = 'a'",
    "journals_records": "UPDATE journals SET records = -1",
    "submissions_jobs": "UPDATE submissions SET jobs = 0",
    "submissions_settled": "UPDATE submissions SET settled_at = NULL",
    "jobs_state": "UPDATE jobs SET state = 'dreaming' WHERE number = 0",
    "jobs_counts": "UPDATE jobs SET starts = -1",
    "jobs_ended": "UPDATE jobs SET state = 'removed' WHERE number = 0",
    "transfers_state": "UPDATE transfers SET state = 'lost'",
    "transfers_claim": "UPDATE transfers SET state = 'running'",
    "transfers_claimed_until": "UPDATE transfers SET claimed_until = 1.0",
    "transfers_arrived": "UPDATE transfers SET state = 'arrived'",
    "transfers_counts": "UPDATE transfers SET bytes_done = -1",
    "tokens_scope": "UPDATE tokens SET scope = 'root'",
    "tokens_name": "UPDATE tokens SET name = ''",
    "tokens_projects": "UPDATE tokens SET projects = ''",
    "tokens_expires": "UPDATE tokens SET expires_at = created_at",
    "tokens_revoked": "UPDATE tokens SET revoked_at = 1",
}

SAME_FINAL = "(SELECT min(final_url) FROM outputs WHERE state = 'published')"
UNIQUES = {
    "files.name": "UPDATE files SET name = 'f01' WHERE name = 'f00'",
    "datasets.name": "INSERT INTO datasets (name, kind, definition, created_at) SELECT name, kind, definition, 0 FROM datasets",
    "requests.name": "UPDATE requests SET name = 'mass'",
    "projects.name": "UPDATE projects SET name = 'mass'",
    "projects_one_open": "UPDATE projects SET state = 'open', ended_at = NULL WHERE id = 1",
    "projects_one_root": "UPDATE projects SET recovers = NULL WHERE id = 2",
    "processes_token": "UPDATE processes SET token = 'x'",
    "journals_decided": "UPDATE journals SET decided = true",
    "submissions_tag": "UPDATE submissions SET tag = 'x'",
    "transfers_near": "UPDATE transfers SET near_url = 'x'",
    "outputs_temporary": "UPDATE outputs SET temp_url = 'x'",
    "outputs_final": f"UPDATE outputs SET final_url = {SAME_FINAL} WHERE state = 'published'",
}
UNREACHABLE = {"catalog.uuid", "projects_of_request"}
"""The catalog has one row; ids are unique already, and the index is what composite foreign keys refer to."""


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    """A catalog with a row in every table."""
    catalog, _ = lived(tmp_path)
    catalog.declare_files(
        [{"name": "f11", "size": 11, "checksum": "adler32:00000002", "locations": ["/data/f11"]}], update=True
    )
    catalog.define_dataset("listed", files=["f00"])
    nodes.exclude(catalog.database, "wn1", reason="its disk is full")
    access.create(catalog.database, "alice", scope="work")
    with catalog.database.transaction() as tx:
        tx.run("INSERT INTO cursors (name, event_id) VALUES ('mail', 1)")
        tx.run("INSERT INTO journals (run, process_id, records, decided, taken_at) VALUES ('a', 1, 3, false, 1.0)")
        tx.run("INSERT INTO journals (run, process_id, records, decided, taken_at) VALUES ('b', 1, 3, true, 1.0)")
        for tag in ("a", "b"):
            tx.run(
                "INSERT INTO submissions (request_id, project_id, executor, tag, jobs, host, folder, asks, batch_id, intended_at,"
                " settled_at) VALUES (1, 1, 'slurm', ?, 1, 'here', '/batch', '{}', '7', 1.0, 2.0)",
                (tag,),
            )
        tx.run("INSERT INTO jobs (submission_id, number, process_id, changed_at) VALUES (1, 0, 1, 1.0)")
        tx.run(
            "INSERT INTO transfers (output_id, process_id, request_id, near_url, link, state, queued_at, deadline)"
            " SELECT id, process_id, request_id, temp_url, 'local->local', 'done', 1.0, 2.0 FROM outputs LIMIT 2"
        )
    return catalog


def refusal(catalog: Catalog, statement: str) -> str:
    """Run a statement as the kernel would; return why it was refused."""
    with pytest.raises(UsageError) as error, catalog.database.transaction() as tx:
        tx.run(statement)
    cause = error.value.__cause__
    assert isinstance(cause, sqlite3.IntegrityError)
    assert str(cause) in error.value.message
    return str(cause)


@pytest.mark.parametrize("name", CHECKS)
def test_a_check_refuses(catalog: Catalog, name: str) -> None:
    assert refusal(catalog, CHECKS[name]) == f"CHECK constraint failed: {name}"


@pytest.mark.parametrize("name", UNIQUES)
def test_a_unique_refuses(catalog: Catalog, name: str) -> None:
    columns = dict(unique_columns())[name]
    assert refusal(catalog, UNIQUES[name]) == f"UNIQUE constraint failed: {', '.join(columns)}"


@pytest.mark.parametrize("table", [table.name for table in METADATA.sorted_tables])
def test_a_primary_key_refuses(catalog: Catalog, table: str) -> None:
    keys = [f"{table}.{column.name}" for column in METADATA.tables[table].primary_key]
    assert refusal(catalog, f"INSERT INTO {table} SELECT * FROM {table} LIMIT 1").endswith(", ".join(keys))


def unique_columns() -> list[tuple[str, list[str]]]:
    """The declared uniques: the index's name, or table.column, and what they are of."""
    found = []
    for table in METADATA.sorted_tables:
        found += [
            (f"{table.name}.{column.name}", [f"{table.name}.{column.name}"])
            for column in table.columns
            if column.unique
        ]
        found += [
            (str(index.name), [f"{table.name}.{column.name}" for column in index.columns])
            for index in table.indexes
            if index.unique
        ]
    return found


def foreign_keys() -> list[tuple[str, str]]:
    """The declared references: (table, first column)."""
    return sorted(
        (table.name, str(constraint.column_keys[0]))
        for table in METADATA.sorted_tables
        for constraint in table.constraints
        if isinstance(constraint, ForeignKeyConstraint)
    )


@pytest.mark.parametrize(("table", "column"), foreign_keys())
def test_a_reference_to_nothing_is_seen(catalog: Catalog, table: str, column: str) -> None:
    with raw(catalog) as connection:
        key = ", ".join(column.name for column in METADATA.tables[table].primary_key)
        connection.execute(
            f"UPDATE {table} SET {column} = 987654"
            f" WHERE ({key}) = (SELECT {key} FROM {table} WHERE {column} IS NOT NULL LIMIT 1)"
        )
        broken = {row[3] for row in connection.execute(f"PRAGMA foreign_key_check({table})")}
        references = connection.execute(f"PRAGMA foreign_key_list({table})").fetchall()
    assert column in {row[3] for row in references if row[0] in broken and row[1] == 0}


def test_references_are_held_in_every_transaction(catalog: Catalog) -> None:
    for durable in (False, True):
        with catalog.database.transaction(durable=durable) as tx:
            assert tx.run("PRAGMA foreign_keys").fetchone()[0] == 1
    assert refusal(catalog, "UPDATE ledger SET process_id = 987654").startswith("FOREIGN KEY constraint failed")


def test_every_constraint_has_a_mutant() -> None:
    checks = {
        str(constraint.name)
        for table in METADATA.sorted_tables
        for constraint in table.constraints
        if isinstance(constraint, CheckConstraint)
    }
    assert set(CHECKS) == checks
    assert set(UNIQUES) == {name for name, _ in unique_columns()} - UNREACHABLE


def test_a_mutant_names_the_table_it_breaks() -> None:
    for name, statement in CHECKS.items():
        table = re.split(r"(?:UPDATE|INSERT INTO) ", statement)[1].split()[0]
        assert name.startswith(table), name
