"""A backup is one whole file of one moment; put to use, it is a time line of its own that overwrites nothing."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

from bookkeeper import catalog as catalogs
from bookkeeper import stageout
from bookkeeper.api import Catalog, open_catalog
from bookkeeper.backup import backup
from bookkeeper.check import check, repair
from bookkeeper.errors import CatalogError, Conflict, Fenced, RolledBack, StorageError
from goodcatalog import lived, notes, produce, raw, started, violations


def test_a_backup_is_one_whole_file_of_the_same_content(tmp_path: Path) -> None:
    catalog, _ = lived(tmp_path)
    told: list[tuple[int, int]] = []
    info = backup(catalog.database, tmp_path / "copy.db", on_progress=lambda *step: told.append(step))
    assert (info.catalog_id, info.epoch, info.live) == (catalog.id, 1, 1)
    assert info.size == (tmp_path / "copy.db").stat().st_size
    assert info.as_dict()["path"] == str(tmp_path / "copy.db")
    assert told[-1][0] == told[-1][1] > 0
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith((".", "copy.db-"))]
    with (
        closing(sqlite3.connect(f"file:{tmp_path}/copy.db?mode=ro&immutable=1", uri=True)) as copy,
        closing(sqlite3.connect(catalog.database.path)) as original,
    ):
        assert copy.execute("PRAGMA journal_mode").fetchone()[0] == "delete"
        tables = [row[0] for row in copy.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in set(tables) - {"catalog"}:
            query = f"SELECT * FROM {table} ORDER BY 1, 2" if table != "alembic_version" else f"SELECT * FROM {table}"
            assert copy.execute(query).fetchall() == original.execute(query).fetchall()
    assert catalog.sql("SELECT stamped_at FROM catalog") == [{"stamped_at": None}]


@pytest.mark.parametrize("what", ["file", "folder", "dangling link", "the catalog itself"])
def test_a_backup_never_overwrites(tmp_path: Path, what: str) -> None:
    catalog, _ = started(tmp_path)
    target = tmp_path / "copy.db"
    if what == "file":
        target.write_text("precious")
    elif what == "folder":
        target.mkdir()
    elif what == "dangling link":
        target.symlink_to(tmp_path / "nowhere")
    else:
        target = catalog.database.path
    with pytest.raises(Conflict, match="exists; a backup never overwrites"):
        backup(catalog.database, target)
    assert what != "file" or target.read_text() == "precious"


def test_two_backups_at_once_to_one_name(tmp_path: Path) -> None:
    """The second finds the name taken when its copy is made."""
    catalog, _ = started(tmp_path)
    target = tmp_path / "copy.db"
    taken = [False]

    def take(done: int, total: int) -> None:
        if not taken[0]:
            taken[0] = True
            target.write_text("the other backup")

    with pytest.raises(Conflict):
        backup(catalog.database, target, on_progress=take)
    assert target.read_text() == "the other backup"
    assert not list(tmp_path.glob(".copy*"))


def test_a_backup_into_no_folder_says_how_to_make_it(tmp_path: Path) -> None:
    catalog, _ = started(tmp_path)
    with pytest.raises(CatalogError) as error:
        backup(catalog.database, tmp_path / "no" / "copy.db")
    assert error.value.remedy == f"mkdir -p {tmp_path / 'no'}"


@pytest.mark.fault
def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    catalog, _ = started(tmp_path)
    code = """
