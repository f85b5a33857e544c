"""`process`: a transaction step by step, as a shell script makes it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from bookkeeper import stepwise
from commandline import Ran, ok, run
from services.reach import Reach


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zmumu_folder: Path, reach: Reach) -> Path:
    monkeypatch.chdir(tmp_path)
    reach(tmp_path / "bookkeeper.db")
    ok("file", "declare", zmumu_folder)
    ok("dataset", "define", "zmumu", "--names", "*")
    ok("project", "start", "p", "--dataset", "zmumu")
    shutil.copy(zmumu_folder / "zmumu-1.root", tmp_path / "made.root")
    return tmp_path


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Any:
    def start_process(*words: object) -> int:
        started = ok("process", "start", "p", *words, "--json").json
        monkeypatch.setenv(stepwise.VARIABLE, f"{started['process_id']}:{started['token']}")
        return int(started["process_id"])

    return start_process


def copy_out(*words: object) -> Ran:
    return run("process", "output", "made.root", "--destination", "out", "--name", "mass-{process}.root", *words)


def state_of(process: int) -> str:
    found: str = ok("sql", f"SELECT state FROM process_summary WHERE process_id = {process}", "--json").json[0]["state"]
    return found


def test_shell_prints_only_what_a_shell_evaluates() -> None:
    ran = ok("process", "start", "p", "--shell")
    assert len(ran.lines) == 1
    assert ran.out.startswith("export BOOKKEEPER_PROCESS=1:")


def test_a_whole_transaction(start: Any, here: Path, zmumu_folder: Path) -> None:
    process = start("--files-per-process", "3", "--lease", "1h", "--node", "wn7", "--job-id", "42.0")
    assert ok("process", "next", "2").lines == [f"{zmumu_folder}/zmumu-{n}.root" for n in (1, 2)]
    assert ok("process", "next", "--names").out == "zmumu-3.root\n"
    assert ok("process", "mark", "zmumu-1.root", "opened").out == ""
    ok("process", "mark", zmumu_folder / "zmumu-1.root", "consumed", "--entries", "500", "--bytes", "1000")
    ok("process", "mark", "zmumu-2.root", "skipped", "--reason", "no muons")
    assert copy_out("--expect-tree", "events", "--expect-entries", "consumed").code == 0
    assert not (here / "out" / "mass-1.root").exists()
    assert ok("process", "commit").out == "process 1 is committed: 1 file counts; 2 went back\n"
    assert (here / "out" / "mass-1.root").read_bytes() == (here / "made.root").read_bytes()
    assert state_of(process) == "committed"
    history = ok("file", "history", "zmumu-2.root", "--json").json["deliveries"][0]
    assert (history["state"], history["reason"], history["node"]) == ("skipped", "no muons", "wn7")
    assert ok("process", "commit").out == "process 1 is committed: 1 file counts; 2 went back\n"
    assert "stays so" in ok("process", "rollback").out
    assert ok("outputs", "p", "--paths").out == f"{here}/out/mass-1.root\n"


def test_next_says_why_there_is_none(start: Any) -> None:
    start("--files-per-process", "4")
    ok("process", "next")
    full = run("process", "next")
    assert (full.code, "all the files it may have (4)" in full.err) == (12, True)
    start()
    ok("process", "next")
    holding = run("process", "next")
    assert (holding.code, "commit what it has" in holding.err) == (10, True)
    start()
    assert "others hold what is left" in run("process", "next").err
    ok("project", "pause", "p")
    assert run("process", "next").code == 11


def test_next_when_all_is_done(start: Any) -> None:
    start()
    for path in ok("process", "next").lines:
        ok("process", "mark", path, "consumed")
    ok("process", "commit", "--no-output", "--json")
    start()
    ran = run("process", "next")
    assert (ran.code, ran.out) == (12, "")
    assert "no file of p is left" in ran.err


def test_next_as_json(start: Any) -> None:
    start()
    found = ok("process", "next", "1", "--json").json
    assert (found[0]["name"], found[0]["entries"], len(found[0]["locations"])) == ("zmumu-1.root", 500, 1)


def test_an_opened_file_must_be_decided(start: Any) -> None:
    process = start()
    ok("process", "next", "1")
    ok("process", "mark", "zmumu-1.root", "opened")
    ran = run("process", "commit", "--no-output")
    assert (ran.code, state_of(process)) == (5, "active")
    ok("process", "mark", "zmumu-1.root", "failed", "--reason", "broken")
    ok("process", "commit", "--no-output")


def test_marks_that_make_no_sense(start: Any) -> None:
    start()
    ok("process", "next", "1")
    mark = ("process", "mark", "zmumu-1.root")
    assert run(*mark, "skipped").code == 2
    assert run(*mark, "consumed", "--reason", "x").code == 2
    assert run(*mark, "opened", "--entries", "5").code == 2
    assert run(*mark, "eaten").code == 2
    ran = run("process", "mark", "zmumu-2.root", "opened")
    assert (ran.code, "it was given zmumu-1.root" in ran.err) == (3, True)


def test_an_output_again_replaces_the_first(start: Any, here: Path) -> None:
    start()
    ok("process", "next", "1")
    ok("process", "mark", "zmumu-1.root", "consumed")
    assert copy_out().code == 0
    shutil.copy(here / "made.root", here / "kept.root")
    (here / "made.root").write_bytes((here / "kept.root").read_bytes())
    assert copy_out().code == 0
    uploads = list((here / "out" / ".bookkeeper").rglob("*.root"))
    assert len(uploads) == 1
    ok("process", "commit")
    assert (here / "out" / "mass-1.root").exists()
    assert not list((here / "out" / ".bookkeeper").rglob("*.root"))


def test_several_outputs_have_keys_of_their_own(start: Any, here: Path) -> None:
    start()
    ok("process", "next", "1")
    ok("process", "mark", "zmumu-1.root", "consumed")
    assert copy_out("--key", "mass").code == 0
    other = ("process", "output", "made.root", "--destination", "out", "--name", "ids-{process}.root", "--key")
    assert run(*other, "mass").code == 2
    ok(*other, "ids")
    ok("process", "commit")
    assert [row["key"] for row in ok("outputs", "p", "--json").json] == ["mass", "ids"]


def test_a_rollback_deletes_what_was_copied(start: Any, here: Path) -> None:
    process = start()
    ok("process", "next", "1")
    assert copy_out().code == 0
    ran = ok("process", "rollback", "--reason", "out of memory", "--step", "analysis")
    assert ran.out == "process 1 is rolled back; its files are free for others\n"
    assert not list((here / "out").rglob("*.root"))
    assert state_of(process) == "rolled_back"
    late = run("process", "commit")
    assert (late.code, "out of memory" in late.err) == (7, True)


def test_an_output_that_is_not_whole_is_refused(start: Any, here: Path) -> None:
    start()
    with (here / "made.root").open("r+b") as file:
        file.truncate(2000)
    assert copy_out().code == 8
    assert copy_out("--validate", "none").code == 0


def test_a_command_may_judge_the_output(start: Any) -> None:
    start()
    assert copy_out("--validate", "test -s {path}").code == 0
    assert (
        run("process", "output", "made.root", "--destination", "o", "--name", "x-{process}", "--validate", "x").code
        == 2
    )


def test_heartbeat_tells_the_lease(start: Any) -> None:
    start("--lease", "2h")
    assert ok("process", "heartbeat").out == "process 1 may be silent for 2 h\n"
    assert ok("process", "heartbeat", "--json").json == {"process_id": 1, "lease_s": 7200.0}


def test_a_partition_is_taken_whole(start: Any) -> None:
    ok("project", "end", "p")
    ok("project", "start", "q", "--dataset", "zmumu", "--partition-by", "files=4")
    started = ok("process", "start", "q", "--partition", "1", "--json").json
    assert started["partition"] == 1
    assert run("process", "start", "q", "--partition", "9").code == 3
