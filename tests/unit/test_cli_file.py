"""`file`: declare, list, show, locate, retire, history."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from commandline import ok, run
from services.reach import Reach


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zmumu_folder: Path, reach: Reach) -> Path:
    monkeypatch.chdir(tmp_path)
    reach(tmp_path / "bookkeeper.db")
    (tmp_path / "data").symlink_to(zmumu_folder)
    return tmp_path


def test_declare_a_glob_then_again() -> None:
    assert ok("file", "declare", "data/*.root").lines[0] == "6 new, 0 unchanged, 0 updated"
    assert ok("file", "declare", "data").out == "0 new, 6 unchanged, 0 updated\n"
    assert ok("file", "declare", "data", "--json").json == {"new": 0, "unchanged": 6, "updated": 0}


def test_declare_with_metadata_of_every_kind() -> None:
    words = ["run_type=mc", "run=7", "luminosity=1.5", "good=true", "era='2018'", "note=a=b"]
    ok("file", "declare", "data/zmumu-1.root", *(word for pair in words for word in ("--metadata", pair)))
    metadata = ok("file", "show", "zmumu-1.root", "--json").json["metadata"]
    assert metadata == {"run_type": "mc", "run": 7, "luminosity": 1.5, "good": True, "era": "2018", "note": "a=b"}


def test_declare_under_another_name_without_checksum() -> None:
    ok("file", "declare", "data/zmumu-1.root", "--name", "run-1.root", "--no-checksum", "--tree", "events")
    shown = ok("file", "show", "run-1.root", "--json").json
    assert (shown["checksum"], shown["entries"], shown["tree"]) == (None, 500, "events")


def test_declare_a_list_of_paths_from_standard_input() -> None:
    ran = ok(
        "file", "declare", "--from-list", "-", "--metadata", "k=1", stdin=b"data/zmumu-1.root\ndata/zmumu-2.root\n"
    )
    assert ran.lines[0].startswith("2 new")
    assert ok("file", "list", "--where", "k = 1", "--json").json[1]["name"] == "zmumu-2.root"


def test_declare_records(here: Path) -> None:
    records = [
        {"name": "a.root", "size": 10, "checksum": "adler32:0000000a", "entries": 3, "metadata": {"k": 2}},
        {"name": "b.root", "path": "data/zmumu-3.root", "metadata": {"run": 3}},
    ]
    (here / "list.json").write_text(json.dumps(records))
    ok("file", "declare", "--from-list", "list.json", "--metadata", "k=1", "--metadata", "m=x")
    assert ok("file", "show", "a.root", "--json").json["metadata"] == {"k": 2, "m": "x"}
    shown = ok("file", "show", "b.root", "--json").json
    assert (shown["entries"], shown["metadata"]) == (500, {"run": 3, "k": 1, "m": "x"})


def test_nothing_is_declared_if_some_cannot_be_read(here: Path) -> None:
    (here / "bad-1.root").write_bytes(b"root")
    (here / "bad-2.root").write_bytes(b"<html>")
    ran = run("file", "declare", "data", "*.root")
    assert ran.code == 8
    assert "2 files cannot be declared, so nothing was:" in ran.err
    assert "bad-1.root" in ran.err and "bad-2.root" in ran.err
    assert ok("file", "list").out == "no file\n"


def test_a_changed_file_needs_an_update(here: Path) -> None:
    (here / "x.csv").write_text("a\n1\n")
    ok("file", "declare", "x.csv")
    (here / "x.csv").write_text("a\n22\n")
    ran = run("file", "declare", "x.csv")
    assert (ran.code, "--update" in ran.err) == (4, True)
    assert ok("file", "declare", "x.csv", "--update").out == "0 new, 0 unchanged, 1 updated\n"
    history = ok("file", "history", "x.csv", "--json").json
    assert [version["size"] for version in history["versions"]] == [4, 5]


def test_list_by_glob_query_and_limit() -> None:
    ok("file", "declare", "data")
    assert len(ok("file", "list").lines) == 7
    assert [row["name"] for row in ok("file", "list", "--names", "*-[12].root", "--json").json] == [
        "zmumu-1.root",
        "zmumu-2.root",
    ]
    assert len(ok("file", "list", "--where", "entries >= 500", "--limit", "2", "--json").json) == 2
    assert ok("file", "list", "--csv").lines[0].startswith("id,name,size,")
    assert ok("file", "list", "--where", "entries > 500", "--json").json == []


def test_locate_prints_paths(zmumu_folder: Path) -> None:
    ok("file", "declare", zmumu_folder / "zmumu-1.root")
    assert ok("file", "locate", "zmumu-1.root").out == f"{zmumu_folder}/zmumu-1.root\n"
    assert ok("file", "locate", "zmumu-1.root", "--json").json[0]["url"] == f"{zmumu_folder}/zmumu-1.root"


def test_retire_and_history() -> None:
    ok("file", "declare", "data")
    assert ok("file", "retire", "zmumu-1.root", "--reason", "bad").out == "retired 1 file\n"
    assert ok("file", "retire", "zmumu-1.root", "--reason", "bad").out == "retired 0 files; 1 retired before\n"
    ran = ok("file", "history", "zmumu-1.root")
    assert "given to no process yet" in ran.out
    assert ": bad\n" in ran.out


def test_an_unknown_name_is_answered_with_near_ones() -> None:
    ok("file", "declare", "data")
    ran = run("file", "show", "zmumu-11.root")
    assert ran.code == 3
    assert "did you mean zmumu-1.root" in ran.err
