"""`status`, `recover`, `outputs`, `logs`, `lineage`."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import bookkeeper
from bookkeeper import recovery
from bookkeeper_cli import recover, render, status
from commandline import Ran, ok, run
from services.reach import Reach


@pytest.fixture
def project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zmumu_folder: Path, reach: Reach
) -> Iterator[bookkeeper.Project]:
    """Six files: 1 committed with an output, 2 parked, 3 to 6 available."""
    monkeypatch.chdir(tmp_path)
    catalog = bookkeeper.open_catalog(reach(tmp_path / "bookkeeper.db"))
    catalog.declare_files(bookkeeper.scan([zmumu_folder]))
    catalog.define_dataset("zmumu", names=["*"])
    project = catalog.start_project("p", "zmumu")
    with project.start_process() as process:
        (file,) = process.next_files(1)
        file.consumed(entries=500)
        process.stage_out(file.locations[0], "out", "mass-{process}.root")
    project.park(["zmumu-2.root"], "the detector was off")
    yield project
    catalog.close()


def finish(project: bookkeeper.Project) -> None:
    """Commit what is available, then what is parked."""
    for _ in range(2):
        with project.start_process() as process:
            for file in process:
                file.consumed()
            process.commit(no_output=True)
        project.unpark()


def test_status_on_one_screen(project: bookkeeper.Project) -> None:
    ran = ok("status", "p")
    assert ran.lines[0].startswith("p  open  started ")
    assert ran.lines[1].endswith(" 16.7 %")
    assert ran.lines[2] == "1 committed   0 held   1 parked   4 available   of 6 files"
    assert "  4  available  never delivered" in ran.lines
    assert "  1  parked     the detector was off" in ran.lines
    assert ran.lines[-1].startswith("→ bookkeeper submit SPEC.toml")
    assert len(ran.lines) < 30


def test_reasons_of_very_many_files_are_lower_bounds(
    project: bookkeeper.Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "SAMPLE", 2)
    assert "  2+  available  never delivered" in ok("status", "p").lines
    assert "   1  parked     the detector was off" in ok("status", "p").lines


def test_status_as_json_has_stable_keys(project: bookkeeper.Project) -> None:
    with project.start_process() as process:
        process.next_files(2)
        view = ok("status", "p", "--json").json
        assert set(view) >= {
            *("project", "request", "files", "committed", "held", "available", "parked", "unpublished", "live"),
            *("commits", "rollbacks", "open_project", "open_state", "pause_reason", "started_at", "ended_at"),
            *("complete", "files_per_s", "events_per_s", "eta_s", "processes", "reasons", "next"),
        }
        assert (view["held"], view["live"], view["complete"]) == (2, 1, False)
        assert view["processes"][0]["delivered"] == 2
        process.roll_back("enough")


@pytest.mark.parametrize("state", ["open", "live", "paused", "ended", "parked", "complete"])
def test_status_says_what_to_type(project: bookkeeper.Project, state: str) -> None:
    process = project.start_process()
    if state == "live":
        process.next_files(1)
    else:
        process.roll_back("not needed", counted=False)
    if state == "paused":
        project.pause("storage is down")
    elif state == "ended":
        project.end()
    elif state == "parked":
        project.park([f"zmumu-{n}.root" for n in range(3, 7)], "odd")
    elif state == "complete":
        finish(project)
    words = {
        "open": "bookkeeper submit",
        "live": "bookkeeper status p --wait",
        "paused": "bookkeeper project resume p",
        "ended": "bookkeeper recover p",
        "parked": "bookkeeper project unpark p --all",
        "complete": "bookkeeper outputs p --paths",
    }
    assert words[state] in ok("status", "p").out


def test_wait_ends_with_the_request(project: bookkeeper.Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """It follows from another process's work to the end, and its exit code says how that was."""
    project.pause("storage is down")
    assert run("status", "p", "--wait").code == 11
    project.resume()
    monkeypatch.setattr(status, "POLL_SECONDS", 0.02)
    done: list[Ran] = []
    waiting = threading.Event()
    look = status.look

    def seen(*words: Any) -> dict[str, Any]:
        view = look(*words)
        waiting.set()
        return view

    monkeypatch.setattr(status, "look", seen)
    thread = threading.Thread(target=lambda: done.append(run("status", "p", "--wait", "--json")))
    thread.start()
    try:
        assert waiting.wait(120)
    finally:
        finish(project)
        thread.join(120)
    assert (done[0].code, done[0].json["complete"]) == (0, True)


def test_wait_on_what_is_over_and_incomplete(project: bookkeeper.Project) -> None:
    project.end()
    ran = run("status", "p", "--wait")
    assert ran.code == 10
    assert ran.lines[-1] == "→ bookkeeper recover p"


def test_recover_dry_run_changes_nothing(project: bookkeeper.Project) -> None:
    ran = ok("recover", "p", "--dry-run")
    assert ran.lines[0].split() == ["file", "state", "attempts", "reason"]
    assert "the detector was off" in ran.out
    assert "4 files would go to a recovery project" in ran.out
    assert len(ok("project", "list", "--json").json) == 1
    found = ok("recover", "p", "--dry-run", "--json").json
    assert (found["available"], found["parked"], found["committed"]) == (4, 1, 1)
    assert {row["file"] for row in found["uncommitted"]} == {f"zmumu-{n}.root" for n in range(2, 7)}


