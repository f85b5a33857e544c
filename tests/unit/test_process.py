"""What a job sees of its transaction: how a `Process` ends in good and in bad order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bookkeeper.api import Catalog, Project
from bookkeeper.checksums import adler32_of
from bookkeeper.errors import CatalogBusy, Fenced, FileChanged, NotAllowed, RolledBack, StorageError, UsageError
from bookkeeper.ledger import SqlLedger
from bookkeeper.process import Process, new_nonce, start
from bookkeeper.protocol import Fate, Manifest, ProcessKey, StartProcess, Status, StoredOutput
from ledgers import new_catalog, violations
from workbench import until


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    """Three real files of ten bytes in the project p."""
    (tmp_path / "in").mkdir()
    with new_catalog(tmp_path / "c.db") as catalog:
        for n in range(3):
            (tmp_path / "in" / f"f{n}").write_bytes(b"0123456789")
        records = [
            {"name": f"f{n}", "size": 10, "entries": n, "locations": [str(tmp_path / "in" / f"f{n}")]} for n in range(3)
        ]
        catalog.declare_files(records)
        catalog.define_dataset("all", names=["*"])
        catalog.start_project("p", "all", files_per_process=3)
        yield catalog
        assert violations(catalog.database) == []


@pytest.fixture
def project(catalog: Catalog) -> Project:
    return catalog.project("p")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "out.txt"
    path.write_text("a result\n")
    return path


def states(catalog: Catalog) -> list[str]:
    return [row["state"] for row in catalog.sql("SELECT state FROM ledger ORDER BY file_id")]


def lease_until(catalog: Catalog) -> float:
    return float(catalog.sql("SELECT lease_until FROM processes")[0]["lease_until"])


def beats(process: Process) -> bool:
    """Whether a heart beats for the process."""
    import threading

    return any(thread.name == f"heart-{process.id}" and thread.is_alive() for thread in threading.enumerate())


class Interrupting(SqlLedger):
    """A real ledger; the commit is interrupted before it reaches the catalog, or after."""

    def __init__(self, catalog: Catalog, error: BaseException, *, after: bool) -> None:
        super().__init__(catalog.database)
        self.error, self.after = error, after

    def commit(self, key: ProcessKey, manifest: Manifest) -> tuple[StoredOutput, ...]:
        if self.after:
            super().commit(key, manifest)
        raise self.error

    def to_publish(self, key: ProcessKey) -> tuple[StoredOutput, ...]:
        if not self.after and isinstance(self.error, CatalogBusy):
            raise self.error
        return super().to_publish(key)


def interrupting(catalog: Catalog, error: BaseException, *, after: bool) -> Process:
    return start(Interrupting(catalog, error, after=after), StartProcess("p", new_nonce()))


def test_a_block_that_ends_well_commits_and_publishes(
    catalog: Catalog, project: Project, source: Path, tmp_path: Path
) -> None:
    with project.start_process() as process:
        assert beats(process)
        for file in process:
            with file.open() as place:
                assert Path(place).read_bytes() == b"0123456789"
        process.stage_out(source, tmp_path, "out-{process}.txt", validate=None)
    assert process.fate is Fate.COMMITTED
    assert not beats(process)
    assert states(catalog) == ["committed"] * 3
    assert (tmp_path / "out-1.txt").read_text() == "a result\n"
    assert project.status().complete


def test_a_block_left_by_an_exception_rolls_back_and_cleans_up(
    catalog: Catalog, project: Project, source: Path, tmp_path: Path
) -> None:
    with pytest.raises(ZeroDivisionError), project.start_process() as process:
        with process.next_files(1)[0].open():
            pass
        record = process.stage_out(source, tmp_path, "out-{process}.txt", validate=None)
        raise ZeroDivisionError("1 / 0")
    assert not Path(record.temp_url).exists()
    assert states(catalog) == ["available"] * 3
    reasons = {row["file"]: row["reason"] for row in project.uncommitted()}
    assert reasons["f0"] == "process 1 rolled back: ZeroDivisionError: 1 / 0"
    assert not beats(process)


def test_a_block_that_found_nothing_is_no_failure(catalog: Catalog, project: Project) -> None:
    holder = project.start_process()
    holder.next_files()
    for _ in range(4):
        with project.start_process() as process:
            assert process.next_files() == []
            assert process.status is Status.NONE_NOW
    assert project.summary()["state"] == "open"
    holder.commit(no_output=True, done=holder.files)


def test_a_refused_commit_ends_the_process_for_the_job_too(project: Project, source: Path, tmp_path: Path) -> None:
    process = project.start_process(lease=0.3)
    process.keep_alive()
    process.next_files(1)
    process.stage_out(source, tmp_path, "a-{process}.txt", validate=None)
    with pytest.raises(RolledBack):
        process.commit(no_output=True)  # and yet there is one
    assert process.fate is Fate.ROLLED_BACK
    assert not beats(process)
    assert not Path(process.outputs[0].temp_url).exists()
    with pytest.raises(Fenced):
        process.next_files()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError("odd")])
def test_a_commit_interrupted_before_it_reached_the_catalog_is_rolled_back(
    catalog: Catalog, error: BaseException
) -> None:
    with pytest.raises(type(error)), interrupting(catalog, error, after=False) as process:
        process.next_files()
    assert process.fate is Fate.ROLLED_BACK
    assert states(catalog) == ["available"] * 3


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError("odd")])
def test_a_commit_interrupted_after_it_reached_the_catalog_counts_and_is_published(
    catalog: Catalog, source: Path, tmp_path: Path, error: BaseException
) -> None:
    with pytest.raises(type(error)), interrupting(catalog, error, after=True) as process:
        for file in process.next_files():
            file.consumed()
        process.stage_out(source, tmp_path, "out-{process}.txt", validate=None)
    assert process.fate is Fate.COMMITTED
    assert states(catalog) == ["committed"] * 3
    assert (tmp_path / "out-1.txt").exists()


def test_a_block_that_cannot_begin_holds_nothing(catalog: Catalog) -> None:
    process = interrupting(catalog, CatalogBusy("locked"), after=False)
    with pytest.raises(CatalogBusy), process:
        raise AssertionError("the block was entered")
    assert process.fate is Fate.ROLLED_BACK
    assert not beats(process)


def test_another_process_that_is_fenced_does_not_keep_this_one_alive(catalog: Catalog, project: Project) -> None:
    other = project.start_process()
    other.roll_back("by hand")
    with pytest.raises(Fenced), project.start_process() as process:
        process.next_files(1)
        other.next_files()
    assert process.fate is Fate.ROLLED_BACK
    assert states(catalog) == ["available"] * 3


def test_a_fenced_block_is_told_and_cleans_up(catalog: Catalog, project: Project, source: Path, tmp_path: Path) -> None:
    with pytest.raises(Fenced, match="fence"), project.start_process() as process:
        process.next_files(1)
        process.stage_out(source, tmp_path, "a-{process}.txt", validate=None)
        project.end(fence=True)
        process.heartbeat()
    assert not Path(process.outputs[0].temp_url).exists()
    assert process.roll_back("again") is Fate.ROLLED_BACK


def test_undecided_files_are_named_before_anything_is_sent(project: Project) -> None:
    process = project.start_process()
    file = process.next_files(1)[0]
    file.opened()
    with pytest.raises(NotAllowed, match="f0"):
        process.commit(no_output=True)
    assert process.fate is Fate.LIVE
    file.consumed(entries=0)
    process.commit(no_output=True)
    process.commit(no_output=True)
    assert process.fate is Fate.COMMITTED


def test_marks_that_ride_on_later_calls_survive_a_call_that_failed(catalog: Catalog, project: Project) -> None:
    process = project.start_process()
    first = process.next_files(1)
    with pytest.raises(UsageError):
        process.next_files(-1, done=first)
    process.next_files(1)
    assert catalog.sql("SELECT state FROM deliveries")[0]["state"] == "consumed"


def test_a_file_that_changed_is_parked_and_one_out_of_reach_is_not(
    catalog: Catalog, project: Project, tmp_path: Path
) -> None:
    process = project.start_process()
    changed, missing, good = process.next_files()
    (tmp_path / "in" / "f0").write_bytes(b"grown by some")
    (tmp_path / "in" / "f1").unlink()
    with pytest.raises(FileChanged, match="13 bytes, 10 declared"):
        changed.location()
    with pytest.raises(StorageError, match="cannot be reached"):
        missing.location()
    with good.open():
        pass
    process.commit(no_output=True)
    assert states(catalog) == ["parked", "available", "committed"]


def test_a_checksum_is_compared_on_request(catalog: Catalog, tmp_path: Path) -> None:
    place = tmp_path / "in" / "g"
    place.write_bytes(b"0123456789")
    catalog.declare_files([{"name": "g", "size": 10, "checksum": str(adler32_of(place)), "locations": [str(place)]}])
    catalog.define_dataset("one", files=["g"])
    project = catalog.start_project("q", "one")
    with project.start_process() as process:
        (file,) = process.next_files()
        assert file.location(checksum=True) == str(place)
        place.write_bytes(b"012345678!")
        assert file.location() == str(place)
        with pytest.raises(FileChanged, match="adler32:"), file.open(checksum=True):
            pass
        assert file.state == "failed"
        process.commit(no_output=True)
    assert project.uncommitted()[0]["state"] == "parked"


def test_leaving_a_file_by_an_exception_does_not_consume_it(project: Project) -> None:
    process = project.start_process()
    file = process.next_files(1)[0]
    with pytest.raises(RuntimeError), file.open():
        raise RuntimeError("bad event")
    assert file.state == "opened"


def test_a_heart_tells_when_its_process_was_fenced(project: Project) -> None:
    import threading

    told: list[Any] = []
    heard = threading.Event()
    process = project.start_process(lease=0.15)

    def on_fenced(error: Exception) -> None:
        told.append(error)
        heard.set()

    process.keep_alive(on_fenced)
    project.end(fence=True)
    assert heard.wait(20)
    assert isinstance(told[0], Fenced)
    process.roll_back("over")
    assert not beats(process)


def test_a_lease_is_kept_by_the_heart_alone(catalog: Catalog, project: Project) -> None:
    process = project.start_process(lease=30)
    process.next_files()
    process.started = replace(process.started, lease=0.3)  # what the heart goes by
    process.keep_alive()
    for _ in range(3):  # as many leases
        with catalog.database.transaction() as tx:
            tx.run("UPDATE processes SET lease_until = lease_until - 30")
        until(lambda: lease_until(catalog) > catalog.database.now() + 15, "a beat")
    assert catalog.expire() == 0
    process.roll_back("enough")


def test_an_output_of_files_that_nobody_spoke_of_is_refused(
    catalog: Catalog, project: Project, source: Path, tmp_path: Path
) -> None:
    """They would be in the output and come again."""
    with pytest.raises(NotAllowed, match="nothing was said"), project.start_process() as process:
        process.next_files(2)
        process.stage_out(source, tmp_path, "a-{process}.txt", validate=None)
    assert process.fate is Fate.ROLLED_BACK
    assert states(catalog) == ["available"] * 3
