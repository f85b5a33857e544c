"""`project`: start, list, show, pause, resume, end, park, unpark, reopen."""

from __future__ import annotations

from pathlib import Path

import pytest

import bookkeeper
from bookkeeper import stepwise
from commandline import ok, run
from services.reach import Reach


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zmumu_folder: Path, reach: Reach) -> Path:
    monkeypatch.chdir(tmp_path)
    reach(tmp_path / "bookkeeper.db")
    ok("file", "declare", *(zmumu_folder / f"zmumu-{n}.root" for n in range(1, 6)))
    ok("dataset", "define", "zmumu", "--names", "*")
    ok("project", "start", "p", "--dataset", "zmumu", "--application", "analysis/mass/1.0")
    return tmp_path


def row(name: str = "p") -> dict[str, object]:
    found: dict[str, object] = ok("project", "show", name, "--json").json
    return found


def test_start_again_keeps_the_snapshot_and_tells_of_growth(zmumu_folder: Path) -> None:
    ok("file", "declare", zmumu_folder / "zmumu-6.root")
    ran = ok("project", "start", "p", "--dataset", "zmumu", "--application", "analysis/mass/1.0")
    assert ran.lines[0] == "project p exists: 0 of 5 files committed"
    assert "has grown by 1 file since" in ran.lines[1]
    again = ok("project", "start", "p", "--dataset", "zmumu", "--application", "analysis/mass/1.0", "--json").json
    assert again == {"project": "p", "created": False, "files": 5, "grown": 1}


def test_start_again_keeps_the_rules_that_are_left_unsaid() -> None:
    def rules() -> list[object]:
        return list(
            ok("sql", "SELECT max_attempts, lease, output_required FROM requests WHERE name = 'q'", "--json")
            .json[0]
            .values()
        )

    ok("project", "start", "q", "--dataset", "zmumu", "--max-attempts", "5", "--lease", "1h", "--output-required")
    ok("project", "start", "q", "--dataset", "zmumu")
    assert rules() == [5, 3600.0, 1]
    ok("project", "start", "q", "--dataset", "zmumu", "--max-attempts", "3")
    assert rules() == [3, 3600.0, 1]
    with bookkeeper.open_catalog() as catalog:
        catalog.start_project("q", "zmumu", lease="2h")
    assert rules() == [3, 7200.0, 1]


def test_start_with_every_rule() -> None:
    rules = ["--max-attempts", "2", "--files-per-process", "10", "--lease", "1h30m", "--max-wall", "2d"]
    ok("project", "start", "q", "--dataset", "zmumu", *rules, "--partition-by", "bytes=100kB", "--output-required")
    found = ok("sql", "SELECT * FROM requests WHERE name = 'q'", "--json").json[0]
    assert (found["max_attempts"], found["lease"], found["max_wall"]) == (2, 5400.0, 172800.0)
    assert (found["partition_by"], found["partition_size"], found["output_required"]) == ("bytes", 100_000, 1)


def test_list_and_show() -> None:
    assert ok("project", "list").lines[1].split() == ["p", "open", "5", "0", "0", "5", "0"]
    assert ok("project", "list", "--json").json[0]["available"] == 5
    ran = ok("project", "show", "p")
    assert "none yet" in ran.out


def test_pause_and_resume() -> None:
    ok("project", "pause", "p", "--reason", "storage is down")
    assert row()["state"] == "paused"
    assert run("process", "start", "p").code == 11
    assert ok("project", "resume", "p").lines[0] == "project p goes on"
    assert ok("project", "resume", "p").lines[0] == "project p was not paused"


def test_end_says_what_is_missing_and_what_to_type() -> None:
    ran = ok("project", "end", "p")
    assert ran.lines == ["project p is ended; 5 files of 5 not committed", "→ bookkeeper recover p"]


def test_end_with_the_fence(monkeypatch: pytest.MonkeyPatch) -> None:
    started = ok("process", "start", "p", "--json").json
    monkeypatch.setenv(stepwise.VARIABLE, f"{started['process_id']}:{started['token']}")
    ok("process", "next", "2")
    assert "1 still live" in ok("project", "end", "p").out
    assert "1 live process rolled back" in ok("project", "end", "p", "--fence").out
    assert run("process", "next").code == 7


def test_park_and_unpark() -> None:
    assert (
        ok("project", "park", "p", "zmumu-1.root", "zmumu-2.root", "--reason", "odd").lines[0] == "parked 2 files of p"
    )
    assert row()["parked"] == 2
    assert ok("project", "unpark", "p", "zmumu-1.root").lines[0] == "1 file of p can be delivered again"
    assert ok("project", "unpark", "p", "--all", "--json").json["unparked"] == 1
    assert run("project", "unpark", "p").code == 2
    assert run("project", "unpark", "p", "zmumu-1.root", "--all").code == 2


def test_reopen_frees_and_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    for many in (2, 1):
        started = ok("process", "start", "p", "--json").json
        monkeypatch.setenv(stepwise.VARIABLE, f"{started['process_id']}:{started['token']}")
        for path in ok("process", "next", many).lines:
            ok("process", "mark", path, "consumed")
        ok("process", "commit", "--no-output")
    ran = ok("project", "reopen", "p", 1, 2, "--reason", "lost")
    assert ran.lines[:2] == [
        "process 1 is revoked: its outputs are deleted and 2 files free again",
        "process 2 is revoked: its outputs are deleted and 1 file free again",
    ]
    assert row()["committed"] == 0
