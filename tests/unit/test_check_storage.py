"""`check` compares the destinations with the catalog, and says where it could not look."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from bookkeeper import stageout
from bookkeeper.api import Catalog, Project, create_catalog
from bookkeeper.check import check
from goodcatalog import abandon, commit_only, notes, produce, raw, started, violations

World = tuple[Catalog, Project, Path]


@pytest.fixture
def world(tmp_path: Path) -> World:
    catalog, project = started(tmp_path, 8, files_per_process=2)
    return catalog, project, tmp_path / "out"


def test_a_published_output_is_where_it_should_be(world: World, tmp_path: Path) -> None:
    catalog, project, _ = world
    produce(project.start_process(), tmp_path)
    assert check(catalog.database, checksum=True) == []


def test_a_published_output_that_is_gone(world: World, tmp_path: Path) -> None:
    catalog, project, out = world
    produce(project.start_process(), tmp_path)
    (out / "mass-1.txt").unlink()
    (found,) = check(catalog.database)
    assert (found.severity, found.code) == ("violation", "missing-output")
    assert str(out / "mass-1.txt") in found.message
    assert "reopen" in found.remedy
    assert check(catalog.database, storage=False) == []


@pytest.mark.parametrize("what", ["shorter", "a folder", "a link"])
def test_a_published_output_that_changed(world: World, tmp_path: Path, what: str) -> None:
    catalog, project, out = world
    produce(project.start_process(), tmp_path)
    final = out / "mass-1.txt"
    if what == "shorter":
        os.truncate(final, 3)
    else:
        final.unlink()
        final.mkdir() if what == "a folder" else final.symlink_to("/dev/null")
    assert violations(catalog) == {"changed-output"}


def test_other_bytes_of_the_same_size_need_the_checksum(world: World, tmp_path: Path) -> None:
    catalog, project, out = world
    produce(project.start_process(), tmp_path)
    (out / "mass-1.txt").write_text("MADE BY 1\n")
    assert violations(catalog) == set()
    assert violations(catalog, checksum=True) == {"changed-output"}


def test_an_output_that_waits_for_publication_is_a_note(world: World, tmp_path: Path) -> None:
    catalog, project, out = world
    process = produce(project.start_process(), tmp_path, commit=False)
    commit_only(catalog, process)
    (found,) = check(catalog.database)
    assert (found.severity, found.code, found.sample) == ("note", "pending-publication", (str(out / "mass-1.txt"),))
    record = process.outputs[0]
    stageout.publish(record.temp_url, record.final_url, size=record.size, checksum=record.checksum)
    assert notes(catalog) == {"pending-publication"}  # renamed, not yet recorded


def test_a_committed_output_that_is_lost(world: World, tmp_path: Path) -> None:
    catalog, project, _ = world
    process = produce(project.start_process(), tmp_path, commit=False)
    commit_only(catalog, process)
    stageout.discard(process.outputs[0].temp_url)
    assert violations(catalog) == {"missing-output"}


def test_another_object_in_the_way_of_a_publication(world: World, tmp_path: Path) -> None:
    catalog, project, out = world
    commit_only(catalog, produce(project.start_process(), tmp_path, commit=False))
    (out / "mass-1.txt").write_text("somebody else's results")
    assert violations(catalog) == {"changed-output"}


def test_uploads_of_a_live_process_are_left_out(world: World, tmp_path: Path) -> None:
    catalog, project, _ = world
    produce(project.start_process(), tmp_path, commit=False)
    assert notes(catalog) == {"live-processes"}


def test_uploads_that_nobody_wants_are_notes(world: World, tmp_path: Path) -> None:
    catalog, project, out = world
    process = produce(project.start_process(), tmp_path, commit=False)
    abandon(catalog, process)
    for stranger in ("77-0123456789abcdef-0", "1-0123456789abcdef-0"):  # no such process; another one of that number
        (out / ".bookkeeper" / stranger).mkdir()
        (out / ".bookkeeper" / stranger / "x.txt").write_text("x")
    found = {finding.code: finding for finding in check(catalog.database)}
    assert found.keys() == {"orphaned-temporaries", "unknown-temporaries"}
    assert found["orphaned-temporaries"].sample == (process.outputs[0].temp_url,)
    assert found["unknown-temporaries"].count == 2


def test_an_object_that_the_catalog_does_not_know_is_a_note(world: World, tmp_path: Path) -> None:
    catalog, project, out = world
    produce(project.start_process(), tmp_path)
    (out / "mass-99.txt").write_text("who made this?")
    (found,) = check(catalog.database)
    assert (found.severity, found.code, found.sample) == ("note", "unknown-object", (str(out / "mass-99.txt"),))


def test_an_object_of_a_reopened_process_that_came_back_is_a_note(world: World, tmp_path: Path) -> None:
    catalog, project, out = world
    produce(project.start_process(), tmp_path)
    project.reopen(1, "wrong constants")
    assert check(catalog.database) == []
    (out / "mass-1.txt").write_text("made by 1\n")
    assert notes(catalog) == {"unknown-object"}


def test_a_destination_that_vanished(world: World, tmp_path: Path) -> None:
    catalog, project, out = world
    produce(project.start_process(), tmp_path)
    out.rename(tmp_path / "unmounted")
    (found,) = check(catalog.database)
    assert (found.severity, found.code) == ("violation", "missing-claim")
    assert "should be there: 1" in found.message


def test_a_destination_that_another_catalog_claimed(world: World, tmp_path: Path) -> None:
    catalog, project, out = world
    produce(project.start_process(), tmp_path)
    with create_catalog(f"sqlite:///{tmp_path}/other.db") as other:
        stageout.claim(out, other.id, adopt=True)
        (out / "theirs.txt").write_text("theirs")
        (found,) = check(catalog.database)
        assert (found.severity, found.code) == ("violation", "foreign-claim")
        assert other.id in found.message


def test_a_destination_where_nothing_counts_needs_no_claim(world: World, tmp_path: Path) -> None:
    """A process that dies, or is refused, before it has the claim leaves only the destination's name."""
    catalog, project, _ = world
    process = project.start_process()
    with create_catalog(f"sqlite:///{tmp_path}/other.db") as other:
        stageout.claim(tmp_path / "theirs", other.id)
    ledger = process._ledger
    ledger.will_write_to(process.key, str(tmp_path / "theirs"))
    ledger.will_write_to(process.key, str(tmp_path / "never-made"))
    process.roll_back("refused", counted=False)
    found = check(catalog.database)
    assert {(finding.severity, finding.code) for finding in found} == {
        ("note", "foreign-claim"),
        ("note", "missing-claim"),
    }


