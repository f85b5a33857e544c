"""`check --repair` finishes what is safe to finish, whoever is at work meanwhile, and wherever it is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from bookkeeper import stageout
from bookkeeper.api import Catalog, Project, create_catalog, open_catalog
from bookkeeper.check import check, repair
from bookkeeper.errors import BookkeeperError, StorageError
from goodcatalog import abandon, commit_only, notes, produce, raw, started, violations


def unfinished(folder: Path) -> tuple[Catalog, Project]:
    """A catalog where everything was left half done.

    Processes: 1 committed, not published; 2 renamed, not recorded; 3 half reopened; 4 rolled back, its upload left;
    5 live, with an upload; 6 published, its upload left.
    """
    catalog, project = started(folder, 12, files_per_process=2)
    processes = [produce(project.start_process(), folder, commit=False) for _ in range(6)]
    for process in processes[:3]:
        commit_only(catalog, process)
    for process in processes[1:3]:
        record = process.outputs[0]
        stageout.publish(record.temp_url, record.final_url, size=record.size, checksum=record.checksum)
    with raw(catalog) as connection:
        connection.execute("UPDATE processes SET state = 'revoking', reason = 'wrong constants' WHERE id = 3")
    abandon(catalog, processes[3])
    processes[5].commit()
    upload = Path(processes[5].outputs[0].temp_url)
    upload.parent.mkdir()
    os.link(folder / "out" / "mass-6.txt", upload)
    return catalog, project


def assert_finished(catalog: Catalog, out: Path) -> None:
    assert violations(catalog, checksum=True, full=True) == set()
    assert notes(catalog) == {"live-processes"}
    assert sorted(path.name for path in out.iterdir() if not path.name.startswith(".")) == [
        "mass-1.txt",
        "mass-2.txt",
        "mass-6.txt",
    ]
    assert [upload.process_id for upload in stageout.temporaries(out)] == [5]
    states = catalog.sql("SELECT id, state FROM processes ORDER BY id")
    assert [row["state"] for row in states] == ["committed"] * 2 + ["revoked", "rolled_back", "active", "committed"]


def test_everything_unfinished_is_finished(tmp_path: Path) -> None:
    catalog, _ = unfinished(tmp_path)
    steps: list[str] = []
    done = repair(catalog.database, older_than=0, on_step=steps.append)
    assert_finished(catalog, tmp_path / "out")
    assert any(line.startswith("published") and line.endswith("mass-1.txt") for line in done)
    assert any("took back process 3: 2 files" in line for line in done)
    assert sum(line.startswith("deleted") for line in done) == 2
    assert len(steps) >= len(done)
    assert repair(catalog.database, older_than=0) == []


def test_uploads_stay_for_one_lease(tmp_path: Path) -> None:
    """A worker that has not heard of its end may still be writing."""
    catalog, _ = unfinished(tmp_path)
    repair(catalog.database)
    assert {upload.process_id for upload in stageout.temporaries(tmp_path / "out")} == {4, 5, 6}
    with raw(catalog) as connection:
        connection.execute("UPDATE processes SET ended_at = ended_at - 700 WHERE ended_at IS NOT NULL")
    repair(catalog.database)
    assert {upload.process_id for upload in stageout.temporaries(tmp_path / "out")} == {5}


def test_the_last_copy_of_a_published_output_is_kept(tmp_path: Path) -> None:
    catalog, _ = unfinished(tmp_path)
    (tmp_path / "out" / "mass-6.txt").unlink()
    repair(catalog.database, older_than=0)
    assert {upload.process_id for upload in stageout.temporaries(tmp_path / "out")} == {5, 6}
    assert violations(catalog) == {"missing-output"}


def test_nothing_is_overwritten_or_deleted_that_is_not_the_catalogs(tmp_path: Path) -> None:
    catalog, _ = unfinished(tmp_path)
    out = tmp_path / "out"
    (out / "mass-1.txt").write_text("somebody else's results")
    (out / "mass-3.txt").write_text("not what was published")
    stranger = out / ".bookkeeper" / "4-0123456789ab-0" / "mass-4.txt"
    stranger.parent.mkdir()
    stranger.write_text("an upload of another catalog's process 4")
    done = repair(catalog.database, older_than=0)
    assert (out / "mass-1.txt").read_text() == "somebody else's results"
    assert (out / "mass-3.txt").read_text() == "not what was published"
    assert stranger.exists()
    assert any(line.startswith("not published:") and "mass-1.txt" in line for line in done)
    assert any("process 3 is not taken back yet" in line for line in done)
    (row,) = catalog.sql("SELECT count(*) AS held FROM ledger WHERE process_id = 3 AND state = 'committed'")
    assert row["held"] == 2


def test_a_destination_of_another_catalog_is_left_alone(tmp_path: Path) -> None:
    catalog, _ = unfinished(tmp_path)
    out = tmp_path / "out"
    before = {upload.url for upload in stageout.temporaries(out)}
    with create_catalog(f"sqlite:///{tmp_path}/other.db") as other:
        stageout.claim(out, other.id, adopt=True)
    done = repair(catalog.database, older_than=0)
    assert {upload.url for upload in stageout.temporaries(out)} == before
    assert any(line.startswith("not published:") and "claimed by" in line for line in done)


def test_outputs_behind_a_url_are_published_by_the_catalogs_side(tmp_path: Path) -> None:
    import fsspec

    catalog, project = started(tmp_path, 2)
    process = project.start_process()
    for file in process.next_files(2):
        file.consumed()
    source = tmp_path / "payload.txt"
    source.write_text("made\n")
    process.stage_out(source, "memory://check-repair", "mass-{process}.txt", validate=None)
    commit_only(catalog, process)
    assert repair(catalog.database) == ["published memory://check-repair/mass-1.txt"]
    assert check(catalog.database, checksum=True) == []
    assert fsspec.filesystem("memory").cat("/check-repair/mass-1.txt") == b"made\n"


KILLED_AT = """
import os, signal, sys
from bookkeeper.api import open_catalog
from bookkeeper.check import repair

