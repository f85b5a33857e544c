"""A process whose job says one thing a call: nothing but the catalog remembers."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import bookkeeper
from bookkeeper import files, stepwise
from bookkeeper.errors import Fenced, FileChanged, NotAllowed, NotFound, UsageError
from bookkeeper.protocol import Fate, Mark, ProcessKey


@pytest.fixture
def folder(tmp_path: Path, zmumu_folder: Path) -> Path:
    """Six files that a test may change."""
    return shutil.copytree(zmumu_folder, tmp_path / "data")


@pytest.fixture
def project(tmp_path: Path, folder: Path) -> bookkeeper.Project:
    catalog = bookkeeper.create_catalog(f"sqlite:///{tmp_path}/catalog.db")
    catalog.declare_files(bookkeeper.scan([folder]))
    catalog.define_dataset("zmumu", names=["*"])
    return catalog.start_project("p", "zmumu")


def test_a_key_survives_the_environment() -> None:
    key = ProcessKey(17, "0a1b")
    assert stepwise.key_of({stepwise.VARIABLE: stepwise.text_of(key)}) == key


@pytest.mark.parametrize("text", ["", "17", "17:", ":x", "x:y", "-1:x", "1:x y", "1:é", "9" * 19 + ":x"])
def test_what_is_no_key_is_refused_unseen(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        stepwise.key_of({stepwise.VARIABLE: text})
    assert "x" not in caught.value.message.replace("BOOKKEEPER", "")


def test_every_call_finds_what_the_last_one_left(
    project: bookkeeper.Project, zmumu_folder: Path, tmp_path: Path
) -> None:
    database, key = project._database, project.start_process().key
    assert [file.name for file in stepwise.SteppedProcess(database, key).next_files(2)] == [
        "zmumu-1.root",
        "zmumu-2.root",
    ]
    stepwise.SteppedProcess(database, key).mark("zmumu-1.root", Mark.CONSUMED, entries=500, bytes=9, reason=None)
    again = stepwise.SteppedProcess(database, key)
    assert [(file.name, file.state, file.entries_read) for file in again.files] == [
        ("zmumu-1.root", "consumed", 500),
        ("zmumu-2.root", "delivered", None),
    ]
    assert [file.name for file in again.next_files(1)] == ["zmumu-3.root"]
    record = again.copy_out(str(zmumu_folder / "zmumu-1.root"), str(tmp_path / "out"), "m-{process}.root")
    assert stepwise.SteppedProcess(database, key).outputs == [record]
    assert stepwise.commit(database, key) == (1, 3)
    assert stepwise.commit(database, key) == (1, 3)
    assert [row["url"] for row in project.outputs()] == [f"{tmp_path}/out/m-1.root"]
    with pytest.raises(NotAllowed):
        stepwise.SteppedProcess(database, key)


def test_a_commit_publishes_what_the_last_one_could_not(project: bookkeeper.Project, tmp_path: Path) -> None:
    """Killed between commit and publication, the same commit again brings the output to its name."""
    database, process = project._database, project.start_process()
    (file,) = process.next_files(1)
    file.consumed()
    made = tmp_path / "made.root"
    shutil.copy(file.locations[0], made)
    stepped = stepwise.SteppedProcess(database, process.key)
    record = stepped.copy_out(str(made), str(tmp_path / "out"), "m-{process}.root")
    stepped.publish = lambda outputs: None  # type: ignore[method-assign]
    stepped.commit()
    assert not Path(record.final_url).exists()
    assert stepwise.commit(database, process.key) == (1, 1)
    assert Path(record.final_url).exists()


def test_a_wrong_token_speaks_for_nobody(project: bookkeeper.Project) -> None:
    key = project.start_process().key
    with pytest.raises(NotFound):
        stepwise.SteppedProcess(project._database, ProcessKey(key.id, "guess"))
    assert len(list(project.processes())) == 1


def test_rolled_back_is_final(project: bookkeeper.Project) -> None:
    key = project.start_process().key
    assert stepwise.roll_back(project._database, key, "enough") is Fate.ROLLED_BACK
    assert stepwise.roll_back(project._database, key, "again") is Fate.ROLLED_BACK
    with pytest.raises(Fenced):
        stepwise.SteppedProcess(project._database, key)
    with pytest.raises(Fenced):
        stepwise.commit(project._database, key)


def opened(project: bookkeeper.Project, key: ProcessKey, name: str) -> None:
    stepwise.SteppedProcess(project._database, key).mark(name, Mark.OPENED, entries=None, bytes=None, reason=None)


def parked(project: bookkeeper.Project) -> dict[str, str]:
    return {row["file"]: row["reason"] for row in project.uncommitted() if row["state"] == "parked"}


def test_a_file_that_is_not_the_pinned_one_is_not_opened(project: bookkeeper.Project, folder: Path) -> None:
    """Another size on the disk, another version declared meanwhile, or retired: it fails, and is parked at the end."""
    database, key = project._database, project.start_process().key
    stepwise.SteppedProcess(database, key).next_files(4)
    grown = folder / "zmumu-1.root"
    grown.write_bytes(grown.read_bytes() + b"more")
    shutil.copy(folder / "zmumu-4.root", folder / "zmumu-2.root")
    project._catalog.declare_files(bookkeeper.scan([folder / "zmumu-2.root"]), update=True)
    files.retire(database, ["zmumu-3.root"], "bad run")
    for name in ("zmumu-1.root", "zmumu-2.root", "zmumu-3.root"):
        with pytest.raises(FileChanged):
            opened(project, key, name)
    opened(project, key, "zmumu-4.root")
    stepwise.roll_back(database, key, "enough")
    reasons = parked(project)
    assert "bytes" in reasons.pop("zmumu-1.root")
    assert reasons == {"zmumu-2.root": "changed since the snapshot", "zmumu-3.root": "was retired since the snapshot"}


def test_a_changed_file_parks_its_partition(project: bookkeeper.Project, folder: Path) -> None:
    halves = project._catalog.start_project("halves", "zmumu", partition_by={"files": 3})
    key = halves.start_process().key
    stepwise.SteppedProcess(halves._database, key).next_files()
    grown = folder / "zmumu-1.root"
    grown.write_bytes(grown.read_bytes() + b"more")
    with pytest.raises(FileChanged):
        opened(halves, key, "zmumu-1.root")
    assert set(parked(halves)) == {"zmumu-1.root", "zmumu-2.root", "zmumu-3.root"}
    with pytest.raises(Fenced):
        opened(halves, key, "zmumu-2.root")