import resource, signal, sys
from bookkeeper.api import open_catalog
from bookkeeper.backup import backup
from bookkeeper.errors import BookkeeperError
catalog = open_catalog(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
try:
    backup(catalog.database, sys.argv[2])
except BookkeeperError as error:
    print(type(error).__name__, error)
"""
    target = tmp_path / "backups" / "copy.db"
    target.parent.mkdir()
    run = subprocess.run(
        [sys.executable, "-c", code, catalog.url, str(target)], capture_output=True, text=True, check=False
    )
    assert run.stdout.startswith("CatalogError"), run.stderr
    assert str(target) in run.stdout
    assert not list(target.parent.iterdir())


@pytest.mark.fault
def test_a_killed_backup_never_has_the_name(tmp_path: Path) -> None:
    catalog, _ = started(tmp_path)
    code = """
import os, signal, sys
from bookkeeper.api import open_catalog
from bookkeeper.backup import backup
catalog = open_catalog(sys.argv[1])
def hook(event, arguments):
    if event == sys.argv[3]:
        os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(hook)
backup(catalog.database, sys.argv[2])
"""
    target = tmp_path / "copy.db"
    for event, named in (("os.chmod", False), ("os.link", False), ("os.remove", True)):
        run = subprocess.run([sys.executable, "-c", code, catalog.url, str(target), event], check=False)
        assert run.returncode == -signal.SIGKILL
        assert target.exists() == named
        assert len(list(tmp_path.glob(".copy.db.*.part"))) > 0
    with open_catalog(f"sqlite:///{target}") as restored:
        assert violations(restored) == set()


def test_a_backup_is_taken_while_jobs_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every copy is of one moment, however many transactions end meanwhile; no writer waits for it."""
    monkeypatch.setattr("bookkeeper.backup.PAGES", 1)
    catalog, _ = started(tmp_path, 400, files_per_process=1)
    over = threading.Event()

    def work() -> None:
        with open_catalog(catalog.url) as mine:
            project = mine.project("mass")
            while not over.is_set():
                process = project.start_process()
                for file in process.next_files(1):
                    file.consumed()
                process.commit(no_output=True)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        for number in range(10):
            backup(catalog.database, tmp_path / f"copy-{number}.db")
    finally:
        over.set()
        worker.join()
    seen = []
    for number in range(10):
        with open_catalog(f"sqlite:///{tmp_path}/copy-{number}.db") as copy:
            assert violations(copy, full=True) == set()
            seen.append(copy.project("mass").status().committed)
    assert seen == sorted(seen)


def test_a_backup_can_be_read_before_it_is_put_to_use(tmp_path: Path) -> None:
    catalog, _ = started(tmp_path)
    backup(catalog.database, tmp_path / "copy.db")
    database = catalogs.open_existing(f"sqlite:///{tmp_path}/copy.db")
    assert database.stamped
    assert {finding.code for finding in check(database)} == {"unused-backup"}
    assert database.epoch == 1
    database.close()


def test_a_backup_of_a_backup_is_a_backup(tmp_path: Path) -> None:
    catalog, _ = started(tmp_path)
    backup(catalog.database, tmp_path / "one.db")
    unused = catalogs.open_existing(f"sqlite:///{tmp_path}/one.db")
    assert backup(unused, tmp_path / "two.db").epoch == 1
    unused.close()
    with open_catalog(f"sqlite:///{tmp_path}/two.db") as used:
        assert used.database.epoch == 2


def restored(catalog: Catalog, folder: Path) -> Catalog:
    """Put a backup in the catalog's place, as after a lost disk."""
    catalog.close()
    for path in folder.glob("bookkeeper.db*"):
        path.unlink() if path.is_file() else shutil.rmtree(path)
    (folder / "copy.db").rename(catalog.database.path)
    return open_catalog(catalog.url)


def test_a_restored_catalog_fences_the_old_time_line_and_overwrites_nothing(tmp_path: Path) -> None:
    """The backup is of a moment when 2 and 3 were live; the original went on, and then its disk was lost."""
    out = tmp_path / "out"
    catalog, project = started(tmp_path, 8, files_per_process=2)
    produce(project.start_process(), tmp_path)
    second = produce(project.start_process(), tmp_path, commit=False)
    third = produce(project.start_process(), tmp_path, commit=False)
    info = backup(catalog.database, tmp_path / "copy.db")
    assert info.live == 2
    second.commit()
    produce(project.start_process(), tmp_path)  # 4, which the backup does not know
    assert check(catalog.database)[0].code == "live-processes"
    published = {path.name: path.read_text() for path in out.iterdir() if path.is_file()}
    assert set(published) == {"mass-1.txt", "mass-2.txt", "mass-4.txt"}

    catalog = restored(catalog, tmp_path)
    project = catalog.project("mass")
    assert catalog.database.epoch == 2
    assert catalog.sql("SELECT stamped_at FROM catalog") == [{"stamped_at": None}]
    with raw(catalog) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert violations(catalog, checksum=True) == set()

    # the jobs of the old time line are told that they do not count
    with pytest.raises(Fenced, match="restored from a backup"):
        third.commit()
    with pytest.raises(Fenced, match="restored from a backup"):
        second.heartbeat()

    # what the catalog does not know is named, and left where it lies
    found = {finding.code: finding for finding in check(catalog.database)}
    assert set(found["unknown-object"].sample) == {str(out / "mass-2.txt"), str(out / "mass-4.txt")}
    assert "restored backup" in found["unknown-object"].remedy
    repair(catalog.database, older_than=0)
    assert {path.name: path.read_text() for path in out.iterdir() if path.is_file()} == published

    # the numbers of processes start again where the backup ended: nothing of the lost ones is overwritten
    clash = project.start_process()
    assert clash.id == 4
    with pytest.raises(StorageError, match="exists already"):
        produce(clash, tmp_path)
    clash.roll_back("the name is taken", step="output-storage")
    assert {path.name: path.read_text() for path in out.iterdir() if path.is_file()} == published

    # moved away, as the remedy says, everything is processed once
    for name in ("mass-2.txt", "mass-4.txt"):
        (out / name).rename(tmp_path / f"lost-{name}")
    while not project.status().complete:
        produce(project.start_process(), tmp_path)
    assert violations(catalog, checksum=True) == set()
    assert notes(catalog) == set()


def test_uploads_of_the_old_time_line_are_not_collected(tmp_path: Path) -> None:
    """In the original, if it still lives, their processes may have committed: deleting them could lose results."""
    catalog, project = started(tmp_path, 4, files_per_process=2)
    live = produce(project.start_process(), tmp_path, commit=False)
    backup(catalog.database, tmp_path / "copy.db")
    with open_catalog(f"sqlite:///{tmp_path}/copy.db") as copy:
        assert "unknown-temporaries" in notes(copy)
        repair(copy.database, older_than=0)
    live.commit()
    assert check(catalog.database, checksum=True) == []


def test_only_one_opener_raises_the_epoch(tmp_path: Path) -> None:
    catalog, _ = started(tmp_path)
    backup(catalog.database, tmp_path / "copy.db")
    url = f"sqlite:///{tmp_path}/copy.db"
    first, second = catalogs.open_existing(url), catalogs.open_existing(url)
    from bookkeeper.ledger.restore import put_to_use

    put_to_use(first)
    put_to_use(second)
    assert (first.epoch, second.epoch) == (2, 2)
    first.close()
    second.close()


def test_a_backup_has_the_permissions_of_its_catalog(tmp_path: Path) -> None:
    catalog, _ = started(tmp_path)
    os.chmod(catalog.database.path, 0o640)
    backup(catalog.database, tmp_path / "copy.db")
    assert (tmp_path / "copy.db").stat().st_mode & 0o777 == 0o640


def test_no_upload_of_a_fenced_job_is_left_by_a_job_that_hears_of_it(tmp_path: Path) -> None:
    catalog, project = started(tmp_path, 4)
    process = produce(project.start_process(), tmp_path, commit=False)
    backup(catalog.database, tmp_path / "copy.db")
    catalog = restored(catalog, tmp_path)
    with pytest.raises((Fenced, RolledBack)):
        process.commit()
    assert not list(stageout.temporaries(tmp_path / "out"))