left = int(sys.argv[2])
catalog = open_catalog(sys.argv[1])

def count(event, arguments):
    global left
    if event in ("os.link", "os.remove", "os.rmdir", "fcntl.flock"):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(count)
repair(catalog.database, older_than=0)
"""


@pytest.mark.fault
def test_repair_goes_on_wherever_it_was_killed(tmp_path: Path) -> None:
    """Killed before its n-th file operation or transaction, for every n; then repaired."""
    for n in range(1, 200):
        folder = tmp_path / str(n)
        folder.mkdir()
        catalog, _ = unfinished(folder)
        run = subprocess.run([sys.executable, "-c", KILLED_AT, catalog.url, str(n)], check=False)
        if run.returncode == 0:
            break
        assert run.returncode == -signal.SIGKILL
        assert violations(catalog) == set()
        repair(catalog.database, older_than=0)
        assert_finished(catalog, folder / "out")
        catalog.close()
    assert n > 15


@pytest.mark.fault
def test_repair_and_check_beside_everybody_else(tmp_path: Path) -> None:
    """Workers that die anywhere, recoveries and two repairs at once: no false alarm, nothing lost, nothing twice."""
    catalog, project = started(tmp_path, 40, files_per_process=2, max_attempts=50)
    url, over = catalog.url, threading.Event()
    problems: list[str] = []

    def guarded(role: object) -> None:
        try:
            with open_catalog(url) as mine:
                role(mine)  # type: ignore[operator]
        except Exception as error:  # noqa: BLE001
            problems.append(repr(error))
            over.set()

    def worker(mine: Catalog) -> None:
        while not over.is_set():
            (row,) = mine.sql("SELECT name FROM projects WHERE state <> 'ended'")[:1] or ({"name": "mass"},)
            try:
                process = mine.project(row["name"]).start_process()
                produce(process, tmp_path, commit=False)
            except (BookkeeperError, FileNotFoundError):
                continue  # the project was ended, or nothing is left
            try:
                if process.files:
                    act(mine, process)
                else:
                    process.roll_back("nothing to do", counted=False)
            except StorageError as error:
                problems.append(f"{process.id}: {error}")

    def act(mine: Catalog, process: object) -> None:
        if process.id % 4 == 1:  # type: ignore[attr-defined]
            abandon(mine, process)  # type: ignore[arg-type]
        elif process.id % 4 == 2:  # type: ignore[attr-defined]
            commit_only(mine, process)  # type: ignore[arg-type]
        else:
            process.commit()  # type: ignore[attr-defined]

    def mender(mine: Catalog) -> None:
        while not over.is_set():
            problems.extend(line for line in repair(mine.database, older_than=0) if line.startswith("not"))
            found = [finding for finding in check(mine.database) if finding.severity == "violation"]
            problems.extend(finding.message for finding in found)

    def operator(mine: Catalog) -> None:
        while not over.is_set():
            mine.project("mass").recover()
            if mine.project("mass").status().complete:
                over.set()

    threads = [threading.Thread(target=guarded, args=(role,)) for role in (worker, worker, mender, mender, operator)]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            thread.join(600)
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert problems == []
    assert project.status().complete
    repair(catalog.database, older_than=0)
    assert violations(catalog, checksum=True) == set()
    assert not list(stageout.temporaries(tmp_path / "out"))