def test_a_destination_that_cannot_be_looked_at_is_named(world: World, tmp_path: Path) -> None:
    catalog, project, _ = world
    produce(project.start_process(), tmp_path)
    with raw(catalog) as connection:
        connection.execute("INSERT INTO destinations VALUES ('nosuchprotocol://host/out', 0)")
        connection.execute("UPDATE outputs SET destination = 'nosuchprotocol://host/out'")
    found = [finding for finding in check(catalog.database) if finding.code == "unreachable-destination"]
    assert len(found) == 1
    assert "nosuchprotocol://host/out" in found[0].message
    assert "should be there: 1" in found[0].message


def test_a_damaged_claim_is_not_ours(world: World, tmp_path: Path) -> None:
    catalog, project, out = world
    produce(project.start_process(), tmp_path)
    (out / ".bookkeeper" / "claim").write_text(json.dumps(["?"]))
    assert violations(catalog) == {"foreign-claim"}


def test_an_output_behind_a_url_is_looked_at_there(tmp_path: Path) -> None:
    import fsspec

    catalog, project = started(tmp_path, 2)
    process = project.start_process()
    for file in process.next_files(2):
        file.consumed()
    source = tmp_path / "payload.txt"
    source.write_text("made\n")
    process.stage_out(source, "memory://check-storage", "mass-{process}.txt", validate=None)
    commit_only(catalog, process)
    assert notes(catalog) == {"pending-publication"}
    memory = fsspec.filesystem("memory")
    memory.rm("/check-storage", recursive=True)
    assert violations(catalog) == {"missing-claim"}
