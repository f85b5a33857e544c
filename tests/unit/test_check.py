"""`check` finds nothing wrong in a catalog that lived, and each wrong thing by its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from bookkeeper.api import Catalog
from bookkeeper.check import check
from bookkeeper_schema import invariants
from goodcatalog import declare, lived, notes, raw, started, violations

FORGET_OUTPUTS = "DELETE FROM outputs WHERE process_id = 1"
TRANSFER = (
    "INSERT INTO transfers (output_id, process_id, request_id, near_url, link, state, arrived_url, queued_at, deadline)"
    " SELECT id, {process}, request_id, temp_url, 'a->b', '{state}', temp_url, 1.0, 2.0 FROM outputs WHERE process_id = {of}"
)
OPENED = "(SELECT max(process_id) FROM deliveries WHERE state = 'opened')"

# What is done to a sound catalog (see `goodcatalog.lived`), and the invariants that are broken then: the first is the
# one that it is about, the others say the same thing from another side.
MUTANTS: dict[str, tuple[str, list[str]]] = {
    "a ledger row is lost": (
        "DELETE FROM ledger WHERE request_id = 2 AND file_id = 9",
        ["ledger-is-the-snapshot", "files-are-accounted-for", "project-totals"],
    ),
    "a ledger row is of another file": (
        "UPDATE ledger SET file_id = 99 WHERE request_id = 2 AND file_id = 9",
        ["ledger-is-the-snapshot", "dangling-reference", "pinned-version-exists"],
    ),
    "a file is in no state": (
        "UPDATE ledger SET state = 'lost' WHERE request_id = 2 AND file_id = 9",
        ["files-are-accounted-for", "broken-constraint"],
    ),
    "a request forgets files": ("UPDATE requests SET files = files - 1 WHERE id = 2", ["files-are-accounted-for"]),
    "a snapshot grows": (
        "INSERT INTO files VALUES (77, 'new', 1, NULL, NULL, NULL, 1, 'current', 0, NULL, NULL);"
        "INSERT INTO snapshot_files SELECT max(id), 77, 1 FROM snapshots",
        ["snapshot-is-counted", "ledger-is-the-snapshot"],
    ),
    "the holder is dead": (
        "UPDATE ledger SET process_id = 2 WHERE request_id = 1 AND state = 'held'",
        ["held-by-a-live-process", "live-process-holds-its-files", "holder-was-given-the-file"],
    ),
    "a live process lost a file": (
        "UPDATE ledger SET state = 'available' WHERE request_id = 1 AND file_id = 9",
        ["live-process-holds-its-files"],
    ),
    "a rolled-back process counts": (
        "UPDATE processes SET state = 'committed', no_output = 1 WHERE id = 2",
        [
            "consumed-is-committed",
            "charged-when-it-ended",
            "output-follows-its-process",
            "project-process-totals",
        ],
    ),
    "a file counts twice": (
        "INSERT INTO deliveries (process_id, file_id, seq, attempt, state, delivered_at, opened_at, consumed_at)"
        " VALUES (3, 1, 1, 1, 'consumed', 0, 0, 0); UPDATE processes SET delivered = 3 WHERE id = 3",
        ["counted-once"],
    ),
    "a commit has no evidence": (
        "UPDATE ledger SET state = 'committed', process_id = 2 WHERE request_id = 1 AND file_id = 3;"
        "UPDATE requests SET committed = committed + 1 WHERE id = 1; UPDATE projects SET committed = committed + 1 WHERE id = 2",
        ["committed-was-consumed"],
    ),
    "a commit is forgotten": (
        "UPDATE ledger SET state = 'parked', reason = '-' WHERE request_id = 1 AND file_id = 1;"
        "UPDATE requests SET committed = committed - 1 WHERE id = 1; UPDATE projects SET committed = committed - 1 WHERE id = 1",
        ["consumed-is-committed"],
    ),
    "a holder never had the file": (
        "UPDATE ledger SET process_id = 1 WHERE request_id = 1 AND file_id = 11",
        ["holder-was-given-the-file"],
    ),
    "a holder is forgotten": (
        "UPDATE ledger SET process_id = NULL WHERE request_id = 1 AND file_id = 3",
        ["holder-was-given-the-file"],
    ),
    "two projects are open": (
        "DROP INDEX projects_one_open; UPDATE projects SET state = 'open', ended_at = NULL WHERE id = 1",
        ["one-open-project", "free-files-are-in-the-open-project"],
    ),
    "a request has two roots": (
        "DROP INDEX projects_one_root; UPDATE projects SET recovers = NULL WHERE id = 2",
        ["one-root-project"],
    ),
    "a project recovers another request": ("UPDATE projects SET recovers = 3 WHERE id = 2", ["one-root-project"]),
    "a fenced project lives": (
        "UPDATE projects SET state = 'ended', ended_at = 1, fenced = 1 WHERE id = 2",
        ["fenced-project-has-no-live-process"],
    ),
    "a free file waits in an ended project": (
        "UPDATE ledger SET project_id = 1 WHERE request_id = 1 AND file_id = 11;"
        "UPDATE projects SET files = files + CASE id WHEN 1 THEN 1 ELSE -1 END WHERE request_id = 1",
        ["free-files-are-in-the-open-project"],
    ),
    "a discarded output counts": (
        "UPDATE outputs SET state = 'published', published_at = 1 WHERE process_id = 2",
        ["output-follows-its-process"],
    ),
    "an output is of another request": (
        "UPDATE outputs SET request_id = 2 WHERE process_id = 1",
        ["output-is-of-its-request"],
    ),
    "two outputs have one final name": (
        "DROP INDEX outputs_final;"
        "UPDATE outputs SET final_url = (SELECT final_url FROM outputs WHERE process_id = 1),"
        " size = (SELECT size FROM outputs WHERE process_id = 1) WHERE process_id = 5",
        ["one-output-a-final-name"],
    ),
    "two outputs have one temporary name": (
        "DROP INDEX outputs_temporary; UPDATE outputs SET temp_url = (SELECT temp_url FROM outputs WHERE process_id = 1)",
        ["one-output-a-temporary-name"],
    ),
    "an output is forgotten": (FORGET_OUTPUTS, ["committed-process-has-its-output"]),
    "an output was denied": ("UPDATE processes SET no_output = 1 WHERE id = 1", ["committed-process-has-its-output"]),
    "an opened file stayed undecided": (
        "UPDATE deliveries SET state = 'opened', opened_at = 1 WHERE process_id = 3 AND state = 'skipped'",
        ["nothing-undecided-after-commit", "charged-when-it-ended"],
    ),
    "a partition is committed in part": (
        "UPDATE ledger SET partition_number = 0 WHERE request_id = 2 AND file_id = 5",
        ["partition-is-committed-whole"],
    ),
    "attempts are made up": (
        "UPDATE ledger SET attempts = 5 WHERE request_id = 1 AND file_id = 3",
        ["attempts-are-charged-deliveries"],
    ),
    "a live process is charged": (
        "UPDATE deliveries SET charged = 1 WHERE process_id = 6 AND file_id = 9;"
        "UPDATE ledger SET attempts = attempts + 1 WHERE request_id = 1 AND file_id = 9",
        ["charged-when-it-ended"],
    ),
    "more failures alone than failures": (
        "UPDATE ledger SET alone = 7 WHERE request_id = 1 AND file_id = 3",
        ["alone-is-part-of-attempts", "broken-constraint"],
    ),
    "more setbacks alone than setbacks": (
        "UPDATE ledger SET setbacks_alone = 1 WHERE request_id = 1 AND file_id = 3",
        ["setbacks-alone-are-part-of-setbacks"],
    ),
    "a pinned version never was": (
        "UPDATE ledger SET version = 3 WHERE request_id = 1 AND file_id = 11",
        ["pinned-version-exists"],
    ),
    "a request miscounts": ("UPDATE requests SET committed = committed - 1 WHERE id = 1", ["request-total"]),
    "a project miscounts its files": ("UPDATE projects SET files = files + 1 WHERE id = 1", ["project-totals"]),
    "a project miscounts its commits": ("UPDATE projects SET commits = 9 WHERE id = 1", ["project-process-totals"]),
    "a project miscounts its roll backs": (
        "UPDATE projects SET rollbacks = 0 WHERE id = 1",
        ["project-process-totals"],
    ),
    "a process miscounts": ("UPDATE processes SET delivered = 9 WHERE id = 2", ["process-total"]),
    "a request miscounts what lies near": ("UPDATE requests SET near_bytes = 5 WHERE id = 1", ["near-total"]),
    "a transfer arrived for a process that was rolled back": (
        TRANSFER.format(process=2, state="arrived", of=2),
        ["transfer-follows-its-process", "near-total"],
    ),
    "a transfer is of another process": (
        TRANSFER.format(process=3, state="done", of=1),
        ["transfer-is-of-its-output"],
    ),
    "a process waits for a transfer with a file undecided": (
        f"UPDATE processes SET state = 'staged' WHERE id = {OPENED};"
        + TRANSFER.format(process=OPENED, state="waiting", of=1),
        ["near-delivery-is-decided", "transfer-is-of-its-output", "near-total"],
    ),
    "an event is of no process": (
        "INSERT INTO events (at, kind, process_id, body) VALUES (0, 'x', 999, '{}')",
        ["dangling-reference"],
    ),
}


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return lived(tmp_path)[0]


def test_a_catalog_that_lived_is_sound(catalog: Catalog) -> None:
    assert violations(catalog, full=True, checksum=True) == set()
    assert notes(catalog) == {"live-processes"}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_broken_invariant_is_found(catalog: Catalog, mutant: str) -> None:
    statements, expected = MUTANTS[mutant]
    with raw(catalog) as connection:
        connection.executescript(statements)
    assert violations(catalog) == set(expected)


def test_every_invariant_has_a_mutant() -> None:
    codes = {invariant.code for invariant in invariants.load()}
    assert codes == {expected[0] for _, expected in MUTANTS.values()} - {"dangling-reference"}


def test_invariants_say_in_words_what_holds() -> None:
    for invariant in invariants.load():
        assert invariant.words.endswith("."), invariant.code
        assert " AS thing" in invariant.query


def test_a_finding_names_the_things_and_counts_them(tmp_path: Path) -> None:
    catalog, _ = started(tmp_path, 8)
    with raw(catalog) as connection:
        connection.execute("UPDATE ledger SET attempts = 1")
    (found,) = check(catalog.database)
    assert (found.severity, found.code, found.count) == ("violation", "attempts-are-charged-deliveries", 8)
    assert len(found.sample) == 5
    assert found.sample[0] == "file f00 of request mass has 1 attempts, charged 0"
    assert found.message.endswith("and 3 more")
    assert "backup" in found.remedy
    assert found.as_dict()["sample"][0] == found.sample[0]


def test_a_damaged_database_is_told_before_anything_else(tmp_path: Path) -> None:
    catalog, _ = started(tmp_path, 200)
    with raw(catalog) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        root = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'ledger_available'").fetchone()[0]
        size = connection.execute("PRAGMA page_size").fetchone()[0]
    catalog.close()
    with open(catalog.database.path, "r+b") as stream:
        stream.seek((root - 1) * size + size // 2)
        stream.write(b"\xff" * (size // 2))
    (found,) = check(catalog.database)
    assert (found.severity, found.code) == ("violation", "damaged-database")


def test_a_file_declared_anew_breaks_nothing(tmp_path: Path) -> None:
    """The pinned version stays in the file's history; the stale file is parked when its turn comes."""
    catalog, project = started(tmp_path, 4)
    declare(catalog, 2, update=True, size=11)
    process = project.start_process()
    assert len(process.next_files(4)) == 2
    assert violations(catalog) == set()


def test_progress_is_told(catalog: Catalog) -> None:
    told: list[tuple[str, int, int]] = []
    check(catalog.database, on_progress=lambda *step: told.append(step))
    count = len(invariants.load())
    assert ("invariants", count, count) in told
    assert ("destinations", 1, 1) in told


def test_one_place_under_two_names_is_a_note(catalog: Catalog) -> None:
    before = notes(catalog)
    with raw(catalog) as connection:
        connection.execute("INSERT INTO locations (file_id, url) VALUES (1, '/in/same.root'), (2, '/in/same.root')")
    assert notes(catalog) - before == {"shared-locations"}
    assert violations(catalog) == set()


def test_an_expired_lease_and_a_half_reopened_process_are_notes(catalog: Catalog) -> None:
    with raw(catalog) as connection:
        connection.execute("UPDATE processes SET lease_until = 1 WHERE id = 6")
        connection.execute("UPDATE processes SET state = 'revoking', reason = 'wrong' WHERE id = 1")
    assert notes(catalog) == {"expired-leases", "revoking-processes"}
    assert violations(catalog) == set()