def test_recover_dry_run_of_very_many_files_is_capped(
    project: bookkeeper.Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recover, "SHOWN", 3)
    assert "… and 2 more (--json prints all)" in ok("recover", "p", "--dry-run").out


def test_recover_names_the_project_and_again_the_same(project: bookkeeper.Project) -> None:
    first = ok("recover", "p")
    assert first.lines[0] == "project p-recovery-1 takes up 4 files; 1 stay parked"
    assert ok("recover", "p").lines[0] == first.lines[0]
    assert ok("recover", "p", "--json").json["recovery"] == "p-recovery-1"
    assert ok("status", "p-recovery-1").lines[0].startswith("p-recovery-1 (request p)  open")


def test_recover_with_the_fence(project: bookkeeper.Project) -> None:
    process = project.start_process()
    process.next_files(2)
    assert "2 held by live processes" in ok("recover", "p").out
    assert "takes up 4 files;" in ok("recover", "p", "--fence").out
    with pytest.raises(bookkeeper.Fenced):
        process.heartbeat()


def test_recover_when_nothing_is_missing(project: bookkeeper.Project) -> None:
    finish(project)
    assert ok("recover", "p").lines[0] == "request p: nothing is missing, all 6 files are committed"
    assert "nothing to recover" in ok("recover", "p", "--dry-run").out


def test_recover_submit_needs_a_spec(project: bookkeeper.Project) -> None:
    ran = run("recover", "p", "--submit")
    assert (ran.code, "--spec SPEC.toml" in ran.err) == (2, True)
    assert len(ok("project", "list", "--json").json) == 1


def test_outputs(project: bookkeeper.Project, tmp_path: Path) -> None:
    ran = ok("outputs", "p")
    assert ran.lines[1].split()[0] == f"{tmp_path}/out/mass-1.root"
    assert "1 of 6 files are committed" in ran.err
    assert ok("outputs", "p", "--paths").out == f"{tmp_path}/out/mass-1.root\n"
    assert ok("outputs", "p", "--json").json[0]["entries"] == 500


def test_lineage_both_ways(project: bookkeeper.Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"{tmp_path}/out/mass-1.root"
    for what in ("mass-1.root", url, "zmumu-1.root"):
        (row,) = ok("lineage", what, "--json").json
        assert (row["output_url"], row["file"], row["process_id"]) == (url, "zmumu-1.root", 1)
    monkeypatch.chdir(tmp_path)
    (row,) = ok("lineage", "out/mass-1.root", "--json").json
    assert row["output_url"] == url
    assert ok("lineage", "zmumu-5.root").out == "zmumu-5.root is in no output yet\n"
    assert run("lineage", "mass-%.root").code == 3


def test_logs_of_a_process(project: bookkeeper.Project, tmp_path: Path) -> None:
    assert run("logs", "1").code == 3
    folder = tmp_path / "bookkeeper.db.d" / "logs"
    folder.mkdir(parents=True)
    (folder / "1.out").write_text("one\ntwo\n")
    (folder / "1.err").write_bytes(b"oops \xff")
    ran = ok("logs", "1")
    assert ran.lines == ["── stdout of process 1", "one", "two", "── stderr of process 1", "oops �"]
    assert ok("logs", "1", "--stdout", "--tail", "1").out == "two\n"
    assert ok("logs", "1", "--stderr").out == "oops �\n"
    assert ok("logs", "1", "--json").json == {
        "process_id": 1,
        "stdout": "one\ntwo\n",
        "stderr": "oops �",
        "truncated": False,
    }


def test_the_screen_is_whole_whatever_the_width(
    project: bookkeeper.Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    view = {
        **ok("status", "p", "--json").json,
        "files": 12_345_678,
        "committed": 12_000_000,
        "available": 345_000,
        "held": 600,
        "parked": 78,
    }
    for columns in (20, 40, 60, 80, 100, 200):
        monkeypatch.setenv("COLUMNS", str(columns))
        render.status_lines(view)
        printed = capsys.readouterr().out
        assert all(word in printed for word in ("12,000,000", "345,000", "the detector was off", "never delivered"))
        bar = printed.splitlines()[1]
        assert len(bar) <= max(columns, 17) and bar.endswith(" 97.2 %")


def test_recover_submit_says_that_only_parked_files_are_left(project: bookkeeper.Project, tmp_path: Path) -> None:
    """A script that goes by the exit code must not take it for complete."""
    with project.start_process() as process:
        for file in process:
            file.consumed()
        process.commit(no_output=True)
    (tmp_path / "p.toml").write_text("")
    ran = run("recover", "p", "--submit", "--spec", "p.toml")
    assert ran.code == 10
    assert ran.lines[0] == "request p: nothing can be recovered, 1 file is parked"


def test_last_failures_that_are_the_same_are_told_once(
    project: bookkeeper.Project, capsys: pytest.CaptureFixture[str]
) -> None:
    last = ("process 4: out of luck", "process 5: out of luck", "worker 7: killed: by signal 9")
    render.status_lines({**ok("status", "p", "--json").json, "last": last})
    printed = capsys.readouterr().out
    assert "last       process 4, 5: out of luck\n           worker 7: killed: by signal 9\n" in printed
