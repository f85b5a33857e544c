"""`dataset`: define, list, show, snapshot."""

from __future__ import annotations

from pathlib import Path

import pytest

from commandline import ok, run
from services.reach import Reach


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zmumu_folder: Path, reach: Reach) -> Path:
    monkeypatch.chdir(tmp_path)
    reach(tmp_path / "bookkeeper.db")
    ok("file", "declare", zmumu_folder)
    return tmp_path


def test_define_by_globs_query_and_list(here: Path) -> None:
    assert ok("dataset", "define", "a", "--names", "*-1.root", "--names", "*-2.root").lines[0] == "dataset a: 2 files"
    assert ok("dataset", "define", "b", "--where", "entries = 500").lines[0] == "dataset b: 6 files"
    (here / "names.txt").write_text("zmumu-3.root\n")
    assert ok("dataset", "define", "c", "--from-list", "names.txt", "--json").json["files"] == 1
    assert ok("dataset", "define", "d", "--from-list", "-", stdin=b"zmumu-4.root\n").lines[0] == "dataset d: 1 file"
    assert [row["kind"] for row in ok("dataset", "list", "--json").json] == ["names", "where", "list", "list"]


def test_an_empty_definition_is_told() -> None:
    ran = ok("dataset", "define", "none", "--names", "nothing*")
    assert ran.lines[0] == "dataset none: 0 files"


def test_an_unknown_key_is_noted() -> None:
    assert "note: " in ok("dataset", "define", "x", "--where", "no_such_key = 1").err


def test_another_definition_needs_an_update() -> None:
    ok("dataset", "define", "a", "--names", "*")
    ok("dataset", "define", "a", "--names", "*")
    ran = run("dataset", "define", "a", "--where", "entries > 1")
    assert (ran.code, "--update" in ran.err) == (4, True)
    ok("dataset", "define", "a", "--where", "entries > 1", "--update")


def test_show_with_snapshots_and_files() -> None:
    ok("dataset", "define", "a", "--names", "*")
    assert "none yet" in ok("dataset", "show", "a").out
    assert ok("dataset", "snapshot", "a").out.startswith("snapshot 1 of a: 6 files, ")
    assert ok("dataset", "show", "a", "--json").json["snapshots"][0]["entries"] == 3000
    assert ok("dataset", "show", "a", "--files").lines == [f"zmumu-{n}.root" for n in range(1, 7)]
    assert ok("dataset", "show", "a", "--files", "--json").json[0]["size"] > 0
